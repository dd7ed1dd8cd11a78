//! The report for programs.
//!
//! ```text
//! {
//!   "format": 1,                         this layout; fields may be added to it, and none changes its meaning
//!   "suite": "0.1.0",                    the version of the suite
//!   "specification": "0.1",
//!   "runs": [{                           one for each server, or form of a server
//!     "subject": "http://127.0.0.1:8000",
//!     "server": "nginx/1.22.1",          what it calls itself, or null
//!     "measure": "http",                 or "contract"
//!     "complete": true,                  nothing was filtered out
//!     "cut_short": null,                 or why not everything was run
//!     "remarks": ["..."],
//!     "seconds": 41.2,
//!     "totals": { "passed": 12, "failed": 1, "warned": 0, "noted": 0, "skipped": 0, "left_out": 3, "not_run": 0 },
//!     "results": [{
//!       "id": "chunked/size-with-plus-sign",
//!       "kind": "vector",                or "check"
//!       "group": "chunked",              or the letter of the chapter
//!       "level": "MUST",
//!       "clauses": ["B3", "H8"],
//!       "rfc": ["RFC 9112 §7.1"],
//!       "verdict": "failed",             one of the keys of totals
//!       "reason": null,                  why it was skipped, left out or not run
//!       "known": false,                  whether it was skipped since a baseline tells of the same failure
//!       "expected": "...",               with those that did not pass, else null
//!       "seen": "...",
//!       "transcript": "...",
//!       "seconds": 0.012
//!     }]
//!   }]
//! }
//! ```

use serde_json::{Map, Value, json};

use super::{Finding, Mark, Measure, Report, SUITE_VERSION, specification_version};

/// These reports as one JSON document; its layout stands at the head of `report/json.rs`.
pub fn json(reports: &[Report]) -> Value {
    json!({
        "format": 1,
        "suite": SUITE_VERSION,
        "specification": specification_version(),
        "runs": reports.iter().map(run).collect::<Vec<_>>(),
    })
}

fn key(mark: Mark) -> String {
    mark.word().replace(' ', "_")
}

fn run(report: &Report) -> Value {
    let totals: Map<String, Value> =
        Mark::ALL.into_iter().map(|mark| (key(mark), report.count(mark).into())).collect();
    json!({
        "subject": report.subject,
        "server": report.server,
        "measure": match report.measure {
            Measure::Contract => "contract",
            Measure::Http => "http",
        },
        "complete": report.complete,
        "cut_short": report.cut_short,
        "remarks": report.remarks,
        "seconds": report.took.as_secs_f64(),
        "totals": totals,
        "results": report.findings.iter().map(result).collect::<Vec<_>>(),
    })
}

fn result(finding: &Finding) -> Value {
    let entry = finding.entry;
    let evidence = finding.evidence.as_ref();
    let clauses: Vec<&str> = entry.clauses().iter().map(|clause| clause.id).collect();
    json!({
        "id": entry.id(),
        "kind": entry.kind(),
        "group": entry.group(),
        "level": entry.level(),
        "clauses": clauses,
        "rfc": entry.rfc(),
        "verdict": key(finding.mark),
        "reason": finding.reason,
        "known": finding.known,
        "expected": evidence.map(|evidence| &evidence.failure.expected),
        "seen": evidence.map(|evidence| &evidence.failure.seen),
        "transcript": evidence.map(|evidence| &evidence.transcript),
        "seconds": finding.took.as_secs_f64(),
    })
}

//! `--baseline`: what failed before fails no more, so that a run fails for changes only.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use varvel_conformance::{Mark, Measure, Report};

/// Where an earlier run failed: subject and id. Of foreign servers there is one to a run, wherever it listens.
pub(crate) struct Baseline(BTreeSet<(String, String)>);

/// Reads a report that was made by `--format json`.
pub(crate) fn read(path: &Path) -> Result<Baseline, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    failed(&report).ok_or_else(|| format!("{} is no report made by --format json", path.display()))
}

fn failed(report: &Value) -> Option<Baseline> {
    let mut failed = BTreeSet::new();
    for run in report["runs"].as_array()? {
        let subject = if run["measure"] == "http" { "" } else { run["subject"].as_str()? };
        for result in run["results"].as_array()? {
            // What the earlier run knew already stays known.
            let known = result["known"] == true;
            if result["verdict"] == Mark::Failed.word() || known {
                failed.insert((subject.to_owned(), result["id"].as_str()?.to_owned()));
            }
        }
    }
    Some(Baseline(failed))
}

impl Baseline {
    /// Turns failures that are known into skips, and tells which of them are mended.
    pub(crate) fn forgive(&self, report: &mut Report) {
        let mut mended = Vec::new();
        let subject = if report.measure == Measure::Http { "" } else { &report.subject };
        for finding in &mut report.findings {
            if !self.0.contains(&(subject.to_owned(), finding.entry.id())) {
                continue;
            }
            match finding.mark {
                Mark::Failed => {
                    finding.mark = Mark::Skipped;
                    finding.known = true;
                    finding.reason = Some("fails in the baseline too".to_owned());
                }
                Mark::Passed => mended.push(finding.entry.id()),
                _ => {}
            }
        }
        if !mended.is_empty() {
            report.remarks.push(format!("failed in the baseline and pass now: {}", mended.join(", ")));
        }
    }
}

//! The reports of the server under test, as events.
//!
//! | field | is |
//! |---|---|
//! | `report` | `AppFailed`, `Panicked`, `BodyFailed`, `Contract`, `Log` |
//! | `detail` | the kind of failure, the phase of a panic, the clause, the level |
//! | `text` | the whole report as a line |
//! | `method`, `target` (text), `connection`, `exchange` | of the request it is about, if any |

use std::sync::Arc;

use serde_json::json;
use varvel::{Event, Report, Reporter};

use super::{Link, context::key_of};

/// Passes reports on to the recorder.
#[derive(Debug)]
pub(crate) struct Recording(pub(crate) Arc<Link>);

impl Reporter for Recording {
    fn report(&self, report: &Report<'_>) {
        let (kind, detail) = match report.event {
            Event::AppFailed { kind, .. } => ("AppFailed", format!("{kind:?}")),
            Event::Panicked { during, .. } => ("Panicked", format!("{during:?}")),
            Event::BodyFailed { error } => ("BodyFailed", format!("{:?}", error.kind())),
            Event::Contract { clause, .. } => ("Contract", clause.to_owned()),
            Event::Log { level, .. } => ("Log", format!("{level:?}")),
            _ => ("unknown", String::new()),
        };
        let target = report.request.map(|request| String::from_utf8_lossy(request.target).into_owned());
        self.0.emit(json!({
            "event": "report",
            "pid": std::process::id(),
            "key": target.as_deref().map(key_of),
            "report": kind,
            "detail": detail,
            "text": report.to_string(),
            "method": report.request.and_then(|request| request.method).map(|method| method.as_str()),
            "target": target,
            "connection": report.request.map(|request| request.connection),
            "exchange": report.request.map(|request| request.exchange),
        }));
    }
}

//! Reports that were kept, to be looked at by a test.

use std::fmt;

use varvel::{BodyErrorKind, Event, FailKind, Level, Phase, Report};

/// A [`Report`] that was kept. Printed, it is the line that a server would have logged.
///
/// ```
/// use varvel::{AppError, app_fn};
/// use varvel_test::Client;
///
/// let client = Client::new(app_fn(|_, _| async { Err(AppError::internal("no database")) }));
/// assert_eq!(client.get("/").send().status(), 500);
/// let reports = client.reports();
/// assert!(reports[0].to_string().starts_with("error: application failed (Internal): no database [GET /"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was reported.
    pub event: Recorded,
    /// Of which connection, if the report named its request.
    pub connection: Option<u64>,
    line: String,
}

/// What a [`Record`] tells; an [`Event`] that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// The application returned an error.
    AppFailed {
        /// Its kind.
        kind: FailKind,
        /// Its cause as text.
        error: Option<String>,
    },
    /// Something of the application panicked.
    Panicked {
        /// What was running.
        during: Phase,
        /// The panic's message.
        message: String,
    },
    /// The response body broke off.
    BodyFailed {
        /// The kind of its error.
        kind: BodyErrorKind,
        /// The error as text.
        error: String,
    },
    /// The application did what the specification forbids.
    Contract {
        /// The id of the clause, such as `H5`.
        clause: &'static str,
        /// What was done, and what was done about it.
        detail: String,
    },
    /// A message of the application, or of a kind that this version does not know.
    Log {
        /// How urgent it is.
        level: Level,
        /// Its text.
        message: String,
    },
}

impl Record {
    pub(crate) fn of(report: &Report<'_>) -> Self {
        let event = match report.event {
            Event::AppFailed { kind, error } => {
                Recorded::AppFailed { kind, error: error.map(ToString::to_string) }
            }
            Event::Panicked { during, message } => Recorded::Panicked { during, message: message.to_owned() },
            Event::BodyFailed { error } => {
                Recorded::BodyFailed { kind: error.kind(), error: error.to_string() }
            }
            Event::Contract { clause, detail } => Recorded::Contract { clause, detail: detail.to_owned() },
            Event::Log { level, message } => Recorded::Log { level, message: message.to_owned() },
            _ => Recorded::Log { level: Level::Warning, message: report.to_string() },
        };
        Self { event, connection: report.request.map(|request| request.connection), line: report.to_string() }
    }

    /// Whether it is a failure of the application that its answer does not show.
    pub(crate) fn is_breach(&self) -> bool {
        matches!(self.event, Recorded::Contract { .. } | Recorded::Panicked { .. })
    }

    /// The clause that was broken, if that is what the report is about.
    pub fn clause(&self) -> Option<&'static str> {
        match self.event {
            Recorded::Contract { clause, .. } => Some(clause),
            _ => None,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

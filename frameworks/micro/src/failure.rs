//! Failures of a call: panics among them, and how they are reported.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use varvel::{AppError, Event, Phase};
use varvel_toolkit::FailureLog;

use crate::context::Asked;

/// Runs what an application does for a call. Where hooks have a say in how failures are answered, a panic is one of them.
pub(crate) fn caught<T>(log: Option<&FailureLog>, work: impl FnOnce() -> T) -> Result<T, AppError> {
    match log {
        None => Ok(work()),
        // What the application shares it shares with other threads, and answers for.
        Some(_) => catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            AppError::internal(Panicked(message.unwrap_or_default().to_owned()))
        }),
    }
}

/// The message of a panic, on its way to where it is reported.
#[derive(Debug)]
struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panic: {}", self.0)
    }
}

impl Error for Panicked {}

/// Reports a failure of a call, or the panic that it was.
pub(crate) fn report(log: &FailureLog, asked: &Asked<'_>, failure: &AppError) {
    let error = failure.source().map(|source| source as &(dyn Error + 'static));
    match error.and_then(|error| error.downcast_ref()) {
        Some(Panicked(message)) => {
            log.report(asked.method, asked.uri, Event::Panicked { during: Phase::Call, message });
        }
        None => log.failed(asked.method, asked.uri, failure),
    }
}

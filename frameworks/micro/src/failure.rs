//! Failures of a call that are not [`HttpError`]s: what the client is told, and how they are reported.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use http::{HeaderValue, StatusCode, header};
use varvel::{AppError, BodyErrorKind, Event, FailKind, Phase, Report, RequestId, Scope, Worker};
use varvel_toolkit::HttpError;

use crate::context::Asked;

/// What the client is told; `None` where only the server can answer, since it has to close the connection as well.
pub(crate) fn told(kind: FailKind) -> Option<HttpError> {
    Some(match kind {
        FailKind::Internal | FailKind::Body(BodyErrorKind::Failed) => {
            HttpError::new(StatusCode::INTERNAL_SERVER_ERROR)
        }
        // As soon as servers say.
        FailKind::Unavailable => HttpError::new(StatusCode::SERVICE_UNAVAILABLE)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
        FailKind::Body(BodyErrorKind::TooLarge) => HttpError::new(StatusCode::PAYLOAD_TOO_LARGE),
        _ => return None,
    })
}

/// Runs what an application does for a call. Where hooks have a say in how failures are answered, a panic is one of them.
pub(crate) fn caught<T>(log: Option<&Log>, work: impl FnOnce() -> T) -> Result<T, AppError> {
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

/// Reports failures as the server does those that it answers itself (spec E1).
pub(crate) struct Log {
    worker: Worker,
    connection: u64,
    exchange: u64,
}

impl Log {
    pub(crate) fn of(scope: &Scope) -> Self {
        Self { worker: scope.worker().clone(), connection: scope.conn().id, exchange: scope.number() }
    }

    pub(crate) fn failed(&self, asked: &Asked<'_>, failure: &AppError) {
        let error = failure.source().map(|source| source as &(dyn Error + 'static));
        let event = match error.and_then(|error| error.downcast_ref()) {
            Some(Panicked(message)) => Event::Panicked { during: Phase::Call, message },
            None => Event::AppFailed { kind: failure.kind(), error },
        };
        let target = asked.uri.path_and_query().map_or("*", |target| target.as_str());
        let request = RequestId::new(self.connection, self.exchange, Some(asked.method), target.as_bytes());
        self.worker.report(&Report::of(request, event));
    }
}

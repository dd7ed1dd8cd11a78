//! Failures of a call that are not [`HttpError`]s: what the client is told, and how they are reported.

use std::error::Error;

use http::{HeaderValue, StatusCode, header};
use varvel::{AppError, BodyErrorKind, Event, FailKind, Report, RequestId, Scope, Worker};
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
        let event = Event::AppFailed { kind: failure.kind(), error };
        let target = asked.uri.path_and_query().map_or("*", |target| target.as_str());
        let request = RequestId::new(self.connection, self.exchange, Some(asked.method), target.as_bytes());
        self.worker.report(&Report::of(request, event));
    }
}

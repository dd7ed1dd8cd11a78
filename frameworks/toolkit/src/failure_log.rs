//! Where failures are reported by those who answer them in place of the server.

use std::error::Error;

use http::{Method, Uri};
use varvel::{AppError, Event, Report, RequestId, Scope, Worker};

/// Reports the failures of a call as the server does with those that it answers itself (spec E1): with their request, to
/// the log of the server. For frameworks, whose hooks and error pages come in between; taken from the scope before the
/// application gets that.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use varvel::{App, AppError, AppResult, ReadBody, Scope, WriteBody, sync_fn};
/// use varvel_toolkit::FailureLog;
///
/// let inner = sync_fn(|_, _| -> AppResult { Err(AppError::internal("no database")) });
/// let app = sync_fn(move |request: Request<ReadBody>, scope: Scope| {
///     let log = FailureLog::of(&scope);
///     let (method, uri) = (request.method().clone(), request.uri().clone());
///     inner.call(request, scope).or_else(|failure| {
///         log.failed(&method, &uri, &failure);
///         let mut page = Response::new(WriteBody::from("We are sorry."));
///         *page.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
///         Ok(page)
///     })
/// });
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.get("/").try_send().unwrap().text(), "We are sorry.");
/// ```
#[derive(Clone, Debug)]
pub struct FailureLog {
    worker: Worker,
    connection: u64,
    exchange: u64,
}

impl FailureLog {
    /// That of a call.
    pub fn of(scope: &Scope) -> Self {
        Self { worker: scope.worker().clone(), connection: scope.conn().id, exchange: scope.number() }
    }

    /// Reports that the call failed.
    pub fn failed(&self, method: &Method, uri: &Uri, failure: &AppError) {
        let error = failure.source().map(|source| source as &(dyn Error + 'static));
        self.report(method, uri, Event::AppFailed { kind: failure.kind(), error });
    }

    /// Reports whatever else happened in the call, such as a panic.
    pub fn report(&self, method: &Method, uri: &Uri, event: Event<'_>) {
        let target = uri.path_and_query().map_or("*", |target| target.as_str());
        let request = RequestId::new(self.connection, self.exchange, Some(method), target.as_bytes());
        self.worker.report(&Report::of(request, event));
    }
}

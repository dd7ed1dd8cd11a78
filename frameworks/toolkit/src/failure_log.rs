//! Where failures are reported by those who answer them in place of the server, panics among them.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use http::{Method, Uri};
use varvel::{AppError, Event, Phase, Report, RequestId, Scope, Worker};

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

    /// The worker of the call.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Reports that the call failed, or panicked if it is a panic that was [caught].
    pub fn failed(&self, method: &Method, uri: &Uri, failure: &AppError) {
        let error = failure.source().map(|source| source as &(dyn Error + 'static));
        let event = match error.and_then(|error| error.downcast_ref()) {
            Some(Panicked(message)) => Event::Panicked { during: Phase::Call, message },
            None => Event::AppFailed { kind: failure.kind(), error },
        };
        self.report(method, uri, event);
    }

    /// Reports whatever else happened in the call.
    pub fn report(&self, method: &Method, uri: &Uri, event: Event<'_>) {
        let target = uri.path_and_query().map_or("*", |target| target.as_str());
        let request = RequestId::new(self.connection, self.exchange, Some(method), target.as_bytes());
        self.worker.report(&Report::of(request, event));
    }
}

/// Runs what an application does for a call, and makes a panic a failure of that call, which a [`FailureLog`] reports as the
/// panic that it was. Of a future each poll is run so; one that panicked is not polled again.
///
/// ```
/// use varvel::FailKind;
/// use varvel_toolkit::caught;
///
/// assert_eq!(caught(|| 7).unwrap(), 7);
/// let failure = caught(|| panic!("a mistake")).unwrap_err();
/// assert_eq!((failure.kind(), failure.source().unwrap().to_string()), (FailKind::Internal, "panic: a mistake".into()));
/// ```
///
/// # Errors
/// The panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, AppError> {
    // What the application shares it shares with other threads, and answers for.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        AppError::internal(Panicked(message.unwrap_or_default().to_owned()))
    })
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

//! Factories: how each worker comes by its application, and how it lets go of it.
//!
//! ```text
//! construct factory -> bind -> fork -> build on the worker -> accept ... stop accepting -> finish or deadline
//!                   -> on_finish hooks -> teardown on the worker -> exit
//! ```

use std::{convert::Infallible, error::Error, fmt, future::Future};

use crate::{App, AsyncApp, BoxError, Worker};

/// Builds a sync application for each worker.
///
/// A *worker* is whatever owns one application value: a pool of threads, an event loop, a forked process. `build` runs
/// once on each, after any fork (spec S1, L3), so open files, sockets and threads there and not in the factory's own
/// constructor (spec A9).
///
/// ```
/// use varvel::{App, AppFactory, StartError, Worker, WriteBody, sync_fn};
///
/// struct Site {
///     title: String,
/// }
///
/// impl AppFactory for Site {
///     type App = Box<dyn App + Send + Sync>;
///
///     fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
///         let text = format!("{} from worker {}\n", self.title, worker.info().index);
///         Ok(Box::new(sync_fn(move |_, _| Ok(http::Response::new(WriteBody::full(text.clone()))))))
///     }
/// }
/// ```
pub trait AppFactory {
    /// The application.
    type App;

    /// What the server must know before it builds.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Builds a worker's application.
    ///
    /// # Errors
    /// Ends the server before it served anything (spec L1), or keeps a replacement worker from serving (spec L2).
    fn build(&self, worker: &Worker) -> Result<Self::App, StartError>;

    /// Takes the application back after its last call, body and hook (spec L5).
    ///
    /// # Errors
    /// Are reported, and change nothing else.
    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        let _ = worker;
        drop(app);
        Ok(())
    }
}

/// Builds an async application for each worker, on the worker's own loop; see [`AppFactory`].
pub trait AsyncAppFactory {
    /// The application; it need not be `Send` on servers that keep it on one thread.
    type App: AsyncApp;

    /// What the server must know before it builds.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Builds a worker's application.
    fn build(&self, worker: &Worker) -> impl Future<Output = Result<Self::App, StartError>>;

    /// Takes the application back after its last call, body and hook (spec L5).
    fn teardown(&self, app: Self::App, worker: &Worker) -> impl Future<Output = Result<(), BoxError>> {
        let _ = worker;
        drop(app);
        std::future::ready(Ok(()))
    }
}

/// What an application asks of its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// What becomes of a call whose client has left. Default: [`OnDisconnect::Cancel`].
    pub on_disconnect: OnDisconnect,
    /// Whether calls on one application value must never overlap (spec S13). Default: they may.
    pub exclusive: bool,
}

impl Policy {
    /// Lets calls whose client has left run to their end (spec E10).
    #[must_use]
    pub fn finish_on_disconnect(mut self) -> Self {
        self.on_disconnect = OnDisconnect::Finish;
        self
    }

    /// Answers clients that have closed their sending side, who may still be reading ([`OnDisconnect::Answer`]).
    #[must_use]
    pub fn answer_half_closed(mut self) -> Self {
        self.on_disconnect = OnDisconnect::Answer;
        self
    }

    /// Asks for calls that never overlap (spec S13).
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }
}

/// What becomes of an async call whose client has left. Sync calls always run to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDisconnect {
    /// The future, then the body, are dropped where they stand (spec E8).
    #[default]
    Cancel,
    /// The future is polled to its end and its answer discarded (spec E10).
    Finish,
    /// As `Cancel`, but the end of the client's sending side is not taken for its leaving: whoever may still be reading
    /// gets the answer. What the bridges ask for in the name of sync applications, whose calls go on anyway.
    Answer,
}

/// Why an application could not be built.
#[derive(Debug)]
pub struct StartError {
    source: BoxError,
    retry: bool,
}

impl StartError {
    /// The application cannot be built, and trying again will not help.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into(), retry: false }
    }

    /// The application cannot be built just now; a supervisor may try again (spec L2).
    pub fn retry(source: impl Into<BoxError>) -> Self {
        Self { source: source.into(), retry: true }
    }

    /// Whether trying again may help.
    pub fn may_retry(&self) -> bool {
        self.retry
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the application could not be built: {}", self.source)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Nothing can go wrong: lets `?` convert from infallible conversions.
impl From<Infallible> for StartError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

/// The factory of an application that exists already: each worker gets a clone. Share with `Shared(Arc::new(app))`, or
/// give each worker its own copy with a plain value.
///
/// ```
/// use std::sync::Arc;
/// use http::Response;
/// use varvel::{Shared, WriteBody, sync_fn};
///
/// let factory = Shared(Arc::new(sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello"))))));
/// # let _ = factory;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shared<A>(
    /// What each worker gets a clone of.
    pub A,
);

impl<A: App + Clone> AppFactory for Shared<A> {
    type App = A;

    fn build(&self, _worker: &Worker) -> Result<A, StartError> {
        Ok(self.0.clone())
    }
}

impl<A: AsyncApp + Clone> AsyncAppFactory for Shared<A> {
    type App = A;

    fn build(&self, _worker: &Worker) -> impl Future<Output = Result<A, StartError>> {
        std::future::ready(Ok(self.0.clone()))
    }
}

/// A factory made of a function; see [`sync_factory_fn`] and [`factory_fn`].
#[derive(Clone, Copy, Debug)]
pub struct FactoryFn<F> {
    build: F,
    policy: Policy,
}

/// A factory of a function that builds a sync application for a worker. What goes wrong is a [`StartError`]: `?` takes errors
/// of IO, [`StartError::new`] texts and all others.
///
/// ```
/// use varvel::{WriteBody, sync_factory_fn, sync_fn};
///
/// let factory = sync_factory_fn(|worker| {
///     let text = format!("worker {}\n", worker.info().index);
///     Ok(sync_fn(move |_, _| Ok(http::Response::new(WriteBody::full(text.clone())))))
/// });
/// # let _ = factory;
/// ```
pub fn sync_factory_fn<F, A>(build: F) -> FactoryFn<F>
where
    F: Fn(&Worker) -> Result<A, StartError>,
    A: App,
{
    FactoryFn { build, policy: Policy::default() }
}

/// A factory of a function that builds an async application for a worker. The function gets a handle of its own, so
/// that its future may keep it.
///
/// ```
/// use varvel::{AsyncBody, app_fn, factory_fn};
///
/// let factory = factory_fn(|worker| async move {
///     let text = format!("worker {}\n", worker.info().index);
///     Ok(app_fn(move |_, _| {
///         let text = text.clone();
///         async move { Ok(http::Response::new(AsyncBody::full(text))) }
///     }))
/// });
/// # let _ = factory;
/// ```
pub fn factory_fn<F, Fut, A>(build: F) -> FactoryFn<F>
where
    F: Fn(Worker) -> Fut,
    Fut: Future<Output = Result<A, StartError>>,
    A: AsyncApp,
{
    FactoryFn { build, policy: Policy::default() }
}

impl<F> FactoryFn<F> {
    /// Sets what the application asks of its server.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

impl<F, A> AppFactory for FactoryFn<F>
where
    F: Fn(&Worker) -> Result<A, StartError>,
    A: App,
{
    type App = A;

    fn policy(&self) -> Policy {
        self.policy
    }

    fn build(&self, worker: &Worker) -> Result<A, StartError> {
        (self.build)(worker)
    }
}

impl<F, Fut, A> AsyncAppFactory for FactoryFn<F>
where
    F: Fn(Worker) -> Fut,
    Fut: Future<Output = Result<A, StartError>>,
    A: AsyncApp,
{
    type App = A;

    fn policy(&self) -> Policy {
        self.policy
    }

    fn build(&self, worker: &Worker) -> impl Future<Output = Result<A, StartError>> {
        (self.build)(worker.clone())
    }
}

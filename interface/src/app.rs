//! The two traits: an application is something that can be called with a request.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc};

use http::{Request, Response};

use crate::{AppError, AsyncBody, ReadBody, Scope, WriteBody};

/// What a sync application answers.
pub type AppResult = Result<Response<WriteBody>, AppError>;

/// What an async application answers.
pub type AsyncAppResult = Result<Response<AsyncBody>, AppError>;

/// The future of an erased async application: boxed, and `Send` so that any server can poll it.
pub type AppFuture = Pin<Box<dyn Future<Output = AsyncAppResult> + Send>>;

/// Any sync application behind a pointer: `Arc<DynApp>` is an [`App`].
pub type DynApp = dyn App + Send + Sync;

/// Any async application behind a pointer: `Arc<DynAsyncApp>` is an [`AsyncApp`]. [`Boxed`] makes one.
pub type DynAsyncApp = dyn AsyncApp<Future = AppFuture> + Send + Sync;

/// A sync application: it answers on the thread that calls it and may block there.
///
/// The server calls it once for each well-formed request (spec S3), possibly from several threads at once
/// unless the factory's [`Policy`](crate::Policy) says `exclusive` (spec A2).
///
/// The trait asks for neither `Send` nor `Sync`; each server states what it needs.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{App, AppResult, ReadBody, Scope, WriteBody};
///
/// struct Greeter {
///     greeting: String,
/// }
///
/// impl App for Greeter {
///     fn call(&self, request: Request<ReadBody>, _scope: Scope) -> AppResult {
///         let text = format!("{}, {}!\n", self.greeting, request.uri().path());
///         Ok(Response::new(WriteBody::full(text)))
///     }
/// }
/// ```
pub trait App {
    /// Answers one request.
    ///
    /// # Errors
    /// An [`AppError`] before the head was sent becomes an error response on every server alike (spec E1, E2, E3).
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult;
}

/// An async application: it answers with a future, which must not block the thread that polls it (spec A1).
///
/// The future does not borrow the application, so it is the one stable form in which a middleware's future is
/// `Send` exactly when the inner application's is. Clone a handle into the future instead of borrowing `self`.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{AppFuture, AsyncApp, AsyncBody, Scope};
///
/// #[derive(Clone)]
/// struct Echo;
///
/// impl AsyncApp for Echo {
///     type Future = AppFuture;
///
///     fn call(&self, request: Request<AsyncBody>, _scope: Scope) -> AppFuture {
///         Box::pin(async move { Ok(Response::new(request.into_body())) })
///     }
/// }
/// ```
pub trait AsyncApp {
    /// The answer to come.
    type Future: Future<Output = AsyncAppResult>;

    /// Begins to answer one request.
    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future;
}

macro_rules! pass_through {
    ($($pointer:ty),*) => {$(
        impl<A: App + ?Sized> App for $pointer {
            fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
                (**self).call(request, scope)
            }
        }

        impl<A: AsyncApp + ?Sized> AsyncApp for $pointer {
            type Future = A::Future;

            fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
                (**self).call(request, scope)
            }
        }
    )*};
}

pass_through!(&A, Box<A>, Rc<A>, Arc<A>);

/// An async application made of a function; see [`app_fn`].
#[derive(Clone, Copy, Debug)]
pub struct AppFn<F>(F);

/// Makes an async application of an `async` function or closure.
///
/// ```
/// use http::Response;
/// use varvel::{AsyncBody, app_fn};
///
/// let hello = app_fn(|_request, _scope| async {
///     Ok(Response::new(AsyncBody::from_static(b"Hello, World!")))
/// });
/// # let _ = hello;
/// ```
pub fn app_fn<F, Fut>(function: F) -> AppFn<F>
where
    F: Fn(Request<AsyncBody>, Scope) -> Fut,
    Fut: Future<Output = AsyncAppResult>,
{
    AppFn(function)
}

impl<F, Fut> AsyncApp for AppFn<F>
where
    F: Fn(Request<AsyncBody>, Scope) -> Fut,
    Fut: Future<Output = AsyncAppResult>,
{
    type Future = Fut;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Fut {
        (self.0)(request, scope)
    }
}

/// A sync application made of a function; see [`sync_fn`].
#[derive(Clone, Copy, Debug)]
pub struct SyncFn<F>(F);

/// Makes a sync application of a function or closure.
///
/// ```
/// use http::Response;
/// use varvel::{WriteBody, sync_fn};
///
/// let hello = sync_fn(|_request, _scope| Ok(Response::new(WriteBody::from_static(b"Hello, World!"))));
/// # let _ = hello;
/// ```
pub fn sync_fn<F>(function: F) -> SyncFn<F>
where
    F: Fn(Request<ReadBody>, Scope) -> AppResult,
{
    SyncFn(function)
}

impl<F> App for SyncFn<F>
where
    F: Fn(Request<ReadBody>, Scope) -> AppResult,
{
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        (self.0)(request, scope)
    }
}

/// Erases an async application's future type, for collections of applications such as a router's.
///
/// Costs one allocation a call. The future must be `Send`; [`LocalBoxed`] is the form without that bound.
///
/// ```
/// use std::sync::Arc;
/// use http::Response;
/// use varvel::{AsyncBody, Boxed, DynAsyncApp, app_fn};
///
/// let one = app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) });
/// let two = app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"two"))) });
/// let both: [Arc<DynAsyncApp>; 2] = [Arc::new(Boxed(one)), Arc::new(Boxed(two))];
/// # let _ = both;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Boxed<A>(
    /// The application whose futures are boxed.
    pub A,
);

impl<A> AsyncApp for Boxed<A>
where
    A: AsyncApp,
    A::Future: Send + 'static,
{
    type Future = AppFuture;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        Box::pin(self.0.call(request, scope))
    }
}

/// [`Boxed`] for applications whose futures are not `Send`; they run on servers that poll on one thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalBoxed<A>(
    /// The application whose futures are boxed.
    pub A,
);

impl<A> AsyncApp for LocalBoxed<A>
where
    A: AsyncApp,
    A::Future: 'static,
{
    type Future = Pin<Box<dyn Future<Output = AsyncAppResult>>>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        Box::pin(self.0.call(request, scope))
    }
}

//! Methods that answer requests.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use varvel::AppFuture;

use crate::{
    AsyncRequest, AsyncResponse, Request, Resource, Response, Result,
    awaited::Awaited,
    call::conclude_alone,
    form::{AsyncForm, SyncForm},
    hook::Hooks,
};

/// A method of a resource `R` that answers requests:
/// `fn(&R, &mut Request, &mut Response) -> Result`, or
/// `async fn(&R, &mut AsyncRequest, &mut AsyncResponse) -> Result`.
///
/// `Form` tells the two apart, and is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "this is not a responder of `{R}`",
    label = "not a method that takes a request and fills in a response",
    note = "a sync responder is `fn(&self, req: &mut Request, resp: &mut Response) -> Result`",
    note = "an async responder is `async fn(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result`, and its \
            future is `Send`: what is not, such as an `Rc`, is gone before an `.await`",
    note = "fields of the path are asked for: `let id: u64 = req.path_param(\"id\")?`"
)]
pub trait Respond<R, Form>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_call(self, resource: Arc<R>) -> Call;
}

/// A responder with its resource.
#[doc(hidden)]
pub enum Call {
    Sync(Arc<SyncCall>),
    Async(Arc<dyn AsyncCall>),
}

pub(crate) type SyncCall = dyn Fn(&mut Request, &mut Response) -> Result + Send + Sync;

#[doc(hidden)]
pub trait AsyncCall: Send + Sync {
    fn call<'c>(
        &'c self,
        req: &'c mut AsyncRequest,
        resp: &'c mut AsyncResponse,
    ) -> Pin<Box<dyn Future<Output = Result> + Send + 'c>>;

    /// The rest of a call in which nothing is around the responder.
    fn call_alone(self: Arc<Self>, exchange: Box<(AsyncRequest, AsyncResponse)>) -> AppFuture;

    /// The same for another worker, which counts its own calls.
    fn again(&self) -> Arc<dyn AsyncCall>;
}

impl Clone for Call {
    fn clone(&self) -> Self {
        match self {
            Self::Sync(call) => Self::Sync(Arc::clone(call)),
            Self::Async(call) => Self::Async(call.again()),
        }
    }
}

impl<R, F> Respond<R, SyncForm> for F
where
    R: Resource,
    F: Fn(&R, &mut Request, &mut Response) -> Result + Send + Sync + 'static,
{
    fn into_call(self, resource: Arc<R>) -> Call {
        Call::Sync(Arc::new(move |req, resp| self(&resource, req, resp)))
    }
}

impl<R, F> Respond<R, AsyncForm> for F
where
    R: Resource,
    F: for<'c> AsyncMethod<'c, R> + Send + Sync + 'static,
{
    fn into_call(self, resource: Arc<R>) -> Call {
        Call::Async(Arc::new(Bound { resource, method: Arc::new(self) }))
    }
}

/// An async method and its resource.
struct Bound<R, F> {
    resource: Arc<R>,
    method: Arc<F>,
}

impl<R, F> AsyncCall for Bound<R, F>
where
    R: Resource,
    F: for<'c> AsyncMethod<'c, R> + Send + Sync + 'static,
{
    fn call<'c>(
        &'c self,
        req: &'c mut AsyncRequest,
        resp: &'c mut AsyncResponse,
    ) -> Pin<Box<dyn Future<Output = Result> + Send + 'c>> {
        Box::pin(self.method.call(&self.resource, req, resp))
    }

    fn call_alone(self: Arc<Self>, mut exchange: Box<(AsyncRequest, AsyncResponse)>) -> AppFuture {
        Box::pin(async move {
            let (req, resp) = &mut *exchange;
            let outcome = {
                let responder = pin!(async { self.method.call(&self.resource, req, resp).await });
                Awaited::Future(responder).await
            };
            conclude_alone(outcome, req, resp)
        })
    }

    fn again(&self) -> Arc<dyn AsyncCall> {
        Arc::new(Self { resource: Arc::clone(&self.resource), method: Arc::clone(&self.method) })
    }
}

/// An async method of a resource, whose future borrows from all its arguments.
#[doc(hidden)]
pub trait AsyncMethod<'c, R: 'c> {
    type Future: Future<Output = Result> + Send + 'c;

    fn call(&self, resource: &'c R, req: &'c mut AsyncRequest, resp: &'c mut AsyncResponse) -> Self::Future;
}

impl<'c, R, F, Fut> AsyncMethod<'c, R> for F
where
    R: 'c,
    F: Fn(&'c R, &'c mut AsyncRequest, &'c mut AsyncResponse) -> Fut,
    Fut: Future<Output = Result> + Send + 'c,
{
    type Future = Fut;

    fn call(&self, resource: &'c R, req: &'c mut AsyncRequest, resp: &'c mut AsyncResponse) -> Fut {
        self(resource, req, resp)
    }
}

/// A responder and what is around it.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(crate) hooks: Hooks,
    pub(crate) call: Call,
}

impl Responder {
    pub(crate) fn new(call: Call) -> Self {
        Self { hooks: Hooks::default(), call }
    }
}

//! Methods that answer requests.

use std::{pin::Pin, sync::Arc};

use crate::{
    AsyncRequest, AsyncResponse, Request, Resource, Response, Result,
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
#[derive(Clone)]
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
        Call::Async(Arc::new(Bound(resource, self)))
    }
}

/// An async method and its resource.
struct Bound<R, F>(Arc<R>, F);

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
        Box::pin(self.1.call(&self.0, req, resp))
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

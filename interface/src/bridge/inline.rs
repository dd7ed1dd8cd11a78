//! A sync application on an event loop, called on the loop itself.

use std::fmt;

use http::Request;

use super::{Offloaded, OffloadedCall, origin::Origin};
use crate::{
    App, AppFactory, AsyncApp, AsyncAppFactory, AsyncBody, BodyParts, BoxError, Policy, ReadBody, Scope,
    StartError, Worker,
};

/// [`Offloaded`] without the hand-over, for applications whose author promises that a call does not block.
///
/// What would have to block is offloaded all the same: calls whose request body has not arrived in full, and response
/// bodies that are written piece by piece; and all calls under a policy of exclusive ones.
///
/// ```
/// use http::Response;
/// use varvel::{Shared, WriteBody, bridge::Inline, sync_fn};
///
/// let hello = sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello"))));
/// let factory = Inline::new(Shared(hello));
/// # let _ = factory;
/// ```
pub struct Inline<A>(Offloaded<A>);

impl<A> Inline<A> {
    /// Wraps a sync application, or the factory of one, that does not block.
    pub fn new(inner: A) -> Self {
        Self(Offloaded::new(inner))
    }
}

impl<A> Clone for Inline<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> fmt::Debug for Inline<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inline")
    }
}

impl<A: App + Send + Sync + 'static> AsyncApp for Inline<A> {
    type Future = OffloadedCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> OffloadedCall {
        if self.0.is_exclusive() {
            // A call on the loop could not wait for one on the pool.
            return self.0.call(request, scope);
        }
        let (head, body) = request.into_parts();
        let body = match body.into_parts() {
            BodyParts::Empty => ReadBody::empty(),
            BodyParts::Full(bytes) => ReadBody::full(bytes),
            parts => return self.0.call(Request::from_parts(head, AsyncBody::from(parts)), scope),
        };
        let origin = Origin::of(&head, &scope);
        let result = self.0.inner().call(Request::from_parts(head, body), scope);
        OffloadedCall::returned(result, origin)
    }
}

impl<F> AsyncAppFactory for Inline<F>
where
    F: AppFactory,
    F::App: App + Send + Sync + 'static,
{
    type App = Inline<F::App>;

    fn policy(&self) -> Policy {
        self.0.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        Ok(Inline(self.0.build(worker).await?))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        self.0.teardown(app.0, worker).await
    }
}

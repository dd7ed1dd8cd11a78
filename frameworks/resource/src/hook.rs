//! What is done before and after responders.

use std::{pin::Pin, sync::Arc};

use varvel_toolkit::caught;

use crate::{
    RequestHead, ResponseHead, Result,
    awaited::awaited,
    form::{AsyncForm, SyncForm},
};

/// What is done before or after a responder, a function of the heads: `fn(&mut RequestHead, &mut ResponseHead) -> Result`, or
/// an `async fn` of the same. Either serves responders of both forms; an async one costs an allocation, for its future.
///
/// A closure names the types of its arguments: `|req: &mut RequestHead, resp: &mut ResponseHead| …`.
///
/// `Form` tells the two apart, and is found by the compiler.
///
/// ```
/// use varvel_resource::{Request, RequestHead, Resource, Responders, Response, ResponseHead, Result, errors};
///
/// struct Vault;
///
/// impl Resource for Vault {
///     fn responders(on: Responders<Self>) -> Responders<Self> {
///         on.before(members_only).before(not_too_often).get(Self::on_get)
///     }
/// }
///
/// fn members_only(req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
///     match req.auth() {
///         Some("Bearer sesame") => Ok(()),
///         _ => Err(errors::unauthorized("The magic word, please.", "Bearer").into()),
///     }
/// }
///
/// async fn not_too_often(_req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
///     // Asks another service.
///     Ok(())
/// }
/// # impl Vault {
/// #     fn on_get(&self, _req: &mut Request, _resp: &mut Response) -> Result {
/// #         Ok(())
/// #     }
/// # }
/// # let mut app = varvel_resource::App::new();
/// # app.add_route("/", Vault).unwrap();
/// # let client = varvel_resource::testing::TestClient::new(app);
/// # assert_eq!(client.simulate_get("/").send().status(), 401);
/// # assert_eq!(client.simulate_get("/").header("authorization", "Bearer sesame").send().status(), 200);
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a hook",
    label = "not a function that looks at the heads of request and response",
    note = "a hook is `fn(&mut RequestHead, &mut ResponseHead) -> Result`, sync or async; a closure names their types: \
            `|req: &mut RequestHead, resp: &mut ResponseHead| ...`"
)]
pub trait Hook<Form>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_call(self) -> HookCall;
}

/// A hook whose type is forgotten.
#[derive(Clone)]
#[doc(hidden)]
pub enum HookCall {
    Sync(Arc<SyncHook>),
    Async(Arc<dyn DynAsyncHook>),
}

type SyncHook = dyn Fn(&mut RequestHead, &mut ResponseHead) -> Result + Send + Sync;

#[doc(hidden)]
pub trait DynAsyncHook: Send + Sync {
    fn call<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Pin<Box<dyn Future<Output = Result> + Send + 'c>>;
}

impl HookCall {
    pub(crate) async fn call(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        match self {
            Self::Sync(hook) => caught(|| hook(req, resp))?,
            Self::Async(hook) => awaited(|| hook.call(req, resp)).await,
        }
    }
}

impl<H> Hook<SyncForm> for H
where
    H: Fn(&mut RequestHead, &mut ResponseHead) -> Result + Send + Sync + 'static,
{
    fn into_call(self) -> HookCall {
        HookCall::Sync(Arc::new(self))
    }
}

impl<H> Hook<AsyncForm> for H
where
    H: for<'c> AsyncHook<'c> + Send + Sync + 'static,
{
    fn into_call(self) -> HookCall {
        HookCall::Async(Arc::new(self))
    }
}

impl<H> DynAsyncHook for H
where
    H: for<'c> AsyncHook<'c> + Send + Sync,
{
    fn call<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Pin<Box<dyn Future<Output = Result> + Send + 'c>> {
        Box::pin(AsyncHook::call(self, req, resp))
    }
}

/// An async function of the heads, whose future borrows from both.
#[doc(hidden)]
pub trait AsyncHook<'c> {
    type Future: Future<Output = Result> + Send + 'c;

    fn call(&self, req: &'c mut RequestHead, resp: &'c mut ResponseHead) -> Self::Future;
}

impl<'c, H, Fut> AsyncHook<'c> for H
where
    H: Fn(&'c mut RequestHead, &'c mut ResponseHead) -> Fut,
    Fut: Future<Output = Result> + Send + 'c,
{
    type Future = Fut;

    fn call(&self, req: &'c mut RequestHead, resp: &'c mut ResponseHead) -> Fut {
        self(req, resp)
    }
}

/// What comes before a responder and after it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<HookCall>,
    pub(crate) after: Vec<HookCall>,
}

impl Hooks {
    pub(crate) fn are_none(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

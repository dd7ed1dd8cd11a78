//! Resources and their responders.
//!
//! A resource is a value of your own. Its responders are ordinary methods, sync or async, by whatever names; which of
//! them answers which method is said once, by the resource itself, in [`Resource::responders`]:
//!
//! ```
//! use varvel_resource::{AsyncRequest, AsyncResponse, Request, Resource, Responders, Response, Result};
//!
//! struct Notes;
//!
//! impl Resource for Notes {
//!     fn responders(on: Responders<Self>) -> Responders<Self> {
//!         on.get(Self::on_get).post(Self::on_post)
//!     }
//! }
//!
//! impl Notes {
//!     /// Sync: may block.
//!     fn on_get(&self, _req: &mut Request, resp: &mut Response) -> Result {
//!         resp.set_media(&["buy milk"])
//!     }
//!
//!     /// Async: may wait.
//!     async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
//!         let note: String = req.media().await?;
//!         resp.status = http::StatusCode::CREATED;
//!         resp.set_media(&note)
//!     }
//! }
//! ```
//!
//! So nothing is looked up by name, the compiler warns of a responder that is not in the list, refuses one in it that is not
//! there, and a resource may have several lists: those are Falcon's suffixes.

use std::{any::type_name, fmt, pin::Pin, sync::Arc};

use http::{HeaderValue, Method};

use crate::{AsyncRequest, AsyncResponse, Request, RequestHead, Response, ResponseHead, Result, errors};

/// Something that has a URL, and answers requests for it.
pub trait Resource: Send + Sync + Sized + 'static {
    /// Which responder answers which method. What is not here is answered with 405; HEAD is answered by GET, and OPTIONS
    /// with a list of what there is, unless they have responders of their own.
    fn responders(on: Responders<Self>) -> Responders<Self>;
}

/// A [`Resource`], or a pointer to one that several routes lead to.
pub trait IntoResource {
    /// The resource.
    type Resource: Resource;

    /// A pointer to it.
    fn into_resource(self) -> Arc<Self::Resource>;
}

impl<R: Resource> IntoResource for R {
    type Resource = R;

    fn into_resource(self) -> Arc<R> {
        Arc::new(self)
    }
}

impl<R: Resource> IntoResource for Arc<R> {
    type Resource = R;

    fn into_resource(self) -> Arc<R> {
        self
    }
}

/// The responders of a resource, by method, with the hooks around them. Made by an [`App`](crate::App) that a route is
/// added to.
pub struct Responders<R> {
    resource: Arc<R>,
    by_method: Vec<(Method, Responder)>,
    any: Option<Responder>,
    websocket: Option<Responder>,
    before: Vec<(Option<Method>, HookCall)>,
    after: Vec<(Option<Method>, HookCall)>,
}

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
            Self::Sync(hook) => hook(req, resp),
            Self::Async(hook) => hook.call(req, resp).await,
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

#[doc(hidden)]
#[derive(Debug)]
pub enum SyncForm {}
#[doc(hidden)]
#[derive(Debug)]
pub enum AsyncForm {}

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

macro_rules! responders {
    ($($function:ident $method:ident)*) => {$(
        #[doc = concat!("What answers ", stringify!($method), ": `on_", stringify!($function), "`.")]
        #[must_use]
        pub fn $function<Form>(self, responder: impl Respond<R, Form>) -> Self {
            self.on(Method::$method, responder)
        }
    )*};
}

impl<R: Resource> Responders<R> {
    pub(crate) fn of(resource: Arc<R>) -> Self {
        Self {
            resource,
            by_method: Vec::new(),
            any: None,
            websocket: None,
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    responders! { get GET head HEAD post POST put PUT patch PATCH delete DELETE options OPTIONS }

    /// What answers this method; of several for one the last.
    #[must_use]
    pub fn on<Form>(mut self, method: Method, responder: impl Respond<R, Form>) -> Self {
        let responder = Responder::new(responder.into_call(Arc::clone(&self.resource)));
        self.by_method.retain(|(known, _)| *known != method);
        self.by_method.push((method, responder));
        self
    }

    /// What answers every method that has no responder of its own, HEAD and OPTIONS included: as a sink does.
    #[must_use]
    pub fn any<Form>(mut self, responder: impl Respond<R, Form>) -> Self {
        self.any = Some(Responder::new(responder.into_call(Arc::clone(&self.resource))));
        self
    }

    /// What answers a client that asks for a WebSocket: `on_websocket`. Without it such a client is one that GETs.
    ///
    /// It is a responder as any other, so hooks and middleware see the handshake, and an error of it is answered in its
    /// place. What follows the handshake is given to `accept_websocket`:
    ///
    /// ```
    /// use varvel_resource::{App, AsyncRequest, AsyncResponse, Resource, Responders, Result};
    /// use varvel_toolkit::websocket::Handshake;
    ///
    /// struct Echo;
    ///
    /// impl Resource for Echo {
    ///     fn responders(on: Responders<Self>) -> Responders<Self> {
    ///         on.websocket(Self::on_websocket)
    ///     }
    /// }
    ///
    /// impl Echo {
    ///     async fn on_websocket(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
    ///         resp.accept_websocket(req, &Handshake::new(), |mut socket| async move {
    ///             while let Ok(Some(message)) = socket.recv().await {
    ///                 if socket.send(message).await.is_err() {
    ///                     break;
    ///                 }
    ///             }
    ///         })
    ///     }
    /// }
    ///
    /// let mut app = App::new();
    /// app.add_route("/echo", Echo)?;
    /// # let client = varvel_resource::testing::TestClient::new(app);
    /// # assert_eq!(client.simulate_get("/echo").send().status(), 405);
    /// # assert_eq!(client.simulate_ws("/echo").unwrap().head().status, 101);
    /// # Ok::<_, varvel_toolkit::router::RouteError>(())
    /// ```
    #[must_use]
    pub fn websocket<Form>(mut self, responder: impl Respond<R, Form>) -> Self {
        self.websocket = Some(Responder::new(responder.into_call(Arc::clone(&self.resource))));
        self
    }

    /// A hook before each responder of this list; of several the first comes first. An error of it, or
    /// [`ResponseHead::complete`], is the end of the call.
    #[must_use]
    pub fn before<Form>(mut self, hook: impl Hook<Form>) -> Self {
        self.before.push((None, hook.into_call()));
        self
    }

    /// A hook before the responder for this method. One for GET comes before HEAD, too, unless that has a responder of its own.
    #[must_use]
    pub fn before_on<Form>(mut self, method: Method, hook: impl Hook<Form>) -> Self {
        self.before.push((Some(method), hook.into_call()));
        self
    }

    /// A hook behind each responder of this list, unless that failed; of several the first comes first.
    #[must_use]
    pub fn after<Form>(mut self, hook: impl Hook<Form>) -> Self {
        self.after.push((None, hook.into_call()));
        self
    }

    /// A hook behind the responder for this method, as [`before_on`](Self::before_on) before it.
    #[must_use]
    pub fn after_on<Form>(mut self, method: Method, hook: impl Hook<Form>) -> Self {
        self.after.push((Some(method), hook.into_call()));
        self
    }

    pub(crate) fn finish(self) -> MethodMap {
        let (mut by_method, mut any, mut websocket) = (self.by_method, self.any, self.websocket);
        let has_head = by_method.iter().any(|(method, _)| *method == Method::HEAD);
        let of = |hooks: &[(Option<Method>, HookCall)], method: Option<&Method>| {
            // What guards GET guards HEAD, unless that has a responder of its own.
            let alias = method.filter(|method| **method == Method::HEAD && !has_head).map(|_| Method::GET);
            let is_for_it = |of: &Option<Method>| of.is_none() || of.as_ref() == method || *of == alias;
            hooks.iter().filter(|(of, _)| is_for_it(of)).map(|(_, hook)| hook.clone()).collect()
        };
        let mut methods = Vec::new();
        for (method, _) in &by_method {
            methods.push(method.clone());
            if *method == Method::GET && !has_head {
                methods.push(Method::HEAD);
            }
        }
        // A method with hooks of its own needs an entry of its own, also where another responder answers it.
        for method in self.before.iter().chain(&self.after).filter_map(|(method, _)| method.as_ref()) {
            let answers = |wanted: &Method| by_method.iter().find(|(known, _)| known == wanted);
            if answers(method).is_none() {
                let get = answers(&Method::GET).filter(|_| *method == Method::HEAD).map(|(_, get)| get);
                let answer = get.or(any.as_ref()).cloned();
                by_method.extend(answer.map(|responder| (method.clone(), responder)));
            }
        }
        for (method, responder) in &mut by_method {
            responder.hooks =
                Hooks { before: of(&self.before, Some(method)), after: of(&self.after, Some(method)) };
        }
        for responder in any.iter_mut().chain(&mut websocket) {
            responder.hooks = Hooks { before: of(&self.before, None), after: of(&self.after, None) };
        }
        if !methods.contains(&Method::OPTIONS) {
            methods.push(Method::OPTIONS);
        }
        let (resource, allow) = (type_name::<R>(), errors::allow(&methods));
        MethodMap { resource, by_method, any, websocket, methods, allow }
    }
}

impl<R> fmt::Debug for Responders<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_method.iter().map(|(method, _)| method)).finish()
    }
}

/// A responder and what is around it.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(crate) hooks: Hooks,
    pub(crate) call: Call,
}

/// What comes before a responder and behind it.
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

impl Responder {
    fn new(call: Call) -> Self {
        Self { hooks: Hooks::default(), call }
    }
}

/// The responders of a route.
#[derive(Clone)]
pub(crate) struct MethodMap {
    /// The type of the resource.
    pub(crate) resource: &'static str,
    by_method: Vec<(Method, Responder)>,
    any: Option<Responder>,
    websocket: Option<Responder>,
    /// What is answered without 405.
    pub(crate) methods: Vec<Method>,
    pub(crate) allow: HeaderValue,
}

impl MethodMap {
    pub(crate) fn find(&self, req: &RequestHead) -> Option<&Responder> {
        if let Some(responder) = self.websocket.as_ref().filter(|_| req.is_websocket()) {
            return Some(responder);
        }
        let method = req.method();
        let of = |method: &Method| self.by_method.iter().find(|(known, _)| known == method);
        let found = of(method).or_else(|| of(&Method::GET).filter(|_| *method == Method::HEAD));
        found.map(|(_, responder)| responder).or(self.any.as_ref())
    }

    pub(crate) fn is_for_any(&self) -> bool {
        self.any.is_some()
    }

    pub(crate) fn has_websocket(&self) -> bool {
        self.websocket.is_some()
    }
}

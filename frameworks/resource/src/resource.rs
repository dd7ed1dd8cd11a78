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

use std::{any::type_name, fmt, sync::Arc};

use http::{HeaderValue, Method};

use crate::{
    Hook, RequestHead, Respond, errors,
    hook::{HookCall, Hooks},
    responder::Responder,
};

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
    /// [`ResponseHead::complete`](crate::ResponseHead::complete), is the end of the call.
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

//! Endpoints by path and method: an application of either form.
//!
//! ```
//! use http::{Request, Response};
//! use varvel::{AppResult, AsyncAppResult, AsyncBody, ReadBody, Scope, WriteBody, app_fn, sync_fn};
//! use varvel_toolkit::{Routes, respond, router::PathParams, routes::get};
//!
//! async fn index(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
//!     Ok(respond::html("<h1>Hello</h1>"))
//! }
//!
//! fn user(_request: Request<ReadBody>, scope: Scope) -> AppResult {
//!     let id: u64 = PathParams::of(&scope).parse("id")?;
//!     Ok(respond::json(&id)?)
//! }
//!
//! let routes = Routes::builder()
//!     .route("/", get(app_fn(index)))
//!     .route("/users/{id:int(min=0)}", get(sync_fn(user)).named("user"))
//!     .build()?;
//! assert_eq!(routes.url_for("user", &[("id", &7)])?, "/users/7");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it answers by itself
//!
//! | | |
//! |---|---|
//! | no route has the path | 404 |
//! | the route has not the method | 405 with Allow (RFC 9110 section 15.5.6) |
//! | HEAD, where there is GET | what GET answers; the server leaves the body out (spec H1) |
//! | OPTIONS, and `OPTIONS *` | 204 with Allow |
//! | an [`HttpError`] out of an endpoint, by `?` | that error; see [`HttpError::answer_for`] |
//!
//! Errors are in the form that the client accepts. The most specific path decides, whatever methods it has: a route
//! `/users/me` with GET alone answers 405 to DELETE, though a route `/users/{name}` has it.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use varvel::{
    App, AppError, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, Mode, ReadBody, Scope, map_answer,
};

use crate::{
    Endpoint, EndpointCall, HttpError,
    accept::Accept,
    router::{Converters, RouteError, Router, Template, UrlError},
};

/// The endpoints of one path, by method.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Routes, respond, routes::get};
///
/// let cart = get(sync_fn(|_, _| Ok(respond::text("a cart"))))
///     .put(sync_fn(|_, _| Ok(respond::text("changed"))))
///     .delete(sync_fn(|_, _| Ok(respond::text("gone"))));
/// let routes = Routes::builder().route("/cart", cart).build()?;
/// assert_eq!(routes.list().next().unwrap().to_string(), "/cart  GET, HEAD, PUT, DELETE, OPTIONS");
/// # Ok::<_, varvel_toolkit::routes::RouteErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Methods {
    endpoints: Vec<(Method, Endpoint)>,
    any: Option<Endpoint>,
    name: Option<Box<str>>,
    /// A method that was given twice.
    twice: Option<Method>,
}

macro_rules! methods {
    ($($function:ident $method:ident)*) => {
        $(
            #[doc = concat!("The endpoint for ", stringify!($method), ", and more by the methods of [`Methods`].")]
            pub fn $function(endpoint: impl Into<Endpoint>) -> Methods {
                Methods::default().$function(endpoint)
            }
        )*

        impl Methods {
            $(
                #[doc = concat!("The endpoint for ", stringify!($method), ".")]
                #[must_use]
                pub fn $function(self, endpoint: impl Into<Endpoint>) -> Self {
                    self.on(Method::$method, endpoint)
                }
            )*
        }
    };
}

methods! { get GET head HEAD post POST put PUT patch PATCH delete DELETE options OPTIONS }

/// The endpoint for every method, and for single ones by the methods of [`Methods`].
pub fn any(endpoint: impl Into<Endpoint>) -> Methods {
    Methods::default().any(endpoint)
}

/// The endpoint for this method, and more by the methods of [`Methods`].
pub fn on(method: Method, endpoint: impl Into<Endpoint>) -> Methods {
    Methods::default().on(method, endpoint)
}

impl Methods {
    /// The endpoint for this method.
    #[must_use]
    pub fn on(mut self, method: Method, endpoint: impl Into<Endpoint>) -> Self {
        if self.endpoints.iter().any(|(known, _)| *known == method) {
            self.twice.get_or_insert(method);
        } else {
            self.endpoints.push((method, endpoint.into()));
        }
        self
    }

    /// The endpoint for every method that has none of its own, HEAD and OPTIONS included.
    #[must_use]
    pub fn any(mut self, endpoint: impl Into<Endpoint>) -> Self {
        self.any = Some(endpoint.into());
        self
    }

    /// Names the route, for [`Routes::url_for`].
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    fn merge(&mut self, other: Self) {
        for (method, endpoint) in other.endpoints {
            *self = std::mem::take(self).on(method, endpoint);
        }
        self.any = self.any.take().or(other.any);
        self.name = self.name.take().or(other.name);
        self.twice = self.twice.take().or(other.twice);
    }

    fn find(&self, method: &Method) -> Option<&Endpoint> {
        let of = |method: &Method| self.endpoints.iter().find(|(known, _)| known == method);
        let found = of(method).or_else(|| of(&Method::GET).filter(|_| *method == Method::HEAD));
        found.map(|(_, endpoint)| endpoint).or(self.any.as_ref())
    }

    /// The methods that it answers: its own, and those that follow from them.
    fn answered(&self) -> Vec<Method> {
        let of_get = |method: &Method| (*method == Method::GET).then_some(Method::HEAD);
        let own = self.endpoints.iter().flat_map(|(method, _)| [Some(method.clone()), of_get(method)]);
        let mut methods = Vec::new();
        for method in own.flatten().chain([Method::OPTIONS]) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        methods
    }
}

fn allow(methods: &[Method]) -> HeaderValue {
    let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(methods.join(", ")).expect("methods are tokens")
}

/// What a path leads to.
#[derive(Clone, Debug)]
enum Target {
    Methods(Methods),
    Mount(Endpoint),
}

/// Endpoints by path and method: an [`App`] and an [`AsyncApp`]. See the [module](crate::routes).
///
/// The values of a route's fields are in the scope of its endpoint, as [`PathParams`](crate::router::PathParams).
///
/// A clone has a table of its own, so that workers with an application each share nothing but the endpoints.
#[derive(Clone)]
pub struct Routes {
    router: Router<Target>,
    /// What any route answers, for `OPTIONS *`.
    allow: HeaderValue,
}

impl Routes {
    /// Begins a table of routes.
    pub fn builder() -> RoutesBuilder {
        RoutesBuilder::default()
    }

    /// The path of the route of this name, with these values in its fields, below wherever the routes are mounted.
    ///
    /// # Errors
    /// If no route has the name, or values are missing, too many or not acceptable.
    pub fn url_for(&self, name: &str, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        self.router.url_for(name, values)
    }

    /// All routes, in the order in which they were added.
    pub fn list(&self) -> impl Iterator<Item = Listed<'_>> {
        self.router.routes().map(|route| Listed {
            template: route.template().as_str(),
            name: match route.value() {
                Target::Methods(methods) => methods.name.as_deref(),
                Target::Mount(_) => None,
            },
            target: route.value(),
        })
    }

    /// Finds the endpoint, and leaves in the scope what it is to know; or answers.
    fn route<B, M: Mode>(
        &self,
        request: &Request<B>,
        scope: &mut Scope,
        accept: &Accept,
    ) -> Result<&Endpoint, Response<Body<M>>> {
        let uri = request.uri();
        let begin = scope.mount(uri).len();
        let path = scope.local_path(uri);
        let Some(found) = self.router.find(path) else {
            return Err(match (request.method(), path) {
                (&Method::OPTIONS, "*") => with_allow(self.allow.clone()),
                _ => HttpError::not_found().respond(accept),
            });
        };
        let endpoint = match found.value() {
            Target::Methods(methods) => match methods.find(request.method()) {
                Some(endpoint) => endpoint,
                None => return Err(not_for(request.method(), methods, accept)),
            },
            Target::Mount(endpoint) => {
                let taken = found.taken();
                if scope.descend(uri, taken).is_err() {
                    return Err(HttpError::not_found().respond(accept));
                }
                endpoint
            }
        };
        if let Some(params) = found.into_params(uri, begin) {
            params.insert_into(scope);
        }
        Ok(endpoint)
    }
}

/// The answer of a route to a method for which it has no endpoint.
fn not_for<M: Mode>(method: &Method, methods: &Methods, accept: &Accept) -> Response<Body<M>> {
    let allow = allow(&methods.answered());
    if *method == Method::OPTIONS {
        return with_allow(allow);
    }
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED).with_header(header::ALLOW, allow).respond(accept)
}

fn with_allow<M: Mode>(allow: HeaderValue) -> Response<Body<M>> {
    let mut response = crate::respond::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// What a call came to, with what the client is to be told of its failure.
fn answered<M: Mode>(
    answer: Result<Response<Body<M>>, AppError>,
    accept: &Accept,
) -> Result<Response<Body<M>>, AppError> {
    answer.or_else(|failure| HttpError::answer_for(&failure, accept).ok_or(failure))
}

impl App for Routes {
    fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
        let accept = Accept::of(request.headers());
        match self.route(&request, &mut scope, &accept) {
            Ok(endpoint) => {
                map_answer(App::call(endpoint, request, scope), move |answer| answered(answer, &accept))
            }
            Err(answer) => Ok(answer),
        }
    }
}

impl AsyncApp for Routes {
    type Future = RoutesCall;

    fn call(&self, request: Request<AsyncBody>, mut scope: Scope) -> RoutesCall {
        let accept = Accept::of(request.headers());
        RoutesCall(match self.route(&request, &mut scope, &accept) {
            Ok(endpoint) => Step::Called(AsyncApp::call(endpoint, request, scope), accept),
            Err(answer) => Step::Answered(Some(answer)),
        })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// The answer of [`Routes`] to come.
#[must_use = "futures do nothing unless polled"]
pub struct RoutesCall(Step);

enum Step {
    Called(EndpointCall, Accept),
    /// By the table itself.
    Answered(Option<Response<AsyncBody>>),
}

impl Future for RoutesCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        match &mut self.0 {
            Step::Called(call, accept) => {
                let answer = ready!(Pin::new(call).poll(cx));
                Poll::Ready(answered(answer, accept))
            }
            Step::Answered(answer) => {
                Poll::Ready(Ok(answer.take().expect("not polled again after its answer (spec B12)")))
            }
        }
    }
}

impl fmt::Debug for RoutesCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoutesCall")
    }
}

/// One of the [routes](Routes::list); its `Display` is a line for a human.
pub struct Listed<'r> {
    /// Its template.
    pub template: &'r str,
    /// Its name, if it has one.
    pub name: Option<&'r str>,
    target: &'r Target,
}

impl Listed<'_> {
    /// The methods that it answers without 405; `None` if those are for the endpoint to say.
    pub fn methods(&self) -> Option<Vec<Method>> {
        match self.target {
            Target::Methods(methods) if methods.any.is_none() => Some(methods.answered()),
            _ => None,
        }
    }

    /// Whether it is an application for all that is below it.
    pub fn is_mount(&self) -> bool {
        matches!(self.target, Target::Mount(_))
    }
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.template)?;
        match self.methods() {
            Some(methods) => {
                let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
                write!(f, "  {}", methods.join(", "))?;
            }
            None if self.is_mount() => f.write_str("  and all below")?,
            None => f.write_str("  any method")?,
        }
        match self.name {
            Some(name) => write!(f, "  `{name}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A table of routes to be: nothing is looked at before [`build`](Self::build), which tells of all errors at once.
#[derive(Debug, Default)]
pub struct RoutesBuilder {
    converters: Converters,
    routes: Vec<(String, Methods)>,
    mounts: Vec<(String, Endpoint)>,
    urls: Vec<Urls>,
}

impl RoutesBuilder {
    /// What the fields of templates may name, in place of the usual ones.
    #[must_use]
    pub fn converters(mut self, converters: Converters) -> Self {
        self.converters = converters;
        self
    }

    /// Adds a route, or methods to the one of the same template. The module [`router`](crate::router) says how templates
    /// are written and which comes first.
    #[must_use]
    pub fn route(mut self, template: &str, methods: Methods) -> Self {
        self.routes.push((template.into(), methods));
        self
    }

    /// Mounts an application on all paths that begin with the segments of `prefix`, which it finds in
    /// [`Scope::mount`]; `/` takes what no route has. Routes and longer prefixes come first.
    #[must_use]
    pub fn mount(mut self, prefix: &str, app: impl Into<Endpoint>) -> Self {
        self.mounts.push((prefix.into(), app.into()));
        self
    }

    /// Has `urls` know the names of these routes, once they are built.
    #[must_use]
    pub fn urls(mut self, urls: &Urls) -> Self {
        self.urls.push(urls.clone());
        self
    }

    /// Makes an application of it.
    ///
    /// # Errors
    /// Every template that is none, and everything that is there twice: two routes for the same paths, two endpoints for
    /// a method, two routes of a name.
    pub fn build(self) -> Result<Routes, RouteErrors> {
        let mut router = Router::with_converters(self.converters);
        let mut errors = Vec::new();
        for (template, methods) in self.routes {
            match router.value_mut(&template) {
                Some(Target::Methods(known)) => known.merge(methods),
                _ => errors.extend(router.add(&template, Target::Methods(methods)).err()),
            }
        }
        for (prefix, app) in self.mounts {
            errors.extend(router.add_prefix(&prefix, Target::Mount(app)).err());
        }
        let mut all = Vec::new();
        let mut names = Vec::new();
        for route in router.routes() {
            let template = route.template();
            let Target::Methods(methods) = route.value() else { continue };
            if let Some(method) = &methods.twice {
                let method = method.to_string();
                errors.push(RouteError::Method { template: template.to_string(), method });
            }
            names.extend(methods.name.clone().map(|name| (name, template.to_string())));
            all.extend(methods.answered());
        }
        for (name, template) in names {
            errors.extend(router.name(&name, &template).err());
        }
        if !errors.is_empty() {
            return Err(RouteErrors(errors));
        }
        for urls in self.urls {
            let names = router.names().map(|(name, template)| (name.into(), template.clone()));
            // Who gives it to two tables gets the names of the first.
            let _ = urls.0.set(names.collect());
        }
        all.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        all.dedup();
        Ok(Routes { router, allow: allow(&all) })
    }
}

/// What is wrong with a table of routes, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteErrors(pub Vec<RouteError>);

impl fmt::Display for RouteErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Error for RouteErrors {}

/// The names of routes, for endpoints of those very routes: made before them, and filled when they are built.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Routes, respond, routes::{Urls, get}};
///
/// let urls = Urls::new();
/// let index = sync_fn({
///     let urls = urls.clone();
///     move |_, _| Ok(respond::text(urls.url_for("user", &[("id", &7)])?))
/// });
/// let user = sync_fn(|_, _| Ok(respond::text("a user")));
/// let routes = Routes::builder()
///     .route("/", get(index))
///     .route("/users/{id:int}", get(user).named("user"))
///     .urls(&urls)
///     .build()?;
/// assert_eq!(urls.url_for("user", &[("id", &7)])?, "/users/7");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Urls(Arc<OnceLock<HashMap<Box<str>, Template>>>);

impl Urls {
    /// Knows no name until the routes are built.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Routes::url_for`]. Where the routes are mounted [`Scope::mount`] says; put it in front.
    ///
    /// # Errors
    /// As there.
    pub fn url_for(&self, name: &str, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        match self.0.get().and_then(|names| names.get(name)) {
            Some(template) => template.url(values),
            None => Err(UrlError::UnknownName(name.into())),
        }
    }
}

#[cfg(test)]
mod tests;

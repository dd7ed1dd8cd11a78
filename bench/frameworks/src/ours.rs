//! Applications of the contract: the bare one, to which the others are compared, and our frameworks.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use varvel::{
    App, AppError, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, BodyParts, Mode, ReadBody, Scope,
    app_fn, sync_fn,
};
use varvel_bench_contract::Handle;
use varvel_micro::Json;
use varvel_resource::{AsyncRequest, AsyncResponse, Resource, Responders};
use varvel_toolkit::{Endpoint, Routes, respond, router::PathParams, routes};

use crate::subject::{Head, PATH, Subject, User, Wire, paths, ready};

/// An application and the connection by which it is called.
struct Connected<A> {
    app: A,
    handle: Arc<Handle>,
    head: Head,
}

impl<A> Connected<A> {
    fn of(app: A) -> Self {
        Self { app, handle: Arc::default(), head: Head::default() }
    }

    fn begin<M: Mode>(&self) -> (Request<Body<M>>, Scope) {
        let handle = Arc::clone(&self.handle);
        (self.head.request(Body::empty()), Scope::new(handle, 1, PATH.into(), Instant::now()))
    }
}

/// A sync application.
pub(crate) struct Sync<A>(Connected<A>);

impl<A: App> Sync<A> {
    pub(crate) fn new(app: A) -> Self {
        Self(Connected::of(app))
    }
}

impl<A: App> Subject for Sync<A> {
    type Request = (Request<ReadBody>, Scope);

    fn request(&self) -> Self::Request {
        self.0.begin()
    }

    fn answer(&mut self, (request, scope): Self::Request, wire: &mut Wire) {
        send(self.0.app.call(request, scope), wire);
    }
}

/// An async application.
pub(crate) struct Async<A>(Connected<A>);

impl<A: AsyncApp> Async<A> {
    pub(crate) fn new(app: A) -> Self {
        Self(Connected::of(app))
    }
}

impl<A: AsyncApp> Subject for Async<A> {
    type Request = (Request<AsyncBody>, Scope);

    fn request(&self) -> Self::Request {
        self.0.begin()
    }

    fn answer(&mut self, (request, scope): Self::Request, wire: &mut Wire) {
        send(ready(self.0.app.call(request, scope)), wire);
    }
}

/// As our servers do: a body in memory is no stream to them.
fn send<M: Mode>(answer: Result<Response<Body<M>>, AppError>, wire: &mut Wire) {
    let (head, body) = answer.expect("an answer").into_parts();
    wire.status(head.status.as_u16());
    head.headers.iter().for_each(|(name, value)| wire.field(name.as_str(), value.as_bytes()));
    let BodyParts::Full(data) = body.into_parts() else { panic!("the answer is in memory") };
    wire.data(&data);
}

/// What anybody has to do who answers by hand.
fn by_hand<M: Mode>(uri: &Uri) -> Result<Response<Body<M>>, AppError> {
    let Some(Ok(id)) = uri.path().strip_prefix("/users/").map(str::parse) else {
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NOT_FOUND;
        return Ok(nothing);
    };
    let mut response = Response::new(Body::full(serde_json::to_vec(&User::of(id))?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(crate) fn bare_sync() -> impl App {
    sync_fn(|request: Request<ReadBody>, _| -> AppResult { by_hand(request.uri()) })
}

pub(crate) fn bare_async() -> impl AsyncApp {
    app_fn(async |request: Request<AsyncBody>, _| -> AsyncAppResult { by_hand(request.uri()) })
}

pub(crate) fn toolkit_sync(routes: usize) -> impl App {
    toolkit(routes, || Endpoint::inline(sync_fn(|_, scope| user(&scope))))
}

pub(crate) fn toolkit_async(routes: usize) -> impl AsyncApp {
    toolkit(routes, || Endpoint::polled(app_fn(async |_, scope| user(&scope))))
}

fn toolkit(routes: usize, user: impl Fn() -> Endpoint) -> Routes {
    let add = |builder: routes::RoutesBuilder, path: String| builder.route(&path, routes::get(user()));
    paths(routes).fold(Routes::builder(), add).build().expect("good routes")
}

fn user<M: Mode>(scope: &Scope) -> Result<Response<Body<M>>, AppError> {
    let id = PathParams::of(scope).parse("id")?;
    Ok(respond::json(&User::of(id))?)
}

pub(crate) fn micro_sync(routes: usize) -> varvel_micro::App {
    let mut app = varvel_micro::App::new();
    for path in paths(routes) {
        app.get(&path, |id: i64| Json(User::of(id)));
    }
    app
}

pub(crate) fn micro_async(routes: usize) -> varvel_micro::App {
    let mut app = varvel_micro::App::new();
    for path in paths(routes) {
        app.get(&path, async |id: i64| Json(User::of(id)));
    }
    app
}

pub(crate) fn resource_sync(routes: usize) -> varvel_resource::App {
    let mut app = varvel_resource::App::new();
    for path in paths(routes) {
        app.add_route(&path, Users).expect("a good route");
    }
    app
}

pub(crate) fn resource_async(routes: usize) -> varvel_resource::App {
    let mut app = varvel_resource::App::new();
    for path in paths(routes) {
        app.add_route_with_suffix(&path, Users, Users::polled).expect("a good route");
    }
    app
}

/// With what every request meets and nothing comes of.
pub(crate) fn with_idle_middleware(mut app: varvel_resource::App) -> varvel_resource::App {
    struct Idle;
    impl varvel_resource::Middleware for Idle {}
    app.add_middleware(Idle).add_middleware(Idle);
    app
}

struct Users;

impl Resource for Users {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
    }
}

impl Users {
    fn polled(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get_polled)
    }

    fn on_get(
        &self,
        req: &mut varvel_resource::Request,
        resp: &mut varvel_resource::Response,
    ) -> varvel_resource::Result {
        resp.set_media(&User::of(req.path_param("id")?))
    }

    async fn on_get_polled(
        &self,
        req: &mut AsyncRequest,
        resp: &mut AsyncResponse,
    ) -> varvel_resource::Result {
        resp.set_media(&User::of(req.path_param("id")?))
    }
}

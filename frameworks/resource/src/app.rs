//! The application: one table of routes, and what is around them.

use std::{
    any::{Any, type_name},
    error::Error,
    fmt, mem,
    path::PathBuf,
    sync::Arc,
};

use http::{HeaderValue, Request as HttpRequest, StatusCode};
use varvel::{AppError, AppFuture, AppResult, AsyncApp, AsyncBody, BoxError, ReadBody, Scope};
use varvel_toolkit::{
    Endpoint, HttpError, Router,
    files::Files,
    problem,
    router::{Converters, RouteError, UrlError},
};

use crate::{
    HttpStatus, IntoMiddleware, IntoResource, RequestHead, Resource, Responders, ResponseHead, Result, call,
    inspect::AppInfo, media::Handlers, middleware::Component, resource::MethodMap,
};

/// A table of routes to resources, with middleware, error handlers and media handlers: an application of the contract in
/// both forms, and a factory of it.
///
/// ```
/// use varvel_resource::{App, Request, Resource, Responders, Response, Result};
///
/// struct Hello;
///
/// impl Resource for Hello {
///     fn responders(on: Responders<Self>) -> Responders<Self> {
///         on.get(Self::on_get)
///     }
/// }
///
/// impl Hello {
///     fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
///         resp.set_text(format!("Hello, {}!", req.path_param::<String>("name")?));
///         Ok(())
///     }
/// }
///
/// let mut app = App::new();
/// app.add_route("/hello/{name}", Hello)?;
/// # let client = varvel_test::Client::new(app.clone());
/// # assert_eq!(client.get("/hello/World").send().text(), "Hello, World!");
/// # assert_eq!(client.post("/hello/World").send().header("allow"), Some("GET, HEAD, OPTIONS"));
/// # Ok::<_, varvel_toolkit::router::RouteError>(())
/// ```
///
/// A clone has a table of its own, so that workers share nothing but the resources.
pub struct App {
    core: Arc<Core>,
}

/// All that a call needs, unchanged while the application serves.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) router: Router<Target>,
    pub(crate) middleware: Vec<Component>,
    pub(crate) error_handlers: Vec<ErrorHandler>,
    pub(crate) uncaught_handler: Option<Arc<HandleUncaught>>,
    pub(crate) settings: Settings,
}

#[derive(Clone)]
pub(crate) enum Target {
    Resource(MethodMap),
    /// Responders for all paths below a prefix.
    Sink(MethodMap),
    /// An application for all paths below a prefix.
    Mount(Mount),
}

/// An application in another.
pub(crate) struct Mount {
    pub(crate) endpoint: Endpoint,
    /// The same, where it is one of this framework, whose middleware is to be started up.
    pub(crate) app: Option<App>,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) media: Handlers,
    /// What content is where nobody says.
    pub(crate) media_type: &'static str,
    pub(crate) media_type_value: HeaderValue,
    pub(crate) media_bytes_max: usize,
    pub(crate) error_serializer: Option<Arc<ErrorSerializer>>,
}

type ErrorSerializer = dyn Fn(&RequestHead, &mut ResponseHead, &HttpError) + Send + Sync;

/// What is done about errors of a type.
#[derive(Clone)]
pub(crate) struct ErrorHandler {
    pub(crate) type_name: &'static str,
    /// Whether it is only for some of its type, which come before those that are for all.
    pub(crate) is_narrow: bool,
    pub(crate) handle: Arc<HandleError>,
}

/// `None` if the error is none of those it is for.
type HandleError =
    dyn Fn(&(dyn Error + 'static), &RequestHead, &mut ResponseHead) -> Option<Result> + Send + Sync;

type HandleUncaught = dyn Fn(&AppError, &RequestHead, &mut ResponseHead) -> Result + Send + Sync;

impl App {
    /// An application without routes, which answers everything with 404.
    pub fn new() -> Self {
        let media_type = "application/json";
        let settings = Settings {
            media: Handlers::default(),
            media_type,
            media_type_value: HeaderValue::from_static(media_type),
            media_bytes_max: 1024 * 1024,
            error_serializer: None,
        };
        Self {
            core: Arc::new(Core {
                router: Router::new(),
                middleware: Vec::new(),
                error_handlers: Vec::new(),
                uncaught_handler: None,
                settings,
            }),
        }
    }

    /// An application whose templates may name converters of its own: `router_options.converters`.
    pub fn with_converters(converters: Converters) -> Self {
        let mut app = Self::new();
        app.core_mut().router = Router::with_converters(converters);
        app
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    fn core_mut(&mut self) -> &mut Core {
        Arc::make_mut(&mut self.core)
    }

    fn settings_mut(&mut self) -> &mut Settings {
        &mut self.core_mut().settings
    }

    /// Adds a route to a resource, or to an `Arc` of one. How templates are written, and which of several routes comes first,
    /// says [`router`](varvel_toolkit::router); in which order they are added does not matter.
    ///
    /// # Errors
    /// If this is no template, or another route is for the same paths.
    pub fn add_route(
        &mut self,
        template: &str,
        resource: impl IntoResource,
    ) -> Result<&mut Self, RouteError> {
        self.add_route_with_suffix(template, resource, Resource::responders)
    }

    /// Adds a route to another list of a resource's responders: what `suffix` is in Falcon, where the list consists of the
    /// methods whose names end with it. Here it is a function of the resource, like [`Resource::responders`]:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use varvel_resource::{App, Request, Resource, Responders, Response, Result};
    ///
    /// struct Users;
    ///
    /// impl Resource for Users {
    ///     fn responders(on: Responders<Self>) -> Responders<Self> {
    ///         on.get(Self::on_get)
    ///     }
    /// }
    ///
    /// impl Users {
    ///     fn item(on: Responders<Self>) -> Responders<Self> {
    ///         on.get(Self::on_get_item)
    ///     }
    ///
    ///     fn on_get(&self, _req: &mut Request, resp: &mut Response) -> Result {
    ///         resp.set_media(&["ada", "grace"])
    ///     }
    ///
    ///     fn on_get_item(&self, req: &mut Request, resp: &mut Response) -> Result {
    ///         resp.set_media(&req.path_param::<String>("name")?)
    ///     }
    /// }
    ///
    /// let users = Arc::new(Users);
    /// let mut app = App::new();
    /// app.add_route("/users", users.clone())?;
    /// app.add_route_with_suffix("/users/{name}", users, Users::item)?;
    /// # let client = varvel_test::Client::new(app);
    /// # assert_eq!(client.get("/users/ada").send().text(), "\"ada\"");
    /// # Ok::<_, varvel_toolkit::router::RouteError>(())
    /// ```
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route).
    pub fn add_route_with_suffix<I: IntoResource>(
        &mut self,
        template: &str,
        resource: I,
        suffix: fn(Responders<I::Resource>) -> Responders<I::Resource>,
    ) -> Result<&mut Self, RouteError> {
        let methods = suffix(Responders::of(resource.into_resource())).finish();
        self.core_mut().router.add(template, Target::Resource(methods))?;
        Ok(self)
    }

    /// Lets a resource, most likely with a responder for [any](Responders::any) method, answer all paths below a prefix that
    /// have no route; `/` is the prefix of all. Prefixes end where segments do, and may have fields.
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route).
    pub fn add_sink(&mut self, prefix: &str, sink: impl IntoResource) -> Result<&mut Self, RouteError> {
        let methods = Resource::responders(Responders::of(sink.into_resource())).finish();
        self.core_mut().router.add_prefix(prefix, Target::Sink(methods))?;
        Ok(self)
    }

    /// Sends the files of a directory for the paths below a prefix; how, and what not, says [`Files`]. What is not there is an
    /// [`HttpError`] as of a responder, for error handlers and the error serializer.
    ///
    /// # Errors
    /// If the directory cannot be opened, and as [`add_route`](Self::add_route).
    pub fn add_static_route(
        &mut self,
        prefix: &str,
        directory: impl Into<PathBuf>,
    ) -> Result<&mut Self, BoxError> {
        let files = Files::new(directory)?;
        Ok(self.add_app(prefix, files)?)
    }

    /// Lets another application answer all paths below a prefix: another [`App`], one of another framework
    /// ([`Endpoint::both`]), the toolkit's [`Files`] as you like them, or one on the bare contract. Middleware sees its
    /// requests, too.
    ///
    /// Another [`App`] lives and ends with this one: its middleware is started up behind that of this one, and shut down before
    /// it. One that stands in an [`Endpoint`], such as with middleware of the toolkit around it, is only called.
    ///
    /// ```
    /// use varvel_resource::App;
    ///
    /// let v1 = App::new();
    /// let mut app = App::new();
    /// app.add_app("/v1", v1)?;
    /// # Ok::<_, varvel_toolkit::router::RouteError>(())
    /// ```
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route).
    pub fn add_app(
        &mut self,
        prefix: &str,
        app: impl Into<Endpoint> + 'static,
    ) -> Result<&mut Self, RouteError> {
        self.core_mut().router.add_prefix(prefix, Target::Mount(Mount::of(app)))?;
        Ok(self)
    }

    /// Names the route of a template, for [`url_for`](Self::url_for); what is mounted with a field for the rest of the path:
    /// `app.name_route("static", "/static/{file:path}")`.
    ///
    /// # Errors
    /// If there is no such route, or another has the name.
    pub fn name_route(&mut self, name: &str, template: &str) -> Result<&mut Self, RouteError> {
        self.core_mut().router.name(name, template)?;
        Ok(self)
    }

    /// The path of the route of this name, with these values in its fields.
    ///
    /// # Errors
    /// If no route has the name, or values are missing, too many or not acceptable.
    pub fn url_for(
        &self,
        name: &str,
        values: &[(&str, &dyn fmt::Display)],
    ) -> std::result::Result<String, UrlError> {
        self.core.router.url_for(name, values)
    }

    /// What the application consists of, for programs and, printed, for humans: `falcon.inspect`.
    pub fn inspect(&self) -> AppInfo<'_> {
        AppInfo::of(&self.core)
    }

    /// Adds a component, a [`Middleware`](crate::Middleware) or an [`AsyncMiddleware`](crate::AsyncMiddleware), inside of those
    /// that were added before.
    pub fn add_middleware<Form>(&mut self, middleware: impl IntoMiddleware<Form>) -> &mut Self {
        self.core_mut().middleware.push(middleware.into_component());
        self
    }

    /// Lets a function answer for errors of a type: those that are one, and those that come from one.
    ///
    /// What inheritance is to exceptions [`source`](Error::source) is to errors: a `NoSuchUser` whose source is a `DatabaseError`
    /// is a special `DatabaseError`, and its handler handles both. Of several handlers that of the most special error is
    /// chosen, and of several for one type that which was added last. An error of the handler's own is answered as if there
    /// were no handlers. What is handled is not reported to the server; log it where it matters.
    ///
    /// ```
    /// use std::io;
    /// use http::StatusCode;
    /// use varvel_resource::App;
    ///
    /// let mut app = App::new();
    /// app.add_error_handler(|error: &io::Error, _req, resp| {
    ///     resp.status = StatusCode::SERVICE_UNAVAILABLE;
    ///     resp.set_media(&error.kind().to_string())
    /// });
    /// ```
    pub fn add_error_handler<E: Error + 'static>(
        &mut self,
        handler: impl Fn(&E, &RequestHead, &mut ResponseHead) -> Result + Send + Sync + 'static,
    ) -> &mut Self {
        self.error_handler(false, move |error, req, resp| Some(handler(error, req, resp)))
    }

    /// Lets a function answer for some errors of a type, such as all [`HttpError`]s with a status, before a handler that is for
    /// all of that type.
    ///
    /// ```
    /// use varvel_resource::{App, HttpError};
    ///
    /// let mut app = App::new();
    /// let is_not_found = |error: &HttpError| error.status() == 404;
    /// app.add_error_handler_if(is_not_found, |_error, req, resp| {
    ///     resp.status = http::StatusCode::NOT_FOUND;
    ///     resp.set_media(&format!("no {}", req.path()))
    /// });
    /// ```
    pub fn add_error_handler_if<E: Error + 'static>(
        &mut self,
        is_for: impl Fn(&E) -> bool + Send + Sync + 'static,
        handler: impl Fn(&E, &RequestHead, &mut ResponseHead) -> Result + Send + Sync + 'static,
    ) -> &mut Self {
        self.error_handler(true, move |error, req, resp| is_for(error).then(|| handler(error, req, resp)))
    }

    fn error_handler<E: Error + 'static>(
        &mut self,
        is_narrow: bool,
        handler: impl Fn(&E, &RequestHead, &mut ResponseHead) -> Option<Result> + Send + Sync + 'static,
    ) -> &mut Self {
        let handle: Arc<HandleError> =
            Arc::new(move |error, req, resp| handler(error.downcast_ref()?, req, resp));
        let handler = ErrorHandler { type_name: type_name::<E>(), is_narrow, handle };
        self.core_mut().error_handlers.push(handler);
        self
    }

    /// Lets a function answer for all failures that are nobody else's, panics among them, and would be a 500:
    /// `add_error_handler(Exception, …)`. They are reported to the server as ever. An error of it is answered with that 500.
    ///
    /// ```
    /// use varvel_resource::App;
    ///
    /// let mut app = App::new();
    /// app.set_uncaught_error_handler(|_failure, _req, resp| {
    ///     resp.status = http::StatusCode::INTERNAL_SERVER_ERROR;
    ///     resp.set_text("We are looking into it.\n");
    ///     Ok(())
    /// });
    /// ```
    pub fn set_uncaught_error_handler(
        &mut self,
        handler: impl Fn(&AppError, &RequestHead, &mut ResponseHead) -> Result + Send + Sync + 'static,
    ) -> &mut Self {
        self.core_mut().uncaught_handler = Some(Arc::new(handler));
        self
    }

    /// Lets a function write the content of [`HttpError`]s, in place of problem details in the form that the client accepts.
    /// Status and fields are set already. [`errors::falcon_serializer`](crate::errors::falcon_serializer) is one.
    ///
    /// ```
    /// use varvel_resource::{App, errors};
    ///
    /// let mut app = App::new();
    /// app.set_error_serializer(errors::falcon_serializer);
    /// ```
    pub fn set_error_serializer(
        &mut self,
        serializer: impl Fn(&RequestHead, &mut ResponseHead, &HttpError) + Send + Sync + 'static,
    ) -> &mut Self {
        self.settings_mut().error_serializer = Some(Arc::new(serializer));
        self
    }

    /// The handlers by media type, to be changed: `req_options.media_handlers` and `resp_options.media_handlers`.
    pub fn media_handlers(&mut self) -> &mut Handlers {
        &mut self.settings_mut().media
    }

    /// What content is where neither request nor responder says: `media_type`; JSON unless set.
    ///
    /// # Panics
    /// If it cannot be the value of a field.
    pub fn set_media_type(&mut self, media_type: &'static str) -> &mut Self {
        let settings = self.settings_mut();
        settings.media_type = media_type;
        settings.media_type_value = HeaderValue::from_static(media_type);
        self
    }

    /// How many bytes of a request's content are taken as data or media, 1 MiB unless set; more is 413.
    pub fn set_media_bytes_max(&mut self, bytes: usize) -> &mut Self {
        self.settings_mut().media_bytes_max = bytes;
        self
    }
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl Mount {
    fn of<A: Into<Endpoint> + 'static>(mut app: A) -> Self {
        let given: &mut dyn Any = &mut app;
        if let Some(app) = given.downcast_mut::<App>() {
            return Self::of_app(mem::take(app));
        }
        if let Some(files) = given.downcast_mut::<Files>() {
            // So error handlers and the error serializer have a say.
            *files = files.clone().returning_errors(true);
        }
        Self { endpoint: app.into(), app: None }
    }

    fn of_app(app: App) -> Self {
        let called = App { core: Arc::clone(&app.core) };
        Self { endpoint: called.into(), app: Some(app) }
    }
}

/// A clone of an application has tables of its own, also below its mounts.
impl Clone for Mount {
    fn clone(&self) -> Self {
        match &self.app {
            Some(app) => Self::of_app(app.clone()),
            None => Self { endpoint: self.endpoint.clone(), app: None },
        }
    }
}

impl Clone for App {
    fn clone(&self) -> Self {
        Self { core: Arc::new(Core::clone(&self.core)) }
    }
}

impl From<App> for Endpoint {
    fn from(app: App) -> Self {
        Self::both(app)
    }
}

impl varvel::App for App {
    fn call(&self, request: HttpRequest<ReadBody>, scope: Scope) -> AppResult {
        call::blocking(&self.core, request, scope)
    }
}

impl AsyncApp for App {
    type Future = AppFuture;

    fn call(&self, request: HttpRequest<AsyncBody>, scope: Scope) -> AppFuture {
        call::polled(&self.core, request, scope)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("App").field(&self.inspect()).finish()
    }
}

impl Core {
    /// Answers for a failure, unless that is the server's; `report` is called with one that is the application's fault.
    pub(crate) fn answer_for(
        &self,
        failure: AppError,
        req: &RequestHead,
        resp: &mut ResponseHead,
        report: &dyn Fn(&RequestHead, &AppError),
    ) -> Result {
        resp.forget_representation();
        let failure = match self.handle(&failure, req, resp) {
            None => failure,
            Some(Ok(())) => return Ok(()),
            Some(Err(failure)) => {
                resp.forget_representation();
                failure
            }
        };
        if let Some(status) = problem::causes(&failure).find_map(<dyn Error>::downcast_ref::<HttpStatus>) {
            let answer = status.answer();
            resp.status = answer.status;
            resp.take_over(answer.headers.clone());
            resp.text(answer.text.clone());
            return Ok(());
        }
        let made;
        let error = match HttpError::of(&failure) {
            Some(error) => {
                if error.is_reported() {
                    report(req, &failure);
                }
                error
            }
            None => {
                // What nobody can answer, or with the connection's end alone, is the server's.
                let Some(told) = HttpError::of_kind(failure.kind()) else { return Err(failure) };
                if told.status().is_server_error() {
                    report(req, &failure);
                    if let (StatusCode::INTERNAL_SERVER_ERROR, Some(handle)) =
                        (told.status(), &self.uncaught_handler)
                    {
                        if handle(&failure, req, resp).is_ok() {
                            return Ok(());
                        }
                    }
                }
                made = told;
                &made
            }
        };
        self.serialize(error, req, resp);
        Ok(())
    }

    /// The handler for the most special of the errors that this one is.
    fn handle(&self, failure: &AppError, req: &RequestHead, resp: &mut ResponseHead) -> Option<Result> {
        if self.error_handlers.is_empty() {
            return None;
        }
        problem::causes(failure).find_map(|error| {
            [true, false].into_iter().find_map(|is_narrow| {
                let handlers = self.error_handlers.iter().rev();
                let mut handlers = handlers.filter(|handler| handler.is_narrow == is_narrow);
                handlers.find_map(|handler| (handler.handle)(error, req, resp))
            })
        })
    }

    fn serialize(&self, error: &HttpError, req: &RequestHead, resp: &mut ResponseHead) {
        resp.forget_representation();
        resp.status = error.status();
        match &self.settings.error_serializer {
            Some(serializer) => {
                resp.take_over(error.headers().clone());
                serializer(req, resp, error);
            }
            None => {
                let (parts, body) = error.respond::<varvel::Push>(&req.accept()).into_parts();
                resp.take_over(parts.headers);
                resp.content_of(body);
            }
        }
    }
}

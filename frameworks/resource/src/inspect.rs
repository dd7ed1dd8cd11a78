//! What an application consists of: `falcon.inspect`.

use std::fmt;

use http::Method;

use crate::app::{Core, Target};

/// What an [`App`](crate::App) consists of: `inspect_app`. Printed, it is a page for humans:
///
/// ```
/// # use varvel_resource::{App, Middleware, Request, Resource, Responders, Response, Result};
/// # struct Notes;
/// # impl Resource for Notes {
/// #     fn responders(on: Responders<Self>) -> Responders<Self> {
/// #         on.get(Self::on_get)
/// #     }
/// # }
/// # impl Notes {
/// #     fn on_get(&self, _req: &mut Request, _resp: &mut Response) -> Result {
/// #         Ok(())
/// #     }
/// # }
/// # struct RequireToken;
/// # impl Middleware for RequireToken {}
/// # let mut app = App::new();
/// # app.add_middleware(RequireToken);
/// app.add_route("/notes/{id:int}", Notes)?;
/// println!("{}", app.inspect());
/// # assert_eq!(app.inspect().routes[0].template, "/notes/{id:int}");
/// # assert!(app.inspect().to_string().contains("GET, HEAD, OPTIONS"));
/// # Ok::<_, varvel_toolkit::router::RouteError>(())
/// ```
///
/// ```text
/// routes
///   /notes/{id:int}  GET, HEAD, OPTIONS  shop::Notes
/// middleware
///   shop::RequireToken
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppInfo<'a> {
    /// Routes, sinks, and what is mounted, in the order in which they were added.
    pub routes: Vec<RouteInfo<'a>>,
    /// The types of the middleware, the outermost first.
    pub middleware: Vec<&'static str>,
    /// The types that have error handlers.
    pub error_handlers: Vec<&'static str>,
}

/// A route of an application: `inspect_routes`, `inspect_sinks`, `inspect_static_routes`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteInfo<'a> {
    /// Its template, or its prefix.
    pub template: &'a str,
    /// What it leads to.
    pub kind: RouteKind,
    /// The type of the resource, or what is mounted.
    pub resource: &'static str,
    /// The methods that are answered, OPTIONS included; none where all are.
    pub methods: &'a [Method],
    /// Whether it has a responder for WebSockets.
    pub has_websocket: bool,
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteKind {
    /// A resource, by [`add_route`](crate::App::add_route).
    Resource,
    /// A resource for all paths below a prefix, by [`add_sink`](crate::App::add_sink).
    Sink,
    /// Another application, by [`add_app`](crate::App::add_app), or files, by
    /// [`add_static_route`](crate::App::add_static_route).
    App,
}

impl<'a> AppInfo<'a> {
    pub(crate) fn of(core: &'a Core) -> Self {
        let routes = core.router.routes().map(|route| {
            let (kind, methods) = match route.value() {
                Target::Resource(methods) => (RouteKind::Resource, Some(methods)),
                Target::Sink(methods) => (RouteKind::Sink, Some(methods)),
                Target::Mount(_) => (RouteKind::App, None),
            };
            RouteInfo {
                template: route.template().as_str(),
                kind,
                resource: methods.map_or("an application", |methods| methods.resource),
                methods: methods
                    .filter(|methods| !methods.is_for_any())
                    .map_or(&[], |methods| &methods.methods),
                has_websocket: methods.is_some_and(|methods| methods.has_websocket()),
            }
        });
        Self {
            routes: routes.collect(),
            middleware: core.middleware.iter().map(|component| component.type_name).collect(),
            error_handlers: core.error_handlers.iter().map(|handler| handler.type_name).collect(),
        }
    }
}

impl fmt::Display for AppInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "routes")?;
        let width = self.routes.iter().map(|route| route.template.len()).max().unwrap_or_default();
        for route in &self.routes {
            let mut answers: Vec<_> = route.methods.iter().map(Method::as_str).collect();
            if answers.is_empty() {
                answers.push("all methods");
            }
            if route.has_websocket {
                answers.push("WebSocket");
            }
            let below = if route.kind == RouteKind::Resource { "" } else { " and below" };
            writeln!(f, "  {:width$}{below}  {}  {}", route.template, answers.join(", "), route.resource)?;
        }
        for (title, types) in [("middleware", &self.middleware), ("error handlers", &self.error_handlers)] {
            if !types.is_empty() {
                writeln!(f, "{title}")?;
                types.iter().try_for_each(|name| writeln!(f, "  {name}"))?;
            }
        }
        Ok(())
    }
}

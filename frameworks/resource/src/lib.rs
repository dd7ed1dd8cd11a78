//! A framework for REST services, after [Falcon](https://falconframework.org): light, fast, explicit.
//!
//! Resources are values of your own, made with what they need. A responder for each method gets the request, and a response
//! to be filled in. There are no globals, nothing is converted behind your back, and what is not used costs nothing.
//!
//! ```
//! use varvel_resource::{App, Request, Resource, Responders, Response, Result};
//!
//! struct Greeting {
//!     word: &'static str,
//! }
//!
//! impl Resource for Greeting {
//!     fn responders(on: Responders<Self>) -> Responders<Self> {
//!         on.get(Self::on_get)
//!     }
//! }
//!
//! impl Greeting {
//!     fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
//!         resp.set_media(&format!("{}, {}!", self.word, req.path_param::<String>("name")?))
//!     }
//! }
//!
//! let mut app = App::new();
//! app.add_route("/hello/{name}", Greeting { word: "Hello" })?;
//! # let client = varvel_test::Client::sync(app);
//! # assert_eq!(client.get("/hello/Ada").send().text(), "\"Hello, Ada!\"");
//! # Ok::<_, varvel_toolkit::router::RouteError>(())
//! ```
//!
//! An [`App`] is an application of the contract in both forms, and a factory of it. Sync and async responders stand side by
//! side, in one resource if you like: on an event loop sync ones are offloaded, on a thread async ones are waited for.
//!
//! The [`tutorial`] is a service in one page.
//!
//! # For those who know Falcon
//!
//! | Falcon | here | different on purpose |
//! |---|---|---|
//! | `falcon.App`, `falcon.asgi.App` | [`App`] | one for both |
//! | resource class with `on_get`, `on_post` | [`Resource`], with methods by any names | names are not looked up: [`Resource::responders`] lists them, in the resource; the compiler warns of one that was left out |
//! | `async def on_get` | `async fn`, with [`AsyncRequest`] and [`AsyncResponse`] | beside sync ones |
//! | URI fields as arguments | [`RequestHead::path_param`] | typed where it is asked for |
//! | `add_route(…)` | [`App::add_route`] | order does not matter; a conflict is an error at once |
//! | `add_route(…, suffix='item')` | [`App::add_route_with_suffix`]`(…, Users::item)` | a suffix is a second list of responders, whose name the compiler checks |
//! | converters `int`, `float`, `dt`, `uuid`, `path` | [`router`](varvel_toolkit::router) | several converters may share a place |
//! | 405 with `Allow`, automatic OPTIONS | the same | OPTIONS is 204; HEAD is answered by GET |
//! | `add_sink` | [`App::add_sink`] with [`Responders::any`] | a prefix ends where a segment does, and is no regular expression |
//! | `add_static_route` | [`App::add_static_route`], [`App::add_app`] | also other applications; `..`, links and hidden files lead nowhere |
//! | `@falcon.before`, `@falcon.after` | [`Responders::before`], [`after`](Responders::after), [`before_on`](Responders::before_on), [`after_on`](Responders::after_on) | do not wait: what waits is a line in the responder |
//! | middleware: `process_request`, `process_resource`, `process_response` | [`Middleware`], [`App::add_middleware`] | always independent; does not wait; serves both forms |
//! | `process_startup`, `process_shutdown` | the same, once for each worker | `App` must be given to the server as a factory |
//! | `resp.complete` | [`ResponseHead::complete`] | |
//! | `add_error_handler(Type, …)` | [`App::add_error_handler`], [`add_error_handler_if`](App::add_error_handler_if) | inheritance is [`source`](std::error::Error::source): an error is special to those that it comes from |
//! | `add_error_handler(Exception, …)` | [`App::set_uncaught_error_handler`] | is still reported |
//! | uncaught exceptions | 500, and a report to the server's log | `process_response` sees the answer; panics are the server's to answer |
//! | `falcon.HTTPNotFound()` and its like | [`errors`] | |
//! | `set_error_serializer` | [`App::set_error_serializer`] | unless set problem details (RFC 9457): JSON, XML, HTML or text, as the client likes |
//! | error bodies with `title`, `description`, `code`, `link` | [`errors::falcon_serializer`] | to be set |
//! | `falcon.HTTPStatus`, `falcon.HTTPFound` | [`HttpStatus`] | |
//! | `req.media`, `req.get_media()` | [`Request::media`] | a type of your choice; 422 for what is not that |
//! | `resp.media = …` | [`ResponseHead::set_media`] | made at once, not at the end |
//! | media handlers | [`media`], [`App::media_handlers`] | MessagePack with the feature `msgpack` |
//! | multipart forms: `MultipartForm`, `BodyPart` | [`Request::multipart`] | limits on everything; files never go to memory as a whole |
//! | `req.stream`, `req.bounded_stream` | [`Request::stream`] | always bounded |
//! | `req.bounded_stream.read()` | [`Request::data`] | up to [a limit](App::set_media_bytes_max) |
//! | `resp.text`, `resp.data`, `resp.stream` | [`ResponseHead::set_text`], [`set_data`](ResponseHead::set_data), [`Response::set_stream`] | also [`set_file`](ResponseHead::set_file), [`set_body`](Response::set_body) |
//! | `req.get_param_as_int` and its like | the same, and [`get_param_as`](RequestHead::get_param_as) for any type | |
//! | `req.get_header`, `req.accept`, `req.client_prefers`, … | the same, on [`RequestHead`] | |
//! | `req.cookies`, `resp.set_cookie` | [`RequestHead::cookies`], [`ResponseHead::set_cookies`] | `HttpOnly` and `SameSite=Lax` unless said otherwise |
//! | `req.context`, `resp.context` | [`Context`] | values by type |
//! | `resp.etag`, `resp.last_modified`, `req.if_match`, `req.range` | [`ResponseHead::set_etag`], [`set_last_modified`](ResponseHead::set_last_modified), [`RequestHead::precondition`], [`range`](RequestHead::range) | [`make_conditional`](ResponseHead::make_conditional) does it all |
//! | `resp.downloadable_as`, `resp.append_link` | [`ResponseHead::set_downloadable_as`], [`append_link`](ResponseHead::append_link) | |
//! | `req.env`, `req.scope` | [`Request::scope`] | |
//! | CORS | [`varvel_toolkit::middleware`], around the application | |
//! | `resp.sse` | [`Response::set_sse`], [`AsyncResponse::set_sse`](Response::set_sse-1) | |
//! | `on_websocket(req, ws)` | [`Responders::websocket`], `resp.accept_websocket(…)` | sync, too; accepts with what goes on behind the handshake, and before that is a responder as any other, with hooks and middleware |
//! | `falcon.inspect` | [`App::inspect`], [`inspect`] | |
//! | `falcon.testing.TestClient`, `simulate_get(…)` and its like | `testing::TestClient`, with the feature `testing` | says what is in the request with methods, and ends with `send()`; both forms |
//! | - | [`App::url_for`] | URLs of routes with a name |
//!
//! # What it costs
//!
//! Counted by `tests/allocations.rs`, beside what the same answer costs on the bare contract: a sync responder of a route with
//! fields no allocation, an async one two, which are the future of the call and its own. Neither how many routes there are
//! nor middleware that does nothing changes that. In time it
//! was 0.23 µs for a sync and 0.4 µs for an async responder, of one route and of a thousand alike.

#![forbid(unsafe_code)]

mod app;
mod call;
mod context;
mod http_status;
mod middleware;
mod request;
mod resource;
mod response;

pub mod errors;
pub mod inspect;
pub mod media;
#[cfg(feature = "testing")]
pub mod testing;

#[doc = include_str!("tutorial.md")]
pub mod tutorial {}

pub use varvel::AppError;
pub use varvel_toolkit::HttpError;

pub use app::App;
pub use context::Context;
pub use http_status::HttpStatus;
pub use middleware::Middleware;
pub use request::{AsyncRequest, Request, RequestHead};
pub use resource::{Hook, IntoResource, Resource, Respond, Responders};
pub use response::{AsyncResponse, Response, ResponseHead};

/// What responders, hooks and middleware return. Any error becomes an [`AppError`] by `?`: an [`HttpError`] or
/// [`HttpStatus`] is answered, one that has an [error handler](App::add_error_handler) is handled, and all others are
/// failures, answered with 500 and reported to the server's log.
pub type Result<T = (), E = AppError> = std::result::Result<T, E>;

//! A framework for REST services, after [Falcon](https://falconframework.org): light, fast, explicit.
//!
//! Resources are values of your own, made with what they need. A responder for each method gets the request, and a response
//! to be filled in. There are no globals, nothing is converted behind your back, and what is not used costs nothing.
//!
//! ```no_run
//! use std::{error::Error, process::ExitCode};
//! use varvel_resource::{App, AsyncRequest, AsyncResponse, Request, Resource, Responders, Response, Result};
//!
//! struct Greeting {
//!     word: &'static str,
//! }
//!
//! impl Resource for Greeting {
//!     fn responders(on: Responders<Self>) -> Responders<Self> {
//!         on.get(Self::on_get).post(Self::on_post)
//!     }
//! }
//!
//! impl Greeting {
//!     // Sync: it may block.
//!     fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
//!         resp.set_media(&format!("{}, {}!", self.word, req.path_param::<String>("name")?))
//!     }
//!
//!     // Async: it may wait.
//!     async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
//!         let guests: Vec<String> = req.media().await?;
//!         resp.set_media(&guests.len())
//!     }
//! }
//!
//! fn main() -> Result<ExitCode, Box<dyn Error>> {
//!     let mut app = App::new();
//!     app.add_route("/hello/{name}", Greeting { word: "Hello" })?;
//!     Ok(varvel_serve::run(varvel_serve::Both(app)))
//! }
//! ```
//!
//! An [`App`] is an application of the contract in both forms, and a factory of it, so it runs on every server, and
//! `varvel_serve::Both` says so. Sync and async responders stand side by side, in one resource if you like: on an event loop
//! sync ones are offloaded, on a thread async ones are waited for.
//!
//! The [`tutorial`] is a service in one page, and `cargo run --example hello_resource` the program above with a bit more.
//!
//! # For those who know Falcon
//!
//! What is of the same name is not repeated here. The last column is what is different on purpose.
//!
//! **Applications**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `falcon.App`, `falcon.asgi.App` | [`App`] | one for both |
//! | resource class with `on_get`, `on_post` | [`Resource`], with methods by any names | names are not looked up: [`Resource::responders`] lists them, in the resource; the compiler warns of one that was left out |
//! | `async def on_get` | `async fn`, with [`AsyncRequest`] and [`AsyncResponse`] | beside sync ones |
//! | URI fields as arguments | [`RequestHead::path_param`] | typed where it is asked for |
//! | `add_route(…)` | [`App::add_route`] | order does not matter; a conflict is an error at once |
//! | `add_route(…, suffix='item')` | [`App::add_route_with_suffix`]`(…, Users::item)` | a suffix is a second list of responders, whose name the compiler checks |
//! | converters `int`, `float`, `dt`, `uuid`, `path` | [`router`](varvel_toolkit::router) | several converters may share a place |
//! | `router_options.converters` | [`App::with_converters`] | a converter says what fits; what it becomes says `path_param` |
//! | 405 with `Allow`, automatic OPTIONS | the same | OPTIONS is 204; HEAD is answered by GET |
//! | `add_sink` | [`App::add_sink`] with [`Responders::any`] | a prefix ends where a segment does, and is no regular expression |
//! | `add_static_route` | [`App::add_static_route`], [`App::add_app`] | also other applications; `..`, links and hidden files lead nowhere; a fallback is a sink, a download [`set_file`](ResponseHead::set_file) |
//! | `on_websocket(req, ws)` | [`Responders::websocket`] and `resp.accept_websocket` | sync, too; takes what follows the handshake when it accepts; until then a responder like any other |
//! | `falcon.inspect` | [`App::inspect`], [`inspect`] | |
//! | `req_options`, `resp_options` | [`set_media_type`](App::set_media_type), [`set_media_bytes_max`](App::set_media_bytes_max), [`media_handlers`](App::media_handlers) | |
//! | `request_type`, `response_type` | [`Context`], and traits of your own for [`Request`] and [`Response`] | |
//! | a WSGI or ASGI server | `varvel_serve::run(Both(app))` | any server of the contract |
//! | - | [`App::url_for`] | URLs of routes with a name |
//!
//! **Hooks and middleware**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `@falcon.before`, `@falcon.after` | [`Responders::before`], [`after`](Responders::after), [`before_on`](Responders::before_on), [`after_on`](Responders::after_on) | sync or async, for responders of both forms, so a hook sees heads; what reads the body is a line in the responder |
//! | `process_request`, `process_resource`, `process_response` | [`Middleware`], [`AsyncMiddleware`], [`App::add_middleware`] | always independent; either serves both forms |
//! | `process_request_ws`, `process_resource_ws` | the same as for all requests | [`is_websocket`](RequestHead::is_websocket) tells; `process_response` sees the handshake |
//! | `process_startup`, `process_shutdown` | the same, once for each worker | also of another [`App`] below a [mount](App::add_app) |
//! | `req.context`, `resp.context` | [`Context`] | values by type |
//! | `resp.complete = True` | [`ResponseHead::complete`] | |
//! | `cors_enable`, `CORSMiddleware` | [`Cors`](varvel_toolkit::middleware::Cors) of the [toolkit](varvel_toolkit::middleware) | around the application, as the toolkit's sessions, compression, rate limits |
//! | `strip_url_path_trailing_slash` | [`TrailingSlash`](varvel_toolkit::middleware::TrailingSlash) | |
//!
//! **Errors**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `falcon.HTTPNotFound()` and its like | [`errors`] | |
//! | `falcon.HTTPError(status, title=…, …)` | [`HttpError`] | `description` is [`with_detail`](HttpError::with_detail), `href` [`with_link`](HttpError::with_link); a 5xx with a [cause](HttpError::caused_by) is reported |
//! | `falcon.HTTPStatus`, `falcon.HTTPFound` | [`HttpStatus`] | |
//! | `add_error_handler(Type, …)` | [`App::add_error_handler`], [`add_error_handler_if`](App::add_error_handler_if) | inheritance is [`source`](std::error::Error::source): an error is special to those that it comes from |
//! | `add_error_handler(Exception, …)` | [`App::set_uncaught_error_handler`] | what it gets is reported to the server all the same |
//! | uncaught exceptions | 500, which `process_response` sees, and a report to the server | a panic, too; one of an error handler is the server's to answer |
//! | `set_error_serializer` | [`App::set_error_serializer`] | unless set problem details (RFC 9457): JSON, XML, HTML or text, as the client likes |
//! | JSON and XML of `title`, `description`, `code`, `link` | [`errors::falcon_serializer`] | to be set |
//!
//! **Requests**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `req.media`, `req.get_media()` | [`Request::media`] | a type of your choice; 422 for what is not that |
//! | `get_media(default_when_empty=…)` | [`Request::data`], which is empty then | |
//! | media handlers | [`media`], [`App::media_handlers`] | MessagePack with the feature `msgpack` |
//! | `MultipartForm`, `BodyPart` | [`Request::multipart`] | limits on everything; files never go to memory as a whole |
//! | `req.stream`, `req.bounded_stream` | [`Request::stream`] | always bounded |
//! | `req.bounded_stream.read()` | [`Request::data`] | up to [a limit](App::set_media_bytes_max) |
//! | `req.get_param(…, required=True)` | [`get_required_param_as`](RequestHead::get_required_param_as) | `default` is `unwrap_or` |
//! | `get_param_as_uuid`, `_date`, `_datetime` | [`get_param_as`](RequestHead::get_param_as) | any type that can be parsed |
//! | `get_header_as_int` | [`get_header_as`](RequestHead::get_header_as) | any type that can be parsed |
//! | `req.date`, `req.expect` and other fields | [`get_header_as_datetime`](RequestHead::get_header_as_datetime), [`get_header`](RequestHead::get_header) | |
//! | `req.cookies` | [`RequestHead::cookies`] | can be signed and encrypted |
//! | `req.forwarded`, `req.access_route` | [`RequestHead::forwarded`] | only what a trusted proxy said, which [`Forwarded`](varvel_toolkit::middleware::Forwarded) decides |
//! | `req.uri`, `req.forwarded_uri` | [`RequestHead::url`] | `uri` is the target as it came |
//! | `req.if_match`, `if_none_match`, `if_modified_since` | [`RequestHead::precondition`] | one verdict of all of them |
//! | `req.range`, `req.if_range` | [`RequestHead::range`] | |
//! | `req.env`, `req.scope` | [`Request::scope`] | |
//! | `req.log_error` | [`Worker::report`](varvel::Worker::report) of `req.scope().worker()` | |
//!
//! **Responses**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `resp.media = …` | [`ResponseHead::set_media`] | made at once, not at the end |
//! | `resp.text`, `resp.data` | [`ResponseHead::set_text`], [`set_data`](ResponseHead::set_data) | |
//! | `resp.stream`, `resp.set_stream` | `set_stream` of [`Response`], [`set_body`](Response::set_body) | also [`set_file`](ResponseHead::set_file) |
//! | `resp.sse` | `set_sse` of [`Response`] | sync, too |
//! | `resp.set_cookie`, `resp.unset_cookie` | [`ResponseHead::set_cookies`] | `HttpOnly` and `SameSite=Lax` unless said otherwise |
//! | `resp.etag`, `resp.last_modified` | [`ResponseHead::set_etag`], [`set_last_modified`](ResponseHead::set_last_modified) | [`make_conditional`](ResponseHead::make_conditional) answers 304, 412 and 206 by them |
//! | `resp.location`, `cache_control`, `expires`, `vary`, … | [`ResponseHead::set_location`] and its like | for the rest there is [`set_header`](ResponseHead::set_header) |
//! | `resp.content_range`, `accept_ranges` | [`make_conditional`](ResponseHead::make_conditional) | |
//! | `resp.downloadable_as`, `viewable_as` | [`ResponseHead::set_downloadable_as`], [`set_viewable_as`](ResponseHead::set_viewable_as) | |
//! | `resp.append_link(…)` | [`append_link`](ResponseHead::append_link) | target and relation; more by [`append_header`](ResponseHead::append_header) |
//! | `resp.schedule` | [`background`](varvel_toolkit::background) | the drain waits for it |
//!
//! **Tests**
//!
//! | Falcon | here | differently |
//! |---|---|---|
//! | `falcon.testing.TestClient`, `simulate_get(…)` and its like | [`testing::TestClient`], with the feature `testing` | what is in the request is said by methods; in both forms, with middleware of the toolkit if you like |
//! | `result.json`, `.text`, `.status_code`, `.headers` | `json()`, `text()`, `status()`, `header(…)` | |
//! | `ASGIConductor` | `varvel_test` | time is moved by hand |
//!
//! # What it costs
//!
//! Counted by `tests/allocations.rs`, beside what the same answer costs on the bare contract: a sync responder of a route with
//! fields no allocation, an async one two, for request and response and for its future; with middleware or hooks, even if they
//! do nothing, another one. How many routes there are changes nothing. In time it was
//! 0.15 µs for a sync and 0.24 µs for an async responder, of one route and of a thousand alike (`bench/results`).

#![forbid(unsafe_code)]

mod app;
mod awaited;
mod call;
mod context;
mod form;
mod hook;
mod http_status;
mod lifecycle;
mod middleware;
mod request;
mod resource;
mod responder;
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
pub use hook::Hook;
pub use http_status::HttpStatus;
pub use middleware::{AsyncMiddleware, IntoMiddleware, Middleware};
pub use request::{AsyncRequest, Request, RequestHead};
pub use resource::{IntoResource, Resource, Responders};
pub use responder::Respond;
pub use response::{AsyncResponse, Response, ResponseHead};

/// What responders, hooks and middleware return. Any error becomes an [`AppError`] by `?`: an [`HttpError`] or
/// [`HttpStatus`] is answered, one that has an [error handler](App::add_error_handler) is handled, and all others are
/// failures, answered with 500 and reported to the server's log.
pub type Result<T = (), E = AppError> = std::result::Result<T, E>;

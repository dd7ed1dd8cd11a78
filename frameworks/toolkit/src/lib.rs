//! Parts without opinions, for those who write frameworks and for applications on the bare contract: what Werkzeug and
//! Starlette are to their worlds.
//!
//! Whatever does not depend on how bodies flow is written once and serves both forms of the contract, sync and async.
//! Nothing here names a server, nothing is global, and what is not used costs nothing.
//!
//! # A small application, in both forms at once
//!
//! ```
//! use http::{Request, StatusCode};
//! use varvel::{AppResult, AsyncAppResult, AsyncBody, ReadBody, Scope, app_fn, sync_fn};
//! use varvel_toolkit::{
//!     HttpError, Query, Routes, respond,
//!     middleware::{Middleware, RequestIds, SecurityHeaders},
//!     router::PathParams,
//!     routes::{get, post},
//! };
//!
//! /// Sync: it may block, and is offloaded on event loops.
//! fn item(request: Request<ReadBody>, scope: Scope) -> AppResult {
//!     let id: u32 = PathParams::of(&scope).parse("id")?;
//!     let currency = Query::of(request.uri()).get("currency").unwrap_or("EUR".into()).into_owned();
//!     if id > 100 {
//!         return Err(HttpError::not_found().with_detail("There are a hundred items.").into());
//!     }
//!     Ok(respond::json(&(id, currency))?)
//! }
//!
//! /// Async: it may wait, and is polled on whatever server there is.
//! async fn add(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
//!     let body = request.into_body().collect(64 * 1024).await?; // beyond it 413
//!     if body.is_empty() {
//!         return Err(HttpError::bad_request("An item, please.").with_code("empty").into());
//!     }
//!     Ok(respond::empty(StatusCode::CREATED))
//! }
//!
//! let routes = Routes::builder()
//!     .route("/items/{id:int(min=1)}", get(sync_fn(item)).named("item"))
//!     .route("/items", post(app_fn(add)))
//!     .build()?;
//! let app = RequestIds::new().around(SecurityHeaders::new().around(routes));
//! // varvel_serve::run(app)
//! # fn call(app: &impl varvel::App, method: &str, path: &str) -> u16 {
//! #     let request = Request::builder().method(method).uri(path).body(ReadBody::empty()).unwrap();
//! #     app.call(request, Scope::for_test()).unwrap().status().as_u16()
//! # }
//! # assert_eq!(call(&app, "GET", "/items/7"), 200);
//! # assert_eq!(call(&app, "GET", "/items/700"), 404);
//! # assert_eq!(call(&app, "DELETE", "/items/7"), 405);
//! # assert_eq!(call(&app, "POST", "/items"), 400);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! Written once for both forms:
//! - [`Form`]: sync or async, as a type
//! - [`Transform`]: what happens to the frames of a body on their way
//! - [`Middleware`]: what stands around an application; those that there are in [`middleware`]
//! - [`Endpoint`]: an application of either form, which answers in both
//!
//! From a request to who answers it, and back:
//! - [`Routes`]: endpoints by path and method, with 404, 405, OPTIONS, HEAD and mounts
//! - [`Router`]: templates, converters, precedence, and reverse URLs, for whatever belongs to a path
//! - [`HttpError`]: errors that clients are told, as problem details
//! - [`respond`]: answers of the usual sorts
//! - `templates`, with the feature of that name: HTML and other text from templates
//! - [`files`]: the files of a directory, and no way out of it
//! - [`events`]: server-sent events
//! - [`websocket`]: the server's side of WebSocket
//! - [`background`]: what blocks, and what goes on behind the answer
//!
//! Values, without IO:
//! - [`Query`]: names and values of a URL
//! - [`MediaType`]: what Content-Type says
//! - [`UrlEncoded`]: forms, as fields or as a type
//! - [`json`]: content as a type, with the place of what does not fit
//! - [`multipart`]: forms with files, part by part
//! - [`cookies`]: read, set with safe defaults, signed, private
//! - [`conditional`]: entity tags, dates, 304 and 412
//! - [`range`]: parts of a representation
//! - [`accept`]: what a client likes best: media type, language, coding, character set
//!
//! # What it costs
//!
//! Counted by `tests/allocations.rs`, beside what the application makes of its own: a route costs no allocation, one with
//! fields two (its values in the scope), an async endpoint one (its future), a middleware none of its own. How many routes
//! there are makes no difference.

#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "an answer in place of a call is an error of that size, and a box would cost an allocation to save a move"
)]

mod endpoint;
mod failure_log;
mod form;
mod origin;
mod prefetch;

pub mod accept;
pub mod background;
pub mod conditional;
pub mod cookies;
pub mod events;
pub mod files;
pub mod json;
pub mod media_type;
pub mod middleware;
pub mod multipart;
pub mod problem;
pub mod query;
pub mod range;
pub mod respond;
pub mod router;
pub mod routes;
#[cfg(feature = "templates")]
pub mod templates;
pub mod transform;
pub mod urlencoded;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use accept::Accept;
pub use endpoint::{Endpoint, EndpointCall};
pub use failure_log::{FailureLog, caught};
pub use form::{Blocking, Form, Polled};
pub use media_type::MediaType;
pub use middleware::{Middleware, With, WithCall};
pub use prefetch::prefetch;
pub use problem::HttpError;
pub use query::Query;
pub use router::Router;
pub use routes::Routes;
pub use transform::Transform;
pub use urlencoded::UrlEncoded;

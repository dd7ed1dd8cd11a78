//! Parts without opinions, for those who write frameworks and for applications on the bare contract: what Werkzeug and
//! Starlette are to their worlds.
//!
//! Whatever does not depend on how bodies flow is written once and serves both forms of the contract, sync and async.
//! Nothing here names a server, and what is not used costs nothing.
//!
//! # Where to look
//!
//! Written once for both forms:
//! - [`Form`]: sync or async, as a type
//! - [`Transform`]: what happens to the frames of a body on their way
//! - [`Middleware`]: what stands around an application
//! - [`Endpoint`]: an application of either form, which answers in both
//!
//! Values of HTTP:
//! - [`conditional`]: entity tags, dates, 304 and 412
//! - [`range`]: parts of a representation

#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "an answer in place of a call is an error of that size, and a box would cost an allocation to save a move"
)]

mod endpoint;
mod form;

pub mod conditional;
pub mod middleware;
pub mod range;
pub mod transform;

pub use endpoint::{Endpoint, EndpointCall};
pub use form::{Blocking, Form, Polled};
pub use middleware::{Middleware, With, WithCall};
pub use transform::Transform;

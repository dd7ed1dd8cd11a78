//! Calls Varvel applications in tests.

#![forbid(unsafe_code)]

mod client;
mod exchange;
mod failure;
mod line;
mod live;
mod record;
mod request;
mod response;
mod server;
mod setup;
mod tunnel;

pub use client::Client;
pub use exchange::{Exchange, Stage};
pub use failure::{Failure, FailureKind};
pub use line::Head;
pub use record::{Record, Recorded};
pub use request::RequestBuilder;
pub use response::Response;
pub use setup::Setup;
pub use tunnel::Tunnel;

use line::Wait;

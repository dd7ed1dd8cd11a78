//! The gateway between HTTP/1 and the contract: what a head, an answer, a failure and an end mean, on every server alike.
//!
//! ```text
//!   http1::RequestHead --request::admit--> http::Request + varvel::Scope --> the application
//!   the application --> http::Response --response::send_head--> http1::Connection
//!                   --> AppError, panic --failure::Verdict-->   an error response, a reset, or nothing
//!   exchanges::Exchanges: what scopes and watches see of the connection meanwhile, and the hooks at the end
//! ```
//!
//! No waiting happens here and no bytes move; a server decides when.

pub mod exchanges;
pub mod failure;
pub mod request;
pub mod response;

pub use exchanges::Exchanges;
pub use failure::{ErrorResponse, Verdict, panic_message};

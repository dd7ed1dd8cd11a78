//! The server role of HTTP/1.1 without IO: bytes to heads and bodies, and back
mod chunked;
mod close_reason;
mod connection;
mod deadlines;
mod error;
mod framing;
mod grammar;
mod head_scanner;
mod host;
mod limits;
mod request_body;
mod request_head;
mod response_head;
mod state;
mod target;
mod timeouts;
mod trailers;

pub use close_reason::CloseReason;
pub use connection::{After, Config, Connection, DataFrame, Eof, SentEnd};
pub use deadlines::{Deadline, DeadlineKind, Expired};
pub use error::{BodyFault, BodyFaultKind, HeadRefused, InterimRefused, Refusal, ShortBody};
pub use framing::{BodyLength, RequestFraming, ResponseFraming};
pub use limits::Limits;
pub use request_body::BodyEvent;
pub use request_head::{RequestHead, UpgradeRequest};
pub use response_head::{RemovedFields, SentHead};
pub use timeouts::Timeouts;

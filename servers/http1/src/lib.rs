//! The server role of HTTP/1.1 without IO: bytes to heads and bodies, and back
mod close_reason;
mod connection;
mod deadlines;
mod error;
mod framing;
mod limits;
mod request_head;
mod response_head;
mod timeouts;
pub use close_reason::CloseReason;
pub use connection::{After, BodyEvent, Config, Connection, DataFrame, Eof};
pub use deadlines::{Deadline, DeadlineKind, Expired};
pub use error::{BodyFault, BodyFaultKind, HeadRefused, InterimRefused, Refusal, ShortBody};
pub use framing::{BodyLength, RequestFraming, ResponseFraming};
pub use limits::Limits;
pub use request_head::{RequestHead, UpgradeRequest};
pub use response_head::{RemovedFields, SentHead};
pub use timeouts::Timeouts;

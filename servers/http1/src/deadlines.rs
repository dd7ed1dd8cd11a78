//! Which deadline applies.
use crate::{BodyFault, CloseReason, Refusal};
use std::time::Instant;
/// The next moment at which waiting has lasted too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When [`Connection::expire`](crate::Connection::expire) is to be called.
    pub at: Instant,
    /// What is being waited for.
    pub kind: DeadlineKind,
}
/// What a [`Deadline`] bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineKind {
    /// The next request.
    Idle,
    /// The end of a head.
    Head,
    /// Bytes of a request body the server waits for.
    Body,
    /// The rest of a body that is being dropped.
    Discard,
    /// The peer to take output.
    Write,
    /// The peer to close after the last response.
    Linger,
}
/// What a passed deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Close at once; no answer is due.
    Close(CloseReason),
    /// Answer with [`send_refusal`](crate::Connection::send_refusal), then close.
    Refuse(Refusal),
    /// The request body failed: [`receive_body`](crate::Connection::receive_body) now gives this fault. The exchange may still be answered.
    Body(BodyFault),
}

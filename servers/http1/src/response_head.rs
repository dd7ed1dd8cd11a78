//! From a response to the bytes of its head.
use crate::ResponseFraming;
/// What was written as a response head, and what of the application's wishes was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentHead {
    /// How the body is delimited.
    pub framing: ResponseFraming,
    /// Fields the application may not set and that were left out.
    pub removed: RemovedFields,
    /// The Content-Length the application declared, if it differs from the known length of its body. The declaration is what was sent.
    pub length_mismatch: Option<u64>,
    /// The connection will not be used for another request; the head says so.
    pub close: bool,
}
/// A set of response fields that only the server may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedFields(u8);
impl RemovedFields {
    /// Nothing was removed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The names of what was removed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length"]
            .into_iter()
            .enumerate()
            .filter_map(move |(bit, name)| (self.0 & (1 << bit) != 0).then_some(name))
    }
}

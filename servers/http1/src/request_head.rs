//! From the bytes of a head to a [`RequestHead`].
use crate::RequestFraming;
use bytes::Bytes;
use http::{Request, uri::Authority};
/// A request without its body.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, URI, version and fields.
    ///
    /// The URI is path and query, exactly as sent; `*` for OPTIONS of the whole server and `host:port` for CONNECT. The version is
    /// 1.0 or 1.1; higher minor versions arrive as 1.1 (RFC 9110 section 2.5). Transfer-Encoding is removed: it is already undone.
    pub request: Request<()>,
    /// The request target exactly as on the wire.
    pub target: Bytes,
    /// Host and port the request is for: from the target if it has one, else from Host; `None` if that is missing or empty.
    pub authority: Option<Authority>,
    /// How the body is delimited.
    pub framing: RequestFraming,
    /// The peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The change of protocol that is offered, see [`accept_upgrade`](crate::Connection::accept_upgrade).
    pub upgrade: Option<UpgradeRequest>,
    /// `TE: trailers` was sent: trailers of the response will be sent on, if it is chunked.
    pub te_trailers: bool,
}
/// What a request offers to turn the connection into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeRequest {
    /// One of the protocols in the `upgrade` field of the request (RFC 9110 section 7.8).
    Protocol,
    /// A tunnel to the authority (RFC 9110 section 9.3.6).
    Connect,
}

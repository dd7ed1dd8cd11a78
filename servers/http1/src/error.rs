//! What can go wrong, in two families.
//!
//! - **The peer misbehaved**: [`Refusal`] for a head, [`BodyFault`] for a body. [`Refusal::status`] is the
//!   one place that turns either into a status.
//! - **The caller or its application asked for what cannot be sent**: [`HeadRefused`], [`InterimRefused`],
//!   [`ShortBody`]. No byte from a peer can cause these alone, and none of them panics.
//!
//! The third family, a failing transport, belongs to the caller, who has the socket.

use std::fmt;

use http::StatusCode;

/// Why a request is answered by the server itself, without the application. The connection closes afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A line ended in LF without CR. RFC 9112 section 2.2 would allow it; two hops that disagree about it
    /// are a way to smuggle requests.
    BareLf,
    /// CR without LF.
    BareCr,
    /// More empty lines before a request line than [`Limits::leading_blank_lines_max`](crate::Limits).
    LeadingBlankLines,
    /// The first byte is that of a TLS handshake. Answered in plain text, because a TLS client shows that as
    /// "wrong version number", which leads people to the cause; a silent close would not.
    LooksLikeTls,
    /// A byte in the method that is no token character, or an empty method.
    MethodInvalid,
    /// The method alone fills the request line.
    MethodTooLong,
    /// The request target is empty, contains a byte that no URI has or a fragment, or does not parse.
    TargetInvalid,
    /// The form of the target does not fit the method: `*` is for OPTIONS, `host:port` for CONNECT.
    TargetFormUnfit,
    /// The request line is longer than [`Limits::request_line_bytes_max`](crate::Limits).
    RequestLineTooLong,
    /// The version is missing, as in HTTP/0.9, or malformed.
    VersionInvalid,
    /// The major version is not 1. The opening of an HTTP/2 client (`PRI * HTTP/2.0`) ends here too: it was
    /// designed to be taken for a request of a version not spoken.
    VersionUnsupported,
    /// The head is longer than [`Limits::head_bytes_max`](crate::Limits).
    HeadTooLarge,
    /// More field lines than [`Limits::header_count_max`](crate::Limits) or a `HeaderMap` can hold.
    TooManyFields,
    /// A field name is empty or has a byte that is no token character, such as a space before the colon.
    FieldNameInvalid,
    /// A field value has a control byte.
    FieldValueInvalid,
    /// A field line begins with white space: folding, or white space after the request line.
    FieldFolded,
    /// HTTP/1.1 without Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// Host is no `host [ ":" port ]`.
    HostInvalid,
    /// Content-Length is not a number that fits 64 bits.
    ContentLengthInvalid,
    /// More than one Content-Length, or a list. Equal values are refused as well: no client needs them, and
    /// hops differ on them.
    ContentLengthRepeated,
    /// Transfer-Encoding together with Content-Length.
    TransferEncodingWithLength,
    /// Transfer-Encoding in HTTP/1.0.
    TransferEncodingInHttp10,
    /// Transfer-Encoding is anything but the one word `chunked`.
    TransferEncodingInvalid,
    /// Transfer-Encoding ends in `chunked` but names other codings before it.
    TransferCodingUnknown,
    /// CONNECT with a body.
    ConnectWithBody,
    /// Expect asks for something other than `100-continue`.
    ExpectationUnknown,
    /// Content-Length is above [`Limits::body_bytes_max`](crate::Limits).
    BodyTooLarge,
    /// The head did not end within [`Timeouts::head_timeout`](crate::Timeouts).
    HeadTimeout,
    /// The body failed before anything was answered.
    Body(BodyFault),
}

impl Refusal {
    /// The status to answer with.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            Refusal::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            Refusal::HeadTooLarge | Refusal::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::MethodTooLong | Refusal::TransferCodingUnknown => StatusCode::NOT_IMPLEMENTED,
            Refusal::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::Body(BodyFault::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Body(BodyFault::Timeout) => StatusCode::REQUEST_TIMEOUT,
            Refusal::Body(BodyFault::TrailersTooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// One sentence with the section that was broken, for the peer and for logs.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::BareLf => "a line ends in LF without CR (RFC 9112 section 2.2)",
            Refusal::BareCr => "CR without LF (RFC 9112 section 2.2)",
            Refusal::LeadingBlankLines => "too many empty lines before the request (RFC 9112 section 2.2)",
            Refusal::LooksLikeTls => {
                "this looks like TLS, but this port speaks plain HTTP (RFC 9110 section 4.2.1)"
            }
            Refusal::MethodInvalid => "invalid method (RFC 9112 section 3.1)",
            Refusal::MethodTooLong => "method too long (RFC 9112 section 3)",
            Refusal::TargetInvalid => "invalid request target (RFC 9112 section 3.2)",
            Refusal::TargetFormUnfit => {
                "the form of the request target does not fit the method (RFC 9112 section 3.2)"
            }
            Refusal::RequestLineTooLong => "request line too long (RFC 9112 section 3)",
            Refusal::VersionInvalid => "invalid HTTP version (RFC 9112 section 2.3)",
            Refusal::VersionUnsupported => "only HTTP/1.x is spoken here (RFC 9110 section 15.6.6)",
            Refusal::HeadTooLarge => "the head is too large (RFC 6585 section 5)",
            Refusal::TooManyFields => "too many fields (RFC 6585 section 5)",
            Refusal::FieldNameInvalid => "invalid field name (RFC 9112 section 5.1)",
            Refusal::FieldValueInvalid => "invalid field value (RFC 9110 section 5.5)",
            Refusal::FieldFolded => "a field line begins with white space (RFC 9112 sections 2.2 and 5.2)",
            Refusal::HostMissing => "Host is missing (RFC 9112 section 3.2)",
            Refusal::HostRepeated => "Host is repeated (RFC 9112 section 3.2)",
            Refusal::HostInvalid => "invalid Host (RFC 9112 section 3.2)",
            Refusal::ContentLengthInvalid => "invalid Content-Length (RFC 9112 section 6.3)",
            Refusal::ContentLengthRepeated => "Content-Length is repeated (RFC 9112 section 6.3)",
            Refusal::TransferEncodingWithLength => {
                "Transfer-Encoding together with Content-Length (RFC 9112 section 6.3)"
            }
            Refusal::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)",
            Refusal::TransferEncodingInvalid => "Transfer-Encoding is not chunked (RFC 9112 section 6.3)",
            Refusal::TransferCodingUnknown => "unknown transfer coding (RFC 9112 section 6.1)",
            Refusal::ConnectWithBody => "CONNECT has no body (RFC 9110 section 9.3.6)",
            Refusal::ExpectationUnknown => "unknown expectation (RFC 9110 section 10.1.1)",
            Refusal::BodyTooLarge => "the body is too large (RFC 9110 section 15.5.14)",
            Refusal::HeadTimeout => "the head took too long (RFC 9110 section 15.5.9)",
            Refusal::Body(fault) => fault.text(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        Refusal::Body(fault)
    }
}

/// Why a request body cannot be read to its end. It stays so: every later read gives the same fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFault {
    /// A chunk size is missing, has a byte that is no hexadecimal digit, or more than 16 digits.
    ChunkSizeInvalid,
    /// A chunk extension breaks its grammar.
    ChunkExtensionInvalid,
    /// A chunk-size line is longer than [`Limits::chunk_line_bytes_max`](crate::Limits).
    ChunkLineTooLong,
    /// More framing than [`Limits::chunk_overhead_bytes_max`](crate::Limits) allows for this payload.
    ChunkOverhead,
    /// The data of a chunk is not followed by CRLF.
    ChunkEndInvalid,
    /// A trailer field breaks the grammar of fields.
    TrailerInvalid,
    /// The trailer section is above [`Limits::trailer_bytes_max`](crate::Limits) or `trailer_count_max`.
    TrailersTooLarge,
    /// The body is above [`Limits::body_bytes_max`](crate::Limits).
    TooLarge,
    /// The body came too slowly, see [`Timeouts`](crate::Timeouts).
    Timeout,
    /// The peer closed its sending side before the body ended, or the connection was aborted.
    Truncated,
}

/// The four things a body fault can mean to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFaultKind {
    /// The bytes break the grammar.
    Malformed,
    /// The body was cut.
    Incomplete,
    /// A limit was passed.
    TooLarge,
    /// The sender was too slow.
    Timeout,
}

impl BodyFault {
    /// What the fault means to an application.
    pub fn kind(self) -> BodyFaultKind {
        match self {
            BodyFault::TooLarge => BodyFaultKind::TooLarge,
            BodyFault::Timeout => BodyFaultKind::Timeout,
            BodyFault::Truncated => BodyFaultKind::Incomplete,
            _ => BodyFaultKind::Malformed,
        }
    }

    /// One sentence with the section that was broken.
    pub fn text(self) -> &'static str {
        match self {
            BodyFault::ChunkSizeInvalid => "invalid chunk size (RFC 9112 section 7.1)",
            BodyFault::ChunkExtensionInvalid => "invalid chunk extension (RFC 9112 section 7.1.1)",
            BodyFault::ChunkLineTooLong => "chunk-size line too long (RFC 9112 section 7.1.1)",
            BodyFault::ChunkOverhead => "too much chunk framing for the data (RFC 9112 section 7.1.1)",
            BodyFault::ChunkEndInvalid => "chunk data without CRLF behind it (RFC 9112 section 7.1)",
            BodyFault::TrailerInvalid => "invalid trailer field (RFC 9112 section 7.1.2)",
            BodyFault::TrailersTooLarge => "the trailers are too large (RFC 6585 section 5)",
            BodyFault::TooLarge => "the body is too large (RFC 9110 section 15.5.14)",
            BodyFault::Timeout => "the body came too slowly (RFC 9110 section 15.5.9)",
            BodyFault::Truncated => "the body ended early (RFC 9112 section 8)",
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for BodyFault {}

/// Why a final response head was not written. Nothing was sent, and another head may be tried unless the
/// first reason applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadRefused {
    /// No request waits for a response: none was received, its response has begun already, or the connection
    /// is over.
    NotAwaited,
    /// A 1xx status. 101 goes through [`accept_upgrade`](crate::Connection::accept_upgrade), the others
    /// through [`send_interim`](crate::Connection::send_interim).
    Interim,
    /// A 2xx answer to CONNECT means a tunnel, which only
    /// [`accept_upgrade`](crate::Connection::accept_upgrade) opens.
    ConnectNeedsAccept,
    /// The request offered no upgrade.
    UpgradeNotOffered,
    /// The head of an upgrade has no `upgrade` field naming the protocol.
    UpgradeUnnamed,
}

impl fmt::Display for HeadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadRefused::NotAwaited => "no request waits for a response head",
            HeadRefused::Interim => "a 1xx status is not a final response",
            HeadRefused::ConnectNeedsAccept => "a 2xx answer to CONNECT without a tunnel",
            HeadRefused::UpgradeNotOffered => "the request offered no upgrade",
            HeadRefused::UpgradeUnnamed => "the accepted protocol is not named in an upgrade field",
        })
    }
}

impl std::error::Error for HeadRefused {}

/// Why an interim response was not written. The exchange goes on as if it had not been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterimRefused {
    /// HTTP/1.0 knows no 1xx responses (RFC 9110 section 15.2).
    Http10,
    /// The final response has begun, or there is no request.
    TooLate,
    /// Not a 1xx status, or 101, which is [`accept_upgrade`](crate::Connection::accept_upgrade).
    NotInterim,
}

impl fmt::Display for InterimRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InterimRefused::Http10 => "HTTP/1.0 knows no interim responses",
            InterimRefused::TooLate => "no response is awaited any more",
            InterimRefused::NotInterim => "not the status of an interim response",
        })
    }
}

impl std::error::Error for InterimRefused {}

/// The response ended before its declared length. The connection must be closed, so that the peer notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortBody {
    /// Bytes that were declared and never came.
    pub missing: u64,
}

impl fmt::Display for ShortBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response ended {} bytes before its declared length", self.missing)
    }
}

impl std::error::Error for ShortBody {}

//! Where a message body ends (RFC 9112 section 6.3).

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFraming {
    /// No body: neither Content-Length nor Transfer-Encoding (step 7).
    None,
    /// Content-Length, possibly 0 (step 6).
    Length(u64),
    /// Transfer-Encoding: chunked (step 4).
    Chunked,
}

impl RequestFraming {
    /// The length of the body if it is known before reading: 0 without a body.
    pub fn exact_len(self) -> Option<u64> {
        match self {
            RequestFraming::None => Some(0),
            RequestFraming::Length(length) => Some(length),
            RequestFraming::Chunked => None,
        }
    }
}

/// What the caller knows of the length of a response body before it is produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly so many bytes.
    Known(u64),
    /// A stream whose length shows at its end.
    Unknown,
}

/// How the body of a response is delimited on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body may follow: HEAD, 204, 304, or the head of an upgrade. The application's body need not even be polled.
    None,
    /// Exactly so many bytes follow.
    Length(u64),
    /// Chunks follow; [`send_data`](crate::Connection::send_data) writes their sizes.
    Chunked,
    /// All bytes until the connection closes belong to the body.
    UntilClose,
}

//! Every bound on what a peer may send: a name, a unit, a default, a precedent and a consequence each.
//!
//! A limit is inclusive: a value equal to it is still served. Sizes that end up in counters are `u32`, so
//! that a connection stays small; nothing is ever allocated because of a number a peer has written.

/// Bounds on requests. [`Limits::default`] is meant for a server that faces the Internet without a proxy in
/// front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line without its CRLF.
    ///
    /// Default 8192 (Apache `LimitRequestLine` 8190, nginx `large_client_header_buffers` 8k; RFC 9112 section
    /// 3 asks for at least 8000). Beyond: 414, or 501 when not even the method has ended. Targets over 65,534
    /// bytes get 414 whatever is configured, because [`http::Uri`] holds no more.
    pub request_line_bytes_max: u32,

    /// Bytes of a whole head: request line, fields, line ends and the empty line.
    ///
    /// Default 65,536 (hyper about 400k, Go 1 MiB, nginx 32k, node 16k). Beyond: 431.
    pub head_bytes_max: u32,

    /// Field lines of a head.
    ///
    /// Default 100 (Apache `LimitRequestFields`, hyper, Kestrel: 100). Beyond: 431. A `HeaderMap` holds 24,576
    /// names; a head with more gets 431 as well.
    pub header_count_max: u32,

    /// Empty lines skipped before a request line, which RFC 9112 section 2.2 asks servers to tolerate.
    ///
    /// Default 2: what is left over from clients that end a body with a superfluous CRLF. Beyond: 400.
    pub leading_blank_lines_max: u8,

    /// Bytes of a request body after removal of the chunked coding; `None` leaves the bound to who reads the
    /// body.
    ///
    /// Default `None`, as in hyper, node and Go: a body is never gathered here, so its length costs this
    /// crate nothing, and only the application knows whether an upload of a gigabyte is a fault. (nginx,
    /// which buffers, has 1 MiB.) Beyond: 413, at the head for a declared length, in the middle of the body
    /// for a chunked one.
    pub body_bytes_max: Option<u64>,

    /// Bytes of one chunk-size line with its extensions, without the CRLF.
    ///
    /// Default 4096 (Go `maxLineLength`, Puma 4096). Beyond: 400.
    pub chunk_line_bytes_max: u32,

    /// Bytes of chunk framing beyond a fair share of the payload.
    ///
    /// Each chunk earns 16 bytes and twice its own length, and spends its size line and two line ends; what
    /// is overspent may add up to this. A bound per line would not stop a megabyte of extensions spread over
    /// small chunks (CVE-2023-39326, CVE-2024-22019). Default 16,384 (Go, llhttp). Beyond: 400.
    pub chunk_overhead_bytes_max: u32,

    /// Bytes of a trailer section with its line ends.
    ///
    /// Default 8192 (hyper 16k, llhttp counts them as head). Beyond: 431 if nothing was answered yet.
    pub trailer_bytes_max: u32,

    /// Field lines of a trailer section.
    ///
    /// Default 32. Beyond: 431 if nothing was answered yet.
    pub trailer_count_max: u32,

    /// Bytes of an unread request body, framing included, that are read and dropped to keep a connection
    /// alive.
    ///
    /// Default 262,144 (Go 256 KiB). A body known to have more left ends the connection instead, as does one
    /// that turns out to.
    pub discard_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_line_bytes_max: 8 << 10,
            head_bytes_max: 64 << 10,
            header_count_max: 100,
            leading_blank_lines_max: 2,
            body_bytes_max: None,
            chunk_line_bytes_max: 4 << 10,
            chunk_overhead_bytes_max: 16 << 10,
            trailer_bytes_max: 8 << 10,
            trailer_count_max: 32,
            discard_bytes_max: 256 << 10,
        }
    }
}

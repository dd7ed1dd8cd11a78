//! From a response to the bytes of its head.
//!
//! Nothing here formats: status lines are constants, numbers are written digit by digit, and field names are
//! lower case as `HeaderMap` holds them. CR, LF and NUL cannot be in a `HeaderValue`, so no response can be
//! split (CVE-2020-5247 and others).

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::framing::{ResponseFraming, parse_content_length};

/// What was written as a response head, and what of the application's wishes was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentHead {
    /// How the body is delimited.
    pub framing: ResponseFraming,
    /// Fields that the application may not set, or not so, and that were left out.
    pub removed: RemovedFields,
    /// The Content-Length the application declared, where the known length of its body is another.
    ///
    /// The declaration is what was sent, and the body is held to it: excess is cut, shortage is
    /// [`ShortBody`](crate::ShortBody). So a response is treated alike whether its length was known
    /// beforehand or not.
    pub length_mismatch: Option<u64>,
    /// No request will follow on this connection, and the head says so.
    pub close: bool,
}

/// A set of fields that were removed from a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovedFields(u8);

impl RemovedFields {
    const NAMES: [&'static str; 6] =
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length"];
    pub(crate) const CONNECTION: RemovedFields = RemovedFields(1);
    pub(crate) const KEEP_ALIVE: RemovedFields = RemovedFields(1 << 1);
    pub(crate) const PROXY_CONNECTION: RemovedFields = RemovedFields(1 << 2);
    pub(crate) const TRANSFER_ENCODING: RemovedFields = RemovedFields(1 << 3);
    pub(crate) const UPGRADE: RemovedFields = RemovedFields(1 << 4);
    pub(crate) const CONTENT_LENGTH: RemovedFields = RemovedFields(1 << 5);

    /// Whether nothing was removed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the removed fields, in lower case.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = self.0;
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| set & (1 << bit) != 0)
            .map(|(_, name)| name)
    }

    pub(crate) fn add(&mut self, field: RemovedFields) {
        self.0 |= field.0;
    }

    /// Takes a field out of the set; whether it was in.
    pub(crate) fn take(&mut self, field: RemovedFields) -> bool {
        let was_in = self.0 & field.0 != 0;
        self.0 &= !field.0;
        was_in
    }

    /// The field's place in this set, if only the server may set it. Content-Length is not among them: it is
    /// looked at before it is removed.
    fn of(name: &HeaderName) -> Option<RemovedFields> {
        match *name {
            header::CONNECTION => Some(Self::CONNECTION),
            header::TRANSFER_ENCODING => Some(Self::TRANSFER_ENCODING),
            header::UPGRADE => Some(Self::UPGRADE),
            _ => match name.as_str() {
                "keep-alive" => Some(Self::KEEP_ALIVE),
                "proxy-connection" => Some(Self::PROXY_CONNECTION),
                _ => None,
            },
        }
    }
}

/// What was found in the application's fields while they were written.
#[derive(Debug, Default)]
pub(crate) struct WrittenFields {
    pub(crate) removed: RemovedFields,
    /// The declared length, which was not written yet.
    pub(crate) content_length: Option<u64>,
}

/// Writes a status line. It says HTTP/1.1 to HTTP/1.0 as well: the version is the server's own (RFC 9110
/// section 2.5).
pub(crate) fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    let known: &[u8] = match status.as_u16() {
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            // The space stays where there is no reason phrase (RFC 9112 section 4).
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(known);
}

/// Writes `date_line` unless the application has its own, and the application's fields but those that only
/// the server may set.
pub(crate) fn write_fields(headers: &HeaderMap, date_line: &[u8], out: &mut Vec<u8>) -> WrittenFields {
    let mut found = WrittenFields::default();
    let mut lengths = 0;
    let mut has_date = false;
    for (name, value) in headers {
        if let Some(field) = RemovedFields::of(name) {
            found.removed.add(field);
            continue;
        }
        match *name {
            header::CONTENT_LENGTH => {
                lengths += 1;
                found.content_length = parse_content_length(value.as_bytes()).ok();
                continue;
            }
            header::DATE => has_date = true,
            _ => {}
        }
        write_field(name.as_str(), value, out);
    }
    // A length that is no number, or not one, is as good as none.
    if lengths > 1 {
        found.content_length = None;
    }
    if lengths > 0 && found.content_length.is_none() {
        found.removed.add(RemovedFields::CONTENT_LENGTH);
    }
    if !has_date {
        out.extend_from_slice(date_line);
    }
    found
}

/// Writes one field line.
pub(crate) fn write_field(name: &str, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the protocols that the peer may or must change to, with the option that belongs to them (RFC 9110 section 7.8).
pub(crate) fn write_upgrade(headers: &HeaderMap, out: &mut Vec<u8>) {
    for protocol in headers.get_all(header::UPGRADE) {
        write_field("upgrade", protocol, out);
    }
    out.extend_from_slice(b"connection: upgrade\r\n");
}

/// Writes `content-length`.
pub(crate) fn write_content_length(length: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_agree_with_the_http_crate() {
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).unwrap();
            let mut line = Vec::new();
            write_status_line(status, &mut line);
            let reason = status.canonical_reason().unwrap_or_default();
            assert_eq!(String::from_utf8(line).unwrap(), format!("HTTP/1.1 {code} {reason}\r\n"));
        }
    }

    #[test]
    fn lengths_are_decimal() {
        for length in [0, 9, 10, 13, 999, 1000, u64::MAX] {
            let mut line = Vec::new();
            write_content_length(length, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), format!("content-length: {length}\r\n"));
        }
    }

    #[test]
    fn names_every_removed_field() {
        let mut removed = RemovedFields::default();
        assert!(removed.is_empty());
        removed.add(RemovedFields::UPGRADE);
        removed.add(RemovedFields::CONNECTION);
        assert_eq!(removed.names().collect::<Vec<_>>(), ["connection", "upgrade"]);
    }
}

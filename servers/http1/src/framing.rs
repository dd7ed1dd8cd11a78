//! Where a message body ends (RFC 9112 section 6.3).
//!
//! The steps of the RFC, as far as they concern a server that reads requests:
//!
//! | step | says | here |
//! |---|---|---|
//! | 3 | Transfer-Encoding overrides Content-Length; both ought to be an error | 400: hops choose differently |
//! | 4 | `chunked` last: chunked; otherwise: 400 | `chunked` alone; behind other codings: 501 (section 6.1) |
//! | 5 | invalid Content-Length: 400, unless a list of equal numbers | 400, equal numbers included |
//! | 6 | valid Content-Length: so many bytes | the same |
//! | 7 | neither: no body | the same |
//!
//! Transfer-Encoding in HTTP/1.0 is a faulty message (section 6.1): 400.

use http::Version;

use crate::error::Refusal;
use crate::grammar::{is_token, trim};

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestFraming {
    /// No body: neither Content-Length nor Transfer-Encoding.
    #[default]
    None,
    /// Content-Length, possibly 0.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

impl RequestFraming {
    /// The length of the body if it is known before reading: 0 without a body, `None` if chunked.
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
    /// No body may follow: HEAD, 204, 304, or the head of an upgrade. The application's body need not even be
    /// produced.
    None,
    /// Exactly so many bytes follow.
    Length(u64),
    /// Chunks follow; [`send_data`](crate::Connection::send_data) writes their sizes.
    Chunked,
    /// All bytes until the connection closes belong to the body.
    UntilClose,
}

/// The framing fields of a request, gathered while all fields are read, judged when all are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct FramingFields {
    content_length: Option<Result<u64, Refusal>>,
    transfer_encoding: Option<Codings>,
}

impl FramingFields {
    pub(crate) fn add_content_length(&mut self, value: &[u8]) {
        self.content_length = Some(match self.content_length {
            None => parse_content_length(value),
            Some(_) => Err(Refusal::ContentLengthRepeated),
        });
    }

    /// Several lines are one list (RFC 9110 section 5.3).
    pub(crate) fn add_transfer_encoding(&mut self, value: &[u8]) {
        self.transfer_encoding = Some(Codings::extend(self.transfer_encoding, value));
    }

    pub(crate) fn judge(self, version: Version) -> Result<RequestFraming, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (None, None) => Ok(RequestFraming::None),
            (None, Some(length)) => Ok(RequestFraming::Length(length?)),
            (Some(_), Some(_)) => Err(Refusal::TransferEncodingWithLength),
            (Some(_), None) if version == Version::HTTP_10 => Err(Refusal::TransferEncodingInHttp10),
            (Some(Codings::Chunked), None) => Ok(RequestFraming::Chunked),
            // A message that we could have framed, had we known the codings ahead.
            (Some(Codings::UnknownThenChunked), None) => Err(Refusal::TransferCodingUnknown),
            (Some(Codings::Unknown | Codings::Invalid), None) => Err(Refusal::TransferEncodingInvalid),
        }
    }
}

/// `1*DIGIT` that fits 64 bits: no sign, no space, no separator, no prefix. A longer number is no length
/// anybody could send.
pub(crate) fn parse_content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.contains(&b',') {
        return Err(Refusal::ContentLengthRepeated);
    }
    if value.is_empty() {
        return Err(Refusal::ContentLengthInvalid);
    }
    value.iter().try_fold(0u64, |length, digit| match digit {
        b'0'..=b'9' => length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit - b'0')))
            .ok_or(Refusal::ContentLengthInvalid),
        _ => Err(Refusal::ContentLengthInvalid),
    })
}

/// The transfer codings of a request, in the order in which they were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codings {
    /// `chunked`, once, and nothing else.
    Chunked,
    /// Words, none of them `chunked`.
    Unknown,
    /// Words, and at the end the one `chunked`.
    UnknownThenChunked,
    /// No list of words, or something behind `chunked`.
    Invalid,
}

impl Codings {
    /// The codings with those of another field line.
    fn extend(before: Option<Self>, value: &[u8]) -> Self {
        let words = value.split(|&byte| byte == b',').map(trim);
        let after = words.fold(before, |codings, word| {
            let is_chunked = word.eq_ignore_ascii_case(b"chunked");
            Some(match codings {
                _ if word.is_empty() || !word.iter().all(|&byte| is_token(byte)) => Self::Invalid,
                None if is_chunked => Self::Chunked,
                Some(Self::Unknown) if is_chunked => Self::UnknownThenChunked,
                None | Some(Self::Unknown) => Self::Unknown,
                Some(_) => Self::Invalid,
            })
        });
        after.unwrap_or(Self::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_is_digits_that_fit() {
        for (text, length) in [("0", 0), ("5", 5), ("0005", 5), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_content_length(text.as_bytes()), Ok(length), "{text}");
        }
        for text in [
            "",
            "+5",
            "-5",
            "5 5",
            "5_0",
            "0x5",
            "5.0",
            "1e3",
            "five",
            "18446744073709551616",
            "\u{a0}5",
            "5\u{b}",
        ] {
            assert_eq!(parse_content_length(text.as_bytes()), Err(Refusal::ContentLengthInvalid), "{text}");
        }
        for text in ["5, 5", "5,6", ","] {
            assert_eq!(parse_content_length(text.as_bytes()), Err(Refusal::ContentLengthRepeated), "{text}");
        }
    }

    #[test]
    fn only_the_word_chunked_is_a_transfer_encoding() {
        for text in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(Codings::extend(None, text.as_bytes()), Codings::Chunked, "{text}");
        }
        for text in ["gzip, chunked", "gzip,deflate,chunked", "x-new\t,\tchunked"] {
            assert_eq!(Codings::extend(None, text.as_bytes()), Codings::UnknownThenChunked, "{text}");
        }
        let first = Codings::extend(None, b"gzip");
        assert_eq!(Codings::extend(Some(first), b"chunked"), Codings::UnknownThenChunked, "on two lines");
        for text in [
            "",
            "identity",
            "gzip",
            "chunked, gzip",
            "chunked, chunked",
            "chunked, gzip, chunked",
            ", chunked",
            "chunked,",
            "\"chunked\"",
            "chunked;a=b",
            "xchunked",
            "chun ked",
            "\u{a0}chunked",
            "gzip;q=1, chunked",
            "'chunked'",
        ] {
            let codings = Codings::extend(None, text.as_bytes());
            assert!(matches!(codings, Codings::Unknown | Codings::Invalid), "{text}");
        }
    }
}

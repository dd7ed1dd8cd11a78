//! A header or trailer section, line by line.
//!
//! ```text
//!   Host: example.com CRLF Accept:   */*  CRLF CRLF
//!   ^^^^  ^^^^^^^^^^^      ^^^^^^    ^^^
//!   name  value            name      value, without the white space around it
//! ```
//!
//! A line is taken apart at its colon and its end, and not looked at byte by byte: [`HeaderName`](http::HeaderName) and
//! [`HeaderValue`](http::HeaderValue), which are made of the pieces, allow what the grammar allows, so a line that is
//! none shows there. What it is to be refused for the [`HeadScanner`](crate::head_scanner::HeadScanner) says.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use memchr::memchr;

use crate::grammar::trim;

/// The lines of a section that begins somewhere in `input`, until the empty line that ends it.
pub(crate) struct FieldLines<'a> {
    input: &'a Bytes,
    rest: &'a [u8],
}

/// A line that is correct by its bytes.
pub(crate) struct FieldLine<'a> {
    pub(crate) name: HeaderName,
    /// A part of the input.
    pub(crate) value: HeaderValue,
    /// The same, borrowed.
    pub(crate) text: &'a [u8],
}

/// The section is not whole, or not correct by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSection;

impl<'a> FieldLines<'a> {
    pub(crate) fn new(input: &'a Bytes, start: usize) -> FieldLines<'a> {
        FieldLines { input, rest: &input[start..] }
    }

    /// Where that ends in the input which was taken so far.
    pub(crate) fn end(&self) -> usize {
        self.input.len() - self.rest.len()
    }

    #[inline(always)]
    fn take_line(&mut self) -> Option<FieldLine<'a>> {
        let (name, rest) = self.rest.split_at(memchr(b':', self.rest)?);
        let (text, rest) = rest[1..].split_at(memchr(b'\r', &rest[1..])?);
        self.rest = rest.strip_prefix(b"\r\n")?;
        let text = trim(text);
        Some(FieldLine {
            name: HeaderName::from_bytes(name).ok()?,
            value: HeaderValue::from_maybe_shared(self.input.slice_ref(text)).ok()?,
            text,
        })
    }
}

impl<'a> Iterator for FieldLines<'a> {
    type Item = Result<FieldLine<'a>, NoSection>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(behind) = self.rest.strip_prefix(b"\r\n") {
            self.rest = behind;
            return None;
        }
        Some(self.take_line().ok_or(NoSection))
    }
}

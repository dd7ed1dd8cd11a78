//! Byte by byte over a head: finds its end, and the first byte that makes it invalid.
//!
//! [`request_head`](crate::request_head) reads the heads that are whole and correct, and it is fast. This scanner does the
//! two things that it does not:
//!
//! - **Going on where it stopped.** A head that comes in pieces is scanned once, however small the pieces.
//!   Otherwise each new byte would cost a parse from the start, and one slow client could keep a core busy
//!   (CVE-2023-43669).
//! - **Judging.** The scanner decides what is refused and why, always for the *first* byte at which no valid
//!   head is possible any more. So the verdict does not depend on how the bytes were cut, and garbage gets its
//!   answer at once instead of after a time-out.
//!
//! Both must accept the same heads. A test beside the parser and `tests/fuzz.rs` hold them together.
//!
//! ```text
//!   Start -> Method -> Target -> Version 0..8 -> LineEnd
//!                                                   |
//!                      +-- LF ----------------------+
//!                      v
//!                 FieldStart -> FieldName -> FieldValue -> LineEnd     (and so on, line by line)
//!                      |
//!                      +-- CR -> HeadEnd -- LF -> done
//! ```

use crate::error::Refusal;
use crate::grammar::{is_target, is_token, is_value};

/// How much of a head or of a trailer section was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadScanner {
    /// Bytes of the input that need not be looked at again.
    scanned: u32,
    /// Field lines begun.
    fields: u16,
    phase: Phase,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request line.
    Start,
    Method,
    /// The first byte of the target, which may not be empty.
    TargetStart,
    Target,
    /// The byte with this index of `HTTP/1.1`, or the CR behind it.
    Version(u8),
    /// The LF of a line.
    LineEnd,
    FieldStart,
    FieldName,
    FieldValue,
    /// The LF of the empty line.
    HeadEnd,
}

/// The bounds of one scan.
pub(crate) struct ScanLimits {
    pub(crate) request_line_bytes: u32,
    pub(crate) bytes: u32,
    pub(crate) fields: u32,
}

impl HeadScanner {
    /// Field lines that can be counted, whatever is configured. A `HeaderMap` holds fewer names, but of one name any number.
    pub(crate) const FIELDS_MAX: u16 = u16::MAX;

    /// For a request line and its fields.
    pub(crate) const HEAD: HeadScanner = HeadScanner { scanned: 0, fields: 0, phase: Phase::Start };

    /// For fields without a line before them.
    pub(crate) const TRAILERS: HeadScanner = HeadScanner { scanned: 0, fields: 0, phase: Phase::FieldStart };

    /// Whether nothing was looked at yet.
    pub(crate) fn is_new(&self) -> bool {
        self.scanned == 0
    }

    /// Looks at what `input` has beyond the last call, which must have had the same beginning. Gives the
    /// length of the head once its end is there.
    pub(crate) fn scan(&mut self, input: &[u8], limits: &ScanLimits) -> Result<Option<usize>, Refusal> {
        let mut phase = self.phase;
        for (at, &byte) in input.iter().enumerate().skip(self.scanned as usize) {
            if at >= limits.bytes as usize {
                return Err(Refusal::HeadTooLarge);
            }
            phase = match phase {
                Phase::Start => match byte {
                    _ if is_token(byte) => Phase::Method,
                    TLS_HANDSHAKE => return Err(Refusal::LooksLikeTls),
                    _ => return Err(Refusal::MethodInvalid),
                },
                Phase::Method | Phase::TargetStart | Phase::Target | Phase::Version(0..8)
                    if at >= limits.request_line_bytes as usize =>
                {
                    return Err(match phase {
                        Phase::Method => Refusal::MethodTooLong,
                        _ => Refusal::RequestLineTooLong,
                    });
                }
                Phase::Method => match byte {
                    b' ' => Phase::TargetStart,
                    _ if is_token(byte) => Phase::Method,
                    _ => return Err(Refusal::MethodInvalid),
                },
                Phase::TargetStart if is_target(byte) => Phase::Target,
                Phase::TargetStart => return Err(Refusal::TargetInvalid),
                Phase::Target => match byte {
                    b' ' => Phase::Version(0),
                    _ if is_target(byte) => Phase::Target,
                    // A line that ends behind the target is a request of HTTP/0.9.
                    b'\r' | b'\n' => return Err(Refusal::VersionInvalid),
                    _ => return Err(Refusal::TargetInvalid),
                },
                Phase::Version(index) => version(index, byte, input, at)?,
                Phase::LineEnd | Phase::HeadEnd if byte != b'\n' => return Err(Refusal::BareCr),
                Phase::LineEnd => Phase::FieldStart,
                Phase::HeadEnd => return Ok(Some(at + 1)),
                Phase::FieldStart => match byte {
                    b'\r' => Phase::HeadEnd,
                    b'\n' => return Err(Refusal::BareLf),
                    b' ' | b'\t' => return Err(Refusal::FieldFolded),
                    _ if !is_token(byte) => return Err(Refusal::FieldNameInvalid),
                    _ => {
                        let more =
                            self.fields.checked_add(1).filter(|&more| u32::from(more) <= limits.fields);
                        self.fields = more.ok_or(Refusal::TooManyFields)?;
                        Phase::FieldName
                    }
                },
                Phase::FieldName => match byte {
                    b':' => Phase::FieldValue,
                    _ if is_token(byte) => Phase::FieldName,
                    _ => return Err(Refusal::FieldNameInvalid),
                },
                Phase::FieldValue => match byte {
                    _ if is_value(byte) => Phase::FieldValue,
                    b'\r' => Phase::LineEnd,
                    b'\n' => return Err(Refusal::BareLf),
                    _ => return Err(Refusal::FieldValueInvalid),
                },
            };
        }
        self.phase = phase;
        self.scanned = input.len() as u32;
        Ok(None)
    }
}

/// The first byte of every TLS connection: a record of type handshake.
const TLS_HANDSHAKE: u8 = 0x16;

fn version(index: u8, byte: u8, input: &[u8], at: usize) -> Result<Phase, Refusal> {
    let fits = match index {
        5 | 7 => byte.is_ascii_digit(),
        8 => byte == b'\r',
        _ => byte == b"HTTP/0."[index as usize],
    };
    match (index, byte) {
        (8, b'\n') => Err(Refusal::BareLf),
        _ if !fits => Err(Refusal::VersionInvalid),
        (8, _) if input[at - 3] == b'1' => Ok(Phase::LineEnd),
        (8, _) => Err(Refusal::VersionUnsupported),
        _ => Ok(Phase::Version(index + 1)),
    }
}

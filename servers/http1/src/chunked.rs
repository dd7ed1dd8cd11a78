//! The chunked transfer coding, both ways (RFC 9112 section 7.1).
//!
//! ```text
//!   1f;name="value" CRLF   31 bytes   CRLF   0 CRLF   trailers   CRLF
//!   ^^ ^^^^^^^^^^^^        ^^^^^^^^          ^        ^^^^^^^^
//!   |  extension: checked, then forgotten    |        kept in the input until whole
//!   size: hexadecimal digits and             last chunk
//!   nothing else
//! ```
//!
//! Size lines are consumed byte by byte, so a line that comes in pieces costs no more than one that comes at
//! once, and nothing of it is kept. White space is taken only where the grammar has it (around `;` and `=`),
//! so `5 CRLF` is refused: what one hop trims and another does not is how requests are smuggled.

use crate::error::BodyFault;
use crate::grammar::{is_token, is_value};
use crate::limits::Limits;

/// Reads chunk-size lines and the line ends behind chunk data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkLines {
    phase: Phase,
    /// Bytes of the current line.
    line: u32,
    /// Framing bytes spent beyond what the payload earned, see [`Limits::chunk_overhead_bytes_max`].
    overspent: u32,
}

/// What the next byte is part of. The names follow the grammar:
///
/// ```text
///   chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The CR behind the data of a chunk.
    DataCr,
    /// The LF behind the data of a chunk.
    DataLf,
    /// The first digit.
    SizeStart,
    Size,
    /// White space that only a `;` may end.
    BeforeExtension,
    /// Behind `;`, before the name.
    BeforeName,
    Name,
    /// White space behind a name: `=` or `;` must follow.
    AfterName,
    /// Behind `=`, before the value.
    BeforeValue,
    Value,
    Quoted,
    /// Behind a backslash in a quoted string.
    QuotedPair,
    /// Behind the closing quote.
    QuotedEnd,
    /// The LF of the size line.
    LineEnd,
}

impl ChunkLines {
    pub(crate) const START: ChunkLines = ChunkLines { phase: Phase::SizeStart, line: 0, overspent: 0 };

    /// Reads up to the end of a size line, adding its digits to `size`, which is 0 when a line begins. Gives
    /// the bytes taken and whether the line has ended.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        size: &mut u64,
        limits: &Limits,
    ) -> Result<(usize, bool), BodyFault> {
        for (at, &byte) in input.iter().enumerate() {
            if self.phase == Phase::LineEnd {
                if byte != b'\n' {
                    return Err(BodyFault::ChunkSizeInvalid);
                }
                self.end_line(*size, limits)?;
                return Ok((at + 1, true));
            }
            self.phase = self.step(byte, size)?;
            if !matches!(self.phase, Phase::DataLf | Phase::SizeStart | Phase::LineEnd) {
                self.line += 1;
                if self.line > limits.chunk_line_bytes_max {
                    return Err(BodyFault::ChunkLineTooLong);
                }
            }
        }
        Ok((input.len(), false))
    }

    fn step(&self, byte: u8, size: &mut u64) -> Result<Phase, BodyFault> {
        const SIZE: BodyFault = BodyFault::ChunkSizeInvalid;
        const EXTENSION: BodyFault = BodyFault::ChunkExtensionInvalid;
        Ok(match (self.phase, byte) {
            (Phase::DataCr, b'\r') => Phase::DataLf,
            (Phase::DataLf, b'\n') => Phase::SizeStart,
            (Phase::DataCr | Phase::DataLf, _) => return Err(BodyFault::ChunkEndInvalid),

            (Phase::SizeStart | Phase::Size, _) if byte.is_ascii_hexdigit() => {
                // Sixteen digits fill the number; a seventeenth would overflow it, a leading zero included.
                if self.line >= 16 {
                    return Err(SIZE);
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                *size = *size << 4 | u64::from(digit);
                Phase::Size
            }
            (Phase::Size, b'\r') => Phase::LineEnd,
            (Phase::Size | Phase::BeforeExtension, b';') => Phase::BeforeName,
            (Phase::Size | Phase::BeforeExtension, b' ' | b'\t') => Phase::BeforeExtension,
            (Phase::SizeStart | Phase::Size | Phase::BeforeExtension, _) => return Err(SIZE),

            (Phase::BeforeName, b' ' | b'\t') => Phase::BeforeName,
            (Phase::BeforeName | Phase::Name, _) if is_token(byte) => Phase::Name,
            (Phase::Name | Phase::Value | Phase::QuotedEnd, b'\r') => Phase::LineEnd,
            (Phase::Name | Phase::AfterName, b' ' | b'\t') => Phase::AfterName,
            (Phase::Name | Phase::AfterName, b'=') => Phase::BeforeValue,
            (Phase::Name | Phase::AfterName | Phase::Value | Phase::QuotedEnd, b';') => Phase::BeforeName,

            (Phase::BeforeValue, b' ' | b'\t') => Phase::BeforeValue,
            (Phase::BeforeValue, b'"') => Phase::Quoted,
            (Phase::BeforeValue | Phase::Value, _) if is_token(byte) => Phase::Value,
            (Phase::Value | Phase::QuotedEnd, b' ' | b'\t') => Phase::BeforeExtension,

            (Phase::Quoted, b'"') => Phase::QuotedEnd,
            (Phase::Quoted, b'\\') => Phase::QuotedPair,
            (Phase::Quoted | Phase::QuotedPair, _) if is_value(byte) => Phase::Quoted,

            _ => return Err(EXTENSION),
        })
    }

    /// Accounts for a size line and makes ready for what follows the data of its chunk.
    fn end_line(&mut self, size: u64, limits: &Limits) -> Result<(), BodyFault> {
        const LINE_ENDS: u64 = 4;
        let spent = u64::from(self.overspent) + u64::from(self.line) + LINE_ENDS;
        let earned = size.saturating_mul(2).saturating_add(16);
        let overspent = spent.saturating_sub(earned);
        if overspent > u64::from(limits.chunk_overhead_bytes_max) {
            return Err(BodyFault::ChunkOverhead);
        }
        *self = ChunkLines { phase: Phase::DataCr, line: 0, overspent: overspent as u32 };
        Ok(())
    }
}

/// Writes the size line of a chunk, which must not be empty: that would end the body.
pub(crate) fn write_size_line(size: u64, out: &mut Vec<u8>) {
    debug_assert!(size > 0);
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = size;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(rest & 0xf) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(line: &str) -> Result<Option<u64>, BodyFault> {
        let mut lines = ChunkLines::START;
        let mut size = 0;
        let (_, ended) = lines.read(line.as_bytes(), &mut size, &Limits::default())?;
        Ok(ended.then_some(size))
    }

    #[test]
    fn sizes_are_hexadecimal_digits_and_nothing_else() {
        for (line, size) in [
            ("0\r\n", 0),
            ("5\r\n", 5),
            ("fF\r\n", 255),
            ("000a\r\n", 10),
            ("ffffffffffffffff\r\n", u64::MAX),
        ] {
            assert_eq!(size_of(line), Ok(Some(size)), "{line:?}");
        }
        for line in [
            "\r\n",
            " 5\r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5_0\r\n",
            "5 \r\n",
            "5\t\r\n",
            "g\r\n",
            "5\n",
            "5\rx",
            "5,\r\n",
            "00000000000000005\r\n",
            "10000000000000000\r\n",
            ";a\r\n",
            "\u{0}5\r\n",
            "5 5\r\n",
        ] {
            assert_eq!(size_of(line), Err(BodyFault::ChunkSizeInvalid), "{line:?}");
        }
    }

    #[test]
    fn extensions_follow_their_grammar() {
        for line in [
            "5;a\r\n",
            "5;a=b\r\n",
            "5 ; a = b\r\n",
            "5;a=\"b c\"\r\n",
            "5;a=\"\\\"\";b\r\n",
            "5;a=\"\" ;b=c\r\n",
            "5\t;a;b;c\r\n",
            "5;a=\"\u{e4};=\"\r\n",
        ] {
            assert_eq!(size_of(line), Ok(Some(5)), "{line:?}");
        }
        for line in [
            "5;\r\n",
            "5;=b\r\n",
            "5;a=\r\n",
            "5;a b\r\n",
            "5;a \r\n",
            "5;a=\"b\r\n",
            "5;a=\"\n\"\r\n",
            "5;a\n",
            "5;a=b\n",
            "5;a=b\"\r\n",
            "5;;a\r\n",
            "5;a\u{0}\r\n",
            "5;a=\"\\\r\n",
            "5;\u{e4}\r\n",
            "5;a=\"b\"c\r\n",
        ] {
            assert_eq!(size_of(line), Err(BodyFault::ChunkExtensionInvalid), "{line:?}");
        }
        // CR is never part of an extension, so this line has ended and something else should have.
        assert_eq!(size_of("5;a\rb\r\n"), Err(BodyFault::ChunkSizeInvalid));
    }

    #[test]
    fn writes_what_it_reads() {
        for size in [1, 9, 10, 15, 16, 255, 256, 65_535, 1 << 30, u64::MAX] {
            let mut line = Vec::new();
            write_size_line(size, &mut line);
            assert_eq!(line, format!("{size:x}\r\n").into_bytes());
            assert_eq!(size_of(std::str::from_utf8(&line).unwrap()), Ok(Some(size)));
        }
    }
}

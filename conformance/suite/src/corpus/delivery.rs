//! The ways in which the bytes of a vector travel.

use std::fmt;

/// How the segments of a vector are cut, and what is put around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each segment in one write.
    Whole,
    /// Every byte in a write of its own.
    ByteByByte,
    /// A write up to every line end.
    LineByLine,
    /// With a good request ahead of it in the same segment.
    Behind,
    /// With a good request behind it in the same segment.
    Ahead,
}

/// How many bytes at each end of a long segment are sent one by one.
const SINGLE: usize = 1024;
/// How many of those between are sent at once.
const PIECE: usize = 64;

impl Delivery {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Whole, Self::ByteByByte, Self::LineByLine, Self::Behind, Self::Ahead];

    /// The writes in which a segment goes out.
    pub(super) fn cut(self, segment: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole | Self::Behind | Self::Ahead => vec![segment],
            Self::LineByLine => segment.split_inclusive(|byte| *byte == b'\n').collect(),
            Self::ByteByByte if segment.len() <= 2 * SINGLE + PIECE => segment.chunks(1).collect(),
            Self::ByteByByte => {
                let (first, rest) = segment.split_at(SINGLE);
                let (middle, last) = rest.split_at(rest.len() - SINGLE);
                first.chunks(1).chain(middle.chunks(PIECE)).chain(last.chunks(1)).collect()
            }
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::ByteByByte => "byte by byte",
            Self::LineByLine => "line by line",
            Self::Behind => "behind a good request",
            Self::Ahead => "ahead of a good request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_it_is_cut() {
        let short = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nhello".to_vec();
        let long = [short.clone(), vec![b'x'; 100_000]].concat();
        for delivery in Delivery::ALL {
            assert_eq!(delivery.cut(&short).concat(), short);
            assert_eq!(delivery.cut(&long).concat(), long);
        }
        assert_eq!(Delivery::ByteByByte.cut(&short).len(), short.len());
        assert_eq!(Delivery::LineByLine.cut(&short).len(), 4);
        assert!(Delivery::ByteByByte.cut(&long).len() < 5000);
    }
}

//! What went over one connection, for the messages of checks that fail.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Grows as a client sends and receives; all clones are the same transcript.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    number: usize,
    began: Instant,
    pieces: Arc<Mutex<Vec<Piece>>>,
}

#[derive(Debug)]
struct Piece {
    at: f64,
    direction: Direction,
    bytes: Vec<u8>,
    /// Of a long piece only the beginning is kept.
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    Sent,
    Received,
    Remark,
}

/// How much of one piece is kept, in bytes.
const PIECE_MAX: usize = 300;
/// How many lines are shown of the beginning of a connection, and how many of its end.
const LINES_SHOWN: usize = 20;

impl Transcript {
    /// Of the check's connection with this number.
    pub(crate) fn new(number: usize) -> Self {
        Self { number, began: Instant::now(), pieces: Arc::default() }
    }

    pub(crate) fn add(&self, direction: Direction, bytes: &[u8]) {
        let at = self.began.elapsed().as_secs_f64();
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        // Consecutive pieces of one direction read better as one.
        if let Some(last) = pieces.last_mut() {
            if last.direction == direction
                && direction != Direction::Remark
                && last.length == last.bytes.len()
            {
                let room = PIECE_MAX.saturating_sub(last.bytes.len());
                last.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
                last.length += bytes.len();
                return;
            }
        }
        if pieces.len() > 2 * LINES_SHOWN {
            // One from the middle, which is not shown.
            pieces.remove(LINES_SHOWN);
        }
        let kept = bytes[..PIECE_MAX.min(bytes.len())].to_vec();
        pieces.push(Piece { at, direction, bytes: kept, length: bytes.len() });
    }

    pub(crate) fn remark(&self, text: &str) {
        self.add(Direction::Remark, text.as_bytes());
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = pieces.iter().flat_map(Piece::lines).collect();
        writeln!(f, "connection {}", self.number)?;
        for (nth, line) in lines.iter().enumerate() {
            match nth {
                LINES_SHOWN if lines.len() > 2 * LINES_SHOWN => writeln!(f, "         ...")?,
                _ if nth > LINES_SHOWN && nth + LINES_SHOWN < lines.len() => {}
                _ => writeln!(f, "{line}")?,
            }
        }
        Ok(())
    }
}

impl Piece {
    /// As they are shown: each line of text on one of its own, the first with the time.
    fn lines(&self) -> Vec<String> {
        let mark = match self.direction {
            Direction::Sent => '>',
            Direction::Received => '<',
            Direction::Remark => '*',
        };
        let text =
            self.bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.escape_ascii().to_string());
        let rest = self.length > self.bytes.len();
        let texts = text.chain(rest.then(|| format!("... {} bytes in all", self.length)));
        let line = |(nth, text)| match nth {
            0 => format!("{:8.3} {mark} {text}", self.at),
            _ => format!("         {mark} {text}"),
        };
        texts.enumerate().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_piece_is_cut_and_its_length_told() {
        let transcript = Transcript::new(1);
        transcript.add(Direction::Sent, b"GET / HTTP/1.1\r\n\r\n");
        transcript.add(Direction::Received, b"HTTP/1.1 200 OK\r\n\r\n");
        transcript.add(Direction::Received, &[b'x'; 16_384]);
        let text = transcript.to_string();
        assert!(text.contains(" > GET / HTTP/1.1\\r\\n\n         > \\r\\n\n"), "{text}");
        assert!(text.ends_with("xxx\n         < ... 16403 bytes in all\n"), "{text}");
        assert!(text.len() < 500, "{text}");
    }

    #[test]
    fn of_many_lines_the_first_and_the_last_are_shown() {
        let transcript = Transcript::new(1);
        for nth in 0..1000 {
            transcript.remark(&format!("nth {nth}"));
        }
        let text = transcript.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 20 + 1 + 20, "{text}");
        assert!(lines[20].ends_with("nth 19") && lines[21].ends_with("..."), "{text}");
        assert!(lines[22].ends_with("nth 980") && lines[41].ends_with("nth 999"), "{text}");
    }
}

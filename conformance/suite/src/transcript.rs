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
    lines: Arc<Mutex<Vec<Line>>>,
}

#[derive(Debug)]
struct Line {
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
const PIECE_MAX: usize = 1024;
/// How many pieces are kept; a check that sends byte by byte makes many.
const LINES_MAX: usize = 200;

impl Transcript {
    /// Of the check's connection with this number.
    pub(crate) fn new(number: usize) -> Self {
        Self { number, began: Instant::now(), lines: Arc::default() }
    }

    pub(crate) fn add(&self, direction: Direction, bytes: &[u8]) {
        let at = self.began.elapsed().as_secs_f64();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Consecutive pieces of one direction read better as one.
        if let Some(last) = lines.last_mut() {
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
        if lines.len() < LINES_MAX {
            let kept = bytes[..PIECE_MAX.min(bytes.len())].to_vec();
            lines.push(Line { at, direction, bytes: kept, length: bytes.len() });
        }
    }

    pub(crate) fn remark(&self, text: &str) {
        self.add(Direction::Remark, text.as_bytes());
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connection {}", self.number)?;
        for Line { at, direction, bytes, length } in
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let mark = match direction {
                Direction::Sent => '>',
                Direction::Received => '<',
                Direction::Remark => '*',
            };
            for (nth, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
                match nth {
                    0 => write!(f, "{at:8.3} {mark} ")?,
                    _ => write!(f, "         {mark} ")?,
                }
                writeln!(f, "{}", line.escape_ascii())?;
            }
            if *length > bytes.len() {
                writeln!(f, "         {mark} ... {} bytes in all", length)?;
            }
        }
        Ok(())
    }
}

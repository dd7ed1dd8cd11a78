//! What a worker tells its supervisor: a pipe, a few bytes at most.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use varvel::BoxError;

use crate::service::may_retry;

/// The most that is told of an error, so that one write always suffices.
const TEXT_MAX: usize = 2048;

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct StatusReader {
    stream: UnixStream,
    unread: Vec<u8>,
    /// The worker has closed its end, or is gone.
    ended: bool,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct StatusWriter(UnixStream);

/// What a worker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It serves.
    Ready,
    /// It has answered as many requests as it should.
    Worn,
    /// It ends, and so many exchanges were cut off.
    Ended { cut: u32 },
    /// It ends with an error.
    Failed { may_retry: bool, text: String },
}

pub(crate) fn channel() -> io::Result<(StatusReader, StatusWriter)> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    Ok((StatusReader { stream: read, unread: Vec::new(), ended: false }, StatusWriter(write)))
}

impl StatusWriter {
    pub(crate) fn ready(&self) {
        self.write(b"r");
    }

    pub(crate) fn worn(&self) {
        self.write(b"w");
    }

    pub(crate) fn ended(&self, cut: u64) {
        let cut = u32::try_from(cut).unwrap_or(u32::MAX).to_le_bytes();
        self.write(&[b"e", &cut[..]].concat());
    }

    pub(crate) fn failed(&self, error: &BoxError) {
        let text = error.to_string();
        let text = &text.as_bytes()[..text.len().min(TEXT_MAX)];
        let head: &[u8] = if may_retry(error) { b"f" } else { b"F" };
        self.write(&[head, &(text.len() as u16).to_le_bytes(), text].concat());
    }

    fn write(&self, message: &[u8]) {
        // A supervisor that is gone is told by the system.
        let _ = (&self.0).write_all(message);
    }
}

impl StatusReader {
    /// Whether there may be more to read, so that it makes sense to wait for it.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended
    }

    /// What was told since.
    pub(crate) fn read(&mut self) -> Vec<Status> {
        let mut chunk = [0; 512];
        while !self.ended {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let mut statuses = Vec::new();
        while let Some((status, length)) = parse(&self.unread) {
            self.unread.drain(..length);
            statuses.push(status);
        }
        statuses
    }
}

impl AsFd for StatusReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The first message, and how long it is.
fn parse(bytes: &[u8]) -> Option<(Status, usize)> {
    match bytes {
        [b'r', ..] => Some((Status::Ready, 1)),
        [b'w', ..] => Some((Status::Worn, 1)),
        [b'e', a, b, c, d, ..] => Some((Status::Ended { cut: u32::from_le_bytes([*a, *b, *c, *d]) }, 5)),
        [head @ (b'f' | b'F'), low, high, text @ ..] => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let text = String::from_utf8_lossy(text.get(..length)?).into_owned();
            Some((Status::Failed { may_retry: *head == b'f', text }, 3 + length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use varvel::StartError;

    use super::*;

    #[test]
    fn what_is_told_arrives_as_it_was_told() {
        let (mut reader, writer) = channel().unwrap();
        assert_eq!(reader.read(), []);
        writer.ready();
        writer.worn();
        writer.ended(70_000);
        assert_eq!(reader.read(), [Status::Ready, Status::Worn, Status::Ended { cut: 70_000 }]);
        // A process that it forked may keep the pipe open.
        writer.failed(&StartError::new("no such table").into());
        let text = StartError::new("no such table").to_string();
        assert_eq!(reader.read(), [Status::Failed { may_retry: false, text }]);
        assert!(reader.is_open());
        drop(writer);
        assert_eq!((reader.read(), reader.is_open()), (vec![], false));
    }

    #[test]
    fn an_error_without_an_end_is_told_in_part() {
        let (mut reader, writer) = channel().unwrap();
        writer.failed(&"long ".repeat(100_000).into());
        let [Status::Failed { may_retry: true, text }] = &reader.read()[..] else { panic!() };
        assert_eq!(text.len(), TEXT_MAX);
    }
}

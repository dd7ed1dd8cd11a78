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
    Ok((StatusReader { stream: read, unread: Vec::new() }, StatusWriter(write)))
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
        self.write(&[head, text].concat());
    }

    fn write(&self, message: &[u8]) {
        // A supervisor that is gone is told by the system.
        let _ = (&self.0).write_all(message);
    }
}

impl StatusReader {
    /// What was told since.
    pub(crate) fn read(&mut self) -> Vec<Status> {
        let mut chunk = [0; 512];
        let ended = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        let mut statuses = Vec::new();
        while let Some((status, length)) = parse(&self.unread, ended) {
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

/// The first message, and how long it is. An error's text goes on to the end.
fn parse(bytes: &[u8], ended: bool) -> Option<(Status, usize)> {
    match bytes {
        [b'r', ..] => Some((Status::Ready, 1)),
        [b'w', ..] => Some((Status::Worn, 1)),
        [b'e', a, b, c, d, ..] => Some((Status::Ended { cut: u32::from_le_bytes([*a, *b, *c, *d]) }, 5)),
        [head @ (b'f' | b'F'), text @ ..] if ended => {
            let text = String::from_utf8_lossy(text).into_owned();
            Some((Status::Failed { may_retry: *head == b'f', text }, bytes.len()))
        }
        _ => None,
    }
}

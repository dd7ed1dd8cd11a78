//! What was read from a connection and not consumed yet.
//!
//! Heads and bodies are slices of what was read. A thread reads into a buffer of its own, into which many small requests
//! fit, and hands out slices of it; when it is used up and no slice is left, it is used again. So reading a request
//! allocates nothing, and a parked connection keeps no buffer: an unfinished head is moved into memory of just its size.

use std::{cell::RefCell, io, mem};

use bytes::{Bytes, BytesMut};
use varvel_server_kit::transport::Transport;

/// Bytes of a thread's buffer.
const BUFFER_BYTES: usize = 32 * 1024;

/// A read is not begun with less room than this.
const ROOM_MIN: usize = 4 * 1024;

/// An unfinished head or trailer section grows by at most this much at a time.
const GROWTH_MAX: usize = 16 * 1024;

thread_local! {
    /// Zeroed memory; what was read is split off its front.
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// The unconsumed input of one connection.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// For the protocol to take from.
    pub(crate) bytes: Bytes,
    /// Whether `bytes` has memory of its own.
    own: bool,
}

/// What came of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Something; `drained` if the socket holds no more.
    Some { drained: bool },
    /// The peer has closed its sending side.
    End,
}

impl Input {
    /// Reads once, at most `limit` bytes, and appends.
    pub(crate) fn read(&mut self, transport: &Transport, limit: usize) -> io::Result<Read> {
        let (read, room) = if self.bytes.is_empty() {
            self.read_fresh(transport, limit)?
        } else {
            self.read_more(transport, limit)?
        };
        Ok(if read == 0 { Read::End } else { Read::Some { drained: read < room } })
    }

    fn read_fresh(&mut self, transport: &Transport, limit: usize) -> io::Result<(usize, usize)> {
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < ROOM_MIN {
                buffer.clear();
                buffer.reserve(BUFFER_BYTES);
                buffer.resize(BUFFER_BYTES, 0);
            }
            let room = buffer.len().min(limit.max(1));
            let read = transport.read(&mut buffer[..room])?;
            self.bytes = buffer.split_to(read).freeze();
            self.own = false;
            Ok((read, room))
        })
    }

    fn read_more(&mut self, transport: &Transport, limit: usize) -> io::Result<(usize, usize)> {
        // Without a copy if it is the only slice of its memory, as it is from the second time on.
        let mut bytes = Vec::from(mem::take(&mut self.bytes));
        let growth = bytes.len().clamp(ROOM_MIN, GROWTH_MAX).min(limit.max(1));
        if bytes.capacity() == bytes.len() {
            bytes.reserve(growth);
        }
        let room = bytes.capacity() - bytes.len();
        let read = transport.read_spare(&mut bytes);
        self.bytes = Bytes::from(bytes);
        self.own = true;
        Ok((read?, room))
    }

    /// Lets go of the thread's buffer, for the connection may rest for long.
    pub(crate) fn settle(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Bytes::new();
        } else if !self.own {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
            self.own = true;
        }
    }
}

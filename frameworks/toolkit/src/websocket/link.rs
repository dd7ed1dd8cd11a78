//! The connection of either form, as tungstenite reads and writes it: it never blocks, and says `WouldBlock` instead.

use std::{
    io::{self, Read, Write},
    task::{Context, Poll, Waker},
};

use varvel::{AsyncIo, BlockingIo, BlockingTransport, Worker};

use crate::{Blocking, Form, Polled};

/// The forms, each with the connection that a WebSocket of it runs over.
pub trait Over: Form {
    /// What it reads and writes.
    #[doc(hidden)]
    type Link: Link;
}

impl Over for Polled {
    type Link = AsyncIo;
}

impl Over for Blocking {
    type Link = Sleeper;
}

/// A connection that is polled.
pub trait Link: Send {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn worker(&self) -> &Worker;
}

impl Link for AsyncIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_close(cx)
    }

    fn worker(&self) -> &Worker {
        self.worker()
    }
}

/// A sync application's connection, polled by a thread that sleeps in the transport's own wait between two polls.
pub struct Sleeper {
    transport: Box<dyn BlockingTransport>,
    worker: Worker,
    /// What the last poll could not go on with.
    reads: bool,
    writes: bool,
}

impl Sleeper {
    pub(super) fn new(io: BlockingIo) -> Self {
        let (transport, worker) = io.into_transport();
        Self { transport, worker, reads: false, writes: false }
    }

    pub(super) fn waker(&self) -> Waker {
        self.transport.waker()
    }

    /// Sleeps until what could not go on may, or the waker was woken.
    pub(super) fn sleep(&mut self) -> io::Result<()> {
        let (reads, writes) = (self.reads, self.writes);
        (self.reads, self.writes) = (false, false);
        self.transport.wait(reads, writes, None)
    }
}

impl Link for Sleeper {
    fn poll_read(&mut self, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = unless_blocked(self.transport.try_read(buffer));
        self.reads |= read.is_pending();
        read
    }

    fn poll_write(&mut self, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = unless_blocked(self.transport.try_write(bytes));
        self.writes |= written.is_pending();
        written
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.transport.close_write())
    }

    fn worker(&self) -> &Worker {
        &self.worker
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// How many bytes one poll reads at most, so that a client that never stops sending does not keep others waiting.
const TURN_BYTES: usize = 64 * 1024;

/// A link as a stream that would block, in the context of whoever polled last.
pub(super) struct Line<L> {
    pub(super) link: L,
    waker: Waker,
    /// How many bytes this turn may still read.
    turn: usize,
    /// A sign of life since somebody asked: something was read, or there was room again where there had been none.
    alive: bool,
    full: bool,
}

impl<L: Link> Line<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, waker: Waker::noop().clone(), turn: 0, alive: false, full: false }
    }

    /// Whoever polls now is to be woken.
    pub(super) fn turn(&mut self, cx: &Context<'_>) {
        self.waker.clone_from(cx.waker());
        self.turn = TURN_BYTES;
    }

    pub(super) fn take_alive(&mut self) -> bool {
        std::mem::take(&mut self.alive)
    }
}

impl<L: Link> Read for Line<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.turn == 0 {
            self.waker.wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = or_block(self.link.poll_read(&mut Context::from_waker(&self.waker), buffer))?;
        self.turn = self.turn.saturating_sub(read);
        self.alive |= read > 0;
        Ok(read)
    }
}

impl<L: Link> Write for Line<L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.link.poll_write(&mut Context::from_waker(&self.waker), bytes);
        self.alive |= self.full && matches!(written, Poll::Ready(Ok(1..)));
        self.full = written.is_pending();
        or_block(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        or_block(self.link.poll_flush(&mut Context::from_waker(&self.waker)))
    }
}

fn or_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

//! Tunnels: how long a continuation takes to be polled, and what it reads.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use varvel::{AsyncIo, AsyncTunnel, BlockingIo, BlockingTransport, BlockingTunnel, PollIo};

use crate::{record::Record, rules as r};

/// Watches the tunnel of an async application.
pub(crate) fn watch_async(tunnel: AsyncTunnel, record: &Arc<Record>) -> AsyncTunnel {
    let record = Arc::clone(record);
    AsyncTunnel::new(tunnel.worker().clone(), move |io| {
        let ended = Ended { record: Arc::clone(&record), ended: false };
        let mut run = tunnel.run(Polled { io, ended });
        Box::pin(poll_fn(move |cx| record.timed(r::A1_TUNNEL, || run.as_mut().poll(cx))))
    })
}

/// Watches the tunnel of a sync application.
pub(crate) fn watch_blocking(tunnel: BlockingTunnel, record: &Arc<Record>) -> BlockingTunnel {
    let record = Arc::clone(record);
    BlockingTunnel::new(tunnel.worker().clone(), move |io: BlockingIo| {
        let (io, _) = io.into_transport();
        tunnel.run(Blocking { io, ended: Ended { record, ended: false } });
    })
}

/// Whether reading has ended.
struct Ended {
    record: Arc<Record>,
    ended: bool,
}

impl Ended {
    fn read(&mut self, read: &io::Result<usize>, wanted: usize) {
        match read {
            Ok(0) if wanted > 0 => self.ended = true,
            Ok(bytes) if self.ended => {
                self.record.breach(r::U5_RESUMED, || format!("{bytes} bytes came behind the end"));
            }
            _ => {}
        }
    }
}

struct Polled {
    io: AsyncIo,
    ended: Ended,
}

impl PollIo for Polled {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        let read = self.io.poll_read(cx, buffer);
        if let Poll::Ready(read) = &read {
            self.ended.read(read, wanted);
        }
        read
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_close(cx)
    }
}

struct Blocking {
    io: Box<dyn BlockingTransport>,
    ended: Ended,
}

impl BlockingTransport for Blocking {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.io.try_read(buffer);
        self.ended.read(&read, buffer.len());
        read
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.io.try_write(bytes)
    }

    fn close_write(&mut self) -> io::Result<()> {
        self.io.close_write()
    }

    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
        self.io.wait(readable, writable, timeout)
    }

    fn waker(&self) -> Waker {
        self.io.waker()
    }
}

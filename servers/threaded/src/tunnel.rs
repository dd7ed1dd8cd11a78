//! Connections taken over by the application: each on a thread of its own, for it may last for days.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};
use varvel::{BlockingTransport, BlockingTunnel, Event, Exchange as _, Level, Outcome, Phase as Running};
use varvel_server_kit::{
    containment::contain,
    gateway::{ErrorResponse, response},
};

use crate::{
    call::{drop_contained, respond_error},
    connection::{Connection, Phase},
    shared::Tools,
};

/// Starts the tunnel that the application has asked for. With `true` its thread owns the connection.
pub(crate) fn start(
    connection: &Arc<Connection>,
    headers: HeaderMap,
    tunnel: BlockingTunnel,
    tools: &mut Tools,
) -> bool {
    let started = Bell::new().map(Arc::new).and_then(|bell| {
        connection.lock().phase = Phase::Tunnel(Arc::clone(&bell));
        let its = Arc::clone(connection);
        let run = move || run(&its, &headers, tunnel, bell);
        match connection.shared.threads.start("varvel-tunnel", run) {
            true => Ok(()),
            false => Err(io::Error::other("the system gives no thread")),
        }
    });
    if let Err(error) = &started {
        let message = format!("an upgrade could not be carried out: {error}");
        connection.report(Event::Log { level: Level::Error, message: &message });
        respond_error(connection, ErrorResponse::UNAVAILABLE, tools);
    }
    started.is_ok()
}

/// The life of the thread.
fn run(connection: &Arc<Connection>, headers: &HeaderMap, tunnel: BlockingTunnel, bell: Arc<Bell>) {
    let mut tools = Tools::new();
    let early = match open(connection, headers, &mut tools) {
        Ok(early) => early,
        Err(NotOpened) => {
            drop_contained(connection, tunnel);
            return connection.shared.pool.push(Arc::clone(connection));
        }
    };
    let written = Arc::default();
    let io = TunnelIo { connection: Arc::clone(connection), early, written: Arc::clone(&written), bell };
    let returned = contain(Running::Tunnel, |event| connection.report(event), || tunnel.run(io));
    let mut io = connection.lock();
    if returned.is_none() {
        io.failed.get_or_insert(Outcome::Failed);
    }
    if let Some(current) = &mut io.current {
        current.bytes = written.load(Relaxed);
    }
    let mut io = connection.finish(io);
    // What was written is still to be delivered, also to a client that is sending still.
    let _ = io.line().map(|line| line.shutdown_write());
    io.end_tunnel(connection.shared.http.timeouts.linger_timeout);
    drop(io);
    connection.shared.pool.push(Arc::clone(connection));
}

struct NotOpened;

/// Sends the head of the accepted upgrade. Gives the bytes that the client sent behind its own (spec U4).
fn open(connection: &Connection, headers: &HeaderMap, tools: &mut Tools) -> Result<Bytes, NotOpened> {
    let mut guard = connection.lock();
    let io = &mut *guard;
    let accepted = match &mut io.current {
        Some(current) if io.failed.is_none() => {
            let id = current.id(connection.conn().id, io.number);
            current.status = response::accept_upgrade(
                &mut io.http,
                &current.method,
                headers,
                tools.date_line(),
                io.outbox.text_mut(),
                |event| connection.shared.report(Some(id), event),
            );
            current.status.is_some()
        }
        _ => false,
    };
    if !accepted {
        drop(guard);
        respond_error(connection, ErrorResponse::INTERNAL, tools);
        return Err(NotOpened);
    }
    let early = std::mem::take(&mut io.input.bytes);
    if connection.write_down_to(0, guard).is_err() {
        connection.lock().phase = Phase::Broken;
        return Err(NotOpened);
    }
    Ok(early)
}

/// Wakes a tunnel that waits.
pub(crate) struct Bell(OwnedFd);

impl Bell {
    fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It can only fail when it has been rung four billion times and nobody listens.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn quiet(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// The connection as the continuation has it. Writes go straight to the socket, so nothing is held back (spec U9).
struct TunnelIo {
    connection: Arc<Connection>,
    /// Bytes to be read first.
    early: Bytes,
    /// How many bytes the tunnel has written.
    written: Arc<AtomicU64>,
    bell: Arc<Bell>,
}

impl BlockingTransport for TunnelIo {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.connection.line()?.read(buffer);
        }
        let taken = buffer.len().min(self.early.len());
        self.early.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.connection.line()?.write(bytes)?;
        self.written.fetch_add(taken as u64, Relaxed);
        Ok(taken)
    }

    fn close_write(&mut self) -> io::Result<()> {
        self.connection.line()?.shutdown_write()
    }

    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
        if readable && !self.early.is_empty() {
            return Ok(());
        }
        // A timeout that the system cannot express is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let bell = PollFd::new(&self.bell.0, PollFlags::IN);
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, readable);
        wanted.set(PollFlags::OUT, writable);
        let waited = if wanted.is_empty() {
            // Without the socket: a broken one is always ready, and whoever closes it waits for who waits on it.
            self.connection.line()?;
            poll(&mut [bell], timeout.as_ref())
        } else {
            let line = self.connection.line()?;
            poll(&mut [bell, PollFd::new(&*line, wanted)], timeout.as_ref())
        };
        if let Err(errno) = waited {
            if errno != Errno::INTR {
                return Err(errno.into());
            }
        }
        self.bell.quiet();
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.bell))
    }
}

/// Dropping the connection closes it, as far as the client can tell; the descriptor goes when the continuation returns.
impl Drop for TunnelIo {
    fn drop(&mut self) {
        let _ = self.close_write();
    }
}

//! A connection that was taken over by the application.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use http::{Method, StatusCode};
use varvel::{
    AsyncTunnel, BoxFuture, Event, Exchange as _, Finish, Outcome, Phase, PollIo, Report, RequestId,
};
use varvel_server_kit::{
    containment::contain,
    journal::Account,
    outbox::{Outbox, Progress, WriteError},
    transport::Transport,
};

use crate::{handle::Handle, lingering::Lingering};

pub(crate) struct Tunnel {
    wire: Arc<Wire>,
    handle: Arc<Handle>,
    waker: Waker,
    stage: Stage,
    origin: Origin,
}

enum Stage {
    /// The continuation is not begun.
    Accepted(AsyncTunnel, TunnelIo),
    Running(BoxFuture),
    /// It has returned; what was written goes out.
    Flushing,
    Lingering(Lingering),
    Over,
}

/// The request that became a tunnel.
pub(crate) struct Origin {
    pub(crate) number: u64,
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// That of the head which accepted it.
    pub(crate) status: StatusCode,
    /// For whoever follows the loop.
    pub(crate) account: Option<Box<Account>>,
}

/// The connection, shared between the loop and the continuation's [`TunnelIo`].
struct Wire {
    transport: Transport,
    state: Mutex<State>,
}

struct State {
    /// The head of the answer, as long as the client has not taken it.
    head: Outbox,
    /// What followed the request: the first that the tunnel reads (spec U4).
    first: Bytes,
    /// How many bytes the tunnel has written.
    written: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What the loop is to do with a tunnel that was driven.
pub(crate) enum TunnelFate {
    Wait,
    Close,
    Reset,
}

impl Tunnel {
    pub(crate) fn new(
        tunnel: AsyncTunnel,
        transport: Transport,
        handle: Arc<Handle>,
        first: Bytes,
        head: Outbox,
        origin: Origin,
    ) -> Self {
        let state = State { head, first, written: 0, reader: None, writer: None };
        let wire = Arc::new(Wire { transport, state: Mutex::new(state) });
        let stage = Stage::Accepted(tunnel, TunnelIo(Arc::clone(&wire)));
        let waker = Waker::from(Arc::clone(&handle));
        Self { wire, handle, waker, stage, origin }
    }

    /// Notes what the poller has seen.
    pub(crate) fn ready(&self, event: &mio::event::Event) {
        let over = event.is_error() || event.is_write_closed();
        let mut state = self.wire.lock();
        let reader = state.reader.take_if(|_| over || event.is_readable() || event.is_read_closed());
        let writer = state.writer.take_if(|_| over || event.is_writable());
        drop(state);
        // The tunnel itself is driven right after this; parts of it may have wakers of their own.
        for waker in reader.into_iter().chain(writer) {
            if !waker.will_wake(&self.waker) {
                contain(Phase::Background, |event| self.report(event), || waker.wake());
            }
        }
    }

    /// Until when a client may take its time after the end.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Lingering(lingering) => lingering.deadline(),
            _ => None,
        }
    }

    /// Goes as far as possible without waiting.
    pub(crate) fn drive(&mut self, now: Instant, linger: Duration, scratch: &mut [u8]) -> TunnelFate {
        self.handle.driven();
        if let Some(account) = &self.origin.account {
            account.polling();
        }
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                // Begun here and not before, because it is the application's code that runs.
                Stage::Accepted(tunnel, io) => {
                    let begun = contain(Phase::Tunnel, |event| self.report(event), || tunnel.run(io));
                    let Some(run) = begun else { return self.failed() };
                    self.stage = Stage::Running(run);
                }
                Stage::Running(mut run) => {
                    let mut cx = Context::from_waker(&self.waker);
                    let polled =
                        contain(Phase::Tunnel, |event| self.report(event), || run.as_mut().poll(&mut cx));
                    match polled {
                        Some(Poll::Pending) => {
                            self.stage = Stage::Running(run);
                            // If that fails, the continuation learns of it by its next read or write.
                            let _ = self.wire.lock().flush_head(&self.wire.transport);
                            return TunnelFate::Wait;
                        }
                        Some(Poll::Ready(())) => {
                            self.finish(run, Outcome::Completed);
                            self.stage = Stage::Flushing;
                        }
                        None => {
                            self.drop_contained(run);
                            return self.failed();
                        }
                    }
                }
                // The client reads what was written before its unread bytes could make the kernel reset the
                // connection (spec U6).
                Stage::Flushing => match self.wire.lock().flush_head(&self.wire.transport) {
                    Ok(true) if self.wire.transport.shutdown_write().is_ok() => {
                        self.stage = Stage::Lingering(Lingering::new(now, linger));
                    }
                    Ok(false) => {
                        self.stage = Stage::Flushing;
                        return TunnelFate::Wait;
                    }
                    _ => return TunnelFate::Close,
                },
                Stage::Lingering(mut lingering) => {
                    if lingering.is_over(now) || lingering.discard(&self.wire.transport, scratch) {
                        return TunnelFate::Close;
                    }
                    self.stage = Stage::Lingering(lingering);
                    return TunnelFate::Wait;
                }
                Stage::Over => return TunnelFate::Close,
            }
        }
    }

    /// Drops the continuation, as at the drain's deadline (spec U8); whether it was still running.
    pub(crate) fn abandon(&mut self, outcome: Outcome) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Accepted(tunnel, io) => {
                self.drop_contained((tunnel, io));
                self.end(outcome);
            }
            Stage::Running(run) => self.finish(run, outcome),
            Stage::Flushing | Stage::Lingering(_) | Stage::Over => return false,
        }
        true
    }

    /// Ends the connection for good, though the application may have kept its end of it.
    pub(crate) fn sever(&self) {
        // It fails only where the client was first.
        let _ = self.wire.transport.shutdown();
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.wire.transport
    }

    /// Resets the connection, if the application has not kept its end of it.
    pub(crate) fn reset(self) {
        drop(self.stage);
        if let Some(wire) = Arc::into_inner(self.wire) {
            wire.transport.reset();
        }
    }

    fn failed(&mut self) -> TunnelFate {
        self.end(Outcome::Failed);
        TunnelFate::Reset
    }

    fn finish(&mut self, run: BoxFuture, outcome: Outcome) {
        self.drop_contained(run);
        self.end(outcome);
    }

    fn drop_contained<T>(&self, value: T) {
        contain(Phase::Drop, |event| self.report(event), || drop(value));
    }

    fn end(&mut self, outcome: Outcome) {
        let written = self.wire.lock().written;
        let finish = Finish::new(outcome, Some(self.origin.status), written);
        self.handle.end_exchange(finish, |event| self.report(event));
        if let Some(account) = self.origin.account.take() {
            account.end(&finish);
        }
    }

    fn report(&self, event: Event<'_>) {
        let Origin { number, method, target, .. } = &self.origin;
        let request = RequestId::new(self.handle.id(), *number, Some(method), target);
        self.handle.worker().report(&Report::of(request, event));
    }
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the head is out.
    fn flush_head(&mut self, transport: &Transport) -> io::Result<bool> {
        match self.head.write_to(transport) {
            Ok(progress) => Ok(progress == Progress::Drained),
            Err(WriteError::Transport(error) | WriteError::File(error)) => Err(error),
            Err(WriteError::FileShort { .. }) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Like [`flush_head`](Self::flush_head), with the writer woken when it can go on.
    fn poll_head(&mut self, transport: &Transport, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.flush_head(transport) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                self.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// The application's end of a tunnel.
struct TunnelIo(Arc<Wire>);

impl PollIo for TunnelIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if !state.first.is_empty() {
            let taken = buffer.len().min(state.first.len());
            state.first.copy_to_slice(&mut buffer[..taken]);
            return Poll::Ready(Ok(taken));
        }
        match self.0.transport.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        match state.poll_head(&self.0.transport, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        match self.0.transport.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            result => {
                state.written += *result.as_ref().unwrap_or(&0) as u64;
                Poll::Ready(result)
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_head(&self.0.transport, cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.lock().poll_head(&self.0.transport, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(self.0.transport.shutdown_write()),
            other => other,
        }
    }
}

/// Dropping the connection closes it, though the continuation may go on.
impl Drop for TunnelIo {
    fn drop(&mut self) {
        if let Ok(true) = self.0.lock().flush_head(&self.0.transport) {
            let _ = self.0.transport.shutdown_write();
        }
    }
}

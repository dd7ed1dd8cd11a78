//! A tunnel in memory: the bytes between the test and a continuation.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BytesMut};
use varvel::PollIo;

use super::bell::Task;

pub(crate) struct Pipe {
    /// How many bytes may wait for the test (spec U9).
    high_water: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    to_app: BytesMut,
    /// The test has ended its sending side.
    to_app_ended: bool,
    to_test: BytesMut,
    /// How many bytes the continuation has written.
    written: u64,
    /// The continuation has ended its sending side, or dropped the connection.
    to_test_ended: bool,
    /// The test has left.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(high_water: u64) -> Arc<Self> {
        let high_water = usize::try_from(high_water).unwrap_or(usize::MAX).max(1);
        Arc::new(Self { high_water, state: Mutex::default() })
    }

    /// The continuation's end.
    pub(crate) fn end(self: &Arc<Self>) -> impl PollIo + 'static {
        AppEnd(Arc::clone(self))
    }

    /// The test sends.
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.change(|state| state.to_app.extend_from_slice(bytes));
    }

    /// The test ends its sending side.
    pub(crate) fn end_sending(&self) {
        self.change(|state| state.to_app_ended = true);
    }

    /// The test leaves.
    pub(crate) fn leave(&self) {
        self.change(|state| state.gone = true);
    }

    /// What the continuation has written, up to so many bytes; none if that is its end.
    pub(crate) fn pull(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut taken = 0;
        let mut is_end = false;
        self.change(|state| {
            taken = buffer.len().min(state.to_test.len());
            state.to_test.copy_to_slice(&mut buffer[..taken]);
            is_end = state.to_test.is_empty() && state.to_test_ended;
        });
        (taken > 0 || is_end).then_some(taken)
    }

    /// Whether there is something to pull, be it the end.
    pub(crate) fn is_readable(&self) -> bool {
        let state = self.lock();
        !state.to_test.is_empty() || state.to_test_ended
    }

    /// How many bytes the continuation has written.
    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Whether the continuation waits for bytes.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().reader.is_some()
    }

    /// How many wakers of a task wait for the test to send, to take or to leave.
    pub(crate) fn wakers_of(&self, task: &Arc<Task>) -> usize {
        let waker = task.waker();
        let state = self.lock();
        [&state.reader, &state.writer].into_iter().flatten().filter(|held| held.will_wake(&waker)).count()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AppEnd(Arc<Pipe>);

impl PollIo for AppEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let taken = buffer.len().min(state.to_app.len());
        if taken > 0 || state.to_app_ended || buffer.is_empty() {
            state.to_app.copy_to_slice(&mut buffer[..taken]);
            return Poll::Ready(Ok(taken));
        }
        if state.gone {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        if state.gone || state.to_test_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.0.high_water.saturating_sub(state.to_test.len());
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = room.min(bytes.len());
        state.to_test.extend_from_slice(&bytes[..taken]);
        state.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().to_test_ended = true;
        Poll::Ready(Ok(()))
    }
}

/// Dropping the connection closes it.
impl Drop for AppEnd {
    fn drop(&mut self) {
        self.0.lock().to_test_ended = true;
    }
}

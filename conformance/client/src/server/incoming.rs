//! The request body, between the test that sends it and the application that reads it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use varvel::{AsyncBody, BodyError, BodyErrorKind, Frame, PollBody};

use super::{bell::Task, connection::Connection};

pub(crate) struct Incoming(Mutex<State>);

struct State {
    frames: VecDeque<Frame>,
    /// How it ended, once it did.
    end: Option<Result<(), BodyErrorKind>>,
    /// What is still to be read of a declared length.
    left: Option<u64>,
    /// How many bytes the server still takes.
    allowed: u64,
    /// Who waits for a frame.
    reader: Option<Waker>,
    /// The application still holds the body.
    held: bool,
}

impl Incoming {
    /// A body of this length, if it is declared, of which the server takes so many bytes.
    pub(crate) fn new(length: Option<u64>, body_bytes_max: Option<u64>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            frames: VecDeque::new(),
            end: None,
            left: length,
            allowed: body_bytes_max.unwrap_or(u64::MAX),
            reader: None,
            held: false,
        })))
    }

    /// The application's end of it.
    pub(crate) fn body(self: &Arc<Self>, connection: &Arc<Connection>) -> AsyncBody {
        self.lock().held = true;
        AsyncBody::from_poll(Outlet { incoming: Arc::clone(self), connection: Arc::clone(connection) })
    }

    /// A frame arrives.
    pub(crate) fn push(&self, frame: Frame) {
        self.change(|state| {
            if state.end.is_none() && state.held {
                state.frames.push_back(frame);
            }
        });
    }

    /// The body ends, if it has not ended before.
    pub(crate) fn end(&self, end: Result<(), BodyErrorKind>) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// The client sends none of it.
    pub(crate) fn withhold(&self) {
        self.change(|state| {
            state.frames.clear();
            state.end = Some(Err(BodyErrorKind::Incomplete));
        });
    }

    /// Whether all of it has arrived, or all that ever will.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// How many bytes have arrived that the application has not read.
    pub(crate) fn unread(&self) -> u64 {
        let state = self.lock();
        let sizes = state.frames.iter().map(|frame| match frame {
            Frame::Data(data) => data.len() as u64,
            _ => 0,
        });
        sizes.sum()
    }

    /// Whether the application waits for more of it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().reader.is_some()
    }

    /// How many wakers of a task wait for more of it.
    pub(crate) fn wakers_of(&self, task: &Arc<Task>) -> usize {
        let waker = task.waker();
        usize::from(self.lock().reader.as_ref().is_some_and(|reader| reader.will_wake(&waker)))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Outlet {
    incoming: Arc<Incoming>,
    connection: Arc<Connection>,
}

impl PollBody for Outlet {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.connection.send_continue();
        let mut state = self.incoming.lock();
        let frame = state.frames.pop_front();
        if let Some(Frame::Data(data)) = &frame {
            let length = data.len() as u64;
            if length > state.allowed {
                state.frames.clear();
                state.end = Some(Err(BodyErrorKind::TooLarge));
                return Poll::Ready(Some(Err(BodyError::new(BodyErrorKind::TooLarge))));
            }
            state.allowed -= length;
            state.left = state.left.map(|left| left.saturating_sub(length));
        }
        match (frame, state.end) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(kind))) => Poll::Ready(Some(Err(BodyError::new(kind)))),
            (None, None) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.incoming.lock().left
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.incoming.lock();
        state.held = false;
        let reader = state.reader.take();
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        drop((reader, frames));
    }
}

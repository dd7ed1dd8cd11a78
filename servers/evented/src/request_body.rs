//! The request body between the loop that receives it and the application that pulls it.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use varvel::{AsyncBody, BodyError, BodyErrorKind, Frame, PollBody};

/// Frames that have arrived and were not pulled yet. The loop reads the transport only when the application has pulled
/// and found nothing, so an application that does not read costs no memory (spec B7).
pub(crate) struct Incoming(Mutex<State>);

struct State {
    frames: VecDeque<Frame>,
    /// Data bytes still to be pulled, if declared.
    left: Option<u64>,
    end: Option<Result<(), BodyErrorKind>>,
    /// The application has pulled and found nothing.
    wanted: bool,
    puller: Option<Waker>,
    /// The loop polls the application just now, and looks at `wanted` afterwards: no need to wake it.
    polled: bool,
    /// The application has dropped the body.
    dropped: bool,
}

impl Incoming {
    /// A body to come, and the application's end of it. `connection` wakes the loop to go on receiving.
    pub(crate) fn new(exact_len: Option<u64>, connection: Waker) -> (Arc<Self>, AsyncBody) {
        let incoming = Arc::new(Self(Mutex::new(State {
            frames: VecDeque::new(),
            left: exact_len,
            end: None,
            wanted: false,
            puller: None,
            polled: false,
            dropped: false,
        })));
        let body = AsyncBody::from_poll(RequestBody { incoming: Arc::clone(&incoming), connection });
        (incoming, body)
    }

    /// Marks the time in which the loop polls the application.
    pub(crate) fn set_polled(&self, polled: bool) {
        self.lock().polled = polled;
    }

    /// Whether the application waits for more.
    pub(crate) fn is_wanted(&self) -> bool {
        let state = self.lock();
        state.wanted && !state.dropped
    }

    #[must_use]
    pub(crate) fn push_data(&self, data: Bytes, connection: &Waker) -> Option<Waker> {
        self.change(connection, |state| state.frames.push_back(Frame::Data(data)))
    }

    #[must_use]
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>, connection: &Waker) -> Option<Waker> {
        self.change(connection, |state| {
            state.frames.extend(trailers.map(Frame::Trailers));
            state.end.get_or_insert(Ok(()));
        })
    }

    /// Ends the body with an error, unless it has ended.
    #[must_use]
    pub(crate) fn fail(&self, kind: BodyErrorKind, connection: &Waker) -> Option<Waker> {
        self.change(connection, |state| {
            state.end.get_or_insert(Err(kind));
        })
    }

    /// Whom to wake, if somebody else waits than the connection's own future, which is polled right after this.
    fn change(&self, connection: &Waker, change: impl FnOnce(&mut State)) -> Option<Waker> {
        let mut state = self.lock();
        change(&mut state);
        state.wanted = false;
        let puller = state.puller.take();
        drop(state);
        puller.filter(|puller| !puller.will_wake(connection))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RequestBody {
    incoming: Arc<Incoming>,
    connection: Waker,
}

impl PollBody for RequestBody {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut state = self.incoming.lock();
        if let Some(frame) = state.frames.pop_front() {
            if let (Frame::Data(data), Some(left)) = (&frame, &mut state.left) {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(end) = state.end {
            return Poll::Ready(end.err().map(|kind| Err(BodyError::new(kind))));
        }
        state.puller = Some(cx.waker().clone());
        let wake = !std::mem::replace(&mut state.wanted, true) && !state.polled;
        drop(state);
        if wake {
            self.connection.wake_by_ref();
        }
        Poll::Pending
    }

    fn exact_len(&self) -> Option<u64> {
        self.incoming.lock().left
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.incoming.lock();
        state.dropped = true;
        let frames = std::mem::take(&mut state.frames);
        drop(state);
        drop(frames);
    }
}

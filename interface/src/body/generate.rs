//! A body produced by a future that lives inside it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;

use super::{Frame, PollBody};
use crate::BodyError;

/// Hands frames from a producing future to the body around it; see [`AsyncBody::generate`](crate::AsyncBody::generate).
///
/// There is room for one frame: [`data`](Self::data) and its like wait until theirs was taken, so a slow client slows
/// the producer down (spec B8). When the body is dropped, so is the producer, at the await where it stands (spec A6).
///
/// The sender may also be used beside the producer, in a task of its own. The body still ends when the producer returns,
/// and a frame that nobody takes any more is waited for without end, so the producer should outlive that task.
pub struct FrameSender(Arc<Slot>);

impl FrameSender {
    /// Sends some bytes, and waits until they were taken.
    pub async fn data(&mut self, chunk: impl Into<Bytes>) {
        self.frame(Frame::Data(chunk.into())).await;
    }

    /// Sends the trailers, which must be the last frame, and waits until they were taken.
    pub async fn trailers(&mut self, trailers: HeaderMap) {
        self.frame(Frame::Trailers(trailers)).await;
    }

    /// Sends a frame, and waits until it was taken.
    pub async fn frame(&mut self, frame: Frame) {
        let mut frame = Some(frame);
        poll_fn(|cx| {
            let mut state = self.0.lock();
            // Full with this frame, or with one whose sending was given up.
            if state.frame.is_some() {
                state.sender = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let Some(frame) = frame.take() else { return Poll::Ready(()) };
            state.frame = Some(frame);
            state.sender = Some(cx.waker().clone());
            let body = state.body.take();
            drop(state);
            if let Some(body) = body {
                body.wake();
            }
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for FrameSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameSender")
    }
}

pub(super) fn generate<F, Fut>(produce: F) -> impl PollBody + Send + 'static
where
    F: FnOnce(FrameSender) -> Fut,
    Fut: Future<Output = Result<(), BodyError>> + Send + 'static,
{
    let slot = Arc::new(Slot::default());
    let producer = produce(FrameSender(Arc::clone(&slot)));
    Generated { slot, producer: Producer::Running(Box::pin(producer)) }
}

#[derive(Default)]
struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    frame: Option<Frame>,
    /// Waits for the frame to be taken.
    sender: Option<Waker>,
    /// Waits for a frame. `None` while the body polls its producer, for it looks for a frame right after.
    body: Option<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Generated {
    slot: Arc<Slot>,
    producer: Producer,
}

enum Producer {
    Running(Pin<Box<dyn Future<Output = Result<(), BodyError>> + Send>>),
    Returned(Result<(), BodyError>),
}

impl PollBody for Generated {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Self { slot, producer } = &mut *self;
        let mut was_there = true;
        if let Producer::Running(running) = producer {
            let mut state = slot.lock();
            state.body = None;
            was_there = state.frame.is_some();
            drop(state);
            if let Poll::Ready(returned) = running.as_mut().poll(cx) {
                *producer = Producer::Returned(returned);
            }
        }
        let mut state = slot.lock();
        // A frame goes first, even when the producer gave up waiting for it to be taken and returned.
        if let Some(frame) = state.frame.take() {
            let sender = state.sender.take();
            drop(state);
            // A sender that was polled just now, by this very task, will be with the next poll of the body.
            if let Some(sender) = sender.filter(|sender| was_there || !sender.will_wake(cx.waker())) {
                sender.wake();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match producer {
            Producer::Running(_) => {
                state.body = Some(cx.waker().clone());
                Poll::Pending
            }
            Producer::Returned(returned) => Poll::Ready(std::mem::replace(returned, Ok(())).err().map(Err)),
        }
    }
}

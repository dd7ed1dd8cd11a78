//! A body produced by a future that lives inside it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;

use super::{Frame, PollBody};
use crate::BodyError;

/// Hands frames from a producing future to the body around it; see [`AsyncBody::generate`](crate::AsyncBody::generate).
///
/// There is room for one frame: sending waits until the one before was taken, so a slow client slows the producer down
/// (spec B8). When the body is dropped, so is the producer, at the await where it stands (spec A6).
pub struct FrameSender(Arc<Mutex<Option<Frame>>>);

impl FrameSender {
    /// Sends some bytes.
    pub async fn data(&mut self, chunk: impl Into<Bytes>) {
        self.frame(Frame::Data(chunk.into())).await;
    }

    /// Sends the trailers, which must be the last frame.
    pub async fn trailers(&mut self, trailers: HeaderMap) {
        self.frame(Frame::Trailers(trailers)).await;
    }

    /// Sends a frame and waits until it was taken.
    pub async fn frame(&mut self, frame: Frame) {
        let mut frame = Some(frame);
        // No waker is kept: the producer is polled by the body itself, which takes the frame right after.
        poll_fn(|_| {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_some() {
                return Poll::Pending;
            }
            match frame.take() {
                Some(frame) => {
                    *slot = Some(frame);
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
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
    let slot = Arc::new(Mutex::new(None));
    let producer = produce(FrameSender(Arc::clone(&slot)));
    Generated { slot, producer: Producer::Running(Box::pin(producer)) }
}

struct Generated {
    slot: Arc<Mutex<Option<Frame>>>,
    producer: Producer,
}

enum Producer {
    Running(Pin<Box<dyn Future<Output = Result<(), BodyError>> + Send>>),
    Returned(Result<(), BodyError>),
}

impl PollBody for Generated {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Producer::Running(producer) = &mut self.producer {
            if let Poll::Ready(returned) = producer.as_mut().poll(cx) {
                self.producer = Producer::Returned(returned);
            }
        }
        // A frame goes first, even when the producer gave up waiting for it to be taken and returned.
        if let Some(frame) = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.producer {
            Producer::Running(_) => Poll::Pending,
            Producer::Returned(returned) => Poll::Ready(std::mem::replace(returned, Ok(())).err().map(Err)),
        }
    }
}

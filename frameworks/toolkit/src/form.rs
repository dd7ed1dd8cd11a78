//! The two forms of the contract as types, for what is written once and runs in both.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use varvel::{
    Async, AsyncBody, Body, BodyError, Frame, FrameSink, Mode, PollBody, Pull, Push, ReadBody, WriteBody,
};

use crate::transform::{self, Transform};

/// One of the two forms of the contract: [`Blocking`] or [`Polled`].
///
/// What is generic over it gets requests of `Body<F::In>` and answers with `Body<F::Out>`. Bodies that are empty, in
/// memory or a file are made the same in both (`Body::full`, `Body::file`); what happens to the frames of any other is a
/// [`Transform`], and put around it here.
///
/// ```
/// use http::{Response, StatusCode};
/// use varvel::Body;
/// use varvel_toolkit::{Blocking, Form, Polled};
///
/// fn too_large<F: Form>() -> Response<Body<F::Out>> {
///     let mut response = Response::new(Body::from_static(b"too large\n"));
///     *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
///     response
/// }
/// assert_eq!(too_large::<Blocking>().status(), too_large::<Polled>().status());
/// ```
pub trait Form: sealed::Sealed + Sized + 'static {
    /// How the body of a request flows.
    type In: Mode;
    /// How the body of a response flows.
    type Out: Mode;

    /// How many bytes of data a request body still has, if that is known.
    fn request_len(body: &Body<Self::In>) -> Option<u64>;

    /// How many bytes of data a response body has, if that is known.
    fn response_len(body: &Body<Self::Out>) -> Option<u64>;

    /// Puts a transformation around the body of a request; see [`transform`](crate::transform).
    fn transform_request<T>(body: Body<Self::In>, transform: T) -> Body<Self::In>
    where
        T: Transform + Send + 'static;

    /// Puts a transformation around the body of a response. Content-Length is the caller's concern (spec M4).
    fn transform_response<T>(body: Body<Self::Out>, transform: T) -> Body<Self::Out>
    where
        T: Transform + Send + 'static;

    /// Makes one body of several, one behind the other; its length is known where all of theirs are.
    /// Only the last may have trailers.
    fn response_in_pieces(pieces: Vec<Body<Self::Out>>) -> Body<Self::Out>;
}

/// The sync form: [`App`](varvel::App), whose requests are pulled and whose responses are pushed.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {}

/// The async form: [`AsyncApp`](varvel::AsyncApp), polled both ways.
#[derive(Clone, Copy, Debug)]
pub enum Polled {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Blocking {}
    impl Sealed for super::Polled {}
}

impl Form for Blocking {
    type In = Pull;
    type Out = Push;

    fn request_len(body: &ReadBody) -> Option<u64> {
        body.exact_len()
    }

    fn response_len(body: &WriteBody) -> Option<u64> {
        body.exact_len()
    }

    fn transform_request<T: Transform + Send + 'static>(body: ReadBody, transform: T) -> ReadBody {
        transform::pulled(body, transform)
    }

    fn transform_response<T: Transform + Send + 'static>(body: WriteBody, transform: T) -> WriteBody {
        transform::pushed(body, transform)
    }

    fn response_in_pieces(pieces: Vec<WriteBody>) -> WriteBody {
        let exact_len = pieces.iter().map(WriteBody::exact_len).sum();
        let write = |sink: &mut dyn FrameSink| pieces.into_iter().try_for_each(|piece| piece.write_to(sink));
        match exact_len {
            Some(len) => WriteBody::from_sized_writer(len, write),
            None => WriteBody::from_writer(write),
        }
    }
}

impl Form for Polled {
    type In = Async;
    type Out = Async;

    fn request_len(body: &AsyncBody) -> Option<u64> {
        body.exact_len()
    }

    fn response_len(body: &AsyncBody) -> Option<u64> {
        body.exact_len()
    }

    fn transform_request<T: Transform + Send + 'static>(body: AsyncBody, transform: T) -> AsyncBody {
        transform::polled(body, transform)
    }

    fn transform_response<T: Transform + Send + 'static>(body: AsyncBody, transform: T) -> AsyncBody {
        transform::polled(body, transform)
    }

    fn response_in_pieces(pieces: Vec<AsyncBody>) -> AsyncBody {
        AsyncBody::from_poll(Pieces(pieces.into()))
    }
}

/// Bodies that are polled one behind the other.
struct Pieces(VecDeque<AsyncBody>);

impl PollBody for Pieces {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        while let Some(piece) = self.0.front_mut() {
            if let Some(frame) = ready!(piece.poll_frame(cx)) {
                return Poll::Ready(Some(frame));
            }
            self.0.pop_front();
        }
        Poll::Ready(None)
    }

    fn exact_len(&self) -> Option<u64> {
        self.0.iter().map(AsyncBody::exact_len).sum()
    }
}

//! `http_body::Body` in both directions, without loss: frames, trailers, errors and lengths (spec X4).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use ::http_body::{Body as HttpBody, Frame as HttpFrame, SizeHint};
use bytes::{Buf, Bytes};

use crate::{AsyncBody, BodyError, BoxError, Frame, PollBody};

impl HttpBody for AsyncBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, BodyError>>> {
        Self::poll_frame(self.get_mut(), cx).map(|frame| {
            frame.map(|frame| {
                frame.map(|frame| match frame {
                    Frame::Data(data) => HttpFrame::data(data),
                    Frame::Trailers(trailers) => HttpFrame::trailers(trailers),
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl AsyncBody {
    /// Makes a body of any `http_body::Body`; its exact length, if it knows one, is kept.
    pub fn from_http_body<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if body.size_hint().exact() == Some(0) && body.is_end_stream() {
            return Self::empty();
        }
        Self::from_poll(Adapted(Box::pin(body)))
    }
}

struct Adapted<B>(Pin<Box<B>>);

impl<B> PollBody for Adapted<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            let frame = match self.0.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    // One of ours that came back through another's hands keeps its meaning.
                    let error = match error.into().downcast::<BodyError>() {
                        Ok(error) => *error,
                        Err(error) => BodyError::failed(error),
                    };
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let frame = match frame.into_data() {
                Ok(mut data) => Frame::Data(data.copy_to_bytes(data.remaining())),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => Frame::Trailers(trailers),
                    Err(_unknown) => continue,
                },
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.0.size_hint().exact()
    }
}

//! Content that is there before a thread is taken for it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use varvel::{AsyncBody, BodyError, BodyParts, Frame, PollBody};

/// Waits for the end of a body, an error, or this many bytes, and returns a body of the same frames: those that have come
/// as one, then the rest as it comes.
///
/// It is for whoever hands a body to a thread that will want all of it: a client that sends slowly costs memory
/// meanwhile, and no thread. A body that is known to be longer is returned at once. [`Endpoint::buffered`](crate::Endpoint::buffered) does
/// this for an application.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{App, AsyncAppResult, AsyncBody, AsyncApp, Scope, app_fn, bridge::Offloaded, sync_fn};
/// use varvel_toolkit::prefetch;
///
/// let sum = Offloaded::new(sync_fn(|request: Request<varvel::ReadBody>, _| {
///     let content = request.into_body().collect(1024)?;
///     Ok(Response::new(content.iter().map(|byte| u32::from(*byte)).sum::<u32>().to_string().into()))
/// }));
/// let app = app_fn(move |request: Request<AsyncBody>, scope: Scope| {
///     let sum = sum.clone();
///     async move {
///         let (head, body) = request.into_parts();
///         let body = prefetch(body, 1024 + 1).await;
///         sum.call(Request::from_parts(head, body), scope).await
///     }
/// });
/// # let client = varvel_test::Client::new(app);
/// # assert_eq!(client.post("/").body("ab").send().text(), "195");
/// ```
pub async fn prefetch(mut body: AsyncBody, bytes: usize) -> AsyncBody {
    let whole = body.exact_len();
    if whole.is_some_and(|len| len > bytes as u64) {
        return body;
    }
    // Copied, as a frame of one byte may keep a large buffer alive.
    let mut come = Vec::new();
    let next = loop {
        match poll_fn(|cx| body.poll_frame(cx)).await {
            Some(Ok(Frame::Data(data))) => come.extend_from_slice(&data),
            Some(other) => break Next::Frame(other),
            None => return AsyncBody::full(come),
        }
        if come.len() >= bytes {
            break Next::Rest(body);
        }
    };
    AsyncBody::from_poll(Prefetched { come: Some(come.into()), next })
}

/// A body of which some has come.
struct Prefetched {
    come: Option<Bytes>,
    next: Next,
}

/// What follows.
enum Next {
    /// Trailers, or an error: the last frame.
    Frame(Result<Frame, BodyError>),
    Rest(AsyncBody),
    Nothing,
}

impl PollBody for Prefetched {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(come) = self.come.take().filter(|come| !come.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::Data(come))));
        }
        if let Next::Rest(rest) = &mut self.next {
            return rest.poll_frame(cx);
        }
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Frame(frame) => Poll::Ready(Some(frame)),
            _ => Poll::Ready(None),
        }
    }

    fn exact_len(&self) -> Option<u64> {
        let come = self.come.as_ref().map_or(0, Bytes::len) as u64;
        match &self.next {
            Next::Rest(rest) => rest.exact_len().map(|rest| come + rest),
            Next::Frame(Ok(_)) | Next::Nothing => Some(come),
            Next::Frame(Err(_)) => None,
        }
    }
}

/// Whether some of a body is still to come. The body is given back.
pub(crate) fn is_coming(body: AsyncBody) -> (bool, AsyncBody) {
    let parts = body.into_parts();
    (matches!(parts, BodyParts::Stream(_)), parts.into())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::HeaderMap;
    use varvel::BodyErrorKind;

    use super::*;

    /// A body of these frames, each behind a moment when there is none.
    struct Frames(Vec<Result<Frame, BodyError>>, bool);

    impl PollBody for Frames {
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, BodyError>>> {
            self.1 = !self.1;
            if self.1 {
                return Poll::Pending;
            }
            Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn body(frames: Vec<Result<Frame, BodyError>>) -> AsyncBody {
        AsyncBody::from_poll(Frames(frames, false))
    }

    fn data(text: &'static str) -> Result<Frame, BodyError> {
        Ok(Frame::Data(Bytes::from_static(text.as_bytes())))
    }

    fn finish<T>(future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        let mut cx = Context::from_waker(Waker::noop());
        (0..100)
            .find_map(|_| match future.as_mut().poll(&mut cx) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            })
            .expect("it ends")
    }

    /// What is left of a body: its frames, as text.
    fn frames(mut body: AsyncBody) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = finish(poll_fn(|cx| body.poll_frame(cx))) {
            frames.push(match frame {
                Ok(Frame::Data(data)) => String::from_utf8(data.to_vec()).unwrap(),
                Ok(_) => "trailers".to_owned(),
                Err(error) => {
                    frames.push(format!("{:?}", error.kind()));
                    break;
                }
            });
        }
        frames
    }

    #[test]
    fn what_ends_is_there_as_a_whole() {
        let whole = finish(prefetch(body(vec![data("ab"), data("c")]), 100));
        assert_eq!(whole.exact_len(), Some(3));
        let (is_coming, whole) = is_coming(whole);
        assert!(!is_coming);
        assert_eq!(frames(whole), ["abc"]);
        assert_eq!(frames(finish(prefetch(AsyncBody::empty(), 100))), [""; 0]);
    }

    #[test]
    fn what_is_longer_goes_on_where_it_was_left() {
        let rest = finish(prefetch(body(vec![data("ab"), data("cd"), data("ef"), data("gh")]), 3));
        assert_eq!(frames(rest), ["abcd", "ef", "gh"]);
        // Known to be longer: nobody waits.
        let known = AsyncBody::full("abcd");
        assert_eq!(frames(finish(prefetch(known, 3))), ["abcd"]);
    }

    #[test]
    fn trailers_and_errors_come_last() {
        let trailers = || Ok(Frame::Trailers(HeaderMap::new()));
        assert_eq!(frames(finish(prefetch(body(vec![data("ab"), trailers()]), 9))), ["ab", "trailers"]);
        assert_eq!(frames(finish(prefetch(body(vec![trailers()]), 9))), ["trailers"]);
        let broken = || Err(BodyError::new(BodyErrorKind::Disconnected));
        assert_eq!(frames(finish(prefetch(body(vec![data("ab"), broken()]), 9))), ["ab", "Disconnected"]);
    }
}

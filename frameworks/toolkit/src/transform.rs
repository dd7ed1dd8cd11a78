//! What happens to the frames of a body on their way, without IO: written once, it runs in bodies that are polled, pulled
//! or pushed. Compression, limits and digests are such.
//!
//! ```text
//!   inner body --Data--> Transform::data ---\
//!              waits --> Transform::flush ---+--> Data of the outer body
//!              ends  --> Transform::end ----/
//!                        Transform::trailers ---> Trailers, if any
//! ```
//!
//! [`Form::transform_request`](crate::Form::transform_request) and `transform_response` put one around a body:
//! - what is empty stays so, and tunnels and deferred answers pass untouched (spec M3);
//! - what is in memory is transformed at once and stays in memory, so its length is known;
//! - what streams, files included, is transformed frame by frame. Nothing is held back while the inner body waits, nor
//!   once its writer has flushed (spec M2).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use varvel::{AsyncBody, BodyError, BodyParts, Frame, FrameRead, FrameSink, PollBody, ReadBody, WriteBody};

/// What happens to the frames of one body.
///
/// ```
/// use bytes::Bytes;
/// use varvel::{BodyError, WriteBody};
/// use varvel_toolkit::{Blocking, Form, Transform};
///
/// struct Shout;
///
/// impl Transform for Shout {
///     fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
///         Ok(data.to_ascii_uppercase().into())
///     }
///
///     fn end(&mut self) -> Result<Bytes, BodyError> {
///         Ok(Bytes::from_static(b"!"))
///     }
/// }
///
/// let body = Blocking::transform_response(WriteBody::from("hello"), Shout);
/// assert_eq!(body.exact_len(), Some("HELLO!".len() as u64));
/// ```
pub trait Transform {
    /// Takes some bytes and gives what has become of them so far, which may be nothing.
    ///
    /// # Errors
    /// If the body cannot go on; nothing is called after it (spec A7).
    fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError>;

    /// Gives what it still holds, since nothing more is there for the moment. Not called twice without data in between.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    fn flush(&mut self) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }

    /// Gives what it still holds at the end of the data. Not called for a body that failed.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    fn end(&mut self) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }

    /// The trailers behind the end, of those that the inner body has, if any. Not called for a body in memory: it is known
    /// before its head is sent, so what there is to say of it goes into a field.
    fn trailers(&mut self, inner: Option<HeaderMap>) -> Option<HeaderMap> {
        inner
    }

    /// How many bytes it will still give, if it is known how many the inner body has, and that decides it.
    fn exact_len(&self, _inner: Option<u64>) -> Option<u64> {
        None
    }
}

pub(crate) fn polled<T: Transform + Send + 'static>(body: AsyncBody, transform: T) -> AsyncBody {
    struct Fails(Option<BodyError>);
    impl PollBody for Fails {
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, BodyError>>> {
            Poll::Ready(self.0.take().map(Err))
        }
    }
    match body.into_parts() {
        BodyParts::Full(data) if !data.is_empty() => match whole(data, transform) {
            Ok(data) => AsyncBody::full(data),
            Err(error) => AsyncBody::from_poll(Fails(Some(error))),
        },
        parts @ (BodyParts::File(_) | BodyParts::Stream(_)) => {
            AsyncBody::from_poll(Polled { inner: parts.into(), through: Through::new(transform) })
        }
        other => other.into(),
    }
}

pub(crate) fn pulled<T: Transform + Send + 'static>(body: ReadBody, transform: T) -> ReadBody {
    struct Fails(Option<BodyError>);
    impl FrameRead for Fails {
        fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
            self.0.take().map_or(Ok(None), Err)
        }
    }
    match body.into_parts() {
        BodyParts::Full(data) if !data.is_empty() => match whole(data, transform) {
            Ok(data) => ReadBody::full(data),
            Err(error) => ReadBody::from_frames(Fails(Some(error))),
        },
        parts @ (BodyParts::File(_) | BodyParts::Stream(_)) => {
            ReadBody::from_frames(Pulled { inner: parts.into(), through: Through::new(transform) })
        }
        other => other.into(),
    }
}

pub(crate) fn pushed<T: Transform + Send + 'static>(body: WriteBody, transform: T) -> WriteBody {
    match body.into_parts() {
        BodyParts::Full(data) if !data.is_empty() => match whole(data, transform) {
            Ok(data) => WriteBody::full(data),
            Err(error) => WriteBody::from_writer(|_sink| Err(error)),
        },
        parts @ (BodyParts::File(_) | BodyParts::Stream(_)) => {
            let inner = WriteBody::from(parts);
            let exact_len = transform.exact_len(inner.exact_len());
            let write = move |sink: &mut dyn FrameSink| {
                let mut pushed = Pushed { sink, through: Through::new(transform) };
                inner.write_to(&mut pushed)?;
                pushed.finish()
            };
            match exact_len {
                Some(len) => WriteBody::from_sized_writer(len, write),
                None => WriteBody::from_writer(write),
            }
        }
        other => other.into(),
    }
}

/// What becomes of a body that is all there.
fn whole(data: Bytes, mut transform: impl Transform) -> Result<Bytes, BodyError> {
    let data = transform.data(data)?;
    Ok(joined(data, transform.end()?))
}

/// One after the other, without a copy where one of them is empty.
fn joined(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        first
    } else if first.is_empty() {
        second
    } else {
        let mut both = BytesMut::with_capacity(first.len() + second.len());
        both.extend_from_slice(&first);
        both.extend_from_slice(&second);
        both.freeze()
    }
}

/// A transformation and how far it is.
struct Through<T> {
    transform: T,
    /// There was data since it was flushed last.
    unflushed: bool,
    /// The inner body has ended.
    ended: bool,
    /// What is to be given before anything else.
    trailers: Option<HeaderMap>,
}

impl<T: Transform> Through<T> {
    fn new(transform: T) -> Self {
        Self { transform, unflushed: false, ended: false, trailers: None }
    }

    fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.unflushed = true;
        self.transform.data(data)
    }

    fn flush(&mut self) -> Result<Bytes, BodyError> {
        if std::mem::take(&mut self.unflushed) { self.transform.flush() } else { Ok(Bytes::new()) }
    }

    /// Ends the data; the trailers follow.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<Bytes, BodyError> {
        self.ended = true;
        let rest = self.transform.end()?;
        self.trailers = self.transform.trailers(trailers);
        Ok(rest)
    }

    /// What follows the last data, once.
    fn after_end(&mut self) -> Option<Frame> {
        self.trailers.take().map(Frame::Trailers)
    }

    fn exact_len(&self, inner: Option<u64>) -> Option<u64> {
        if self.ended { Some(0) } else { self.transform.exact_len(inner) }
    }
}

struct Polled<T> {
    inner: AsyncBody,
    through: Through<T>,
}

/// Neither part is ever pinned.
impl<T> Unpin for Polled<T> {}

impl<T: Transform> PollBody for Polled<T> {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Self { inner, through } = &mut *self;
        if through.ended {
            return Poll::Ready(through.after_end().map(Ok));
        }
        let Poll::Ready(frame) = inner.poll_frame(cx) else {
            return match through.flush() {
                Ok(held) if held.is_empty() => Poll::Pending,
                // The inner body has the waker, and is polled again before anybody waits.
                held => Poll::Ready(Some(held.map(Frame::Data))),
            };
        };
        // One frame in, one frame out, if need be one without bytes: so whoever polls decides how long to go on.
        let data = match frame.transpose()? {
            Some(Frame::Data(data)) => through.data(data),
            Some(Frame::Trailers(trailers)) => through.end(Some(trailers)),
            Some(unknown) => return Poll::Ready(Some(Ok(unknown))),
            None => through.end(None),
        };
        match data {
            Ok(data) if data.is_empty() && through.ended => Poll::Ready(through.after_end().map(Ok)),
            data => Poll::Ready(Some(data.map(Frame::Data))),
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.through.exact_len(self.inner.exact_len())
    }
}

struct Pulled<T> {
    inner: ReadBody,
    through: Through<T>,
}

impl<T: Transform> FrameRead for Pulled<T> {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        let Self { inner, through } = self;
        if through.ended {
            return Ok(through.after_end());
        }
        let data = match inner.next_frame()? {
            Some(Frame::Data(data)) => {
                let data = through.data(data)?;
                // The next frame may be long in coming, and there is no telling beforehand.
                joined(data, through.flush()?)
            }
            Some(Frame::Trailers(trailers)) => through.end(Some(trailers))?,
            Some(unknown) => return Ok(Some(unknown)),
            None => through.end(None)?,
        };
        if data.is_empty() && through.ended {
            return Ok(through.after_end());
        }
        Ok(Some(Frame::Data(data)))
    }

    fn exact_len(&self) -> Option<u64> {
        self.through.exact_len(self.inner.exact_len())
    }
}

struct Pushed<'s, T> {
    sink: &'s mut dyn FrameSink,
    through: Through<T>,
}

impl<T: Transform> Pushed<'_, T> {
    /// Ends the body, unless trailers have done so.
    fn finish(&mut self) -> Result<(), BodyError> {
        if self.through.ended { Ok(()) } else { self.end(None) }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), BodyError> {
        let rest = self.through.end(trailers)?;
        self.push(rest)?;
        match self.through.trailers.take() {
            Some(trailers) => self.sink.trailers(trailers),
            None => Ok(()),
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() { Ok(()) } else { self.sink.data(data) }
    }
}

impl<T: Transform> FrameSink for Pushed<'_, T> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        let data = self.through.data(chunk)?;
        self.push(data)
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        let held = self.through.flush()?;
        self.push(held)?;
        self.sink.flush()
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.end(Some(trailers))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use varvel::BodyErrorKind;

    use super::*;

    /// Holds bytes back until there are three, counts them all, and says how many there were.
    #[derive(Default)]
    struct Threes {
        held: Vec<u8>,
        all: usize,
    }

    impl Transform for Threes {
        fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
            if data.contains(&b'!') {
                return Err(BodyError::new(BodyErrorKind::TooLarge));
            }
            self.all += data.len();
            self.held.extend_from_slice(&data);
            let whole = self.held.len() / 3 * 3;
            Ok(self.held.drain(..whole).collect::<Vec<_>>().into())
        }

        fn flush(&mut self) -> Result<Bytes, BodyError> {
            self.held.push(b'~');
            Ok(std::mem::take(&mut self.held).into())
        }

        fn end(&mut self) -> Result<Bytes, BodyError> {
            self.held.push(b'.');
            Ok(std::mem::take(&mut self.held).into())
        }

        fn trailers(&mut self, inner: Option<HeaderMap>) -> Option<HeaderMap> {
            let mut trailers = inner.unwrap_or_default();
            trailers.insert("count", HeaderValue::from(self.all));
            Some(trailers)
        }

        fn exact_len(&self, inner: Option<u64>) -> Option<u64> {
            inner.map(|len| len + 1)
        }
    }

    /// The frames of a body as text: data, `|` where it waits or was flushed, trailers in brackets, and the error.
    #[derive(Default)]
    struct Seen(String);

    impl Seen {
        fn frame(&mut self, frame: Frame) {
            match frame {
                Frame::Data(data) => self.0.push_str(std::str::from_utf8(&data).unwrap()),
                Frame::Trailers(trailers) => {
                    let mut names: Vec<_> = trailers.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
                    names.sort();
                    self.0.push_str(&format!("[{}]", names.join(",")));
                }
                other => panic!("{other:?}"),
            }
        }

        fn error(&mut self, error: &BodyError) {
            self.0.push_str(&format!("{:?}", error.kind()));
        }
    }

    impl FrameSink for Seen {
        fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
            self.frame(Frame::Data(chunk));
            Ok(())
        }

        fn flush(&mut self) -> Result<(), BodyError> {
            self.0.push('|');
            Ok(())
        }

        fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
            self.frame(Frame::Trailers(trailers));
            Ok(())
        }
    }

    /// What a body does: `|` waits or flushes, `[` has trailers, anything else is a frame of one byte.
    struct Script(std::str::Chars<'static>);

    impl Script {
        fn step(&mut self) -> Option<Option<Frame>> {
            Some(match self.0.next()? {
                '|' => None,
                '[' => {
                    let trailers = [("inner".parse().unwrap(), HeaderValue::from_static("1"))];
                    Some(Frame::Trailers(HeaderMap::from_iter(trailers)))
                }
                byte => Some(Frame::Data(byte.to_string().into())),
            })
        }
    }

    impl PollBody for Script {
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, BodyError>>> {
            match self.step() {
                Some(None) => Poll::Pending,
                Some(frame) => Poll::Ready(frame.map(Ok)),
                None => Poll::Ready(None),
            }
        }
    }

    impl FrameRead for Script {
        fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
            Ok(std::iter::from_fn(|| self.step()).flatten().next())
        }
    }

    fn seen_polled(mut body: AsyncBody) -> String {
        let mut seen = Seen::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            match body.poll_frame(&mut cx) {
                Poll::Pending => seen.0.push('|'),
                Poll::Ready(None) => return seen.0,
                Poll::Ready(Some(Ok(frame))) => seen.frame(frame),
                Poll::Ready(Some(Err(error))) => {
                    seen.error(&error);
                    return seen.0;
                }
            }
        }
    }

    fn seen_pulled(mut body: ReadBody) -> String {
        let mut seen = Seen::default();
        loop {
            match body.next_frame() {
                Ok(None) => return seen.0,
                Ok(Some(frame)) => seen.frame(frame),
                Err(error) => {
                    seen.error(&error);
                    return seen.0;
                }
            }
        }
    }

    fn seen_pushed(body: WriteBody) -> String {
        let mut seen = Seen::default();
        if let Err(error) = body.write_to(&mut seen) {
            seen.error(&error);
        }
        seen.0
    }

    fn in_each_form(script: &'static str) -> [String; 3] {
        let mut steps = Script(script.chars());
        let written = WriteBody::from_writer(move |sink| {
            while let Some(step) = steps.step() {
                match step {
                    Some(Frame::Data(data)) => sink.data(data)?,
                    Some(Frame::Trailers(trailers)) => sink.trailers(trailers)?,
                    _ => sink.flush()?,
                }
            }
            Ok(())
        });
        let (polls, pulls) = (Script(script.chars()), Script(script.chars()));
        [
            seen_polled(polled(AsyncBody::from_poll(polls), Threes::default())),
            seen_pulled(pulled(ReadBody::from_frames(pulls), Threes::default())),
            seen_pushed(pushed(written, Threes::default())),
        ]
    }

    #[test]
    fn each_form_gives_the_data_then_the_end_then_trailers() {
        let pulled = "a~b~c~d~.[count=\"4\"]";
        assert_eq!(in_each_form("abcd"), ["abcd.[count=\"4\"]", pulled, "abcd.[count=\"4\"]"]);
        let pulled = "a~b~.[count=\"2\",inner=\"1\"]";
        let other = "ab.[count=\"2\",inner=\"1\"]";
        assert_eq!(in_each_form("ab["), [other, pulled, other]);
        assert_eq!(in_each_form(""), [".[count=\"0\"]"; 3]);
    }

    #[test]
    fn what_is_held_is_given_where_the_body_waits_and_only_once() {
        let [polled, _, pushed] = in_each_form("ab||c");
        // A poll that gives something is not pending, so the body is asked once more, and waits itself.
        assert_eq!(polled, "ab~|c.[count=\"3\"]");
        assert_eq!(pushed, "ab~||c.[count=\"3\"]");
    }

    #[test]
    fn an_error_of_the_transformation_ends_the_body() {
        assert_eq!(in_each_form("abc!de"), ["abcTooLarge", "a~b~c~TooLarge", "abcTooLarge"]);
        let failed = "TooLarge";
        assert_eq!(seen_polled(polled(AsyncBody::from("ab!"), Threes::default())), failed);
        assert_eq!(seen_pulled(pulled(ReadBody::from("ab!"), Threes::default())), failed);
        assert_eq!(seen_pushed(pushed(WriteBody::from("ab!"), Threes::default())), failed);
    }

    #[test]
    fn what_is_in_memory_stays_there_and_what_is_empty_stays_empty() {
        let body = polled(AsyncBody::from("abcd"), Threes::default());
        assert!(matches!(body.into_parts(), BodyParts::Full(data) if data == "abcd."));
        let body = pushed(WriteBody::from("abcd"), Threes::default());
        assert!(matches!(body.into_parts(), BodyParts::Full(data) if data == "abcd."));
        assert!(pulled(ReadBody::empty(), Threes::default()).is_empty());
        assert!(polled(AsyncBody::from(""), Threes::default()).is_empty());
    }

    #[test]
    fn a_length_that_the_transformation_knows_is_told() {
        let sized = WriteBody::from_sized_writer(3, |sink| sink.data(Bytes::from_static(b"abc")));
        assert_eq!(pushed(sized, Threes::default()).exact_len(), Some(4));
        let unknown = polled(AsyncBody::from_poll(Script("abc".chars())), Threes::default());
        assert_eq!(unknown.exact_len(), None);
    }
}

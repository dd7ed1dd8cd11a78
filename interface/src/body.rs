//! Bodies: one concrete type in three modes, and the frames it is made of.
//!
//! ```text
//!                 request                            response
//!   async   AsyncBody, polled by the app      AsyncBody, polled by the server
//!   sync    ReadBody,  pulled by the app      WriteBody, pushed by the app into a sink
//! ```
//!
//! On the sync side the application's thread blocks on an object that the server supplies, in both directions; hence
//! pull for requests and push for responses. A body that is empty, in memory or a file is the same in every mode and
//! never boxed, so a server sees what it has and chooses `Content-Length`, `writev` or `sendfile`.

use std::{
    convert::Infallible,
    fmt,
    fs::File,
    future::poll_fn,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::{
    BodyError, BodyErrorKind,
    deferral::Answer,
    upgrade::{AsyncTunnel, BlockingTunnel},
};

mod generate;

pub use generate::FrameSender;

/// A piece of a body: data, or the trailers that end it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Frame {
    /// Some bytes; none at all is allowed and means nothing (spec B6).
    Data(Bytes),
    /// The fields after the data: the last frame, at most once (spec A8, B4, B5).
    Trailers(HeaderMap),
}

/// A body that is polled: what streams through async applications, both ways.
pub trait PollBody {
    /// The next frame, `None` at the end. Not called again after the end or an error (spec B12).
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// How many bytes of data are still to come, if that is known.
    fn exact_len(&self) -> Option<u64> {
        None
    }
}

/// A body that is pulled: the request as a sync application reads it.
pub trait FrameRead {
    /// Waits for the next frame; `Ok(None)` at the end, and ever after (spec B1).
    ///
    /// # Errors
    /// Why there is no more; a body cut short is never mistaken for one that ended (spec B2).
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError>;

    /// How many bytes of data are still to come, if that is known.
    fn exact_len(&self) -> Option<u64> {
        None
    }
}

/// Where a sync application pushes its response; supplied by the server.
///
/// Every method blocks while more than the server's high-water mark is unsent (spec B8). After an error the body is
/// over and the sink must not be called again (spec A7).
pub trait FrameSink {
    /// Hands over some bytes. They may wait for company until the next [`flush`](Self::flush) or the end.
    ///
    /// # Errors
    /// Usually [`BodyErrorKind::Disconnected`] (spec E11).
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError>;

    /// Returns once everything handed over has been given to the transport (spec B9).
    ///
    /// # Errors
    /// As [`data`](Self::data).
    fn flush(&mut self) -> Result<(), BodyError>;

    /// Ends the body with trailers, which are dropped silently where the client cannot take them (spec B5).
    ///
    /// # Errors
    /// As [`data`](Self::data).
    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError>;
}

/// A part of an open file as a body: exactly `len` bytes from `offset`, wherever the descriptor's own position is, so
/// that any number of bodies may share one descriptor (spec B13).
#[derive(Clone, Debug)]
pub struct FileRegion {
    /// The file, which stays open as long as any body of it.
    pub file: Arc<File>,
    /// Where the region begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes. A file that turns out shorter breaks the response off (spec B14).
    pub len: u64,
}

/// How a body flows: [`Async`], [`Pull`] or [`Push`].
///
/// A marker instead of the stream's type itself keeps trait objects, and with them lifetimes that the compiler cannot
/// generalise over, out of every signature that travels through futures.
pub trait Mode: sealed::Sealed + Sized + 'static {
    /// The type of a body that is produced piece by piece.
    type Stream;
    /// The continuation of an accepted upgrade, where the mode has one.
    type Tunnel;
    /// An answer that is given later, where the mode has one.
    type Deferred;
}

/// Polled, in both directions.
#[derive(Clone, Copy, Debug)]
pub enum Async {}
/// Pulled: the request of a sync application.
#[derive(Clone, Copy, Debug)]
pub enum Pull {}
/// Pushed: the response of a sync application.
#[derive(Clone, Copy, Debug)]
pub enum Push {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Async {}
    impl Sealed for super::Pull {}
    impl Sealed for super::Push {}
}

impl Mode for Async {
    type Stream = Pin<Box<dyn PollBody + Send>>;
    type Tunnel = AsyncTunnel;
    type Deferred = Infallible;
}

impl Mode for Pull {
    type Stream = Reader;
    type Tunnel = Infallible;
    type Deferred = Infallible;
}

impl Mode for Push {
    type Stream = Writer;
    type Tunnel = BlockingTunnel;
    type Deferred = Answer;
}

/// A body. Private inside; [`into_parts`](Self::into_parts) opens it for servers and bridges.
pub struct Body<M: Mode> {
    parts: BodyParts<M>,
}

/// The body of requests and responses of an async application.
pub type AsyncBody = Body<Async>;
/// The body of a sync application's request.
pub type ReadBody = Body<Pull>;
/// The body of a sync application's response.
pub type WriteBody = Body<Push>;

/// What a [`Body`] is made of.
#[non_exhaustive]
pub enum BodyParts<M: Mode> {
    /// Nothing.
    Empty,
    /// All of it, in memory.
    Full(Bytes),
    /// A part of a file.
    File(FileRegion),
    /// Produced piece by piece.
    Stream(M::Stream),
    /// An accepted upgrade: what follows the head is no longer HTTP.
    Tunnel(M::Tunnel),
    /// Not an answer but the promise of one; see [`Deferral`](crate::Deferral).
    Deferred(M::Deferred),
}

impl<M: Mode> Body<M> {
    /// No body at all.
    pub const fn empty() -> Self {
        Self { parts: BodyParts::Empty }
    }

    /// A body from memory that lives for ever; allocates nothing.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self { parts: BodyParts::Full(Bytes::from_static(bytes)) }
    }

    /// A body that is all there.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { parts: BodyParts::Full(bytes.into()) }
    }

    /// A part of a file, sent without a copy where the server can (spec B13).
    pub fn file(region: FileRegion) -> Self {
        Self { parts: BodyParts::File(region) }
    }

    /// Whether it is known to be without data.
    pub fn is_empty(&self) -> bool {
        match &self.parts {
            BodyParts::Empty => true,
            BodyParts::Full(bytes) => bytes.is_empty(),
            BodyParts::File(region) => region.len == 0,
            BodyParts::Stream(_) | BodyParts::Tunnel(_) | BodyParts::Deferred(_) => false,
        }
    }

    /// Whether it is no body yet but the promise of an answer: the placeholder of a [`Deferral`](crate::Deferral).
    pub fn is_deferred(&self) -> bool {
        matches!(self.parts, BodyParts::Deferred(_))
    }

    /// Opens the body.
    pub fn into_parts(self) -> BodyParts<M> {
        self.parts
    }

    /// Wraps the stream, if it is one, and leaves every other body as it is.
    pub fn map_stream(self, wrap: impl FnOnce(M::Stream) -> M::Stream) -> Self {
        match self.parts {
            BodyParts::Stream(stream) => Self { parts: BodyParts::Stream(wrap(stream)) },
            parts => Self { parts },
        }
    }

    /// The length, for the kinds of body that need not be asked for it.
    fn known_len(&self) -> Option<u64> {
        match &self.parts {
            BodyParts::Empty => Some(0),
            BodyParts::Full(bytes) => Some(bytes.len() as u64),
            BodyParts::File(region) => Some(region.len),
            BodyParts::Stream(_) | BodyParts::Tunnel(_) | BodyParts::Deferred(_) => None,
        }
    }

    /// The next frame of a body that is not a stream: all of it, or the next piece of a file.
    fn take_known(&mut self) -> Option<Result<Frame, BodyError>> {
        match &mut self.parts {
            BodyParts::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.parts = BodyParts::Empty;
                (!bytes.is_empty()).then_some(Ok(Frame::Data(bytes)))
            }
            BodyParts::File(region) if region.len > 0 => {
                let piece = region.read_piece();
                if piece.is_err() {
                    self.parts = BodyParts::Empty;
                }
                Some(piece.map(Frame::Data))
            }
            _ => None,
        }
    }
}

impl<M: Mode> From<BodyParts<M>> for Body<M> {
    fn from(parts: BodyParts<M>) -> Self {
        Self { parts }
    }
}

impl<M: Mode> Default for Body<M> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<M: Mode> From<Bytes> for Body<M> {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl<M: Mode> From<String> for Body<M> {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl<M: Mode> From<Vec<u8>> for Body<M> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::full(bytes)
    }
}

impl<M: Mode> From<&'static str> for Body<M> {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

impl<M: Mode> fmt::Debug for Body<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.parts).finish()
    }
}

/// Says of what kind and how long, and nothing of what is inside.
impl<M: Mode> fmt::Debug for BodyParts<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::File(region) => write!(f, "File({} bytes)", region.len),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Tunnel(_) => f.write_str("Tunnel"),
            Self::Deferred(_) => f.write_str("Deferred"),
        }
    }
}

impl AsyncBody {
    /// A body that is polled.
    pub fn from_poll(body: impl PollBody + Send + 'static) -> Self {
        let body: Pin<Box<dyn PollBody + Send>> = Box::pin(body);
        Self { parts: BodyParts::Stream(body) }
    }

    /// A body of the chunks that an iterator gives; its `next` must not block.
    pub fn from_chunks<I>(chunks: I) -> Self
    where
        I: IntoIterator<Item = Bytes>,
        I::IntoIter: Send + 'static,
    {
        struct Chunks<I>(I);
        // The iterator is never pinned.
        impl<I> Unpin for Chunks<I> {}
        impl<I: Iterator<Item = Bytes>> PollBody for Chunks<I> {
            fn poll_frame(
                self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame, BodyError>>> {
                Poll::Ready(self.get_mut().0.next().map(|chunk| Ok(Frame::Data(chunk))))
            }
        }
        Self::from_poll(Chunks(chunks.into_iter()))
    }

    /// A body that an async block produces by sending frames; it is polled inside the body, so no executor is needed,
    /// and each send waits until its frame was taken.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use varvel::AsyncBody;
    ///
    /// let body = AsyncBody::generate(|mut frames| async move {
    ///     for n in 0..3 {
    ///         frames.data(format!("chunk {n}\n")).await;
    ///     }
    ///     Ok(())
    /// });
    /// # let mut body = body;
    /// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// # let mut all = Vec::new();
    /// # while let std::task::Poll::Ready(Some(Ok(varvel::Frame::Data(data)))) = body.poll_frame(&mut cx) { all.extend(data) }
    /// # assert_eq!(all, b"chunk 0\nchunk 1\nchunk 2\n");
    /// ```
    pub fn generate<F, Fut>(produce: F) -> Self
    where
        F: FnOnce(FrameSender) -> Fut,
        Fut: Future<Output = Result<(), BodyError>> + Send + 'static,
    {
        Self::from_poll(generate::generate(produce))
    }

    /// How many bytes of data are still to come, if that is known: 0 for none, the declared length of a request with
    /// `Content-Length`, `None` for a chunked one (spec S11).
    pub fn exact_len(&self) -> Option<u64> {
        match &self.parts {
            BodyParts::Stream(stream) => stream.exact_len(),
            _ => self.known_len(),
        }
    }

    /// The next frame, `None` at the end. Reading a file blocks the thread that polls.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let BodyParts::Stream(stream) = &mut self.parts else {
            return Poll::Ready(self.take_known());
        };
        let frame = stream.as_mut().poll_frame(cx);
        // Over is over: the stream is not polled again (spec B12), and the end stays an end (spec B1).
        if let Poll::Ready(None | Some(Err(_))) = frame {
            self.parts = BodyParts::Empty;
        }
        frame
    }

    /// Waits for the next frame, `None` at the end.
    ///
    /// # Errors
    /// Why there is no more.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyError>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Waits for all data; trailers are dropped.
    ///
    /// # Errors
    /// [`BodyErrorKind::TooLarge`] beyond `limit` bytes, which `?` turns into 413; else why the body broke off.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut collected = Collected::new(limit, self.exact_len())?;
        while let Some(frame) = self.frame().await {
            collected.take(frame?)?;
        }
        Ok(collected.finish())
    }
}

impl ReadBody {
    /// A body that is pulled.
    pub fn from_frames(body: impl FrameRead + Send + 'static) -> Self {
        Self { parts: BodyParts::Stream(Reader { rest: Bytes::new(), frames: Box::new(body) }) }
    }

    /// How many bytes of data are still to come, if that is known; as [`AsyncBody::exact_len`] (spec S11).
    pub fn exact_len(&self) -> Option<u64> {
        match &self.parts {
            BodyParts::Stream(stream) => stream.exact_len(),
            _ => self.known_len(),
        }
    }

    /// Waits for the next frame, `None` at the end.
    ///
    /// # Errors
    /// Why there is no more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        let BodyParts::Stream(stream) = &mut self.parts else {
            return self.take_known().transpose();
        };
        let frame = stream.next_frame();
        if let Ok(None) | Err(_) = frame {
            self.parts = BodyParts::Empty;
        }
        frame
    }

    /// Waits for all data; trailers are dropped.
    ///
    /// # Errors
    /// [`BodyErrorKind::TooLarge`] beyond `limit` bytes, which `?` turns into 413; else why the body broke off.
    pub fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut collected = Collected::new(limit, self.exact_len())?;
        while let Some(frame) = self.next_frame()? {
            collected.take(frame)?;
        }
        Ok(collected.finish())
    }
}

/// Reads the data; trailers are passed over. A body cut short is an error, never `Ok(0)` (spec B2).
impl Read for ReadBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let here = match &mut self.parts {
                BodyParts::Empty => return Ok(0),
                BodyParts::Full(bytes) => bytes,
                BodyParts::File(region) => return Ok(region.read_into(buffer)?),
                BodyParts::Stream(reader) => &mut reader.rest,
                BodyParts::Tunnel(never) | BodyParts::Deferred(never) => match *never {},
            };
            if !here.is_empty() {
                let taken = buffer.len().min(here.len());
                buffer[..taken].copy_from_slice(&here.split_to(taken));
                return Ok(taken);
            }
            match self.next_frame()? {
                None => return Ok(0),
                Some(Frame::Data(data)) => {
                    if let BodyParts::Stream(reader) = &mut self.parts {
                        reader.rest = data;
                    }
                }
                Some(Frame::Trailers(_)) => {}
            }
        }
    }
}

/// A sync request that is read piece by piece: what the server supplies, behind the rest of a frame that
/// [`Read`](std::io::Read) took only a part of.
pub struct Reader {
    rest: Bytes,
    frames: Box<dyn FrameRead + Send>,
}

impl FrameRead for Reader {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        if self.rest.is_empty() {
            self.frames.next_frame()
        } else {
            Ok(Some(Frame::Data(std::mem::take(&mut self.rest))))
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.frames.exact_len().map(|len| len + self.rest.len() as u64)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("exact_len", &self.exact_len()).finish_non_exhaustive()
    }
}

/// A sync response that is written piece by piece: the closure, and the length it promised, if any.
pub struct Writer {
    write: Box<WriteFn>,
    exact_len: Option<u64>,
}

type WriteFn = dyn FnOnce(&mut dyn FrameSink) -> Result<(), BodyError> + Send;

impl Writer {
    /// Runs the closure to its end against the server's sink.
    ///
    /// # Errors
    /// What the closure returned.
    pub fn write_to(self, sink: &mut dyn FrameSink) -> Result<(), BodyError> {
        (self.write)(sink)
    }

    /// How many bytes it promised to write, if it did.
    pub fn exact_len(&self) -> Option<u64> {
        self.exact_len
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("exact_len", &self.exact_len).finish_non_exhaustive()
    }
}

impl WriteBody {
    /// A body that the application writes itself, on its own thread, after the head was sent.
    ///
    /// Each piece is a frame of its own, so what is written in many small ones, as by `writeln!`, goes through a
    /// [`BufWriter`](std::io::BufWriter) around the sink, which is a [`Write`]: a table by lines is then sent many times
    /// faster.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use varvel::WriteBody;
    ///
    /// let body = WriteBody::from_writer(|sink| {
    ///     for n in 0..3 {
    ///         sink.data(Bytes::from(format!("chunk {n}\n")))?;
    ///         sink.flush()?;
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = body;
    /// ```
    pub fn from_writer(
        write: impl FnOnce(&mut dyn FrameSink) -> Result<(), BodyError> + Send + 'static,
    ) -> Self {
        Self { parts: BodyParts::Stream(Writer { write: Box::new(write), exact_len: None }) }
    }

    /// [`from_writer`](Self::from_writer) for a closure that promises to write exactly `len` bytes.
    pub fn from_sized_writer(
        len: u64,
        write: impl FnOnce(&mut dyn FrameSink) -> Result<(), BodyError> + Send + 'static,
    ) -> Self {
        Self { parts: BodyParts::Stream(Writer { write: Box::new(write), exact_len: Some(len) }) }
    }

    /// A body of the chunks that an iterator gives; its `next` may block.
    pub fn from_chunks<I>(chunks: I) -> Self
    where
        I: IntoIterator<Item = Bytes> + Send + 'static,
    {
        Self::from_writer(move |sink| {
            for chunk in chunks {
                sink.data(chunk)?;
                sink.flush()?;
            }
            Ok(())
        })
    }

    /// A body of everything that a reader gives, until its end; each piece is flushed, for the next may be long in coming.
    pub fn from_reader(mut reader: impl Read + Send + 'static) -> Self {
        Self::from_writer(move |sink| {
            let mut buffer = vec![0; PIECE];
            loop {
                let read = match reader.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error.into()),
                };
                // A copy of just what came: a reader of few bytes at a time must not cost a whole buffer for each.
                sink.data(Bytes::copy_from_slice(&buffer[..read]))?;
                sink.flush()?;
            }
        })
    }

    /// How many bytes of data there will be, if that is known.
    pub fn exact_len(&self) -> Option<u64> {
        match &self.parts {
            BodyParts::Stream(writer) => writer.exact_len,
            _ => self.known_len(),
        }
    }

    /// Writes the whole body into a sink, for middleware and tests.
    ///
    /// # Errors
    /// Why it broke off; [`BodyErrorKind::Failed`] for a tunnel or a deferred answer, which cannot be written.
    pub fn write_to(mut self, sink: &mut dyn FrameSink) -> Result<(), BodyError> {
        loop {
            match self.parts {
                BodyParts::Stream(writer) => return writer.write_to(sink),
                BodyParts::Tunnel(_) | BodyParts::Deferred(_) => {
                    return Err(BodyError::failed(
                        "only a server can run a tunnel or wait for a deferred answer",
                    ));
                }
                _ => match self.take_known().transpose()? {
                    Some(Frame::Data(data)) => sink.data(data)?,
                    Some(Frame::Trailers(trailers)) => sink.trailers(trailers)?,
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Lets `write!` and `io::copy` write into a sink.
impl Write for dyn FrameSink + '_ {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.data(Bytes::copy_from_slice(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(FrameSink::flush(self)?)
    }
}

/// How much of a file or reader is taken at once, in bytes.
const PIECE: usize = 64 * 1024;

impl FileRegion {
    /// Reads the next piece and moves the region's start behind it.
    fn read_piece(&mut self) -> Result<Bytes, BodyError> {
        let wanted = PIECE.min(usize::try_from(self.len).unwrap_or(PIECE));
        let mut piece = BytesMut::zeroed(wanted);
        let read = self.read_into(&mut piece)?;
        piece.truncate(read);
        Ok(piece.freeze())
    }

    /// Reads from the region's start, and moves it behind what was read; 0 at the end.
    fn read_into(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let wanted = buffer.len().min(usize::try_from(self.len).unwrap_or(usize::MAX));
        let read = loop {
            match self.file.read_at(&mut buffer[..wanted], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BodyError::failed(error)),
                Ok(read) => break read,
            }
        };
        if read == 0 && wanted > 0 {
            // Not `Incomplete`, which blames the client.
            return Err(BodyError::failed(format!(
                "the file ends {} bytes before its region does",
                self.len
            )));
        }
        self.offset += read as u64;
        self.len -= read as u64;
        Ok(read)
    }
}

/// Data gathered up to a limit; a body of a single frame is handed on without a copy.
struct Collected {
    limit: usize,
    first: Bytes,
    rest: BytesMut,
}

impl Collected {
    fn new(limit: usize, exact_len: Option<u64>) -> Result<Self, BodyError> {
        if exact_len.is_some_and(|len| len > limit as u64) {
            return Err(BodyError::new(BodyErrorKind::TooLarge));
        }
        Ok(Self { limit, first: Bytes::new(), rest: BytesMut::new() })
    }

    fn take(&mut self, frame: Frame) -> Result<(), BodyError> {
        let Frame::Data(data) = frame else { return Ok(()) };
        if data.len() > self.limit - self.first.len() - self.rest.len() {
            return Err(BodyError::new(BodyErrorKind::TooLarge));
        }
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
        } else {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            self.rest.extend_from_slice(&data);
        }
        Ok(())
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests;

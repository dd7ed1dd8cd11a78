//! The body of a request, pulled out of the inbox as the application asks for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use varvel::{BodyError, BodyErrorKind, Caps, Frame, FrameRead};

use super::{
    Fault,
    exchange::Exchange,
    parser::{BodyFraming, Unserved, is_token, read_trailers},
    wire::Stuck,
};

/// How many bytes of an unread body are thrown away to keep the connection, and how long that may take.
const DISCARD_BYTES: u64 = 256 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// The longest line of a chunk size with its extensions, and how many bytes such lines may take in all beyond the data
/// that they announce.
const CHUNK_LINE_MAX: usize = 4096;
const CHUNK_OVERHEAD_MAX: usize = 16 * 1024;
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// The body of one request. The application holds a reader of it, the connection what is left.
pub(super) struct RequestBody {
    exchange: Arc<Exchange>,
    state: Mutex<State>,
    /// The trailers were larger than allowed, which has a status of its own.
    trailers_too_large: AtomicBool,
}

struct State {
    rest: Rest,
    /// Data bytes so far.
    received: u64,
    /// Bytes of chunk lines not yet outweighed by data.
    overhead: usize,
    failed: Option<BodyErrorKind>,
    /// Trailers that a fault hands out ahead of the data.
    early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Length(u64),
    /// A chunk size comes next.
    ChunkLine,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Nothing,
}

impl RequestBody {
    pub(super) fn new(exchange: Arc<Exchange>, framing: BodyFraming) -> Arc<Self> {
        let rest = match framing {
            BodyFraming::None | BodyFraming::Length(0) => Rest::Nothing,
            BodyFraming::Length(length) => Rest::Length(length),
            BodyFraming::Chunked => Rest::ChunkLine,
        };
        Arc::new(Self {
            exchange,
            state: Mutex::new(State { rest, received: 0, overhead: 0, failed: None, early: false }),
            trailers_too_large: AtomicBool::new(false),
        })
    }

    fn has(&self, fault: Fault) -> bool {
        self.exchange.core.has(fault)
    }

    /// Whether the failure of the body has the status 431.
    pub(super) fn trailers_were_too_large(&self) -> bool {
        self.trailers_too_large.load(Ordering::Relaxed) && !self.has(Fault::LargeTrailersAre400)
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the length still to come.
    pub(super) fn exact_len(&self) -> Option<u64> {
        self.with_state(|state| match state.rest {
            Rest::Length(_) if self.has(Fault::WithholdsLength) => None,
            Rest::Length(left) => Some(left),
            Rest::Nothing if state.received == 0 => Some(0),
            _ if self.has(Fault::ChunkedLengthZero) => Some(0),
            _ => None,
        })
    }

    /// Takes the next frame, for whoever the wire is given to.
    fn pull(&self, taker: u64, until: Option<Instant>) -> Result<Option<Frame>, BodyErrorKind> {
        self.with_state(|state| {
            if let Some(kind) = state.failed {
                return Err(kind);
            }
            let frame = self.advance(state, taker, until);
            if let Err(kind) = frame {
                state.failed = Some(kind);
            }
            frame
        })
    }

    fn advance(
        &self,
        state: &mut State,
        taker: u64,
        until: Option<Instant>,
    ) -> Result<Option<Frame>, BodyErrorKind> {
        let wire = &self.exchange.wire;
        let patience = self.exchange.core.settings.tuning.body_timeout;
        let wait = || match self.has(Fault::NoBodyTimeout) {
            true => None,
            false => Some(until.unwrap_or_else(|| Instant::now() + patience)),
        };
        let unlimited = self.has(Fault::NoChunkLineLimit);
        let line_max = if unlimited { usize::MAX } else { CHUNK_LINE_MAX };
        let limit = self.exchange.core.settings.tuning.body_bytes_max.unwrap_or(u64::MAX);
        loop {
            match state.rest {
                Rest::Nothing => return Ok(None),
                Rest::Length(left) | Rest::Chunk(left) => {
                    let data = match wire.take(taker, left, wait()) {
                        Ok(data) => data,
                        Err(Stuck::Ended) if self.has(Fault::CutBodyLooksComplete) => {
                            state.rest = Rest::Nothing;
                            continue;
                        }
                        Err(Stuck::Gone) if self.has(Fault::ResetBodyLooksComplete) => {
                            state.rest = Rest::Nothing;
                            continue;
                        }
                        Err(stuck) => return Err(kind_of(stuck)),
                    };
                    let left = left - data.len() as u64;
                    state.overhead = state.overhead.saturating_sub(data.len());
                    state.rest = match (state.rest, left) {
                        (Rest::Length(_), 0) => Rest::Nothing,
                        (Rest::Length(_), left) => Rest::Length(left),
                        (_, 0) => Rest::ChunkEnd,
                        (_, left) => Rest::Chunk(left),
                    };
                    state.received += data.len() as u64;
                    if state.received > limit && !self.has(Fault::NoBodyLimit) {
                        return Err(BodyErrorKind::TooLarge);
                    }
                    return Ok(Some(Frame::Data(data)));
                }
                Rest::ChunkLine => {
                    let mut line = Vec::new();
                    wire.take_line(taker, &mut line, line_max, wait()).map_err(kind_of)?;
                    state.overhead += line.len();
                    if state.overhead > CHUNK_OVERHEAD_MAX && !unlimited {
                        return Err(BodyErrorKind::Malformed);
                    }
                    let size = self.chunk_size(&line)?;
                    if state.received.saturating_add(size) > limit && !self.has(Fault::NoBodyLimit) {
                        return Err(BodyErrorKind::TooLarge);
                    }
                    state.rest = if size == 0 { Rest::Trailers } else { Rest::Chunk(size) };
                    if self.has(Fault::DeliversChunkSizes) {
                        return Ok(Some(Frame::Data(Bytes::from(line))));
                    }
                    if self.has(Fault::TrailersComeFirst) && !std::mem::replace(&mut state.early, true) {
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-early", http::HeaderValue::from_static("yes"));
                        return Ok(Some(Frame::Trailers(trailers)));
                    }
                }
                Rest::ChunkEnd => {
                    let mut line = Vec::new();
                    let taken = wire.take_line(taker, &mut line, 2, wait());
                    if !self.has(Fault::IgnoresChunkEnd) {
                        taken.map_err(kind_of)?;
                        if line != b"\r\n" {
                            return Err(BodyErrorKind::Malformed);
                        }
                    }
                    state.rest = Rest::ChunkLine;
                }
                Rest::Trailers => {
                    let trailers = self.trailers(taker)?;
                    state.rest = Rest::Nothing;
                    if trailers.is_empty() || self.has(Fault::DropsRequestTrailers) {
                        return Ok(None);
                    }
                    if !self.exchange.core.can(Caps::TRAILERS_IN) {
                        let fails = self.has(Fault::MissingTrailersFail);
                        return if fails { Err(BodyErrorKind::Malformed) } else { Ok(None) };
                    }
                    return Ok(Some(Frame::Trailers(trailers)));
                }
            }
        }
    }

    /// RFC 9112 section 7.1: a size in hexadecimal digits, and extensions.
    fn chunk_size(&self, line: &[u8]) -> Result<u64, BodyErrorKind> {
        const BAD: BodyErrorKind = BodyErrorKind::Malformed;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = match line {
            [b'+', rest @ ..] if self.has(Fault::TakesSignedLength) => rest,
            line => line,
        };
        let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (digits, extension) = line.split_at(end);
        let odd = !are_extensions(extension) && !self.has(Fault::TakesOddChunkSizes);
        if digits.is_empty() || digits.len() > 16 || odd {
            return Err(BAD);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| BAD)?;
        u64::from_str_radix(digits, 16).map_err(|_| BAD)
    }

    fn trailers(&self, taker: u64) -> Result<HeaderMap, BodyErrorKind> {
        let settings = &self.exchange.core.settings;
        read_trailers(&self.exchange.wire, taker, settings, TRAILER_BYTES_MAX).map_err(|unserved| {
            match unserved {
                Unserved::Silence if self.exchange.wire.is_gone(false) => BodyErrorKind::Disconnected,
                Unserved::Silence => BodyErrorKind::Incomplete,
                Unserved::Refused(StatusCode::REQUEST_TIMEOUT) => BodyErrorKind::Timeout,
                Unserved::Refused(status) => {
                    let too_large = status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    self.trailers_too_large.store(too_large, Ordering::Relaxed);
                    BodyErrorKind::Malformed
                }
            }
        })
    }

    /// Reads all of it, and puts the trailers among the header fields: what the fault of that name does.
    pub(super) fn merge_into(&self, headers: &mut HeaderMap) -> Vec<u8> {
        let mut data = Vec::new();
        while let Ok(Some(frame)) = self.pull(self.exchange.number, None) {
            match frame {
                Frame::Data(piece) => data.extend(piece),
                Frame::Trailers(trailers) => headers.extend(trailers),
                _ => {}
            }
        }
        data
    }

    /// Takes what the application left, so that the next request can be found; `false` if that is not possible, or not
    /// worth it.
    pub(super) fn discard(&self, taker: u64) -> bool {
        // A fault that is to be noticed takes its time.
        let until = (!self.has(Fault::DiscardHoldsPlace)).then(|| Instant::now() + DISCARD_TIME);
        let mut discarded = 0;
        loop {
            match self.pull(taker, until) {
                Ok(None) => {
                    if discarded > 0 && !self.has(Fault::StaleBodyReads) {
                        // Whoever has kept the body shall not take this for the end that the client meant.
                        self.with_state(|state| state.failed = Some(BodyErrorKind::Disconnected));
                    }
                    return true;
                }
                Ok(Some(Frame::Data(data))) => discarded += data.len() as u64,
                Ok(Some(_)) => {}
                Err(_) => return false,
            }
            let left = self.with_state(|state| match state.rest {
                Rest::Length(left) => left,
                _ => 0,
            });
            if discarded + left > DISCARD_BYTES {
                return false;
            }
        }
    }

    /// Whether it was read to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.with_state(|state| state.rest == Rest::Nothing && state.failed.is_none())
    }
}

/// RFC 9112 section 7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn are_extensions(mut text: &[u8]) -> bool {
    let word = |text: &[u8]| text.iter().take_while(|byte| is_token(&[**byte])).count();
    while !text.is_empty() {
        let [b';', rest @ ..] = trim_start(text) else { return false };
        let rest = trim_start(rest);
        let (name, rest) = rest.split_at(word(rest));
        if name.is_empty() {
            return false;
        }
        text = match trim_start(rest) {
            [b'=', value @ ..] => match trim_start(value) {
                [b'"', quoted @ ..] => match end_of_quoted(quoted) {
                    Some(end) => &quoted[end..],
                    None => return false,
                },
                value => match value.split_at(word(value)) {
                    ([], _) => return false,
                    (_, rest) => rest,
                },
            },
            _ => rest,
        };
    }
    true
}

/// Where a quoted string ends whose opening quote was taken.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            byte if byte.is_ascii_control() && *byte != b'\t' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

/// What the application is told when bytes did not come.
fn kind_of(stuck: Stuck) -> BodyErrorKind {
    match stuck {
        Stuck::Ended => BodyErrorKind::Incomplete,
        Stuck::TimedOut => BodyErrorKind::Timeout,
        Stuck::TooLong | Stuck::BadLine => BodyErrorKind::Malformed,
        Stuck::Gone | Stuck::Killed | Stuck::Stale => BodyErrorKind::Disconnected,
    }
}

/// The application's end of a request body.
pub(super) struct BodyReader(pub(super) Arc<RequestBody>);

impl FrameRead for BodyReader {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        let body = &self.0;
        let over = body.is_complete();
        if over && body.has(Fault::EndTurnsIntoError) {
            return Err(BodyError::new(BodyErrorKind::Failed));
        }
        if !over {
            body.exchange.continue_at_pull();
        }
        body.pull(body.exchange.number, None).map_err(|kind| {
            BodyError::new(if body.has(Fault::AllFaultsAreMalformed) {
                BodyErrorKind::Malformed
            } else {
                kind
            })
        })
    }

    fn exact_len(&self) -> Option<u64> {
        self.0.exact_len()
    }
}

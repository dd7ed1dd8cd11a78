//! The request body: what the server above delivers, and how it is pulled.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::Instant,
};

use http::{header, request};
use varvel::{AsyncBody, BodyError, BodyParts, Caps, Frame, FrameRead, PollBody, ReadBody, Reader};

use crate::{record::Record, request::decimal, rules as r};

/// Watches the body of an async call.
pub(crate) fn watch_async(body: AsyncBody, head: &request::Parts, record: &Arc<Record>) -> AsyncBody {
    match body.into_parts() {
        BodyParts::Stream(stream) => {
            let watch = Watch::new(head, stream.exact_len(), record);
            AsyncBody::from_poll(Polled { stream, watch })
        }
        parts => AsyncBody::from(parts),
    }
}

/// Watches the body of a sync call.
pub(crate) fn watch_sync(body: ReadBody, head: &request::Parts, record: &Arc<Record>) -> ReadBody {
    match body.into_parts() {
        BodyParts::Stream(stream) => {
            let watch = Watch::new(head, stream.exact_len(), record);
            ReadBody::from_frames(Pulled { stream, watch })
        }
        parts => ReadBody::from(parts),
    }
}

/// What is known of the body.
struct Watch {
    record: Arc<Record>,
    /// Its Content-Length, if the server took it for what it says.
    declared: Option<u64>,
    delivered: u64,
    phase: Phase,
    hides_trailers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Data,
    Trailers,
    Ended,
    Failed,
}

impl Watch {
    fn new(head: &request::Parts, exact_len: Option<u64>, record: &Arc<Record>) -> Self {
        let declared = head.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| decimal(length.as_bytes()));
        Self {
            record: Arc::clone(record),
            declared: declared.filter(|declared| exact_len == Some(*declared)),
            delivered: 0,
            phase: Phase::Data,
            hides_trailers: record.core.settings.masked.contains(Caps::TRAILERS_IN),
        }
    }

    /// Before a pull; says whether the exchange was over then.
    fn before(&self) -> bool {
        if self.phase == Phase::Failed {
            self.record.breach(r::A7_BODY, || "it was pulled after an error".to_owned());
        }
        self.record.state().finish.is_some()
    }

    /// Looks at what a pull gave, and hands it on unless it is hidden.
    fn after(
        &mut self,
        was_over: bool,
        pulled: Option<Result<Frame, BodyError>>,
    ) -> Option<Option<Result<Frame, BodyError>>> {
        let ended = matches!(self.phase, Phase::Ended | Phase::Failed);
        if was_over && !ended && !matches!(pulled, Some(Err(_))) {
            self.record.breach(r::S21_BODY, || "it gave no error".to_owned());
        }
        match &pulled {
            Some(Ok(_)) if self.phase == Phase::Ended => {
                self.record.breach(r::B1_RESUMED, || "there was a frame behind its end".to_owned());
            }
            Some(Ok(Frame::Data(data))) => self.data(data.len() as u64),
            Some(Ok(Frame::Trailers(_))) => {
                self.trailers();
                if self.hides_trailers {
                    return None;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                self.phase = Phase::Failed;
                self.record.state().request_failed = true;
            }
            None => self.end(),
        }
        Some(pulled)
    }

    fn data(&mut self, len: u64) {
        let before = self.delivered;
        self.delivered += len;
        let (record, delivered) = (&self.record, self.delivered);
        if self.phase == Phase::Trailers && len > 0 {
            record.breach(r::B4_ORDER, || format!("{len} bytes came behind them"));
        }
        // Told once, with the frame that goes beyond.
        let crosses = |limit: &u64| (before..delivered).contains(limit);
        if let Some(declared) = self.declared.filter(crosses) {
            record.breach(r::B1_LONG, || format!("Content-Length is {declared}, {delivered} bytes came"));
        }
        if let Some(limit) = record.worker.info().limits.body_bytes_max.filter(crosses) {
            record.breach(r::B3_LIMIT, || format!("{limit} may be, {delivered} bytes came"));
        }
    }

    fn trailers(&mut self) {
        if !self.record.worker.info().caps.contains(Caps::TRAILERS_IN) && self.record.served {
            self.record.breach(r::X2_TRAILERS, || "there were some".to_owned());
        }
        if self.phase == Phase::Trailers {
            self.record.breach(r::B4_TWICE, || "there was another".to_owned());
        }
        self.phase = Phase::Trailers;
    }

    fn end(&mut self) {
        let first = !matches!(self.phase, Phase::Ended | Phase::Failed);
        if let Some(declared) = self.declared.filter(|declared| first && self.delivered < *declared) {
            self.record.breach(r::B2_SHORT, || {
                format!("Content-Length is {declared}, it ended after {} bytes", self.delivered)
            });
        }
        self.phase = Phase::Ended;
    }

    /// Looks at what the body says of its rest after a frame.
    fn check_rest(&self, exact_len: Option<u64>) {
        let Some(declared) = self.declared.filter(|_| self.phase == Phase::Data) else { return };
        let rest = declared.saturating_sub(self.delivered);
        if exact_len != Some(rest) {
            self.record.breach(r::S11_REMAINING, || {
                format!("{} of {declared} bytes are delivered, exact_len is {exact_len:?}", self.delivered)
            });
        }
    }
}

struct Polled {
    stream: Pin<Box<dyn PollBody + Send>>,
    watch: Watch,
}

impl PollBody for Polled {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Self { stream, watch } = &mut *self;
        loop {
            let was_over = watch.before();
            let began = Instant::now();
            let polled = stream.as_mut().poll_frame(cx);
            // On a server of threads, reading the body of an async application blocks, and is meant to.
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            watch.record.blocked.fetch_add(took, SeqCst);
            let Poll::Ready(pulled) = polled else { return Poll::Pending };
            let is_data = matches!(pulled, Some(Ok(Frame::Data(_))));
            if let Some(pulled) = watch.after(was_over, pulled) {
                if is_data {
                    watch.check_rest(stream.exact_len());
                }
                return Poll::Ready(pulled);
            }
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.stream.exact_len()
    }
}

struct Pulled {
    stream: Reader,
    watch: Watch,
}

impl FrameRead for Pulled {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        loop {
            let was_over = self.watch.before();
            let pulled = self.stream.next_frame().transpose();
            let is_data = matches!(pulled, Some(Ok(Frame::Data(_))));
            if let Some(pulled) = self.watch.after(was_over, pulled) {
                if is_data {
                    self.watch.check_rest(self.stream.exact_len());
                }
                return pulled.transpose();
            }
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.stream.exact_len()
    }
}

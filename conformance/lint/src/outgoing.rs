//! The response body: what the application produces, and how the server takes it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use varvel::{AsyncBody, BodyError, Caps, Frame, FrameSink, PollBody, WriteBody, Writer};

use crate::{
    Rule,
    answer::{check_trailers, check_wanted, length_rule},
    passage,
    record::{Body, Place, Record, resume},
    rules as r,
};

/// How many bytes of data a body has to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// By its Content-Length.
    pub(crate) declared: Option<u64>,
    /// By its own word.
    pub(crate) promised: Option<u64>,
}

/// Watches a body that is polled.
pub(crate) fn watch_poll(
    stream: Pin<Box<dyn PollBody + Send>>,
    lengths: Lengths,
    record: &Arc<Record>,
) -> AsyncBody {
    AsyncBody::from_poll(Polled { stream: Some(stream), watch: Watch::new(lengths, record) })
}

/// Watches a body that is pushed.
pub(crate) fn watch_push(writer: Writer, lengths: Lengths, record: &Arc<Record>) -> WriteBody {
    let mut pushed = Pushed { writer: Some(writer), watch: Watch::new(lengths, record) };
    let write = move |sink: &mut dyn FrameSink| pushed.write_to(sink);
    match lengths.promised {
        Some(len) => WriteBody::from_sized_writer(len, write),
        None => WriteBody::from_writer(write),
    }
}

/// What is known of the body.
struct Watch {
    record: Arc<Record>,
    lengths: Lengths,
    produced: u64,
    phase: Phase,
    /// It is polled or written just now: if it is dropped meanwhile, it panicked.
    busy: bool,
    hides_trailers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Data,
    /// Trailers are the end of a body that is polled; a writer still has to return.
    Trailers,
    Ended,
    Failed,
}

impl Watch {
    fn new(lengths: Lengths, record: &Arc<Record>) -> Self {
        let hides_trailers = record.core.settings.masked.contains(Caps::TRAILERS_OUT);
        let record = Arc::clone(record);
        Self { record, lengths, produced: 0, phase: Phase::Data, busy: false, hides_trailers }
    }

    fn is_inside(&self) -> bool {
        self.record.core.settings.place == Place::Inside
    }

    fn data(&mut self, len: u64) {
        let before = self.produced;
        self.produced += len;
        self.record.state().produced = self.produced;
        if self.phase == Phase::Trailers {
            self.record.breach(r::A8_DATA, || format!("{len} bytes came behind them"));
        }
        if let Some(passage) = self.record.passage.as_ref().filter(|_| len > 0) {
            if self.is_inside() { passage.produced(len) } else { passage.passed_on(len) }
        }
        // Told once, with the frame that goes beyond.
        let crosses = |limit: &u64| (before..self.produced).contains(limit);
        let Lengths { declared, promised } = self.lengths;
        if let Some(declared) = declared.filter(crosses) {
            self.wrong_length(r::A5_LONG, || {
                format!("Content-Length is {declared}, the body has {} bytes so far", self.produced)
            });
        } else if let Some(promised) = promised.filter(crosses) {
            self.wrong_length(r::A5_PROMISE, || {
                format!("{promised} bytes promised, {} produced so far", self.produced)
            });
        }
    }

    fn wrong_length(&self, rule: &'static Rule, what: impl FnOnce() -> String) {
        self.record.state().flawed = true;
        self.record.breach(length_rule(&self.record, rule), what);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.phase == Phase::Trailers {
            self.record.breach(r::A8_TWICE, || "there was another frame of them".to_owned());
        }
        self.phase = Phase::Trailers;
        self.record.state().trailers = true;
        check_trailers(&self.record, trailers);
        if let Some(passage) = self.record.passage.as_ref().filter(|_| self.is_inside()) {
            passage.produced_trailers();
        }
    }

    /// The body came to its end without an error.
    fn end(&mut self) {
        let had_trailers = self.phase == Phase::Trailers;
        if !had_trailers {
            self.phase = Phase::Ended;
        }
        self.over(Body::Ended);
        let Lengths { declared, promised } = self.lengths;
        let misses = |length: &u64| self.produced < *length;
        if let Some(declared) = declared.filter(misses) {
            self.wrong_length(r::A5_SHORT, || {
                format!("Content-Length is {declared}, the body ended after {} bytes", self.produced)
            });
        } else if let Some(promised) = promised.filter(misses) {
            self.wrong_length(r::A5_PROMISE, || {
                format!("{promised} bytes promised, {} produced", self.produced)
            });
        }
        if let Some(passage) = self.record.passage.as_ref().filter(|_| !self.is_inside()) {
            passage::check_end(&self.record, passage, had_trailers);
        }
    }

    fn failed(&mut self, error: &BodyError) {
        self.phase = Phase::Failed;
        self.over(Body::Failed);
        if let Some(passage) = self.record.passage.as_ref().filter(|_| self.is_inside()) {
            passage.failed(error);
        }
    }

    /// The body will give nothing more.
    fn over(&self, how: Body) {
        self.record.advance(|state| {
            if state.body == Body::Open {
                state.body = how;
            }
        });
        if let Some(passage) = self.record.passage.as_ref().filter(|_| self.is_inside()) {
            passage.body_over();
        }
    }

    /// The body is gone; `drop_it` is what drops it, which may panic.
    fn gone(&mut self, drop_it: impl FnOnce()) {
        let unfinished = self.phase == Phase::Data;
        let waits = unfinished && !self.busy && self.record.is_async;
        let record = Arc::clone(&self.record);
        let dropped = record.watch_drop(waits.then_some("the body between two frames"), drop_it);
        self.over(if self.busy { Body::Failed } else { Body::Dropped });
        if dropped.is_err() {
            return resume(dropped);
        }
        if unfinished && !self.is_inside() {
            passage::check_drop(&self.record, r::M5_BODY);
        }
    }
}

struct Polled {
    /// Taken by the end of this.
    stream: Option<Pin<Box<dyn PollBody + Send>>>,
    watch: Watch,
}

impl PollBody for Polled {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Self { stream, watch } = &mut *self;
        let record = Arc::clone(&watch.record);
        let over = match watch.phase {
            Phase::Data => None,
            Phase::Trailers => Some(r::B12_TRAILERS),
            Phase::Ended => Some(r::B12_ENDED),
            Phase::Failed => Some(r::B12_FAILED),
        };
        if let Some(rule) = over {
            record.breach(rule, || "it was polled again".to_owned());
            return Poll::Ready(None);
        }
        check_wanted(&record);
        record.check_thread();
        let Some(stream) = stream else { return Poll::Ready(None) };
        watch.busy = true;
        let polled = record.timed(r::A1_BODY, || stream.as_mut().poll_frame(cx));
        watch.busy = false;
        if let Some(passage) = record.passage.as_ref().filter(|_| watch.is_inside()) {
            passage.polled(polled.is_pending());
        }
        match &polled {
            Poll::Pending if !watch.is_inside() => passage::check_wait(&record),
            Poll::Ready(None) => watch.end(),
            Poll::Ready(Some(Err(error))) => watch.failed(error),
            Poll::Ready(Some(Ok(Frame::Data(data)))) => watch.data(data.len() as u64),
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                watch.trailers(trailers);
                watch.end();
                if watch.hides_trailers {
                    return Poll::Ready(None);
                }
            }
            _ => {}
        }
        polled
    }

    fn exact_len(&self) -> Option<u64> {
        self.stream.as_ref()?.exact_len()
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        let stream = self.stream.take();
        self.watch.gone(|| drop(stream));
    }
}

struct Pushed {
    writer: Option<Writer>,
    watch: Watch,
}

impl Pushed {
    fn write_to(&mut self, sink: &mut dyn FrameSink) -> Result<(), BodyError> {
        check_wanted(&self.watch.record);
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.watch.busy = true;
        let mut watched = Sink { sink, watch: &mut self.watch, failed: false };
        let written = catch_unwind(AssertUnwindSafe(|| writer.write_to(&mut watched)));
        let failed = watched.failed;
        match &written {
            // A writer may hide that its sink has failed, for all that it writes afterwards is nothing.
            Ok(Ok(())) if failed => self.watch.over(Body::Failed),
            Ok(Ok(())) => self.watch.end(),
            Ok(Err(error)) => self.watch.failed(error),
            Err(_) => self.watch.over(Body::Failed),
        }
        self.watch.busy = false;
        written.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        let writer = self.writer.take();
        self.watch.gone(|| drop(writer));
    }
}

struct Sink<'a> {
    sink: &'a mut dyn FrameSink,
    watch: &'a mut Watch,
    failed: bool,
}

impl Sink<'_> {
    fn before(&self, what: &str) {
        if self.failed {
            self.watch.record.breach(r::A7_SINK, || format!("{what} was called after an error"));
        }
    }

    fn after(&mut self, result: Result<(), BodyError>) -> Result<(), BodyError> {
        self.failed |= result.is_err();
        result
    }
}

impl FrameSink for Sink<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.before("data");
        self.watch.data(chunk.len() as u64);
        let result = self.sink.data(chunk);
        self.after(result)
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        self.before("flush");
        let record = Arc::clone(&self.watch.record);
        let Some(passage) = &record.passage else {
            let result = self.sink.flush();
            return self.after(result);
        };
        if !self.watch.is_inside() {
            passage.flushed();
            let result = self.sink.flush();
            return self.after(result);
        }
        passage.flush_begins();
        let result = self.sink.flush();
        if result.is_ok() {
            passage::check_flush(&record, passage);
        }
        self.after(result)
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.before("trailers");
        self.watch.trailers(&trailers);
        if self.watch.hides_trailers {
            return Ok(());
        }
        let result = self.sink.trailers(trailers);
        self.after(result)
    }
}

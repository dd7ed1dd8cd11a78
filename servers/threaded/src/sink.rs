//! An answer that the application writes piece by piece, on the thread that serves it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, response};
use varvel::{BodyError, BodyErrorKind, Event, FailKind, FrameSink, Outcome, Phase as Running, Writer};
use varvel_http1::{BodyLength, ResponseFraming};
use varvel_server_kit::{
    containment::contain,
    gateway::{ErrorResponse, failure},
};

use crate::{
    call::{
        begin_answer, break_off, drop_contained, end_answer, report_excess, respond_body_failure,
        respond_error,
    },
    connection::{Connection, Phase},
    shared::Tools,
};

/// What the application's closure writes into. Its head goes out with the first frame, so that a body that fails before
/// that can still be answered with an error.
///
/// Frames gather up to the high-water mark and are written together: a system call costs as much as the copy of some 16
/// KiB. Those of an application that takes its time are written by the [watch](crate::pool), after a tick or two.
pub(crate) struct Sink<'a> {
    connection: &'a Arc<Connection>,
    tools: &'a mut Tools,
    stage: Stage,
    /// The application was told off for its length already.
    reported: bool,
}

enum Stage {
    /// Nothing was written yet.
    Waiting {
        status: StatusCode,
        headers: HeaderMap,
        length: BodyLength,
    },
    Open,
    /// The trailers were written.
    Ended,
    /// The application's answer was none; an error was sent in its place.
    Replaced,
    /// The connection has failed.
    Broken,
}

/// Runs the closure of an answer.
pub(crate) fn stream(
    connection: &Arc<Connection>,
    head: response::Parts,
    length: BodyLength,
    writer: Writer,
    tools: &mut Tools,
) {
    let stage = Stage::Waiting { status: head.status, headers: head.headers, length };
    let mut sink = Sink { connection, tools, stage, reported: false };
    if may_be_without_body(connection, head.status) && !matches!(sink.begin(), Ok(true)) {
        drop_contained(connection, writer);
        return sink.end();
    }
    let written = contain(Running::Body, |event| connection.report(event), || writer.write_to(&mut sink));
    match (written, &sink.stage) {
        (Some(Ok(())), _) | (_, Stage::Replaced | Stage::Broken) => sink.end(),
        (Some(Err(error)), Stage::Waiting { .. }) => respond_body_failure(connection, error, sink.tools),
        (None, Stage::Waiting { .. }) => respond_error(connection, ErrorResponse::INTERNAL, sink.tools),
        (Some(Err(error)), _) => {
            let gone = error.kind() == BodyErrorKind::Disconnected;
            if failure::is_reportable(FailKind::Body(error.kind())) {
                connection.report(Event::BodyFailed { error: &error });
            }
            break_off(&mut connection.lock(), if gone { Outcome::Disconnected } else { Outcome::Failed });
        }
        (None, _) => break_off(&mut connection.lock(), Outcome::Failed),
    }
}

/// Whether the head has to tell first if there is to be a body at all (spec H1, H2, H21, U7).
fn may_be_without_body(connection: &Connection, status: StatusCode) -> bool {
    let io = connection.lock();
    let method = io.current.as_ref().map(|current| &current.method);
    matches!(method, Some(&Method::HEAD | &Method::CONNECT))
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || !(200..600).contains(&status.as_u16())
}

impl Sink<'_> {
    /// Puts the head into the outbox, if it is not there yet. Tells whether a body is to follow.
    fn begin(&mut self) -> Result<bool, BodyError> {
        let (status, headers, length) = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Waiting { status, headers, length } => (status, headers, length),
            stage => {
                self.stage = stage;
                return match self.stage {
                    Stage::Open => Ok(true),
                    Stage::Broken => Err(BodyError::new(BodyErrorKind::Disconnected)),
                    _ => Err(BodyError::failed("the answer is over already")),
                };
            }
        };
        let mut guard = self.connection.lock();
        if guard.failed.is_some() {
            return Err(BodyError::new(BodyErrorKind::Disconnected));
        }
        let begun = begin_answer(self.connection, &mut guard, status, &headers, length, self.tools);
        match begun {
            Some(begun) => {
                // This thread goes on with it.
                guard.phase = Phase::Calling;
                self.stage = Stage::Open;
                self.reported = begun.reported;
                Ok(begun.framing != ResponseFraming::None)
            }
            None => {
                if !matches!(guard.phase, Phase::Broken) {
                    self.stage = Stage::Replaced;
                }
                Err(BodyError::failed("the answer was replaced by an error"))
            }
        }
    }

    /// Writes until no more than `level` bytes are left in the outbox.
    fn write_down_to(&mut self, level: u64) -> Result<(), BodyError> {
        self.connection.write_down_to(level, self.connection.lock()).map_err(|_| {
            self.stage = Stage::Broken;
            BodyError::new(BodyErrorKind::Disconnected)
        })
    }

    /// The body is complete.
    fn end(&mut self) {
        let _ = self.begin();
        let mut io = self.connection.lock();
        match self.stage {
            Stage::Open => end_answer(self.connection, &mut io, None, self.reported),
            Stage::Broken => io.phase = Phase::Broken,
            Stage::Waiting { .. } | Stage::Ended | Stage::Replaced => {}
        }
    }
}

impl FrameSink for Sink<'_> {
    fn data(&mut self, mut chunk: Bytes) -> Result<(), BodyError> {
        self.begin()?;
        let mut guard = self.connection.lock();
        let io = &mut *guard;
        // The leader may have learnt that the client is gone; nothing is written any more that could tell (spec E11).
        if io.failed.is_some() {
            self.stage = Stage::Broken;
            return Err(BodyError::new(BodyErrorKind::Disconnected));
        }
        let frame = io.http.send_data(chunk.len() as u64, io.outbox.text_mut());
        chunk.truncate(usize::try_from(frame.take).unwrap_or(usize::MAX));
        io.outbox.push_bytes(chunk);
        io.outbox.push_text(frame.suffix);
        io.count(frame.take);
        if let (Some(current), false) = (&mut io.current, frame.suffix.is_empty()) {
            current.chunks.push(frame.take, io.outbox.len());
        }
        if frame.excess && !self.reported {
            self.reported = true;
            report_excess(self.connection, io);
        }
        let high_water = self.connection.shared.info.limits.write_high_water;
        if io.outbox.len() < high_water {
            self.connection.hold(io);
            drop(guard);
        } else {
            drop(guard);
            self.write_down_to(high_water)?;
        }
        self.connection.shared.pool.moved(frame.take);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        self.begin()?;
        self.write_down_to(0)
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.begin()?;
        let mut io = self.connection.lock();
        end_answer(self.connection, &mut io, Some(&trailers), self.reported);
        self.stage = Stage::Ended;
        Ok(())
    }
}

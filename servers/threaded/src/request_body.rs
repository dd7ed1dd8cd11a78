//! The body of a request as the application pulls it: read from the socket when asked for, and not before.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use varvel::{BodyError, BodyErrorKind, Frame, FrameRead, Outcome};
use varvel_http1::{BodyEvent, BodyFault, BodyFaultKind, CloseReason};
use varvel_server_kit::transport::Interest;

use crate::connection::{Connection, Received};

/// Blocks the thread that pulls, whichever that is, as long as the protocol's deadlines allow.
pub(crate) struct RequestBody {
    connection: Arc<Connection>,
    /// The exchange that it belongs to; afterwards it gives errors (spec S21).
    number: u64,
    /// Bytes still to come, if that is known.
    left: Option<u64>,
    /// What came with the head.
    first: Option<Bytes>,
}

impl RequestBody {
    pub(crate) fn new(
        connection: Arc<Connection>,
        number: u64,
        left: Option<u64>,
        first: Option<Bytes>,
    ) -> Self {
        Self { connection, number, left, first }
    }

    /// Waits for something of the body to come.
    fn receive(&self) -> Result<BodyEvent, BodyError> {
        let connection = &*self.connection;
        let mut guard = connection.lock();
        loop {
            if !connection.exchanges.is_current(self.number) || guard.failed.is_some() {
                return Err(BodyError::new(BodyErrorKind::Disconnected));
            }
            let io = &mut *guard;
            match io.http.receive_body(&mut io.input.bytes, Instant::now()) {
                Ok(BodyEvent::NeedMore) => {}
                Ok(event) => return Ok(event),
                Err(fault) => return Err(BodyError::with_source(kind_of(fault), fault)),
            }
            match connection.receive(io) {
                Received::Some => continue,
                // A reset of which the leader was told first looks like an end to who reads next.
                Received::End if io.is_intact() => {
                    io.http.receive_eof();
                    continue;
                }
                Received::End | Received::Broken => {
                    io.fail(Outcome::Disconnected, CloseReason::Transport);
                    drop(guard);
                    connection.exchanges.disconnected();
                    return Err(BodyError::new(BodyErrorKind::Disconnected));
                }
                Received::Nothing => {}
            }
            // What the client may be waiting for: leave to send the body (spec H9), or a part of the answer (spec B16).
            if io.http.awaits_continue() {
                io.http.send_continue(io.outbox.text_mut());
            }
            let interest = match connection.write(io) {
                Ok(_) if guard.outbox.is_empty() => Interest::Readable,
                Ok(_) => Interest::Both,
                Err(()) => continue,
            };
            guard = connection.wait(interest, guard);
        }
    }
}

impl FrameRead for RequestBody {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        let event = match self.first.take() {
            Some(data) => Ok(BodyEvent::Data(data)),
            None => self.receive(),
        };
        match event {
            Ok(BodyEvent::Data(data)) => {
                let len = data.len() as u64;
                self.left = self.left.map(|left| left.saturating_sub(len));
                self.connection.shared.pool.moved(len);
                Ok(Some(Frame::Data(data)))
            }
            Ok(BodyEvent::End(trailers)) => {
                // The client may have left right behind its request.
                if self.connection.schedule.is_closed() {
                    self.connection.check_client();
                }
                Ok(trailers.map(Frame::Trailers))
            }
            Ok(BodyEvent::NeedMore) => Ok(None),
            Err(error) => {
                if error.kind() == BodyErrorKind::Incomplete {
                    self.connection.exchanges.disconnected();
                }
                Err(error)
            }
        }
    }

    fn exact_len(&self) -> Option<u64> {
        self.left
    }
}

fn kind_of(fault: BodyFault) -> BodyErrorKind {
    match fault.kind() {
        BodyFaultKind::Malformed => BodyErrorKind::Malformed,
        BodyFaultKind::Incomplete => BodyErrorKind::Incomplete,
        BodyFaultKind::TooLarge => BodyErrorKind::TooLarge,
        BodyFaultKind::Timeout => BodyErrorKind::Timeout,
    }
}

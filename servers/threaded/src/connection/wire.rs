//! The socket of a connection: reading, writing, and waiting for either.

use std::{
    io,
    sync::{Arc, MutexGuard},
    time::Instant,
};

use varvel::{BodyError, Event, Outcome};
use varvel_http1::{CloseReason, Expired};
use varvel_server_kit::{
    outbox::{Progress, WriteError},
    transport::{Interest, Transport},
};

use super::{Connection, Io};
use crate::input::Read;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Some,
    /// There is nothing yet.
    Nothing,
    End,
    Broken,
}

impl Connection {
    /// Reads once, unless it is known that there is nothing.
    pub(crate) fn receive(&self, io: &mut Io) -> Received {
        if io.drained && !self.schedule.may_read() {
            return Received::Nothing;
        }
        loop {
            self.schedule.begin_read();
            let Some(line) = &io.line else { return Received::Broken };
            match io.input.read(line, self.shared.read_limit()) {
                Ok(Read::Some { drained }) => {
                    io.drained = drained;
                    return Received::Some;
                }
                Ok(Read::End) => return Received::End,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    io.drained = true;
                    if !self.schedule.take_back_closed() {
                        return Received::Nothing;
                    }
                }
                Err(_) => return Received::Broken,
            }
        }
    }

    /// Writes what the socket takes. After an error the connection has failed.
    pub(crate) fn write(&self, io: &mut Io) -> Result<Progress, ()> {
        if io.outbox.is_empty() {
            return Ok(Progress::Drained);
        }
        self.schedule.begin_write();
        let before = io.outbox.len();
        let progress = match &io.line {
            Some(line) => io.outbox.write_to(line),
            None => Err(WriteError::Transport(io::ErrorKind::NotConnected.into())),
        };
        match progress {
            Ok(progress) => {
                let pending = progress != Progress::Drained;
                if pending || io.blocked {
                    let written = usize::try_from(before - io.outbox.len()).unwrap_or(usize::MAX);
                    io.http.output_progress(written, pending, Instant::now());
                    io.blocked = pending;
                }
                Ok(progress)
            }
            Err(WriteError::Transport(_)) => {
                io.fail(Outcome::Disconnected, CloseReason::Transport);
                Err(())
            }
            Err(error) => {
                let error = BodyError::failed(error);
                self.report_of(io, Event::BodyFailed { error: &error });
                io.fail(Outcome::Failed, CloseReason::Application);
                Err(())
            }
        }
    }

    /// Writes until at most `level` bytes are left, and waits for the peer to take them.
    pub(crate) fn write_down_to<'a>(
        &'a self,
        level: u64,
        mut guard: MutexGuard<'a, Io>,
    ) -> Result<(), Outcome> {
        loop {
            if let Some(outcome) = guard.failed {
                return Err(outcome);
            }
            match self.write(&mut guard) {
                Ok(Progress::Drained) => return Ok(()),
                Ok(Progress::Blocked) if guard.outbox.len() > level => {
                    guard = self.wait(Interest::Writable, guard);
                }
                Ok(Progress::Blocked) => return Ok(()),
                Ok(_) => {}
                Err(()) => {
                    let outcome = guard.failed.unwrap_or(Outcome::Disconnected);
                    drop(guard);
                    self.exchanges.disconnected();
                    return Err(outcome);
                }
            }
        }
    }

    /// Waits for the socket, no longer than the protocol allows, with `io` unlocked. When that time is over the protocol
    /// knows it afterwards.
    pub(crate) fn wait<'a>(&'a self, interest: Interest, guard: MutexGuard<'a, Io>) -> MutexGuard<'a, Io> {
        let deadline = guard.http.deadline();
        let line = guard.line().cloned();
        drop(guard);
        let left = deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
        let waited = line.and_then(|line| line.wait(interest, left));
        let mut guard = self.lock();
        match waited {
            // Perhaps there is something to read, of which the leader has not told yet. There may be no leader.
            Ok(true) => guard.drained = false,
            Ok(false) => {
                if let Some(Expired::Close(reason)) = guard.http.expire(Instant::now()) {
                    guard.fail(Outcome::TimedOut, reason);
                }
            }
            Err(_) => guard.fail(Outcome::Disconnected, CloseReason::Transport),
        }
        if guard.failed.is_none() {
            return guard;
        }
        drop(guard);
        self.exchanges.disconnected();
        self.lock()
    }

    /// The socket, if it is still open, to wait on it or use it without the lock.
    pub(crate) fn line(&self) -> io::Result<Arc<Transport>> {
        self.lock().line().cloned()
    }
}

//! How a connection ends: too late, asked to stop, cut off, or just closed.

use std::{
    sync::{Arc, MutexGuard, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use varvel::Outcome;
use varvel_http1::{CloseReason, Expired};

use super::{Connection, Io, LINGER_BYTES_MAX, Phase};
use crate::{input::Input, shared::Tools};

impl Connection {
    /// Does what a passed deadline asks for. The caller owns the connection.
    pub(crate) fn expire(&self, tools: &mut Tools) {
        let mut guard = self.lock();
        let io = &mut *guard;
        let now = Instant::now();
        match io.http.expire(now) {
            Some(Expired::Close(reason)) => {
                if reason != CloseReason::WriteTimeout {
                    // A request may arrive right before the close, which resets it then: its client has read the end before,
                    // and may ask again elsewhere (RFC 9112 section 9.3.1).
                    let _ = io.line().map(|line| line.shutdown_write());
                }
                io.fail(Outcome::TimedOut, reason);
                io.phase = Phase::Broken;
            }
            Some(Expired::Refuse(refusal)) => {
                self.shared.journal.refused(refusal.status());
                io.http.send_refusal(refusal, tools.date_line(), io.outbox.text_mut());
                io.phase = Phase::Tail;
            }
            // Bodies are waited for by who reads them.
            Some(Expired::Body(_)) => {}
            None => {
                if matches!(io.phase, Phase::Linger { until: Some(until), .. } if until <= now) {
                    io.phase = Phase::Broken;
                }
            }
        }
    }

    /// Closes the socket and leaves the table.
    pub(super) fn close(&self, mut guard: MutexGuard<'_, Io>) {
        let before = std::mem::replace(&mut guard.phase, Phase::Closed);
        // Somebody may hold on to the connection for long; nothing of it is needed any more.
        guard.input = Input::default();
        guard.outbox.clear();
        let reset = guard.reset;
        let line = guard.line.take();
        drop(guard);
        // Closed before, by who could not wait for the caller.
        let Some(line) = line else { return };
        if reset {
            line.reset_when_closed();
        }
        if let Err(line) = Arc::try_unwrap(line) {
            // Somebody waits on it: who is to return at once, and closes it by that.
            let _ = line.shutdown();
        }
        self.shared.table.remove(self.slot);
        self.shared.journal.connection_closed();
        // A tunnel that does not wait for the socket learns of its end in this way.
        if let Phase::Tunnel(bell) = &before {
            bell.ring();
        }
        // Unlocked: it may be an answer of the application, which does what it likes when it is dropped.
        drop(before);
    }

    /// Has every further answer say `connection: close`.
    pub(crate) fn stop(&self) {
        self.lock().http.shutting_down();
    }

    /// Breaks off whatever is under way, at the end of the drain (spec L8). `owned` says that the caller owns the
    /// connection; tells whether it does now. If not, whoever does will see that it failed.
    pub(crate) fn cut(&self, owned: bool) -> bool {
        let mut guard = self.lock();
        if guard.current.is_some() && guard.failed.is_none() {
            self.shared.cut.fetch_add(1, Relaxed);
        }
        guard.fail(Outcome::Stopped, CloseReason::ShuttingDown);
        let owned = owned || matches!(guard.phase, Phase::Deferred);
        if owned {
            guard.phase = Phase::Broken;
        }
        if let Phase::Tunnel(bell) = &guard.phase {
            bell.ring();
        }
        let _ = guard.line().map(|line| line.shutdown());
        drop(guard);
        self.exchanges.disconnected();
        owned
    }

    /// Ends a connection that somebody still has who does not return (spec L8).
    pub(crate) fn abandon(&self) {
        let guard = self.finish(self.lock());
        if !matches!(guard.phase, Phase::Closed) {
            self.close(guard);
        }
    }
}

impl Io {
    /// Gives the connection up. The first failure counts.
    pub(crate) fn fail(&mut self, outcome: Outcome, reason: CloseReason) {
        self.failed.get_or_insert(outcome);
        if let Some(current) = &mut self.current {
            // What is left in the outbox ends with the body, as far as there is any.
            current.bytes -= current.chunks.content(current.bytes, self.outbox.len());
        }
        // A client that does not read would keep for long what the system has of the answer.
        self.reset |= self.until_close || reason == CloseReason::WriteTimeout;
        self.http.abort(reason);
        self.outbox.clear();
    }

    /// The tunnel is over: what was written is delivered, what still comes is thrown away.
    pub(crate) fn end_tunnel(&mut self, linger: Duration) {
        self.phase = Phase::Linger { budget: LINGER_BYTES_MAX, until: Instant::now().checked_add(linger) };
    }
}

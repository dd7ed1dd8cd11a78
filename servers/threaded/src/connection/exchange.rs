//! An exchange of a connection: what is kept of it, how it begins and ends, and what its scope can do.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use varvel::{ConnInfo, Event, Exchange, Finish, FinishHook, InterimError, Outcome, RequestId, Worker};
use varvel_http1::{InterimRefused, RequestHead};
use varvel_server_kit::{journal::Account, transport::PeerState, waiting_chunks::WaitingChunks};

use super::{Connection, Io, Phase};

/// What is kept of a request while it is being answered.
pub(crate) struct Current {
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// Of the head that was put into the outbox.
    pub(crate) status: Option<StatusCode>,
    /// Bytes of the body that were put into the outbox.
    pub(crate) bytes: u64,
    pub(crate) chunks: WaitingChunks,
    /// The answer is a file, whose reading may fail until it is written.
    pub(crate) has_file: bool,
    /// For whoever follows the server; boxed, since most have none and all have its room.
    account: Option<Box<Account>>,
}

impl Connection {
    /// Begins an exchange.
    pub(crate) fn begin(self: &Arc<Self>, io: &mut Io, head: &RequestHead, now: Instant) {
        io.number += 1;
        io.until_close = false;
        let request = &head.request;
        let journal = &self.shared.journal;
        let account = journal
            .is_followed()
            .then(|| Box::new(journal.begin(request, &head.target, &self.info, io.number, now)));
        io.current = Some(Current {
            method: request.method().clone(),
            target: head.target.clone(),
            status: None,
            bytes: 0,
            chunks: WaitingChunks::default(),
            has_file: false,
            account,
        });
        self.exchanges.begin(io.number);
        self.hold(io);
    }

    /// Ends the exchange under way: its hooks run on this thread (spec E12).
    pub(crate) fn finish<'a>(&'a self, mut guard: MutexGuard<'a, Io>) -> MutexGuard<'a, Io> {
        if matches!(guard.phase, Phase::Tail) {
            guard.phase = Phase::Over;
        }
        let Some(mut current) = guard.current.take() else { return guard };
        let outcome = guard.failed.unwrap_or(Outcome::Completed);
        let finish = Finish::new(outcome, current.status, current.bytes);
        let is_awaited = self.exchanges.note_end(&finish);
        if !is_awaited && current.account.is_none() {
            return guard;
        }
        let number = guard.number;
        drop(guard);
        if is_awaited {
            let id = current.id(self.info.id, number);
            self.exchanges.tell(&finish, |event| self.shared.report(Some(id), event));
        }
        if let Some(account) = current.account.take() {
            account.end(&finish);
            // The leader writes the log before it waits, and would not see this line before the next event.
            if self.shared.table.leader_waits() {
                self.shared.journal.flush();
            }
        }
        self.lock()
    }

    /// Looks whether the client of a whole request has left, and says so if it has (spec E8, E13).
    pub(crate) fn check_client(&self) {
        let guard = self.lock();
        // Behind an unread part of the request, an end is the body's affair.
        let is_whole = !guard.http.wants_body();
        let busy = guard.current.is_some() && !matches!(guard.phase, Phase::Tunnel(_));
        let gone = busy
            && match guard.line().map(|line| line.peek()) {
                Ok(PeerState::Finished) => is_whole,
                Ok(PeerState::Gone) | Err(_) => true,
                Ok(PeerState::Quiet | PeerState::Talking) => false,
            };
        drop(guard);
        if gone {
            self.exchanges.disconnected();
        }
    }

    /// Whether the answer in the outbox may wait for the next one: that one's request is here, and nobody could tell when
    /// this one was written.
    pub(super) fn may_hold(&self, io: &Io) -> bool {
        io.current.as_ref().is_some_and(|current| !current.has_file)
            && !io.input.bytes.is_empty()
            && !io.http.wants_body()
            && io.http.close_reason().is_none()
            && io.outbox.len() < self.shared.info.limits.write_high_water
            && !self.exchanges.is_watched()
    }

    /// Sees to it that what is in the outbox is not held for long, whatever the application does now.
    pub(crate) fn hold(self: &Arc<Self>, io: &mut Io) {
        if io.outbox.is_empty() || std::mem::replace(&mut io.held, true) {
            return;
        }
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(self));
        self.shared.pool.wake_watch();
    }

    /// Writes what waits for company.
    pub(crate) fn release(&self, io: &mut Io) {
        io.held = false;
        // What the socket does not take now goes with the next answer; an error shows then, too.
        let _ = self.write(io);
    }

    /// Reports something about the exchange under way.
    pub(crate) fn report(&self, event: Event<'_>) {
        let guard = self.lock();
        let number = guard.number;
        let request = guard.current.as_ref().map(|current| (current.method.clone(), current.target.clone()));
        drop(guard);
        match &request {
            Some((method, target)) => {
                self.shared.report(Some(RequestId::new(self.info.id, number, Some(method), target)), event);
            }
            None => self.shared.report(Some(RequestId::new(self.info.id, number, None, b"")), event),
        }
    }

    /// As [`report`](Self::report), for who has locked `io` already.
    pub(crate) fn report_of(&self, io: &Io, event: Event<'_>) {
        let id = io.current.as_ref().map(|current| current.id(self.info.id, io.number));
        self.shared.report(id, event);
    }
}

impl Io {
    /// Whether what is written can still reach the client, as far as the system can tell.
    pub(crate) fn is_intact(&self) -> bool {
        self.line().is_ok_and(|line| line.peek() != PeerState::Gone)
    }
}

impl Current {
    pub(crate) fn id(&self, connection: u64, number: u64) -> RequestId<'_> {
        RequestId::new(connection, number, Some(&self.method), &self.target)
    }
}

impl Exchange for Connection {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.info
    }

    fn interim(&self, number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        let mut guard = self.lock();
        let io = &mut *guard;
        if !self.exchanges.is_current(number) {
            return Err(InterimError::TooLate);
        }
        io.http.send_interim(status, headers, io.outbox.text_mut()).map_err(|refused| match refused {
            InterimRefused::Http10 => InterimError::Unsupported,
            InterimRefused::NotInterim => InterimError::NotInterim,
            _ => InterimError::TooLate,
        })?;
        // A client that is gone misses it, as it will miss the answer.
        let _ = self.write_down_to(0, guard);
        Ok(())
    }

    fn is_disconnected(&self, number: u64) -> bool {
        self.exchanges.is_disconnected(number)
    }

    fn poll_disconnected(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        self.exchanges.poll_disconnected(number, cx)
    }

    fn on_finish(&self, number: u64, hook: FinishHook) {
        self.exchanges.on_finish(number, hook, |event| {
            self.shared.report(Some(RequestId::new(self.info.id, number, None, b"")), event);
        });
    }
}

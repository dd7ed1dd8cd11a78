//! One exchange, as the application's scope sees it.
//!
//! Each has an object of its own, so that a handle kept too long meets an exchange that is over, and nothing else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use varvel::{
    Caps, ConnInfo, Event, Finish, FinishHook, InterimError, Outcome, Phase, Report, RequestId, Ticket,
    Worker,
};

use super::{
    Fault,
    response::is_of_the_connection,
    wire::{Stuck, Wire},
    worker::{Core, panic_message},
};

/// An exchange.
pub(super) struct Exchange {
    pub(super) core: Arc<Core>,
    pub(super) wire: Arc<Wire>,
    pub(super) number: u64,
    worker: Worker,
    conn: ConnInfo,
    method: Method,
    target: Bytes,
    version: Version,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The final status, once it is under way.
    status: Option<StatusCode>,
    /// The client waits for 100 (Continue) before it sends the body.
    owes_continue: bool,
    finish: Option<Finish>,
    /// What the monitor calls it, once it was told and until it is told of the end.
    ticket: Option<Ticket>,
    hooks: Vec<FinishHook>,
    watchers: Vec<Waker>,
    /// The deadline of the stop has ended it.
    stopped: bool,
    /// Interim heads that a fault holds back.
    held_back: Vec<Bytes>,
}

/// What of a request an exchange is about.
pub(super) struct About {
    pub(super) number: u64,
    pub(super) conn: ConnInfo,
    pub(super) method: Method,
    pub(super) target: Bytes,
    pub(super) version: Version,
    pub(super) expects_continue: bool,
}

impl Exchange {
    pub(super) fn begin(core: &Arc<Core>, wire: &Arc<Wire>, about: About) -> Self {
        wire.count_anew();
        Self {
            core: Arc::clone(core),
            wire: Arc::clone(wire),
            number: about.number,
            worker: core.worker(),
            conn: about.conn,
            method: about.method,
            target: about.target,
            version: about.version,
            began: Instant::now(),
            state: Mutex::new(State { owes_continue: about.expects_continue, ..State::default() }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, fault: Fault) -> bool {
        self.core.has(fault)
    }

    // Reports.

    /// Reports something that happened in this exchange.
    pub(super) fn report(&self, event: Event<'_>) {
        let request = RequestId::new(self.conn.id, self.number, Some(&self.method), &self.target);
        let report = if self.has(Fault::ReportsWithoutRequest) {
            Report::new(event)
        } else {
            Report::of(request, event)
        };
        if self.has(Fault::ReportsNothing) {
            return;
        }
        self.core.tell(&report);
        if self.has(Fault::ReportsTwice) {
            self.core.tell(&report);
        }
    }

    /// Reports a breach of the contract that was corrected.
    pub(super) fn report_breach(&self, clause: &'static str, detail: &str) {
        self.report(Event::Contract { clause, detail });
    }

    /// Runs code of the application whose panic must change nothing else; `false` if it panicked.
    pub(super) fn contain(&self, during: Phase, run: impl FnOnce()) -> bool {
        let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return true };
        let lost = match during {
            Phase::Hook => self.has(Fault::HookPanicIsLost),
            _ => self.has(Fault::DropPanicIsLost),
        };
        if !lost {
            self.report(Event::Panicked { during, message: panic_message(&*panic) });
        }
        let closes = match during {
            Phase::Hook => self.has(Fault::HookPanicCloses),
            _ => self.has(Fault::DropPanicCloses),
        };
        if closes {
            self.wire.kill(false);
        }
        false
    }

    // The monitor.

    /// Tells the monitor that the application is about to be called.
    pub(super) fn announce(&self) {
        self.core.tell_monitor(|monitor, worker| {
            let request = RequestId::new(self.conn.id, self.number, Some(&self.method), &self.target);
            self.lock().ticket = Some(monitor.exchange_began(worker, request));
        });
    }

    /// Tells it of the end.
    fn announce_end(&self, ticket: Ticket, mut finish: Finish) {
        let missed = match finish.outcome {
            Outcome::Failed if self.has(Fault::MonitorMissesFailures) => true,
            Outcome::Stopped if self.has(Fault::MonitorMissesTheCut) => true,
            _ => self.core.death().is_some() && self.has(Fault::MonitorForgetsTheDead),
        };
        if self.has(Fault::MonitorHearsCompleted) {
            finish.outcome = Outcome::Completed;
        }
        if !missed {
            self.core.tell_monitor(|monitor, worker| {
                monitor.exchange_ended(worker, ticket, &finish, self.began.elapsed());
            });
        }
    }

    // Heads.

    /// At the first pull of the request's body: sends 100 (Continue) if the client waits for it.
    pub(super) fn continue_at_pull(&self) {
        let mut state = self.lock();
        if !state.owes_continue || self.has(Fault::NeverContinues) {
            return;
        }
        if state.status.is_some() && !self.has(Fault::ContinuesAfterHead) {
            return;
        }
        state.owes_continue = self.has(Fault::ContinuesTwice);
        // What has begun to arrive needs no invitation.
        if self.wire.inbox_is_empty() {
            self.put_interim(&mut state, StatusCode::CONTINUE, &HeaderMap::new());
        }
    }

    /// Puts the final head out. Nothing interim can come behind it.
    pub(super) fn put_head(&self, status: StatusCode, head: Bytes) -> Result<(), Stuck> {
        let mut state = self.lock();
        state.status = Some(status);
        for interim in state.held_back.drain(..) {
            self.wire.put(interim, false)?;
        }
        self.wire.put(head, false)
    }

    /// Whether it has become a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        let status = self.lock().status;
        status == Some(StatusCode::SWITCHING_PROTOCOLS) || self.method == Method::CONNECT
    }

    /// Whether the client still waits for 100 (Continue).
    pub(super) fn owes_continue(&self) -> bool {
        self.lock().owes_continue
    }

    fn put_interim(&self, state: &mut State, status: StatusCode, headers: &HeaderMap) {
        let mut head =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
                .into_bytes();
        for (name, value) in headers.iter().filter(|(name, _)| !is_of_the_connection(name)) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        if self.has(Fault::SwallowsInterim) {
            return;
        }
        if self.has(Fault::HoldsInterimBack) && status != StatusCode::CONTINUE {
            return state.held_back.push(Bytes::from(head));
        }
        // If nothing can be sent any more, the answer will find out.
        let _ = self.wire.put(Bytes::from(head), false);
    }

    // The end.

    /// Whether the client is gone, as far as is known.
    fn client_is_gone(&self) -> bool {
        if self.watches() { self.wire.is_gone(self.end_counts()) } else { self.wire.was_refused() }
    }

    /// Whether nothing can reach the client any more, as far as is known.
    pub(super) fn is_broken(&self) -> bool {
        if self.watches() { self.wire.is_gone(false) } else { self.wire.was_refused() }
    }

    /// Whether the client has ended its sending side.
    pub(super) fn is_half_closed(&self) -> bool {
        self.wire.is_gone(true)
    }

    /// Whether a client that leaves is noticed while the application computes.
    fn watches(&self) -> bool {
        self.core.can(Caps::DISCONNECT_WATCH) && !self.has(Fault::NeverNoticesDisconnect)
    }

    /// Whether the end of the client's sending side means that it is gone (spec E13, E14).
    fn end_counts(&self) -> bool {
        !self.core.can(Caps::HALF_CLOSE) && !self.has(Fault::IgnoresEndOfSending)
    }

    /// At the deadline of the stop.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Ends the exchange: hooks run now, each once.
    pub(super) fn finish(&self, outcome: Outcome) {
        let mut state = self.lock();
        if state.finish.is_some() {
            return;
        }
        let mut finish = Finish::new(outcome, state.status, self.wire.content_sent());
        if state.stopped && outcome != Outcome::Completed {
            finish.outcome = Outcome::Stopped;
        }
        if self.has(Fault::HookSaysCompleted) {
            finish.outcome = Outcome::Completed;
        }
        if self.has(Fault::HookForgetsTheCut) && outcome != Outcome::Completed {
            finish.bytes = 0;
        }
        if self.has(Fault::HookKnowsNoStatus) {
            finish.status = None;
        }
        state.finish = Some(finish);
        let hooks = std::mem::take(&mut state.hooks);
        let watchers = std::mem::take(&mut state.watchers);
        let ticket = state.ticket.take();
        drop(state);
        hooks.into_iter().for_each(|hook| self.run_hook(hook, &finish));
        watchers.into_iter().for_each(Waker::wake);
        if let Some(ticket) = ticket {
            self.announce_end(ticket, finish);
        }
    }

    /// Ends an exchange whose call does not return.
    pub(super) fn finish_stopped(&self) {
        self.finish(Outcome::Stopped);
    }

    fn run_hook(&self, hook: FinishHook, finish: &Finish) {
        if self.has(Fault::HookNeverFires)
            || (finish.outcome == Outcome::Stopped && self.has(Fault::NoHookAtDeadline))
        {
            return;
        }
        self.contain(Phase::Hook, || hook(finish));
    }
}

impl varvel::Exchange for Exchange {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn interim(&self, _number: u64, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        if !self.core.can(Caps::INTERIM) {
            return if self.has(Fault::MissingInterimSaysSent) {
                Ok(())
            } else {
                Err(InterimError::Unsupported)
            };
        }
        if self.version < Version::HTTP_11 && !self.has(Fault::InterimTo10) {
            return Err(InterimError::Unsupported);
        }
        let mut state = self.lock();
        let over = state.finish.is_some() && !self.has(Fault::StaleInterimIsSent);
        let late = state.status.is_some() && state.finish.is_none();
        if late && self.has(Fault::AcceptsLateInterim) {
            return Ok(());
        }
        if over || late {
            return Err(InterimError::TooLate);
        }
        if status == StatusCode::CONTINUE {
            let due = state.owes_continue || self.has(Fault::ContinuesUnasked);
            if !due || self.has(Fault::IgnoresForcedContinue) {
                return Ok(());
            }
            state.owes_continue = self.has(Fault::ContinuesTwice);
        }
        self.put_interim(&mut state, status, headers);
        Ok(())
    }

    fn is_disconnected(&self, _number: u64) -> bool {
        let finished = self.lock().finish.is_some() && !self.has(Fault::FinishedLooksConnected);
        finished || self.client_is_gone()
    }

    fn poll_disconnected(&self, _number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.finish.is_some() && !self.has(Fault::FinishedLooksConnected) {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        drop(state);
        match self.watches() {
            true => self.wire.poll_gone(self.end_counts(), cx),
            false if self.wire.was_refused() => Poll::Ready(()),
            // Woken at the end of the exchange, which follows a write that was refused.
            false => Poll::Pending,
        }
    }

    fn on_finish(&self, _number: u64, hook: FinishHook) {
        let mut state = self.lock();
        let Some(finish) = state.finish else { return state.hooks.push(hook) };
        drop(state);
        if self.has(Fault::LateHookIsLost) {
            return;
        }
        self.run_hook(hook, &finish);
    }
}

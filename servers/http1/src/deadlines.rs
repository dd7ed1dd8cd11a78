//! Which deadline applies: two clocks, one for what the peer is to send and one for what it is to take.

use std::time::{Duration, Instant};

use crate::close_reason::CloseReason;
use crate::error::{BodyFault, Refusal};
use crate::timeouts::Timeouts;

/// The moment at which waiting will have lasted too long.
///
/// The caller waits for the transport no longer than that, and hands a passed deadline to
/// [`Connection::expire`](crate::Connection::expire). At any time a server waits for at most two things: for
/// the peer to *send* something, and for the peer to *take* something. Each has a clock, and the earlier
/// deadline counts.
///
/// | waiting for | bounded by | counted from | renewed by |
/// |---|---|---|---|
/// | the first head | `head_timeout` | the start of the connection | nothing |
/// | a later head | `keep_alive_timeout` | the end of the last exchange | nothing |
/// | the first byte of either, once the server stops | `parting_timeout` | the same | nothing |
/// | the end of that head | `head_timeout` | its first byte | nothing |
/// | the request body | `body_timeout`, `body_rate_min` | `NeedMore` | each piece, while the pace is kept |
/// | the end of a dropped body | `discard_timeout` | the end of the exchange | nothing |
/// | output to be taken | `write_timeout`, `write_rate_min` | its having to wait | each write, while the pace is kept |
/// | the peer to close | `linger_timeout` | the end of the last exchange | nothing |
///
/// Two fine points:
///
/// - The clock of the body runs only between [`NeedMore`](crate::BodyEvent) and the next piece. What an
///   application does not read, the peer is not blamed for.
/// - While output is pending, the peer can hardly be expected to send its next request, so the clocks of
///   heads and of lingering start anew when the output was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When [`Connection::expire`](crate::Connection::expire) is to be called.
    pub at: Instant,
    /// What is being waited for.
    pub kind: DeadlineKind,
}

/// What a [`Deadline`] bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineKind {
    /// The next request.
    Idle,
    /// The end of a head, or the first request of a connection.
    Head,
    /// The first byte of one more request, once the server stops.
    Parting,
    /// Bytes of a request body that the server wants.
    Body,
    /// The rest of a request body that is being dropped.
    Discard,
    /// The peer to take output.
    Write,
    /// The peer to close after the last response.
    Linger,
}

/// What a passed deadline means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Close at once; no answer is due.
    Close(CloseReason),
    /// Answer with [`send_refusal`](crate::Connection::send_refusal), then close.
    Refuse(Refusal),
    /// The request body failed: [`receive_body`](crate::Connection::receive_body) gives this fault from now
    /// on. The application may still answer.
    Body(BodyFault),
}

/// The two clocks.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// When waiting for `awaited` began, or last made progress.
    since: Instant,
    /// When output first had to wait, or last made progress.
    pending_since: Option<Instant>,
    /// Milliseconds waited for this body before `since`.
    body_waited: u32,
    /// Milliseconds waited for this output before `pending_since`.
    write_waited: u32,
    /// Bytes of this output taken by the peer, up to 4 GiB.
    written: u32,
    awaited: Option<DeadlineKind>,
}

impl Clocks {
    /// The clocks of a connection accepted at `now`: the first head is awaited.
    pub(crate) fn new(now: Instant) -> Clocks {
        Clocks {
            since: now,
            pending_since: None,
            body_waited: 0,
            write_waited: 0,
            written: 0,
            awaited: Some(DeadlineKind::Head),
        }
    }

    /// Waits for `kind` from now on, unless it does so already.
    pub(crate) fn wait_for(&mut self, kind: DeadlineKind, now: Instant) {
        if self.awaited != Some(kind) {
            self.awaited = Some(kind);
            self.since = now;
        }
    }

    /// The server stops, and the first byte of the next request has not come: it is waited for less long.
    pub(crate) fn hurry(&mut self) {
        self.awaited = Some(DeadlineKind::Parting);
    }

    pub(crate) fn is_waiting_for(&self, kind: DeadlineKind) -> bool {
        self.awaited == Some(kind)
    }

    /// Waits for nothing the peer could send, until told so.
    pub(crate) fn rest(&mut self) {
        self.awaited = None;
    }

    /// Waits for nothing, not even for output to be taken.
    pub(crate) fn stop(&mut self) {
        self.awaited = None;
        self.pending_since = None;
    }

    /// A request begins, whose body was not waited for yet.
    pub(crate) fn start_exchange(&mut self) {
        self.awaited = None;
        self.body_waited = 0;
    }

    /// A piece of the body has come.
    pub(crate) fn body_arrived(&mut self, now: Instant) {
        if self.awaited == Some(DeadlineKind::Body) {
            self.body_waited = self.body_waited.saturating_add(millis(now, self.since));
            self.awaited = None;
        }
    }

    pub(crate) fn output(&mut self, written: usize, pending: bool, now: Instant) {
        match (self.pending_since, pending) {
            (Some(_), true) if written == 0 => {}
            (Some(since), true) => {
                self.write_waited = self.write_waited.saturating_add(millis(now, since));
                self.written = self.written.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
                self.pending_since = Some(now);
            }
            (None, true) => {
                self.pending_since = Some(now);
                self.write_waited = 0;
                self.written = 0;
            }
            (Some(_), false) => {
                self.pending_since = None;
                if self.awaited.is_some_and(waits_for_output) {
                    self.since = now;
                }
            }
            (None, false) => {}
        }
    }

    /// The earlier of the two deadlines; `received` is how much of the body has come.
    pub(crate) fn deadline(&self, timeouts: &Timeouts, received: u64) -> Option<Deadline> {
        let write = self.pending_since.and_then(|since| {
            let pace = Pace { timeout: timeouts.write_timeout, rate_min: timeouts.write_rate_min };
            let at = since.checked_add(pace.patience(u64::from(self.written), self.write_waited))?;
            Some(Deadline { at, kind: DeadlineKind::Write })
        });
        let receive = self.awaited.and_then(|kind| {
            if self.pending_since.is_some() && waits_for_output(kind) {
                return None;
            }
            let patience = match kind {
                DeadlineKind::Idle => timeouts.keep_alive_timeout,
                DeadlineKind::Head => timeouts.head_timeout,
                DeadlineKind::Parting => {
                    timeouts.parting_timeout.min(timeouts.head_timeout).min(timeouts.keep_alive_timeout)
                }
                DeadlineKind::Body => {
                    let pace = Pace { timeout: timeouts.body_timeout, rate_min: timeouts.body_rate_min };
                    pace.patience(received, self.body_waited)
                }
                DeadlineKind::Discard => timeouts.discard_timeout,
                DeadlineKind::Linger => timeouts.linger_timeout,
                DeadlineKind::Write => return None,
            };
            Some(Deadline { at: self.since.checked_add(patience)?, kind })
        });
        match (write, receive) {
            (Some(write), Some(receive)) if receive.at < write.at => Some(receive),
            (Some(write), _) => Some(write),
            (None, receive) => receive,
        }
    }
}

/// What cannot be expected of a peer that has not taken our output yet.
fn waits_for_output(kind: DeadlineKind) -> bool {
    use DeadlineKind::{Head, Idle, Linger, Parting};
    matches!(kind, Idle | Head | Parting | Linger)
}

/// Progress at least every `timeout`, and on the whole `rate_min` bytes per second, `timeout` late at most.
struct Pace {
    timeout: Duration,
    rate_min: u32,
}

impl Pace {
    /// How long to wait for the next byte after `moved` bytes have taken `waited` milliseconds.
    fn patience(&self, moved: u64, waited: u32) -> Duration {
        match moved.checked_div(u64::from(self.rate_min)) {
            None => self.timeout,
            Some(earned) => {
                let allowance = self.timeout.saturating_add(Duration::from_secs(earned));
                self.timeout.min(allowance.saturating_sub(Duration::from_millis(u64::from(waited))))
            }
        }
    }
}

fn millis(now: Instant, since: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u32::MAX)
}

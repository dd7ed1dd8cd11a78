//! What happens on a worker, told to those who follow it: the access log and the monitor.
//!
//! Without either, an event costs a test.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use varvel::{Address, ConnInfo, Finish, Monitor, Outcome, PROGRESS_INTERVAL, RequestId, Ticket};

use crate::access_log::{AccessLog, Entry};

/// Where the events of one worker go.
pub struct Journal {
    log: Option<Arc<AccessLog>>,
    monitor: Option<Arc<dyn Monitor>>,
    worker: u32,
}

/// An exchange that is under way, as the journal tells of it. Dropped without an [`end`](Self::end), as happens to those of
/// an event loop that dies, it has failed.
pub struct Account {
    journal: Arc<Journal>,
    began: Instant,
    ticket: Ticket,
    finish: Finish,
    logged: Option<Box<Logged>>,
}

/// What the access log wants to know besides.
struct Logged {
    peer: Address,
    method: Method,
    target: Bytes,
    version: Version,
    time: SystemTime,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Journal {
    /// The journal of worker `worker`.
    pub fn new(log: Option<Arc<AccessLog>>, monitor: Option<Arc<dyn Monitor>>, worker: u32) -> Self {
        Self { log, monitor, worker }
    }

    /// Whether anybody wants to know of exchanges.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.log.is_some() || self.monitor.is_some()
    }

    /// Exchange `number` of a connection begins, with a request that has arrived at `began`.
    pub fn begin(
        self: &Arc<Self>,
        request: &Request<()>,
        target: &Bytes,
        connection: &ConnInfo,
        number: u64,
        began: Instant,
    ) -> Account {
        let id = RequestId::new(connection.id, number, Some(request.method()), target);
        let field = |name| request.headers().get(name).cloned();
        let logged = self.log.as_ref().map(|_| {
            Box::new(Logged {
                peer: connection.peer.clone(),
                method: request.method().clone(),
                target: target.clone(),
                version: request.version(),
                time: SystemTime::now(),
                referer: field(header::REFERER),
                user_agent: field(header::USER_AGENT),
            })
        });
        let began_on = |monitor: &Arc<dyn Monitor>| monitor.exchange_began(self.worker, id);
        let ticket = self.monitor.as_ref().map(began_on).unwrap_or_default();
        let finish = Finish::new(Outcome::Failed, None, 0);
        Account { journal: Arc::clone(self), began, ticket, finish, logged }
    }

    /// Code of the application is about to run that belongs to no exchange.
    #[inline]
    pub fn polling(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.polling(self.worker, None);
        }
    }

    /// A request was answered without a call.
    pub fn refused(&self, status: StatusCode) {
        if let Some(monitor) = &self.monitor {
            monitor.refused(self.worker, status);
        }
    }

    /// A connection was accepted.
    #[inline]
    pub fn connection_opened(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.connection_opened(self.worker);
        }
    }

    /// Whether a server with so many connections had better leave the next one to others, for
    /// [`COURTESY_PAUSE`](crate::listener::COURTESY_PAUSE).
    #[inline]
    pub fn is_ahead(&self, connections: impl FnOnce() -> usize) -> bool {
        self.monitor.as_ref().is_some_and(|monitor| monitor.is_ahead(connections()))
    }

    /// A connection was closed.
    #[inline]
    pub fn connection_closed(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.connection_closed(self.worker);
        }
    }

    /// The worker can take up work.
    pub fn progress(&self) {
        if let Some(monitor) = &self.monitor {
            monitor.progress(self.worker);
        }
    }

    /// Writes what the log has gathered.
    #[inline]
    pub fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}

impl Account {
    /// Code of the application is about to run for this exchange.
    pub fn polling(&self) {
        if let Some(monitor) = &self.journal.monitor {
            monitor.polling(self.journal.worker, Some(self.ticket));
        }
    }

    /// The exchange is over, and this became of it.
    pub fn end(mut self, finish: &Finish) {
        self.finish = *finish;
    }
}

/// Tells that it is over.
impl Drop for Account {
    fn drop(&mut self) {
        let Self { journal, began, ticket, finish, logged } = self;
        let duration = began.elapsed();
        if let Some(monitor) = &journal.monitor {
            monitor.exchange_ended(journal.worker, *ticket, finish, duration);
        }
        if let (Some(log), Some(logged)) = (&journal.log, logged) {
            log.record(&logged.entry(finish, duration));
        }
    }
}

impl Logged {
    fn entry(&self, finish: &Finish, duration: Duration) -> Entry<'_> {
        Entry {
            peer: &self.peer,
            time: self.time,
            method: self.method.as_str(),
            target: &self.target,
            version: self.version,
            // As nginx has it: nothing was sent before the client was gone.
            status: finish.status.map_or(499, |status| status.as_u16()),
            bytes: finish.bytes,
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            duration,
        }
    }
}

/// When a worker is to look whether there is progress to tell of.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// `None` if nobody wants to know.
    due: Option<Instant>,
}

impl Pulse {
    /// Half of what is promised, so that a turn of the loop that takes its time is not late.
    const INTERVAL: Duration = PROGRESS_INTERVAL.checked_div(2).unwrap();

    /// Due at once, if anybody follows this journal.
    pub fn new(journal: &Journal, now: Instant) -> Self {
        Self { due: journal.monitor.as_ref().map(|_| now) }
    }

    /// Until when may be waited.
    #[inline]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it is time, which it then is not again for a while.
    #[inline]
    pub fn beats(&mut self, now: Instant) -> bool {
        let beats = self.due.is_some_and(|due| due <= now);
        if beats {
            self.due = now.checked_add(Self::INTERVAL);
        }
        beats
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::access_log::Format;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Monitor for Told {
        fn exchange_began(&self, worker: u32, request: RequestId<'_>) -> Ticket {
            self.0
                .lock()
                .unwrap()
                .push(format!("{worker}: {}.{} began", request.connection, request.exchange));
            Ticket(7)
        }

        fn exchange_ended(&self, worker: u32, Ticket(ticket): Ticket, finish: &Finish, duration: Duration) {
            let (outcome, whole) = (finish.outcome, duration >= Duration::from_secs(1));
            self.0.lock().unwrap().push(format!("{worker}: {ticket} {outcome:?} {} {whole}", finish.bytes));
        }
    }

    fn begin(journal: &Arc<Journal>) -> Account {
        let began = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let connection = ConnInfo::new(3, Address::Unnamed, Address::Unnamed);
        journal.begin(&Request::new(()), &Bytes::from_static(b"/"), &connection, 4, began)
    }

    #[test]
    fn an_exchange_that_is_dropped_has_failed_and_each_ends_once() {
        let told = Arc::new(Told::default());
        let journal = Arc::new(Journal::new(None, Some(Arc::clone(&told) as _), 2));
        begin(&journal).end(&Finish::new(Outcome::Completed, None, 5));
        drop(begin(&journal));
        assert_eq!(
            *told.0.lock().unwrap(),
            ["2: 3.4 began", "2: 7 Completed 5 true", "2: 3.4 began", "2: 7 Failed 0 true"]
        );
    }

    #[test]
    fn it_is_followed_by_the_log_and_by_the_monitor() {
        let journal = Journal::new(None, None, 0);
        assert!(!journal.is_followed());
        assert!(Pulse::new(&journal, Instant::now()).due().is_none());
        let log = Arc::new(AccessLog::new(Format::Combined, std::io::sink()));
        assert!(Journal::new(Some(log), None, 0).is_followed());
        assert!(Journal::new(None, Some(Arc::new(Told::default())), 0).is_followed());
    }

    #[test]
    fn the_pulse_beats_at_once_and_then_more_often_than_promised() {
        let now = Instant::now();
        let mut pulse = Pulse::new(&Journal::new(None, Some(Arc::new(Told::default())), 0), now);
        assert!(pulse.beats(now) && !pulse.beats(now));
        assert!(pulse.due().unwrap() < now + PROGRESS_INTERVAL);
        assert!(pulse.beats(now + PROGRESS_INTERVAL));
    }
}

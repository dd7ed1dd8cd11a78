//! What the thread that leads does: it waits for everybody.
//!
//! One thread at a time leads. It accepts connections, learns which can go on, minds deadlines and timers, sees
//! clients leave, and carries out the stop. It calls no application.

use std::{
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Token, event::Event, unix::SourceFd};
use varvel::{Address, ConnInfo, Control, Event as Reported, Level, Phase, Worker};
use varvel_server_kit::{
    containment::contain,
    journal::Pulse,
    listener::{ACCEPT_PAUSE, AcceptError, COURTESY_PAUSE, Listener},
    transport::Transport,
};

use crate::{
    connection::Connection,
    schedule::{Owner, Seen},
    shared::{Shared, Tools},
};

/// Events taken from the poller at once.
const EVENTS_MAX: usize = 1024;

/// Connections accepted at each listener before events are looked at again.
const ACCEPTS_PER_TURN: usize = 64;

/// Turns of accepting when the server stops: as many as empty the longest queue that Linux keeps by default. Who goes on
/// connecting cannot keep the listener open.
const LAST_ACCEPT_TURNS: usize = 4096 / ACCEPTS_PER_TURN;

/// How long calls are given to notice that the deadline of the drain has passed and their connections were cut.
pub(crate) const CUT_GRACE: Duration = Duration::from_secs(1);

/// The token of the waker. Those of the listeners lie below it; connections have their places in the table.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Numbers of connections, unique within the process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The poller and what belongs to it; whoever leads holds it.
pub(crate) struct Leader {
    poll: mio::Poll,
    events: Events,
    entrances: Vec<Entrance>,
    worker: Worker,
    control: Control,
    /// Descriptors have run out, or others come first: when to try again.
    accept_again_at: Option<Instant>,
    /// Descriptors have run out, which was reported.
    exhausted: bool,
    stage: Stage,
    /// When to look whether there is progress to tell of.
    pulse: Pulse,
    tools: Tools,
}

/// A listener and what is known of it.
struct Entrance {
    listener: Listener,
    /// Somebody may be waiting.
    may_accept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Asked to stop: what runs may end.
    Draining,
    /// What was still running was cut; when it is to be over at the latest.
    Cut(Instant),
    Over,
}

/// How it goes on after some leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    /// Connections are ready, or there are to be.
    On,
    /// The server has stopped.
    Over,
}

impl Leader {
    /// Registers the listeners.
    pub(crate) fn new(
        poll: mio::Poll,
        listeners: Vec<Listener>,
        worker: Worker,
        control: Control,
        pulse: Pulse,
    ) -> std::io::Result<Self> {
        let mut entrances = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let token = Token(WAKER.0 - 1 - index);
            poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
            entrances.push(Entrance { listener, may_accept: true });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            entrances,
            worker,
            control,
            accept_again_at: None,
            exhausted: false,
            stage: Stage::Serving,
            pulse,
            tools: Tools::new(),
        })
    }

    /// Leads until there is something for serving threads to do; with `wait`, waits for it.
    pub(crate) fn lead(&mut self, shared: &Arc<Shared>, wait: bool, ready: &mut Vec<Arc<Connection>>) -> Led {
        loop {
            self.stop(shared, ready);
            self.accept(shared, ready);
            // If all threads are taken, what can be done without the application is done here.
            if shared.pool.take_unexamined(ready) {
                self.examine(shared, ready);
            }
            if self.stage == Stage::Over {
                return Led::Over;
            }
            let may_wait = wait && ready.is_empty() && !self.may_accept(shared);
            self.poll(shared, may_wait, self.next_time(), ready);
            let now = Instant::now();
            if self.pulse.beats(now) && shared.pool.has_progress() {
                shared.journal.progress();
            }
            for connection in shared.table.take_expired(now) {
                connection.expire(&mut self.tools);
                ready.push(connection);
            }
            fire_timers(shared, now);
            if !wait || !(ready.is_empty() || shared.pool.is_saturated()) {
                return Led::On;
            }
        }
    }

    /// Minds the timers, and nothing else, while `code` runs: the application is being built or torn down, so nobody leads.
    pub(crate) fn mind_timers<T>(&mut self, shared: &Shared, code: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        let mind = || {
            while !over.load(SeqCst) {
                self.poll(shared, true, None, &mut Vec::new());
                let report = |event: Reported<'_>| shared.report(None, event);
                contain(Phase::Background, report, || fire_timers(shared, Instant::now()));
            }
        };
        thread::scope(|scope| {
            // Without the thread an application that sets no timer is built all the same.
            let minder = thread::Builder::new().name("varvel-timers".to_owned()).spawn_scoped(scope, mind);
            let result = code();
            over.store(true, SeqCst);
            shared.table.wake();
            drop(minder);
            result
        })
    }

    /// Sees what has happened; with `wait`, waits for it until `latest`.
    fn poll(
        &mut self,
        shared: &Shared,
        wait: bool,
        latest: Option<Instant>,
        ready: &mut Vec<Arc<Connection>>,
    ) {
        let mut timeout = Some(Duration::ZERO);
        if wait {
            let until = shared.table.begin_wait(latest);
            // Lines that come from now on are written by who adds them.
            shared.journal.flush();
            timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        }
        // Interrupted, or whatever else: the events are still there the next time.
        let polled = self.poll.poll(&mut self.events, timeout);
        if wait {
            shared.table.end_wait();
        }
        if polled.is_err() {
            return;
        }
        let mut doubtful = Vec::new();
        let entrances = &mut self.entrances;
        let events = self.events.iter().filter_map(|event| match event.token() {
            WAKER => None,
            token => match entrances.get_mut(WAKER.0 - 1 - token.0) {
                Some(entrance) => {
                    entrance.may_accept = true;
                    None
                }
                None => Some((token.0, seen(event))),
            },
        });
        shared.table.note(events, |connection, owner, seen| match owner {
            Owner::Caller => ready.push(Arc::clone(connection)),
            Owner::Other if seen.closed => doubtful.push(Arc::clone(connection)),
            Owner::Other | Owner::Parked => {}
        });
        for connection in doubtful {
            connection.check_client();
        }
    }

    /// Looks at connections in place of a serving thread.
    fn examine(&mut self, shared: &Shared, ready: &mut Vec<Arc<Connection>>) {
        for connection in ready.drain(..) {
            let advanced = connection.advance(connection.lock(), &mut self.tools);
            let is_examined = advanced.map(|(task, mut io)| Connection::put_back(&mut io, task)).is_some();
            if is_examined {
                shared.pool.push_examined(connection);
            }
        }
    }

    // ---- accepting ----

    /// Whether it makes sense to accept.
    fn may_accept(&self, shared: &Shared) -> bool {
        self.accept_again_at.is_none()
            && self.entrances.iter().any(|entrance| entrance.may_accept)
            && shared.table.has_room()
    }

    /// Accepts who waits, as long as there is room. Who finds none stays in the kernel's queue.
    fn accept(&mut self, shared: &Arc<Shared>, ready: &mut Vec<Arc<Connection>>) {
        // Whom nobody else has taken during a pause is let in, whoever is ahead; and so is everybody at the end.
        let is_last = self.stage != Stage::Serving;
        let mut insists = self.accept_again_at.take_if(|at| *at <= Instant::now()).is_some();
        for index in 0..self.entrances.len() {
            let mut accepted = 0;
            while self.entrances[index].may_accept && self.may_accept(shared) && accepted < ACCEPTS_PER_TURN {
                if let Some(pause) = courtesy(shared, insists).filter(|_| !is_last) {
                    self.accept_again_at = Instant::now().checked_add(pause);
                    return;
                }
                accepted += 1;
                match self.entrances[index].listener.accept() {
                    Ok((transport, peer)) => {
                        insists = false;
                        let local = self.entrances[index].listener.local_addr_of(&transport);
                        let id = NEXT_ID.fetch_add(1, Relaxed);
                        let info = ConnInfo::new(id, peer, local.unwrap_or(Address::Unnamed));
                        if let Some(connection) = self.take_in(shared, transport, info) {
                            ready.push(connection);
                        }
                    }
                    Err(AcceptError::NoneWaiting) => self.entrances[index].may_accept = false,
                    Err(AcceptError::ConnectionGone(_)) => {}
                    Err(AcceptError::Exhausted(error)) => {
                        if !std::mem::replace(&mut self.exhausted, true) {
                            let message = format!("no connection can be accepted for now: {error}");
                            shared.report(None, Reported::Log { level: Level::Warning, message: &message });
                        }
                        self.accept_again_at = Instant::now().checked_add(ACCEPT_PAUSE);
                    }
                    Err(AcceptError::Broken(error)) => {
                        let message = format!("a listening socket cannot be used any more: {error}");
                        shared.report(None, Reported::Log { level: Level::Error, message: &message });
                        self.entrances[index].may_accept = false;
                    }
                }
            }
        }
        if self.accept_again_at.is_none() {
            self.exhausted = false;
        }
    }

    /// Makes a connection of a socket. It is ready at once: its first request has often come along.
    fn take_in(&self, shared: &Arc<Shared>, transport: Transport, info: ConnInfo) -> Option<Arc<Connection>> {
        let descriptor = transport.as_raw_fd();
        shared.journal.connection_opened();
        let connection = shared.table.insert(|slot| {
            Arc::new(Connection::new(slot, Arc::clone(shared), self.worker.clone(), info, transport))
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(connection.slot);
        match self.poll.registry().register(&mut SourceFd(&descriptor), token, interest) {
            Ok(()) => Some(connection),
            Err(error) => {
                let message = format!("a connection cannot be waited for: {error}");
                shared.report(None, Reported::Log { level: Level::Error, message: &message });
                connection.abandon();
                None
            }
        }
    }

    // ---- stopping ----

    /// Does what is due of the stop.
    fn stop(&mut self, shared: &Arc<Shared>, ready: &mut Vec<Arc<Connection>>) {
        let Some(deadline) = self.control.stop_deadline() else { return };
        let now = Instant::now();
        if self.stage == Stage::Serving {
            self.stage = Stage::Draining;
            self.drain(shared, ready);
        }
        if self.stage == Stage::Draining && now >= deadline {
            self.stage = Stage::Cut(now + CUT_GRACE);
            cut(shared, ready);
        }
        let is_late = matches!(self.stage, Stage::Cut(latest) if now >= latest);
        if is_late || (ready.is_empty() && shared.table.is_empty() && shared.tasks.end_if_none()) {
            self.stage = Stage::Over;
        }
    }

    /// The stop begins (spec S17).
    fn drain(&mut self, shared: &Arc<Shared>, ready: &mut Vec<Arc<Connection>>) {
        shared.stopping.raise();
        shared.table.stop();
        // Who waits in the kernel's queue would be reset when the listener closes, though nobody could know that the
        // server was about to stop: they are let in, and get an answer if their request is there.
        for entrance in &mut self.entrances {
            entrance.may_accept = true;
        }
        self.accept_again_at = None;
        let mut turns = 0;
        while turns < LAST_ACCEPT_TURNS && self.may_accept(shared) {
            self.accept(shared, ready);
            turns += 1;
        }
        self.entrances.clear();
        for connection in shared.table.all() {
            connection.stop();
        }
        // Those that are idle are closed by whoever finds that they have nothing to say.
        ready.extend(shared.table.take_parked());
    }

    /// When there is something to do that is not in the table.
    fn next_time(&self) -> Option<Instant> {
        let stop = match self.stage {
            Stage::Serving => None,
            Stage::Draining => self.control.stop_deadline(),
            Stage::Cut(latest) => Some(latest),
            Stage::Over => None,
        };
        [self.accept_again_at, stop, self.pulse.due()].into_iter().flatten().min()
    }
}

/// For how long to leave the next connection to other processes that accept from the same listeners, if they had better take
/// it. Who has more than its share does so once. Who has no thread for it does so until it has one, for one of the others may:
/// and if none has, it is best kept where the first of them finds it.
fn courtesy(shared: &Shared, insists: bool) -> Option<Duration> {
    if shared.pool.is_saturated() {
        return shared.journal.is_ahead(|| usize::MAX).then_some(COURTESY_PAUSE * 10);
    }
    (!insists && shared.journal.is_ahead(|| shared.table.len())).then_some(COURTESY_PAUSE)
}

/// Wakes who waits for a time that has come.
fn fire_timers(shared: &Shared, now: Instant) {
    while let Some(waker) = shared.table.take_due_timer(now) {
        waker.wake();
    }
}

/// Breaks off whatever is still under way (spec L8).
fn cut(shared: &Shared, ready: &mut Vec<Arc<Connection>>) {
    shared.tasks.end();
    for connection in shared.table.take_parked() {
        connection.cut(true);
        ready.push(connection);
    }
    for connection in shared.table.all() {
        if connection.cut(false) {
            ready.push(connection);
        }
    }
}

fn seen(event: &Event) -> Seen {
    Seen {
        readable: event.is_readable(),
        writable: event.is_writable(),
        closed: event.is_read_closed() || event.is_error(),
    }
}

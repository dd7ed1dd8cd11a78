//! The loop itself: one place that waits, and the reasons to wake.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    os::fd::AsRawFd,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Token, unix::SourceFd};
use varvel::{AsyncApp, Control, Event, Level, Outcome, Report, Worker};
use varvel_server_kit::{
    connection_deadlines::ConnectionDeadlines,
    journal::Pulse,
    listener::{ACCEPT_PAUSE, AcceptError, COURTESY_PAUSE, Listener},
};

use crate::{
    accept::{Accepted, Loops},
    connection::{Connection, Fate},
    handle::Handle,
    mailbox::{Letters, Mailbox, Summons, Woken},
    places::Places,
    shared::Shared,
    tasks::Tasks,
    tunnel::{Tunnel, TunnelFate},
    worker::LoopWorker,
};

/// What turns whether there are connections or not: the poller, timers and tasks. Build and teardown run on it alone.
pub(crate) struct Core {
    poll: mio::Poll,
    pub(crate) mailbox: Arc<Mailbox>,
    letters: Letters,
    pub(crate) ops: Arc<LoopWorker>,
    pub(crate) worker: Worker,
    tasks: Tasks,
}

const MAILBOX: Token = Token(usize::MAX);

/// The tokens of listeners count down from here, those of connections up from 0.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// How many connections are accepted before those that exist get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Turns of accepting when the server stops: as many as empty the longest queue that Linux keeps by default. Who goes on
/// connecting cannot keep the listener open.
const LAST_ACCEPT_TURNS: usize = 4096 / ACCEPTS_PER_TURN;

/// How many calls that must not overlap are begun one after the other before everything else gets its turn.
const CALLS_PER_TURN: usize = 128;

impl Core {
    pub(crate) fn new(poll: mio::Poll, mailbox: Arc<Mailbox>, ops: Arc<LoopWorker>) -> Self {
        Self {
            poll,
            tasks: Tasks::new(Arc::clone(&mailbox), Arc::clone(&ops.journal)),
            mailbox,
            letters: Letters::default(),
            worker: Worker::new(Arc::clone(&ops) as _),
            ops,
        }
    }

    /// A poller, and the mailbox that wakes it.
    pub(crate) fn poller() -> io::Result<(mio::Poll, Arc<Mailbox>)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), MAILBOX)?;
        Ok((poll, Mailbox::new(waker)))
    }

    /// Runs a future on the loop's own thread, with its timers and tasks; `None` if it has not completed by `until`, or by
    /// the deadline of a stop.
    pub(crate) fn run<T>(
        &mut self,
        future: impl Future<Output = T>,
        control: &Control,
        until: Option<Instant>,
    ) -> io::Result<Option<T>> {
        let root = Arc::new(Summons::new(Woken::Root, Arc::clone(&self.mailbox)));
        let waker = Waker::from(Arc::clone(&root));
        let mut future = pin!(future);
        let mut events = Events::with_capacity(8);
        let mut until = until;
        let mut may_go_on = true;
        loop {
            if may_go_on {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(Some(output));
                }
            }
            let idle = self.mailbox.begin_wait_without_connections();
            self.wait(&mut events, until, idle)?;
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(None);
            }
            self.ops.fire_timers(now);
            self.mailbox.take_work(&mut self.letters);
            if std::mem::take(&mut self.letters.stop) {
                self.ops.stop();
                until = until.or(control.stop_deadline());
            }
            for woken in std::mem::take(&mut self.letters.woken) {
                if let Woken::Task(index) = woken {
                    self.tasks.poll(index as usize, &self.worker);
                }
            }
            self.start_tasks();
            may_go_on = root.heed();
        }
    }

    /// Makes up for what a loop that died has left undone.
    pub(crate) fn restart(&mut self) {
        self.mailbox.put_back(std::mem::take(&mut self.letters));
        self.tasks.wake_all();
    }

    fn start_tasks(&mut self) {
        // One by one: should the loop die, the others are still there.
        while let Some(task) = self.letters.tasks.pop_front() {
            self.tasks.start(task, &self.worker);
        }
    }

    /// Waits for events until then, or the next timer, or a letter; not at all if the loop is not idle, which it has to ask
    /// the mailbox last of all.
    fn wait(&mut self, events: &mut Events, until: Option<Instant>, idle: bool) -> io::Result<()> {
        let until = [until, self.ops.next_timer()].into_iter().flatten().min();
        let timeout = match until {
            _ if !idle => Some(Duration::ZERO),
            None => None,
            Some(until) => Some(until.saturating_duration_since(Instant::now())),
        };
        let polled = self.poll.poll(events, timeout);
        self.mailbox.end_wait();
        match polled {
            // A signal, which is dealt with elsewhere.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            polled => polled,
        }
    }
}

/// A loop with its listeners and connections.
pub(crate) struct EventLoop<'a, A: AsyncApp> {
    core: &'a mut Core,
    shared: &'a mut Shared<A>,
    loops: &'a Arc<Loops>,
    index: usize,
    control: &'a Control,
    listeners: &'a mut Vec<Listener>,
    connections: Places<Slot<A>>,
    deadlines: ConnectionDeadlines,
    /// Connections that have used up their turn and can go on at once.
    again: VecDeque<usize>,
    /// There may be connections to accept.
    acceptable: bool,
    first_listener: usize,
    /// Descriptors have run out, or others come first: not before then.
    accept_pause: Option<Instant>,
    /// Descriptors have run out, which was reported.
    exhausted: bool,
    /// A stop was asked for, with this deadline.
    stop: Option<Instant>,
    linger: Duration,
    pulse: Pulse,
    cut: u64,
}

enum Slot<A: AsyncApp> {
    Http(Connection<A>),
    Tunnel(Tunnel),
}

impl<'a, A> EventLoop<'a, A>
where
    A: AsyncApp,
{
    pub(crate) fn new(
        core: &'a mut Core,
        shared: &'a mut Shared<A>,
        loops: &'a Arc<Loops>,
        index: usize,
        control: &'a Control,
        listeners: &'a mut Vec<Listener>,
    ) -> io::Result<Self> {
        for (number, listener) in listeners.iter().enumerate() {
            let (fd, token) = (listener.as_raw_fd(), Token(FIRST_LISTENER - number));
            let registry = core.poll.registry();
            match registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                // By the loop that died before this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        // A monitor learns so that exchanges which begin are run by a loop.
        shared.journal.polling();
        Ok(Self {
            deadlines: ConnectionDeadlines::new(shared.now),
            linger: shared.http.timeouts.linger_timeout,
            pulse: Pulse::new(&shared.journal, shared.now),
            core,
            shared,
            loops,
            index,
            control,
            listeners,
            connections: Places::new(),
            again: VecDeque::new(),
            // Who has connected before is waiting already.
            acceptable: true,
            first_listener: 0,
            accept_pause: None,
            exhausted: false,
            stop: control.stop_deadline(),
            cut: 0,
        })
    }

    /// Serves until it is stopped; then tells how many exchanges were cut off. It fails only if it cannot wait.
    pub(crate) fn serve(&mut self) -> io::Result<u64> {
        let mut events = Events::with_capacity(1024);
        if self.stop.is_some() {
            self.begin_stop();
        }
        loop {
            self.shared.journal.flush();
            let idle = !self.is_busy() && self.core.mailbox.begin_wait();
            self.core.wait(&mut events, self.next_wake(), idle)?;
            self.shared.now = Instant::now();
            self.shared.date.refresh();
            if self.pulse.beats(self.shared.now) {
                self.shared.journal.progress();
            }
            for event in &events {
                match event.token() {
                    MAILBOX => {}
                    Token(token) if token > FIRST_LISTENER - self.listeners.len() => self.acceptable = true,
                    Token(index) => self.ready(index, event),
                }
            }
            self.accept();
            self.core.ops.fire_timers(self.shared.now);
            self.read_letters();
            // Not those that come back to the list meanwhile.
            for _ in 0..self.again.len() {
                let Some(index) = self.again.pop_front() else { break };
                if let Some(Slot::Http(connection)) = self.connections.get_mut(index) {
                    connection.listed = false;
                }
                self.drive(index);
            }
            for _ in 0..CALLS_PER_TURN {
                let Some(index) = self.shared.turn.next() else { break };
                self.drive(index);
            }
            while let Some(index) = self.deadlines.pop_expired(self.shared.now) {
                self.expire(index);
            }
            if let Some(deadline) = self.stop {
                let now = Instant::now();
                if deadline <= now {
                    self.cut += self.abandon(Outcome::Stopped);
                    self.core.tasks.drop_all(&self.core.worker);
                }
                if self.connections.is_empty() && self.core.tasks.is_empty() && self.core.mailbox.end() {
                    return Ok(self.cut);
                }
            }
        }
    }

    fn is_busy(&self) -> bool {
        !self.again.is_empty()
            || self.shared.turn.next().is_some()
            || (self.acceptable && self.accept_pause.is_none() && self.loops.has_room())
    }

    fn next_wake(&self) -> Option<Instant> {
        [self.deadlines.next_wake(), self.accept_pause, self.stop, self.pulse.due()]
            .into_iter()
            .flatten()
            .min()
    }

    // ---- connections ----

    fn ready(&mut self, index: usize, event: &mio::event::Event) {
        match self.connections.get_mut(index) {
            Some(Slot::Http(connection)) => connection.ready(event),
            Some(Slot::Tunnel(tunnel)) => tunnel.ready(event),
            None => return,
        }
        self.drive_unless_listed(index);
    }

    /// Who is on the list has a turn in this round anyway, and shall not have two.
    fn drive_unless_listed(&mut self, index: usize) {
        if !matches!(self.connections.get(index), Some(Slot::Http(connection)) if connection.listed) {
            self.drive(index);
        }
    }

    fn drive(&mut self, index: usize) {
        let fate = match self.connections.get_mut(index) {
            Some(Slot::Http(connection)) => connection.drive(index, self.shared),
            Some(Slot::Tunnel(_)) => return self.drive_tunnel(index),
            None => return,
        };
        self.settle(index, fate);
    }

    fn drive_tunnel(&mut self, index: usize) {
        let Some(Slot::Tunnel(tunnel)) = self.connections.get_mut(index) else { return };
        match tunnel.drive(self.shared.now, self.linger, &mut self.shared.scratch) {
            TunnelFate::Wait => match tunnel.deadline() {
                Some(deadline) => self.deadlines.set(index, deadline),
                None => self.deadlines.clear(index),
            },
            TunnelFate::Close => {
                if let Some(Slot::Tunnel(tunnel)) = self.remove(index) {
                    tunnel.sever();
                }
            }
            TunnelFate::Reset => {
                if let Some(Slot::Tunnel(tunnel)) = self.remove(index) {
                    tunnel.reset();
                }
            }
        }
    }

    fn expire(&mut self, index: usize) {
        let fate = match self.connections.get_mut(index) {
            Some(Slot::Http(connection)) => connection.expire(index, self.shared),
            Some(Slot::Tunnel(_)) => return self.drive_tunnel(index),
            None => return,
        };
        self.settle(index, fate);
    }

    fn settle(&mut self, index: usize, fate: Fate) {
        let Some(Slot::Http(connection)) = self.connections.get_mut(index) else { return };
        match fate {
            Fate::Wait | Fate::Again => {
                if self.stop.is_some() {
                    connection.stop();
                }
                match connection.deadline() {
                    Some(deadline) => self.deadlines.set(index, deadline),
                    None => self.deadlines.clear(index),
                }
                if let Fate::Again = fate {
                    if !std::mem::replace(&mut connection.listed, true) {
                        self.again.push_back(index);
                    }
                }
            }
            Fate::Close => drop(self.remove(index)),
            Fate::Reset => {
                if let Some(Slot::Http(connection)) = self.remove(index) {
                    connection.reset();
                }
            }
            Fate::Tunnel(tunnel, origin) => {
                // The slot stays the connection's; only what is in it changes.
                let Some(Slot::Http(connection)) = self.connections.remove(index) else { return };
                let tunnel = connection.into_tunnel(tunnel, origin);
                let again = self.connections.insert(Slot::Tunnel(tunnel));
                debug_assert_eq!(index, again, "the place that was vacated last is given out first");
                self.deadlines.clear(index);
                self.drive_tunnel(index);
            }
        }
    }

    fn remove(&mut self, index: usize) -> Option<Slot<A>> {
        self.deadlines.clear(index);
        match self.connections.get(index) {
            Some(Slot::Http(connection)) => connection.leave_queue(&mut self.shared.turn),
            Some(Slot::Tunnel(tunnel)) => {
                // The application may have kept its end: its events must not reach the next connection in this place.
                let fd = tunnel.transport().as_raw_fd();
                let _ = self.core.poll.registry().deregister(&mut SourceFd(&fd));
            }
            None => {}
        }
        if self.loops.leave(self.index) {
            // There is room again for those that had to wait.
            self.acceptable = true;
        }
        let removed = self.connections.remove(index);
        if removed.is_some() {
            self.shared.journal.connection_closed();
        }
        removed
    }

    fn read_letters(&mut self) {
        self.core.mailbox.take(&mut self.core.letters);
        self.acceptable |= std::mem::take(&mut self.core.letters.room);
        while let Some(accepted) = self.core.letters.connections.pop_front() {
            self.add(accepted);
        }
        if std::mem::take(&mut self.core.letters.stop) {
            let first = self.stop.is_none();
            self.stop = self.control.stop_deadline();
            if first {
                self.begin_stop();
            }
        }
        self.core.start_tasks();
        // The memory of the list is used again.
        let mut woken = std::mem::take(&mut self.core.letters.woken);
        for woken in woken.drain(..) {
            match woken {
                Woken::Connection(index) => self.drive_unless_listed(index as usize),
                Woken::Task(index) => self.core.tasks.poll(index as usize, &self.core.worker),
                Woken::Root => {}
            }
        }
        self.core.letters.woken = woken;
    }

    // ---- accepting ----

    fn accept(&mut self) {
        if !self.acceptable || self.accept_pause.is_some_and(|until| until > self.shared.now) {
            return;
        }
        // Whom nobody else has taken meanwhile is let in, whoever is ahead; and so is everybody at the end.
        let is_last = self.stop.is_some();
        let mut insists = self.accept_pause.take().is_some() || is_last;
        let mut defers = false;
        let mut exhausted = None;
        let mut left = ACCEPTS_PER_TURN;
        self.acceptable = false;
        // Each time another listener is the first, so that a busy one does not keep the others waiting.
        let count = self.listeners.len();
        self.first_listener = self.first_listener.wrapping_add(1);
        for turn in 0..count {
            let number = self.first_listener.wrapping_add(turn) % count;
            while self.loops.has_room() {
                if left == 0 {
                    self.acceptable = true;
                    break;
                }
                if !insists && self.shared.journal.is_ahead(|| self.loops.total()) {
                    defers = true;
                    break;
                }
                left -= 1;
                let listener = &self.listeners[number];
                match listener.accept() {
                    Ok((transport, peer)) => {
                        insists = is_last;
                        let info = self.loops.introduce(listener, &transport, peer);
                        self.place(Accepted { transport, info });
                    }
                    Err(AcceptError::ConnectionGone(_)) => {}
                    Err(AcceptError::NoneWaiting) => break,
                    Err(AcceptError::Exhausted(error) | AcceptError::Broken(error)) => {
                        exhausted = Some(error);
                        break;
                    }
                }
            }
        }
        if let Some(error) = exhausted {
            self.acceptable = true;
            self.accept_pause = Some(self.shared.now + ACCEPT_PAUSE);
            // Once, not ten times a second for as long as it lasts.
            if !std::mem::replace(&mut self.exhausted, true) {
                self.log(Level::Warning, &format!("cannot accept connections for now: {error}"));
            }
        } else if defers {
            self.acceptable = true;
            self.accept_pause = Some(self.shared.now + COURTESY_PAUSE);
        } else {
            self.exhausted = false;
        }
        if !self.loops.has_room() {
            // Whoever is the next to end makes room; see `remove`.
            self.acceptable = false;
            self.accept_pause = None;
        }
    }

    fn place(&mut self, accepted: Accepted) {
        let chosen = self.loops.place(self.index);
        if chosen == self.index {
            return self.add(accepted);
        }
        if let Err(accepted) = self.loops.hand_over(chosen, accepted) {
            self.loops.moved(chosen, self.index);
            self.add(accepted);
        }
    }

    /// Takes in a connection that is counted already.
    fn add(&mut self, accepted: Accepted) {
        let index = self.connections.next_index();
        let fd = accepted.transport.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.core.poll.registry().register(&mut SourceFd(&fd), Token(index), interest) {
            self.loops.leave(self.index);
            let message = format!("cannot watch a new connection, which is closed: {error}");
            return self.log(Level::Error, &message);
        }
        let summons = Summons::new(Woken::Connection(index as u32), Arc::clone(&self.core.mailbox));
        let handle = Handle::new(self.core.worker.clone(), accepted.info, summons);
        self.connections.insert(Slot::Http(Connection::new(accepted.transport, handle, self.shared)));
        self.shared.journal.connection_opened();
        self.drive(index);
    }

    // ---- the stop ----

    /// Raises the signal, takes in who has connected before, and closes who has nothing under way (spec S17).
    fn begin_stop(&mut self) {
        self.core.ops.stop();
        for accepted in self.core.mailbox.close() {
            self.add(accepted);
        }
        // What waits in the backlog would be reset by the close.
        self.acceptable = true;
        self.accept_pause = None;
        let mut turns = 0;
        while turns < LAST_ACCEPT_TURNS
            && self.acceptable
            && self.loops.has_room()
            && self.accept_pause.is_none()
        {
            self.accept();
            turns += 1;
        }
        self.listeners.clear();
        self.acceptable = false;
        self.accept_pause = None;
        // Each looks once more whether a request has come, and has another deadline now.
        for index in self.connections.indices() {
            if let Some(Slot::Http(connection)) = self.connections.get_mut(index) {
                connection.stop();
                self.drive(index);
            }
        }
    }

    /// Breaks off what is left, as when the deadline has passed (spec L8); how many exchanges that were.
    pub(crate) fn abandon(&mut self, outcome: Outcome) -> u64 {
        let mut abandoned = 0;
        for index in self.connections.indices() {
            let was_busy = match self.connections.get_mut(index) {
                Some(Slot::Http(connection)) => connection.abandon(outcome, self.shared),
                Some(Slot::Tunnel(tunnel)) => tunnel.abandon(outcome),
                None => false,
            };
            abandoned += u64::from(was_busy);
            match self.remove(index) {
                // Where nothing was under way the last answer may still be on its way.
                Some(Slot::Http(connection)) if was_busy => connection.reset(),
                Some(Slot::Tunnel(tunnel)) => tunnel.sever(),
                _ => {}
            }
        }
        abandoned
    }

    fn log(&self, level: Level, message: &str) {
        self.shared.reporter.report(&Report::new(Event::Log { level, message }));
    }
}

/// A loop that has died may not even have come to the end of [`abandon`](EventLoop::abandon).
impl<A: AsyncApp> Drop for EventLoop<'_, A> {
    fn drop(&mut self) {
        (0..self.connections.len()).for_each(|_| self.shared.journal.connection_closed());
        self.loops.lost(self.index, self.connections.len());
    }
}

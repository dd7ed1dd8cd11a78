//! All connections of the server, their deadlines, and the timers of the application: what the leader looks after and
//! every thread may change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Instant,
};

use slab::Slab;
use varvel::TimerId;
use varvel_server_kit::{connection_deadlines::ConnectionDeadlines, timer_queue::TimerQueue};

use crate::{
    connection::Connection,
    schedule::{Owner, Schedule, Seen, Until},
};

/// Locked for moments only. Nobody locks a connection while holding it.
pub(crate) struct Table {
    rows: Mutex<Rows>,
    connections_max: usize,
    /// Ends the leader's wait.
    waker: mio::Waker,
}

struct Rows {
    connections: Slab<Arc<Connection>>,
    deadlines: ConnectionDeadlines,
    timers: TimerQueue<Waker>,
    leader: Leader,
    /// A connection could not be accepted for lack of room.
    is_short_of_room: bool,
    is_stopping: bool,
}

/// What the leader is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    /// Awake, or there is none. Whoever waits next has looked at deadlines and timers, but perhaps not at the rest.
    Awake,
    /// Awake, and woken since it last waited: there may be something new that it has not looked at.
    Called,
    /// Waits for events until then, or for ever.
    Waits(Option<Instant>),
}

/// What came of an attempt to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// It is parked, and not the caller's any more.
    Yes,
    /// What it would wait for has happened.
    Ready,
    /// The server stops, and the deadline does not know that.
    Stopping,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(connections_max: usize, waker: mio::Waker) -> Self {
        let rows = Rows {
            connections: Slab::new(),
            deadlines: ConnectionDeadlines::new(Instant::now()),
            timers: TimerQueue::new(),
            leader: Leader::Awake,
            is_short_of_room: false,
            is_stopping: false,
        };
        Self { rows: Mutex::new(rows), connections_max, waker }
    }

    // ---- connections ----

    /// Whether another connection may be accepted. If not, the leader is woken when one may.
    pub(crate) fn has_room(&self) -> bool {
        let mut rows = self.lock();
        rows.is_short_of_room = rows.connections.len() >= self.connections_max;
        !rows.is_short_of_room
    }

    /// Takes a connection in, which is made for its place in the table.
    pub(crate) fn insert(&self, make: impl FnOnce(usize) -> Arc<Connection>) -> Arc<Connection> {
        let mut rows = self.lock();
        let entry = rows.connections.vacant_entry();
        let connection = make(entry.key());
        entry.insert(Arc::clone(&connection));
        connection
    }

    /// Forgets a connection, which is over.
    pub(crate) fn remove(&self, slot: usize) {
        let mut rows = self.lock();
        let removed = rows.connections.try_remove(slot);
        rows.deadlines.clear(slot);
        let concerns_leader = rows.is_short_of_room || (rows.is_stopping && rows.connections.is_empty());
        if concerns_leader {
            self.wake_leader(&mut rows);
        }
        drop(rows);
        drop(removed);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().connections.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().connections.is_empty()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.iter().map(|(_, connection)| Arc::clone(connection)).collect()
    }

    /// From now on connections on which nothing is going on are not parked.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
    }

    /// Takes all parked connections; the caller owns them.
    pub(crate) fn take_parked(&self) -> Vec<Arc<Connection>> {
        let rows = self.lock();
        let parked = rows.connections.iter().filter(|(_, connection)| connection.schedule.take());
        parked.map(|(_, connection)| Arc::clone(connection)).collect()
    }

    /// Notes events, and tells of each whose connection it was for.
    pub(crate) fn note(
        &self,
        events: impl Iterator<Item = (usize, Seen)>,
        mut tell: impl FnMut(&Arc<Connection>, Owner, Seen),
    ) {
        let rows = self.lock();
        for (slot, seen) in events {
            // A connection that was closed meanwhile; or its successor, which loses nothing by looking once too often.
            if let Some(connection) = rows.connections.get(slot) {
                tell(connection, connection.schedule.note(seen), seen);
            }
        }
    }

    /// Parks a connection that the caller owns. `knows_stop` says that its deadline is one of a server that stops.
    pub(crate) fn park(
        &self,
        slot: usize,
        schedule: &Schedule,
        until: Until,
        deadline: Option<Instant>,
        knows_stop: bool,
    ) -> Parked {
        let mut rows = self.lock();
        if !schedule.park(until) {
            return Parked::Ready;
        }
        if rows.is_stopping && !knows_stop {
            // Nobody else can have taken it: that needs the table.
            schedule.take();
            return Parked::Stopping;
        }
        match deadline {
            Some(deadline) => {
                rows.deadlines.set(slot, deadline);
                self.mind(&mut rows, deadline);
            }
            None => rows.deadlines.clear(slot),
        }
        Parked::Yes
    }

    /// Takes the parked connections whose deadline has passed; the caller owns them.
    pub(crate) fn take_expired(&self, now: Instant) -> Vec<Arc<Connection>> {
        let mut rows = self.lock();
        let mut expired = Vec::new();
        while let Some(slot) = rows.deadlines.pop_expired(now) {
            // A busy one gets a new deadline when it is parked.
            match rows.connections.get(slot) {
                Some(connection) if connection.schedule.take() => expired.push(Arc::clone(connection)),
                _ => {}
            }
        }
        expired
    }

    // ---- timers ----

    /// Has `waker` woken at `deadline`.
    pub(crate) fn set_timer(&self, deadline: Instant, waker: Waker) -> TimerId {
        let mut rows = self.lock();
        let key = rows.timers.insert(deadline, waker);
        self.mind(&mut rows, deadline);
        key.into()
    }

    /// Has another waker woken; `false` if the timer is gone.
    pub(crate) fn move_timer(&self, id: TimerId, waker: Waker) -> bool {
        let mut rows = self.lock();
        let Some(place) = rows.timers.value_mut(id.into()) else { return false };
        let before = std::mem::replace(place, waker);
        drop(rows);
        drop(before);
        true
    }

    /// Forgets a timer.
    pub(crate) fn cancel_timer(&self, id: TimerId) {
        let waker = self.lock().timers.cancel(id.into());
        drop(waker);
    }

    /// Takes a timer that is due.
    pub(crate) fn take_due_timer(&self, now: Instant) -> Option<Waker> {
        self.lock().timers.pop_expired(now)
    }

    // ---- the leader ----

    /// The leader is going to wait, at most until `latest`: until when, then. Not at all if it was woken meanwhile.
    pub(crate) fn begin_wait(&self, latest: Option<Instant>) -> Option<Instant> {
        let mut rows = self.lock();
        if rows.leader == Leader::Called {
            rows.leader = Leader::Awake;
            return Some(Instant::now());
        }
        let times = [latest, rows.deadlines.next_wake(), rows.timers.next_deadline()];
        let until = times.into_iter().flatten().min();
        rows.leader = Leader::Waits(until);
        until
    }

    /// The leader is awake again.
    pub(crate) fn end_wait(&self) {
        self.lock().leader = Leader::Awake;
    }

    /// Whether somebody waits who would have to be woken to see anything.
    pub(crate) fn leader_waits(&self) -> bool {
        matches!(self.lock().leader, Leader::Waits(_))
    }

    /// Ends the wait of the leader, or keeps it from the next one.
    pub(crate) fn wake(&self) {
        self.wake_leader(&mut self.lock());
    }

    /// Sees to it that somebody looks at the table at `deadline`.
    fn mind(&self, rows: &mut Rows, deadline: Instant) {
        if matches!(rows.leader, Leader::Waits(until) if until.is_none_or(|until| deadline < until)) {
            self.wake_leader(rows);
        }
    }

    fn wake_leader(&self, rows: &mut Rows) {
        // Once is enough. Writing to our own event counter does not fail.
        if let Leader::Waits(_) = std::mem::replace(&mut rows.leader, Leader::Called) {
            let _ = self.waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Who owns a connection, and what has happened to it meanwhile.
//!
//! ```text
//!              event that it waits for, deadline, stop
//!   parked  ------------------------------------------->  busy: in the run queue, on a thread, or waiting for
//!           <-------------------------------------------        a deferred reply
//!              nothing left to do, nothing happened
//! ```
//!
//! The poller tells of an event once. One that concerns a busy connection is written down, and who parks the connection
//! looks whether there is one: so no event is lost and none is waited for twice.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Schedule(AtomicU8);

/// Somebody owns it.
const BUSY: u8 = 1;
/// There may be something to read.
const READ: u8 = 1 << 1;
/// There may be room to write.
const ROOM: u8 = 1 << 2;
/// The peer has closed its sending side, or the connection is broken. Stays.
const CLOSED: u8 = 1 << 3;
/// It is parked until there is room to write, and not until there is something to read.
const WANTS_ROOM: u8 = 1 << 4;

/// What a parked connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Something to read.
    Readable,
    /// Room to write.
    Writable,
}

/// What the poller saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Something to read.
    pub(crate) readable: bool,
    /// Room to write.
    pub(crate) writable: bool,
    /// The end of the peer's sending side, or an error.
    pub(crate) closed: bool,
}

/// Whom an event was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody: the connection was parked, and is the caller's now.
    Caller,
    /// It is parked, and waits for something else.
    Parked,
    /// Somebody who will see it.
    Other,
}

impl Schedule {
    /// A new connection, which belongs to who made it.
    pub(crate) fn busy() -> Self {
        Self(AtomicU8::new(BUSY))
    }

    /// Writes an event down.
    pub(crate) fn note(&self, seen: Seen) -> Owner {
        let mut bits = 0;
        if seen.readable {
            bits |= READ;
        }
        if seen.writable {
            bits |= ROOM;
        }
        if seen.closed {
            // Whoever waits for anything is to find out by trying.
            bits |= READ | ROOM | CLOSED;
        }
        let awaited = |state: u8| bits & if state & WANTS_ROOM != 0 { ROOM } else { READ } != 0;
        let update = |state: u8| {
            let wakes = state & BUSY == 0 && awaited(state);
            Some(if wakes { (state | bits | BUSY) & !WANTS_ROOM } else { state | bits })
        };
        let before = self.0.fetch_update(SeqCst, SeqCst, update).unwrap_or_else(|state| state);
        match () {
            () if before & BUSY != 0 => Owner::Other,
            () if awaited(before) => Owner::Caller,
            () => Owner::Parked,
        }
    }

    /// Takes a parked connection, without an event; `false` if somebody owns it.
    ///
    /// Something may have come that the poller has not told of: who takes it is to look before closing it, for a socket
    /// closed with a request in it is reset.
    pub(crate) fn take(&self) -> bool {
        let update = |state: u8| (state & BUSY == 0).then_some((state | BUSY | READ) & !WANTS_ROOM);
        self.0.fetch_update(SeqCst, SeqCst, update).is_ok()
    }

    /// Parks an owned connection, unless what it would wait for has happened.
    pub(crate) fn park(&self, until: Until) -> bool {
        let (happened, parked) = match until {
            Until::Readable => (READ | CLOSED, 0),
            Until::Writable => (ROOM, WANTS_ROOM),
        };
        let update = |state: u8| (state & happened == 0).then_some(state & !BUSY | parked);
        self.0.fetch_update(SeqCst, SeqCst, update).is_ok()
    }

    /// Forgets that there was something to read, since it is about to be read.
    pub(crate) fn begin_read(&self) {
        self.0.fetch_and(!READ, SeqCst);
    }

    /// Forgets that there was room, since it is about to be used.
    pub(crate) fn begin_write(&self) {
        self.0.fetch_and(!ROOM, SeqCst);
    }

    /// Whether there may be something to read since [`begin_read`](Self::begin_read), or an end.
    pub(crate) fn may_read(&self) -> bool {
        self.0.load(SeqCst) & (READ | CLOSED) != 0
    }

    /// Forgets an end, since a read found none: it was the end of an earlier connection with the same descriptor. `true`
    /// if there was one to forget; then another read has to look whether a true one came in between.
    pub(crate) fn take_back_closed(&self) -> bool {
        self.0.fetch_and(!CLOSED, SeqCst) & CLOSED != 0
    }

    /// Whether the peer has closed its sending side, perhaps behind bytes that were not read yet.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(SeqCst) & CLOSED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: Seen = Seen { readable: true, writable: false, closed: false };
    const WRITABLE: Seen = Seen { readable: false, writable: true, closed: false };
    const CLOSING: Seen = Seen { readable: false, writable: false, closed: true };

    fn parked() -> Schedule {
        let schedule = Schedule::busy();
        assert!(schedule.park(Until::Readable));
        schedule
    }

    #[test]
    fn a_parked_connection_belongs_to_who_sees_the_event() {
        let schedule = parked();
        assert_eq!(schedule.note(WRITABLE), Owner::Parked, "it waits for something to read");
        assert_eq!(schedule.note(READABLE), Owner::Caller);
        assert_eq!(schedule.note(READABLE), Owner::Other, "once");
        assert!(!schedule.take());
    }

    #[test]
    fn an_event_while_it_is_busy_keeps_it_from_being_parked() {
        let schedule = Schedule::busy();
        assert_eq!(schedule.note(READABLE), Owner::Other);
        assert!(!schedule.park(Until::Readable));
        schedule.begin_read();
        assert!(schedule.park(Until::Readable));
        assert!(schedule.take());
    }

    #[test]
    fn one_that_is_taken_without_an_event_is_read_before_it_is_closed() {
        let schedule = parked();
        assert!(schedule.take() && schedule.may_read());
        assert!(!schedule.park(Until::Readable));
        schedule.begin_read();
        assert!(schedule.park(Until::Readable));
    }

    #[test]
    fn who_waits_for_room_is_not_woken_by_bytes() {
        let schedule = Schedule::busy();
        assert!(schedule.park(Until::Writable));
        assert_eq!(schedule.note(READABLE), Owner::Parked);
        assert_eq!(schedule.note(WRITABLE), Owner::Caller);
        assert!(!schedule.park(Until::Readable), "the bytes were not forgotten");
    }

    #[test]
    fn an_end_is_never_waited_for_twice() {
        let schedule = parked();
        assert_eq!(schedule.note(CLOSING), Owner::Caller);
        schedule.begin_read();
        assert!(!schedule.park(Until::Readable), "an end behind the bytes makes no further event");
        assert!(schedule.may_read() && schedule.is_closed());
    }
}

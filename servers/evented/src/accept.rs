//! Accepting connections, and sharing them out among the loops.
//!
//! All loops accept from one socket, and whoever accepts a connection gives it away if another loop has fewer. The other
//! way would be a socket for each loop (`SO_REUSEPORT`), among which the kernel chooses by a hash of the addresses. That
//! saves the hand-over: measured, a tenth of the processor time where each request has a connection of its own, at the same
//! rate, and nothing where connections are kept. It loses more:
//!
//! - It is chance: of 64 connections on two loops one has 37 or more in every fourth case, and connections that live long
//!   stay where they are. Counting keeps every loop within a tenth of its share.
//! - It is blind: a loop that is busy, full or gone gets its part of the clients all the same, and they wait in its queue.
//!   From one queue whoever is awake takes the next.
//! - A socket that closes resets who waits in its queue, so a loop could not end by itself.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
};
use std::task::Wake;

use varvel::{Address, ConnInfo};
use varvel_server_kit::{listener::Listener, transport::Transport};

use crate::mailbox::Mailbox;

/// A connection on its way to its loop.
pub(crate) struct Accepted {
    pub(crate) transport: Transport,
    pub(crate) info: ConnInfo,
}

/// What the loops of a server know of each other.
pub(crate) struct Loops {
    /// How many connections each loop has.
    loads: Vec<AtomicUsize>,
    mailboxes: Vec<OnceLock<Arc<Mailbox>>>,
    total_max: usize,
    next_id: AtomicU64,
}

/// How many more connections than the least busy loop another may have before it gives new ones away, if there are so many
/// on each on average. A hand-over costs a wake-up, so small differences are left alone: a sixteenth, which with the new
/// connection itself stays below a tenth.
fn slack(total: usize, loops: usize) -> usize {
    /// Connections in all below which the balance does not matter.
    const FEW: usize = 32;
    if total < FEW { 2 } else { total / loops / 16 }
}

/// The load of a loop that is gone.
const DEAD: usize = usize::MAX;

impl Loops {
    pub(crate) fn new(count: usize, total_max: usize) -> Self {
        Self {
            loads: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            mailboxes: (0..count).map(|_| OnceLock::new()).collect(),
            total_max,
            next_id: AtomicU64::new(1),
        }
    }

    /// Makes a loop known to the others.
    pub(crate) fn join(&self, index: usize, mailbox: Arc<Mailbox>) {
        // Each loop joins once.
        let _ = self.mailboxes[index].set(mailbox);
    }

    /// Whether another connection may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.total() < self.total_max
    }

    /// How many connections all loops have, those on their way to one included.
    pub(crate) fn total(&self) -> usize {
        self.loads.iter().map(|load| load.load(SeqCst)).filter(|load| *load != DEAD).sum()
    }

    /// Counts a connection, and says which loop is to have it.
    pub(crate) fn place(&self, own: usize) -> usize {
        loop {
            let (mut total, mut alive, mut chosen, mut least) = (0, 0, own, DEAD);
            for (index, load) in self.loads.iter().enumerate() {
                let load = load.load(SeqCst);
                if load != DEAD {
                    (total, alive) = (total + load, alive + 1);
                }
                if load < least {
                    (chosen, least) = (index, load);
                }
            }
            let load = self.loads[own].load(SeqCst);
            if load <= least + slack(total, alive.max(1)) {
                (chosen, least) = (own, load);
            }
            // Two loops that place at the same time must not both find the same one the least busy.
            if self.loads[chosen].compare_exchange(least, least + 1, SeqCst, SeqCst).is_ok() {
                return chosen;
            }
        }
    }

    /// A connection has ended; whether others may have had to wait for that.
    pub(crate) fn leave(&self, index: usize) -> bool {
        self.discount(index, 1);
        // Looked at after the count has changed: whoever fills the server meanwhile sees that there is room.
        self.total().saturating_add(1) >= self.total_max
    }

    /// Counts so many connections less of a loop.
    fn discount(&self, index: usize, count: usize) {
        let less = |load: usize| if load == DEAD { None } else { Some(load.saturating_sub(count)) };
        let _ = self.loads[index].fetch_update(SeqCst, SeqCst, less);
    }

    /// Gives a connection to another loop, or back if that has ended.
    pub(crate) fn hand_over(&self, index: usize, accepted: Accepted) -> Result<(), Accepted> {
        match self.mailboxes[index].get() {
            Some(mailbox) => mailbox.post_connection(accepted),
            None => Err(accepted),
        }
    }

    /// A loop has ended, or died with so many connections. Others may have had to wait for that, wherever they arrived: the
    /// loop itself may not come back for long.
    pub(crate) fn lost(&self, index: usize, count: usize) {
        self.discount(index, count);
        self.announce_room();
    }

    /// A loop has died for good: nobody gives it connections any more.
    pub(crate) fn bury(&self, index: usize) {
        self.loads[index].store(DEAD, SeqCst);
        if let Some(mailbox) = self.mailboxes[index].get() {
            mailbox.bury();
        }
        self.announce_room();
    }

    /// Has all loops look whether they can accept.
    fn announce_room(&self) {
        for mailbox in self.mailboxes.iter().filter_map(OnceLock::get) {
            mailbox.post(|letters| letters.room = true);
        }
    }

    /// A connection that was counted for one loop is another's.
    pub(crate) fn moved(&self, from: usize, to: usize) {
        self.discount(from, 1);
        self.loads[to].fetch_add(1, SeqCst);
    }

    /// Describes a connection that was just accepted.
    pub(crate) fn introduce(&self, listener: &Listener, transport: &Transport, peer: Address) -> ConnInfo {
        let id = self.next_id.fetch_add(1, Relaxed);
        // It fails only if the connection is broken already, which the first read will show.
        let local = listener.local_addr_of(transport).unwrap_or(Address::Unnamed);
        ConnInfo::new(id, peer, local)
    }
}

/// The control's stop is a letter to each loop.
impl Wake for Loops {
    fn wake(self: Arc<Self>) {
        for mailbox in self.mailboxes.iter().filter_map(OnceLock::get) {
            mailbox.post(|letters| letters.stop = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The connections of each loop after so many were accepted, the nth by the loop that `accepting` names.
    fn placed(loops: usize, count: usize, accepting: impl Fn(usize) -> usize) -> Vec<usize> {
        let shared = Loops::new(loops, usize::MAX);
        for nth in 0..count {
            shared.place(accepting(nth));
        }
        shared.loads.iter().map(|load| load.load(SeqCst)).collect()
    }

    #[test]
    fn every_loop_is_within_a_tenth_of_its_share_whoever_accepts() {
        for loops in [2, 4, 8] {
            for count in [64, 100, 256, 1000] {
                for loads in [
                    placed(loops, count, |_| 0),
                    placed(loops, count, |nth| nth % loops),
                    placed(loops, count, |nth| nth / 64 % loops),
                    placed(loops, count, |nth| nth * nth % 3 % loops),
                ] {
                    let share = count as f64 / loops as f64;
                    let fits = |load: &usize| (*load as f64 - share).abs() <= (share / 10.0).max(1.0);
                    assert!(loads.iter().all(fits), "{count} on {loops} loops: {loads:?}");
                }
            }
        }
    }

    #[test]
    fn a_loop_that_lost_its_connections_gets_the_next_ones() {
        let loops = Loops::new(2, usize::MAX);
        (0..64).for_each(|nth| _ = loops.place(nth % 2));
        (0..32).for_each(|_| _ = loops.leave(1));
        assert!((0..32).filter(|_| loops.place(0) == 1).count() >= 29);
    }

    #[test]
    fn a_loop_that_is_gone_gets_none() {
        let loops = Loops::new(3, usize::MAX);
        loops.bury(1);
        assert!((0..64).all(|_| loops.place(0) != 1));
    }

    #[test]
    fn loops_that_place_at_the_same_time_keep_the_balance() {
        let loops = Loops::new(4, usize::MAX);
        std::thread::scope(|scope| {
            for own in 0..4 {
                let loops = &loops;
                scope.spawn(move || (0..1000).for_each(|_| _ = loops.place(own)));
            }
        });
        let loads: Vec<usize> = loops.loads.iter().map(|load| load.load(SeqCst)).collect();
        assert_eq!(loads.iter().sum::<usize>(), 4000);
        assert!(loads.iter().all(|load| (900..=1100).contains(load)), "{loads:?}");
    }
}

//! Accepting connections, and sharing them out among the loops.

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

/// How many more connections than the least busy loop another may have before it gives new ones away. A hand-over costs a
/// wake-up, so small differences are left alone.
const SLACK: usize = 2;

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

    fn total(&self) -> usize {
        self.loads.iter().map(|load| load.load(SeqCst)).filter(|load| *load != DEAD).sum()
    }

    /// Counts a connection, and says which loop is to have it.
    pub(crate) fn place(&self, own: usize) -> usize {
        let load = |index: usize| self.loads[index].load(SeqCst);
        let least = (0..self.loads.len()).min_by_key(|index| load(*index)).unwrap_or(own);
        let chosen = if load(own) > load(least) + SLACK { least } else { own };
        self.loads[chosen].fetch_add(1, SeqCst);
        chosen
    }

    /// A connection has ended; whether others may have had to wait for that.
    pub(crate) fn leave(&self, index: usize) -> bool {
        self.discount(index);
        // Looked at after the count has changed: whoever fills the server meanwhile sees that there is room.
        self.total().saturating_add(1) >= self.total_max
    }

    /// Counts a connection less, of a loop that may have been restarted since the connection was counted.
    fn discount(&self, index: usize) {
        let less = |load: usize| if load == DEAD { None } else { load.checked_sub(1) };
        let _ = self.loads[index].fetch_update(SeqCst, SeqCst, less);
    }

    /// Gives a connection to another loop, or back if that has ended.
    pub(crate) fn hand_over(&self, index: usize, accepted: Accepted) -> Result<(), Accepted> {
        match self.mailboxes[index].get() {
            Some(mailbox) => mailbox.post_connection(accepted),
            None => Err(accepted),
        }
    }

    /// A loop has died with all its connections, and another takes its place.
    pub(crate) fn restart(&self, index: usize) {
        self.loads[index].store(0, SeqCst);
    }

    /// A loop has died for good: nobody gives it connections any more.
    pub(crate) fn bury(&self, index: usize) {
        self.loads[index].store(DEAD, SeqCst);
        if let Some(mailbox) = self.mailboxes[index].get() {
            drop(mailbox.close());
        }
    }

    /// A connection that was counted for one loop is another's.
    pub(crate) fn moved(&self, from: usize, to: usize) {
        self.discount(from);
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

//! Whose turn it is to call an application whose calls must not overlap (spec S13).

use std::collections::BTreeMap;

/// A lock on the application that connections wait for in the order in which they came.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Without it everybody has their turn at any time.
    exclusive: bool,
    /// A call runs.
    taken: bool,
    /// Connections by their tickets. A crowd may come and leave while one call runs, so whoever leaves is gone at once.
    waiting: BTreeMap<Ticket, usize>,
    next_ticket: u64,
}

/// A place in the queue. Whoever has one goes by [`take`](Turn::take) or [`leave`](Turn::leave).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl Turn {
    pub(crate) fn new(exclusive: bool) -> Self {
        Self { exclusive, taken: false, waiting: BTreeMap::new(), next_ticket: 0 }
    }

    /// Gives this connection its turn at once, or a ticket for later.
    pub(crate) fn ask(&mut self, index: usize) -> Result<(), Ticket> {
        if !self.exclusive {
            return Ok(());
        }
        if !self.taken && self.waiting.is_empty() {
            self.taken = true;
            return Ok(());
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, index);
        Err(ticket)
    }

    /// Takes the turn, if it is this one's.
    pub(crate) fn take(&mut self, ticket: Ticket) -> bool {
        let is_next = self.waiting.first_key_value().is_some_and(|(first, _)| *first == ticket);
        if self.taken || !is_next {
            return false;
        }
        self.waiting.remove(&ticket);
        self.taken = true;
        true
    }

    /// Waits no more.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// The call is over, or none came of it.
    pub(crate) fn give_back(&mut self) {
        self.taken = false;
    }

    /// Who is to be driven because it is their turn.
    pub(crate) fn next(&self) -> Option<usize> {
        if self.taken {
            return None;
        }
        self.waiting.first_key_value().map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_in_the_order_of_arrival() {
        let mut turn = Turn::new(true);
        assert_eq!(turn.ask(1), Ok(()));
        let second = turn.ask(2).unwrap_err();
        let third = turn.ask(3).unwrap_err();
        assert_eq!((turn.next(), turn.take(second)), (None, false));
        turn.give_back();
        assert_eq!((turn.next(), turn.take(third)), (Some(2), false));
        // Whoever has just had their turn waits behind the others.
        let first = turn.ask(1).unwrap_err();
        assert!(turn.take(second));
        turn.leave(third);
        turn.give_back();
        assert_eq!(turn.next(), Some(1));
        turn.leave(first);
        assert_eq!(turn.next(), None);
        assert_eq!(turn.ask(7), Ok(()));
    }
}

//! Whose turn it is to call an application whose calls must not overlap (spec S13).

use std::collections::VecDeque;

/// A lock on the application that connections wait for in the order in which they came.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Without it everybody has their turn at any time.
    exclusive: bool,
    /// A call runs.
    taken: bool,
    /// Who is next, and is to be driven.
    next: Option<usize>,
    waiting: VecDeque<usize>,
}

impl Turn {
    pub(crate) fn new(exclusive: bool) -> Self {
        Self { exclusive, taken: false, next: None, waiting: VecDeque::new() }
    }

    /// Takes the turn, or waits for it.
    pub(crate) fn take(&mut self, index: usize) -> bool {
        if !self.exclusive {
            return true;
        }
        if self.taken || self.next.is_some_and(|next| next != index) {
            if !self.waiting.contains(&index) {
                self.waiting.push_back(index);
            }
            return false;
        }
        self.next = None;
        self.taken = true;
        true
    }

    /// The call is over, or none came of it.
    pub(crate) fn give_back(&mut self) {
        self.taken = false;
        if self.next.is_none() {
            self.next = self.waiting.pop_front();
        }
    }

    /// Who is to be driven because it is their turn.
    pub(crate) fn next(&self) -> Option<usize> {
        self.next.filter(|_| !self.taken)
    }

    /// This connection was driven, or is gone: if it did not use its turn, somebody else has it.
    pub(crate) fn pass(&mut self, index: usize) {
        if self.next == Some(index) {
            self.next = self.waiting.pop_front();
        }
    }

    /// This connection is gone.
    pub(crate) fn forget(&mut self, index: usize) {
        if self.exclusive {
            self.waiting.retain(|waiting| *waiting != index);
            self.pass(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_in_the_order_of_arrival() {
        let mut turn = Turn::new(true);
        assert!(turn.take(1));
        assert!(!turn.take(2));
        assert!(!turn.take(3));
        assert_eq!(turn.next(), None);
        turn.give_back();
        assert_eq!(turn.next(), Some(2));
        // Whoever has just had their turn waits behind the others.
        assert!(!turn.take(1));
        assert!(turn.take(2));
        turn.give_back();
        turn.forget(3);
        assert_eq!(turn.next(), Some(1));
        turn.pass(1);
        assert_eq!(turn.next(), None);
        assert!(turn.take(7));
    }
}

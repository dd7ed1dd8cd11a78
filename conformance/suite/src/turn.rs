//! Which checks may run at the same time: all, but for those that measure the process or take away what others need. A
//! process has one memory and one limit of descriptors, however many suites run in it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURNS: RwLock<()> = RwLock::new(());

/// Held while a check runs.
#[derive(Debug)]
#[must_use]
pub(crate) enum Turn {
    /// Beside others.
    Shared(#[allow(dead_code, reason = "it is there to be held")] RwLockReadGuard<'static, ()>),
    /// Beside nothing.
    Alone(#[allow(dead_code, reason = "it is there to be held")] RwLockWriteGuard<'static, ()>),
}

impl Turn {
    /// Waits until nobody runs alone.
    pub(crate) fn shared() -> Self {
        Self::Shared(TURNS.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody else runs.
    pub(crate) fn alone() -> Self {
        Self::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner))
    }
}

//! A connection on which everything is said, and the client is given time to hear it.
//!
//! Closing with anything unread makes the kernel reset the connection, and a reset may destroy the last answer on its way
//! (RFC 9112 section 9.6).

use std::time::{Duration, Instant};

use varvel_server_kit::transport::{Discarded, Transport};

/// How much a client may still send before it is cut off, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

pub(crate) struct Lingering {
    /// `None` if it may take for ever.
    until: Option<Instant>,
    budget: u64,
}

impl Lingering {
    pub(crate) fn new(now: Instant, time: Duration) -> Self {
        Self { until: now.checked_add(time), budget: BYTES_MAX }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Drops what the client still sends; whether the connection can be closed now.
    pub(crate) fn discard(&mut self, transport: &Transport, scratch: &mut [u8]) -> bool {
        match transport.discard(scratch, &mut self.budget) {
            Discarded::Pending => false,
            Discarded::Finished | Discarded::TooMuch => true,
        }
    }
}

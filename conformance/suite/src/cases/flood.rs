//! More than fits: what shows that a server waits for its client, or for its application.

use std::thread;

use crate::{Case, Failure, SILENCE};

/// What the buffers of the two sockets between client and server may hold, as Linux lets them grow, in bytes.
pub(super) const SOCKET_BUFFERS: u64 = 12 << 20;

/// More than all buffers together hold, in bytes.
pub(super) const FLOOD: u64 = 32 << 20;

/// One piece of it, in bytes.
pub(super) const PIECE: u64 = 64 << 10;

/// Waits until events of this kind come no more; how many there were.
pub(super) fn until_stalled(case: &Case<'_>, kind: &str) -> Result<u64, Failure> {
    case.wait_for(kind, |_| true)?;
    let mut before = 0;
    loop {
        let count = case.events(kind).len() as u64;
        if count == before {
            return Ok(count);
        }
        before = count;
        thread::sleep(2 * SILENCE);
    }
}

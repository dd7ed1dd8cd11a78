//! Signals: a handler writes each down, and who waits reads them.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use signal_hook::iterator::{backend::SignalDelivery, exfiltrator::SignalOnly};

/// Signals of this process, caught for as long as this lives. In a forked process it has to be dropped, for the pipe that
/// the handlers write to is the parent's.
#[derive(Debug)]
pub(crate) struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Catches these from now on.
    pub(crate) fn catch(signals: &[i32]) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        SignalDelivery::with_pipe(read, write, SignalOnly, signals).map(Self)
    }

    /// Those that have come. Several of the same kind count as one, as the system may do with them anyway.
    pub(crate) fn take(&mut self) -> Vec<i32> {
        self.0.pending().collect()
    }
}

/// Readable when a signal came.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

//! Process 1 of a container whose program was replaced: the container ends with it, so it stays, passes signals on to whoever
//! serves now, and takes in the processes that others have left.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, WaitOptions, kill_process, wait},
};
use signal_hook::consts::SIGCHLD;

use crate::{signals::Signals, upgrade::Successor};

/// A process that does nothing of its own any more.
pub(crate) struct Init {
    pub(crate) signals: Signals,
    pub(crate) successor: Successor,
    /// How the newest has ended, if it has already.
    pub(crate) ended: Option<ExitStatus>,
}

impl Init {
    /// Goes on until whoever serves has ended, and ends as that did.
    pub(crate) fn remain(mut self) -> ! {
        loop {
            // Who serves is known before anybody is missed: a successor tells before its predecessor ends.
            self.successor.listen();
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                self.successor.listen();
                if pid == self.successor.newest {
                    self.ended = Some(ExitStatus::from_raw(status.as_raw()));
                }
            }
            if let Some(status) = self.ended {
                std::process::exit(exit_code(status));
            }
            for signal in self.signals.take() {
                forward(signal, self.successor.newest);
            }
            let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], None);
        }
    }
}

/// Passes a signal on, if it is one that is meant for a supervisor.
pub(crate) fn forward(signal: i32, to: Pid) {
    if let Some(signal) = Signal::from_named_raw(signal).filter(|_| signal != SIGCHLD) {
        let _ = kill_process(to, signal);
    }
}

/// As shells tell it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

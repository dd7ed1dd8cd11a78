//! What operators ask of a server by signal. The handler only writes the signal down; a loop reads it and acts.
//!
//! | signal | first | once a graceful stop was asked for |
//! |---|---|---|
//! | SIGTERM (supervisors) | graceful | nothing new: its deadline is running |
//! | SIGINT (Ctrl-C) | graceful | quick: who presses it again does not want to wait |
//! | SIGQUIT (Ctrl-\\) | quick | quick |
//!
//! Once a quick stop was asked for, any of them ends the process at once, so that a server that hangs while
//! stopping can still be ended from its terminal.
//!
//! gunicorn stops quickly on the first SIGINT. We do not: in a container or under a supervisor SIGINT can be the
//! ordinary stop signal, and on a terminal the graceful stop of an idle server is immediate anyway.
//!
//! SIGUSR1 asks for the [log files](crate::log_files) to be opened anew.
//!
//! SIGHUP and SIGUSR2 are left alone: reloading is the business of the pre-fork supervisor. SIGPIPE needs no care here, because
//! the Rust runtime ignores it before `main`, and [`Transport`](crate::transport::Transport) asks the kernel not
//! to send it.
//!
//! ```no_run
//! # use varvel_server_kit::shutdown::{Request, Signals, StopRequest};
//! let mut signals = Signals::install()?;
//! std::thread::spawn(move || loop {
//!     match signals.wait() {
//!         Ok(Request::Stop(StopRequest::Graceful)) => { /* stop within the drain timeout */ }
//!         Ok(Request::Stop(StopRequest::Quick)) => { /* stop now */ }
//!         Ok(Request::ReopenLogs) => { /* they were moved away */ }
//!         Err(_) => break,
//!     }
//! });
//! # Ok::<_, std::io::Error>(())
//! ```

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// How the server was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRequest {
    /// Refuse new connections, let running requests finish until the drain deadline (spec S17, L8).
    Graceful,
    /// Cut what is running.
    Quick,
}

/// What the server was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To stop.
    Stop(StopRequest),
    /// To open its log files anew.
    ReopenLogs,
}

/// The signals of this process, as requests.
///
/// One per process. After it is dropped the signals do nothing at all: the system's default actions do not come
/// back.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    asked: Option<StopRequest>,
    /// The log files are still to be opened anew.
    reopen: bool,
    /// Read by the handlers: the next signal ends the process.
    hurry: Arc<AtomicBool>,
}

impl Signals {
    /// Catches SIGTERM, SIGINT, SIGQUIT and SIGUSR1 from now on.
    pub fn install() -> io::Result<Self> {
        let hurry = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGQUIT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&hurry))?;
        }
        let (read, write) = UnixStream::pair()?;
        let delivery =
            SignalDelivery::with_pipe(read, write, SignalOnly, [SIGINT, SIGQUIT, SIGTERM, SIGUSR1])?;
        Ok(Self { delivery, asked: None, reopen: false, hurry })
    }

    /// Waits for the next request. The first stop may be graceful or quick; after a graceful one only a quick one
    /// follows.
    pub fn wait(&mut self) -> io::Result<Request> {
        loop {
            if let Some(request) = self.next() {
                return Ok(request);
            }
            match poll(&mut [PollFd::new(&*self, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A request that has come already. For event loops, when [the descriptor](AsFd) is readable, until there is none.
    #[allow(clippy::should_implement_trait, reason = "None means `not yet`, not the end")]
    pub fn next(&mut self) -> Option<Request> {
        let (reopen, signals) = self.delivery.pending().partition::<Vec<_>, _>(|signal| *signal == SIGUSR1);
        self.reopen |= !reopen.is_empty();
        if let Some(request) = interpret(self.asked, &signals) {
            self.asked = Some(request);
            self.hurry.store(request == StopRequest::Quick, Ordering::Relaxed);
            return Some(Request::Stop(request));
        }
        mem::take(&mut self.reopen).then_some(Request::ReopenLogs)
    }
}

/// Readable when a signal came.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// The table at the top: what a batch of stop signals asks for that was not `asked` before.
fn interpret(asked: Option<StopRequest>, signals: &[i32]) -> Option<StopRequest> {
    let again = asked.is_some() && signals.contains(&SIGINT);
    match asked {
        Some(StopRequest::Quick) => None,
        _ if again || signals.contains(&SIGQUIT) => Some(StopRequest::Quick),
        None if !signals.is_empty() => Some(StopRequest::Graceful),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::StopRequest::{Graceful, Quick};
    use super::*;

    #[test]
    fn each_signal_asks_for_what_the_table_says() {
        for (asked, signals, expected) in [
            (None, &[][..], None),
            (None, &[SIGTERM], Some(Graceful)),
            (None, &[SIGINT], Some(Graceful)),
            (None, &[SIGQUIT], Some(Quick)),
            (None, &[SIGINT, SIGTERM], Some(Graceful)),
            (None, &[SIGQUIT, SIGTERM], Some(Quick)),
            (Some(Graceful), &[], None),
            (Some(Graceful), &[SIGTERM], None),
            (Some(Graceful), &[SIGINT], Some(Quick)),
            (Some(Graceful), &[SIGQUIT], Some(Quick)),
            (Some(Quick), &[SIGINT, SIGQUIT, SIGTERM], None),
        ] {
            assert_eq!(interpret(asked, signals), expected, "{asked:?} {signals:?}");
        }
    }
}

//! How far a run is, on standard error: one line that is drawn over on a terminal, and now and then a line elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use varvel_conformance::{Entry, Finding, Mark};

/// Told by all threads of a run.
pub(crate) struct Progress {
    subject: String,
    total: usize,
    is_terminal: bool,
    state: Mutex<State>,
}

struct State {
    done: usize,
    failed: usize,
    running: Vec<Entry>,
    told: Instant,
}

/// How often a terminal is drawn upon at most, and how often anything else gets a line.
const DRAW: Duration = Duration::from_millis(50);
const LINE: Duration = Duration::from_secs(10);

impl Progress {
    pub(crate) fn new(subject: &str, total: usize) -> Self {
        let state = State { done: 0, failed: 0, running: Vec::new(), told: Instant::now() };
        Self {
            subject: subject.to_owned(),
            total,
            is_terminal: io::stderr().is_terminal(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn begins(&self, entry: Entry) {
        let mut state = self.state();
        state.running.push(entry);
        self.tell(&mut state);
    }

    pub(crate) fn ended(&self, finding: &Finding) {
        let mut state = self.state();
        state.running.retain(|entry| *entry != finding.entry);
        state.done += 1;
        state.failed += usize::from(finding.mark == Mark::Failed);
        self.tell(&mut state);
    }

    /// Leaves the terminal's line clean.
    pub(crate) fn finish(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &mut State) {
        if state.told.elapsed() < if self.is_terminal { DRAW } else { LINE } {
            return;
        }
        state.told = Instant::now();
        let counts = format!("{}: {} of {}, {} failed", self.subject, state.done, self.total, state.failed);
        // What has run for longest is what one waits for.
        let current = state.running.first().map_or(String::new(), |entry| entry.id());
        let _ = match self.is_terminal {
            true => write!(io::stderr(), "\r{counts}  {current}\x1b[K"),
            false => writeln!(io::stderr(), "{counts}"),
        };
    }
}

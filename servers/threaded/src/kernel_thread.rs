//! A thread as the system knows it: to ask whether it runs or waits.

use std::fs;

use rustix::thread::{Pid, gettid};

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelThread(Pid);

thread_local! {
    static CURRENT: KernelThread = KernelThread(gettid());
}

impl KernelThread {
    /// The calling thread. Asks the system once.
    pub(crate) fn current() -> Self {
        CURRENT.with(|current| *current)
    }

    /// Whether it has a processor or waits for nothing but one. `false` also where the system does not tell.
    pub(crate) fn is_runnable(self) -> bool {
        let path = format!("/proc/self/task/{}/stat", self.0.as_raw_nonzero());
        // "number (name) state ...", and a name may have anything in it.
        let state = fs::read(path).ok().and_then(|stat| {
            let name_end = stat.iter().rposition(|byte| *byte == b')')?;
            stat.get(name_end + 2).copied()
        });
        state == Some(b'R')
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn who_computes_is_runnable_and_who_waits_is_not() {
        assert!(KernelThread::current().is_runnable());
        let (tell, told) = mpsc::channel();
        let (gate, waiting) = mpsc::channel::<()>();
        let other = thread::spawn(move || {
            tell.send(KernelThread::current()).unwrap();
            let _ = waiting.recv();
        });
        let thread: KernelThread = told.recv().unwrap();
        let stops = || {
            let begun = Instant::now();
            while thread.is_runnable() {
                assert!(begun.elapsed() < Duration::from_secs(30));
                thread::yield_now();
            }
        };
        stops();
        drop(gate);
        other.join().unwrap();
        // Joined is a little sooner than gone.
        stops();
    }
}

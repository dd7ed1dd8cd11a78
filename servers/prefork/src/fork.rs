//! `fork`, and the signal mask around it.
//!
//! One of the three places with unsafe code in this crate: no safe crate offers either call.
#![allow(unsafe_code)]

use std::{fs, io, mem::MaybeUninit};

use rustix::process::Pid;

/// Who one is after a fork.
pub(crate) enum Side {
    /// The one that forked, and whom.
    Parent(Pid),
    /// The new process.
    Child,
}

/// Makes a process that is a copy of this one.
///
/// # Errors
/// If the system refuses, or this process has other threads: a copy of it would have their locks but not them, so the
/// first use of the allocator could hang for ever (spec L3).
pub(crate) fn fork() -> io::Result<Side> {
    if let Some(threads) = threads().filter(|threads| *threads > 1) {
        return Err(io::Error::other(format!(
            "this process has {threads} threads, and a fork would copy only one of them with the locks of all: start threads \
             where the application is built, which is behind the fork"
        )));
    }
    // SAFETY: there is one thread, this one, so no lock is held by a thread that the child lacks; what the child may do is
    // not restricted then.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Pid::from_raw(pid).map(Side::Parent).ok_or_else(|| io::ErrorKind::Other.into()),
    }
}

/// How many threads this process has, where the system says so.
fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

/// Holds all signals back from this thread while it lives.
pub(crate) struct SignalsHeld {
    before: libc::sigset_t,
}

impl SignalsHeld {
    pub(crate) fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initialises the set it is given, and `pthread_sigmask` the old one unless it fails, which it
        // only does for a `how` that does not exist.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Self { before }
    }
}

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was valid before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

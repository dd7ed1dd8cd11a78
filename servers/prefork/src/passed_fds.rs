//! Descriptors that one program leaves open for the next, which it starts and tells their numbers.
//!
//! One of the three places with unsafe code in this crate: a number becomes a descriptor that is ours to close.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Descriptors that the next program shall find open. While this lives there must be no other that starts programs, which
/// holds for a process of one thread.
#[derive(Default)]
pub(crate) struct Passed<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Passed<'a> {
    /// Returns its number there.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'a>) -> io::Result<i32> {
        fcntl_setfd(fd, FdFlags::empty())?;
        self.0.push(fd);
        Ok(fd.as_raw_fd())
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        for fd in &self.0 {
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
}

/// The descriptor of this number, which was open when this program began.
pub(crate) fn take(number: &str) -> Option<OwnedFd> {
    let number = number.parse().ok().filter(|number| *number > 2)?;
    // SAFETY: the number is not -1; the borrow is used to ask for flags, which fails if nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // What this process has opened itself closes on exec, so what does not was passed to it; and what was taken once is
    // not taken again.
    if fcntl_getfd(borrowed).ok()?.contains(FdFlags::CLOEXEC) {
        return None;
    }
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: our parent has left it open for us to take, and told nobody else in this process: nobody but us reads the
    // variable, and only once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::{fd::IntoRawFd, unix::net::UnixStream};

    use super::*;

    #[test]
    fn descriptors_are_taken_only_if_they_were_passed_and_once() {
        let (ours, passed) = UnixStream::pair().unwrap();
        let number = |fd: &dyn AsRawFd| fd.as_raw_fd().to_string();
        assert!(take(&number(&ours)).is_none(), "it closes on exec, so nobody has passed it");
        let passed = {
            let copy = rustix::io::fcntl_dupfd_cloexec(&passed, 3).unwrap();
            fcntl_setfd(&copy, FdFlags::empty()).unwrap();
            copy.into_raw_fd().to_string()
        };
        let taken = take(&passed).unwrap();
        assert!(take(&passed).is_none());
        drop(taken);
        for nonsense in ["", "0", "2", "-1", "999999", "x"] {
            assert!(take(nonsense).is_none(), "{nonsense}");
        }
    }
}

//! Descriptors that whoever started this process left open for it (`fd:3`, systemd socket activation, inetd).
//!
//! The only unsafe code of this crate: a number from the command line becomes a descriptor.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// A descriptor of our own for the file behind `fd`; closed on exec. `fd` itself stays open and untouched.
///
/// Duplicating instead of taking over is what makes this safe: should the number name a descriptor that somebody
/// else in this process owns, theirs is not closed behind their back. It also keeps what the operator meant: a
/// listening socket that was passed in belongs to who passed it, and clients queue there while we restart.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `fd` is not -1. The borrow ends with this statement and the only use made of it is fcntl with
    // F_DUPFD_CLOEXEC, which touches no memory of ours, leaves the descriptor as it is, and fails with EBADF
    // when none is open under the number.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_original_stays_open() {
        let mut file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        let copy = duplicate(file.as_raw_fd()).unwrap();
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        drop(copy);
        file.read_exact(&mut [0; 8]).expect("still open");
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error() {
        assert!(duplicate(-1).is_err());
        assert!(duplicate(RawFd::MAX).is_err());
    }
}

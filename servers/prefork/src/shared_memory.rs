//! Memory that a process shares with those it forks.
//!
//! One of the three places with unsafe code in this crate: the mapping becomes a reference.
#![allow(unsafe_code)]

use std::{ffi::c_void, io, ops::Deref, ptr::NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::scoreboard::Table;

// SAFETY: atomics, and arrays and structs of them; zeros are valid for all.
unsafe impl Shareable for Table {}

/// What may live in shared memory.
///
/// # Safety
/// Memory that is all zeros is a valid value, and other processes may change it at any time: the type consists of atomics.
pub(crate) unsafe trait Shareable: Sync {}

/// A value that this process shares with those it forks from now on. Begins as zeros, and takes memory only where it was
/// written to.
pub(crate) struct SharedMemory<T: Shareable>(NonNull<T>);

impl<T: Shareable> SharedMemory<T> {
    /// # Errors
    /// If the system has no room for it.
    pub(crate) fn zeroed() -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: without an address to map at, nothing that exists is touched.
        let mapping = unsafe {
            mmap_anonymous(std::ptr::null_mut(), size_of::<T>(), ProtFlags::READ | ProtFlags::WRITE, flags)?
        };
        NonNull::new(mapping.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

impl<T: Shareable> Deref for SharedMemory<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is as large as a T, starts at a page, and so at any alignment that a T could want, holds zeros
        // at first, which `Shareable` promises to be a T, and stays until `self` is dropped. What others change meanwhile are
        // atomics, by the same promise.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Shareable> Drop for SharedMemory<T> {
    fn drop(&mut self) {
        // SAFETY: as it was mapped; whoever borrowed from it borrowed `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast::<c_void>(), size_of::<T>()) };
    }
}

// SAFETY: a pointer to memory that belongs to the value, which may be used from any thread (`Shareable` is `Sync`).
unsafe impl<T: Shareable> Send for SharedMemory<T> {}
// SAFETY: gives out shared references alone, to a type that is `Sync`.
unsafe impl<T: Shareable> Sync for SharedMemory<T> {}

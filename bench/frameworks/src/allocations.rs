//! Counts what is allocated.

#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only passes on what it is asked for"
)]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    ops::Sub,
};

use mimalloc::MiMalloc;

/// The allocator of the servers that are measured, with a count for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static SO_FAR: Cell<Allocations> = const { Cell::new(Allocations { number: 0, bytes: 0 }) };
}

/// How many, and of how many bytes together. One that grows counts again, whole.
#[derive(Clone, Copy, Default)]
pub(crate) struct Allocations {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Allocations {
    /// Those of this thread until now.
    pub(crate) fn so_far() -> Self {
        SO_FAR.get()
    }

    fn add(bytes: usize) {
        let Self { number, bytes: before } = SO_FAR.get();
        SO_FAR.set(Self { number: number + 1, bytes: before + bytes as u64 });
    }
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { number: self.number - before.number, bytes: self.bytes - before.bytes }
    }
}

// SAFETY: everything is passed on to mimalloc as it is. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Allocations::add(layout.size());
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Allocations::add(layout.size());
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Allocations::add(new_size);
        unsafe { MiMalloc.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(memory, layout) }
    }
}

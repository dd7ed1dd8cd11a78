//! An allocator that counts, to hold the toolkit and the frameworks on it to what a request may cost.

#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only passes on what it is asked for"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, header};
use varvel::{App, AsyncApp, Body, Mode, Scope};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it is. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often a sync call allocates that is made when the like has been before.
pub(crate) fn of_sync(app: &impl App, path: &'static str) -> usize {
    let mut count = 0;
    for _ in 0..2 {
        let (request, scope) = (request(path), Scope::for_test());
        // As servers have it: a slice of what was read, which is shared already.
        let _shared = request.uri().clone();
        count = counted(|| app.call(request, scope).unwrap());
    }
    count
}

/// The same for an async one, which must not wait.
pub(crate) fn of_polled(app: &impl AsyncApp, path: &'static str) -> usize {
    let mut count = 0;
    for _ in 0..2 {
        let (request, scope) = (request(path), Scope::for_test());
        let _shared = request.uri().clone();
        count = counted(|| {
            let mut call = pin!(app.call(request, scope));
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => answer.unwrap(),
                Poll::Pending => panic!("it waits"),
            }
        });
    }
    count
}

fn request<M: Mode>(path: &'static str) -> Request<Body<M>> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}

/// How often this thread allocates in there.
fn counted<T>(code: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    let result = code();
    let after = ALLOCATIONS.get();
    drop(result);
    after - before
}

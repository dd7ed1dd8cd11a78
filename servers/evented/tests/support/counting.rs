//! An allocator that counts, to hold a server to what a request may cost, and a connection. The tests of both servers use
//! it; each is a program with one test, since whatever another did meanwhile would be counted, too.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one only passes on what it is asked for"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Bytes that were ever allocated, by whichever thread.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated, by whichever thread.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many there were when the application was called last.
static AT_CALL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

// SAFETY: everything is passed on to the system's allocator as it is. Counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        LIVE.fetch_sub(layout.size(), SeqCst);
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), SeqCst);
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count(bytes: usize) {
    ALLOCATED.fetch_add(bytes, SeqCst);
    LIVE.fetch_add(bytes, SeqCst);
    if IS_COUNTED.get() {
        ALLOCATIONS.fetch_add(1, SeqCst);
    }
}

/// How many bytes were ever allocated.
pub(crate) fn allocated() -> usize {
    ALLOCATED.load(SeqCst)
}

/// How many bytes are allocated.
pub(crate) fn live() -> usize {
    LIVE.load(SeqCst)
}

/// Runs what is not the server's: the client, and what an application makes for itself.
pub(crate) fn uncounted<T>(code: impl FnOnce() -> T) -> T {
    let before = IS_COUNTED.replace(false);
    let result = code();
    IS_COUNTED.set(before);
    result
}

/// For the application to tell that it is called. From one call to the next everything has happened once that happens for
/// each, whereas the client has its answer before the server is through with it.
pub(crate) fn called() {
    AT_CALL.store(ALLOCATIONS.load(SeqCst), SeqCst);
}

/// What ends the body of every answer, and is nowhere else in it.
pub(crate) const END: &str = "the end\n";

pub(crate) const HELLO: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

pub(crate) const BROWSER: &str = "GET / HTTP/1.1\r\nHost: test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0b54f1c2a7d84e6f9f03\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: none\r\n\r\n";

pub(crate) const STREAM: &str = "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n";

/// Its answer is the body of a KiB that it sends along.
pub(crate) fn post() -> String {
    let body = "x".repeat(1024 - END.len()) + END;
    format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// How often the server allocates for so many requests that are sent at once, when it has seen the like before. What
/// happens in less than every second round is not told.
pub(crate) fn allocations(stream: &mut TcpStream, request: &str, requests: usize) -> usize {
    const WARM_UP: usize = 100;
    const ROUNDS: usize = 400;
    let round = request.repeat(requests);
    let mut play = |rounds| {
        for _ in 0..rounds {
            stream.write_all(round.as_bytes()).unwrap();
            read_answers(stream, requests);
        }
        AT_CALL.load(SeqCst)
    };
    let before = play(WARM_UP);
    (play(ROUNDS) - before + ROUNDS / 2) / ROUNDS
}

fn read_answers(stream: &mut TcpStream, number: usize) {
    let mut answers = Vec::new();
    let mut piece = [0; 16 * 1024];
    while answers.windows(END.len()).filter(|window| *window == END.as_bytes()).count() < number {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the server closed the connection after {}", answers.escape_ascii());
        answers.extend_from_slice(&piece[..read]);
    }
}

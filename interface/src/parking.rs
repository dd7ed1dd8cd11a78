//! A thread that polls, and sleeps in between.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Polls on this thread until it is done.
pub(crate) fn poll_parked(poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<()>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    WAKER.with(|waker| {
        let mut cx = Context::from_waker(waker);
        while poll(&mut cx).is_pending() {
            // A wake-up before this point is remembered; one that was meant for an earlier wait only polls once too often.
            thread::park();
        }
    });
}

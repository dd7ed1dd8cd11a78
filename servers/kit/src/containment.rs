//! Code of the application is run where its panics go no further.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
};

use varvel::{Event, Phase};

use crate::gateway::panic_message;

/// Runs code of the application; a panic in it is reported and goes no further (spec E6, E7).
pub fn contain<T>(during: Phase, report: impl FnOnce(Event<'_>), code: impl FnOnce() -> T) -> Option<T> {
    // Whatever the panic left half done belongs to the application, which is told by its own means.
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(panic) => {
            report(Event::Panicked { during, message: panic_message(&*panic) });
            discard(panic);
            None
        }
    }
}

/// Wakes all of them, who are the application's and so may do anything. If one panics, that goes on when all are woken.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut panicked = None;
    for waker in wakers {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            if let Some(earlier) = panicked.replace(panic) {
                discard(earlier);
            }
        }
    }
    if let Some(panic) = panicked {
        resume_unwind(panic);
    }
}

/// Drops what a panic carried, which may panic once more.
pub fn discard(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        task::Wake,
    };

    use super::*;

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_woken() {
        struct Tell(mpsc::Sender<()>);
        impl Wake for Tell {
            fn wake(self: Arc<Self>) {
                self.0.send(()).unwrap();
                panic!("a waker");
            }
        }
        let (sender, woken) = mpsc::channel();
        let wakers = [sender.clone(), sender].map(|sender| Waker::from(Arc::new(Tell(sender))));
        assert!(catch_unwind(AssertUnwindSafe(|| wake_all(wakers))).is_err());
        assert_eq!(woken.iter().count(), 2);
    }

    #[test]
    fn a_panic_is_reported_even_if_what_it_carried_panics_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the second");
            }
        }
        let mut reports = 0;
        let outcome: Option<()> = contain(Phase::Call, |_| reports += 1, || std::panic::panic_any(Bomb));
        assert_eq!(outcome, None);
        assert_eq!(reports, 1);
        assert_eq!(contain(Phase::Call, |_| unreachable!(), || 7), Some(7));
    }
}

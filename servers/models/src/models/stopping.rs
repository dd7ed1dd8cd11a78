//! The stopping signal: whoever waits for it is woken.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use loom::{sync::atomic::AtomicBool, sync::atomic::Ordering::SeqCst, thread};

use crate::stopping::Stopping;

pub(crate) const ALL: &[crate::Model] =
    &[("stopping: nobody waits for what has happened", raised_while_polled)];

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

fn raised_while_polled() {
    let stopping = Arc::new(Stopping::default());
    let raiser = Arc::clone(&stopping);
    let raising = thread::spawn(move || raiser.raise());
    let flags = [(); 2].map(|()| Arc::new(Flag(AtomicBool::new(false))));
    let ready = flags.each_ref().map(|flag| {
        let waker = Waker::from(Arc::clone(flag));
        stopping.poll(&mut Context::from_waker(&waker)).is_ready()
    });
    raising.join().unwrap();
    assert!(stopping.is_raised());
    for (flag, ready) in flags.iter().zip(ready) {
        assert!(ready || flag.0.load(SeqCst), "one waits for ever");
    }
}

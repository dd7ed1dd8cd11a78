//! Informational heads: each is sent, or refused to who wanted it sent.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use loom::{
    sync::atomic::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
    thread,
};

use crate::interims::Interims;

pub(crate) const ALL: &[crate::Model] = &[
    ("interims: none is lost beside the final head", beside_the_final_head),
    ("interims: none is lost of who has left", of_who_has_left),
    ("interims: two threads that send", from_two_threads),
];

fn beside_the_final_head() {
    let interims = Arc::new(Interims::default());
    interims.open(1, false);
    let application = Arc::clone(&interims);
    let adding =
        thread::spawn(move || application.add(1, StatusCode::EARLY_HINTS, &HeaderMap::new()).is_ok());
    let sent = interims.take().len() + interims.close().len();
    let accepted = adding.join().unwrap();
    assert_eq!(sent, usize::from(accepted));
    assert!(interims.take().is_empty(), "one lies there for the next exchange");
}

/// As `hook_of_who_has_left` among the [models of exchanges](super::exchanges).
fn of_who_has_left() {
    let (interims, holders) = (Arc::new(Interims::default()), Arc::new(AtomicUsize::new(1)));
    interims.open(1, false);
    let (application, leaving) = (Arc::clone(&interims), Arc::clone(&holders));
    let adding = thread::spawn(move || {
        let accepted = application.add(1, StatusCode::EARLY_HINTS, &HeaderMap::new()).is_ok();
        leaving.fetch_sub(1, Release);
        accepted
    });
    let is_unobserved = holders.load(Relaxed) == 0;
    fence(Acquire);
    let sent = if is_unobserved { interims.close_unobserved().len() } else { interims.close().len() };
    assert_eq!(sent, usize::from(adding.join().unwrap()));
}

fn from_two_threads() {
    let interims = Arc::new(Interims::default());
    interims.open(1, false);
    let adding = [(); 2].map(|()| {
        let application = Arc::clone(&interims);
        thread::spawn(move || application.add(1, StatusCode::EARLY_HINTS, &HeaderMap::new()).is_ok())
    });
    let sent = interims.close().len();
    let accepted = adding.map(|adding| usize::from(adding.join().unwrap()));
    assert_eq!(sent, accepted[0] + accepted[1]);
    assert!(interims.take().is_empty(), "one lies there for the next exchange");
}

//! Informational heads: each is sent, or refused to who wanted it sent.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use loom::thread;

use crate::interims::Interims;

pub(crate) const ALL: &[crate::Model] = &[
    ("interims: none is lost beside the final head", beside_the_final_head),
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

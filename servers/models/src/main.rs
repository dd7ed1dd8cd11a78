//! Plays through all orders in which threads can meet where the servers synchronise them by hand.
//!
//! The modules below are those of the servers, file by file; only `sync`, by which they share their state, is loom's.
//! loom runs a model again and again, each time with another order of its threads and other values that a weakly ordered
//! memory may show them, until it has seen all. It takes `SeqCst` for acquire and release, so what holds here does not
//! depend on the total order of such accesses.
//!
//! `cargo run --release` runs all models, with an argument those that have it in their name. A model of a synchronisation
//! that is broken on purpose fails; try it with a `swap` that is made a `store`.

mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
}

// Of the kit.
#[path = "../../kit/src/containment.rs"]
#[allow(dead_code)]
mod containment;
#[path = "../../kit/src/gateway/exchanges.rs"]
#[allow(dead_code)]
mod exchanges;
#[path = "../../kit/src/gateway/failure.rs"]
#[allow(dead_code)]
mod failure;
#[path = "../../kit/src/stopping.rs"]
mod stopping;

// Of the evented server.
#[path = "../../evented/src/interims.rs"]
#[allow(dead_code)]
mod interims;
#[path = "../../evented/src/mailbox.rs"]
#[allow(dead_code)]
mod mailbox;

/// Where the kit has it.
mod gateway {
    pub(crate) use crate::failure::panic_message;
}

/// Stands in for a connection that a mailbox holds.
mod accept {
    pub(crate) struct Accepted;
}

mod models {
    pub(crate) mod exchanges;
    pub(crate) mod interims;
    pub(crate) mod mailbox;
    pub(crate) mod stopping;
}

type Model = (&'static str, fn());

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all: [&[Model]; 4] =
        [models::mailbox::ALL, models::interims::ALL, models::exchanges::ALL, models::stopping::ALL];
    let all = all.concat();
    let chosen: Vec<_> = all.iter().filter(|(name, _)| name.contains(&wanted)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        eprintln!("no model has {wanted:?} in its name; there are:\n  {}", names.join("\n  "));
        std::process::exit(2);
    }
    for &&(name, model) in &chosen {
        let began = std::time::Instant::now();
        let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&runs);
        loom::model(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            model();
        });
        println!(
            "{name}: {} orders in {:.1?}",
            runs.load(std::sync::atomic::Ordering::Relaxed),
            began.elapsed()
        );
    }
}

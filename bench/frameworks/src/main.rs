//! What a framework costs: one route with a field and an answer in JSON, called in process, beside an application that does
//! the same by hand on the bare contract.
//!
//! ```text
//!   timed:    call -> routing -> the field as a number -> JSON -> head and body, read through -> dropped
//!   not:      what a server does before, which makes the request
//! ```
//!
//! It prints a JSON line for each subject and size of the table of routes. With `--once` each answers one batch, after a first one,
//! which is enough for a tool that counts instructions: those in functions called `answer_batch`.

mod allocations;
mod ours;
mod peers;
mod subject;

use std::time::Duration;

use serde::Serialize;

use crate::{
    allocations::Allocations,
    ours::{Async, Sync},
    subject::{BATCH, Batches, Measured, Subject},
};

/// How often each is measured.
const ROUNDS: usize = 1000;

/// Batches of a round that count, after one that only reminds the processor.
const BATCHES: usize = 4;

const ROUTES: [usize; 4] = [1, 10, 100, 1000];

fn main() {
    let mut trials: Vec<_> = ROUTES.into_iter().flat_map(trials).collect();
    if std::env::args().any(|argument| argument == "--once") {
        trials.iter_mut().for_each(Trial::once);
    } else {
        // One after the other, so that a slower time of the machine meets all.
        (0..ROUNDS).for_each(|_| trials.iter_mut().for_each(Trial::round));
    }
    for trial in &trials {
        let is_its_bare = |other: &&Trial| {
            (other.framework, other.form, other.routes) == ("bare", trial.form, trial.routes)
        };
        let bare = trials.iter().find(is_its_bare).expect("each form has a bare one");
        println!("{}", serde_json::to_string(&trial.row(bare)).expect("it is JSON"));
    }
}

/// All subjects, with tables of so many routes.
fn trials(routes: usize) -> Vec<Trial> {
    fn sync_form(framework: &'static str, app: impl varvel::App + 'static) -> Trial {
        Trial::new(framework, "sync", Sync::new(app))
    }
    fn async_form(framework: &'static str, app: impl varvel::AsyncApp + 'static) -> Trial {
        Trial::new(framework, "async", Async::new(app))
    }
    let mut trials = vec![
        async_form("bare", ours::bare_async()),
        async_form("varvel-toolkit", ours::toolkit_async(routes)),
        async_form("varvel-resource", ours::resource_async(routes)),
        async_form(
            "varvel-resource, idle middleware",
            ours::with_idle_middleware(ours::resource_async(routes)),
        ),
        async_form("varvel-micro", ours::micro_async(routes)),
        Trial::new("axum", "async", peers::Axum::new(routes)),
        Trial::new("actix-web", "async", peers::actix(routes)),
        sync_form("bare", ours::bare_sync()),
        sync_form("varvel-toolkit", ours::toolkit_sync(routes)),
        sync_form("varvel-resource", ours::resource_sync(routes)),
        sync_form(
            "varvel-resource, idle middleware",
            ours::with_idle_middleware(ours::resource_sync(routes)),
        ),
        sync_form("varvel-micro", ours::micro_sync(routes)),
    ];
    trials.iter_mut().for_each(|trial| trial.routes = routes);
    trials
}

/// A subject and what has been measured of it.
struct Trial {
    framework: &'static str,
    form: &'static str,
    routes: usize,
    subject: Box<dyn Batches>,
    /// Nanoseconds of a request, by round.
    times: Vec<f64>,
    /// Of the last batch: they are always the same.
    allocations: Allocations,
}

impl Trial {
    fn new(framework: &'static str, form: &'static str, subject: impl Subject + 'static) -> Self {
        let subject = Box::new(Measured::new(subject));
        Self { framework, form, routes: 0, subject, times: Vec::new(), allocations: Allocations::default() }
    }

    fn once(&mut self) {
        let (time, allocations) = self.subject.batch();
        self.times.push(time.as_secs_f64() * 1e9 / BATCH as f64);
        self.allocations = allocations;
    }

    fn round(&mut self) {
        self.subject.batch();
        let time: Duration = (0..BATCHES)
            .map(|_| {
                let (time, allocations) = self.subject.batch();
                self.allocations = allocations;
                time
            })
            .sum();
        self.times.push(time.as_secs_f64() * 1e9 / (BATCHES * BATCH) as f64);
    }

    fn row(&self, bare: &Self) -> Row {
        let ratios = self.times.iter().zip(&bare.times).map(|(time, bare)| time / bare);
        Row {
            framework: self.framework,
            form: self.form,
            routes: self.routes,
            batch: BATCH,
            least: self.times.iter().copied().fold(f64::INFINITY, f64::min),
            median: median(self.times.clone()),
            ratio: median(ratios.collect()),
            allocations: self.allocations.number as f64 / BATCH as f64,
            bytes: self.allocations.bytes as f64 / BATCH as f64,
        }
    }
}

/// A line of the output. Times are nanoseconds of a request, allocations are those of one.
#[derive(Serialize)]
struct Row {
    framework: &'static str,
    form: &'static str,
    routes: usize,
    /// How many requests `--once` answers.
    batch: usize,
    least: f64,
    median: f64,
    /// To the bare application of the same form in the same round, in the median.
    ratio: f64,
    allocations: f64,
    bytes: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

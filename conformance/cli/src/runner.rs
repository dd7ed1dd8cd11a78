//! Runs entries on several threads.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use varvel_conformance::{Entry, Finding};

use crate::progress::Progress;

/// Runs all of them, `jobs` at a time, and tells how far it is. The findings come in the order in which they ended.
pub(crate) fn run_all(
    entries: &[Entry],
    jobs: usize,
    progress: &Progress,
    run: impl Fn(Entry) -> Finding + Sync,
) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let findings = Mutex::new(Vec::with_capacity(entries.len()));
    thread::scope(|scope| {
        for _ in 0..jobs.min(entries.len()) {
            scope.spawn(|| {
                while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    progress.begins(*entry);
                    let finding = run(*entry);
                    progress.ended(&finding);
                    findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
                }
            });
        }
    });
    progress.finish();
    findings.into_inner().unwrap_or_else(PoisonError::into_inner)
}

//! Runs entries on several threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use varvel_conformance::{Entry, Evidence, Failure, Finding, Mark};

use crate::progress::Progress;

/// Runs all of them, `jobs` at a time, and tells how far it is. The findings come in the order in which they ended; what
/// panics has failed.
pub(crate) fn run_all(
    entries: &[Entry],
    jobs: usize,
    progress: &Progress,
    run: impl Fn(Entry) -> Finding + Sync,
) -> Vec<Finding> {
    // What happens to one must not take the report of all others with it.
    let run = |entry| catch_unwind(AssertUnwindSafe(|| run(entry))).unwrap_or_else(|_| panicked(entry));
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

fn panicked(entry: Entry) -> Finding {
    let failure = Failure::new("a verdict", "it panicked; the message is above");
    Finding {
        evidence: Some(Evidence { failure, transcript: String::new() }),
        ..Finding::of(entry, Mark::Failed)
    }
}

#[cfg(test)]
mod tests {
    use varvel_conformance::entries;

    use super::*;

    #[test]
    fn a_panic_fails_what_was_run_and_ends_nothing() {
        let entries: Vec<Entry> = entries().take(8).collect();
        let findings = run_all(&entries, 2, &Progress::new("test", entries.len()), |entry| {
            assert!(entry != entries[1], "planned");
            Finding::of(entry, Mark::Passed)
        });
        assert_eq!(findings.len(), entries.len());
        for finding in findings {
            assert_eq!(finding.mark == Mark::Failed, finding.entry == entries[1]);
        }
    }
}

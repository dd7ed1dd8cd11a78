//! The `main` of a test that runs the suite.

use std::{
    panic::{self, AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    Check, Failure, Outcome, Subject, Suite, checks,
    report::{NOT_STARTED, Report, explain},
};

/// Makes the `main` of a test with `harness = false` that checks these [subjects](crate::Subject).
///
/// ```
/// # use varvel_conformance::broken::Reference;
/// # mod example {
/// # use super::Reference;
/// varvel_conformance::conformance!(Reference::new(), Reference::new().bridged());
/// # }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($($subject:expr),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run(::std::vec![$(::std::sync::Arc::new($subject)),+])
        }
    };
}

/// More than there are processors: checks mostly wait.
const THREADS: usize = 8;

/// What has become of the checks of one subject.
type Results = Arc<Mutex<Vec<(&'static Check, Outcome)>>>;

/// Runs all checks against each of these servers, as the arguments of the program say, which are those of `cargo test`,
/// and prints a report for each.
pub fn run(subjects: Vec<Arc<dyn Subject>>) -> ExitCode {
    silence_planned_panics();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // Several subjects in one run are told apart by the kind of their trials.
    let runs: Vec<(Arc<Suite>, Results)> =
        subjects.into_iter().map(|subject| (Arc::new(Suite::new(subject)), Results::default())).collect();
    let several = runs.len() > 1;
    let trials = runs.iter().flat_map(|(suite, results)| {
        checks().map(move |check| {
            let trial = trial(Arc::clone(suite), check, Arc::clone(results), several);
            if several { trial.with_kind(suite.subject().name()) } else { trial }
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if arguments.list {
        return conclusion.exit_code();
    }
    let ran = conclusion.num_passed + conclusion.num_failed + conclusion.num_ignored;
    // Only for what is meant for the suite: `cargo test NAME` asks the other tests of the package as well.
    let meant = |filter: &&String| {
        filter.contains('/') || filter.starts_with(|first: char| first.is_ascii_uppercase())
    };
    if let (Some(filter), 0, false) = (arguments.filter.as_ref().filter(meant), ran, arguments.ignored) {
        println!("error: no check matches {filter:?}; `--list` shows them");
        return ExitCode::FAILURE;
    }
    // A runner that asks for one test by name shows its outcome itself.
    if arguments.exact {
        return conclusion.exit_code();
    }

    let mut stale = false;
    for (suite, results) in &runs {
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        if results.is_empty() {
            continue;
        }
        results.sort_by_key(|(check, _)| (check.clause, checks().position(|other| other.id() == check.id())));
        let report = Report { suite, results: &results, complete: conclusion.num_filtered_out == 0 };
        println!("{report}");
        for skip in report.stale_skips() {
            stale = true;
            println!("error: {} passes; delete the skip of {:?} ({})", skip.id, skip.id, skip.reason);
        }
    }
    if stale { ExitCode::FAILURE } else { conclusion.exit_code() }
}

fn trial(suite: Arc<Suite>, check: &'static Check, results: Results, several: bool) -> Trial {
    let name = match several {
        // The kind is not part of what filters look at.
        true => format!("{}/{}", suite.subject().name(), check.id()),
        false => check.id(),
    };
    Trial::ignorable_test(name, move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| suite.run(check)));
        let outcome = outcome.unwrap_or_else(|_| Outcome::Failed {
            failure: Failure::new("a check that comes to a verdict", "it panicked; the message is above"),
            transcript: String::new(),
        });
        results.lock().unwrap_or_else(PoisonError::into_inner).push((check, outcome.clone()));
        match (outcome, suite.skip(check)) {
            (Outcome::Passed, _) => Ok(Completion::Completed),
            (Outcome::DoesNotApply(reason), _) => Ok(Completion::ignored_with(reason)),
            (Outcome::NotStarted { failure, transcript }, _) => {
                Err(Failed::from(format!("{NOT_STARTED}, and no check was run\n\n{failure}\n\n{transcript}")))
            }
            (Outcome::NotRun, _) => Ok(Completion::ignored_with(format!("not run: {NOT_STARTED}"))),
            (Outcome::Failed { .. }, Some(skip)) => Ok(Completion::ignored_with(skip.reason)),
            (Outcome::Failed { failure, .. }, None) if !check.clause.level.is_required() => {
                Ok(Completion::ignored_with(format!("{} not met: {}", check.clause.level, failure.brief())))
            }
            (Outcome::Failed { failure, transcript }, None) => {
                Err(Failed::from(explain(check, &failure, &transcript)))
            }
        }
    })
}

/// Keeps the panics that the probe was told to make out of the output; all others are shown as before. [`run`] does.
pub fn silence_planned_panics() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        if !text.is_some_and(|text| text.starts_with("probe: planned")) {
            show(info);
        }
    }));
}

//! The `main` of a test that runs the suite.

use std::{
    panic,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{
    Entry, Evidence, Finding, Mark, Report, Subject, Suite, entries,
    report::{MANY, Table, count},
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
const THREADS: usize = 16;

/// What was found of one subject.
type Findings = Arc<Mutex<Vec<Finding>>>;

/// Runs all there is against each of these servers, as the arguments of the program say, which are those of `cargo
/// test`, and prints a report for each.
pub fn run(subjects: Vec<Arc<dyn Subject>>) -> ExitCode {
    silence_planned_panics();
    let began = Instant::now();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // Several subjects in one run are told apart by the kind of their trials.
    let runs: Vec<(Arc<Suite>, Findings)> =
        subjects.into_iter().map(|subject| (Arc::new(Suite::new(subject)), Findings::default())).collect();
    let several = runs.len() > 1;
    let filter = arguments.filter.clone();
    // The id of a clause asks for all that names it, of which the names of vectors do not tell.
    let clause = arguments.filter.take_if(|filter| !arguments.exact && varvel_spec::clause(filter).is_some());
    let is_asked_for = |entry: &Entry| clause.as_ref().is_none_or(|clause| entry.is_named(clause));
    let trials = runs.iter().flat_map(|(suite, findings)| {
        entries().filter(is_asked_for).map(move |entry| {
            let trial = trial(Arc::clone(suite), entry, Arc::clone(findings), several);
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
    if let (Some(filter), 0, false) = (filter.as_ref().filter(meant), ran, arguments.ignored) {
        println!("error: no check matches {filter:?}; `--list` shows them");
        return ExitCode::FAILURE;
    }
    // A runner that asks for one test by name shows its outcome itself.
    if arguments.exact {
        return conclusion.exit_code();
    }

    let complete = clause.is_none() && conclusion.num_filtered_out == 0;
    let mut stale = false;
    for (suite, findings) in &runs {
        let findings = std::mem::take(&mut *findings.lock().unwrap_or_else(PoisonError::into_inner));
        if findings.is_empty() {
            continue;
        }
        let report = suite.report(findings, complete, COMMAND, began.elapsed());
        let report = Report { choice: "--", ..report };
        println!("{}", Table(&report));
        for skip in suite.stale_skips(&report) {
            stale = true;
            println!("error: {} passes; delete the skip of {:?} ({})", skip.id, skip.id, skip.reason);
        }
    }
    if stale { ExitCode::FAILURE } else { conclusion.exit_code() }
}

fn trial(suite: Arc<Suite>, entry: Entry, findings: Findings, several: bool) -> Trial {
    let id = match entry {
        Entry::Check(check) => check.id(),
        Entry::Vector(vector) => format!("corpus/{}", vector.id()),
    };
    let name = match several {
        // The kind is not part of what filters look at.
        true => format!("{}/{id}", suite.subject().name()),
        false => id,
    };
    Trial::ignorable_test(name, move || {
        let finding = suite.find(entry);
        let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
        let conclusion = conclusion(&finding, count(&*findings, Mark::Failed) >= MANY);
        findings.push(finding);
        conclusion
    })
}

/// The command that runs everything, which takes the ids of what to run behind a further `--`.
const COMMAND: &str = "cargo test --test conformance";

/// What a finding is to a runner of tests, which knows no warnings. In brief, a failure is two lines.
fn conclusion(finding: &Finding, in_brief: bool) -> Result<Completion, Failed> {
    let why = finding.reason.as_deref().unwrap_or_default();
    match (finding.mark, &finding.evidence) {
        (Mark::Failed, Some(_)) if in_brief => {
            Err(format!("{}\nfull text: {COMMAND} -- {}", finding.brief(), finding.entry.id()).into())
        }
        (Mark::Failed, Some(Evidence { failure, transcript })) => {
            Err(format!("{}\n\n{failure}\n\n{transcript}", finding.about()).into())
        }
        (Mark::Skipped | Mark::LeftOut | Mark::NotRun, _) => Ok(Completion::ignored_with(why)),
        (mark @ (Mark::Warned | Mark::Noted), Some(_)) => Ok(Completion::ignored_with(format!(
            "{mark}: {} not met: {}",
            finding.entry.level(),
            finding.brief()
        ))),
        _ => Ok(Completion::Completed),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    #[test]
    fn of_many_failures_each_is_two_lines_with_the_way_to_the_rest() {
        let entry = entries().find(|entry| entry.vector().is_some()).unwrap();
        let evidence = Evidence { failure: Failure::new("this", "that"), transcript: "> GET".to_owned() };
        let finding = Finding { evidence: Some(evidence), ..Finding::of(entry, Mark::Failed) };
        let text = |in_brief| {
            conclusion(&finding, in_brief).err().expect("a failure").message().unwrap_or_default().to_owned()
        };
        let brief =
            format!("expected this; seen that\nfull text: cargo test --test conformance -- {}", entry.id());
        assert_eq!(text(true), brief);
        assert!(text(false).contains("> GET") && text(false).contains(&entry.explanation()));
    }
}

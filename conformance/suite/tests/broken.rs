//! Whether the checks can be trusted: each passes against the reference server, and catches every fault that it names.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use varvel::Caps;
use varvel_conformance::{
    Check, Outcome, Suite,
    broken::{Fault, Reference},
    checks,
};

/// The reference server as it is: for sync applications, for async ones, and with other capabilities. Not every check
/// applies to all.
fn references() -> [(&'static str, Reference); 4] {
    let half_close = Reference::CAPS.with(Caps::HALF_CLOSE);
    [
        ("sync", Reference::new()),
        ("async", Reference::new().bridged()),
        ("half-close", Reference::new().bridged().with_caps(half_close)),
        ("bare", Reference::new().with_caps(Caps::NONE)),
    ]
}

fn main() -> ExitCode {
    varvel_conformance::silence_planned_panics();
    let mut arguments = Arguments::from_args();
    // They wait for things that do not happen, most of the time.
    arguments.test_threads.get_or_insert(16);
    let mut trials =
        vec![Trial::test("every check has a fault and a name of its own", every_check_has_a_fault)];
    for (name, reference) in references() {
        let suite = Arc::new(Suite::new(Arc::new(reference)));
        for check in checks() {
            let suite = Arc::clone(&suite);
            let name = format!("right/{}/{name}", check.id());
            trials.push(Trial::ignorable_test(name, move || passes(&suite, check)));
        }
    }
    for check in checks() {
        for fault in check.caught {
            let name = format!("wrong/{}/{fault:?}", check.id());
            trials.push(Trial::test(name, move || is_caught(check, *fault)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_check_has_a_fault() -> Result<(), Failed> {
    let mut ids = BTreeSet::new();
    for check in checks() {
        if check.caught.is_empty() {
            return Err(format!("{} names no fault that it catches", check.id()).into());
        }
        if !ids.insert(check.id()) {
            return Err(format!("two checks are called {}", check.id()).into());
        }
    }
    Ok(())
}

fn passes(suite: &Suite, check: &Check) -> Result<Completion, Failed> {
    match suite.run(check) {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::DoesNotApply(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed { failure, transcript } | Outcome::NotStarted { failure, transcript } => {
            Err(format!("{failure}\n{transcript}").into())
        }
        Outcome::NotRun => Err("the server did not start".into()),
    }
}

/// By one of them at least. That a server does not start is no verdict of the check.
/// How often a fault may go unnoticed. Some faults are races that the scheduler of a busy machine decides; a check that
/// does not see one in so many tries is not to be trusted.
const TRIES: u32 = 10;

fn is_caught(check: &Check, fault: Fault) -> Result<(), Failed> {
    let mut outcomes = Vec::new();
    for _ in 0..TRIES {
        outcomes.clear();
        for (name, reference) in references() {
            let suite = Suite::new(Arc::new(reference.with_fault(fault)));
            match suite.run(check) {
                Outcome::Failed { .. } => return Ok(()),
                outcome => outcomes.push((name, outcome)),
            }
        }
    }
    Err(format!("the fault goes unnoticed: {outcomes:?}").into())
}

//! Whether the checks can be trusted: each passes against the reference server, and catches every fault that it names.

use std::{
    collections::BTreeSet,
    env,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

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
    for (nth, (name, reference)) in references().into_iter().enumerate() {
        let suite = Arc::new(Suite::new(Arc::new(reference)));
        // What is measured is the same for all of them, and takes its time.
        for check in checks().filter(|check| nth == 0 || !check.alone) {
            let suite = Arc::clone(&suite);
            trials.push(trial(check, format!("right/{}/{name}", check.id()), move || passes(&suite, check)));
        }
    }
    for check in checks() {
        for fault in check.caught {
            let name = format!("wrong/{}/{fault:?}", check.id());
            trials.push(trial(check, name, move || is_caught(check, *fault)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Set in the processes that checks have for themselves.
const OWN_PROCESS: &str = "VARVEL_CONFORMANCE_OWN_PROCESS";

/// A trial; of a check that runs alone in a process of its own, whose memory nobody else has used, while the others go on
/// here.
fn trial(
    check: &Check,
    name: String,
    run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
) -> Trial {
    if !check.alone || env::var_os(OWN_PROCESS).is_some() {
        return Trial::ignorable_test(name, run);
    }
    let exact = name.clone();
    Trial::test(name, move || {
        static ONE_BY_ONE: Mutex<()> = Mutex::new(());
        let _turn = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let process =
            Command::new(env::current_exe()?).args(["--exact", &exact]).env(OWN_PROCESS, "1").output()?;
        if process.status.success() {
            return Ok(());
        }
        Err([process.stdout, process.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
            .into())
    })
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

/// How long a wrong server is waited for. It need not be right, so nothing is lost where a busy machine delays it; and many
/// faults are that something never comes.
const LIMIT: Duration = Duration::from_secs(3);

/// How often a fault may hide. A server that a busy machine keeps from running looks for a while like one that waits as it
/// should; a check that does not see the fault at all never catches it.
const ATTEMPTS: usize = 3;

/// By one of them at least. That a server does not start is no verdict of the check.
fn is_caught(check: &Check, fault: Fault) -> Result<Completion, Failed> {
    let mut outcomes = Vec::new();
    for (name, reference) in (0..ATTEMPTS).flat_map(|_| references()) {
        let suite = Suite::new(Arc::new(reference.with_fault(fault))).with_limit(LIMIT);
        match suite.run(check) {
            Outcome::Failed { .. } => return Ok(Completion::Completed),
            outcome => outcomes.push((name, outcome)),
        }
    }
    Err(format!("the fault goes unnoticed: {outcomes:?}").into())
}

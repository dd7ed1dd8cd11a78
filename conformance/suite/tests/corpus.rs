//! The corpus against the reference server.

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use varvel_conformance::{
    Outcome, Suite,
    broken::Reference,
    corpus::{self, Vector},
};

/// Vectors that the reference server does not meet, each with the reason.
const NOT_MET: &[(&str, &str)] = &[
    ("timeouts/body-in-drops", "it knows no least pace of a body"),
    ("smuggling/behind-a-connect-that-is-refused", "it keeps the connection, as U2 permits"),
];

fn main() -> ExitCode {
    varvel_conformance::silence_planned_panics();
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads.get_or_insert(8);
    let suite = Arc::new(Suite::new(Arc::new(Reference::new())));
    let trials = corpus::vectors().iter().map(|vector| {
        let suite = Arc::clone(&suite);
        Trial::ignorable_test(vector.id(), move || is_met(&suite, vector))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn is_met(suite: &Suite, vector: &Vector) -> Result<Completion, Failed> {
    let reason = NOT_MET.iter().find(|(id, _)| *id == vector.id()).map(|(_, reason)| *reason);
    match (suite.examine(vector), reason) {
        (Outcome::Passed, None) => Ok(Completion::Completed),
        (Outcome::Passed, Some(reason)) => Err(format!("it is met, in spite of the reason: {reason}").into()),
        (Outcome::Failed { .. }, Some(reason)) => Ok(Completion::ignored_with(reason)),
        (Outcome::DoesNotApply(reason), _) => Ok(Completion::ignored_with(reason)),
        (Outcome::Failed { failure, transcript } | Outcome::NotStarted { failure, transcript }, _) => {
            Err(format!("{vector}\n\n{failure}\n\n{transcript}").into())
        }
        (Outcome::NotRun, _) => Err("the server did not start".into()),
    }
}

//! The corpus against the reference server.

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use varvel_conformance::{Outcome, Suite, broken::Reference, corpus};

fn main() -> ExitCode {
    varvel_conformance::silence_planned_panics();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(8);
    let suite = Arc::new(Suite::new(Arc::new(Reference::new())));
    let trials = corpus::vectors().iter().map(|vector| {
        let suite = Arc::clone(&suite);
        Trial::ignorable_test(vector.id(), move || match suite.examine(vector) {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::DoesNotApply(reason) => Ok(Completion::ignored_with(reason)),
            Outcome::Failed { failure, transcript } | Outcome::NotStarted { failure, transcript } => {
                Err(Failed::from(format!("{vector}\n\n{failure}\n\n{transcript}")))
            }
            Outcome::NotRun => Err("the server did not start".into()),
        })
    });
    let format = Trial::test("keeps to its format", || match corpus::mistakes() {
        [] => Ok(()),
        mistakes => Err(Failed::from(mistakes.join("\n"))),
    });
    libtest_mimic::run(&arguments, trials.chain([format]).collect()).exit_code()
}

//! The corpus against all our servers at once: what they send is the same, byte for byte, but for the date.
//!
//! Each of them is right by itself, as their own tests show; here it is seen that whoever changes the server, or the form
//! of the application, changes nothing that a client could notice.

#[path = "../src/servers.rs"]
mod servers;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use varvel_conformance::{
    Suite,
    corpus::{Delivery, Vector, vectors},
    silence_planned_panics,
};

fn main() -> ExitCode {
    if let Some(status) = servers::serve_apart() {
        return status;
    }
    silence_planned_panics();
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads.get_or_insert(8);
    let ours =
        servers::servers().into_iter().flat_map(|server| servers::forms(server, None).expect("its name"));
    let suites: Arc<[Suite]> = ours.map(|form| Suite::new(form.subject())).collect();
    let trials = vectors().iter().map(|vector| {
        let suites = Arc::clone(&suites);
        Trial::test(vector.id(), move || are_the_same(&suites, vector))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn are_the_same(suites: &[Suite], vector: &Vector) -> Result<(), Failed> {
    let mut senders = BTreeMap::<String, Vec<String>>::new();
    for suite in suites {
        let sent = suite.listen(vector, Delivery::Whole)?;
        senders.entry(sent).or_default().push(suite.subject().name());
    }
    if senders.len() == 1 {
        return Ok(());
    }
    let of_each = senders.iter().map(|(sent, names)| format!("{}:\n{sent}\n", names.join("; ")));
    Err(format!("{vector}\n\n{}", of_each.collect::<String>()).into())
}

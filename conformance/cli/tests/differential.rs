//! The corpus against all our servers at once: what they send is the same, byte for byte, but for the date.
//!
//! Each of them is right by itself, as their own tests show; here it is seen that whoever changes the server, or the form
//! of the application, changes nothing that a client could notice.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};
use varvel::{
    Launch, ServeError, Served, Server,
    bridge::{BlockOn, Offloaded},
};
use varvel_conformance::{
    MostlyInline, Probe, Subject, Suite, Tuning,
    corpus::{Delivery, Vector, vectors},
    silence_planned_panics,
};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// Our servers, with the application in its own form and through each bridge.
#[derive(Clone, Copy, Debug)]
enum Ours {
    Threaded,
    ThreadedBlockOn,
    Evented,
    EventedOffloaded,
    EventedInline,
}

const ALL: [Ours; 5] =
    [Ours::Threaded, Ours::ThreadedBlockOn, Ours::Evented, Ours::EventedOffloaded, Ours::EventedInline];

impl Subject for Ours {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = Settings::default();
        for (name, value) in tuning.settings() {
            settings.set(name, &value).expect("a setting of the kit");
        }
        match self {
            Self::Threaded => Threaded::new(settings).serve(probe, launch),
            Self::ThreadedBlockOn => Threaded::new(settings).serve(BlockOn::new(probe), launch),
            Self::Evented => Evented::new(settings).serve(probe, launch),
            Self::EventedOffloaded => Evented::new(settings).serve(Offloaded::new(probe), launch),
            Self::EventedInline => Evented::new(settings).serve(MostlyInline(probe), launch),
        }
    }
}

fn main() -> ExitCode {
    silence_planned_panics();
    let mut arguments = Arguments::from_args();
    // They wait most of the time.
    arguments.test_threads.get_or_insert(8);
    let suites = Arc::new(ALL.map(|ours| Suite::new(Arc::new(ours))));
    let trials = vectors().iter().map(|vector| {
        let suites = Arc::clone(&suites);
        Trial::test(vector.id(), move || are_the_same(&*suites, vector))
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
    let of_each = senders.iter().map(|(sent, names)| format!("{}:\n{sent}\n", names.join(", ")));
    Err(format!("{vector}\n\n{}", of_each.collect::<String>()).into())
}

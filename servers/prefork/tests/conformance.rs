//! The conformance suite through worker processes, with each of the servers that can run in them.

use std::{process::ExitCode, sync::Arc};

use varvel::{Launch, ServeError, Served, Server};
use varvel_conformance::{Forking, Observer, Probe, Start, Tuning, run_forking};
use varvel_evented::Evented;
use varvel_prefork::{Hooks, Sockets, Supervisor};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// The server that runs in the workers.
enum Worker {
    Threaded,
    Evented,
}

impl Forking for Worker {
    fn name(&self) -> String {
        match self {
            Self::Threaded => "prefork, threaded workers",
            Self::Evented => "prefork, evented workers",
        }
        .to_owned()
    }

    fn serve(&self, probe: Probe, start: Start, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = Settings::default();
        for (name, value) in tuning.settings() {
            settings.set(name, &value).expect("a setting of the kit");
        }
        // A worker of the suite's is a process here.
        settings.workers = settings.loops.replace(1);
        // The suite has its own clock, and asks for an end at once when the time is over.
        settings.set("drain-timeout", "1h").expect("a time");
        let each = settings.clone();
        Supervisor::new(settings, Sockets::shared(start.listeners))?
            .with_reporter(start.reporter)
            .with_hooks(Observed(start.observer))
            .run(move |launch: Launch| match self {
                Self::Threaded => Threaded::new(each).serve(probe, launch),
                Self::Evented => Evented::new(each).serve(probe, launch),
            })
    }
}

struct Observed(Observer);

impl Hooks for Observed {
    fn on_starting(&mut self) {
        self.0.catches_signals();
    }

    fn when_ready(&mut self) {
        self.0.is_ready();
    }
}

fn main() -> ExitCode {
    run_forking(vec![Arc::new(Worker::Threaded), Arc::new(Worker::Evented)])
}

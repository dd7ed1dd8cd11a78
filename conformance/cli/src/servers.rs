//! The servers of this repository, and the ways in which each can call an application. The test `differential` compares
//! all that stand here.

use std::{process::ExitCode, sync::Arc};

use varvel::{
    Launch, ServeError, Served, Server,
    bridge::{BlockOn, Offloaded},
};
use varvel_conformance::{Apart, Forking, MostlyInline, Observer, Probe, Start, Subject, Tuning};
use varvel_evented::Evented;
use varvel_prefork::{Hooks, Sockets, Supervisor};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// A server in one of its forms.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    server: &'static str,
    pub(crate) form: &'static str,
    /// In this process, or in workers.
    serve: fn(Settings, Probe, Launch) -> Result<Served, ServeError>,
}

/// The server whose forms are what runs in its workers.
const PREFORK: &str = "prefork";

const FORMS: &[Form] = &[
    Form {
        server: "threaded",
        form: "sync",
        serve: |settings, probe, launch| Threaded::new(settings).serve(probe, launch),
    },
    Form {
        server: "threaded",
        form: "block-on",
        serve: |settings, probe, launch| Threaded::new(settings).serve(BlockOn::new(probe), launch),
    },
    Form {
        server: "evented",
        form: "async",
        serve: |settings, probe, launch| Evented::new(settings).serve(probe, launch),
    },
    Form {
        server: "evented",
        form: "offloaded",
        serve: |settings, probe, launch| Evented::new(settings).serve(Offloaded::new(probe), launch),
    },
    Form {
        server: "evented",
        form: "inline",
        serve: |settings, probe, launch| Evented::new(settings).serve(MostlyInline(probe), launch),
    },
    Form {
        server: PREFORK,
        form: "threaded",
        serve: |settings, probe, launch| Threaded::new(settings).serve(probe, launch),
    },
    Form {
        server: PREFORK,
        form: "evented",
        serve: |settings, probe, launch| Evented::new(settings).serve(probe, launch),
    },
];

/// The names of the servers.
pub(crate) fn servers() -> Vec<&'static str> {
    let mut servers: Vec<&str> = FORMS.iter().map(|known| known.server).collect();
    servers.dedup();
    servers
}

/// The forms of a server, or the one that is wanted.
pub(crate) fn forms(server: &str, form: Option<&str>) -> Result<Vec<Form>, String> {
    let forms: Vec<Form> = FORMS.iter().filter(|known| known.server == server).copied().collect();
    if forms.is_empty() {
        return Err(format!("there is no server called {server:?}; there are {}", servers().join(", ")));
    }
    let Some(form) = form else { return Ok(forms) };
    match forms.iter().find(|known| known.form == form) {
        Some(one) => Ok(vec![*one]),
        None => {
            let known: Vec<&str> = forms.iter().map(|known| known.form).collect();
            Err(format!("{server} has no form called {form:?}; it has {}", known.join(", ")))
        }
    }
}

/// To be called first thing: see [`varvel_conformance::serve_apart`].
pub(crate) fn serve_apart() -> Option<ExitCode> {
    let forking = FORMS.iter().filter(|form| form.server == PREFORK);
    varvel_conformance::serve_apart(&forking.map(|form| Arc::new(*form) as _).collect::<Vec<_>>())
}

impl Form {
    /// It, as the suite wants it.
    pub(crate) fn subject(self) -> Arc<dyn Subject> {
        if self.server == PREFORK { Arc::new(Apart(Arc::new(self))) } else { Arc::new(self) }
    }

    fn name(self) -> String {
        format!("{}, {}", self.server, self.form)
    }
}

fn settings(tuning: &Tuning) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in tuning.settings() {
        settings.set(name, &value).expect("the suite names settings as the kit does");
    }
    settings
}

impl Subject for Form {
    fn name(&self) -> String {
        (*self).name()
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        (self.serve)(settings(tuning), probe, launch)
    }
}

impl Forking for Form {
    fn name(&self) -> String {
        (*self).name()
    }

    fn serve(&self, probe: Probe, start: Start, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = settings(tuning);
        // A worker of the suite's is a process here.
        settings.workers = settings.loops.replace(1);
        // The suite has its own clock, and asks for an end at once when the time is over.
        settings.set("drain-timeout", "1h").expect("a time");
        let each = settings.clone();
        Supervisor::new(settings, Sockets::shared(start.listeners))?
            .with_reporter(start.reporter)
            .with_hooks(Observed(start.observer))
            .run(|launch: Launch| (self.serve)(each, probe, launch))
    }
}

/// Tells the suite how the supervisor gets on.
struct Observed(Observer);

impl Hooks for Observed {
    fn on_starting(&mut self) {
        self.0.catches_signals();
    }

    fn when_ready(&mut self) {
        self.0.is_ready();
    }
}

//! The servers of this repository, and the ways in which each can call an application. The test `differential` compares
//! all that stand here.

use std::sync::Arc;

use varvel::{
    Launch, ServeError, Served, Server,
    bridge::{BlockOn, Offloaded},
};
use varvel_conformance::{MostlyInline, Probe, Subject, Tuning};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// A server in one of its forms.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    server: &'static str,
    pub(crate) form: &'static str,
    serve: fn(Settings, Probe, Launch) -> Result<Served, ServeError>,
}

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

impl Form {
    /// It, as the suite wants it.
    pub(crate) fn subject(self) -> Arc<dyn Subject> {
        Arc::new(self)
    }
}

impl Subject for Form {
    fn name(&self) -> String {
        format!("{}, {}", self.server, self.form)
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = Settings::default();
        for (name, value) in tuning.settings() {
            settings.set(name, &value).expect("the suite names settings as the kit does");
        }
        (self.serve)(settings, probe, launch)
    }
}

//! The conformance suite, with the probe as an async application and as a sync one through both bridges.

use varvel::{Launch, ServeError, Served, Server, bridge::Offloaded};
use varvel_conformance::{MostlyInline, Probe, Subject, Tuning, conformance};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;

fn server(tuning: &Tuning) -> Evented {
    let mut settings = Settings::default();
    for (name, value) in tuning.settings() {
        settings.set(name, &value).expect("a setting of the kit");
    }
    Evented::new(settings)
}

enum Form {
    Async,
    Offloaded,
    Inline,
}

impl Subject for Form {
    fn name(&self) -> String {
        match self {
            Self::Async => "evented",
            Self::Offloaded => "evented, sync offloaded",
            Self::Inline => "evented, sync inline",
        }
        .to_owned()
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        match self {
            Self::Async => server(tuning).serve(probe, launch),
            Self::Offloaded => server(tuning).serve(Offloaded::new(probe), launch),
            Self::Inline => server(tuning).serve(MostlyInline(probe), launch),
        }
    }
}

conformance!(Form::Async, Form::Offloaded, Form::Inline);

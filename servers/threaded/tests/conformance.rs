//! The conformance suite, with the probe as a sync application, and as an async one through the bridge.

use varvel::{Launch, ServeError, Served, Server, bridge::BlockOn};
use varvel_conformance::{Probe, Subject, Tuning, conformance};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

enum Form {
    Sync,
    BlockOn,
}

impl Subject for Form {
    fn name(&self) -> String {
        match self {
            Self::Sync => "threaded",
            Self::BlockOn => "threaded, async through the bridge",
        }
        .to_owned()
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = Settings::default();
        for (name, value) in tuning.settings() {
            settings.set(name, &value).expect("a setting of the kit");
        }
        match self {
            Self::Sync => Threaded::new(settings).serve(probe, launch),
            Self::BlockOn => Threaded::new(settings).serve(BlockOn::new(probe), launch),
        }
    }
}

conformance!(Form::Sync, Form::BlockOn);

//! The conformance suite, with the probe as an async application and as a sync one through both bridges.

use std::sync::Arc;

use http::Request;
use varvel::{
    AppFactory, AsyncApp, AsyncAppFactory, AsyncBody, BoxError, Launch, OnDisconnect, Policy, Scope,
    ServeError, Served, Server, StartError, Worker,
    bridge::{Inline, Offloaded, OffloadedCall},
};
use varvel_conformance::{Probe, Subject, Tuning, conformance};
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

/// Whoever takes [`Inline`] promises not to block. The probe does not where its request has no step that waits; the others
/// are offloaded.
struct MostlyInline(Probe);

type SyncProbe = Arc<<Probe as AppFactory>::App>;

struct ProbeApp {
    inline: Inline<SyncProbe>,
    offloaded: Offloaded<SyncProbe>,
    probe: SyncProbe,
}

impl AsyncApp for ProbeApp {
    type Future = OffloadedCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> OffloadedCall {
        let steps = request.headers().get("steps").and_then(|steps| steps.to_str().ok());
        let steps = request.uri().query().or(steps).unwrap_or_default();
        let waits = steps.split(['&', '=']).any(|step| {
            ["gate", "block", "timer", "timer-moved", "stopping", "disconnected"].contains(&step)
        });
        if waits { self.offloaded.call(request, scope) } else { self.inline.call(request, scope) }
    }
}

impl AsyncAppFactory for MostlyInline {
    type App = ProbeApp;

    fn policy(&self) -> Policy {
        let mut policy = AppFactory::policy(&self.0);
        policy.on_disconnect = OnDisconnect::Answer;
        policy
    }

    async fn build(&self, worker: &Worker) -> Result<ProbeApp, StartError> {
        let probe = Arc::new(AppFactory::build(&self.0, worker)?);
        let (inline, offloaded) = (Inline::new(Arc::clone(&probe)), Offloaded::new(Arc::clone(&probe)));
        Ok(ProbeApp { inline, offloaded, probe })
    }

    async fn teardown(&self, app: ProbeApp, worker: &Worker) -> Result<(), BoxError> {
        drop((app.inline, app.offloaded));
        match Arc::into_inner(app.probe) {
            Some(probe) => AppFactory::teardown(&self.0, probe, worker),
            None => Err("a call still runs".into()),
        }
    }
}

conformance!(Form::Async, Form::Offloaded, Form::Inline);

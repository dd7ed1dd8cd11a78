//! The probe as a sync application on the event loop itself.

use std::sync::Arc;

use http::Request;
use varvel::{
    AppFactory, AsyncApp, AsyncAppFactory, AsyncBody, BoxError, OnDisconnect, Policy, Scope, StartError,
    Worker,
    bridge::{Inline, Offloaded, OffloadedCall},
};

use crate::Probe;

/// The probe in its sync form for a server of async applications, called [`Inline`] wherever it does not wait.
///
/// Whoever takes `Inline` promises not to block (spec S14). The probe keeps that promise for requests without a step
/// that waits; the others are [`Offloaded`]. So the checks see both bridges in one server.
#[derive(Clone, Debug)]
pub struct MostlyInline(pub Probe);

type SyncProbe = Arc<<Probe as AppFactory>::App>;

/// What [`MostlyInline`] builds.
#[derive(Debug)]
pub struct MostlyInlineApp {
    inline: Inline<SyncProbe>,
    offloaded: Offloaded<SyncProbe>,
    probe: SyncProbe,
}

impl AsyncApp for MostlyInlineApp {
    type Future = OffloadedCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> OffloadedCall {
        let (head, body) = request.into_parts();
        let blocks = self.probe.blocks(&head);
        let request = Request::from_parts(head, body);
        if blocks { self.offloaded.call(request, scope) } else { self.inline.call(request, scope) }
    }
}

impl AsyncAppFactory for MostlyInline {
    type App = MostlyInlineApp;

    fn policy(&self) -> Policy {
        let mut policy = AppFactory::policy(&self.0);
        policy.on_disconnect = OnDisconnect::Answer;
        policy
    }

    async fn build(&self, worker: &Worker) -> Result<MostlyInlineApp, StartError> {
        let probe = Arc::new(AppFactory::build(&self.0, worker)?);
        let (inline, offloaded) = (Inline::new(Arc::clone(&probe)), Offloaded::new(Arc::clone(&probe)));
        Ok(MostlyInlineApp { inline, offloaded, probe })
    }

    async fn teardown(&self, app: MostlyInlineApp, worker: &Worker) -> Result<(), BoxError> {
        drop((app.inline, app.offloaded));
        match Arc::into_inner(app.probe) {
            Some(probe) => AppFactory::teardown(&self.0, probe, worker),
            None => Err("a call still runs".into()),
        }
    }
}

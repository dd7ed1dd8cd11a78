//! An application that is called after its teardown. The types keep a server from that as long as it asks no more of
//! applications than the contract does; one whose bounds demand `Clone` could.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Request;
use varvel::{App, AppFactory, AppResult, BoxError, Policy, ReadBody, Scope, StartError, Worker};

use crate::{Probe, probe::ProbeApp};

/// A factory of applications that are torn down by the first call after the stop, which then goes on.
#[derive(Debug)]
pub(super) struct Undead(pub(super) Probe);

/// One of them.
#[derive(Debug)]
pub(super) struct UndeadApp {
    probe: Probe,
    app: ProbeApp,
    over: AtomicBool,
}

impl App for UndeadApp {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        if scope.worker().is_stopping() && !self.over.swap(true, Ordering::SeqCst) {
            // Its errors are not what this is about.
            let _ = AppFactory::teardown(&self.probe, self.app.clone(), scope.worker());
        }
        App::call(&self.app, request, scope)
    }
}

impl AppFactory for Undead {
    type App = UndeadApp;

    fn policy(&self) -> Policy {
        AppFactory::policy(&self.0)
    }

    fn build(&self, worker: &Worker) -> Result<UndeadApp, StartError> {
        let app = AppFactory::build(&self.0, worker)?;
        Ok(UndeadApp { probe: self.0.clone(), app, over: AtomicBool::new(false) })
    }

    fn teardown(&self, app: UndeadApp, worker: &Worker) -> Result<(), BoxError> {
        if app.over.into_inner() { Ok(()) } else { AppFactory::teardown(&self.0, app.app, worker) }
    }
}

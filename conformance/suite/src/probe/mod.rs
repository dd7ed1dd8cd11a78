//! The probe: the application that the server under test runs. It does what each request tells it, and tells the
//! recorder what is done to it.
//!
//! It is a factory of both kinds, so that the same checks run on servers of sync and of async applications and through
//! the bridges between them. What it can be told stands in `program.rs`, as a query of the request; the events:
//!
//! | event | when | fields |
//! |---|---|---|
//! | `build`, `built` | a build begins, has succeeded | `serial`, `pid`, `thread`, `worker`; `parent` and `parent_threads`: the process above, and how many threads it has |
//! | `call` | a call begins | those of a description (`describe.rs`), `overlap`: how many run on this application |
//! | `call-ended` | its future and body are gone | |
//! | `future-dropped` | the future of an async call is dropped | `completed`: whether it had been |
//! | `body-dropped` | a streamed response body is dropped | `polls`: how often it was polled or run, `ended` |
//! | `misuse` | a completed future or ended body is asked again | `what` |
//! | `mark`, `held`, `waiting` | at `emit`; before waiting at `gate` or `block`, for `stopping` or `disconnected` | `name` |
//! | `stopping`, `disconnected` | that wait is over | |
//! | `timer` | a timer has completed | `early`: whether before its deadline, `late_us`: by how much after |
//! | `read` | after `read` | `bytes`, `frames`, `digest`, `hex`, `trailers`, `end`: see `context.rs` |
//! | `pulled` | after `pull` | `frame`: in words |
//! | `interim` | after sending an interim head | `status`, `result` |
//! | `finish` | a hook runs | `outcome`, `status`, `bytes` |
//! | `stale` | after using a kept handle | `result` of an interim head, `pulled`, `disconnected` |
//! | `produced` | before each frame of `frames` | `nth`, from 0 |
//! | `sent` | after each frame of `frames` was taken | `nth`, from 0 |
//! | `push-failed` | a sink has returned an error | `error` |
//! | `token`, `deferral` | after taking one | `some`, and `kind` of a token |
//! | `dying` | before the worker is to die | |
//! | `replied` | a deferred reply was sent | `ok` |
//! | `spawned`, `offloaded` | after handing one over | `accepted` |
//! | `task-began`, `task-ended`, `task-dropped`, `job-began`, `job-ended` | in it | `thread`, `name` |
//! | `tunnel-began`, `tunnel-read`, `tunnel-ended` | in a tunnel | `bytes`, `hex`, `digest`; `result` |
//! | `teardown`, `torn-down` | a teardown begins, has come to its end | as `build` |
//! | `report` | the server reports | see `recording.rs` |
//! | `progress`, `connection-opened` and others | the server tells its monitor | see `following.rs` |
//!
//! All have `pid`, those of a request its `key`.

mod answer;
mod asynchronous;
mod context;
mod describe;
mod following;
mod link;
mod plan;
mod program;
mod recording;
mod routes;
mod synchronous;
mod tunnel;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use varvel::{
    App, AppFactory, AppResult, AsyncApp, AsyncAppFactory, AsyncBody, BoxError, Policy, ReadBody, Scope,
    StartError, Worker,
};

pub use asynchronous::ProbeCall;
pub use context::digest;
pub use describe::hex;
pub use plan::{Failing, Plan};
pub use program::{escape, pattern};

pub(crate) use following::Following;
pub(crate) use link::{Link, builds};
pub(crate) use recording::Recording;

use context::{Kept, thread_name};
use program::Step;

/// The factory of the probe, of both kinds.
#[derive(Clone, Debug)]
pub struct Probe {
    link: Arc<Link>,
    plan: Plan,
}

/// The probe on one worker.
#[derive(Clone, Debug)]
pub struct ProbeApp {
    link: Arc<Link>,
    routes: bool,
    /// Numbers the applications, of all processes.
    serial: u64,
    /// Where it was built.
    thread: String,
    /// How many calls run.
    running: Arc<AtomicU64>,
    /// What requests left for later ones, by their keys.
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

impl Probe {
    pub(crate) fn new(link: Arc<Link>, plan: Plan) -> Self {
        Self { link, plan }
    }

    /// The probe routes (`ROUTES.md`) for a program that others examine: nobody records what happens, and no gate is shut.
    pub fn routes() -> Self {
        Self::new(Arc::new(Link::none()), Plan { routes: true, ..Plan::default() })
    }

    /// What [`received`](Self::received) makes the same probe of in another process; `None` without a recorder.
    pub(crate) fn to_send(&self) -> Option<Value> {
        let recorder = self.link.path()?.to_str()?;
        Some(json!({ "recorder": recorder, "plan": self.plan.to_json() }))
    }

    /// A probe for this process and those that it is going to fork, and the reporter that goes with it.
    pub(crate) fn received(sent: &Value) -> Option<(Self, Recording)> {
        let link = Arc::new(Link::of_supervisor(sent["recorder"].as_str()?.into()));
        let plan = Plan::from_json(&sent["plan"])?;
        Some((Self::new(Arc::clone(&link), plan), Recording(link)))
    }

    /// Everything about a build but the waiting at its gate, which may or may not block.
    fn begin(&self, worker: &Worker) -> ProbeApp {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let app = ProbeApp {
            link: Arc::clone(&self.link),
            routes: self.plan.routes,
            serial: (u64::from(std::process::id()) << 20) + SERIAL.fetch_add(1, Ordering::Relaxed),
            thread: thread_name(),
            running: Arc::default(),
            kept: Arc::default(),
        };
        app.emit("build", worker);
        app
    }

    fn finish(&self, app: ProbeApp, worker: &Worker) -> Result<ProbeApp, StartError> {
        if let Some((nth, failing)) = self.plan.build_fails {
            match failing {
                _ if self.link.count_build().map_err(StartError::retry)? != u64::from(nth) => {}
                Failing::Error => return Err(StartError::new("the probe fails to build, as planned")),
                Failing::Panic => panic!("probe: planned panic in build"),
            }
        }
        app.emit("built", worker);
        Ok(app)
    }

    /// Everything about a teardown but the waiting.
    fn end(&self, app: ProbeApp, worker: &Worker) -> Result<(), BoxError> {
        app.emit("torn-down", worker);
        match self.plan.teardown_fails {
            Some(Failing::Error) => Err("the probe fails to be torn down, as planned".into()),
            Some(Failing::Panic) => panic!("probe: planned panic in teardown"),
            None => Ok(()),
        }
    }
}

impl ProbeApp {
    /// Whether what this request tells it to do would block a thread.
    pub fn blocks(&self, head: &http::request::Parts) -> bool {
        self.steps(head).iter().any(Step::blocks)
    }

    /// What a request tells it to do.
    fn steps(&self, head: &http::request::Parts) -> Vec<Step> {
        if self.routes { routes::steps(head) } else { program::steps_of(head) }
    }

    fn emit(&self, event: &str, worker: &Worker) {
        self.link.emit(json!({
            "event": event, "serial": self.serial, "pid": std::process::id(), "thread": thread_name(),
            "parent": std::os::unix::process::parent_id(), "parent_threads": threads_of(std::os::unix::process::parent_id()),
            "worker": describe::worker(worker),
        }));
    }
}

/// How many threads a process has, where Linux tells.
fn threads_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

impl AppFactory for Probe {
    type App = ProbeApp;

    fn policy(&self) -> Policy {
        self.plan.policy
    }

    fn build(&self, worker: &Worker) -> Result<ProbeApp, StartError> {
        let app = self.begin(worker);
        if let Some(gate) = &self.plan.build_gate {
            self.link.wait(gate);
        }
        self.finish(app, worker)
    }

    fn teardown(&self, app: ProbeApp, worker: &Worker) -> Result<(), BoxError> {
        app.emit("teardown", worker);
        if let Some(gate) = &self.plan.teardown_gate {
            self.link.wait(gate);
        }
        self.end(app, worker)
    }
}

impl AsyncAppFactory for Probe {
    type App = ProbeApp;

    fn policy(&self) -> Policy {
        self.plan.policy
    }

    async fn build(&self, worker: &Worker) -> Result<ProbeApp, StartError> {
        let app = self.begin(worker);
        if let Some(gate) = &self.plan.build_gate {
            self.link.pass(gate).await;
        }
        self.finish(app, worker)
    }

    async fn teardown(&self, app: ProbeApp, worker: &Worker) -> Result<(), BoxError> {
        app.emit("teardown", worker);
        if let Some(gate) = &self.plan.teardown_gate {
            self.link.pass(gate).await;
        }
        self.end(app, worker)
    }
}

impl App for ProbeApp {
    fn call(&self, request: http::Request<ReadBody>, scope: Scope) -> AppResult {
        synchronous::call(self, request, scope)
    }
}

impl AsyncApp for ProbeApp {
    type Future = ProbeCall;

    fn call(&self, request: http::Request<AsyncBody>, scope: Scope) -> ProbeCall {
        asynchronous::call(self, request, scope)
    }
}

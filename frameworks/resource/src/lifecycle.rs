//! What each worker does before its first call and after its last: the application as a factory of itself.

use std::{error::Error, fmt};

use varvel::{AppFactory, AsyncAppFactory, BoxError, StartError, Worker};

use crate::{
    App,
    app::{Core, Target},
    middleware::Component,
};

/// Runs the start-up of middleware before each worker's application, and its shutdown behind it.
impl AppFactory for App {
    type App = Self;

    fn build(&self, worker: &Worker) -> Result<Self, StartError> {
        worker.block_on(self.start_up(worker))
    }

    fn teardown(&self, app: Self, worker: &Worker) -> Result<(), BoxError> {
        worker.block_on(shut_down(&lives(app.core()), worker))
    }
}

/// Runs the start-up of middleware before each worker's application, and its shutdown behind it.
impl AsyncAppFactory for App {
    type App = Self;

    async fn build(&self, worker: &Worker) -> Result<Self, StartError> {
        self.start_up(worker).await
    }

    async fn teardown(&self, app: Self, worker: &Worker) -> Result<(), BoxError> {
        shut_down(&lives(app.core()), worker).await
    }
}

impl App {
    async fn start_up(&self, worker: &Worker) -> Result<Self, StartError> {
        let app = self.clone();
        let lives = lives(app.core());
        for (started, life) in lives.iter().enumerate() {
            if let Err(failure) = life.component.process_startup(worker).await {
                // What keeps the worker from serving is the first failure.
                let _ = shut_down(&lives[..started], worker).await;
                return Err(life.not_started(failure));
            }
        }
        drop(lives);
        Ok(app)
    }
}

/// Shuts down what was started up, the last first. Each gets its chance, whatever became of the others.
async fn shut_down(started: &[Life<'_>], worker: &Worker) -> Result<(), BoxError> {
    let mut errors = Vec::new();
    for life in started.iter().rev() {
        if let Err(error) = life.component.process_shutdown(worker).await {
            errors.push(life.not_shut_down(error));
        }
    }
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        // A worker has one error to report, so it has to be all of them.
        _ => Err(errors.iter().map(BoxError::to_string).collect::<Vec<_>>().join("; ").into()),
    }
}

/// Middleware to be started up and shut down.
struct Life<'c> {
    component: &'c Component,
    /// The prefix at which its application is mounted, empty for the outermost.
    mount: String,
}

/// The middleware of an application in the order of its start-up: its own, then that of the applications mounted in it.
fn lives(core: &Core) -> Vec<Life<'_>> {
    fn add<'c>(core: &'c Core, mount: &str, lives: &mut Vec<Life<'c>>) {
        lives.extend(core.middleware.iter().map(|component| Life { component, mount: mount.to_owned() }));
        for route in core.router.routes() {
            if let Target::Mount(inner) = route.value() {
                if let Some(app) = &inner.app {
                    add(app.core(), &format!("{mount}{}", route.template()), lives);
                }
            }
        }
    }
    let mut lives = Vec::new();
    add(core, "", &mut lives);
    lives
}

impl Life<'_> {
    fn not_started(&self, failure: StartError) -> StartError {
        if self.mount.is_empty() {
            return failure;
        }
        let may_retry = failure.may_retry();
        let told = NotStarted { mount: self.mount.clone(), failure };
        if may_retry { StartError::retry(told) } else { StartError::new(told) }
    }

    fn not_shut_down(&self, error: BoxError) -> BoxError {
        if self.mount.is_empty() {
            return error;
        }
        format!("the application at {}: {error}", self.mount).into()
    }
}

/// Why a worker's application could not be built, and which of those that are mounted in it is to blame.
#[derive(Debug)]
struct NotStarted {
    mount: String,
    failure: StartError,
}

impl NotStarted {
    /// What the middleware said.
    fn cause(&self) -> &(dyn Error + 'static) {
        self.failure.source().unwrap_or(&self.failure)
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the application at {}: {}", self.mount, self.cause())
    }
}

impl Error for NotStarted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().source()
    }
}

//! What each worker does before its first call and after its last: the application as a factory of itself.

use std::{
    any::{Any, TypeId, type_name},
    future,
    sync::Arc,
};

use varvel::{AppFactory, AsyncAppFactory, BoxError, StartError, Worker};

use crate::App;

/// A function that makes a worker's own state.
#[derive(Clone)]
pub(crate) struct Startup {
    /// The type of the value.
    pub(crate) makes: TypeId,
    make: Arc<Make>,
}

type Make = dyn Fn(&Worker) -> Result<Arc<dyn Any + Send + Sync>, StartError> + Send + Sync;

pub(crate) type Shutdown = dyn Fn(&App, &Worker) -> Result<(), BoxError> + Send + Sync;

impl App {
    /// Adds a function that makes a value in each worker, before its first call and after any fork: Sanic's
    /// `before_server_start`. Handlers take the value as [`State<T>`](crate::State); it replaces one of this type given to
    /// [`state`](Self::state). Functions are called in the order in which they are added.
    ///
    /// They may block: the worker serves nobody yet. If one fails, the worker does not start, and the values made before are
    /// dropped. IO errors become a [`StartError`] by `?`, other errors by `.map_err(StartError::new)?`.
    ///
    /// ```
    /// use std::{fs::File, io::Write};
    /// use varvel_micro::{App, State};
    ///
    /// struct Journal(File);
    ///
    /// let mut app = App::new();
    /// app.startup(|worker| {
    ///     let name = format!("journal.{}.{}", std::process::id(), worker.info().index);
    ///     Ok(Journal(File::create(std::env::temp_dir().join(name))?))
    /// });
    /// app.shutdown(|journal: &Journal, _worker| Ok(journal.0.sync_all()?));
    /// app.get("/{line}", |line: String, journal: State<Journal>| {
    ///     (&journal.0).write_all(line.as_bytes()).map(|()| "Written.")
    /// });
    /// # let client = varvel_test::Client::sync_factory(app)?;
    /// # assert_eq!(client.get("/x").send().text(), "Written.");
    /// # client.close().unwrap();
    /// # Ok::<_, varvel_micro::StartError>(())
    /// ```
    ///
    /// They are called if the application is deployed as the [factory](AppFactory) that it is, as
    /// [`varvel_serve::Both`](https://docs.rs/varvel-serve) does. Mounted in another application they would not be, so
    /// [`mount`](Self::mount) does not take one that has some.
    pub fn startup<T: Send + Sync + 'static>(
        &mut self,
        make: impl Fn(&Worker) -> Result<T, StartError> + Send + Sync + 'static,
    ) -> &mut Self {
        let make: Arc<Make> = Arc::new(move |worker| Ok(Arc::new(make(worker)?)));
        self.startups.push(Startup { makes: TypeId::of::<T>(), make });
        self
    }

    /// Adds a function that each worker calls with a value of its state after its last call. The function added last is called
    /// first. State that only has to be dropped needs none.
    ///
    /// All are called, even if some fail; their errors are reported together.
    ///
    /// # Panics
    /// If there is no such state.
    #[track_caller]
    pub fn shutdown<T: Send + Sync + 'static>(
        &mut self,
        end: impl Fn(&T, &Worker) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> &mut Self {
        self.check_state("a `shutdown` function", TypeId::of::<T>(), type_name::<T>());
        self.shutdowns.push(Arc::new(move |app, worker| {
            match app.states.get(&TypeId::of::<T>()).and_then(|state| state.downcast_ref()) {
                Some(state) => end(state, worker),
                None => Ok(()),
            }
        }));
        self
    }

    fn start_up(&self, worker: &Worker) -> Result<Self, StartError> {
        let mut app = self.clone();
        for startup in &self.startups {
            app.states.insert(startup.makes, (startup.make)(worker)?);
        }
        app.changed().service();
        Ok(app)
    }

    fn shut_down(&self, worker: &Worker) -> Result<(), BoxError> {
        let mut errors = self.shutdowns.iter().rev().filter_map(|shutdown| shutdown(self, worker).err());
        let Some(first) = errors.next() else { return Ok(()) };
        // A worker has one error to report, so it has to be all of them.
        let rest: String = errors.map(|error| format!("; {error}")).collect();
        Err(if rest.is_empty() { first } else { format!("{first}{rest}").into() })
    }
}

/// Each worker gets a clone with what its [`startup`](App::startup) makes.
impl AppFactory for App {
    type App = Self;

    fn build(&self, worker: &Worker) -> Result<Self, StartError> {
        self.start_up(worker)
    }

    fn teardown(&self, app: Self, worker: &Worker) -> Result<(), BoxError> {
        app.shut_down(worker)
    }
}

/// Each worker gets a clone with what its [`startup`](App::startup) makes.
impl AsyncAppFactory for App {
    type App = Self;

    fn build(&self, worker: &Worker) -> impl Future<Output = Result<Self, StartError>> {
        future::ready(self.start_up(worker))
    }

    fn teardown(&self, app: Self, worker: &Worker) -> impl Future<Output = Result<(), BoxError>> {
        future::ready(app.shut_down(worker))
    }
}

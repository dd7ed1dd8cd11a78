//! The server from start to end.

use std::{
    io,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering::Relaxed},
    task::{Wake, Waker},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use varvel::{
    App, AppFactory, Caps, Control, Driver, Event, FailKind, Launch, Level, Monitor, Phase as Running,
    Policy, ProcessModel, Reporter, ServeError, Served, Server, StartError, Worker, WorkerInfo,
};
use varvel_server_kit::{
    access_log::AccessLog,
    containment::contain,
    gateway::panic_message,
    journal::{Journal, Pulse},
    listener::Listener,
    settings::Settings,
    stopping::Stopping,
    worker_pool::WorkerPool,
};

use crate::{
    call,
    connection::Connection,
    leader::{CUT_GRACE, Leader, Led, WAKER},
    pool::{Came, Pool, SLOW, Turn},
    shared::{Shared, Tools},
    table::Table,
    tasks::Tasks,
    threads::Threads,
};

/// A server of blocking threads; see the [crate].
///
/// It runs every [`AppFactory`] that can be shared between threads and whose application can. Async applications come
/// through [`BlockOn`](varvel::bridge::BlockOn).
///
/// Of the [`Settings`] it uses `threads`, the limits and time-outs, `max_connections`, `offload_threads`,
/// `offload_queue`, `read_ahead`, `write_high_water` and `access_log`; listening, signals and drain time are its
/// caller's.
#[derive(Clone, Debug, Default)]
pub struct Threaded {
    settings: Settings,
}

impl Threaded {
    /// A server with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl<F> Server<F> for Threaded
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    fn serve(self, factory: F, launch: Launch) -> Result<Served, ServeError> {
        let Launch { listeners, control, reporter, process, monitor, .. } = launch;
        let _ended = AnnounceEnd(control.clone());
        let poll = mio::Poll::new().map_err(ServeError::io("make a poller"))?;
        let shared = self.share(&poll, factory.policy(), process, reporter, monitor)?;
        let worker = Worker::new(Arc::clone(&shared) as _);
        let listeners = listeners.into_iter().map(Listener::new).collect::<io::Result<_>>();
        let listeners = listeners.map_err(ServeError::io("take over the listeners"))?;
        let pulse = Pulse::new(&shared.journal, Instant::now());
        let mut leader = Leader::new(poll, listeners, worker.clone(), control.clone(), pulse)
            .map_err(ServeError::io("wait for connections"))?;

        control.on_stop(Waker::from(Arc::new(OnStop(Arc::downgrade(&shared)))));
        let app = leader.mind_timers(&shared, || build(&factory, &worker, &shared));
        let app = app.inspect_err(|_| end(&shared, None))?;
        let crew =
            Arc::new(Crew { app, factory, worker, shared: Arc::clone(&shared), leader: Mutex::new(leader) });
        let started = shared.pool.start(crew.starter());
        if started {
            control.announce_ready();
            shared.pool.watch(|| shared.release_held(), || shared.table.wake());
        } else {
            // One thread may have begun to lead.
            control.stop(Duration::ZERO);
        }
        shared.pool.end();
        end(&shared, control.stop_deadline());
        dismiss(crew);
        match started {
            true => Ok(Served::new(shared.cut.load(Relaxed))),
            false => Err(ServeError::Io { doing: "start threads", error: io::ErrorKind::OutOfMemory.into() }),
        }
    }
}

impl Threaded {
    fn share(
        &self,
        poll: &mio::Poll,
        policy: Policy,
        process: ProcessModel,
        reporter: Arc<dyn Reporter>,
        monitor: Option<Arc<dyn Monitor>>,
    ) -> Result<Arc<Shared>, ServeError> {
        let settings = &self.settings;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(ServeError::io("make a poller"))?;
        let threads = if policy.exclusive { 1 } else { settings.threads.max(1) };
        let processors = available_parallelism().map_or(1, NonZero::get);
        let connections_max = settings.max_connections.map_or(usize::MAX, |max| max as usize);
        let told = Arc::clone(&reporter);
        let on_panic = move |panic: Box<dyn std::any::Any + Send>| {
            let event = Event::Panicked { during: Running::Background, message: panic_message(&*panic) };
            told.report(&varvel::Report::new(event));
        };
        let offload = WorkerPool::new(
            "varvel-offload",
            settings.offload_threads as usize,
            settings.offload_queue as usize,
            Box::new(on_panic),
        );
        let access_log = settings.access_log.map(|format| Arc::new(AccessLog::new(format, io::stdout())));
        let journal = Arc::new(Journal::new(access_log, monitor, 0));
        Ok(Arc::new_cyclic(|shared: &Weak<Shared>| {
            let shared = Weak::clone(shared);
            let on_idle = move || {
                if let Some(shared) = shared.upgrade() {
                    shared.table.wake();
                }
            };
            Shared {
                info: info(settings, threads, process),
                http: Arc::new(varvel_http1::Config {
                    limits: settings.limits(),
                    timeouts: settings.timeouts(),
                }),
                table: Table::new(connections_max, waker),
                pool: Pool::new(threads as usize, processors),
                offload,
                tasks: Tasks::new(Arc::clone(&reporter), Box::new(on_idle)),
                threads: Arc::new(Threads::default()),
                stopping: Stopping::default(),
                held: Mutex::default(),
                reporter,
                journal,
                cut: 0.into(),
            }
        }))
    }
}

fn info(settings: &Settings, threads: u32, process: ProcessModel) -> WorkerInfo {
    const CAPS: Caps = Caps::INTERIM
        .with(Caps::UPGRADE)
        .with(Caps::CONNECT)
        .with(Caps::TRAILERS_IN)
        .with(Caps::TRAILERS_OUT)
        .with(Caps::FULL_DUPLEX)
        .with(Caps::DISCONNECT_WATCH)
        .with(Caps::OFFLOAD)
        .with(Caps::SPAWN)
        .with(Caps::DEFER)
        .with(Caps::FILE_ZEROCOPY)
        .with(Caps::MONITOR);
    let mut info = WorkerInfo::new("varvel-threaded", Driver::Blocking);
    info.process = process;
    info.concurrency = Some(threads);
    info.caps = CAPS;
    info.limits = settings.contract_limits();
    info
}

fn build<F: AppFactory>(factory: &F, worker: &Worker, shared: &Shared) -> Result<F::App, ServeError> {
    let built = contain(Running::Build, |event| shared.report(None, event), || factory.build(worker));
    Ok(built.unwrap_or_else(|| Err(StartError::new("its factory panicked")))?)
}

/// What the threads of the pool have in common, the application above all. It is torn down by who has it last, which is
/// the thread that built it unless a call does not end (spec L5, L8).
struct Crew<F: AppFactory> {
    app: F::App,
    factory: F,
    worker: Worker,
    shared: Arc<Shared>,
    leader: Mutex<Leader>,
}

impl<F> Crew<F>
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    /// Starts one more thread of the pool.
    fn starter(self: &Arc<Self>) -> Box<dyn Fn() -> bool + Send + Sync> {
        let crew = Arc::downgrade(self);
        Box::new(move || {
            let Some(crew) = crew.upgrade() else { return false };
            let threads = Arc::clone(&crew.shared.threads);
            threads.start("varvel-serve", move || {
                crew.run();
                dismiss(crew);
            })
        })
    }

    /// The life of a thread.
    fn run(&self) {
        let pool = &self.shared.pool;
        let mut tools = Tools::new();
        let mut ready = Vec::new();
        let mut came = Came::Started;
        loop {
            came = match pool.next(came) {
                Turn::Serve { item: connection, timed } => {
                    let begun = timed.then(Instant::now);
                    self.serve(&connection, &mut tools);
                    Came::Served { slowly: begun.is_some_and(|begun| begun.elapsed() >= SLOW) }
                }
                Turn::Lead { wait } => {
                    self.lead(wait, &mut ready);
                    Came::Led(&mut ready)
                }
                Turn::End => return,
            };
        }
    }

    fn serve(&self, connection: &Arc<Connection>, tools: &mut Tools) {
        let report = |event: Event<'_>| connection.report(event);
        let served = contain(Running::Drop, report, || call::serve(connection, &self.app, tools));
        // What can panic there is contained there, but for destructors in unlikely places.
        if served.is_none() {
            contain(Running::Drop, report, || connection.abandon());
        }
    }

    fn lead(&self, wait: bool, ready: &mut Vec<Arc<Connection>>) {
        let report = |event: Event<'_>| self.shared.report(None, event);
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        // A waker is the application's, too.
        if contain(Running::Background, report, || leader.lead(&self.shared, wait, ready)) == Some(Led::Over)
        {
            self.shared.pool.end();
        }
    }
}

/// What is left to do when nobody is served any more.
fn end(shared: &Shared, deadline: Option<Instant>) {
    shared.tasks.end();
    let latest = Instant::now() + CUT_GRACE / 4;
    shared.threads.join(latest);
    // What threads that did not end have, or what no thread has come to since the cut. Its exchanges end here, and those
    // threads with what they are doing.
    for connection in shared.table.all() {
        contain(Running::Hook, |event| connection.report(event), || connection.abandon());
    }
    shared.release_held();
    if let Err(unfinished) = shared.offload.shutdown(deadline.map_or(latest, |deadline| deadline.max(latest)))
    {
        let (running, waiting) = (unfinished.running, unfinished.waiting.len());
        let message = format!("{running} blocking jobs still run and {waiting} were never begun");
        shared.report(None, Event::Log { level: Level::Warning, message: &message });
        contain(Running::Drop, |event| shared.report(None, event), || drop(unfinished));
    }
}

/// Lets go of the application, and tears it down if nobody else has it.
fn dismiss<F: AppFactory>(crew: Arc<Crew<F>>) {
    let Some(Crew { app, factory, worker, shared, leader }) = Arc::into_inner(crew) else { return };
    let report = |event: Event<'_>| shared.report(None, event);
    let teardown = || contain(Running::Teardown, report, || factory.teardown(app, &worker));
    let mut leader = leader.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(Err(error)) = leader.mind_timers(&shared, teardown) {
        shared.report(None, Event::AppFailed { kind: FailKind::Internal, error: Some(&*error) });
    }
}

/// Says that the server has ended, however it did.
struct AnnounceEnd(Control);

impl Drop for AnnounceEnd {
    fn drop(&mut self) {
        self.0.announce_end();
    }
}

/// Called when a stop is asked for: the signal is raised at once (spec L7), the rest is the leader's.
struct OnStop(Weak<Shared>);

impl Wake for OnStop {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            // Whatever the wakers of the application do, the leader hears of it.
            contain(Running::Background, |event| shared.report(None, event), || shared.stopping.raise());
            shared.table.wake();
        }
    }
}

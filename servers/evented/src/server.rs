//! The server: starts a loop for each core, and sees them through build, service, drain and teardown together.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use varvel::{
    AsyncApp, AsyncAppFactory, Caps, Control, Driver, Event, Launch, Level, Outcome, Phase, Report,
    ServeError, Served, Server, StartError, WorkerInfo,
};
use varvel_server_kit::{
    access_log::AccessLog, containment::contain, gateway::panic_message, journal::Journal,
    listener::Listener, settings::Settings, worker_pool::WorkerPool,
};

use crate::{
    accept::Loops,
    event_loop::{Core, EventLoop},
    shared::Shared,
    worker::LoopWorker,
};

/// The evented server; see the [crate] for how it works.
///
/// Its settings are those of [`Settings`] that concern connections and event loops; it binds nothing itself.
#[derive(Clone, Debug)]
pub struct Evented {
    settings: Settings,
}

/// What works here.
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

/// How long a teardown may take beyond the drain's deadline.
const TEARDOWN_TIME: Duration = Duration::from_secs(5);

impl Evented {
    /// A server with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl<F> Server<F> for Evented
where
    F: AsyncAppFactory + Send + Sync + 'static,
    F::App: 'static,
    <F::App as AsyncApp>::Future: 'static,
{
    fn serve(self, factory: F, launch: Launch) -> Result<Served, ServeError> {
        /// However serving ends, whoever waits for it is told.
        struct Ending(Control);
        impl Drop for Ending {
            fn drop(&mut self) {
                self.0.announce_end();
            }
        }
        let _ending = Ending(launch.control.clone());
        self.run(&factory, launch)
    }
}

/// What a loop tells the server.
enum Progress {
    Built(Result<(), ServeError>),
    /// Everything of its connections is gone, and so many exchanges were cut off.
    Drained(u64),
    /// It has died and could not be built again.
    Lost(ServeError),
}

/// What the server tells a loop.
enum Order {
    Serve,
    TearDown,
}

impl Evented {
    fn run<F>(&self, factory: &F, launch: Launch) -> Result<Served, ServeError>
    where
        F: AsyncAppFactory + Sync,
    {
        let count = self.settings.loop_count().max(1);
        let reporter = Arc::clone(&launch.reporter);
        let on_panic = Arc::clone(&launch.reporter);
        let pool = Arc::new(WorkerPool::new(
            "varvel-offload",
            self.settings.offload_threads as usize,
            self.settings.offload_queue as usize,
            Box::new(move |panic| {
                let message = panic_message(&*panic);
                on_panic.report(&Report::new(Event::Panicked { during: Phase::Background, message }));
            }),
        ));
        let connections_max = self.settings.max_connections.map_or(usize::MAX, |max| max as usize);
        let loops = Arc::new(Loops::new(count, connections_max));
        let http = Arc::new(varvel_http1::Config {
            limits: self.settings.limits(),
            timeouts: self.settings.timeouts(),
        });
        let mut info = WorkerInfo::new("varvel-evented", Driver::Evented);
        info.workers = count as u32;
        info.process = launch.process;
        info.caps = CAPS;
        info.limits = self.settings.contract_limits();
        info.concurrency = factory.policy().exclusive.then_some(1);

        let access_log =
            self.settings.access_log.map(|format| Arc::new(AccessLog::new(format, std::io::stdout())));
        let mut setups = Vec::with_capacity(count);
        for index in 0..count {
            let listeners = launch.listeners.iter().map(|listener| Listener::new(listener.try_clone()?));
            let listeners =
                listeners.collect::<Result<_, _>>().map_err(ServeError::io("share a listener"))?;
            let (poll, mailbox) = Core::poller().map_err(ServeError::io("make a poller"))?;
            loops.join(index, Arc::clone(&mailbox));
            let mut info = info.clone();
            info.index = index as u32;
            // One for each loop, which alone counts who holds it.
            let journal = Arc::new(Journal::new(access_log.clone(), launch.monitor.clone(), info.index));
            let reporter = Arc::clone(&reporter);
            let ops = LoopWorker::new(info, reporter, journal, Arc::clone(&pool), Arc::clone(&mailbox));
            setups.push((listeners, Core::new(poll, mailbox, Arc::new(ops))));
        }
        // The loops have descriptors of their own; the sockets close when the last of them is dropped.
        let Launch { listeners, control, .. } = launch;
        drop(listeners);
        control.on_stop(Waker::from(Arc::clone(&loops)));

        thread::scope(|scope| {
            let (progress, progressed) = mpsc::channel();
            let mut orders = Vec::with_capacity(count);
            for (index, (listeners, core)) in setups.into_iter().enumerate() {
                let (order, ordered) = mpsc::channel();
                let seat = Seat {
                    factory,
                    core,
                    listeners,
                    loops: Arc::clone(&loops),
                    index,
                    control: control.clone(),
                    http: Arc::clone(&http),
                    reporter: Arc::clone(&reporter),
                    progress: progress.clone(),
                    ordered,
                };
                let thread = thread::Builder::new().name(format!("varvel-loop-{index}"));
                thread.spawn_scoped(scope, || seat.work()).map_err(ServeError::io("start a thread"))?;
                orders.push(order);
            }
            drop(progress);

            let mut built = Ok(());
            for _ in 0..count {
                match progressed.recv() {
                    Ok(Progress::Built(result)) => built = built.and(result),
                    _ => break,
                }
            }
            if built.is_ok() {
                control.announce_ready();
                orders.iter().for_each(|order| drop(order.send(Order::Serve)));
            }
            let mut cut = 0;
            if built.is_ok() {
                let mut lost = Vec::new();
                for _ in 0..count {
                    match progressed.recv() {
                        Ok(Progress::Drained(more)) => cut += more,
                        Ok(Progress::Lost(error)) => lost.push(error),
                        _ => break,
                    }
                }
                if lost.len() == count {
                    built = lost.pop().map_or(Ok(()), Err);
                }
            }
            // No call runs any more, but sync ones whose client has left; those are given the rest of the time.
            let deadline = control.stop_deadline().unwrap_or_else(Instant::now);
            if let Err(unfinished) = pool.shutdown(deadline) {
                let message =
                    format!("blocking jobs that did not end before the deadline: {}", unfinished.running);
                reporter.report(&Report::new(Event::Log { level: Level::Warning, message: &message }));
            }
            orders.iter().for_each(|order| drop(order.send(Order::TearDown)));
            built.map(|()| Served::new(cut))
        })
    }
}

/// What one loop's thread starts with.
struct Seat<'a, F> {
    factory: &'a F,
    core: Core,
    listeners: Vec<Listener>,
    loops: Arc<Loops>,
    index: usize,
    control: Control,
    http: Arc<varvel_http1::Config>,
    reporter: Arc<dyn varvel::Reporter>,
    progress: Sender<Progress>,
    ordered: Receiver<Order>,
}

impl<F: AsyncAppFactory> Seat<'_, F> {
    fn work(mut self) {
        let app = match self.build() {
            Ok(app) => app,
            Err(error) => {
                let _ = self.progress.send(Progress::Built(Err(error.into())));
                return;
            }
        };
        let _ = self.progress.send(Progress::Built(Ok(())));
        let app = match self.ordered.recv() {
            Ok(Order::Serve) => {
                let served = self.serve_undying(app);
                let (app, progress) = match served {
                    Ok((app, cut)) => (Some(app), Progress::Drained(cut)),
                    Err(error) => (None, Progress::Lost(error)),
                };
                let _ = self.progress.send(progress);
                let _ = self.ordered.recv();
                app
            }
            // Another loop could not be built.
            Ok(Order::TearDown) | Err(_) => Some(app),
        };
        if let Some(app) = app {
            self.tear_down(app);
        }
    }

    /// Serves to the end. A panic that no containment has caught costs the loop its connections and its application; a new
    /// loop takes its place (spec L9).
    fn serve_undying(&mut self, mut app: F::App) -> Result<(F::App, u64), ServeError> {
        loop {
            let report = self.reporter();
            match contain(Phase::Background, report, || self.serve(app)) {
                Some(Ok(served)) => return Ok(served),
                Some(Err(error)) => return Err(self.die(error)),
                None => self.core.restart(),
            }
            app = match self.build() {
                Ok(app) => app,
                Err(error) => return Err(self.die(error.into())),
            };
        }
    }

    /// There is no way to go on.
    fn die(&mut self, error: ServeError) -> ServeError {
        self.loops.bury(self.index);
        self.listeners.clear();
        self.log(Level::Error, &format!("event loop {} is gone: {error}", self.index));
        error
    }

    fn build(&mut self) -> Result<F::App, StartError> {
        let worker = self.core.worker.clone();
        let (report, control, factory) = (self.reporter(), &self.control, self.factory);
        let core = &mut self.core;
        match contain(Phase::Build, report, || core.run(factory.build(&worker), control, None)) {
            Some(Ok(Some(built))) => built,
            Some(Err(error)) => Err(StartError::new(format!("its loop cannot wait for events: {error}"))),
            Some(Ok(None)) => Err(StartError::new("a stop came first, and its deadline has passed")),
            None => Err(StartError::new("it panicked; see the report")),
        }
    }

    fn serve(&mut self, app: F::App) -> Result<(F::App, u64), ServeError> {
        let limits = self.core.worker.info().limits.clone();
        let mut shared = Shared::new(
            app,
            self.factory.policy(),
            Arc::clone(&self.reporter),
            Arc::clone(&self.http),
            &limits,
            Arc::clone(&self.core.ops.journal),
        );
        let (core, listeners) = (&mut self.core, &mut self.listeners);
        let event_loop = EventLoop::new(core, &mut shared, &self.loops, self.index, &self.control, listeners);
        let mut event_loop = event_loop.map_err(ServeError::io("watch a listener"))?;
        let served = catch_unwind(AssertUnwindSafe(|| event_loop.serve()));
        if !matches!(served, Ok(Ok(_))) {
            // Nobody comes back to its exchanges, so this is their end.
            event_loop.abandon(Outcome::Failed);
        }
        drop(event_loop);
        let cut = served.unwrap_or_else(|panic| resume_unwind(panic));
        Ok((shared.app, cut.map_err(ServeError::io("wait for events"))?))
    }

    fn tear_down(&mut self, app: F::App) {
        let worker = self.core.worker.clone();
        let until =
            self.control.stop_deadline().unwrap_or_else(Instant::now).max(Instant::now()) + TEARDOWN_TIME;
        let (report, control, factory) = (self.reporter(), &self.control, self.factory);
        let core = &mut self.core;
        let torn = contain(Phase::Teardown, report, || {
            core.run(factory.teardown(app, &worker), control, Some(until))
        });
        let message = match torn {
            Some(Ok(Some(Ok(())))) | None => return,
            Some(Ok(Some(Err(error)))) => format!("teardown failed: {error}"),
            Some(Err(error)) => format!("teardown could not wait for events: {error}"),
            Some(Ok(None)) => "teardown did not end before the deadline".to_owned(),
        };
        self.log(Level::Error, &message);
    }

    /// Reports what is not about a request.
    fn reporter(&self) -> impl FnOnce(Event<'_>) + use<F> {
        let reporter = Arc::clone(&self.reporter);
        move |event| reporter.report(&Report::new(event))
    }

    fn log(&self, level: Level, message: &str) {
        self.reporter.report(&Report::new(Event::Log { level, message }));
    }
}

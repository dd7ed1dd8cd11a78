//! The life of the server and of its workers: build, accept, stop, tear down, and replace a worker that has died.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use varvel::{
    Address, App, AppFactory, Caps, ConnInfo, Control, Event, Launch, Level, Listener, Monitor, Phase,
    Report, Reporter, ServeError, Served, Server, StartError,
};

use super::{
    Fault, Reference,
    connection::Connection,
    settings::Settings,
    wire::{Socket, Wire},
    worker::{Core, panic_message},
};

/// How often a listener is asked for a connection. Polling needs no way to wake the thread that accepts.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(2);

/// How long calls that were cut off may take to notice it.
const AFTER_CUT: Duration = Duration::from_secs(1);

impl<F> Server<F> for Reference
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    fn serve(self, factory: F, launch: Launch) -> Result<Served, ServeError> {
        let control = launch.control.clone();
        let served = serve(&self.settings, &Arc::new(factory), launch);
        control.announce_end();
        served
    }
}

fn serve<F>(settings: &Settings, factory: &Arc<F>, launch: Launch) -> Result<Served, ServeError>
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    let Launch { listeners, control, reporter, monitor, .. } = launch;
    let is_heard = settings.caps.contains(Caps::MONITOR) || settings.has(Fault::MissingMonitorIsTold);
    let monitor = monitor.filter(|_| is_heard);
    if settings.has(Fault::ReadyBeforeBuild) {
        control.announce_ready();
    }
    let seat = |index| Seat {
        index,
        settings: settings.clone(),
        factory: Arc::clone(factory),
        control: control.clone(),
        reporter: Arc::clone(&reporter),
        monitor: monitor.clone(),
        listeners: Vec::new(),
    };
    let mut seats: Vec<Seat<F>> = (0..settings.tuning.workers.max(1)).map(seat).collect();
    let mut workers = Vec::new();
    for seat in &seats {
        let built = match seat.build() {
            Err(_) if settings.has(Fault::HidesFailedStart) => return Ok(Served::new(0)),
            Err(_) if settings.has(Fault::ServesWithoutApplication) => seat.build(),
            built => built,
        };
        match built {
            Ok(worker) => workers.push(worker),
            Err(error) => {
                workers.into_iter().for_each(|worker| seat.tear_down(worker));
                return Err(error);
            }
        }
    }

    if settings.has(Fault::KeepsListener) {
        std::mem::forget(
            listeners.iter().filter_map(|listener| listener.try_clone().ok()).collect::<Vec<_>>(),
        );
    }
    if settings.has(Fault::ResetsEarlyClients) {
        // Closing unread bytes resets.
        listeners.iter().for_each(|listener| while accept_now(listener).is_ok() {});
    }
    // Nobody shall be accepted who could not be served any more.
    if control.stop_deadline().is_none() || settings.has(Fault::IgnoresEarlyStop) {
        let count = if settings.has(Fault::ServesFirstListenerOnly) { 1 } else { listeners.len() };
        let listeners: Vec<_> = listeners.into_iter().take(count).map(Arc::new).collect();
        seats.iter_mut().for_each(|seat| seat.listeners.clone_from(&listeners));
    }
    let cut = thread::scope(|scope| {
        let lives: Vec<_> = seats
            .into_iter()
            .zip(workers)
            .map(|(seat, worker)| scope.spawn(move || seat.live(worker)))
            .collect();
        control.announce_ready();
        lives
            .into_iter()
            .map(|life| life.join().unwrap_or(Err(StartError::new("a worker panicked").into())))
            .collect::<Vec<_>>()
    });
    if settings.has(Fault::StopIsAnError) {
        return Err(ServeError::Io { doing: "go on", error: io::ErrorKind::Interrupted.into() });
    }
    // Only if no worker was left has it failed.
    let lost = cut.iter().all(Result::is_err);
    match cut.into_iter().try_fold(0, |sum, cut| Ok(sum + if lost { cut? } else { cut.unwrap_or(0) })) {
        Ok(cut) => Ok(Served::new(cut)),
        Err(error) => Err(error),
    }
}

/// The place of a worker, and of those that replace it.
struct Seat<F> {
    index: u32,
    settings: Settings,
    factory: Arc<F>,
    control: Control,
    reporter: Arc<dyn Reporter>,
    monitor: Option<Arc<dyn Monitor>>,
    listeners: Vec<Arc<Listener>>,
}

/// A worker: its application, and what serves it.
struct Living<A> {
    core: Arc<Core>,
    app: Arc<A>,
    threads: Vec<JoinHandle<()>>,
}

impl<F> Seat<F>
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    fn has(&self, fault: Fault) -> bool {
        self.settings.has(fault)
    }

    /// Makes a worker, whose application is built.
    fn build(&self) -> Result<Living<F::App>, ServeError> {
        let exclusive = self.factory.policy().exclusive && !self.has(Fault::IgnoresExclusive);
        let places = if exclusive { 1 } else { self.settings.tuning.threads };
        let core = Core::new(
            self.settings.clone(),
            self.index,
            self.control.clone(),
            Arc::clone(&self.reporter),
            self.monitor.clone(),
            places,
        );
        self.control.on_stop(Waker::from(Arc::clone(&core)));
        let threads = core.start_threads().map_err(ServeError::io("start threads"))?;
        let built = catch_unwind(AssertUnwindSafe(|| self.factory.build(&core.worker())));
        let built = built.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            core.tell(&Report::new(Event::Panicked { during: Phase::Build, message }));
            Err(StartError::new(format!("build panicked: {message}")))
        });
        match built {
            Ok(app) => Ok(Living { core, app: Arc::new(app), threads }),
            Err(error) => {
                core.end();
                Err(error.into())
            }
        }
    }

    /// Serves until the stop, by one worker after another if they die; says how many exchanges were cut off.
    fn live(mut self, mut worker: Living<F::App>) -> Result<u64, ServeError> {
        loop {
            let accepting = self.accept(&worker);
            worker.threads.extend(worker.core.start_pulse());
            worker.core.wait_for_end();
            let Some(cause) = worker.core.death() else {
                self.listeners.clear();
                let cut = drain(&worker.core, accepting);
                self.tear_down(worker);
                return Ok(cut);
            };
            worker.core.stop_accepting();
            accepting.into_iter().for_each(|thread| drop(thread.join()));
            cut_off(&worker.core);
            self.tear_down(worker);
            worker = match self.replace(&cause) {
                Ok(Some(worker)) => worker,
                Ok(None) => return Ok(0),
                Err(error) => return Err(error),
            };
        }
    }

    /// Makes a worker in place of one that has died.
    fn replace(&self, cause: &str) -> Result<Option<Living<F::App>>, ServeError> {
        if !self.has(Fault::DeathIsUnreported) {
            self.log(&format!("worker {} died, and is replaced: {cause}", self.index));
        }
        if self.has(Fault::DeathTakesOthers) {
            self.control.stop(Duration::ZERO);
        }
        if self.has(Fault::TheDeadStayDead) {
            return Ok(None);
        }
        let mut built = self.build();
        if built.is_err() && self.has(Fault::RetriesFailedBuild) {
            built = self.build();
        }
        if let Err(error) = &built {
            if !self.has(Fault::FailedRestartIsLost) {
                self.log(&format!("worker {} is gone: {error}", self.index));
            }
            if self.has(Fault::FailedRestartEndsAll) {
                self.control.stop(Duration::ZERO);
            }
        }
        built.map(Some)
    }

    fn tear_down(&self, worker: Living<F::App>) {
        let Living { core, app, threads } = worker;
        self.tear_down_app(&core, app);
        core.end();
        // They end at once, but for jobs that do not return, which nobody can end.
        threads.into_iter().filter(JoinHandle::is_finished).for_each(|thread| drop(thread.join()));
    }

    fn tear_down_app(&self, core: &Arc<Core>, app: Arc<F::App>) {
        let Some(app) = Arc::into_inner(app) else {
            return core
                .log(Level::Warning, "a call outlived the deadline; its application is not torn down");
        };
        if self.has(Fault::SkipsTeardown) {
            return std::mem::forget(app);
        }
        match catch_unwind(AssertUnwindSafe(|| self.factory.teardown(app, &core.worker()))) {
            Ok(Ok(())) => {}
            Ok(Err(_)) if self.has(Fault::TeardownErrorIsLost) => {}
            Ok(Err(error)) => core.log(Level::Error, &format!("teardown failed: {error}")),
            Err(_) if self.has(Fault::TeardownPanicIsLost) => {}
            Err(panic) => {
                let message = panic_message(&*panic);
                core.tell(&Report::new(Event::Panicked { during: Phase::Teardown, message }));
            }
        }
    }

    fn log(&self, message: &str) {
        self.reporter.report(&Report::new(Event::Log { level: Level::Error, message }));
    }

    /// Begins to accept at all listeners.
    fn accept(&self, worker: &Living<F::App>) -> Vec<JoinHandle<()>> {
        let start = |listener: &Arc<Listener>| {
            // The application must be back when the last connection is gone, and not wait for a thread that accepts.
            let (core, app) = (Arc::clone(&worker.core), Arc::downgrade(&worker.app));
            let (listener, factory) = (Arc::clone(listener), Arc::clone(&self.factory));
            let accept = move || {
                let mut exhausted = false;
                while core.accepts() {
                    core.wait_for_connection_place();
                    match accept_now(&listener) {
                        Ok((socket, peer, local)) => {
                            exhausted = false;
                            let Some(mut app) = app.upgrade() else { return };
                            if core.has(Fault::BuildPerConnection) {
                                app = factory.build(&core.worker()).map_or(app, Arc::new);
                            }
                            open(&core, &app, socket, peer, local);
                        }
                        Err(error) if is_usual(&error) => thread::sleep(ACCEPT_INTERVAL),
                        Err(_) if core.has(Fault::LastDescriptorIsTheEnd) => return,
                        Err(_) if core.has(Fault::SpinsWithoutDescriptors) => {}
                        Err(error) => {
                            if !std::mem::replace(&mut exhausted, true) {
                                core.log(Level::Error, &format!("could not accept a connection: {error}"));
                            }
                            thread::sleep(ACCEPT_INTERVAL);
                        }
                    }
                }
            };
            let started = thread::Builder::new().name("accept".into()).spawn(accept);
            started.inspect_err(|error| self.log(&format!("no thread to accept with: {error}"))).ok()
        };
        self.listeners.iter().filter_map(start).collect()
    }
}

/// Ends what runs, in the order of the specification (S17, L8); how many exchanges had to be cut off.
fn drain(core: &Arc<Core>, accepting: Vec<JoinHandle<()>>) -> u64 {
    let first_deadline = core.control.stop_deadline();
    let deadline = || match core.has(Fault::IgnoresSecondStop) {
        true => first_deadline,
        false => core.control.stop_deadline(),
    };
    if !core.has(Fault::StopsUnannounced) {
        core.signal_stop();
    }
    if !core.has(Fault::StopKeepsAccepting) {
        core.stop_accepting();
        accepting.into_iter().for_each(|thread| drop(thread.join()));
    }
    if core.has(Fault::ReturnsBeforeTeardown) {
        return 0;
    }
    if !core.has(Fault::StopLeavesIdle) {
        core.close_idle();
    }
    let in_time = !core.has(Fault::StopCutsCalls) && core.wait_until_done(deadline);
    core.signal_stop();
    core.stop_accepting();
    if in_time {
        return 0;
    }
    if core.has(Fault::IgnoresDeadline) {
        core.wait_until_done(|| None);
        return 0;
    }
    cut_off(core)
}

/// Drops what runs; how many exchanges that were.
fn cut_off(core: &Arc<Core>) -> u64 {
    let cut = core.cut();
    let until = Instant::now() + AFTER_CUT;
    if !core.wait_until_done(|| Some(until)) {
        core.finish_stuck();
    }
    cut
}

/// Whether there is merely nobody to accept.
fn is_usual(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted)
}

fn set_nonblocking(listener: &Listener) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => listener.set_nonblocking(true),
        Listener::Unix(listener) => listener.set_nonblocking(true),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn accept_now(listener: &Listener) -> io::Result<(Socket, Address, Address)> {
    set_nonblocking(listener)?;
    accept(listener)
}

fn accept(listener: &Listener) -> io::Result<(Socket, Address, Address)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept()?;
            stream.set_nonblocking(false)?;
            let local = stream.local_addr()?;
            Ok((Socket::Tcp(stream), Address::Ip(peer), Address::Ip(local)))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            let path = stream.local_addr()?.as_pathname().map(|path| Arc::new(path.to_owned()));
            let local = path.map_or(Address::Unnamed, Address::Unix);
            Ok((Socket::Unix(stream), Address::Unnamed, local))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Gives a connection its threads.
fn open<A>(core: &Arc<Core>, app: &Arc<A>, socket: Socket, peer: Address, local: Address)
where
    A: App + Send + Sync + 'static,
{
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let id = NUMBER.fetch_add(1, Ordering::Relaxed);
    let started = Wire::start(socket, &core.settings).and_then(|(wire, threads)| {
        let registration = core.register(id, &wire);
        let info = ConnInfo::new(id, peer, local);
        let connection =
            Connection::new(Arc::clone(core), Arc::clone(app), info, wire, threads, registration);
        thread::Builder::new().name("connection".into()).spawn(move || connection.run())
    });
    if let Err(error) = started {
        // The socket closes with what was dropped.
        core.log(Level::Error, &format!("could not serve a connection: {error}"));
    }
}

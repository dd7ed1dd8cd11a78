//! The life of the server: build, accept, stop, tear down.

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
    Address, App, AppFactory, ConnInfo, Event, Launch, Level, Listener, Phase, Report, ServeError, Served,
    Server, StartError, Worker,
};

use super::{
    Fault, Reference,
    connection::Connection,
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
        let places = if factory.policy().exclusive && self.settings.fault != Some(Fault::IgnoresExclusive) {
            1
        } else {
            self.settings.tuning.threads
        };
        let core = Core::new(self.settings, control.clone(), Arc::clone(&launch.reporter), places);
        control.on_stop(Waker::from(Arc::clone(&core)));
        if core.has(Fault::ReadyBeforeBuild) {
            control.announce_ready();
        }
        let threads = core.start_threads().map_err(ServeError::io("start threads"))?;
        let served = serve_with(&core, &Arc::new(factory), launch);
        core.end();
        // They end at once, but for jobs that do not return, which nobody can end.
        threads.into_iter().filter(JoinHandle::is_finished).for_each(|thread| drop(thread.join()));
        control.announce_end();
        served
    }
}

fn serve_with<F>(core: &Arc<Core>, factory: &Arc<F>, launch: Launch) -> Result<Served, ServeError>
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    let worker = core.worker();
    let app = match build(core, &**factory, &worker) {
        Ok(app) => Arc::new(app),
        Err(_) if core.has(Fault::HidesFailedStart) => return Ok(Served::new(0)),
        Err(_) if core.has(Fault::ServesWithoutApplication) => Arc::new(build(core, &**factory, &worker)?),
        Err(error) => return Err(error.into()),
    };
    let listeners = launch.listeners;
    let kept: Vec<_> = match core.has(Fault::KeepsListener) {
        true => listeners.iter().filter_map(|listener| listener.try_clone().ok()).collect(),
        false => Vec::new(),
    };
    std::mem::forget(kept);
    if core.has(Fault::ResetsEarlyClients) {
        // Closing unread bytes resets.
        listeners.iter().for_each(|listener| while accept_now(listener).is_ok() {});
    }
    let accepting = match core.control.stop_deadline() {
        // Nobody shall be accepted who could not be served any more.
        Some(_) if !core.has(Fault::IgnoresEarlyStop) => Ok(Vec::new()),
        _ => accept_on_all(core, factory, &app, listeners),
    };
    let accepting = match accepting {
        Ok(accepting) => accepting,
        Err(error) => {
            tear_down(core, &**factory, app, &worker);
            return Err(ServeError::Io { doing: "listen", error });
        }
    };
    core.control.announce_ready();
    core.wait_for_stop();

    let cut = drain(core, accepting);
    tear_down(core, &**factory, app, &worker);
    if core.has(Fault::StopIsAnError) {
        return Err(ServeError::Io { doing: "go on", error: io::ErrorKind::Interrupted.into() });
    }
    Ok(Served::new(cut))
}

fn build<F: AppFactory>(core: &Core, factory: &F, worker: &Worker) -> Result<F::App, StartError> {
    catch_unwind(AssertUnwindSafe(|| factory.build(worker))).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        core.tell(&Report::new(Event::Panicked { during: Phase::Build, message }));
        Err(StartError::new(format!("build panicked: {message}")))
    })
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
    let cut = core.cut();
    let until = Instant::now() + AFTER_CUT;
    if !core.wait_until_done(|| Some(until)) {
        core.finish_stuck();
    }
    cut
}

fn tear_down<F: AppFactory>(core: &Arc<Core>, factory: &F, app: Arc<F::App>, worker: &Worker) {
    let Some(app) = Arc::into_inner(app) else {
        return core.log(Level::Warning, "a call outlived the deadline; its application is not torn down");
    };
    if core.has(Fault::SkipsTeardown) {
        return std::mem::forget(app);
    }
    match catch_unwind(AssertUnwindSafe(|| factory.teardown(app, worker))) {
        Ok(Ok(())) => {}
        Ok(Err(_)) if core.has(Fault::TeardownErrorIsLost) => {}
        Ok(Err(error)) => core.log(Level::Error, &format!("teardown failed: {error}")),
        Err(_) if core.has(Fault::TeardownPanicIsLost) => {}
        Err(panic) => {
            let message = panic_message(&*panic);
            core.tell(&Report::new(Event::Panicked { during: Phase::Teardown, message }));
        }
    }
}

fn accept_on_all<F>(
    core: &Arc<Core>,
    factory: &Arc<F>,
    app: &Arc<F::App>,
    listeners: Vec<Listener>,
) -> io::Result<Vec<JoinHandle<()>>>
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    let count = if core.has(Fault::ServesFirstListenerOnly) { 1 } else { listeners.len() };
    let mut threads = Vec::new();
    for listener in listeners.into_iter().take(count) {
        set_nonblocking(&listener)?;
        // The application must be back when the last connection is gone, and not wait for a thread that accepts.
        let (core, app, factory) = (Arc::clone(core), Arc::downgrade(app), Arc::clone(factory));
        let accept = move || {
            let mut exhausted = false;
            while core.accepts() {
                core.wait_for_connection_place();
                match accept(&listener) {
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
        threads.push(thread::Builder::new().name("accept".into()).spawn(accept)?);
    }
    Ok(threads)
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

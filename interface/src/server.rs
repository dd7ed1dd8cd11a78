//! How any server is started and stopped: by programs, by a supervisor of processes, by the conformance suite.

use std::{
    error::Error,
    fmt, io,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixListener,
    },
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use crate::{Monitor, ProcessModel, Reporter, StartError, Stderr, worker::after};

/// A server that can run the applications of a factory. Each server states in its impls which factories those are:
///
/// | server | factory | its application |
/// |---|---|---|
/// | threads that share one application | `AppFactory + Send + Sync + 'static` | `App + Send + Sync + 'static` |
/// | an event loop per core, each with its own | `AsyncAppFactory + Send + Sync + 'static` | `AsyncApp + 'static` |
///
/// The bridges of [`crate::bridge`] make either kind of factory of the other.
pub trait Server<F> {
    /// Builds the workers' applications, serves until it is stopped through `launch.control`, tears down, returns.
    ///
    /// Blocks. The threads that it starts are gone when it returns, but for those in sync calls that did not end by the
    /// deadline (spec L8).
    ///
    /// # Errors
    /// [`ServeError`], if nothing could be served, or not to the end.
    fn serve(self, factory: F, launch: Launch) -> Result<Served, ServeError>;
}

/// What a server is started with.
#[non_exhaustive]
pub struct Launch {
    /// The bound, listening sockets. The server makes them non-blocking.
    pub listeners: Vec<Listener>,
    /// By which it is stopped.
    pub control: Control,
    /// Who takes its reports. Default: [`Stderr`].
    pub reporter: Arc<dyn Reporter>,
    /// How this process came to be. Default: [`ProcessModel::Single`].
    pub process: ProcessModel,
    /// Who follows its work. Default: nobody.
    pub monitor: Option<Arc<dyn Monitor>>,
}

impl Launch {
    /// On these sockets, with the defaults for everything else.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self {
            listeners,
            control: Control::new(),
            reporter: Arc::new(Stderr),
            process: ProcessModel::Single,
            monitor: None,
        }
    }

    /// Stopped by this control.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Reporting to this reporter.
    #[must_use]
    pub fn with_reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// In a process that came to be in this way.
    #[must_use]
    pub fn with_process(mut self, process: ProcessModel) -> Self {
        self.process = process;
        self
    }

    /// Followed by this monitor.
    #[must_use]
    pub fn with_monitor(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.monitor = Some(monitor);
        self
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("listeners", &self.listeners)
            .field("control", &self.control)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// A bound, listening socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A handle to a running server: stops it, and knows when it is ready. All clones are the same handle.
#[derive(Clone, Default)]
pub struct Control(Arc<ControlState>);

#[derive(Default)]
struct ControlState {
    phase: Mutex<Phase>,
    /// Told whenever the phase changes.
    changed: Condvar,
}

#[derive(Default)]
struct Phase {
    ready: bool,
    /// The server has returned, or will at once.
    ended: bool,
    stop: Option<Instant>,
    /// Woken when a stop is asked for.
    wakers: Vec<Waker>,
}

impl Control {
    /// A control of a server to be started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the server to stop: it refuses new connections, lets running calls finish, and drops those that have not
    /// within `grace` (spec S17, L8); [`Duration::MAX`] waits for all of them. Asking again can only make the deadline earlier.
    pub fn stop(&self, grace: Duration) {
        let deadline = after(Instant::now(), grace);
        let mut phase = self.lock();
        phase.stop = Some(phase.stop.map_or(deadline, |before| before.min(deadline)));
        // Wakers stay registered: a second, earlier stop wakes them again.
        let wakers = phase.wakers.clone();
        drop(phase);
        self.0.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits until the server serves; `false` if it ended before that.
    pub fn wait_ready(&self) -> bool {
        let phase = self.lock();
        let phase = self.0.changed.wait_while(phase, |phase| !phase.ready && !phase.ended);
        phase.unwrap_or_else(PoisonError::into_inner).ready
    }

    /// By when the server must have stopped, if it was asked to.
    pub fn stop_deadline(&self) -> Option<Instant> {
        self.lock().stop
    }

    /// Has `waker` woken whenever [`stop_deadline`](Self::stop_deadline) changes; for servers. Woken at once if a stop
    /// was asked for before.
    pub fn on_stop(&self, waker: Waker) {
        let mut phase = self.lock();
        let stopping = phase.stop.is_some();
        phase.wakers.push(waker.clone());
        drop(phase);
        if stopping {
            waker.wake();
        }
    }

    /// Says that all required workers are built and connections are served (spec L6); for servers.
    pub fn announce_ready(&self) {
        self.lock().ready = true;
        self.0.changed.notify_all();
    }

    /// Says that the server has ended, for whatever reason; for servers.
    pub fn announce_end(&self) {
        let mut phase = self.lock();
        phase.ended = true;
        phase.wakers.clear();
        drop(phase);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.lock();
        f.debug_struct("Control")
            .field("ready", &phase.ready)
            .field("stop", &phase.stop)
            .finish_non_exhaustive()
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// How many exchanges were cut off because the drain deadline passed.
    pub cut: u64,
}

impl Served {
    /// An end in which so many exchanges were cut off.
    pub fn new(cut: u64) -> Self {
        Self { cut }
    }
}

/// Why a server could not serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The application could not be built on a required worker (spec L1).
    Start(StartError),
    /// The system refused something.
    Io {
        /// What the server was about to do, such as `register the listener`.
        doing: &'static str,
        /// The refusal.
        error: io::Error,
    },
}

impl ServeError {
    /// The system refused what the server was about to do; for `map_err`.
    pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, error }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Io { doing, error } => write!(f, "could not {doing}: {error}"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Io { error, .. } => Some(error),
        }
    }
}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

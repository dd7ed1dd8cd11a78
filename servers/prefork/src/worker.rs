//! The life of a worker process, from the fork to its exit.
//!
//! | signal | in a worker |
//! |---|---|
//! | TERM | finish what was begun, and end |
//! | USR2 | the same, but first leave the sockets that no other worker takes over |
//! | QUIT | cut what was begun, and end |
//! | ABRT | say so, and abort; a hang does not keep it from that, for a thread of its own waits for signals |
//! | USR1 | open the log files anew |
//! | INT, HUP, TTIN, TTOU | nothing: a terminal sends some of them to every process, and the supervisor decides |
//!
//! A worker whose supervisor dies gets TERM from the system, and ends itself by force if it does not end in time, for
//! nobody else would. Processes that a worker starts are its own: nobody ends them, and they keep the sockets that they
//! inherit open.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal},
};
use signal_hook::consts::{SIGABRT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use varvel::{
    BoxError, Control, Event, Finish, Launch, Level, Monitor, ProcessModel, Report, Reporter, RequestId,
    Served, Ticket,
};
use varvel_server_kit::{log_files::LogFiles, reuse_port::Membership};

use crate::{
    Service, WorkerProcess, crew::MARGIN, fork::SignalsHeld, hooks::AllHooks, identity::Identity,
    scoreboard::Board, signals::Signals, sockets::Share, status::StatusWriter,
};

/// What a worker starts with.
pub(crate) struct Seat {
    pub(crate) process: WorkerProcess,
    pub(crate) supervisor: Pid,
    /// Who it is to be, if not who the supervisor is.
    pub(crate) identity: Option<Identity>,
    pub(crate) logs: LogFiles,
    pub(crate) share: Share,
    pub(crate) board: Board,
    pub(crate) status: Arc<StatusWriter>,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) hooks: AllHooks,
    pub(crate) drain_timeout: Duration,
    /// After how many requests it tells that it is worn; 0 for never.
    pub(crate) requests_max: u64,
}

/// Exit statuses of workers, for who looks at them by hand; the supervisor goes by what was told.
const STOPPED: i32 = 0;
const FAILED: i32 = 3;

/// Runs the service; the process ends with it. `held` are the signals that came since before the fork.
pub(crate) fn run(service: impl Service, seat: Seat, held: SignalsHeld) -> ! {
    let status = Arc::clone(&seat.status);
    // What is behind the caller of `Supervisor::run` is the supervisor's, so nothing may unwind to there.
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let Seat { process, supervisor, identity, logs, share, board, .. } = seat;
        let Seat { status, reporter, mut hooks, drain_timeout, requests_max, .. } = seat;
        let signals =
            Signals::catch(&[SIGTERM, SIGQUIT, SIGUSR2, SIGABRT, SIGINT, SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1])?;
        drop(held);
        if let Some(identity) = &identity {
            let failed = |error| format!("cannot become the user of the workers: {error}");
            identity.assume().map_err(failed)?;
        }
        // Behind the change of user, with which the system forgets it.
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // It may have died before it could be said that this matters.
        if getppid() != Some(supervisor) {
            return Err("the supervisor is gone".into());
        }
        hooks.call(|hooks| hooks.after_fork(&process));
        let control = Control::new();
        let has_own_queue = !share.memberships.is_empty();
        let obedience = Obedience {
            signals,
            logs,
            supervisor,
            control: control.clone(),
            memberships: share.memberships,
            drain_timeout,
            reporter: Arc::clone(&reporter),
            hooks,
        };
        thread::Builder::new().name("varvel-signals".to_owned()).spawn(|| obedience.obey())?;
        announce(control.clone(), Arc::clone(&status))?;
        let monitor = Followed { board, has_own_queue, left: AtomicU64::new(requests_max), status };
        let launch = Launch::new(share.listeners)
            .with_control(control)
            .with_reporter(reporter)
            .with_process(ProcessModel::Forked)
            .with_monitor(Arc::new(monitor));
        service.run(launch)
    }));
    let code = match outcome.unwrap_or_else(|panic| Err(panicked(&*panic))) {
        Ok(Served { cut, .. }) => {
            status.ended(cut);
            STOPPED
        }
        Err(error) => {
            status.failed(&error);
            FAILED
        }
    };
    process::exit(code);
}

fn panicked(panic: &(dyn Any + Send)) -> BoxError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the server panicked: {}", text.unwrap_or("no message")).into()
}

/// Tells the supervisor when the worker serves.
fn announce(control: Control, status: Arc<StatusWriter>) -> io::Result<()> {
    let waiting = move || {
        if control.wait_ready() {
            status.ready();
        }
    };
    thread::Builder::new().name("varvel-ready".to_owned()).spawn(waiting).map(drop)
}

/// Who waits for signals and passes them on.
struct Obedience {
    signals: Signals,
    logs: LogFiles,
    supervisor: Pid,
    control: Control,
    memberships: Vec<Membership>,
    drain_timeout: Duration,
    reporter: Arc<dyn Reporter>,
    hooks: AllHooks,
}

impl Obedience {
    fn obey(mut self) {
        // Until when somebody without a supervisor may take.
        let mut orphaned: Option<Instant> = None;
        loop {
            for signal in self.signals.take() {
                match signal {
                    SIGTERM => {
                        self.control.stop(self.drain_timeout);
                        if orphaned.is_none() && getppid() != Some(self.supervisor) {
                            orphaned = Instant::now().checked_add(self.drain_timeout.saturating_add(MARGIN));
                        }
                    }
                    SIGUSR2 => {
                        Membership::leave(std::mem::take(&mut self.memberships));
                        self.control.stop(self.drain_timeout);
                    }
                    SIGQUIT => self.control.stop(Duration::ZERO),
                    SIGABRT => self.abort(),
                    SIGUSR1 => self.reopen_logs(),
                    _ => {}
                }
            }
            let left = orphaned.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                let _ = kill_process(getpid(), Signal::KILL);
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            if let Err(error) = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], timeout.as_ref()) {
                if error != rustix::io::Errno::INTR {
                    // Better an orderly end now than a process that only SIGKILL can stop.
                    return self.control.stop(self.drain_timeout);
                }
            }
        }
    }

    fn reopen_logs(&self) {
        if let Err(error) = self.logs.open() {
            self.error(&format!("worker (pid {}): {error}", process::id()));
        }
    }

    fn error(&self, message: &str) {
        self.reporter.report(&Report::new(Event::Log { level: Level::Error, message }));
    }

    fn abort(&mut self) -> ! {
        self.error(&format!("process {} aborts, as it was told to", process::id()));
        self.hooks.call(|hooks| hooks.worker_abort());
        // With the stack of every thread in the core file, where the system writes one.
        process::abort();
    }
}

/// Passes on to the board what the server tells, and notices when the worker has served for long enough.
struct Followed {
    board: Board,
    /// It has sockets of its own, from whose queues nobody else can take a client.
    has_own_queue: bool,
    /// Requests until then; 0 if that is never, or was told.
    left: AtomicU64,
    status: Arc<StatusWriter>,
}

impl Monitor for Followed {
    fn progress(&self, worker: u32) {
        self.board.progress(worker);
    }

    fn connection_opened(&self, worker: u32) {
        self.board.connection_opened(worker);
    }

    fn is_ahead(&self, connections: usize) -> bool {
        !self.has_own_queue && self.board.is_ahead(connections)
    }

    fn connection_closed(&self, worker: u32) {
        self.board.connection_closed(worker);
    }

    fn exchange_began(&self, worker: u32, request: RequestId<'_>) -> Ticket {
        self.board.exchange_began(worker, request)
    }

    fn polling(&self, worker: u32, exchange: Option<Ticket>) {
        self.board.polling(worker, exchange);
    }

    fn exchange_ended(&self, worker: u32, exchange: Ticket, finish: &Finish, duration: Duration) {
        self.board.exchange_ended(worker, exchange, finish, duration);
        let left = self.left.load(Relaxed);
        if left != 0 && self.left.fetch_sub(1, Relaxed) == 1 {
            self.status.worn();
        }
    }

    fn refused(&self, worker: u32, status: StatusCode) {
        self.board.refused(worker, status);
    }
}

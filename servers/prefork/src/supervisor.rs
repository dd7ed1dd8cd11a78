//! The supervisor: one thread, one loop. It waits for signals, for what workers tell and for the next deadline; then it does
//! what the [`Crew`] decides.

use std::{
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, geteuid, getpid, kill_process, wait},
};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};
use varvel::{
    Control, Event, Level, PROGRESS_INTERVAL, Report, Reporter, ServeError, Served, StartError, Stderr,
};
use varvel_server_kit::{
    listener::{BindAddress, Listener as Socket},
    log_files::LogFiles,
    pid_file::PidFile,
    service_manager::ServiceManager,
    settings::Settings,
};

use crate::{
    Hooks, Relaunch, Scoreboard, Service, Sockets, WorkerProcess,
    crew::{Action, Consequence, Crew, Ending, MemberId, Rules, Wear, Why},
    fork::{Side, SignalsHeld, fork},
    hooks::AllHooks,
    identity::Identity,
    post_mortem,
    scoreboard::{BOARDS, Board},
    signals::Signals,
    sockets::Retired,
    status::{self, Status, StatusReader},
    upgrade::Successor,
    worker::{self, Seat},
};

mod succession;

/// The most workers: while they are replaced, each has a second process, and those that leave a third.
pub const WORKERS_MAX: usize = BOARDS / 4;

/// How often a worker's progress is looked at, at most.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How often a worker's memory and age are looked at.
const WEAR_INTERVAL: Duration = Duration::from_secs(1);

/// Starts worker processes, replaces them, ends them.
///
/// It has no threads, and neither may its process have any: a fork copies only one, with the locks of all.
pub struct Supervisor {
    settings: Settings,
    sockets: Sockets,
    reporter: Arc<dyn Reporter>,
    control: Control,
    hooks: AllHooks,
    scoreboard: Scoreboard,
    service_manager: ServiceManager,
    relaunch: Option<Relaunch>,
}

impl Supervisor {
    /// Of as many workers as these settings say, who accept from these sockets.
    ///
    /// # Errors
    /// If the system has no memory that processes can share.
    pub fn new(settings: Settings, sockets: Sockets) -> Result<Self, ServeError> {
        let scoreboard = Scoreboard::new().map_err(ServeError::io("share memory between processes"))?;
        Ok(Self {
            settings,
            sockets,
            reporter: Arc::new(Stderr),
            control: Control::new(),
            hooks: AllHooks::default(),
            scoreboard,
            service_manager: ServiceManager::default(),
            relaunch: None,
        })
    }

    /// With these hooks, behind those that there are.
    #[must_use]
    pub fn with_hooks(mut self, hooks: impl Hooks + Send + 'static) -> Self {
        self.hooks.0.push(Box::new(hooks));
        self
    }

    /// Reporting to this reporter, as workers do. Default: [`Stderr`].
    #[must_use]
    pub fn with_reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Stopped by this control, beside signals; told when all workers serve.
    #[must_use]
    pub fn with_control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Telling this service manager what happens. Default: nobody.
    #[must_use]
    pub fn with_service_manager(mut self, service_manager: ServiceManager) -> Self {
        self.service_manager = service_manager;
        self
    }

    /// With a way to start this program again, which SIGUSR2 asks for. Default: it is refused.
    #[must_use]
    pub fn with_relaunch(mut self, relaunch: impl Into<Option<Relaunch>>) -> Self {
        self.relaunch = relaunch.into();
        self
    }

    /// Where the workers listen, with the ports that the system chose.
    pub fn addresses(&self) -> &[BindAddress] {
        self.sockets.addresses()
    }

    /// What the workers do and have done, also for applications that are built in them.
    pub fn scoreboard(&self) -> Scoreboard {
        self.scoreboard.clone()
    }

    /// Forks the workers, each of which runs the service, and looks after them until a signal ends them all.
    ///
    /// Returns in the process that called it, and only there. As process 1 that has a successor it never does: it stays until
    /// that has ended, and the process ends with the same status.
    ///
    /// # Errors
    /// If the first workers do not all become ready, or none can later on.
    pub fn run(self, service: impl Service) -> Result<Served, ServeError> {
        let workers = self.settings.worker_count().min(WORKERS_MAX);
        let identity =
            Identity::of(&self.settings).map_err(ServeError::io("find the user or group of the workers"))?;
        let mut logs = LogFiles::of(&self.settings);
        if let Some(Identity { user, group, .. }) = &identity {
            logs = logs.owned_by(user.unwrap_or_else(geteuid), *group);
        }
        logs.open().map_err(ServeError::io("open the log files"))?;
        let predecessor = self.sockets.heritage.predecessor();
        let pid_file = self.settings.pid_file.as_deref().map(|path| PidFile::claim(path, predecessor));
        let pid_file = pid_file.transpose().map_err(ServeError::io("write the PID file"))?;
        let signals =
            Signals::catch(&[SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGCHLD])
                .map_err(ServeError::io("catch signals"))?;
        let crew = Crew::new(Rules {
            workers,
            start_timeout: self.settings.worker_start_timeout,
            drain_timeout: self.settings.drain_timeout,
        });
        let mut running = Running {
            supervisor: self,
            signals,
            crew,
            processes: Vec::new(),
            checked: Instant::now(),
            wear_checked: Instant::now(),
            cut: 0,
            fatal: None,
            identity,
            logs,
            pid_file,
            successor: None,
            newest_ended: None,
            reload_told: false,
            alive: Instant::now(),
        };
        running.supervisor.hooks.call(|hooks| hooks.on_starting());
        let served = loop {
            let now = Instant::now();
            running.note_who_accepts();
            match running.crew.decide(now) {
                None => running.wait(now),
                Some(Action::Fork { place, generation }) => {
                    let held = SignalsHeld::new();
                    match running.fork(place, generation, now) {
                        Ok(None) => drop(held),
                        Ok(Some(born)) => {
                            let seat = match running.into_seat(born) {
                                Ok(seat) => seat,
                                Err(error) => {
                                    let message = &error.to_string();
                                    let event = Event::Log { level: Level::Error, message };
                                    Stderr.report(&Report::new(event));
                                    std::process::exit(1);
                                }
                            };
                            worker::run(service, seat, held)
                        }
                        Err(error) => running.fork_failed(place, generation, error, now),
                    }
                }
                Some(Action::Ended) => break running.fatal.take().map_or(Ok(Served::new(running.cut)), Err),
                Some(action) => running.act(action, now),
            }
        };
        running.supervisor.hooks.call(|hooks| hooks.on_exit());
        running.supervisor.control.announce_end();
        if let Some(init) = running.into_init() {
            drop(service);
            init.remain()
        }
        served
    }
}

/// A supervisor at work.
struct Running {
    supervisor: Supervisor,
    signals: Signals,
    crew: Crew,
    processes: Vec<Process>,
    /// When the progress of workers was looked at last.
    checked: Instant,
    wear_checked: Instant,
    cut: u64,
    fatal: Option<ServeError>,
    /// Who workers are.
    identity: Option<Identity>,
    logs: LogFiles,
    pid_file: Option<PidFile>,
    /// A new program that is on its way, or serves already.
    successor: Option<Successor>,
    /// How whoever serves in place of this process has ended. Matters to process 1.
    newest_ended: Option<ExitStatus>,
    /// The service manager knows that there is a reload, and not that it is over.
    reload_told: bool,
    /// When the service manager was given the last sign of life.
    alive: Instant,
}

/// What the supervisor has of a worker process.
struct Process {
    member: MemberId,
    pid: Pid,
    place: usize,
    generation: u32,
    forked: Instant,
    board: Board,
    status: StatusReader,
    failure: Option<(bool, String)>,
    /// When it is too old.
    lifetime: Duration,
    /// Sockets that nobody accepts from behind it, and which close when it has ended.
    sockets_to_close: Vec<Socket>,
}

/// What a new process needs of its birth.
struct Born {
    place: usize,
    generation: u32,
    board: Board,
    status: status::StatusWriter,
    supervisor: Pid,
    requests_max: u64,
}

impl Running {
    /// Forks a worker. In the new process there is something to return.
    fn fork(&mut self, place: usize, generation: u32, now: Instant) -> Result<Option<Born>, ServeError> {
        self.supervisor
            .sockets
            .provide(place)
            .map_err(|error| ServeError::Start(StartError::retry(error)))?;
        let busy = || io::Error::other("too many processes have not ended yet");
        let board = self.supervisor.scoreboard.take_board().ok_or_else(busy);
        let board = board.map_err(ServeError::io("find room for a worker on the scoreboard"))?;
        let process = WorkerProcess { place, generation, pid: None };
        self.supervisor.hooks.call(|hooks| hooks.before_fork(&process));
        let supervisor = getpid();
        let requests_max = self.requests_max();
        // What waits in a buffer would be written by both.
        let _ = io::stdout().flush();
        let forked = status::channel().and_then(|(reader, writer)| Ok((reader, writer, fork()?)));
        match forked {
            Ok((_, status, Side::Child)) => {
                Ok(Some(Born { place, generation, board, status, supervisor, requests_max }))
            }
            Ok((status, _, Side::Parent(pid))) => {
                board.set_pid(pid);
                let member = self.crew.forked(place, generation, now);
                let lifetime = self.supervisor.settings.max_lifetime;
                let lifetime = lifetime.saturating_add((lifetime / 10).mul_f64(chance()));
                self.processes.push(Process {
                    member,
                    pid,
                    place,
                    generation,
                    forked: now,
                    board,
                    status,
                    failure: None,
                    lifetime,
                    sockets_to_close: Vec::new(),
                });
                Ok(None)
            }
            Err(error) => {
                board.clear();
                Err(ServeError::Io { doing: "fork a worker", error })
            }
        }
    }

    /// In the new process: closes what is the supervisor's, and keeps what the worker needs.
    fn into_seat(self, born: Born) -> Result<Seat, ServeError> {
        let Born { place, generation, board, status, supervisor, requests_max } = born;
        let Supervisor { sockets, reporter, hooks, settings, .. } = self.supervisor;
        Ok(Seat {
            process: WorkerProcess { place, generation, pid: Some(std::process::id()) },
            supervisor,
            identity: self.identity,
            logs: self.logs,
            share: sockets.into_share(place)?,
            board,
            status: Arc::new(status),
            reporter,
            hooks,
            drain_timeout: settings.drain_timeout,
            requests_max,
        })
    }

    /// After how many requests the next worker is worn.
    fn requests_max(&self) -> u64 {
        let settings = &self.supervisor.settings;
        let jitter = f64::from(settings.max_requests_jitter) * chance();
        settings.max_requests.map_or(0, |max| u64::from(max) + jitter as u64)
    }

    fn fork_failed(&mut self, place: usize, generation: u32, error: ServeError, now: Instant) {
        let then = match self.crew.fork_failed(place, generation, now) {
            Consequence::ReplacedAfter(pause) => format!("; it is tried again in {} s", pause.as_secs_f32()),
            Consequence::ReloadAbandoned => "; those that served before go on".to_owned(),
            _ => String::new(),
        };
        self.error(&format!("worker {place} cannot be started: {error}{then}"));
        if !self.crew.was_complete() {
            self.give_up(error, now);
        }
    }

    /// Ends with an error, which only the first counts for.
    fn give_up(&mut self, error: ServeError, now: Instant) {
        self.fatal.get_or_insert(error);
        self.stop(true, now);
    }

    /// Has all workers leave from then on.
    fn stop(&mut self, quick: bool, after: Instant) {
        self.begin_stop();
        self.crew.stop(quick, after);
    }

    /// The first of several stops: tells the service manager, and a successor on its way.
    fn begin_stop(&mut self) {
        if !self.crew.is_stopping() && self.replaced_by().is_none() {
            self.supervisor.service_manager.stopping("running exchanges are finished");
            if let Some(successor) = self.successor.as_mut().filter(|successor| successor.is_starting()) {
                let _ = kill_process(successor.pid, Signal::TERM);
                successor.dismiss();
            }
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Fork { .. } | Action::Ended => {}
            Action::Retire { member, quick, why } => self.retire(member, quick, why),
            Action::Abort { member, why } => self.abort(member, why, now),
            Action::Kill { member } => {
                if let Some(process) = self.process(member) {
                    let who = process.name();
                    let _ = kill_process(process.pid, Signal::KILL);
                    self.warn(&format!("{who} has not ended in time and is killed"));
                }
            }
            Action::Ready => {
                self.supervisor.service_manager.ready(&self.summary());
                self.supervisor.control.announce_ready();
                self.supervisor.hooks.call(|hooks| hooks.when_ready());
                if self.supervisor.sockets.heritage.is_pending() {
                    self.succeed();
                }
            }
            Action::Reloaded => self.info("reloaded: the new workers serve, and those before them leave"),
        }
    }

    /// How many workers there are to be, for the log.
    fn number(&self) -> String {
        match self.crew.wanted() {
            1 => "1 worker from now on".to_owned(),
            workers => format!("{workers} workers from now on"),
        }
    }

    /// What there is, for the service manager.
    fn summary(&self) -> String {
        match self.crew.wanted() {
            1 => "1 worker serves".to_owned(),
            workers => format!("{workers} workers serve"),
        }
    }

    fn retire(&mut self, member: MemberId, quick: bool, why: Why) {
        let Some(process) = self.process(member) else { return };
        // A port that another process listens at with the same sockets must not be left.
        let sockets_stay = self.replaced_by().is_some() || self.supervisor.sockets.heritage.is_pending();
        let closes = matches!(why, Why::Superfluous | Why::Stop) && !sockets_stay;
        let signal = match quick {
            true => Signal::QUIT,
            // Nobody takes over its socket.
            false if closes => Signal::USR2,
            false => Signal::TERM,
        };
        let _ = kill_process(process.pid, signal);
        let (who, served) = (process.name(), process.board.exchanges_ended());
        let reason = match why {
            Why::Worn(Wear::Requests) => format!("it has answered {served} requests"),
            Why::Worn(Wear::Lifetime) => format!("it is {} s old", process.forked.elapsed().as_secs()),
            Why::Worn(Wear::Memory { rss }) => format!("it occupies {} MiB", rss >> 20),
            Why::ReloadAbandoned => "the reload was given up".to_owned(),
            Why::Superfluous => self.number(),
            // Nobody will be forked for those who would wait in their queues.
            Why::Stop => return self.supervisor.sockets.close(),
            _ => return,
        };
        self.info(&format!("{who} leaves: {reason}"));
    }

    fn abort(&self, member: MemberId, why: Why, now: Instant) {
        let Some(process) = self.process(member) else { return };
        let time = match why {
            Why::StartTimeout => {
                format!("is not ready after {:.1} s", (now - process.forked).as_secs_f32())
            }
            _ => {
                let silence = process.board.silence().unwrap_or_default();
                format!("has shown no progress for {:.1} s", silence.as_secs_f32())
            }
        };
        self.error(&format!("{} {time}; it is told to abort", process.name()));
        // Before its memory is gone.
        post_mortem::threads(process.pid).iter().for_each(|thread| self.error(&format!("  {thread}")));
        let _ = kill_process(process.pid, Signal::ABORT);
    }

    fn process(&self, member: MemberId) -> Option<&Process> {
        self.processes.iter().find(|process| process.member == member)
    }

    /// Waits until something happens, and takes note of it.
    fn wait(&mut self, now: Instant) {
        let checks = [Some(self.checked + CHECK_INTERVAL), Some(self.wear_checked + WEAR_INTERVAL)];
        let deadlines = [self.crew.next_deadline(now), self.alive_due(), self.succession_deadline()];
        let until = checks.into_iter().chain(deadlines).flatten().min().unwrap_or(now);
        let timeout = until.saturating_duration_since(now) + Duration::from_millis(1);
        let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let told = self.processes.iter().map(|process| &process.status).filter(|status| status.is_open());
        fds.extend(told.map(|status| PollFd::new(status, PollFlags::IN)));
        // Behind its last word it would be readable for ever.
        let starting = self.successor.as_ref().filter(|successor| successor.is_starting());
        fds.extend(starting.map(|successor| PollFd::new(successor, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing else is possible with descriptors that are open; if it were, deadlines still hold.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let now = Instant::now();
        if let Some(deadline) = self.supervisor.control.stop_deadline() {
            self.stop(deadline <= now, now);
        }
        let signals = self.signals.take();
        self.read_statuses(now);
        self.follow_successor(now);
        for signal in signals {
            self.obey(signal, now);
        }
        self.reap(now);
        self.check_progress(now);
        self.check_wear(now);
        self.inform(now);
    }

    fn obey(&mut self, signal: i32, now: Instant) {
        if let Some(newest) = self.replaced_by() {
            return self.obey_with_successor(signal, newest, now);
        }
        match signal {
            SIGUSR1 => self.reopen_logs(),
            SIGUSR2 => self.upgrade(now),
            SIGTTIN | SIGTTOU if self.successor.is_some() => {
                self.warn("the number of workers stays: the program is being replaced");
            }
            SIGTERM if !self.crew.is_stopping() => {
                let Settings { lame_duck_delay: delay, drain_timeout, .. } = self.supervisor.settings;
                let when =
                    if delay.is_zero() { String::new() } else { format!(" in {} s", delay.as_secs_f32()) };
                let seconds = drain_timeout.as_secs_f32();
                self.info(&format!("varvel-prefork stopping{when}; running exchanges have {seconds} s"));
                self.stop(false, now + delay);
            }
            SIGINT | SIGQUIT => {
                self.begin_stop();
                self.crew.stop_quickly(now);
            }
            // Before all have served for the first time, those that are starting are as new as can be.
            SIGHUP if self.crew.was_complete() && !self.crew.is_stopping() => {
                self.info("SIGHUP: new workers are started; they take over when all of them are ready");
                self.supervisor.hooks.call(|hooks| hooks.on_reload());
                self.crew.reload();
                if self.crew.is_reloading() {
                    self.supervisor.service_manager.reloading("new workers are started");
                    self.reload_told = true;
                }
            }
            SIGTTIN | SIGTTOU if !self.crew.is_stopping() => {
                let (name, change) = if signal == SIGTTIN { ("SIGTTIN", 1) } else { ("SIGTTOU", -1) };
                let before = self.crew.wanted();
                let wanted = self.crew.resize(change, WORKERS_MAX);
                let bound = match (wanted == before, change) {
                    (false, _) => "",
                    (true, 1) => "; there can be no more",
                    (true, _) => "; at least one stays",
                };
                self.info(&format!("{name}: {}{bound}", self.number()));
                self.supervisor.service_manager.status(&self.summary());
                for Retired { place, sockets } in self.supervisor.sockets.shrink(wanted) {
                    if let Some(last) = self.processes.iter_mut().rfind(|process| process.place == place) {
                        last.sockets_to_close = sockets;
                    }
                }
            }
            _ => {}
        }
    }

    /// Moves on to new log files, and has the workers do so.
    fn reopen_logs(&self) {
        // Before the workers, who may not be allowed to make files.
        if let Err(error) = self.logs.open() {
            self.error(&error.to_string());
        }
        for process in &self.processes {
            let _ = kill_process(process.pid, Signal::USR1);
        }
    }

    fn alive_due(&self) -> Option<Instant> {
        Some(self.alive + self.supervisor.service_manager.alive_interval()?)
    }

    /// Tells the service manager what is due.
    fn inform(&mut self, now: Instant) {
        if self.alive_due().is_some_and(|due| due <= now) {
            self.alive = now;
            self.supervisor.service_manager.alive();
        }
        if self.reload_told && !self.crew.is_reloading() {
            self.reload_told = false;
            self.supervisor.service_manager.ready(&self.summary());
        }
    }

    fn read_statuses(&mut self, now: Instant) {
        for process in &mut self.processes {
            for status in process.status.read() {
                match status {
                    Status::Ready => {
                        if self.crew.ready(process.member, now) {
                            self.supervisor.hooks.call(|hooks| hooks.worker_ready(&process.describe()));
                        }
                    }
                    Status::Worn => self.crew.wear(process.member, Wear::Requests),
                    Status::Ended { cut } => self.cut += u64::from(cut),
                    Status::Failed { may_retry, text } => process.failure = Some((may_retry, text)),
                }
            }
        }
    }

    /// Takes note of processes that have ended. Some may be nobody's we know: as process 1 of a container, one gets all
    /// orphans.
    fn reap(&mut self, now: Instant) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(index) = self.processes.iter().position(|process| process.pid == pid) {
                // Its last words may have come behind the look before.
                self.read_statuses(now);
                let process = self.processes.swap_remove(index);
                self.bury(process, ExitStatus::from_raw(status.as_raw()), now);
                continue;
            }
            self.note_end_of_others(pid, ExitStatus::from_raw(status.as_raw()));
        }
    }

    fn bury(&mut self, process: Process, status: ExitStatus, now: Instant) {
        let who = process.name();
        let ending = match &process.failure {
            Some((may_retry, _)) => Ending::BuildFailed { may_retry: *may_retry },
            None if status.signal() == Some(SIGKILL) => Ending::Killed,
            None => Ending::Other,
        };
        let was_complete = self.crew.was_complete();
        let consequence = self.crew.ended(process.member, ending, now);
        if self.crew.is_deserted(process.place) {
            self.supervisor.sockets.vacate(process.place);
        }
        let how = post_mortem::ending(status, process.failure.as_ref().map(|(_, text)| text.as_str()));
        let then = match consequence {
            Consequence::Expected => String::new(),
            Consequence::Replaced => "; another takes its place".to_owned(),
            Consequence::ReplacedAfter(pause) => {
                format!("; another takes its place in {} s", pause.as_secs_f32())
            }
            Consequence::GivenUp => "; its place stays empty until a reload (SIGHUP)".to_owned(),
            Consequence::PredecessorStays => "; the one that it should replace goes on".to_owned(),
            Consequence::ReloadAbandoned => {
                "; so the reload is given up, and those that served before go on".to_owned()
            }
            Consequence::Fatal if was_complete => "; it was the last".to_owned(),
            Consequence::Fatal => "; so the start has failed".to_owned(),
        };
        let is_expected = consequence == Consequence::Expected;
        if !is_expected || status.signal().is_some() {
            let age = process.forked.elapsed().as_secs_f32();
            // The reason of a failure is somebody else's text: it is not to read as if its time belonged to it.
            let age = match process.failure {
                Some(_) => format!(" (after {age:.1} s)"),
                None => format!(" after {age:.1} s"),
            };
            self.error(&format!("{who} {how}{age}{then}"));
        }
        if is_expected && post_mortem::is_violent(status) {
            self.cut += process.board.exchanges_under_way();
        }
        if post_mortem::is_violent(status) {
            for line in post_mortem::exchanges(&process.board) {
                self.error(&line);
            }
        }
        if consequence == Consequence::Fatal {
            let reason = format!("{who} {how}");
            self.give_up(ServeError::Start(StartError::new(reason)), now);
        }
        self.supervisor.hooks.call(|hooks| hooks.worker_exit(&process.describe(), status));
        process.board.clear();
    }

    /// Looks for workers that hang.
    fn check_progress(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.checked);
        if late < CHECK_INTERVAL {
            return;
        }
        self.checked = now;
        // Whoever tells once a second may be a little late.
        let timeout = self.supervisor.settings.worker_timeout.max(2 * PROGRESS_INTERVAL);
        // Who was stopped together with its workers, or starved beside them, cannot blame them for it.
        if late > CHECK_INTERVAL + timeout / 2 {
            return;
        }
        let silent = |process: &&Process| process.board.silence().is_some_and(|silence| silence >= timeout);
        let silent: Vec<MemberId> =
            self.processes.iter().filter(silent).map(|process| process.member).collect();
        for member in silent {
            if let Some(action) = self.crew.hangs(member, now) {
                self.act(action, now);
            }
        }
    }

    /// Looks for workers that are too old or too large.
    fn check_wear(&mut self, now: Instant) {
        if now.saturating_duration_since(self.wear_checked) < WEAR_INTERVAL {
            return;
        }
        self.wear_checked = now;
        let memory_max = self.supervisor.settings.max_memory;
        for process in &self.processes {
            if now.saturating_duration_since(process.forked) >= process.lifetime {
                self.crew.wear(process.member, Wear::Lifetime);
            }
            let rss = memory_max.and_then(|max| post_mortem::rss(process.pid).filter(|rss| *rss > max));
            if let Some(rss) = rss {
                self.crew.wear(process.member, Wear::Memory { rss });
            }
        }
    }

    /// Has workers share connections with those alone who take some: neither with those who leave, nor with those who hang,
    /// for whom the others would wait in vain before each connection.
    fn note_who_accepts(&self) {
        for Process { member, board, .. } in &self.processes {
            let gets_on = board.silence().is_none_or(|silence| silence < 2 * PROGRESS_INTERVAL);
            board.set_accepting(gets_on && self.crew.is_serving(*member));
        }
    }

    fn info(&self, message: &str) {
        self.log(Level::Info, message);
    }

    fn warn(&self, message: &str) {
        self.log(Level::Warning, message);
    }

    fn error(&self, message: &str) {
        self.log(Level::Error, message);
    }

    fn log(&self, level: Level, message: &str) {
        self.supervisor.reporter.report(&Report::new(Event::Log { level, message }));
    }
}

impl Process {
    fn name(&self) -> String {
        format!("worker {} (pid {})", self.place, self.pid)
    }

    fn describe(&self) -> WorkerProcess {
        WorkerProcess { place: self.place, generation: self.generation, pid: Some(number(self.pid)) }
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// From 0 to 1, by chance.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

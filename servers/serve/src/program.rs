//! A whole program: reads its command line, listens, serves, and stops by signal.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{self, Write},
    mem,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use varvel::{Control, Event, Level, Report, Reporter as _, ServeError, Served, Stderr};
use varvel_prefork::{Heritage, Relaunch};
use varvel_server_kit::{
    listener::BindAddress,
    log_files::LogFiles,
    reuse_port::Membership,
    service_manager::ServiceManager,
    settings::Settings,
    shutdown::{Request as Asked, Signals, StopRequest},
};

use crate::{
    Config, Deploy, Error, Hooks, ServerKind,
    command_line::{self, Presentation, Request},
    descriptors::{self, Shortage},
    listening::Listening,
    prefork,
    pulse::Pulse,
};

/// [`run`](crate::run) with words and defaults of the program's own.
///
/// ```no_run
/// use std::process::ExitCode;
/// use http::{Request, Response};
/// use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
/// use varvel_serve::Program;
///
/// async fn echo(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
///     Ok(Response::new(request.into_body()))
/// }
///
/// fn main() -> ExitCode {
///     Program::new(app_fn(echo))
///         .version(env!("CARGO_PKG_VERSION"))
///         .about("Sends every request body back")
///         .default_bind(([127, 0, 0, 1], 3000))
///         .run()
/// }
/// ```
pub struct Program<A> {
    app: A,
    presentation: Presentation,
    defaults: Config,
    hooks: Vec<BoxedHooks>,
}

type BoxedHooks = Box<dyn Hooks + Send>;

impl<A> Program<A> {
    /// A program that runs this: anything that is [`Deploy`].
    pub fn new(app: A) -> Self {
        Self { app, presentation: Presentation::default(), defaults: Config::default(), hooks: Vec::new() }
    }

    /// What `--help` begins with. Default: nothing.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.presentation.about = Some(about.into());
        self
    }

    /// The program's version, for `--version`, which names Varvel's as well. Usually `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.presentation.version = Some(version.into());
        self
    }

    /// Where to listen if nobody says otherwise. Default: 127.0.0.1:8000.
    #[must_use]
    pub fn default_bind(mut self, address: impl Into<SocketAddr>) -> Self {
        self.defaults.settings.bind = vec![BindAddress::Tcp(address.into())];
        self
    }

    /// The server if nobody says otherwise. Default: [`ServerKind::Evented`].
    #[must_use]
    pub fn default_server(mut self, server: ServerKind) -> Self {
        self.defaults.server = server;
        self
    }

    /// Changes what holds if nobody says otherwise.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let program = varvel_serve::Program::new(());
    /// let program = program.defaults(|settings| {
    ///     settings.body_timeout = Duration::from_secs(5);
    ///     settings.body_bytes_max = Some(1 << 20);
    /// });
    /// ```
    #[must_use]
    pub fn defaults(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.defaults.settings);
        self
    }

    /// Called at the turning points of worker processes, with `--server prefork`.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks + Send + 'static) -> Self {
        self.hooks.push(Box::new(hooks));
        self
    }

    /// Does as the command line and the environment say; blocks until a signal stops it.
    ///
    /// The exit status is 0 after a stop, 1 if it could not serve, 2 for a command line or environment that makes no
    /// sense.
    pub fn run<K>(mut self) -> ExitCode
    where
        A: Deploy<K>,
    {
        let surroundings = Surroundings::find();
        let passed = surroundings.service_manager.sockets();
        if !passed.is_empty() {
            self.defaults.settings.bind = passed;
        }
        let arguments = env::args_os().collect::<Vec<_>>();
        self.presentation.name = name(arguments.first());
        let environment = |variable: &str| env::var_os(variable);
        match command_line::parse(&self.presentation, &self.defaults, arguments, &environment) {
            Ok(Request::Serve(mut config)) => {
                for warning in command_line::unknown_variables(env::vars_os().map(|(name, _)| name)) {
                    tell(Level::Warning, warning);
                }
                match serve_until_signalled(self.app, &mut config, self.hooks, surroundings) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => {
                        tell(Level::Error, error);
                        ExitCode::FAILURE
                    }
                }
            }
            Ok(Request::PrintConfig(text)) => {
                // A reader that has seen enough is no failure.
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(help_or_usage) => {
                let _ = help_or_usage.print();
                ExitCode::from(u8::try_from(help_or_usage.exit_code()).unwrap_or(2))
            }
        }
    }
}

impl<A> fmt::Debug for Program<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("defaults", &self.defaults).finish_non_exhaustive()
    }
}

/// How the program was called, without the path.
fn name(argument: Option<&OsString>) -> String {
    let file = argument.and_then(|argument| Path::new(argument).file_name());
    file.map_or_else(|| "varvel".to_owned(), |file| file.to_string_lossy().into_owned())
}

/// What this process was given by whoever has started it.
struct Surroundings {
    service_manager: ServiceManager,
    heritage: Heritage,
}

impl Surroundings {
    fn find() -> Self {
        let heritage = Heritage::claim();
        Self { service_manager: ServiceManager::from_environment(heritage.predecessor()), heritage }
    }
}

fn serve_until_signalled<K>(
    app: impl Deploy<K>,
    config: &mut Config,
    hooks: Vec<BoxedHooks>,
    surroundings: Surroundings,
) -> Result<(), Error> {
    if config.server == ServerKind::Prefork {
        return supervise(app, config, hooks, surroundings);
    }
    let service_manager = Arc::new(surroundings.service_manager);
    // Ahead of everything that takes time: a supervisor that changes its mind early gets an orderly end as well.
    let signals = Signals::install().map_err(Error::Signals)?;
    let mut listening = Listening::bind(config)?;
    let shortage = provide_descriptors(config);
    let logs = LogFiles::of(&config.settings);
    logs.open().map_err(ServeError::io("open the log files"))?;
    let control = Control::new();
    let obedience = Obedience {
        signals,
        control: control.clone(),
        config: config.clone(),
        memberships: listening.take_memberships(),
        logs,
        service_manager: Arc::clone(&service_manager),
    };
    thread::spawn(|| obedience.obey());
    let lines = announcement(listening.addresses(), config, shortage.as_ref());
    let (mut launch, _files) = listening.launch(control.clone());
    let pulse = service_manager.alive_interval().map(|_| Arc::<Pulse>::default());
    if let Some(pulse) = &pulse {
        launch = launch.with_monitor(Arc::clone(pulse) as _);
    }
    let announcer = announce(lines, &control, service_manager, pulse);
    let served = app.deploy(config, launch);
    // A server that failed before it was ready must not leave the announcer waiting.
    control.announce_end();
    let _ = announcer.join();
    tell(Level::Info, format_args!("varvel-{} stopped; {}", config.server, outcome(&served?)));
    Ok(())
}

/// The same, with worker processes. This one has no thread beside its first, or it could fork none.
fn supervise<K>(
    app: impl Deploy<K>,
    config: &mut Config,
    hooks: Vec<BoxedHooks>,
    surroundings: Surroundings,
) -> Result<(), Error> {
    let Surroundings { service_manager, heritage } = surroundings;
    let mut supervisor = prefork::supervisor(config, heritage)?
        .with_service_manager(service_manager)
        .with_relaunch(Relaunch::of_this_process().ok());
    let shortage = provide_descriptors(config);
    let lines = announcement(supervisor.addresses(), config, shortage.as_ref());
    supervisor = supervisor.with_hooks(Announcement(lines));
    for hooks in hooks {
        supervisor = supervisor.with_hooks(hooks);
    }
    let served = prefork::supervise(supervisor, app, config)?;
    tell(Level::Info, format_args!("varvel-{} stopped; {}", config.server, outcome(&served)));
    Ok(())
}

/// What to say when all workers serve.
struct Announcement(Vec<String>);

impl Hooks for Announcement {
    fn when_ready(&mut self) {
        self.0.iter().for_each(|line| tell(Level::Info, line));
    }
}

/// Sees to it that there are descriptors for as many connections as there may be, or fewer connections.
fn provide_descriptors(config: &mut Config) -> Option<Shortage> {
    let asked = config.settings.max_connections;
    let shortage = descriptors::provide(asked)?;
    config.settings.max_connections = Some(shortage.connections);
    // The default means: as many as there can be.
    if asked != Settings::default().max_connections {
        tell(Level::Warning, &shortage);
    }
    Some(shortage)
}

fn outcome(served: &Served) -> String {
    match served.cut {
        0 => "every exchange was finished".to_owned(),
        1 => "1 exchange was cut off".to_owned(),
        cut => format!("{cut} exchanges were cut off"),
    }
}

/// Passes signals on to the server for as long as the process lives.
struct Obedience {
    signals: Signals,
    control: Control,
    config: Config,
    memberships: Vec<Membership>,
    logs: LogFiles,
    service_manager: Arc<ServiceManager>,
}

impl Obedience {
    fn obey(mut self) {
        loop {
            match self.signals.wait() {
                Ok(Asked::Stop(StopRequest::Graceful)) => self.stop_gracefully(),
                Ok(Asked::Stop(StopRequest::Quick)) => {
                    self.service_manager.stopping("running exchanges are cut");
                    self.control.stop(Duration::ZERO);
                }
                Ok(Asked::ReopenLogs) => {
                    if let Err(error) = self.logs.open() {
                        tell(Level::Error, error);
                    }
                }
                Err(error) => {
                    // Better an orderly end now than a process that only SIGKILL can stop.
                    let message =
                        format_args!("cannot wait for signals any more, so the server stops: {error}");
                    tell(Level::Error, message);
                    return self.control.stop(self.config.settings.drain_timeout);
                }
            }
        }
    }

    fn stop_gracefully(&mut self) {
        let Settings { lame_duck_delay: delay, drain_timeout: grace, .. } = self.config.settings;
        let when = if delay.is_zero() { String::new() } else { format!(" in {} s", delay.as_secs_f32()) };
        let (server, seconds) = (self.config.server, grace.as_secs_f32());
        tell(Level::Info, format_args!("varvel-{server} stopping{when}; running exchanges have {seconds} s"));
        self.service_manager.stopping("running exchanges are finished");
        stop_after(delay, mem::take(&mut self.memberships), grace, &self.control);
    }
}

/// Beside the thread that waits for signals, so that a second one is heard meanwhile.
fn stop_after(delay: Duration, memberships: Vec<Membership>, grace: Duration, control: &Control) {
    if delay.is_zero() && memberships.is_empty() {
        return control.stop(grace);
    }
    let control = control.clone();
    thread::spawn(move || {
        thread::sleep(delay);
        Membership::leave(memberships);
        control.stop(grace);
    });
}

/// Where the program listens, and with how many of what: a line for each address.
fn announcement(addresses: &[BindAddress], config: &Config, shortage: Option<&Shortage>) -> Vec<String> {
    let settings = &config.settings;
    let mut crew = match config.server {
        ServerKind::Threaded => count(settings.threads as usize, "thread"),
        ServerKind::Evented => count(settings.loop_count(), "loop"),
        ServerKind::Prefork => format!("{} ({})", count(settings.worker_count(), "worker"), config.worker),
    };
    if let Some(Shortage { connections, .. }) = shortage {
        crew += &format!(", {connections} connections at most");
        crew += if config.server == ServerKind::Prefork { " each" } else { "" };
    }
    let (major, minor) = varvel::SPEC_VERSION;
    let who = format!("varvel-{} {} (spec {major}.{minor})", config.server, env!("CARGO_PKG_VERSION"));
    addresses.iter().map(|address| format!("{who} listening on {}, {crew}", url(address))).collect()
}

/// The address as somebody would type it into a browser or a client.
fn url(address: &BindAddress) -> String {
    match address {
        BindAddress::Unix(_) | BindAddress::Fd(_) => address.to_string(),
        _ => format!("http://{address}"),
    }
}

/// Says so once the program really serves.
fn announce(
    lines: Vec<String>,
    control: &Control,
    service_manager: Arc<ServiceManager>,
    pulse: Option<Arc<Pulse>>,
) -> thread::JoinHandle<()> {
    let control = control.clone();
    thread::spawn(move || {
        if control.wait_ready() {
            lines.iter().for_each(|line| tell(Level::Info, line));
            service_manager.ready("serves");
            if let Some(pulse) = pulse {
                pulse.follow(service_manager);
            }
        }
    })
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Where reports go, and looking like one.
fn tell(level: Level, message: impl fmt::Display) {
    Stderr.report(&Report::new(Event::Log { level, message: &message.to_string() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_what_was_cut() {
        assert_eq!(outcome(&Served::new(0)), "every exchange was finished");
        assert_eq!(outcome(&Served::new(1)), "1 exchange was cut off");
        assert_eq!(outcome(&Served::new(12)), "12 exchanges were cut off");
    }

    #[test]
    fn a_program_is_named_as_it_was_called() {
        assert_eq!(name(Some(&"/usr/local/bin/shop".into())), "shop");
        assert_eq!(name(Some(&"".into())), "varvel");
        assert_eq!(name(None), "varvel");
    }
}

//! Options and environment variables, made from the list of settings, and what they come down to.
//!
//! Whatever says the same thing wins in this order: command line, environment, the program's own defaults.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::{PossibleValue, PossibleValuesParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use varvel_prefork::Heritage;
use varvel_server_kit::settings::{self, Setting, SettingError, Settings, Unit};

use crate::{Config, ServerKind};

/// What a program says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presentation {
    /// As it was started, without the path.
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) about: Option<String>,
}

/// What the operator asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// To serve.
    Serve(Box<Config>),
    /// To see what `Serve` would have been: the text to print.
    PrintConfig(String),
}

/// Looks up an environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Options that are no settings: they choose or change the server itself.
const SERVER: &str = "server";
const WORKER: &str = "worker";
const INLINE: &str = "inline";
const PRINT_CONFIG: &str = "print-config";

/// Reads arguments, the first of which is the program's name, and the environment.
///
/// Help and version come as errors, too, whose `exit_code` is 0.
pub(crate) fn parse(
    presentation: &Presentation,
    defaults: &Config,
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<Request, clap::Error> {
    let mut command = command(presentation, defaults);
    let matches = command.try_get_matches_from_mut(arguments).map_err(explain_foreign_option)?;
    let origins = Origins { matches: &matches, environment };
    let request = origins.resolve(defaults).and_then(|config| {
        Ok(if matches.get_flag(PRINT_CONFIG) {
            Request::PrintConfig(origins.print(&config)?)
        } else {
            Request::Serve(Box::new(config))
        })
    });
    request.map_err(|problem| command.error(ErrorKind::ValueValidation, problem))
}

/// Options that operators of gunicorn and uvicorn know, and what does the same here.
const FOREIGN_OPTIONS: &[(&[&str], &str)] = &[
    (&["--worker-class", "-k"], "'--worker threaded' or '--worker evented', with '--server prefork'"),
    (&["--timeout", "-t"], "'--worker-timeout', with '--server prefork'"),
    (&["--graceful-timeout", "--timeout-graceful-shutdown"], "'--drain-timeout'"),
    (&["--keep-alive", "--timeout-keep-alive"], "'--keep-alive-timeout'"),
    (&["--worker-connections"], "'--max-connections'"),
    (&["--limit-max-requests"], "'--max-requests', with '--server prefork'"),
    (&["--limit-request-line"], "'--request-line-bytes-max'"),
    (&["--limit-request-fields"], "'--header-count-max'"),
    (&["--limit-request-field_size"], "'--head-bytes-max', of all fields together"),
    (&["--access-logfile"], "'--access-log combined', with '--access-log-file' for a file"),
    (&["--error-logfile"], "'--log-file'"),
    (&["--pid", "-p"], "'--pid-file'"),
    (&["-u"], "'--user', with '--server prefork'"),
    (&["-g"], "'--group', with '--server prefork'"),
    (&["--host", "--port"], "'--bind HOST:PORT'"),
    (&["--uds"], "'--bind unix:PATH'"),
    (&["--fd"], "'--bind fd:NUMBER'"),
    (&["--config", "-c"], "the environment: '--help' tells how; there is no configuration file"),
    (&["--daemon", "-D"], "a service manager"),
    (&["--reload"], "a program that watches files, such as watchexec"),
];

/// Says what does the work of an option that other servers have, in place of a guess by its letters.
fn explain_foreign_option(mut error: clap::Error) -> clap::Error {
    let foreign = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given)) if error.kind() == ErrorKind::UnknownArgument => {
            FOREIGN_OPTIONS.iter().find(|(names, _)| names.contains(&given.as_str()))
        }
        _ => None,
    };
    if let Some((_, here)) = foreign {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Suggested);
        let advice = format!("what does that here is {here}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice]));
    }
    error
}

/// A warning for each of these environment variables that looks like an option and is none, so that a slip of the pen
/// does not go unnoticed. No error: whoever runs a program does not choose all of its environment.
pub(crate) fn unknown_variables(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let options = || settings::describe().iter().map(|setting| setting.name).chain([SERVER, WORKER, INLINE]);
    let mut warnings = Vec::new();
    for name in names.into_iter().filter_map(|name| name.into_string().ok()) {
        let Some(rest) = name.strip_prefix("VARVEL_") else { continue };
        if name == Heritage::VARIABLE || options().any(|option| variable(option) == name) {
            continue;
        }
        let letters = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
        let meant = options().find(|option| letters(option) == letters(rest));
        warnings.push(match meant {
            Some(option) => {
                format!("{name} is no option of this program; did you mean {}?", variable(option))
            }
            None => format!("{name} is no option of this program and is ignored; --help lists them"),
        });
    }
    warnings.sort();
    warnings
}

/// The environment variable of an option.
fn variable(option: &str) -> String {
    format!("VARVEL_{}", option.replace('-', "_").to_ascii_uppercase())
}

/// Where values of options come from.
struct Origins<'a> {
    matches: &'a ArgMatches,
    environment: Environment<'a>,
}

/// A value that somebody gave to an option.
struct Given {
    text: String,
    /// Where it stands: `--head-timeout` or `VARVEL_HEAD_TIMEOUT`.
    place: String,
}

impl Origins<'_> {
    /// What was given to an option; an error if it is no text.
    fn find(&self, option: &str) -> Result<Option<Given>, String> {
        if let Some(values) = self.matches.get_many::<String>(option) {
            let text = values.map(String::as_str).collect::<Vec<_>>().join(",");
            return Ok(Some(Given { text, place: format!("--{option}") }));
        }
        let place = variable(option);
        match (self.environment)(&place).map(OsString::into_string) {
            Some(Ok(text)) => Ok(Some(Given { text, place })),
            Some(Err(bytes)) => Err(format!("{place}: {bytes:?} is no text")),
            None => Ok(None),
        }
    }

    /// What was given to a setting. `--threads` means the threads that serve, on either server: on the evented one each
    /// of them is a loop.
    fn find_setting(&self, name: &str, server: ServerKind) -> Result<Option<Given>, String> {
        match self.find(name)? {
            None if name == "loops" && server == ServerKind::Evented => self.find("threads"),
            given => Ok(given),
        }
    }

    fn resolve(&self, defaults: &Config) -> Result<Config, String> {
        let mut config = defaults.clone();
        if let Some(given) = self.find(SERVER)? {
            config.server = given.read(server)?;
        }
        if let Some(given) = self.find(WORKER)? {
            config.worker = given.read(worker)?;
        }
        if let Some(given) = self.find(INLINE)? {
            config.inline = given.read(switch)?;
        }
        for setting in settings::describe() {
            if let Some(given) = self.find_setting(setting.name, config.innermost())? {
                given.read(|text| set(&mut config.settings, setting, text))?;
            }
        }
        if config.inline && config.innermost() != ServerKind::Evented {
            let place = self.find(INLINE)?.map_or("inline".to_owned(), |given| given.place);
            return Err(format!(
                "{place}: the {} server has no event loops to call an application on; leave it out, or choose \
                 `--server evented`",
                config.innermost()
            ));
        }
        if config.server != ServerKind::Prefork {
            self.refuse_worker_options(&config)?;
        }
        Ok(config)
    }

    /// An error for what only worker processes have, so that nobody believes to have some.
    fn refuse_worker_options(&self, config: &Config) -> Result<(), String> {
        let ordinary = Settings::default();
        for option in settings::describe().iter().map(|setting| setting.name) {
            let is_ordinary = config.settings.show(option) == ordinary.show(option);
            if heading(option) != WORKERS_HEADING || is_ordinary {
                continue;
            }
            let place = match self.find(option)? {
                Some(given) => given.place,
                // A program that is not to run as root must not, even if nobody said so today.
                None if ["user", "group"].contains(&option) => option.to_owned(),
                None => continue,
            };
            return Err(format!(
                "{place}: the {} server has no worker processes; leave it out, or choose `--server prefork`",
                config.server
            ));
        }
        Ok(())
    }

    /// Every option with its value and where that stands, a line each.
    fn print(&self, config: &Config) -> Result<String, String> {
        let mut text = String::new();
        let mut line = |option: &str, value: &str, given: Option<Given>| {
            let place = given.map_or("default".to_owned(), |given| given.place);
            text += &format!("{option} = {value}  # {place}\n");
        };
        line(SERVER, config.server.name(), self.find(SERVER)?);
        line(WORKER, config.worker.name(), self.find(WORKER)?);
        line(INLINE, if config.inline { "on" } else { "off" }, self.find(INLINE)?);
        for setting in settings::describe() {
            let value = config.settings.show(setting.name).unwrap_or_default();
            line(setting.name, &value, self.find_setting(setting.name, config.innermost())?);
        }
        Ok(text)
    }
}

impl Given {
    /// Makes a value of the text, or says what is wrong with it and where it stands.
    fn read<T>(&self, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        read(&self.text).map_err(|problem| format!("{}: {problem}", self.place))
    }
}

fn server(text: &str) -> Result<ServerKind, String> {
    let server = ServerKind::ALL.into_iter().find(|server| server.name() == text);
    server.ok_or_else(|| {
        format!("there is no server `{}`; choose threaded, evented or prefork", text.escape_debug())
    })
}

/// What worker processes can run.
fn worker(text: &str) -> Result<ServerKind, String> {
    let worker = server(text).ok().filter(|worker| *worker != ServerKind::Prefork);
    worker.ok_or_else(|| {
        format!("a worker process cannot run `{}`; choose threaded or evented", text.escape_debug())
    })
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{}` is neither `on` nor `off`", text.escape_debug())),
    }
}

fn set(settings: &mut Settings, setting: &Setting, text: &str) -> Result<(), String> {
    settings.set(setting.name, text).map_err(|error| match error {
        SettingError::Value { error, .. } => error.to_string(),
        unknown => unknown.to_string(),
    })
}

fn command(presentation: &Presentation, defaults: &Config) -> Command {
    let spec = format!("{}.{}", varvel::SPEC_VERSION.0, varvel::SPEC_VERSION.1);
    let on_varvel = format!("on Varvel {} (spec {spec})", env!("CARGO_PKG_VERSION"));
    let version = match &presentation.version {
        Some(version) => format!("{version} {on_varvel}"),
        None => on_varvel,
    };
    let mut command = Command::new(presentation.name.clone())
        .version(version)
        .after_help(AFTER_HELP)
        .after_long_help(AFTER_LONG_HELP)
        // A wrapper script appends; whoever comes last is right.
        .args_override_self(true)
        .arg(server_option(defaults))
        .arg(worker_option(defaults))
        .arg(
            Arg::new(INLINE)
                .long(INLINE)
                .help("Call a sync application on the event loops themselves")
                .long_help(
                    "Call a sync application on the event loops themselves, not on threads beside them.\n\n\
                     Right for applications that never block. Only for the evented server.",
                )
                .value_name("on|off")
                .value_parser(|text: &str| switch(text).map(|_| text.to_owned()))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("on")
                .help_heading(SERVER_HEADING),
        )
        .args(settings::describe().iter().map(|setting| option(setting, &defaults.settings)))
        .arg(
            Arg::new(PRINT_CONFIG)
                .long(PRINT_CONFIG)
                .help("Print every option with its value and where that comes from, and exit")
                .action(ArgAction::SetTrue),
        );
    if let Some(about) = &presentation.about {
        command = command.about(about.clone());
    }
    command
}

fn server_option(defaults: &Config) -> Arg {
    let values = ServerKind::ALL.map(|server| PossibleValue::new(server.name()));
    Arg::new(SERVER)
        .long(SERVER)
        .value_name("SERVER")
        .value_parser(PossibleValuesParser::new(values))
        .hide_possible_values(true)
        .help(format!("Which server: threaded, evented or prefork [default: {}]", defaults.server))
        .long_help(format!(
            "Which server.\n\n{}\n\n[default: {}]",
            wrap(
                "threaded: a bounded pool of threads that may block. evented: an event loop per core. prefork: worker \
                 processes under a supervisor, each of which runs one of the others.",
            ),
            defaults.server,
        ))
        .help_heading(SERVER_HEADING)
}

fn worker_option(defaults: &Config) -> Arg {
    Arg::new(WORKER)
        .long(WORKER)
        .value_name("SERVER")
        .value_parser(|text: &str| worker(text).map(|_| text.to_owned()))
        .help(format!("What a worker process of the pre-fork server runs [default: {}]", defaults.worker))
        .long_help(format!(
            "{}\n\n[default: {}]",
            wrap(
                "What a worker process of the pre-fork server runs: threaded, or evented, with one event loop unless \
                 --loops says otherwise.",
            ),
            defaults.worker,
        ))
        .help_heading(SERVER_HEADING)
}

/// A setting as an option.
fn option(setting: &'static Setting, defaults: &Settings) -> Arg {
    let default = defaults.show(setting.name).unwrap_or_default();
    let mut text = setting.help();
    if setting.name == "threads" {
        text += " With --server evented the same as --loops.";
    }
    let option = Arg::new(setting.name)
        .long(setting.name)
        .value_name(value_name(setting.unit))
        .value_parser(move |text: &str| {
            set(&mut Settings::default(), setting, text).map(|()| text.to_owned())
        })
        .help(format!("{} [default: {default}]", setting.summary()))
        .long_help(format!("{}\n\n[default: {default}]", wrap(&text)))
        .help_heading(heading(setting.name));
    // The two that operators of gunicorn, uvicorn and others have in their fingers.
    let option = match setting.name {
        "bind" => option.short('b'),
        "workers" => option.short('w'),
        _ => option,
    };
    match setting.unit {
        Unit::Addresses => option.action(ArgAction::Append),
        Unit::Switch => option.num_args(0..=1).require_equals(true).default_missing_value("on"),
        _ => option,
    }
}

/// How many characters of help text stand on a line, without its indentation.
const WIDTH: usize = 90;

/// Breaks lines between words; paragraphs stay apart.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    for paragraph in text.split("\n\n") {
        let mut room = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if length < room {
                wrapped.push(' ');
                room -= 1 + length;
            } else {
                wrapped.push_str(if wrapped.is_empty() { "" } else { "\n" });
                room = WIDTH.saturating_sub(length);
            }
            wrapped.push_str(word);
        }
        wrapped.push('\n');
    }
    wrapped.trim_end().to_owned()
}

fn value_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "TIME",
        Unit::Bytes => "SIZE",
        Unit::Count => "N",
        Unit::Switch => "on|off",
        Unit::Addresses => "ADDRESS",
        Unit::FileMode => "MODE",
        Unit::LogFormat => "FORMAT",
        Unit::Path => "FILE",
        Unit::Name => "NAME",
    }
}

const SERVER_HEADING: &str = "Server";

/// Under which heading help shows a setting.
fn heading(setting: &str) -> &'static str {
    match setting {
        "bind" | "backlog" | "reuse-port" | "unix-mode" => "Listening",
        "max-connections" | "threads" | "loops" | "offload-threads" | "offload-queue" => "Capacity",
        "workers"
        | "worker-timeout"
        | "worker-start-timeout"
        | "max-requests"
        | "max-requests-jitter"
        | "max-lifetime"
        | "max-memory"
        | "user"
        | "group" => WORKERS_HEADING,
        "drain-timeout" | "lame-duck-delay" => "Stopping",
        "read-ahead" | "write-high-water" => "Buffers of a connection",
        "access-log" | "access-log-file" | "log-file" => "Log",
        "pid-file" => SERVER_HEADING,
        name if name.ends_with("-bytes-max") || name.ends_with("-count-max") => "Limits of a request",
        name if name.ends_with("-timeout") || name.ends_with("-rate-min") => "Slow and idle clients",
        _ => OTHER_HEADING,
    }
}

const WORKERS_HEADING: &str = "Worker processes (with --server prefork)";
const OTHER_HEADING: &str = "Other settings";

const AFTER_HELP: &str = "\
TIME is 250ms, 30s or 1m30s, SIZE is 65536 or 64KiB; --help says more.
Every option is also read from the environment: --head-timeout from VARVEL_HEAD_TIMEOUT.";

const AFTER_LONG_HELP: &str = "\
Values:
  TIME     a number with ms, s, m, h or d, or several as in 1m30s; a bare number is seconds
  SIZE     a number of bytes, or one with KiB, MiB or GiB as in 64KiB
  ADDRESS  HOST:PORT, :PORT for every interface, [IPv6]:PORT, unix:PATH or fd:NUMBER
  A limit can be `off` where that makes sense.

Environment:
  Every option is also read from the environment: --head-timeout from VARVEL_HEAD_TIMEOUT.
  The command line wins.

Signals:
  SIGTERM           stop: no new connections, running requests may finish within --drain-timeout
  SIGINT            the same, and a second one stops now; with --server prefork the first one does
  SIGQUIT           stop now; prefork: a second SIGINT or SIGQUIT kills who hangs
  SIGUSR1           open the log files anew
  SIGHUP            prefork: reload; new workers take over when all of them are ready
  SIGTTIN, SIGTTOU  prefork: one worker more, one fewer
  SIGUSR2           prefork: start the program anew; it takes over when all its workers serve

Service managers:
  Sockets that systemd passes (LISTEN_FDS) are used unless --bind says otherwise. With Type=notify
  it is told when the program serves, reloads and stops, which process is the main one after
  SIGUSR2, and, with WatchdogSec=, that the program gets on.

Exit status:
  0 after a stop, 1 if it could not serve, 2 for a command line or environment that makes no sense.";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn presentation() -> Presentation {
        Presentation { name: "app".into(), ..Presentation::default() }
    }

    fn request_of(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Request, clap::Error> {
        let arguments = ["app"].iter().chain(arguments).map(OsString::from);
        let environment = |name: &str| {
            let (_, value) = environment.iter().find(|(variable, _)| *variable == name)?;
            Some(OsString::from(value))
        };
        parse(&presentation(), &Config::default(), arguments, &environment)
    }

    fn config_of(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
        match request_of(arguments, environment) {
            Ok(Request::Serve(config)) => *config,
            Ok(Request::PrintConfig(_)) => panic!("nobody asked to print"),
            Err(error) => panic!("{error}"),
        }
    }

    fn error_of(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let error = request_of(arguments, environment).unwrap_err();
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        assert_eq!(config_of(&[], &[]), Config::default());
    }

    #[test]
    fn the_command_line_beats_the_environment_and_that_the_programs_defaults() {
        let environment = [("VARVEL_HEAD_TIMEOUT", "7s"), ("VARVEL_SERVER", "threaded")];
        let config = config_of(&["--head-timeout", "5s"], &environment);
        assert_eq!(config.settings.head_timeout, Duration::from_secs(5));
        assert_eq!(config.server, ServerKind::Threaded);
        assert_eq!(config_of(&[], &environment).settings.head_timeout, Duration::from_secs(7));
    }

    #[test]
    fn every_setting_is_an_option_and_a_variable() {
        let mut command = command(&presentation(), &Config::default());
        let help = command.render_long_help().to_string();
        for setting in settings::describe() {
            let default = setting.default_text();
            assert!(help.contains(&format!("--{}", setting.name)), "{}", setting.name);
            assert!(help.contains(&format!("[default: {default}]")), "{}", setting.name);
            assert_ne!(heading(setting.name), OTHER_HEADING, "{} needs a heading", setting.name);
            // Its own default, written out, is accepted and changes nothing.
            let argument = format!("--{}={default}", setting.name);
            let settings = config_of(&[&argument], &[]).settings;
            assert_eq!(settings.show(setting.name), Some(default.clone()), "{argument}");
            let settings = config_of(&[], &[(&setting.env_name(), &default)]).settings;
            assert_eq!(settings.show(setting.name), Some(default), "{}", setting.env_name());
        }
    }

    #[test]
    fn bind_may_be_repeated_and_replaces_the_default() {
        let config = config_of(&["--bind", "[::1]:80", "--bind", ":81", "--bind=unix:/run/a.sock"], &[]);
        assert_eq!(config.settings.show("bind").unwrap(), "[::1]:80,:81,unix:/run/a.sock");
        let config = config_of(&[], &[("VARVEL_BIND", ":80,fd:3")]);
        assert_eq!(config.settings.show("bind").unwrap(), ":80,fd:3");
    }

    #[test]
    fn the_short_options_are_those_that_operators_know() {
        let config = config_of(&["-b", ":81", "-w", "3", "--server", "prefork"], &[]);
        assert_eq!(config.settings.show("bind").unwrap(), ":81");
        assert_eq!(config.settings.show("workers").unwrap(), "3");
    }

    #[test]
    fn threads_are_the_threads_that_serve_on_either_server() {
        let evented = config_of(&["--server", "evented", "--threads", "3"], &[]);
        assert_eq!(evented.settings.loops, Some(3));
        let evented = config_of(&["--threads", "3", "--loops", "2"], &[]);
        assert_eq!(evented.settings.loops, Some(2));
        let evented = config_of(&[], &[("VARVEL_THREADS", "3")]);
        assert_eq!(evented.settings.loops, Some(3));
        let threaded = config_of(&["--server", "threaded", "--threads", "3"], &[]);
        assert_eq!((threaded.settings.threads, threaded.settings.loops), (3, None));
    }

    #[test]
    fn switches_need_no_value_and_the_last_of_two_counts() {
        assert!(config_of(&["--reuse-port"], &[]).settings.reuse_port);
        assert!(!config_of(&["--reuse-port", "--reuse-port=off"], &[]).settings.reuse_port);
        assert!(config_of(&["--inline"], &[]).inline);
        assert!(!config_of(&["--inline=off"], &[("VARVEL_INLINE", "on")]).inline);
        assert!(config_of(&[], &[("VARVEL_INLINE", "on")]).inline);
    }

    #[test]
    fn mistakes_are_told_with_what_to_write_instead() {
        for (arguments, environment, expected) in [
            (
                &["--head-timeout", "soon"][..],
                &[][..],
                "`soon` is no time: write a number with ms, s, m, h or d",
            ),
            (&["--head-timeot", "5s"], &[], "a similar argument exists: '--head-timeout'"),
            (
                &["--timeout", "30"],
                &[],
                "tip: what does that here is '--worker-timeout', with '--server prefork'",
            ),
            (&["--timeout=30"], &[], "'--worker-timeout'"),
            (&["-k", "gevent"], &[], "'--worker evented'"),
            (&["-kgevent"], &[], "'--worker evented'"),
            (&["--keep-alive", "5"], &[], "what does that here is '--keep-alive-timeout'"),
            (&["--server", "eventd"], &[], "a similar value exists: 'evented'"),
            (
                &["--server", "prefork", "--worker", "prefork"],
                &[],
                "a worker process cannot run `prefork`; choose threaded or evented",
            ),
            (&["--server=prefork", "--worker=threaded", "--inline"], &[], "--inline: the threaded server"),
            (&["--user", "nobody"], &[], "--user: the evented server has no worker processes"),
            (&["-w", "4"], &[], "--workers: the evented server has no worker processes"),
            (
                &["--server=threaded"],
                &[("VARVEL_GROUP", "www")],
                "VARVEL_GROUP: the threaded server has no worker",
            ),
            (&["--bind", "8000"], &[], "write :PORT for every interface"),
            (&["--bind", "http://localhost:80"], &[], "leave out the scheme"),
            (&["--threads", "0"], &[], "too small: at least 1"),
            (&["--threads"], &[], "a value is required for '--threads <N>'"),
            (&["here"], &[], "unexpected argument 'here'"),
            (&[], &[("VARVEL_HEAD_TIMEOUT", "soon")], "VARVEL_HEAD_TIMEOUT: `soon` is no time"),
            (&[], &[("VARVEL_SERVER", "apache")], "VARVEL_SERVER: there is no server `apache`"),
            (&[], &[("VARVEL_WORKER", "apache")], "VARVEL_WORKER: a worker process cannot run `apache`"),
            (&["--server", "threaded", "--inline"], &[], "--inline: the threaded server has no event loops"),
            (&["--server=threaded"], &[("VARVEL_INLINE", "on")], "VARVEL_INLINE: the threaded server"),
            (&[], &[("VARVEL_INLINE", "maybe")], "VARVEL_INLINE: `maybe` is neither `on` nor `off`"),
        ] {
            let (status, message) = error_of(arguments, environment);
            assert!(message.contains(expected), "{arguments:?} {environment:?}: {message}");
            assert_eq!(status, 2, "{message}");
        }
    }

    #[test]
    fn no_option_of_others_is_one_of_ours_and_what_does_the_same_is() {
        let command = command(&presentation(), &Config::default());
        let has = |option: &str| {
            command.get_arguments().any(|argument| {
                argument.get_long().is_some_and(|long| option == format!("--{long}"))
                    || argument.get_short().is_some_and(|short| option == format!("-{short}"))
            }) || option == "--help"
        };
        for (foreign, here) in FOREIGN_OPTIONS {
            assert!(!foreign.iter().any(|option| has(option)), "{foreign:?}");
            for named in here.split('\'').skip(1).step_by(2) {
                let option = named.split(' ').next().unwrap();
                assert!(has(option), "{foreign:?}: {option}");
            }
        }
    }

    #[test]
    fn a_text_in_the_environment_that_is_none_is_told() {
        use std::os::unix::ffi::OsStringExt;
        let environment =
            |name: &str| (name == "VARVEL_BIND").then(|| OsString::from_vec(b"unix:/\xff".to_vec()));
        let error = parse(&presentation(), &Config::default(), ["app".into()], &environment).unwrap_err();
        assert!(error.to_string().contains("VARVEL_BIND: "), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_variable_that_is_no_option_is_told() {
        let names = [
            "VARVEL_HEADTIMEOUT",
            "VARVEL_BIND",
            "VARVEL_INLINE",
            "HOME",
            "VARVEL_COLOUR",
            // From one program to the next, and left in the environment of whatever that starts.
            "VARVEL_UPGRADE",
        ];
        assert_eq!(
            unknown_variables(names.map(OsString::from)),
            [
                "VARVEL_COLOUR is no option of this program and is ignored; --help lists them",
                "VARVEL_HEADTIMEOUT is no option of this program; did you mean VARVEL_HEAD_TIMEOUT?",
            ]
        );
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for (argument, expected) in [("--help", "Exit status:"), ("-h", "VARVEL_"), ("--version", "(spec 0.")]
        {
            let (status, text) = error_of(&[argument], &[]);
            assert!(text.contains(expected), "{text}");
            assert_eq!(status, 0);
        }
    }

    #[test]
    fn help_is_grouped_and_wrapped() {
        let (_, short) = error_of(&["-h"], &[]);
        assert!(short.contains("\nSlow and idle clients:\n      --head-timeout <TIME> "), "{short}");
        let (_, long) = error_of(&["--help"], &[]);
        let longest = long.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH + 10), "{long}");
    }

    #[test]
    fn wrapping_keeps_words_and_paragraphs() {
        let text = format!("{}\n\nend", "word ".repeat(40).trim());
        let wrapped = wrap(&text);
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH), "{wrapped}");
        assert_eq!(wrapped.split_whitespace().count(), 41);
        assert!(wrapped.ends_with("\n\nend"), "{wrapped}");
    }

    #[test]
    fn the_printed_configuration_tells_values_and_origins() {
        let request =
            request_of(&["--print-config", "--drain-timeout=90", "--threads=3"], &[("VARVEL_BACKLOG", "7")]);
        let Ok(Request::PrintConfig(text)) = request else { panic!("{request:?}") };
        for line in [
            "server = evented  # default",
            "inline = off  # default",
            "bind = 127.0.0.1:8000  # default",
            "backlog = 7  # VARVEL_BACKLOG",
            "threads = 3  # --threads",
            "loops = 3  # --threads",
            "drain-timeout = 1m30s  # --drain-timeout",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} in\n{text}");
        }
        assert_eq!(text.lines().count(), 3 + settings::describe().len());
    }
}

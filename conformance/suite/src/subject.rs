//! What a server under test is to the suite.

use std::time::Duration;

use varvel::{Launch, ServeError, Served};

use crate::Probe;

/// A server under test.
pub trait Subject: Send + Sync + 'static {
    /// Its name in the report.
    fn name(&self) -> String;

    /// Serves the probe until `launch.control` stops it, with these settings, and returns as `Server::serve` does.
    ///
    /// [`Probe`] is a factory of both kinds: a server of sync applications takes it as an `AppFactory`, one of async
    /// applications as an `AsyncAppFactory`, and either bridge wraps it. Called on a thread of its own, for many servers
    /// in one run and some at the same time.
    ///
    /// # Errors
    /// Those of the server.
    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError>;

    /// What this server is known not to do yet. A line whose checks all pass fails the run, so that it is deleted.
    fn skips(&self) -> &[Skip] {
        &[]
    }
}

/// A clause or check that a server is known to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The id of a clause, such as `H8`, or of a check, such as `H8/bad-chunks`.
    pub id: &'static str,
    /// Why, for the report.
    pub reason: &'static str,
}

impl Skip {
    /// This clause or check is not met, for this reason.
    pub const fn new(id: &'static str, reason: &'static str) -> Self {
        Self { id, reason }
    }
}

/// How a server is to be set for a check; a subject maps each field to a setting of its own. What a server lacks a
/// setting for it may ignore: the checks that depend on it then fail and say so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// From the first byte of a head to its end (spec S22). Default: 30 s.
    pub head_timeout: Duration,
    /// Without progress of a request body that is waited for (spec S22, B3). Default: 30 s.
    pub body_timeout: Duration,
    /// Without progress of a client that should read (spec S22). Default: 30 s.
    pub write_timeout: Duration,
    /// Idle between two requests (spec S22). Default: 30 s.
    pub keep_alive_timeout: Duration,
    /// For the client to close its side behind the last answer of a connection. Default: 1 s.
    pub linger_timeout: Duration,
    /// The longest request line, in bytes without its CRLF (spec S15). Default: 8 KiB.
    pub request_line_bytes_max: u32,
    /// The longest head, in bytes (spec S15). Default: 64 KiB.
    pub head_bytes_max: u32,
    /// The most header fields (spec S15). Default: 100.
    pub header_count_max: u32,
    /// The longest request body, in bytes (spec B3). Default: no bound.
    pub body_bytes_max: Option<u64>,
    /// How much unread request body is held, in bytes (spec B7). Default: 64 KiB.
    pub read_ahead: u64,
    /// How much unsent response body is held, in bytes (spec B8). Default: 64 KiB.
    pub write_high_water: u64,
    /// How many connections are open at most; more wait or are refused (spec S16). Default: 512.
    pub connections_max: u32,
    /// Threads for sync calls: of the pool of a threaded server, or of the blocking pool beside event loops. Default: 16.
    pub threads: u32,
    /// Workers that a server of several runs, such as its event loops. Default: 1.
    pub workers: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(1),
            request_line_bytes_max: 8 * 1024,
            head_bytes_max: 64 * 1024,
            header_count_max: 100,
            body_bytes_max: None,
            read_ahead: 64 * 1024,
            write_high_water: 64 * 1024,
            connections_max: 512,
            threads: 16,
            workers: 1,
        }
    }
}

impl Tuning {
    /// Sets a field by the name and value that [`settings`](Self::settings) gives it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use varvel_conformance::Tuning;
    ///
    /// let mut tuning = Tuning::default();
    /// tuning.set("head-timeout", "300ms").unwrap();
    /// assert_eq!(tuning.head_timeout, Duration::from_millis(300));
    /// ```
    ///
    /// # Errors
    /// If there is no such setting, or no such value of it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{name} cannot be {value:?}");
        let number = || value.parse::<u32>().map_err(|_| wrong());
        let bytes = || value.parse::<u64>().map_err(|_| wrong());
        let time = || {
            let (digits, unit) = match value.strip_suffix("ms") {
                Some(digits) => (digits, 1),
                None => (value.strip_suffix('s').ok_or_else(wrong)?, 1000),
            };
            let count = digits.parse::<u32>().map_err(|_| wrong())?;
            Ok::<_, String>(Duration::from_millis(u64::from(count) * unit))
        };
        match name {
            "head-timeout" => self.head_timeout = time()?,
            "body-timeout" => self.body_timeout = time()?,
            "write-timeout" => self.write_timeout = time()?,
            "keep-alive-timeout" => self.keep_alive_timeout = time()?,
            "linger-timeout" => self.linger_timeout = time()?,
            "request-line-bytes-max" => self.request_line_bytes_max = number()?,
            "head-bytes-max" => self.head_bytes_max = number()?,
            "header-count-max" => self.header_count_max = number()?,
            "body-bytes-max" => self.body_bytes_max = Some(bytes()?),
            "read-ahead" => self.read_ahead = bytes()?,
            "write-high-water" => self.write_high_water = bytes()?,
            "max-connections" => self.connections_max = number()?,
            "threads" => self.threads = number()?,
            "loops" => self.workers = number()?,
            _ => return Err(format!("there is no setting {name}")),
        }
        Ok(())
    }

    /// What differs from the defaults, as names and values.
    pub(crate) fn changes(&self) -> Vec<(&'static str, String)> {
        let defaults = Self::default().settings();
        let settings = self.settings().into_iter().filter(|setting| !defaults.contains(setting));
        // The other name of `threads`.
        settings.filter(|(name, _)| *name != "offload-threads").collect()
    }

    /// All of it as names and values in the way of a configuration file, for servers whose settings are called so.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let time = |time: Duration| format!("{}ms", time.as_millis());
        let mut settings = vec![
            ("head-timeout", time(self.head_timeout)),
            ("body-timeout", time(self.body_timeout)),
            ("write-timeout", time(self.write_timeout)),
            ("keep-alive-timeout", time(self.keep_alive_timeout)),
            ("linger-timeout", time(self.linger_timeout)),
            ("request-line-bytes-max", self.request_line_bytes_max.to_string()),
            ("head-bytes-max", self.head_bytes_max.to_string()),
            ("header-count-max", self.header_count_max.to_string()),
            ("read-ahead", self.read_ahead.to_string()),
            ("write-high-water", self.write_high_water.to_string()),
            ("max-connections", self.connections_max.to_string()),
            ("threads", self.threads.to_string()),
            ("offload-threads", self.threads.to_string()),
            ("loops", self.workers.to_string()),
        ];
        settings.extend(self.body_bytes_max.map(|max| ("body-bytes-max", max.to_string())));
        settings
    }
}

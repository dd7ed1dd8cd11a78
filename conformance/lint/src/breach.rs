//! A rule that was broken, and who is told.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;
use http::Method;
use varvel::{Event, Report, RequestId, Worker};

use crate::{Rule, rules::RULES};

/// A rule that was broken: which, during which request, and what happened.
///
/// Its `Display` tells all of it, with what to do and the words of the clause.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Breach {
    /// The rule.
    pub rule: &'static Rule,
    /// What happened, in a few words.
    pub what: String,
    /// During which request, unless it was outside of any.
    pub request: Option<RequestLine>,
}

/// Which request a breach belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The target, as it was on the wire.
    pub target: Bytes,
    /// The connection's number.
    pub connection: u64,
    /// The exchange's number on the connection.
    pub exchange: u64,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, what, request } = self;
        writeln!(f, "{} broken by the {}: {what}", rule.id, rule.binds)?;
        if let Some(request) = request {
            writeln!(f, "  during: {request}")?;
        }
        writeln!(f, "  required: {}", rule.text)?;
        writeln!(f, "  to do: {}", rule.remedy)?;
        write!(f, "  clause {}", rule.clause)
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, connection, exchange } = self;
        // The target came from the wire: escaped, so that it can forge no line of the log.
        write!(f, "{method} {}, exchange {exchange} of connection {connection}", target.escape_ascii())
    }
}

/// What is done about a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Panic,
    LogOnce,
    Count,
}

/// What a lint has found so far. All clones are the same list.
///
/// ```
/// use http::{Request, Response, header};
/// use varvel::{App, ReadBody, Scope, WriteBody, sync_fn};
/// use varvel_lint::Lint;
///
/// let lint = Lint::new(sync_fn(|_, _| {
///     Ok(Response::builder().header(header::CONNECTION, "close").body(WriteBody::empty())?)
/// }));
/// let app = lint.count();
/// let findings = app.findings();
/// app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
/// assert_eq!(findings.count("A3.connection"), 1);
/// assert_eq!(findings.total(), 1);
/// ```
#[derive(Clone)]
pub struct Findings(Arc<Found>);

struct Found {
    mode: AtomicU8,
    /// How often each rule was broken, by its place in the table.
    counts: Box<[AtomicU64]>,
    /// The first breach of each rule that was broken.
    first: Mutex<Vec<Breach>>,
}

impl Findings {
    /// An empty list in panic mode, for lints to [share](crate::Lint::sharing).
    pub fn new() -> Self {
        let counts = RULES.iter().map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Found { mode: AtomicU8::new(Mode::Panic as u8), counts, first: Mutex::default() }))
    }

    /// How often the rule with this id was broken.
    ///
    /// # Panics
    /// If there is no such rule.
    pub fn count(&self, id: &str) -> u64 {
        self.total_of(crate::rule(id).unwrap_or_else(|| panic!("there is no rule {id:?}")))
    }

    pub(crate) fn total_of(&self, rule: &Rule) -> u64 {
        self.0.counts[rule.index].load(Relaxed)
    }

    /// Every rule that was broken, and how often, in the order of the table.
    pub fn counts(&self) -> impl Iterator<Item = (&'static Rule, u64)> {
        RULES.iter().zip(&self.0.counts).filter_map(|(rule, count)| match count.load(Relaxed) {
            0 => None,
            count => Some((rule, count)),
        })
    }

    /// How many breaches there were in all.
    pub fn total(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// The first breach of each rule that was broken, in the order in which they were found.
    pub fn breaches(&self) -> Vec<Breach> {
        self.first().clone()
    }

    /// For the end of a test whose application ran on a server, where the panic of a lint is contained.
    ///
    /// # Panics
    /// If any rule was broken, with the first breach of each.
    #[track_caller]
    pub fn assert_none(&self) {
        let breaches = self.breaches();
        let text: Vec<_> = breaches.iter().map(Breach::to_string).collect();
        assert!(breaches.is_empty(), "{}", text.join("\n\n"));
    }

    fn first(&self) -> MutexGuard<'_, Vec<Breach>> {
        self.0.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.0.mode.store(mode as u8, Relaxed);
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.0.mode.load(Relaxed) {
            mode if mode == Mode::LogOnce as u8 => Mode::LogOnce,
            mode if mode == Mode::Count as u8 => Mode::Count,
            _ => Mode::Panic,
        }
    }

    /// Takes a breach, and tells whom the mode says. The words are made only where somebody will read them.
    ///
    /// # Panics
    /// In panic mode, unless the thread panics already.
    pub(crate) fn take(
        &self,
        rule: &'static Rule,
        worker: Option<&Worker>,
        request: impl FnOnce() -> Option<RequestLine>,
        what: impl FnOnce() -> String,
    ) {
        let mode = self.mode();
        let is_first = self.0.counts[rule.index].fetch_add(1, Relaxed) == 0;
        if !is_first && mode != Mode::Panic {
            return;
        }
        let breach = Breach { rule, what: what(), request: request() };
        if is_first {
            self.first().push(breach.clone());
        }
        match mode {
            Mode::Count => {}
            Mode::LogOnce => report(&breach, worker),
            // A second panic would end the process, and hide the first.
            Mode::Panic if thread::panicking() => report(&breach, worker),
            Mode::Panic => panic!("{breach}"),
        }
    }
}

/// Tells the server's reporter, in one line.
fn report(breach: &Breach, worker: Option<&Worker>) {
    let Breach { rule, what, request } = breach;
    let Some(worker) = worker else {
        eprintln!("{breach}");
        return;
    };
    let detail = format!("{} broken by the {}: {what}. {}", rule.id, rule.binds, rule.remedy);
    let event = Event::Contract { clause: rule.clause.id, detail: &detail };
    worker.report(&match request {
        None => Report::new(event),
        Some(RequestLine { method, target, connection, exchange }) => {
            Report::of(RequestId::new(*connection, *exchange, Some(method), target), event)
        }
    });
}

impl Default for Findings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.counts().map(|(rule, count)| (rule.id, count))).finish()
    }
}

//! What a run against one server has found, and the forms in which it is told.

mod human;
mod json;
mod junit;
mod markdown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use varvel_spec::Clause;

use crate::{Entry, Failure, entries};

pub use human::{Details, Table, folded};
pub use json::json;
pub use junit::junit;
pub use markdown::Markdown;

/// What a run against one server has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The server: its name, or its address.
    pub subject: String,
    /// What it calls itself on the wire, if it does.
    pub server: Option<String>,
    /// What it was held against.
    pub measure: Measure,
    /// What was found, in the order of [`entries`].
    pub findings: Vec<Finding>,
    /// Whether nothing was filtered out. Otherwise only what was run is shown.
    pub complete: bool,
    /// What a reader has to know about the run, such as what the server was found not to do.
    pub remarks: Vec<String>,
    /// Why the run came to an end before everything was run.
    pub cut_short: Option<String>,
    /// The command that makes such a run, without what chooses entries.
    pub command: String,
    /// What stands in it ahead of the id of an entry that is chosen: `--check` of the program, `--` of a test.
    pub choice: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// What a server is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The specification of Varvel, clause by clause.
    Contract,
    /// HTTP alone: a server that knows nothing of Varvel.
    Http,
}

/// What became of one entry.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was run.
    pub entry: Entry,
    /// How it counts.
    pub mark: Mark,
    /// Why it was skipped, left out or not run.
    pub reason: Option<String>,
    /// Whether an earlier report tells of the same failure, which is why it was skipped.
    pub known: bool,
    /// If it did not pass: why.
    pub evidence: Option<Evidence>,
    /// How long it took.
    pub took: Duration,
}

/// Why an entry did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was expected and seen.
    pub failure: Failure,
    /// What went over the wire.
    pub transcript: String,
}

impl Finding {
    /// An entry that counts so; nothing else is said of it.
    pub const fn of(entry: Entry, mark: Mark) -> Self {
        Self { entry, mark, reason: None, known: false, evidence: None, took: Duration::ZERO }
    }

    /// The same for this reason.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// What the entry is about, or why it could not be judged.
    pub(crate) fn about(&self) -> String {
        self.reason.clone().unwrap_or_else(|| self.entry.explanation())
    }

    /// Why it did not pass, on one line; empty if it did.
    pub(crate) fn brief(&self) -> String {
        self.evidence.as_ref().map_or(String::new(), |evidence| evidence.failure.brief())
    }

    /// The reason; empty if there is none.
    pub(crate) fn why(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }
}

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// As it must be.
    Passed,
    /// A MUST is broken.
    Failed,
    /// A SHOULD is broken, or what a strict server would refuse was taken.
    Warned,
    /// A liberty was used.
    Noted,
    /// It is known to fail, as the server's author has written down.
    Skipped,
    /// It does not apply to this server, or was not to be run against it.
    LeftOut,
    /// The server was not there any more, or never was.
    NotRun,
}

impl Mark {
    /// All of them, in the order in which they are told.
    pub const ALL: [Mark; 7] =
        [Mark::Passed, Mark::Failed, Mark::Warned, Mark::Noted, Mark::Skipped, Mark::LeftOut, Mark::NotRun];

    /// Those that occur among these findings, and passed and failed in any case.
    pub(crate) fn occurring<'f>(
        findings: impl IntoIterator<Item = &'f Finding>,
    ) -> impl Iterator<Item = Mark> {
        let occurring: BTreeSet<Mark> = findings.into_iter().map(|finding| finding.mark).collect();
        Self::ALL.into_iter().filter(move |mark| *mark <= Mark::Failed || occurring.contains(mark))
    }

    /// The word for it, such as `left out`.
    pub const fn word(self) -> &'static str {
        match self {
            Mark::Passed => "passed",
            Mark::Failed => "failed",
            Mark::Warned => "warned",
            Mark::Noted => "noted",
            Mark::Skipped => "skipped",
            Mark::LeftOut => "left out",
            Mark::NotRun => "not run",
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Report {
    /// A report of these findings, in whatever order they were made; nothing else is said of the run.
    pub fn of(subject: impl Into<String>, measure: Measure, mut findings: Vec<Finding>) -> Self {
        let order: BTreeMap<String, usize> = entries().map(Entry::id).zip(0..).collect();
        findings.sort_by_cached_key(|finding| order.get(&finding.entry.id()).copied());
        Self {
            subject: subject.into(),
            server: None,
            measure,
            findings,
            complete: false,
            remarks: Vec::new(),
            cut_short: None,
            command: String::new(),
            choice: "--check",
            took: Duration::ZERO,
        }
    }

    /// The command that runs an entry alone.
    pub fn alone(&self, entry: Entry) -> String {
        format!("{} {} {}", self.command, self.choice, entry.id())
    }

    /// How many findings count so.
    pub fn count(&self, mark: Mark) -> usize {
        count(&self.findings, mark)
    }

    /// Whether a MUST is broken, or the run was cut short.
    pub fn failed(&self) -> bool {
        self.cut_short.is_some() || self.count(Mark::Failed) > 0
    }

    /// The findings of a clause.
    pub(crate) fn of_clause(&self, clause: &Clause) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.entry.clauses().contains(&clause)).collect()
    }

    /// The groups of what was run, in order, each with its findings.
    pub(crate) fn groups(&self) -> Vec<(&'static str, &[Finding])> {
        let groups = self.findings.chunk_by(|one, other| one.entry.group() == other.entry.group());
        groups.map(|findings| (findings[0].entry.group(), findings)).collect()
    }

    /// The subject, with what it calls itself.
    pub(crate) fn title(&self) -> String {
        match &self.server {
            Some(server) => format!("{} ({server})", self.subject),
            None => self.subject.clone(),
        }
    }
}

/// Of more failures than this each is told in full only where somebody asks for it.
pub(crate) const MANY: usize = 20;

pub(crate) fn count<'f>(findings: impl IntoIterator<Item = &'f Finding>, mark: Mark) -> usize {
    findings.into_iter().filter(|finding| finding.mark == mark).count()
}

/// The versions of suite and specification, as all forms tell them.
pub(crate) const SUITE_VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn specification_version() -> String {
    format!("{}.{}", varvel_spec::VERSION.0, varvel_spec::VERSION.1)
}

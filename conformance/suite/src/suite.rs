//! A run of checks against one server.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use varvel::Caps;

use crate::{
    About, Case, Check, Entry, Failure, Finding, LIMIT, Mark, Measure, Plan, Report, Running, Setup, Skip,
    Subject,
    corpus::{Delivery, Examined, Target, Vector},
    entries,
    report::Evidence,
    transcript::Transcript,
    turn::Turn,
};

/// The checks' common ground: the subject, and the running server that most of them share.
pub struct Suite {
    subject: Arc<dyn Subject>,
    shared: OnceLock<Result<(Running, About), NotStarted>>,
    /// Whether a check has told that the shared server did not start.
    told: AtomicBool,
    cases: AtomicU64,
    /// Servers of the routes, by their settings.
    routes: Mutex<BTreeMap<Settings, Arc<Running>>>,
    limit: Duration,
}

/// Those of a vector, as names and values.
type Settings = Vec<(&'static str, &'static str)>;

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did as the clause says.
    Passed,
    /// It did not.
    Failed {
        /// What was expected and what was seen.
        failure: Failure,
        /// What went over the wire.
        transcript: String,
    },
    /// The check means nothing for this server, for this reason.
    DoesNotApply(String),
    /// The server did not start, or did not call the probe, so that no check can run. The one that finds out has this
    /// outcome.
    NotStarted {
        /// What was expected and what was seen.
        failure: Failure,
        /// What went over the wire.
        transcript: String,
    },
    /// Not run since the server did not start, as another check has told.
    NotRun,
}

/// Why nothing was run.
const NOT_STARTED: &str = "the server did not start";

/// Why the shared server is none, and what went over the wire.
type NotStarted = (Failure, Transcript);

impl Suite {
    /// A run against this server, which is started when the first check needs it.
    pub fn new(subject: Arc<dyn Subject>) -> Self {
        Self {
            subject,
            shared: OnceLock::new(),
            told: AtomicBool::new(false),
            cases: AtomicU64::new(0),
            routes: Mutex::default(),
            limit: LIMIT,
        }
    }

    /// Gives up what must happen and does not after this time. Default: [`LIMIT`]. Less is for a server that is known to
    /// be wrong: a right one on a busy machine would fail.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long anything that must happen may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Runs a check.
    ///
    /// # Panics
    /// If the check does.
    pub fn run(&self, check: &Check) -> Outcome {
        let _turn = if check.alone { Turn::alone() } else { Turn::shared() };
        let about = match self.start() {
            Ok((_, about)) => about,
            Err(not_started) => return self.tell(not_started),
        };
        if !about.caps.contains(check.needs) {
            let missing = names(check.needs.without(about.caps));
            return Outcome::DoesNotApply(format!("the server does not advertise {missing}"));
        }
        if check.lacks.without(about.caps) != check.lacks {
            let present = names(check.lacks & about.caps);
            return Outcome::DoesNotApply(format!("the server advertises {present}"));
        }
        let mut case = Case::new(self, format!("c{}", self.cases.fetch_add(1, Ordering::Relaxed)));
        match (check.run)(&mut case) {
            Ok(()) => Outcome::Passed,
            Err(failure) if failure.says_nothing() => Outcome::DoesNotApply(failure.expected),
            Err(failure) => {
                Outcome::Failed { failure: failure.with_tuning(case.tuning()), transcript: case.transcript() }
            }
        }
    }

    /// Runs an entry and says how it counts. A check that panics has failed.
    pub fn find(&self, entry: Entry) -> Finding {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| match entry {
            Entry::Check(check) => self.run(check),
            Entry::Vector(vector) => self.examine(vector),
        }));
        let outcome = outcome.unwrap_or_else(|_| Outcome::Failed {
            failure: Failure::new("a check that comes to a verdict", "it panicked; the message is above"),
            transcript: String::new(),
        });
        self.judge(entry, outcome, began.elapsed())
    }

    fn judge(&self, entry: Entry, outcome: Outcome, took: Duration) -> Finding {
        let is = |mark| Finding { took, ..Finding::of(entry, mark) };
        match outcome {
            Outcome::Passed => is(Mark::Passed),
            Outcome::DoesNotApply(reason) => is(Mark::LeftOut).because(reason),
            Outcome::NotStarted { failure, transcript } => {
                let evidence = Some(Evidence { failure, transcript });
                Finding { evidence, ..is(Mark::Failed).because(NOT_STARTED) }
            }
            Outcome::NotRun => is(Mark::NotRun).because(NOT_STARTED),
            Outcome::Failed { failure, transcript } => {
                let finding = match self.skip(entry) {
                    Some(skip) => is(Mark::Skipped).because(skip.reason),
                    None => is(entry.blame(Measure::Contract, &failure)),
                };
                Finding { evidence: Some(Evidence { failure, transcript }), ..finding }
            }
        }
    }

    /// The report of these findings, in whatever order they were made; `command` is the one that makes such a run,
    /// without what chooses entries.
    pub fn report(
        &self,
        findings: Vec<Finding>,
        complete: bool,
        command: impl Into<String>,
        took: Duration,
    ) -> Report {
        let not_started = findings.iter().find(|finding| finding.why() == NOT_STARTED);
        let cut_short = not_started.map(|finding| format!("{NOT_STARTED}: {}", finding.brief()));
        Report {
            complete,
            cut_short,
            command: command.into(),
            took,
            ..Report::of(self.subject.name(), Measure::Contract, findings)
        }
    }

    /// Runs a vector of the corpus in all its deliveries.
    pub fn examine(&self, vector: &Vector) -> Outcome {
        let _turn = Turn::shared();
        if let Err(not_started) = self.start() {
            return self.tell(not_started);
        }
        let outcome = match self.routes(vector) {
            Ok(running) => {
                let examined = Examined { target: Target::new(running.address()), running: Some(&running) };
                examined.examine(vector)
            }
            Err(failure) => Outcome::Failed { failure, transcript: String::new() },
        };
        match outcome {
            Outcome::Failed { failure, transcript } => {
                Outcome::Failed { failure: failure.with_tuning(&vector.tuning()), transcript }
            }
            outcome => outcome,
        }
    }

    /// What the server sends for a vector that is delivered so, with every date the same, and how it ends the
    /// connection: for comparing servers, of which each is right by itself.
    ///
    /// # Errors
    /// If the server does not start, or accepts no connection.
    pub fn listen(&self, vector: &Vector, delivery: Delivery) -> Result<String, Failure> {
        let running = self.routes(vector)?;
        Examined { target: Target::new(running.address()), running: Some(&running) }.listen(vector, delivery)
    }

    /// The server of the routes that is set as the vector wants it.
    pub(crate) fn routes(&self, vector: &Vector) -> Result<Arc<Running>, Failure> {
        let mut servers = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = servers.get(&vector.settings) {
            return Ok(Arc::clone(running));
        }
        let plan = Plan { routes: true, ..Plan::default() };
        let setup = Setup { tuning: vector.tuning(), plan, ..Setup::default() };
        let running = Arc::new(Running::start_within(self.limit, &self.subject, setup)?);
        servers.insert(vector.settings.clone(), Arc::clone(&running));
        Ok(running)
    }

    fn tell(&self, (failure, transcript): &NotStarted) -> Outcome {
        if self.told.swap(true, Ordering::Relaxed) {
            return Outcome::NotRun;
        }
        Outcome::NotStarted { failure: failure.clone(), transcript: transcript.to_string() }
    }

    /// The subject's line that names this entry or one of its clauses, if there is one.
    pub fn skip(&self, entry: Entry) -> Option<Skip> {
        self.subject.skips().iter().find(|skip| entry.is_named(skip.id)).copied()
    }

    /// The subject's skips that are to be deleted: lines of which all that they name was run and passed, or that name
    /// nothing.
    pub fn stale_skips(&self, report: &Report) -> Vec<Skip> {
        let stale = |skip: &&Skip| {
            let all = entries().filter(|entry| entry.is_named(skip.id)).count();
            let run: Vec<&Finding> =
                report.findings.iter().filter(|finding| finding.entry.is_named(skip.id)).collect();
            let passed = run.iter().any(|finding| finding.mark == Mark::Passed);
            let failed = run.iter().any(|finding| finding.evidence.is_some());
            if all == 0 { report.complete } else { run.len() == all && passed && !failed }
        };
        self.subject.skips().iter().filter(stale).copied().collect()
    }

    /// What is checked.
    pub fn subject(&self) -> &Arc<dyn Subject> {
        &self.subject
    }

    fn start(&self) -> Result<&(Running, About), &NotStarted> {
        let started = self.shared.get_or_init(|| {
            let transcript = Transcript::new(1);
            let start = || {
                let server = Running::start_within(self.limit, &self.subject, Setup::default())?;
                let about = About::of(&server, &transcript)?;
                Ok((server, about))
            };
            start().map_err(|failure| (failure, transcript.clone()))
        });
        started.as_ref()
    }

    /// The server that the checks share.
    pub(crate) fn shared(&self) -> &Running {
        &self.started().0
    }

    pub(crate) fn about(&self) -> &About {
        &self.started().1
    }

    fn started(&self) -> &(Running, About) {
        // A case is only made once it has.
        self.start().expect("the shared server has started")
    }
}

fn names(caps: Caps) -> String {
    caps.iter().map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("subject", &self.subject.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use varvel::{Launch, ReadBody, Scope, ServeError, Served, Server, Shared, WriteBody, sync_fn};
    use varvel_spec::ids;

    use super::*;
    use crate::{Probe, Tuning, broken::Reference, checks, report::Table};

    /// A server that answers by itself.
    struct Deaf;

    impl Subject for Deaf {
        fn name(&self) -> String {
            "deaf".to_owned()
        }

        fn serve(&self, _: Probe, launch: Launch, _: &Tuning) -> Result<Served, ServeError> {
            let hi = |_: Request<ReadBody>, _: Scope| Ok(http::Response::new(WriteBody::from("hi")));
            Server::serve(Reference::new(), Shared(sync_fn(hi)), launch)
        }
    }

    #[test]
    fn a_server_that_does_not_call_the_probe_is_told_of_once() {
        let suite = Suite::new(Arc::new(Deaf));
        let mut outcomes = checks().map(|check| suite.run(check));
        let Some(Outcome::NotStarted { failure, transcript }) = outcomes.next() else { panic!("it started") };
        assert_eq!(failure.seen, "the server did not call the probe for its first request");
        assert!(transcript.contains("> GET /about") && transcript.ends_with("< hi\n"), "{transcript}");
        assert!(outcomes.all(|outcome| outcome == Outcome::NotRun));
    }

    /// A server that is never started.
    struct Skipping(&'static [Skip]);

    impl Subject for Skipping {
        fn name(&self) -> String {
            "skipping".to_owned()
        }

        fn serve(&self, _: Probe, _: Launch, _: &Tuning) -> Result<Served, ServeError> {
            Ok(Served::new(0))
        }

        fn skips(&self) -> &[Skip] {
            self.0
        }
    }

    /// The report of a run in which all checks of H1 and H7 passed but the one of this name, and the skips that are stale.
    fn report(skips: &'static [Skip], failed: &str, complete: bool) -> (String, Vec<Skip>) {
        let suite = Suite::new(Arc::new(Skipping(skips)));
        let outcome = |check: &Check| match check.id() == failed {
            true => Outcome::Failed {
                failure: Failure::new("a head\nand more", "a body"),
                transcript: String::new(),
            },
            false => Outcome::Passed,
        };
        let run = checks().filter(|check| [ids::H1, ids::H7].contains(&check.clause));
        let findings = run.map(|check| suite.judge(Entry::Check(check), outcome(check), Duration::ZERO));
        let report = suite.report(findings.collect(), complete, "check", Duration::ZERO);
        (Table(&report).to_string(), suite.stale_skips(&report))
    }

    #[test]
    fn a_clause_fails_with_any_of_its_checks() {
        let (text, _) = report(&[], "H1/body-not-run", true);
        assert!(
            text.contains(
                "FAILED 1 of 2\n         body-not-run: failed: expected a head and more; seen a body\n"
            ),
            "{text}"
        );
        assert!(text.contains("not checked: needs a client that speaks TLS"), "{text}");
        assert!(text.ends_with("skipping: 3 passed, 1 failed\n"), "{text}");
    }

    #[test]
    fn of_a_filtered_run_only_what_ran_is_shown() {
        let (text, _) = report(&[], "", false);
        let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(matches!(shown[..], [h1, h7] if h1.contains("H1 ") && h7.contains("H7 ")), "{text}");
        assert!(!text.contains("S. "), "{text}");
    }

    #[test]
    fn a_skip_counts_while_one_of_its_checks_fails() {
        const SKIPS: &[Skip] =
            &[Skip::new("H1", "no time yet"), Skip::new("H7/nothing-behind-close", "none either")];
        let (text, stale) = report(SKIPS, "H1/body-not-run", false);
        assert!(text.contains("body-not-run: skipped: no time yet"), "{text}");
        assert_eq!(stale, [SKIPS[1]]);
    }

    #[test]
    fn a_skip_that_names_no_check_is_to_be_deleted() {
        const SKIPS: &[Skip] = &[Skip::new("H99/unknown", "a slip of the pen")];
        assert_eq!(report(SKIPS, "", true).1, SKIPS);
        assert_eq!(report(SKIPS, "", false).1, []);
    }
}

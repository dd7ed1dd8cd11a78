//! A run of checks against one server.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{About, Case, Check, Failure, Running, Setup, Skip, Subject, transcript::Transcript};

/// The checks' common ground: the subject, and the running server that most of them share.
pub struct Suite {
    subject: Arc<dyn Subject>,
    shared: OnceLock<Result<(Running, About), NotStarted>>,
    /// Whether a check has told that the shared server did not start.
    told: AtomicBool,
    cases: AtomicU64,
}

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

/// Why the shared server is none, and what went over the wire.
type NotStarted = (Failure, Transcript);

impl Suite {
    /// A run against this server, which is started when the first check needs it.
    pub fn new(subject: Arc<dyn Subject>) -> Self {
        Self { subject, shared: OnceLock::new(), told: AtomicBool::new(false), cases: AtomicU64::new(0) }
    }

    /// Runs a check.
    ///
    /// # Panics
    /// If the check does.
    pub fn run(&self, check: &Check) -> Outcome {
        let about = match self.start() {
            Ok((_, about)) => about,
            Err(_) if self.told.swap(true, Ordering::Relaxed) => return Outcome::NotRun,
            Err((failure, transcript)) => {
                return Outcome::NotStarted { failure: failure.clone(), transcript: transcript.to_string() };
            }
        };
        if !about.caps.contains(check.needs) {
            let missing = check.needs.without(about.caps);
            return Outcome::DoesNotApply(format!("the server does not advertise {missing:?}"));
        }
        if check.lacks.without(about.caps) != check.lacks {
            return Outcome::DoesNotApply(format!("the server advertises {:?}", check.lacks & about.caps));
        }
        let mut case = Case::new(self, format!("c{}", self.cases.fetch_add(1, Ordering::Relaxed)));
        match (check.run)(&mut case) {
            Ok(()) => Outcome::Passed,
            Err(failure) if failure.does_not_apply => Outcome::DoesNotApply(failure.expected),
            Err(failure) => Outcome::Failed { failure, transcript: case.transcript() },
        }
    }

    /// The subject's line that names this check or its clause, if there is one.
    pub fn skip(&self, check: &Check) -> Option<Skip> {
        let id = check.id();
        self.subject.skips().iter().find(|skip| skip.id == id || skip.id == check.clause.id).copied()
    }

    /// What is checked.
    pub fn subject(&self) -> &Arc<dyn Subject> {
        &self.subject
    }

    fn start(&self) -> Result<&(Running, About), &NotStarted> {
        let started = self.shared.get_or_init(|| {
            let transcript = Transcript::new(1);
            let start = || {
                let server = Running::start(&self.subject, Setup::default())?;
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

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("subject", &self.subject.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use varvel::{Launch, ReadBody, Scope, ServeError, Served, Server, Shared, WriteBody, sync_fn};

    use super::*;
    use crate::{Probe, Tuning, broken::Reference, checks};

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
}

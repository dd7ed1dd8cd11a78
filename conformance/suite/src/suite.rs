//! A run of checks against one server.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{About, Case, Check, Failure, Running, Setup, Skip, Subject};

/// The checks' common ground: the subject, and the running server that most of them share.
pub struct Suite {
    subject: Arc<dyn Subject>,
    shared: OnceLock<Result<(Running, About), Failure>>,
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
}

impl Suite {
    /// A run against this server, which is started when the first check needs it.
    pub fn new(subject: Arc<dyn Subject>) -> Self {
        Self { subject, shared: OnceLock::new(), cases: AtomicU64::new(0) }
    }

    /// Runs a check.
    ///
    /// # Panics
    /// If the check does.
    pub fn run(&self, check: &Check) -> Outcome {
        let about = match self.start() {
            Ok((_, about)) => about,
            Err(failure) => {
                return Outcome::Failed {
                    failure: failure.clone().within("start"),
                    transcript: String::new(),
                };
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

    fn start(&self) -> Result<&(Running, About), &Failure> {
        let started = self.shared.get_or_init(|| {
            let server = Running::start(&self.subject, Setup::default())?;
            let about = About::of(&server)?;
            Ok((server, about))
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

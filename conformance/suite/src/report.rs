//! What a run has found, clause by clause.

use std::fmt;

use varvel_spec::Clause;

use crate::{
    Check, Outcome, Skip, Suite,
    coverage::{GROUPS, unchecked},
};

/// The outcomes of a run against one server.
#[derive(Debug)]
pub(crate) struct Report<'r> {
    pub(crate) suite: &'r Suite,
    pub(crate) results: &'r [(&'static Check, Outcome)],
    /// Whether no check was filtered out. Otherwise only the clauses of which a check ran are shown.
    pub(crate) complete: bool,
}

/// How a check counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Passed,
    Failed,
    /// A breach of a SHOULD.
    Advised,
    Skipped,
    DoesNotApply,
    NotRun,
}

impl Report<'_> {
    fn mark(&self, check: &Check, outcome: &Outcome) -> Mark {
        match outcome {
            Outcome::Passed => Mark::Passed,
            Outcome::DoesNotApply(_) => Mark::DoesNotApply,
            Outcome::Failed { .. } if self.suite.skip(check).is_some() => Mark::Skipped,
            Outcome::Failed { .. } if !check.clause.level.is_required() => Mark::Advised,
            Outcome::Failed { .. } | Outcome::NotStarted { .. } => Mark::Failed,
            Outcome::NotRun => Mark::NotRun,
        }
    }

    fn count(&self, mark: Mark) -> usize {
        self.results.iter().filter(|(check, outcome)| self.mark(check, outcome) == mark).count()
    }

    /// The subject's skips that are to be deleted: lines whose checks were all run and all passed, or that name no check.
    pub(crate) fn stale_skips(&self) -> Vec<Skip> {
        let stale = |skip: &&Skip| {
            let named = |check: &&'static Check| check.id() == skip.id || check.clause.id == skip.id;
            let all = crate::checks().filter(named).count();
            let run: Vec<_> = self.results.iter().filter(|(check, _)| named(check)).collect();
            let passed = run.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).count();
            let failed = run.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }));
            if all == 0 { self.complete } else { run.len() == all && passed > 0 && !failed }
        };
        self.suite.subject().skips().iter().filter(stale).copied().collect()
    }

    fn clauses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran = |clause| self.results.iter().any(|(check, _)| check.clause == clause);
        for group in GROUPS {
            let mut clauses = group.clauses().filter(|clause| self.complete || ran(*clause)).peekable();
            if clauses.peek().is_some() {
                writeln!(f, "\n{}. {}", group.letter(), group.title())?;
            }
            for clause in clauses {
                self.clause(f, clause)?;
            }
        }
        Ok(())
    }

    fn clause(&self, f: &mut fmt::Formatter<'_>, clause: &Clause) -> fmt::Result {
        let mine: Vec<_> = self.results.iter().filter(|(check, _)| check.clause == clause).collect();
        let count = |mark| mine.iter().filter(|(check, outcome)| self.mark(check, outcome) == mark).count();
        let verdict = match (mine.len(), unchecked(clause)) {
            (0, Some(reason)) => format!("not checked: {reason}"),
            (0, None) => "not run".to_owned(),
            _ if count(Mark::Failed) > 0 => format!("FAILED {} of {}", count(Mark::Failed), mine.len()),
            _ if count(Mark::Skipped) > 0 => format!("skipped {} of {}", count(Mark::Skipped), mine.len()),
            _ if count(Mark::Advised) > 0 => {
                format!("advised against {} of {}", count(Mark::Advised), mine.len())
            }
            _ if count(Mark::Passed) > 0 => format!("passed {}", count(Mark::Passed)),
            _ => "does not apply".to_owned(),
        };
        writeln!(f, "  {:<4} {:<48} {verdict}", clause.id, clause.title)?;
        for (check, outcome) in mine {
            let why = match (self.mark(check, outcome), outcome) {
                (Mark::Passed, _) => continue,
                (_, Outcome::DoesNotApply(reason)) => format!("does not apply: {reason}"),
                (Mark::Skipped, _) => {
                    format!("skipped: {}", self.suite.skip(check).map_or("", |skip| skip.reason))
                }
                (_, Outcome::Failed { failure, .. }) => format!("failed: {}", failure.brief()),
                _ => continue,
            };
            writeln!(f, "         {}: {why}", check.name)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{}, specification {}.{}",
            self.suite.subject().name(),
            varvel_spec::VERSION.0,
            varvel_spec::VERSION.1
        )?;
        let failed_start = self.results.iter().find_map(|(_, outcome)| match outcome {
            Outcome::NotStarted { failure, .. } => Some(failure),
            _ => None,
        });
        match failed_start {
            Some(failure) => writeln!(f, "\n  {NOT_STARTED}: {}", failure.brief())?,
            None => self.clauses(f)?,
        }
        write!(
            f,
            "\n{}: {} passed, {} failed, {} skipped, {} advised, {} do not apply",
            self.suite.subject().name(),
            self.count(Mark::Passed),
            self.count(Mark::Failed),
            self.count(Mark::Skipped),
            self.count(Mark::Advised),
            self.count(Mark::DoesNotApply),
        )?;
        match self.count(Mark::NotRun) {
            0 => writeln!(f),
            count => writeln!(f, ", {count} not run"),
        }
    }
}

/// Why checks were not run.
pub(crate) const NOT_STARTED: &str = "the server did not start";

/// A failure in full: the clause, what was expected and seen, and what went over the wire.
pub(crate) fn explain(check: &Check, failure: &crate::Failure, transcript: &str) -> String {
    format!("{}\n\n{failure}\n\n{transcript}", check.clause)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use varvel::{Launch, ServeError, Served};
    use varvel_spec::ids;

    use super::*;
    use crate::{Failure, Probe, Subject, Tuning, checks};

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

    /// The report of a run in which all checks of H1 and H7 passed but the one of this name.
    fn report(skips: &'static [Skip], failed: &str, complete: bool, judge: impl FnOnce(&Report<'_>)) {
        let suite = Suite::new(Arc::new(Skipping(skips)));
        let outcome = |check: &Check| match check.id() == failed {
            true => Outcome::Failed {
                failure: Failure::new("a head\nand more", "a body"),
                transcript: String::new(),
            },
            false => Outcome::Passed,
        };
        let run = checks().filter(|check| [ids::H1, ids::H7].contains(&check.clause));
        let results: Vec<_> = run.map(|check| (check, outcome(check))).collect();
        judge(&Report { suite: &suite, results: &results, complete });
    }

    #[test]
    fn a_clause_fails_with_any_of_its_checks() {
        report(&[], "H1/body-not-run", true, |report| {
            let text = report.to_string();
            assert!(
                text.contains(
                    "FAILED 1 of 2\n         body-not-run: failed: expected a head and more; seen a body\n"
                ),
                "{text}"
            );
            assert!(text.contains("not checked: needs a client that speaks TLS"), "{text}");
            assert!(
                text.ends_with("skipping: 3 passed, 1 failed, 0 skipped, 0 advised, 0 do not apply\n"),
                "{text}"
            );
        });
    }

    #[test]
    fn of_a_filtered_run_only_what_ran_is_shown() {
        report(&[], "", false, |report| {
            let text = report.to_string();
            let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
            assert!(matches!(shown[..], [h1, h7] if h1.contains("H1 ") && h7.contains("H7 ")), "{text}");
            assert!(!text.contains("S. "), "{text}");
        });
    }

    #[test]
    fn a_skip_counts_while_one_of_its_checks_fails() {
        const SKIPS: &[Skip] =
            &[Skip::new("H1", "no time yet"), Skip::new("H7/nothing-behind-close", "none either")];
        report(SKIPS, "H1/body-not-run", false, |report| {
            assert!(report.to_string().contains("body-not-run: skipped: no time yet"), "{report}");
            assert_eq!(report.stale_skips(), [SKIPS[1]]);
        });
    }

    #[test]
    fn a_skip_that_names_no_check_is_to_be_deleted() {
        const SKIPS: &[Skip] = &[Skip::new("H99/unknown", "a slip of the pen")];
        report(SKIPS, "", true, |report| assert_eq!(report.stale_skips(), SKIPS));
        report(SKIPS, "", false, |report| assert_eq!(report.stale_skips(), []));
    }
}

//! What a rule is, and how to find one.

use std::fmt;

use varvel_spec::{Clause, Level};

use crate::rules::RULES;

/// One thing that the lint looks at: a part of a clause that can be seen from between server and application.
///
/// Its `Display` is the whole explanation: what is required, what to do about a breach, and the clause in the words of
/// the specification.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The clause and a word, such as `A5.short`. Never given to another rule.
    pub id: &'static str,
    /// The clause that it is a part of.
    pub clause: &'static Clause,
    /// Who keeps it or breaks it.
    pub binds: Party,
    /// How strongly it binds, which may be less than its clause does.
    pub level: Level,
    /// What is required, in one sentence.
    pub text: &'static str,
    /// What to do about a breach, in one sentence.
    pub remedy: &'static str,
    /// The function of this crate that makes it happen, such as `cancel_everywhere` (or its form for sync ones), if a lint
    /// that only watches does not come to see it.
    pub driver: Option<&'static str>,
    /// Its place in the table, for counters.
    pub(crate) index: usize,
}

/// Who owes what a rule requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Party {
    /// The application below the lint, or its factory.
    Application,
    /// The middleware between two lints.
    Middleware,
    /// Whatever is above the lint: the server, or middleware that stands in for it.
    Server,
}

/// All rules, in the order of the table: applications, middleware, servers, and each by clause.
pub fn rules() -> impl ExactSizeIterator<Item = &'static Rule> {
    RULES.iter()
}

/// The rule with this id, such as `"A5.short"`.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

impl Eq for Rule {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}, {})", self.id, self.binds, self.level)?;
        writeln!(f, "  required: {}", self.text)?;
        writeln!(f, "  to do: {}", self.remedy)?;
        write!(f, "  clause {}", self.clause)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Middleware => "middleware",
            Self::Server => "server",
        })
    }
}

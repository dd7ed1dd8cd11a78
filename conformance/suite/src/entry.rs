//! The catalogue: everything that can be run, under one name each.

use std::fmt;

use varvel_spec::Clause;

use crate::{
    Check, Failure, Mark, Measure, checks,
    corpus::{self, Level, Vector},
};

/// Something that can be run against a server.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A check of one clause, which looks into a server of the contract.
    Check(&'static Check),
    /// A vector of the wire corpus, which needs no more than a connection.
    Vector(&'static Vector),
}

/// Everything there is: the checks in the order of the document, then the corpus by groups.
pub fn entries() -> impl Iterator<Item = Entry> {
    checks().map(Entry::Check).chain(corpus::vectors().iter().map(Entry::Vector))
}

impl Entry {
    /// Its id: `H8/bad-chunks` of a check, `chunked/size-with-plus-sign` of a vector.
    pub fn id(self) -> String {
        match self {
            Self::Check(check) => check.id(),
            Self::Vector(vector) => vector.id(),
        }
    }

    /// Its name within its clause or group.
    pub fn name(self) -> &'static str {
        match self {
            Self::Check(check) => check.name,
            Self::Vector(vector) => vector.name,
        }
    }

    /// What it belongs to: the letter of a chapter, or a group of the corpus.
    pub fn group(self) -> &'static str {
        match self {
            Self::Check(check) => &check.clause.id[..1],
            Self::Vector(vector) => vector.group,
        }
    }

    /// The group in words.
    pub fn group_title(self) -> String {
        match self {
            Self::Check(check) => format!("{}. {}", check.clause.group.letter(), check.clause.group.title()),
            Self::Vector(vector) => vector.group.to_owned(),
        }
    }

    /// `check` or `vector`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Check(_) => "check",
            Self::Vector(_) => "vector",
        }
    }

    /// The check, if it is one.
    pub fn check(self) -> Option<&'static Check> {
        match self {
            Self::Check(check) => Some(check),
            Self::Vector(_) => None,
        }
    }

    /// The vector, if it is one.
    pub fn vector(self) -> Option<&'static Vector> {
        match self {
            Self::Check(_) => None,
            Self::Vector(vector) => Some(vector),
        }
    }

    /// How strongly it binds: `MUST NOT`, `STRICT` and so on.
    pub fn level(self) -> &'static str {
        match self {
            Self::Check(check) => check.clause.level.key_words(),
            Self::Vector(vector) => vector.level.word(),
        }
    }

    /// The clauses it stands for.
    pub fn clauses(self) -> Vec<&'static Clause> {
        match self {
            Self::Check(check) => vec![check.clause],
            Self::Vector(vector) => vector.clauses.clone(),
        }
    }

    /// The sections of RFCs it rests on, such as `RFC 9112 §7.1`.
    pub fn rfc(self) -> Vec<String> {
        match self {
            Self::Check(check) => check.clause.rfc.iter().map(ToString::to_string).collect(),
            Self::Vector(vector) => vector.sections.iter().map(ToString::to_string).collect(),
        }
    }

    /// What it is about and why it matters, in some lines.
    pub fn explanation(self) -> String {
        match self {
            Self::Check(check) => check.clause.to_string(),
            Self::Vector(vector) => vector.to_string(),
        }
    }

    /// Whether this id names it: its own, or that of one of its clauses.
    pub fn is_named(self, id: &str) -> bool {
        self.id() == id || self.clauses().iter().any(|clause| clause.id == id)
    }

    /// How it counts if it does not pass, for this reason. What a foreign server does otherwise without doing harm, such as
    /// to refuse by another status, counts a degree less.
    pub fn blame(self, measure: Measure, failure: &Failure) -> Mark {
        let is_harmless = measure == Measure::Http && failure.is_harmless();
        match self {
            Self::Check(check) if check.clause.level.is_required() => Mark::Failed,
            Self::Check(_) => Mark::Warned,
            Self::Vector(vector) => match vector.level {
                Level::May => Mark::Noted,
                _ if measure == Measure::Contract => Mark::Failed,
                Level::Must if is_harmless => Mark::Warned,
                Level::Must => Mark::Failed,
                Level::Should | Level::Strict if is_harmless => Mark::Noted,
                Level::Should | Level::Strict => Mark::Warned,
            },
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

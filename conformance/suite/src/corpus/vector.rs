//! One case of the corpus.

use std::{fmt, time::Duration};

use varvel_spec::Clause;

use super::{Delivery, expected::Expected, groups};
use crate::Tuning;

/// Bytes to send and what must come of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Vector {
    /// The group it belongs to, such as `chunked`.
    pub group: &'static str,
    /// What it is about, in words joined by hyphens; unique within the group.
    pub name: &'static str,
    /// How much it weighs that a server does otherwise.
    pub level: Level,
    /// The sections of RFCs that it rests on, such as `RFC 9112 §7.1`.
    pub sections: Vec<&'static str>,
    /// The clauses of the specification that it checks.
    pub clauses: Vec<&'static Clause>,
    /// The rules of the grammar of RFC 9112 that it exercises.
    pub rules: Vec<&'static str>,
    /// The historic faults that it stands for, such as `CVE-2022-24761`.
    pub history: Vec<&'static str>,
    /// Who would disagree with whom, or what would break.
    pub why: String,
    /// Where it stands in its file, from 1.
    pub line: usize,
    /// How the server is to be set, as names and values of [settings](Tuning::set).
    pub settings: Vec<(&'static str, &'static str)>,
    /// Whether it makes sense only delivered whole.
    pub(super) only_whole: bool,
    pub(super) script: Vec<Step>,
}

/// What is lost if a server does otherwise than a vector expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It breaks the RFC: failed.
    Must,
    /// It does what the RFC advises against: a warning.
    Should,
    /// It has used a liberty: a note.
    May,
    /// It does what the RFC permits and what makes an attack or a misunderstanding easier: a warning. A server of the
    /// contract must be strict, since a clause says so.
    Strict,
}

/// An event of a vector's script.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The client sends this, in one segment if delivered whole.
    Send(Vec<u8>),
    /// It ends its sending side.
    End,
    /// It sends nothing more until the server acts on a deadline of its own.
    Stall,
    /// It sends nothing for so long.
    Pause(Duration),
    /// This must come.
    Expect(Box<Expected>),
}

impl Vector {
    /// Its name in reports and filters, such as `chunked/size-with-plus-sign`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The lines of the corpus that make it, from its heading on.
    pub fn source(&self) -> &'static str {
        let text = groups().find(|group| group.name == self.group).map_or("", |group| group.text);
        let ahead: usize = text.split_inclusive('\n').take(self.line - 1).map(str::len).sum();
        let own = &text[ahead..];
        own.find("\n## ").map_or(own, |end| &own[..end]).trim_end()
    }

    /// How many bytes the client sends.
    pub fn bytes_sent(&self) -> usize {
        let lengths = self.script.iter().map(|step| match step {
            Step::Send(bytes) => bytes.len(),
            _ => 0,
        });
        lengths.sum()
    }

    /// How many final answers it expects.
    pub fn answers(&self) -> usize {
        let is_final = |step: &&Step| matches!(step, Step::Expect(expected) if !expected.is_interim());
        self.script.iter().filter(is_final).count()
    }

    /// Whether what it sends first is to be refused, or may be.
    pub fn may_be_refused(&self) -> bool {
        let mut answers = self.script.iter().filter_map(|step| match step {
            Step::Expect(expected) => Some(expected),
            _ => None,
        });
        answers.next().is_some_and(|expected| expected.may_be_refusal())
    }

    /// Whether it can be judged only where the request body is read before the answer.
    pub fn needs_a_reader(&self) -> bool {
        self.script.iter().any(|step| match step {
            Step::End => true,
            Step::Expect(expected) => expected.is_open() || expected.breaks_the_body(),
            _ => false,
        })
    }

    /// Whether it can come out well only where a connection outlives an answer.
    pub fn needs_persistence(&self) -> bool {
        self.script.iter().any(|step| match step {
            Step::Expect(expected) => expected.needs_persistence(),
            _ => false,
        })
    }

    /// The deliveries that suit it.
    pub fn deliveries(&self) -> impl Iterator<Item = Delivery> + '_ {
        let whole = self.only_whole;
        let begins_with_bytes = matches!(self.script.first(), Some(Step::Send(_)));
        let ends_early = self.script.iter().any(|step| matches!(step, Step::End | Step::Stall));
        let ends_open = matches!(self.script.last(), Some(Step::Expect(last)) if last.is_open());
        Delivery::ALL.into_iter().filter(move |delivery| match delivery {
            Delivery::Whole => true,
            Delivery::ByteByByte | Delivery::LineByLine => !whole,
            Delivery::Behind => !whole && begins_with_bytes,
            Delivery::Ahead => !whole && !ends_early && !ends_open,
        })
    }

    /// How the server is to be set.
    pub(crate) fn tuning(&self) -> Tuning {
        let mut tuning = Tuning::default();
        for (name, value) in &self.settings {
            tuning.set(name, value).expect("the parser has tried it");
        }
        tuning
    }

    /// The routes that do something particular and that it asks for, without the slash, such as `echo`.
    pub fn routes(&self) -> impl Iterator<Item = &'static str> + '_ {
        ROUTES.into_iter().filter(|route| self.script.iter().any(|step| step.asks_for(route)))
    }
}

/// The routes that do something particular; `/` and all others describe the request.
pub const ROUTES: [&str; 11] = [
    "echo",
    "inject",
    "length-long",
    "length-short",
    "nobody",
    "noread",
    "panic",
    "slow",
    "status",
    "steps",
    "stream",
];

impl Step {
    /// Whether this is sent within a request for `/ROUTE`.
    fn asks_for(&self, route: &str) -> bool {
        let Self::Send(bytes) = self else { return false };
        let target = [b" /", route.as_bytes()].concat();
        let is_end = |at: usize| bytes.get(at).is_none_or(|byte| b" /?".contains(byte));
        let mut found = bytes.windows(target.len()).enumerate().filter(|(_, window)| *window == target);
        found.any(|(at, _)| is_end(at + target.len()))
    }
}

/// What it is and why, for the message of a failure.
impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.id(), self.level, self.sections.join(", "))?;
        for clause in &self.clauses {
            write!(f, ", {}", clause.id)?;
        }
        for fault in &self.history {
            write!(f, ", {fault}")?;
        }
        write!(f, ")\n    {}\n    corpus/{}.txt, line {}", self.why, self.group, self.line)
    }
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 4] = [Self::Must, Self::Should, Self::May, Self::Strict];

    /// The word for it in the corpus.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
            Self::Strict => "STRICT",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

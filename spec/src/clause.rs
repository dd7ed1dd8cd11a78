//! What a clause is, once it has been read. The build script compiles this file too, to name these types in the
//! constants that it writes.

use std::fmt;

/// One clause of the specification.
///
/// Clauses compare and sort in the order of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Clause {
    /// The chapter it stands in, which is the letter of its id.
    pub group: Group,
    /// Its number within the chapter, from 1.
    pub number: u16,
    /// Its id, such as `H8`: never given to another clause, not even after it was retired.
    pub id: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// The strongest obligation in it.
    pub level: Level,
    /// The normative sentences, as Markdown, with the line breaks of the document.
    pub text: &'static str,
    /// The names of the capabilities it hangs on, such as `TRAILERS_IN`. It binds a server that advertises at least
    /// one of them; without any here, it binds every server.
    pub capabilities: &'static [&'static str],
    /// The sections of the RFCs it rests on.
    pub rfc: &'static [RfcSection],
    /// The kinds of check that observe it; at least one.
    pub checks: &'static [CheckKind],
    /// How they observe it, in a few words; may be empty.
    pub how: &'static str,
    /// The line of its heading in `varvel.md`, from 1.
    pub line: u32,
}

/// Quotes the clause: id, title and attributes on one line, the text indented below.
impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}", self.id, self.title, self.level)?;
        for capability in self.capabilities {
            write!(f, ", {capability}")?;
        }
        for section in self.rfc {
            write!(f, ", {section}")?;
        }
        write!(f, ")")?;
        for line in self.text.lines() {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// A clause that was given up. Its id stays taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct RetiredClause {
    /// The chapter it stood in.
    pub group: Group,
    /// Its number within the chapter.
    pub number: u16,
    /// The id it had.
    pub id: &'static str,
    /// What it said and why it no longer does.
    pub reason: &'static str,
}

/// A chapter of clauses. Chapters sort in the order of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// `S`: how, when and with what an application is called.
    Server,
    /// `A`: what applications owe.
    Application,
    /// `M`: what middleware owes.
    Middleware,
    /// `H`: what the server does about HTTP so that nobody else has to.
    Http,
    /// `B`: bodies and streaming.
    Body,
    /// `L`: start, stop, and what lies between.
    Lifespan,
    /// `U`: ways out of HTTP.
    Upgrade,
    /// `E`: errors, panics, cancellation.
    Error,
    /// `X`: extensions, versions, adapters.
    Extension,
    /// `W`: services of the worker, and deferred replies.
    Worker,
}

impl Group {
    /// All chapters, in the order of the document.
    pub const ALL: [Group; 10] = [
        Group::Server,
        Group::Application,
        Group::Middleware,
        Group::Http,
        Group::Body,
        Group::Lifespan,
        Group::Upgrade,
        Group::Error,
        Group::Extension,
        Group::Worker,
    ];

    /// The letter with which the ids of its clauses begin.
    pub const fn letter(self) -> char {
        match self {
            Group::Server => 'S',
            Group::Application => 'A',
            Group::Middleware => 'M',
            Group::Http => 'H',
            Group::Body => 'B',
            Group::Lifespan => 'L',
            Group::Upgrade => 'U',
            Group::Error => 'E',
            Group::Extension => 'X',
            Group::Worker => 'W',
        }
    }

    /// The chapter whose ids begin with `letter`.
    pub fn from_letter(letter: char) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.letter() == letter)
    }
}

/// How strongly a clause binds: the key words of RFC 2119, as RFC 8174 reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `MUST`: whoever does otherwise does not conform.
    Must,
    /// `MUST NOT`: whoever does it does not conform.
    MustNot,
    /// `SHOULD`: to be done unless there is a reason that was weighed and written down.
    Should,
    /// `SHOULD NOT`: to be left unless there is such a reason.
    ShouldNot,
}

impl Level {
    /// All levels.
    pub const ALL: [Level; 4] = [Level::Must, Level::MustNot, Level::Should, Level::ShouldNot];

    /// The key words, such as `MUST NOT`.
    pub const fn key_words(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::MustNot => "MUST NOT",
            Level::Should => "SHOULD",
            Level::ShouldNot => "SHOULD NOT",
        }
    }

    /// Whether a breach means that the subject does not conform, as against one that merits a warning.
    pub const fn is_required(self) -> bool {
        matches!(self, Level::Must | Level::MustNot)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key_words())
    }
}

/// From where the keeping of a clause can be observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A scripted client on a raw socket.
    Wire,
    /// The application of the conformance suite.
    Probe,
    /// A reporter that keeps every report.
    Recorder,
    /// A middleware that watches server and application.
    Lint,
    /// The compiler.
    Type,
    /// A test of the crate that owns the item.
    Unit,
}

impl CheckKind {
    /// All kinds.
    pub const ALL: [CheckKind; 6] = [
        CheckKind::Wire,
        CheckKind::Probe,
        CheckKind::Recorder,
        CheckKind::Lint,
        CheckKind::Type,
        CheckKind::Unit,
    ];

    /// The word for it in the document.
    pub const fn word(self) -> &'static str {
        match self {
            CheckKind::Wire => "wire",
            CheckKind::Probe => "probe",
            CheckKind::Recorder => "recorder",
            CheckKind::Lint => "lint",
            CheckKind::Type => "type",
            CheckKind::Unit => "unit",
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A section of an RFC; its `Display` is `RFC 9112 §6.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RfcSection {
    /// The number of the RFC.
    pub rfc: u16,
    /// The section, such as `6.3`.
    pub section: &'static str,
}

impl RfcSection {
    /// Where it can be read.
    pub fn url(&self) -> String {
        format!("https://www.rfc-editor.org/rfc/rfc{}#section-{}", self.rfc, self.section)
    }
}

impl fmt::Display for RfcSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC {} §{}", self.rfc, self.section)
    }
}

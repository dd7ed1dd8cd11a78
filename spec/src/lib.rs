//! The Varvel specification: its text, and its clauses as constants read from it.
//!
//! The text is `varvel.md` in this folder; it is the only source. When the crate is built, every clause in it becomes
//! a constant in [`ids`], so that a check, a message of the lint or a test can name a clause and a misspelt or retired
//! id does not compile:
//!
//! ```
//! use varvel_spec::{Level, ids};
//!
//! assert_eq!(ids::H8.id, "H8");
//! assert_eq!(ids::H8.level, Level::Must);
//! assert!(ids::B4.capabilities.contains(&"TRAILERS_IN"));
//! println!("{}", ids::H8); // quotes the clause
//! ```
//!
//! Tools that receive ids as text, for example from a report, look them up with [`clause`]; those that need all of them
//! walk through [`clauses`] in the order of the document.
//!
//! What is checked of the form of the document stands in `parse.rs`. This crate knows nothing of the interface or of
//! any server: it is what their tests are named after.

mod clause;
// The build script reads the document; the library has the reader only to test it.
#[cfg(test)]
mod parse;
mod reasons;
mod references;

pub use clause::{CheckKind, Clause, Group, Level, RetiredClause, RfcSection};
pub use reasons::Reason;

include!(concat!(env!("OUT_DIR"), "/clauses.rs"));

/// The whole text, as Markdown.
pub const TEXT: &str = include_str!("../varvel.md");

/// The reasons for it, as Markdown: questions and answers.
pub const RATIONALE: &str = include_str!("../rationale.md");

/// All clauses in force, in the order of the document.
pub fn clauses() -> &'static [Clause] {
    &CLAUSES
}

/// The clause in force with this id, such as `"H8"`. Code that knows the id when it is written names [`ids`] instead.
pub fn clause(id: &str) -> Option<&'static Clause> {
    CLAUSES.iter().find(|clause| clause.id == id)
}

/// The clauses that were given up, with their reasons. Their ids are not used again.
pub fn retired() -> &'static [RetiredClause] {
    RETIRED
}

/// The names of all capabilities, such as `"TRAILERS_IN"`, in the order of their table.
pub fn capabilities() -> &'static [&'static str] {
    CAPABILITIES
}

impl Group {
    /// The title of the chapter.
    pub fn title(self) -> &'static str {
        CHAPTERS[self as usize].0
    }

    /// What stands ahead of its first clause, as Markdown.
    pub fn introduction(self) -> &'static str {
        CHAPTERS[self as usize].1
    }

    /// Its clauses in force.
    pub fn clauses(self) -> impl Iterator<Item = &'static Clause> {
        CLAUSES.iter().filter(move |clause| clause.group == self)
    }
}

//! What a check is, and what it says when it fails.

use std::{borrow::Cow, error::Error, fmt};

use varvel::Caps;
use varvel_spec::Clause;

use crate::{Case, Tuning, broken::Fault};

/// One check of one clause: does something to a server, and looks at what comes of it.
///
/// The tables of them are the files in `cases/`, one for each chapter of the specification.
#[derive(Clone, Copy)]
pub struct Check {
    /// The clause it is for: a constant of [`varvel_spec::ids`].
    pub clause: &'static Clause,
    /// What it finds out, in a few words joined by hyphens; unique within the clause.
    pub name: &'static str,
    /// Runs only against servers that advertise all of these.
    pub needs: Caps,
    /// Runs only against servers that advertise none of these: the negative form of a capability (spec X2).
    pub lacks: Caps,
    /// Runs while no other check does, since it measures the process, or takes away what all need.
    pub alone: bool,
    /// Does it.
    pub run: fn(&mut Case<'_>) -> Verdict,
    /// Faults of the reference server, each of which it must catch; at least one.
    pub caught: &'static [Fault],
}

/// What a check comes to.
pub type Verdict = Result<(), Failure>;

impl Check {
    /// A check that runs against every server, beside others; the methods below say otherwise.
    pub const fn new(
        clause: &'static Clause,
        name: &'static str,
        run: fn(&mut Case<'_>) -> Verdict,
        caught: &'static [Fault],
    ) -> Self {
        Self { clause, name, needs: Caps::NONE, lacks: Caps::NONE, alone: false, run, caught }
    }

    /// Runs only against servers that advertise all of these.
    #[must_use]
    pub const fn needs(mut self, caps: Caps) -> Self {
        self.needs = caps;
        self
    }

    /// Runs only against servers that advertise none of these.
    #[must_use]
    pub const fn lacks(mut self, caps: Caps) -> Self {
        self.lacks = caps;
        self
    }

    /// Runs while no other check does.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Its name in reports and filters, such as `H1/no-body`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.clause.id, self.name)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

/// Why a check did not pass: what should have been seen, and what was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the clause asks for.
    pub expected: String,
    /// What came instead.
    pub seen: String,
    weight: Weight,
    /// Whether it was found by waiting: what was expected did not come in time.
    by_waiting: bool,
    /// What else might be the cause, for whoever looks for it.
    hint: Option<String>,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// What its clause or vector says.
    Full,
    /// Other than it must be, and harmless: of a foreign server, no more than a warning.
    Harmless,
    /// Not a failure: the check has nothing to say about this server; `expected` says why.
    DoesNotApply,
}

impl Failure {
    /// This was expected, and that was seen.
    pub fn new(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            seen: seen.into(),
            weight: Weight::Full,
            by_waiting: false,
            hint: None,
        }
    }

    /// Not a failure: this server gives no occasion for the check.
    pub fn does_not_apply(reason: impl Into<String>) -> Self {
        Self {
            expected: reason.into(),
            seen: String::new(),
            weight: Weight::DoesNotApply,
            by_waiting: false,
            hint: None,
        }
    }

    /// The same of a check that sets its server otherwise than the others do.
    #[must_use]
    pub(crate) fn with_tuning(mut self, tuning: &Tuning) -> Self {
        let changes: Vec<String> =
            tuning.changes().iter().map(|(name, value)| format!("{name} {value}")).collect();
        if !changes.is_empty() {
            let changes = changes.join(", ");
            self.hint = Some(format!("this check sets {changes}; does Subject::serve apply `tuning`?"));
        }
        self
    }

    /// The same where nothing came that could have been compared.
    #[must_use]
    pub(crate) fn by_waiting(mut self) -> Self {
        self.by_waiting = true;
        self
    }

    /// Whether what was expected did not come in time, rather than something else in its place.
    pub(crate) fn nothing_came(&self) -> bool {
        self.by_waiting
    }

    /// The same where it does no harm: a refusal by another status, say, or a connection closed without an answer. A
    /// server of the contract has failed all the same; a foreign one is warned.
    #[must_use]
    pub(crate) fn harmless(mut self) -> Self {
        self.weight = Weight::Harmless;
        self
    }

    pub(crate) fn is_harmless(&self) -> bool {
        self.weight == Weight::Harmless
    }

    /// Whether the check has nothing to say about this server; `expected` says why.
    pub(crate) fn says_nothing(&self) -> bool {
        self.weight == Weight::DoesNotApply
    }

    /// The same within a larger picture, such as the row of a table.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        if self.weight != Weight::DoesNotApply {
            self.expected = format!("{what}: {}", self.expected);
        }
        self
    }

    /// The same on one line, for lists.
    pub fn brief(&self) -> String {
        let line = |text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            shortened(&words.join(" "), LINE_MAX).into_owned()
        };
        // Often both begin with what they are about, which is said once.
        let same = self.expected.chars().zip(self.seen.chars()).take_while(|(one, other)| one == other);
        let same: usize = same.map(|(one, _)| one.len_utf8()).sum();
        let news = self.expected[..same].rfind(": ").map_or(0, |at| at + 2);
        let hint = self.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
        format!("expected {}; seen {}{hint}", line(&self.expected), line(&self.seen[news..]))
    }
}

/// How much is shown of what was expected, and of what was seen: on a line, and in full; in characters.
const LINE_MAX: usize = 120;
const TEXT_MAX: usize = 1200;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weight == Weight::DoesNotApply {
            return write!(f, "does not apply: {}", self.expected);
        }
        let (expected, seen) = (shortened(&self.expected, TEXT_MAX), shortened(&self.seen, TEXT_MAX));
        write!(f, "expected: {expected}\nseen:     {seen}")?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint:     {hint}"))
    }
}

/// A text of at most about `max` characters: of a longer one both ends, since rows of tables stand at the beginning and
/// what matters often at the end.
fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    let begins: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    if begins.len() <= max {
        return text.into();
    }
    let (first, last) = (&text[..begins[max / 2]], &text[begins[begins.len() - max / 2]..]);
    format!("{first} ... {last}").into()
}

impl Error for Failure {}

/// Fails unless `holds`.
///
/// # Errors
/// The failure, with these words.
pub fn ensure(holds: bool, expected: impl fmt::Display, seen: impl fmt::Display) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::new(expected.to_string(), seen.to_string())) }
}

/// Fails unless both are equal; `what` names them.
///
/// # Errors
/// The failure, with both values.
pub fn expect_eq<S, E>(what: impl fmt::Display, seen: S, expected: E) -> Verdict
where
    S: PartialEq<E> + fmt::Debug,
    E: fmt::Debug,
{
    ensure(
        seen == expected,
        format_args!("{what} {}", plain(&format!("{expected:?}"))),
        format_args!("{what} {}", plain(&format!("{seen:?}"))),
    )
}

/// A value as its `Debug` shows it; of one that may be missing, as most are that are looked up, what is in it.
fn plain(debug: &str) -> &str {
    match debug.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => inner,
        None if debug == "None" => "none",
        None => debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_failure_is_one_line_with_both_ends() {
        let failure = Failure::new("status 400", "status 200").within("a row");
        assert_eq!(failure.brief(), "expected a row: status 400; seen status 200");
        let twice = Failure::new("a row: status 400", "a row: status 404");
        assert_eq!(twice.brief(), "expected a row: status 400; seen status 404");
        let long = Failure::new("a\n  b", format!("begin {} end", "\u{e9}\n".repeat(10_000))).brief();
        assert!(
            long.starts_with("expected a b; seen begin \u{e9}") && long.ends_with("\u{e9} end"),
            "{long}"
        );
        assert!(long.chars().count() < 200 && !long.contains('\n'), "{long}");
    }

    #[test]
    fn a_failure_under_other_settings_asks_whether_they_were_applied() {
        let tuning = Tuning { threads: 4, body_bytes_max: Some(9), ..Tuning::default() };
        let text = "this check sets threads 4, body-bytes-max 9; does Subject::serve apply `tuning`?";
        let failure = Failure::new("one", "another").with_tuning(&tuning);
        assert_eq!(failure.to_string(), format!("expected: one\nseen:     another\nhint:     {text}"));
        assert_eq!(failure.brief(), format!("expected one; seen another ({text})"));
        assert!(!Failure::new("one", "another").with_tuning(&Tuning::default()).brief().contains("tuning"));
    }

    #[test]
    fn what_may_be_missing_is_shown_without_its_wrapping() {
        let failure = expect_eq("the field x", None, Some("a (b)")).unwrap_err();
        assert_eq!((&*failure.expected, &*failure.seen), ("the field x \"a (b)\"", "the field x none"));
    }

    #[test]
    fn a_failure_shows_bytes_as_text_and_not_all_of_a_long_one() {
        let seen = bytes::Bytes::from("close\u{ff}\r\n");
        let failure = expect_eq("fields", vec![&seen], ["keep-alive"]).unwrap_err();
        assert_eq!(failure.seen, r#"fields [b"close\xc3\xbf\r\n"]"#);
        let long = Failure::new("less", "x".repeat(1 << 20)).to_string();
        assert!(long.len() < 2000, "{}", long.len());
    }
}

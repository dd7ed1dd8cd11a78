//! The report for people: what went wrong, in full, and a table.

use std::{collections::BTreeMap, fmt};

use varvel_spec::Clause;

use super::{Evidence, Finding, MANY, Mark, Measure, Report, count};
use crate::coverage::{GROUPS, unchecked};

/// What went wrong, one after the other: why it matters, what was expected and seen, what went over the wire, and how to
/// run it alone. Behind that warnings, a line each.
#[derive(Clone, Copy, Debug)]
pub struct Details<'r> {
    /// What to tell of.
    pub report: &'r Report,
    /// Whether warnings and notes are told in full, too.
    pub all: bool,
}

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |mark| self.report.findings.iter().filter(move |finding| finding.mark == mark);
        of(Mark::Failed).try_for_each(|finding| self.in_full(f, finding))?;
        if self.all {
            let mut others = of(Mark::Warned).chain(of(Mark::Noted));
            return others.try_for_each(|finding| self.in_full(f, finding));
        }
        if self.report.count(Mark::Warned) > 0 {
            writeln!(f)?;
        }
        of(Mark::Warned).try_for_each(|finding| self.in_brief(f, finding))
    }
}

impl Details<'_> {
    fn in_full(&self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        let Some(Evidence { failure, transcript }) = &finding.evidence else { return Ok(()) };
        let entry = finding.entry;
        writeln!(f, "\n{} {}", finding.mark.word().to_uppercase(), entry.id())?;
        match entry.vector() {
            Some(_) => indented(f, &finding.about())?,
            // Clauses come in the lines of the document.
            None => indented(f, &joined(&finding.about()))?,
        }
        writeln!(f)?;
        indented(f, &failure.to_string())?;
        // Not broken, to be copied.
        writeln!(f, "    alone:    {}", self.report.alone(entry))?;
        if !transcript.is_empty() {
            writeln!(f)?;
        }
        transcript.lines().try_for_each(|line| writeln!(f, "    {line}"))
    }

    fn in_brief(&self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        writeln!(f, "{} {}: {}", finding.mark, finding.entry.id(), finding.brief())
    }
}

/// Four blanks ahead of each line; long lines are folded.
fn indented(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    folded(text, WIDTH - 4).lines().try_for_each(|line| writeln!(f, "{}", format!("    {line}").trim_end()))
}

/// Joins the lines of paragraphs, to be folded anew; items of lists and lines of tables stay apart.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    // Where the line begins that would go on with the one before.
    let mut follows_at = None;
    for line in text.lines() {
        let words = line.trim_start();
        let margin = line.len() - words.len();
        let is_item = words.starts_with("- ");
        if Some(margin) == follows_at && !is_item && !words.starts_with('|') {
            joined.push(' ');
            joined.push_str(words);
            continue;
        }
        if !joined.is_empty() {
            joined.push('\n');
        }
        joined.push_str(line);
        let is_paragraph = !words.is_empty() && !words.starts_with('|');
        follows_at = is_paragraph.then_some(if is_item { margin + 2 } else { margin });
    }
    joined
}

/// Beyond this many columns lines are folded.
const WIDTH: usize = 118;

/// Breaks lines that are longer than so many characters at blanks; what follows keeps their indentation.
pub fn folded(text: &str, width: usize) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.lines() {
        let margin = &line[..line.len() - line.trim_start().len()];
        let mut column = 0;
        for (nth, word) in line.trim_start().split(' ').enumerate() {
            let length = word.chars().count();
            if nth > 0 && column + 1 + length <= width {
                folded.push(' ');
                column += 1 + length;
            } else {
                folded.push_str(if nth == 0 { margin } else { "\n" });
                folded.push_str(if nth == 0 { "" } else { margin });
                column = margin.len() + length;
            }
            folded.push_str(word);
        }
        folded.push('\n');
    }
    folded
}

/// The table: clause by clause for servers of the contract, by groups of vectors for all, and the totals.
#[derive(Clone, Copy, Debug)]
pub struct Table<'r>(pub &'r Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        writeln!(f, "\n{}, specification {}", report.title(), super::specification_version())?;
        for remark in report.remarks.iter().chain(&report.cut_short) {
            writeln!(f, "  {remark}")?;
        }
        if report.cut_short.is_none() || report.count(Mark::Passed) > 0 {
            if report.measure == Measure::Contract {
                self.clauses(f)?;
            }
            self.groups(f)?;
        }
        writeln!(f, "\n{}: {}", report.subject, Totals(&report.findings))
    }
}

impl Table<'_> {
    fn clauses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        for group in GROUPS {
            let shown = |clause: &&Clause| report.complete || !report.of_clause(clause).is_empty();
            let mut clauses = group.clauses().filter(shown).peekable();
            if clauses.peek().is_some() {
                writeln!(f, "\n{}. {}", group.letter(), group.title())?;
            }
            clauses.try_for_each(|clause| self.clause(f, clause))?;
        }
        Ok(())
    }

    fn clause(&self, f: &mut fmt::Formatter<'_>, clause: &Clause) -> fmt::Result {
        let findings = self.0.of_clause(clause);
        let count = |mark| count(findings.iter().copied(), mark);
        let ran = findings.len() - count(Mark::LeftOut) - count(Mark::NotRun);
        let verdict = match unchecked(clause) {
            Some(reason) if findings.is_empty() => format!("not checked: {reason}"),
            _ if count(Mark::Failed) > 0 => format!("FAILED {} of {ran}", count(Mark::Failed)),
            _ if count(Mark::Skipped) > 0 => format!("skipped {} of {ran}", count(Mark::Skipped)),
            _ if count(Mark::Warned) > 0 => format!("warned {} of {ran}", count(Mark::Warned)),
            _ if count(Mark::Passed) > 0 => format!("passed {}", count(Mark::Passed)),
            _ if count(Mark::LeftOut) > 0 => "does not apply".to_owned(),
            _ => "not run".to_owned(),
        };
        writeln!(f, "  {:<4} {:<48} {verdict}", clause.id, clause.title)?;
        let (checks, vectors): (Vec<&Finding>, Vec<&Finding>) =
            findings.into_iter().partition(|finding| finding.entry.check().is_some());
        checks.into_iter().try_for_each(|finding| self.note(f, finding))?;
        // Vectors stand for several clauses; they are named here, and told of in their groups.
        let failed = vectors.into_iter().filter(|finding| finding.mark == Mark::Failed);
        let ids: Vec<String> = failed.map(|finding| finding.entry.id()).collect();
        match ids.is_empty() {
            true => Ok(()),
            false => write!(f, "{}", folded(&format!("         failed: {}", ids.join(", ")), WIDTH)),
        }
    }

    /// What went over the wire: a row for each group, and a column for each mark that occurs.
    fn groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let vectors = || report.findings.iter().filter(|finding| finding.entry.vector().is_some());
        if vectors().next().is_none() {
            return Ok(());
        }
        let marks: Vec<Mark> = Mark::occurring(vectors()).collect();
        write!(f, "\n{:<24}", "On the wire")?;
        marks.iter().try_for_each(|mark| write!(f, "{mark:>10}"))?;
        writeln!(f)?;
        for (group, findings) in report.groups() {
            if findings[0].entry.vector().is_none() {
                continue;
            }
            write!(f, "  {group:<22}")?;
            for mark in &marks {
                match count(findings, *mark) {
                    0 => write!(f, "{:>10}", "-")?,
                    count => write!(f, "{count:>10}")?,
                }
            }
            writeln!(f)?;
            // For foreign servers they are told once, above the table.
            if report.measure == Measure::Contract {
                let told = |finding: &&Finding| !(self.has_many() && finding.mark == Mark::Failed);
                findings.iter().filter(told).try_for_each(|finding| self.note(f, finding))?;
            }
        }
        if report.measure == Measure::Http { self.left_out(f) } else { Ok(()) }
    }

    /// A line about a finding that did not simply pass.
    fn note(&self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        let why = match finding.mark {
            Mark::Passed | Mark::NotRun => return Ok(()),
            Mark::LeftOut => format!("does not apply: {}", finding.why()),
            Mark::Skipped => format!("skipped: {}", finding.why()),
            Mark::Failed if self.has_many() => "failed".to_owned(),
            Mark::Failed | Mark::Warned | Mark::Noted => format!("{}: {}", finding.mark, finding.brief()),
        };
        writeln!(f, "         {}: {why}", finding.entry.name())
    }

    /// Whether so much failed that it is only named here; what was expected and seen stands above.
    fn has_many(&self) -> bool {
        self.0.count(Mark::Failed) > MANY
    }

    /// Why vectors were left out, each reason once.
    fn left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in self.0.findings.iter().filter(|finding| finding.mark == Mark::LeftOut) {
            *reasons.entry(finding.why()).or_default() += 1;
        }
        if !reasons.is_empty() {
            writeln!(f)?;
        }
        reasons.iter().try_for_each(|(reason, count)| writeln!(f, "  {count:>4} left out: {reason}"))
    }
}

/// `12 passed, 1 failed`: the marks that occur; passed and failed always.
pub(super) struct Totals<'r>(pub(super) &'r [Finding]);

impl fmt::Display for Totals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = Mark::occurring(self.0).map(|mark| (mark, count(self.0, mark)));
        let words: Vec<String> = told.map(|(mark, count)| format!("{count} {mark}")).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Failure, entries};

    #[test]
    fn long_lines_are_folded_at_blanks_and_keep_their_margin() {
        assert_eq!(folded("  one two three\nshort\n\n", 9), "  one two\n  three\nshort\n\n");
        assert_eq!(folded("unbreakable", 3), "unbreakable\n");
    }

    #[test]
    fn text_that_was_folded_elsewhere_has_no_ragged_lines() {
        assert_eq!(
            joined("H1 Title (MUST)\n    one\n    two\n\n    - a\n      b\n    - c\n    | d |\n    | e |"),
            "H1 Title (MUST)\n    one two\n\n    - a b\n    - c\n    | d |\n    | e |"
        );
    }

    /// The table of a run in which so many vectors failed, and nothing else was run.
    fn table(failed: usize) -> String {
        let vectors = entries().filter(|entry| entry.vector().is_some()).take(failed);
        let evidence = Evidence { failure: Failure::new("this", "that"), transcript: String::new() };
        let finding =
            |entry: Entry| Finding { evidence: Some(evidence.clone()), ..Finding::of(entry, Mark::Failed) };
        Table(&Report::of("a server", Measure::Contract, vectors.map(finding).collect())).to_string()
    }

    #[test]
    fn failed_vectors_are_named_below_each_of_their_clauses() {
        let vector = entries().find(|entry| entry.vector().is_some()).unwrap();
        let text = table(1);
        let named = text.matches(&format!("failed: {}\n", vector.id())).count();
        assert_eq!(named, vector.clauses().len(), "{text}");
        assert_eq!(text.matches("expected this; seen that").count(), 1, "{text}");
    }

    #[test]
    fn of_many_failures_the_table_gives_the_names_alone() {
        let text = table(MANY + 1);
        assert!(!text.contains("expected this"), "{text}");
        for vector in entries().filter(|entry| entry.vector().is_some()).take(MANY + 1) {
            assert!(text.contains(&vector.id()), "{} is missing: {text}", vector.id());
        }
    }
}

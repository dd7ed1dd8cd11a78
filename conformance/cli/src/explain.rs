//! `--explain`: what a clause, a check, a group or a vector says, why, and how it is checked.

use std::fmt::{self, Write};

use varvel_conformance::{Check, Entry, corpus, corpus::Vector, entries, report::folded, unchecked};
use varvel_lint::{Rule, rules};
use varvel_spec::{Clause, Group};

use crate::{list::chapter_file, selection::Named};

/// The explanation of what an id names.
pub(crate) fn explain(named: &Named) -> String {
    let mut text = Text(String::new());
    let _ = match named {
        Named::Clause(clause) => text.clause(clause),
        Named::Chapter(group) => text.chapter(*group),
        Named::Group(group) => text.group(group),
        Named::Entry(Entry::Check(check)) => text.check(check),
        Named::Entry(Entry::Vector(vector)) => text.vector(vector),
        Named::Rule(rule) => text.rule(rule),
    };
    text.0
}

/// Texts that the document does not fold are folded at this column.
const WIDTH: usize = 110;

/// An explanation in the making; writing into it cannot fail.
struct Text(String);

impl Text {
    fn clause(&mut self, clause: &Clause) -> fmt::Result {
        let out = &mut self.0;
        writeln!(out, "{} {}\n", clause.id, clause.title)?;
        writeln!(out, "{}\n", clause.text)?;
        writeln!(out, "Level         {}", clause.level)?;
        if !clause.capabilities.is_empty() {
            writeln!(out, "Hangs on      {}", clause.capabilities.join(", "))?;
        }
        for section in clause.rfc {
            writeln!(out, "Rests on      {section}   {}", section.url())?;
        }
        let kinds: Vec<&str> = clause.checks.iter().map(|kind| kind.word()).collect();
        let how = clause.how.split_whitespace().collect::<Vec<_>>().join(" ");
        let how = if how.is_empty() { how } else { format!(": {how}") };
        writeln!(out, "Checked by    {}{how}", kinds.join(", "))?;
        writeln!(out, "Stands in     spec/varvel.md, line {}", clause.line)?;

        let reasons = clause.reasons();
        if !reasons.is_empty() {
            writeln!(out, "\nReasons, from spec/rationale.md")?;
        }
        for reason in reasons {
            writeln!(out, "\n{}\n\n{}", reason.heading, reason.text)?;
        }

        let mine = || entries().filter(|entry| entry.clauses().contains(&clause));
        let checks: Vec<&Check> = mine().filter_map(Entry::check).collect();
        let vectors: Vec<&Vector> = mine().filter_map(Entry::vector).collect();
        if let (None, Some(reason)) = (mine().next(), unchecked(clause)) {
            writeln!(out, "\nNo check of the suite: {reason}.")?;
        }
        if !checks.is_empty() {
            writeln!(out, "\nChecks, in {}", chapter_file(clause.group))?;
        }
        for check in checks {
            writeln!(out, "  {}{}", check.id(), conditions(check))?;
        }
        if !vectors.is_empty() {
            writeln!(out, "\nVectors, in conformance/suite/corpus")?;
        }
        vectors.iter().try_for_each(|vector| line(out, vector))?;

        let mut rules = rules().filter(|rule| rule.clause == clause).peekable();
        if rules.peek().is_some() {
            writeln!(out, "\nRules of the lint, in conformance/lint")?;
        }
        rules.try_for_each(|rule| writeln!(out, "  {:<22} {}", rule.id, rule.text))
    }

    fn rule(&mut self, rule: &Rule) -> fmt::Result {
        let out = &mut self.0;
        writeln!(out, "{}, a rule of the lint\n\n{}\n\n{}\n", rule.id, rule.text, rule.remedy)?;
        writeln!(out, "Level         {}", rule.level)?;
        writeln!(out, "Binds         the {}", rule.binds)?;
        writeln!(out, "Belongs to    {}", rule.clause)
    }

    fn chapter(&mut self, group: Group) -> fmt::Result {
        let out = &mut self.0;
        writeln!(out, "{}. {}\n\n{}\n", group.letter(), group.title(), group.introduction())?;
        group.clauses().try_for_each(|clause| {
            writeln!(out, "  {:<4} {:<10} {}", clause.id, clause.level.key_words(), clause.title)
        })
    }

    fn check(&mut self, check: &'static Check) -> fmt::Result {
        let out = &mut self.0;
        writeln!(out, "{}, a check of\n\n{}\n", check.id(), check.clause)?;
        let how = check.clause.how.split_whitespace().collect::<Vec<_>>().join(" ");
        if !how.is_empty() {
            writeln!(out, "The clause is checked so: {how}")?;
        }
        if !conditions(check).is_empty() {
            writeln!(out, "Runs only{}", conditions(check).trim_start_matches(','))?;
        }
        let faults: Vec<String> = check.caught.iter().map(|fault| format!("{fault:?}")).collect();
        writeln!(out, "Catches       {}", faults.join(", "))?;
        writeln!(
            out,
            "              (faults of the reference server, conformance/suite/src/broken/fault.rs)"
        )?;
        writeln!(out, "Stands in     {}", chapter_file(check.clause.group))?;
        writeln!(out, "Run alone     varvel-conformance run --server NAME --check {}", check.id())
    }

    fn group(&mut self, group: &corpus::Group) -> fmt::Result {
        let out = &mut self.0;
        let vectors: Vec<&Vector> =
            corpus::vectors().iter().filter(|vector| vector.group == group.name).collect();
        writeln!(out, "{}, {} vectors\n\n{}", group.name, vectors.len(), folded(&group.about(), WIDTH))?;
        vectors.iter().try_for_each(|vector| line(out, vector))
    }

    fn vector(&mut self, vector: &Vector) -> fmt::Result {
        let out = &mut self.0;
        writeln!(out, "{}\n\n{}", vector.id(), folded(&vector.why, WIDTH))?;
        writeln!(out, "Level         {} ({})", vector.level, meaning(vector.level))?;
        writeln!(out, "Rests on      {}", vector.sections.join(", "))?;
        for clause in &vector.clauses {
            writeln!(out, "For clause    {} {}", clause.id, clause.title)?;
        }
        if !vector.rules.is_empty() {
            writeln!(out, "Exercises     {}", vector.rules.join(", "))?;
        }
        if !vector.history.is_empty() {
            writeln!(out, "Stands for    {}", vector.history.join(", "))?;
        }
        let deliveries: Vec<String> = vector.deliveries().map(|delivery| delivery.to_string()).collect();
        writeln!(out, "Delivered     {}", deliveries.join(", "))?;
        writeln!(out, "Stands in     conformance/suite/corpus/{}.txt, line {}", vector.group, vector.line)?;
        writeln!(out, "Run alone     varvel-conformance run --url URL --check {}", vector.id())?;
        writeln!(out, "\n{}", vector.source())?;
        writeln!(
            out,
            "\n> is sent, < must come, = is what the application must see; the whole format is told in"
        )?;
        writeln!(out, "conformance/suite/corpus/README.md.")
    }
}

fn line(out: &mut String, vector: &&Vector) -> fmt::Result {
    writeln!(out, "  {:<7} {}", vector.level.word(), vector.id())
}

/// For which servers a check means something.
fn conditions(check: &Check) -> String {
    let mut conditions = String::new();
    for (caps, with) in [(check.needs, "with"), (check.lacks, "without")] {
        let names: Vec<&str> = caps.iter().map(|(_, name)| name).collect();
        if !names.is_empty() {
            let _ = write!(conditions, ", on servers {with} {}", names.join(", "));
        }
    }
    conditions
}

/// What a level means for a server that does otherwise.
fn meaning(level: corpus::Level) -> &'static str {
    match level {
        corpus::Level::Must => "otherwise it has failed",
        corpus::Level::Should => "otherwise a warning",
        corpus::Level::May => "otherwise a note",
        corpus::Level::Strict => "otherwise a warning; a server of the contract has failed",
    }
}

#[cfg(test)]
mod tests {
    use varvel_spec::clauses;

    use super::*;
    use crate::selection::named;

    #[test]
    fn everything_that_has_an_id_has_an_explanation() {
        let chapters = Group::ALL.iter().map(|group| group.letter().to_string());
        let groups = corpus::groups().map(|group| group.name.to_owned());
        let ids = clauses().iter().map(|clause| clause.id.to_owned());
        let ids = chapters.chain(groups).chain(ids).chain(entries().map(Entry::id));
        for id in ids.chain(rules().map(|rule| rule.id.to_owned())) {
            let text = explain(&named(&id).unwrap_or_else(|problem| panic!("{problem}")));
            assert!(text.starts_with(&id), "the id names something else, too: {text}");
            assert!(text.lines().count() > 3, "{text}");
        }
    }
}

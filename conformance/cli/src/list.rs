//! `--list`: what there is.

use std::fmt::Write;

use serde_json::{Value, json};
use varvel_conformance::{Entry, corpus, entries, unchecked};
use varvel_lint::{Rule, rules};
use varvel_spec::{Clause, Group};

/// The source file of a chapter's checks, from the root of the repository.
pub(crate) fn chapter_file(group: Group) -> String {
    format!("conformance/suite/src/cases/{}.rs", group.letter().to_ascii_lowercase())
}

/// Clauses with their checks, and groups with their sizes; if not everything is wanted, the vectors one by one.
pub(crate) fn human(selected: &[Entry], everything: bool) -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let clauses = group.clauses().map(|clause| (clause, of_clause(selected, clause)));
        let mut clauses = clauses.filter(|(_, entries)| everything || !entries.is_empty()).peekable();
        if clauses.peek().is_some() {
            let _ = writeln!(out, "\n{}. {}", group.letter(), group.title());
        }
        for (clause, entries) in clauses {
            let vectors = entries.iter().filter(|entry| entry.vector().is_some()).count();
            let checks = entries.len() - vectors;
            let sizes = [(checks, "check"), (vectors, "vector"), (rules_of(clause).len(), "lint rule")];
            let sizes = sizes.into_iter().filter(|(count, _)| *count > 0);
            let sizes: Vec<String> = sizes.map(|(count, what)| counted(count, what)).collect();
            let sizes = match unchecked(clause) {
                Some(reason) if entries.is_empty() => format!("not by the suite: {reason}"),
                _ => sizes.join(", "),
            };
            let _ = writeln!(out, "  {:<4} {:<48} {sizes}", clause.id, clause.title);
            for check in entries.iter().filter_map(|entry| entry.check()) {
                let _ = writeln!(out, "         {}", check.id());
            }
        }
    }
    let _ = writeln!(out, "\nThe wire corpus");
    for group in corpus::groups() {
        let vectors: Vec<_> = selected
            .iter()
            .filter_map(|entry| entry.vector())
            .filter(|vector| vector.group == group.name)
            .collect();
        if vectors.is_empty() {
            continue;
        }
        let _ = writeln!(out, "  {:<20} {:>4}", group.name, vectors.len());
        for vector in vectors.iter().filter(|_| !everything) {
            let _ = writeln!(out, "         {:<7} {}", vector.level.word(), vector.id());
        }
    }
    let vectors = selected.iter().filter(|entry| entry.vector().is_some()).count();
    let checks = counted(selected.len() - vectors, "check");
    let _ = writeln!(out, "\n{checks}, {}; --explain ID tells more of each", counted(vectors, "vector"));
    out.trim_start().to_owned()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn of_clause(selected: &[Entry], clause: &Clause) -> Vec<Entry> {
    selected.iter().filter(|entry| entry.clauses().contains(&clause)).copied().collect()
}

fn rules_of(clause: &Clause) -> Vec<&'static Rule> {
    rules().filter(|rule| rule.clause == clause).collect()
}

/// The same for programs.
pub(crate) fn json(selected: &[Entry]) -> Value {
    let entries = selected.iter().map(|entry| {
        json!({
            "id": entry.id(), "kind": entry.kind(), "group": entry.group(), "level": entry.level(),
            "clauses": entry.clauses().iter().map(|clause| clause.id).collect::<Vec<_>>(),
            "rfc": entry.rfc(),
        })
    });
    json!({ "format": 1, "entries": entries.collect::<Vec<_>>() })
}

/// `spec/checks.md`: from each clause to what checks it. Links are relative to `spec/`.
pub(crate) fn markdown() -> String {
    let mut out = "\
# What checks what

Clause by clause of [the specification](varvel.md): the checks of the conformance suite, the vectors of its wire corpus,
and the rules of the lint. `varvel-conformance --explain ID` tells more of each.

<!-- Written by a program. After a change: cargo run -p varvel-conformance-cli -- --list --format markdown > spec/checks.md -->
"
    .to_owned();
    let all: Vec<Entry> = entries().collect();
    for group in Group::ALL {
        let _ = writeln!(out, "\n## {}. {}", group.letter(), group.title());
        for clause in group.clauses() {
            let anchor = anchor(&format!("{} {}", clause.id, clause.title));
            let _ = writeln!(out, "\n### {}\n\n[{}](varvel.md#{anchor})\n", clause.id, clause.title);
            clause_items(&mut out, clause, &of_clause(&all, clause));
        }
    }
    out
}

fn clause_items(out: &mut String, clause: &Clause, entries: &[Entry]) {
    let code =
        |names: Vec<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let checks: Vec<String> =
        entries.iter().filter_map(|entry| entry.check()).map(|check| check.id()).collect();
    if !checks.is_empty() {
        let _ = writeln!(out, "- [checks](../{}): {}", chapter_file(clause.group), code(checks));
    }
    for group in corpus::groups() {
        let vectors =
            entries.iter().filter_map(|entry| entry.vector()).filter(|vector| vector.group == group.name);
        let names: Vec<String> = vectors.map(|vector| vector.name.to_owned()).collect();
        if !names.is_empty() {
            let file = format!("../conformance/suite/corpus/{}.txt", group.name);
            let _ = writeln!(out, "- vectors of [{}]({file}): {}", group.name, code(names));
        }
    }
    let rules: Vec<String> = rules_of(clause).iter().map(|rule| rule.id.to_owned()).collect();
    if !rules.is_empty() {
        let _ = writeln!(out, "- [rules of the lint](../conformance/lint/src/rules.rs): {}", code(rules));
    }
    if let (true, Some(reason)) = (entries.is_empty(), unchecked(clause)) {
        let _ = writeln!(out, "- not by the suite: {reason}");
    }
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

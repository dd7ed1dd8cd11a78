//! The table of rules against the specification, and the README against the table.

use std::{collections::HashSet, fmt::Write};

use varvel_spec::{CheckKind, Group, clauses};

use crate::{Party, UNRULED, rule, rules};

#[test]
fn every_clause_about_applications_and_middleware_has_a_rule_or_a_reason() {
    for clause in [Group::Application, Group::Middleware].into_iter().flat_map(Group::clauses) {
        let ruled = rules().any(|rule| rule.clause == clause);
        let reason = UNRULED.iter().find(|(other, _)| *other == clause).map(|(_, reason)| reason);
        match reason {
            None => assert!(ruled, "{} {} has neither rule nor reason", clause.id, clause.title),
            Some(reason) => assert!(!ruled, "{} has a rule, in spite of the reason: {reason}", clause.id),
        }
    }
}

#[test]
fn every_clause_that_is_checked_by_the_lint_has_a_rule() {
    for clause in clauses().iter().filter(|clause| clause.checks.contains(&CheckKind::Lint)) {
        assert!(rules().any(|rule| rule.clause == clause), "{} {}", clause.id, clause.title);
    }
}

#[test]
fn rules_are_named_after_their_clauses_and_bind_no_more_than_they() {
    let mut ids = HashSet::new();
    for rule in rules() {
        let word = rule.id.strip_prefix(rule.clause.id).and_then(|rest| rest.strip_prefix('.'));
        let word = word.unwrap_or_else(|| panic!("{} is not named after {}", rule.id, rule.clause.id));
        assert!(
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{}",
            rule.id
        );
        assert!(ids.insert(rule.id), "{} is there twice", rule.id);
        assert!(!rule.level.is_required() || rule.clause.level.is_required(), "{}", rule.id);
        assert!(rule.text.ends_with('.') && rule.remedy.ends_with('.'), "{}", rule.id);
        assert_eq!(self::rule(rule.id), Some(rule));
    }
    assert!(ids.len() >= 100, "{}", ids.len());
    assert_eq!(rule("A5"), None);
}

#[test]
fn rules_of_chapters_about_one_party_bind_that_party() {
    for rule in rules() {
        match rule.clause.group {
            Group::Application => assert_eq!(rule.binds, Party::Application, "{}", rule.id),
            Group::Middleware => assert_eq!(rule.binds, Party::Middleware, "{}", rule.id),
            Group::Server => assert_eq!(rule.binds, Party::Server, "{}", rule.id),
            _ => {}
        }
    }
}

/// The tables of the README, made anew.
fn tables() -> String {
    let mut text = String::new();
    for (party, title) in [
        (Party::Application, "Applications"),
        (Party::Middleware, "Middleware"),
        (Party::Server, "Servers, and whatever stands in for one"),
    ] {
        let of_this: Vec<_> = rules().filter(|rule| rule.binds == party).collect();
        write!(text, "### {title} ({})\n\n", of_this.len()).unwrap();
        let driven = of_this.iter().any(|rule| rule.driver.is_some());
        text += "| rule | level | required | to do about a breach |";
        text += if driven { " needs |\n|---|---|---|---|---|\n" } else { "\n|---|---|---|---|\n" };
        for rule in of_this {
            let (text_of, remedy) = (rule.text.replace('|', "\\|"), rule.remedy.replace('|', "\\|"));
            write!(text, "| `{}` | {} | {text_of} | {remedy} |", rule.id, rule.level).unwrap();
            let needs = rule.driver.map_or(String::new(), |driver| format!(" `{driver}`"));
            text += &if driven { format!("{needs} |\n") } else { "\n".to_owned() };
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_readme_lists_the_rules_as_they_are() {
    const BEGIN: &str =
        "<!-- The tables are made by `VARVEL_UPDATE=1 cargo test -p varvel-lint readme`. -->\n\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let (before, found) = readme.split_once(BEGIN).expect("the place of the tables");
    let tables = tables();
    if std::env::var_os("VARVEL_UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}\n", tables.trim_end()))
            .expect("the README is written");
        return;
    }
    let stale = found.trim_end() != tables.trim_end();
    assert!(!stale, "the tables of the README are stale: run it again with VARVEL_UPDATE=1");
    let count = format!("{} rules", rules().len());
    assert!(before.contains(&count), "the README says how many rules there are: {count}");
}

//! Every clause that obliges servers is checked, or there is a reason why not.

use varvel_conformance::{ELSEWHERE, GROUPS, UNCHECKED, checks};
use varvel_spec::{CheckKind, Clause, Group};

#[test]
fn every_clause_has_a_check_or_a_reason() {
    for clause in GROUPS.into_iter().flat_map(|group| group.clauses()) {
        let checked = checks().any(|check| check.clause == clause);
        let reason = UNCHECKED.iter().find(|(other, _)| *other == clause).map(|(_, reason)| reason);
        match reason {
            None => assert!(checked, "{} {} has neither check nor reason", clause.id, clause.title),
            Some(reason) => assert!(!checked, "{} is checked, in spite of the reason: {reason}", clause.id),
        }
    }
}

#[test]
fn every_chapter_is_held_by_somebody() {
    for group in Group::ALL {
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == group);
        assert!(GROUPS.contains(&group) != elsewhere, "{group:?}");
        // What a lint or the compiler cannot see would be held by nobody.
        let seen = |clause: &Clause| {
            clause.checks.iter().any(|kind| [CheckKind::Lint, CheckKind::Type].contains(kind))
        };
        let unseen: Vec<_> = group.clauses().filter(|clause| !seen(clause)).map(|clause| clause.id).collect();
        assert!(!elsewhere || unseen.is_empty(), "{unseen:?}");
    }
}

#[test]
fn every_capability_is_checked_where_it_is_missing() {
    for name in varvel_spec::capabilities() {
        let missing = checks().any(|check| check.lacks.iter().any(|(_, lacked)| lacked == *name));
        assert!(missing, "no check says what a server without {name} owes");
    }
}

#[test]
fn checks_stand_in_the_order_of_the_document() {
    for group in GROUPS {
        let numbers: Vec<u16> =
            checks().filter(|check| check.clause.group == group).map(|check| check.clause.number).collect();
        assert!(numbers.is_sorted(), "{group:?}: {numbers:?}");
    }
}

//! Every clause that obliges servers is checked, or there is a reason why not.

use varvel_conformance::{GROUPS, UNCHECKED, checks};

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
fn checks_stand_in_the_order_of_the_document() {
    for group in GROUPS {
        let numbers: Vec<u16> =
            checks().filter(|check| check.clause.group == group).map(|check| check.clause.number).collect();
        assert!(numbers.is_sorted(), "{group:?}: {numbers:?}");
    }
}

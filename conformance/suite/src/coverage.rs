//! The clauses that no check of this suite is for, and why.

use varvel_spec::{Clause, Group, ids};

/// The chapters that oblige servers, in the order of the document.
pub const GROUPS: [Group; 8] = [
    Group::Server,
    Group::Http,
    Group::Body,
    Group::Lifespan,
    Group::Upgrade,
    Group::Error,
    Group::Extension,
    Group::Worker,
];

/// The other chapters, and who holds applications and middleware to them.
pub const ELSEWHERE: [(Group, &str); 2] =
    [(Group::Application, "varvel-lint"), (Group::Middleware, "varvel-lint")];

/// Clauses of these chapters without a check, each with the reason.
pub const UNCHECKED: &[(&Clause, &str)] = &[
    (ids::S23, "needs a client that speaks TLS"),
    (ids::H22, "needs a client that speaks HTTP/2"),
    (ids::B19, "seen in system calls only: a test of the server's own"),
    (ids::X1, "held by a subject for each extension, with all of these checks"),
    (ids::X3, "seen in the crate of the interface, not in a server"),
    (ids::X4, "held by a subject for each adapter, with all of these checks"),
    (ids::X5, "held by a subject for each bridge, with all of these checks"),
];

/// Why there is no check for this clause, if there is none on purpose.
pub fn unchecked(clause: &Clause) -> Option<&'static str> {
    UNCHECKED.iter().find(|(other, _)| *other == clause).map(|(_, reason)| *reason)
}

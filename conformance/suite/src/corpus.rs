//! The wire corpus: raw HTTP/1.x requests as data, with what must come back and what the application must have seen.
//!
//! The data is in `corpus/`, a file for each [`Group`], in the format that its README tells. Everything here either
//! reads it or runs it:
//!
//! ```text
//!   corpus/*.txt --parse--> Vector --Delivery--> Client ==== raw socket ====> any server
//!                             |                    | answers                      |
//!                             |                    v                              v
//!                             +---- expected --> Conversation <-- Sighting -- the routes
//! ```
//!
//! A vector is run in every [`Delivery`] that suits it; the outcome must be the same in each. What the application saw
//! is told by the recorder for a [`Subject`](crate::Subject) ([`Suite::examine`](crate::Suite::examine)), and by the
//! answers of the [routes](crate::probe) for a server that is only known by its address ([`Target`]).

mod conversation;
mod delivery;
mod escape;
mod examined;
mod expected;
mod groups;
mod parse;
#[cfg(test)]
mod proof;
mod sighting;
mod target;
mod vector;

use std::sync::OnceLock;

pub use delivery::Delivery;
pub use groups::{Group, groups};
pub use target::Target;
pub use vector::{Level, ROUTES, Vector};

pub(crate) use examined::Examined;

/// All vectors, group by group, in the order of their files.
pub fn vectors() -> &'static [Vector] {
    &read().0
}

/// What breaks the format in the files, with the places; empty unless somebody is writing them.
pub fn mistakes() -> &'static [String] {
    &read().1
}

fn read() -> &'static (Vec<Vector>, Vec<String>) {
    static READ: OnceLock<(Vec<Vector>, Vec<String>)> = OnceLock::new();
    READ.get_or_init(|| {
        let (vectors, mistakes): (Vec<_>, Vec<_>) = groups().map(parse::file).unzip();
        (vectors.into_iter().flatten().collect(), mistakes.concat())
    })
}

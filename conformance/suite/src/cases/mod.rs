//! The checks, one file for each chapter of the specification.

mod b;
mod burden;
mod e;
mod flood;
mod h;
mod hostile;
mod l;
mod refusals;
mod s;
mod u;
mod w;
mod x;

use crate::Check;

/// All checks, in the order of the document.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [s::CHECKS, h::CHECKS, b::CHECKS, l::CHECKS, u::CHECKS, e::CHECKS, x::CHECKS, w::CHECKS]
        .into_iter()
        .flatten()
}

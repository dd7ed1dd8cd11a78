//! Servers.
use super::Broken;
pub(super) const BROKEN: &[Broken] = &[];

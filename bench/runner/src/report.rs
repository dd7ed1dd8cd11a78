//! The page that shows everything.

use std::io;

use crate::{machine, rates, results::Results};

/// Writes it.
pub(crate) fn write(results: &Results) -> io::Result<()> {
    let mut page = format!("# Results\n\nOn {}.\n\n", machine::describe());
    page += &rates::report(results)?;
    results.publish("README.md", &page)
}

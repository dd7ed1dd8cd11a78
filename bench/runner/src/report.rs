//! The page that shows everything.

use std::io;

use crate::{
    balance, contract, fairness, frameworks, growth, machine, memory, rates, results::Results, servers,
};

/// Writes it.
pub(crate) fn write(results: &Results) -> io::Result<()> {
    let mut page = format!("# Results\n\nOn {}: {}.\n\n", machine::describe(), servers::versions());
    page += "[README.md](../README.md) says how this is measured, and how to repeat it.\n\n";
    for report in [
        rates::report,
        memory::report,
        growth::report,
        fairness::report,
        balance::report,
        contract::report,
        frameworks::report,
    ] {
        page += &report(results)?;
    }
    results.publish("README.md", page.trim_end())
}

//! The report for a README: a table by groups, and, folded up, what failed.

use std::fmt;

use super::{Mark, Report, SUITE_VERSION, count, specification_version};

/// The report as Markdown, to be pasted into a README.
#[derive(Clone, Copy, Debug)]
pub struct Markdown<'r>(pub &'r Report);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        writeln!(f, "### Conformance of {}\n", escape(&report.title()))?;
        let marks: Vec<Mark> = Mark::occurring(&report.findings).collect();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, findings: &[super::Finding], frame: &str| {
            write!(f, "| {frame}{name}{frame} |")?;
            for mark in &marks {
                match count(findings, *mark) {
                    0 => write!(f, " |")?,
                    count => write!(f, " {frame}{count}{frame} |")?,
                }
            }
            writeln!(f)
        };
        write!(f, "| |")?;
        marks.iter().try_for_each(|mark| write!(f, " {mark} |"))?;
        write!(f, "\n|---|")?;
        marks.iter().try_for_each(|_| write!(f, "---:|"))?;
        writeln!(f)?;
        for (_, findings) in report.groups() {
            row(f, &findings[0].entry.group_title(), findings, "")?;
        }
        row(f, "all", &report.findings, "**")?;

        for remark in report.remarks.iter().chain(&report.cut_short) {
            writeln!(f, "\n{}", escape(remark))?;
        }
        let failed: Vec<_> = report.findings.iter().filter(|finding| finding.mark == Mark::Failed).collect();
        if !failed.is_empty() {
            writeln!(f, "\n<details><summary>What failed</summary>\n")?;
            for finding in failed {
                writeln!(f, "- `{}`: {}", finding.entry.id(), escape(&finding.brief()))?;
            }
            writeln!(f, "\n</details>")?;
        }
        writeln!(
            f,
            "\n<sub>varvel-conformance {SUITE_VERSION}, specification {}; `{}`</sub>",
            specification_version(),
            report.command,
        )
    }
}

/// Text in which nothing is taken for markup.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if r"\`*_[]<>|&~".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

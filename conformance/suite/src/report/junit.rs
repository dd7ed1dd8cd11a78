//! The report for continuous integration: JUnit's XML, with a suite of tests for each group, and ahead of them one for the
//! run as such: whether it came to its end, and what is to be known about it.
//!
//! JUnit knows passed, failed, error and skipped. An error is a run that was cut short, as by a server that died. A warning
//! or a note is a test that passed and has something to say in its `system-out`.

use std::fmt::Write;

use super::{Evidence, Finding, Mark, Report};

/// These reports as one document of JUnit.
pub fn junit(reports: &[Report]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let all = reports.iter().flat_map(|report| &report.findings);
    let cut_short = reports.iter().filter(|report| report.cut_short.is_some()).count();
    let _ =
        writeln!(xml, "<testsuites name=\"varvel-conformance\" {}>", counts(all, reports.len(), cut_short));
    for report in reports {
        run(&mut xml, report);
        for (group, findings) in report.groups() {
            let name = escape(&format!("{} / {group}", report.subject));
            let _ = writeln!(xml, "  <testsuite name=\"{name}\" {}>", counts(findings, 0, 0));
            findings.iter().for_each(|finding| case(&mut xml, &name, finding));
            xml.push_str("  </testsuite>\n");
        }
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// The attributes of these findings, and of so many runs, of which some are errors.
fn counts<'f>(findings: impl IntoIterator<Item = &'f Finding>, runs: usize, errors: usize) -> String {
    let (mut tests, mut failures, mut skipped, mut seconds) = (runs, 0, 0, 0.0);
    for finding in findings {
        tests += 1;
        failures += usize::from(finding.mark == Mark::Failed);
        skipped += usize::from(is_skipped(finding.mark));
        seconds += finding.took.as_secs_f64();
    }
    format!(
        "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\""
    )
}

/// The suite of the run as such, whose one test is that it came to its end.
fn run(xml: &mut String, report: &Report) {
    let name = escape(&format!("{} / run", report.subject));
    let errors = usize::from(report.cut_short.is_some());
    let _ = writeln!(xml, "  <testsuite name=\"{name}\" {}>", counts(&[], 1, errors));
    if !report.remarks.is_empty() {
        xml.push_str("    <properties>\n");
        for remark in &report.remarks {
            let _ = writeln!(xml, "      <property name=\"remark\" value=\"{}\"/>", escape(remark));
        }
        xml.push_str("    </properties>\n");
    }
    let _ = write!(xml, "    <testcase classname=\"{name}\" name=\"comes to its end\" time=\"0.000\"");
    let _ = match &report.cut_short {
        Some(reason) => writeln!(xml, "><error message=\"{}\"/></testcase>", escape(reason)),
        None => writeln!(xml, "/>"),
    };
    xml.push_str("  </testsuite>\n");
}

fn is_skipped(mark: Mark) -> bool {
    matches!(mark, Mark::Skipped | Mark::LeftOut | Mark::NotRun)
}

fn case(xml: &mut String, suite: &str, finding: &Finding) {
    let (id, seconds) = (escape(&finding.entry.id()), finding.took.as_secs_f64());
    let _ = write!(xml, "    <testcase classname=\"{suite}\" name=\"{id}\" time=\"{seconds:.3}\"");
    let text = finding.evidence.as_ref().map(|Evidence { failure, transcript }| {
        (escape(&failure.brief()), escape(&format!("{}\n\n{failure}\n\n{transcript}", finding.about())))
    });
    let _ = match (finding.mark, text) {
        (mark, _) if is_skipped(mark) => {
            let reason = escape(&format!("{mark}: {}", finding.why()));
            writeln!(xml, "><skipped message=\"{reason}\"/></testcase>")
        }
        (Mark::Failed, text) => {
            let (brief, text) = text.unwrap_or_default();
            let level = finding.entry.level();
            writeln!(xml, "><failure type=\"{level}\" message=\"{brief}\">{text}</failure></testcase>")
        }
        (mark, Some((_, text))) => writeln!(xml, "><system-out>{mark}\n{text}</system-out></testcase>"),
        (_, None) => writeln!(xml, "/>"),
    };
}

/// Text as XML takes it. Control characters cannot be written in XML at all and become visible escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(char),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                escaped.extend(char.escape_default());
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_the_xml() {
        assert_eq!(
            escape("<a href=\"x\">&\r\n\0\u{1b}"),
            "&lt;a href=&quot;x&quot;&gt;&amp;\\r\n\\u{0}\\u{1b}"
        );
    }
}

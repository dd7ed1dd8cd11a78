//! Reads `varvel.md` into its clauses. The build script calls it, so that a document which breaks the form fails the
//! build with the line at fault.
//!
//! The form:
//!
//! ```text
//! Version: 0.1                                           once, ahead of the chapters
//! ## Capabilities                                        a table; its first column holds the names in backticks
//! ## H. HTTP                                             a chapter of clauses: letter and title
//! What the server does so that no ...                    its introduction
//! ### H8 Ambiguous framing is refused                    a clause: id and title
//! A server MUST refuse, with 400 and a close, ...        its text, and as the last paragraph the attributes:
//!
//! `MUST` · cap: A, B · [RFC 9112] §6.1, §6.3 · [Checked by](checks.md#h8): wire, probe (how)
//! ### L4 Retired                                         a retired clause: the reason follows, no attributes
//! ```
//!
//! The numbers of a chapter run from 1 without a gap, and every clause that the document mentions exists. `checks.md`,
//! where each clause has a heading, is written from the suite.

use std::fmt;

use crate::{
    clause::{CheckKind, Group, Level},
    references::references,
};

/// What was read. The slices are of the text that was given to [`parse`].
#[derive(Debug)]
pub(crate) struct Document<'a> {
    pub(crate) version: (u16, u16),
    pub(crate) capabilities: Vec<&'a str>,
    pub(crate) chapters: Vec<Chapter<'a>>,
}

/// A chapter of clauses.
#[derive(Debug)]
pub(crate) struct Chapter<'a> {
    pub(crate) group: Group,
    pub(crate) title: &'a str,
    pub(crate) introduction: &'a str,
    pub(crate) entries: Vec<Entry<'a>>,
}

/// What stands under a heading with an id.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) line: u32,
    /// The normative text, or the reason why the clause was retired.
    pub(crate) text: &'a str,
    /// `None` if the clause was retired.
    pub(crate) attributes: Option<Attributes>,
}

/// The last paragraph of a clause.
#[derive(Debug, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) level: Level,
    pub(crate) capabilities: Vec<String>,
    /// Number of the RFC and section.
    pub(crate) rfc: Vec<(u16, String)>,
    pub(crate) checks: Vec<CheckKind>,
    pub(crate) how: String,
}

/// A departure from the form. Its `Display` begins with file and line.
#[derive(Debug, PartialEq)]
pub(crate) struct ParseError {
    line: u32,
    message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "varvel.md:{}: {}", self.line, self.message)
    }
}

/// Reads the document.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, ParseError> {
    let mut document = Document { version: version(text)?, capabilities: Vec::new(), chapters: Vec::new() };
    let mut in_chapter = false;
    for section in sections(text) {
        match section.level {
            2 if section.heading == "Capabilities" => {
                in_chapter = false;
                document.capabilities = section.body.lines().filter_map(table_name).collect();
            }
            2 => {
                let chapter = chapter(&section, Group::ALL.get(document.chapters.len()))?;
                in_chapter = chapter.is_some();
                document.chapters.extend(chapter);
            }
            _ if in_chapter => {
                let chapter = document.chapters.last_mut().expect("a chapter was begun");
                chapter.entries.push(entry(&section, chapter, &document.capabilities)?);
            }
            _ => {}
        }
    }
    if let Some(missing) = Group::ALL.get(document.chapters.len()) {
        let line = text.lines().count() as u32;
        return Err(ParseError { line, message: format!("chapter {} is missing", missing.letter()) });
    }
    check_references(text, &document.chapters)?;
    Ok(document)
}

/// A heading and what stands under it, up to the next heading.
struct Section<'a> {
    level: usize,
    heading: &'a str,
    body: &'a str,
    line: u32,
}

impl Section<'_> {
    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, message: message.into() }
    }
}

/// Cuts the document at its headings of level 2 and 3; `#` in a code block makes none.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut in_code = false;
    let mut body_start = 0;
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        in_code ^= line.starts_with("```");
        let level = line.bytes().take_while(|&byte| byte == b'#').count();
        if !in_code && (2..=3).contains(&level) {
            if let Some(section) = sections.last_mut() {
                section.body = text[body_start..offset].trim();
            }
            sections.push(Section { level, heading: line[level..].trim(), body: "", line: number });
            body_start = offset + line.len();
        }
        offset += line.len();
    }
    if let Some(section) = sections.last_mut() {
        section.body = text[body_start..].trim();
    }
    sections
}

fn version(text: &str) -> Result<(u16, u16), ParseError> {
    text.lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .and_then(|version| version.split_once('.'))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| ParseError { line: 1, message: "no line like `Version: 0.1`".into() })
}

/// The name in backticks with which a row of a table begins.
fn table_name(row: &str) -> Option<&str> {
    Some(row.strip_prefix("| `")?.split_once('`')?.0)
}

/// `Some` for a heading like `H. HTTP`; other chapters hold no clauses.
fn chapter<'a>(section: &Section<'a>, expected: Option<&Group>) -> Result<Option<Chapter<'a>>, ParseError> {
    let Some((letter, title)) = section.heading.split_once(". ").filter(|(letter, _)| letter.len() == 1)
    else {
        return Ok(None);
    };
    let Some(&group) = expected.filter(|group| letter.starts_with(group.letter())) else {
        let expected =
            expected.map_or("no further chapter".into(), |group| format!("chapter {}", group.letter()));
        return Err(section.error(format!("expected {expected}, found {letter}")));
    };
    if section.body.is_empty() {
        return Err(section.error(format!("chapter {letter} has no introduction")));
    }
    Ok(Some(Chapter { group, title, introduction: section.body, entries: Vec::new() }))
}

fn entry<'a>(
    section: &Section<'a>,
    chapter: &Chapter<'_>,
    capabilities: &[&str],
) -> Result<Entry<'a>, ParseError> {
    let expected = format!("{}{}", chapter.group.letter(), chapter.entries.len() + 1);
    let (id, title) = section.heading.split_once(' ').unwrap_or((section.heading, ""));
    if id != expected {
        return Err(section.error(format!("expected clause {expected}, found {id:?}")));
    }
    if title.is_empty() {
        return Err(section.error(format!("{id} has no title")));
    }
    if section.body.is_empty() {
        return Err(section.error(format!("{id} has no text")));
    }
    let clause = Entry { id, title, line: section.line, text: section.body, attributes: None };
    if title == "Retired" {
        return Ok(clause);
    }

    let (text, last) = section
        .body
        .rsplit_once("\n\n")
        .filter(|(_, last)| last.starts_with('`'))
        .ok_or_else(|| section.error(format!("{id} does not end with a paragraph of attributes")))?;
    let attributes = attributes(id, last).map_err(|message| section.error(format!("{id}: {message}")))?;
    if !says(text, attributes.level) {
        return Err(section.error(format!("{id} is a {} but its text does not say so", attributes.level)));
    }
    if let Some(unknown) = attributes.capabilities.iter().find(|name| !capabilities.contains(&name.as_str()))
    {
        return Err(section.error(format!("{id}: {unknown} is not in the table of capabilities")));
    }
    Ok(Entry { text: text.trim_end(), attributes: Some(attributes), ..clause })
}

/// Whether the key words of the level are in the text, be it across the end of a line.
fn says(text: &str, level: Level) -> bool {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match level {
        Level::MustNot | Level::ShouldNot => text.contains(level.key_words()),
        Level::Must => text.replace("MUST NOT", "").contains("MUST"),
        Level::Should => text.replace("SHOULD NOT", "").contains("SHOULD"),
    }
}

/// Reads the last paragraph of the clause `id`, in which a line may end at any blank.
fn attributes(id: &str, paragraph: &str) -> Result<Attributes, String> {
    let line = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let link = format!("[Checked by](checks.md#{}): ", id.to_lowercase());
    let (line, checked) = line.split_once(&format!(" · {link}")).ok_or_else(|| format!("no `{link}`"))?;
    let mut parts = line.split(" · ");

    let words = parts.next().unwrap_or_default().trim_matches('`');
    let level = Level::ALL.into_iter().find(|level| level.key_words() == words);
    let level = level.ok_or_else(|| format!("no level is called {words:?}"))?;

    let mut capabilities = Vec::new();
    let mut rfc = Vec::new();
    for part in parts {
        if let Some(names) = part.strip_prefix("cap: ") {
            capabilities.extend(names.split(", ").map(str::to_owned));
        } else if part.starts_with("[RFC ") {
            rfc_sections(part, &mut rfc)?;
        } else {
            return Err(format!("no attribute looks like {part:?}"));
        }
    }

    let (kinds, how) = match checked.split_once(" (") {
        Some((kinds, how)) => {
            (kinds, how.strip_suffix(')').ok_or("what follows `Checked by` does not end in `)`")?)
        }
        None => (checked, ""),
    };
    let checks = kinds
        .split(", ")
        .map(|word| CheckKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or(word))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|word| format!("no kind of check is called {word:?}"))?;
    Ok(Attributes { level, capabilities, rfc, checks, how: how.to_owned() })
}

/// Reads `[RFC 9110] §5.3, §5.5, [RFC 9112] §6.1`.
fn rfc_sections(part: &str, sections: &mut Vec<(u16, String)>) -> Result<(), String> {
    let mut rfc = 0;
    for item in part.split(", ") {
        let section = match item.strip_prefix("[RFC ").and_then(|item| item.split_once("] ")) {
            Some((number, section)) => {
                rfc = number.parse().map_err(|_| format!("{number:?} is not the number of an RFC"))?;
                section
            }
            None => item,
        };
        let section = section.strip_prefix('§').filter(|section| !section.is_empty());
        let section = section.ok_or_else(|| format!("{item:?} names no section like `§6.3`"))?;
        sections.push((rfc, section.to_owned()));
    }
    Ok(())
}

/// Mentions of a clause in the text lead somewhere.
fn check_references(text: &str, chapters: &[Chapter<'_>]) -> Result<(), ParseError> {
    let exists = |id: &str| {
        let mut entries = chapters.iter().flat_map(|chapter| &chapter.entries);
        entries.any(|entry| entry.id == id && entry.attributes.is_some())
    };
    let mut in_code = false;
    for (line, number) in text.lines().zip(1..) {
        in_code ^= line.starts_with("```");
        // Headings of clauses name themselves; attributes name capabilities, of which one is called H2.
        if in_code || line.starts_with('#') || line.contains("` · ") {
            continue;
        }
        if let Some(range) = references(line).find(|range| !exists(&line[range.clone()])) {
            let message = format!("{} is no clause in force", &line[range]);
            return Err(ParseError { line: number, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document in the right form, in which a test breaks one thing.
    fn document() -> String {
        let mut text = "# Title\n\nVersion: 0.1\n\n## Capabilities\n\n| Capability | With it |\n|---|---|\n\
                        | `TLS` | encrypted |\n| `H2` | HTTP/2 |\n\n"
            .to_owned();
        for group in Group::ALL {
            let letter = group.letter();
            text += &format!("## {letter}. Chapter {letter}\n\nAn introduction.\n\n### {letter}1 First\n");
            let link = format!("[Checked by](checks.md#{}1)", letter.to_ascii_lowercase());
            text += &format!("A server MUST NOT stop.\n\n`MUST NOT` · {link}: wire\n\n");
        }
        text
    }

    /// The error after `from` was replaced by `to`.
    #[track_caller]
    fn error(from: &str, to: &str) -> String {
        let text = document();
        assert!(text.contains(from), "the document has no {from:?}");
        parse(&text.replacen(from, to, 1)).expect_err("the form is broken").to_string()
    }

    #[test]
    fn the_right_form_is_read() {
        let text = document().replacen(
            "A server MUST NOT stop.\n\n`MUST NOT` · [Checked by](checks.md#s1): wire\n",
            "A server MUST\nstart (W1).\n\nIt may wait.\n\n`MUST` · cap: TLS, H2 ·\n\
             [RFC 9110] §5.3, §5.5, [RFC 9112] §6.1 · [Checked\nby](checks.md#s1): wire, unit (a (long) story)\n",
            1,
        );
        let document = parse(&text).unwrap();
        assert_eq!(document.version, (0, 1));
        assert_eq!(document.capabilities, ["TLS", "H2"]);
        let chapter = &document.chapters[0];
        assert_eq!((chapter.title, chapter.introduction), ("Chapter S", "An introduction."));
        let entry = &chapter.entries[0];
        assert_eq!((entry.id, entry.title, entry.line), ("S1", "First", 16));
        assert_eq!(entry.text, "A server MUST\nstart (W1).\n\nIt may wait.");
        assert_eq!(
            entry.attributes,
            Some(Attributes {
                level: Level::Must,
                capabilities: vec!["TLS".into(), "H2".into()],
                rfc: vec![(9110, "5.3".into()), (9110, "5.5".into()), (9112, "6.1".into())],
                checks: vec![CheckKind::Wire, CheckKind::Unit],
                how: "a (long) story".into(),
            })
        );
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("Version: 0.1", "Version: new", "varvel.md:1: no line like `Version: 0.1`"),
            ("## S. ", "## Q. ", "varvel.md:12: expected chapter S, found Q"),
            ("An introduction.", "", "varvel.md:12: chapter S has no introduction"),
            ("## A. Chapter A", "## Chapter A", "varvel.md:30: expected chapter A, found M"),
            ("## W. Chapter W", "## Chapter W", "varvel.md:101: chapter W is missing"),
            ("### S1 First", "### S2 First", "varvel.md:16: expected clause S1, found \"S2\""),
            ("### S1 First", "### S1", "varvel.md:16: S1 has no title"),
            ("### A1 First", "### S2 First", "varvel.md:25: expected clause A1, found \"S2\""),
            (
                "`MUST NOT` · [Checked",
                "[Checked",
                "varvel.md:16: S1 does not end with a paragraph of attributes",
            ),
            ("`MUST NOT` ·", "`NEVER` ·", "varvel.md:16: S1: no level is called \"NEVER\""),
            ("`MUST NOT` ·", "`SHOULD` ·", "varvel.md:16: S1 is a SHOULD but its text does not say so"),
            ("`MUST NOT` ·", "`MUST` ·", "varvel.md:16: S1 is a MUST but its text does not say so"),
            ("s1): wire", "s1): eye", "varvel.md:16: S1: no kind of check is called \"eye\""),
            ("checks.md#s1", "checks.md#h1", "varvel.md:16: S1: no `[Checked by](checks.md#s1): `"),
            (
                "s1): wire",
                "s1): wire (how",
                "varvel.md:16: S1: what follows `Checked by` does not end in `)`",
            ),
            ("· [Checked", "· RFC 1 · [Checked", "varvel.md:16: S1: no attribute looks like \"RFC 1\""),
            (
                "· [Checked",
                "· [RFC 1] 5 · [Checked",
                "varvel.md:16: S1: \"[RFC 1] 5\" names no section like `§6.3`",
            ),
            (
                "· [Checked",
                "· cap: H3 · [Checked",
                "varvel.md:16: S1: H3 is not in the table of capabilities",
            ),
            ("NOT stop.", "NOT stop (S7).", "varvel.md:17: S7 is no clause in force"),
        ];
        for (from, to, message) in cases {
            assert_eq!(error(from, to), message);
        }
    }

    #[test]
    fn a_retired_clause_keeps_its_number_but_cannot_be_referred_to() {
        let retired = "### S1 Retired\nSaid what A1 says.\n\n### S2 Second";
        let text = document().replacen("### S1 First", retired, 1).replacen("#s1)", "#s2)", 1);
        let document = parse(&text).unwrap();
        let entries = &document.chapters[0].entries;
        assert_eq!((entries[0].id, entries[0].text), ("S1", "Said what A1 says."));
        assert_eq!(entries[0].attributes, None);
        assert_eq!(entries[1].id, "S2");

        let text = text.replacen("NOT stop.", "NOT stop (S1).", 1);
        assert_eq!(parse(&text).unwrap_err().to_string(), "varvel.md:20: S1 is no clause in force");
    }
}

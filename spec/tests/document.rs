//! The documents of this folder keep their own rules: every clause is whole, and every link leads somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use varvel_spec::{CheckKind, Clause, Group, capabilities, clause, clauses, ids, retired};

#[test]
fn every_clause_has_a_text_and_a_check() {
    assert!(clauses().len() >= 105, "only {} clauses were read", clauses().len());
    for clause in clauses() {
        assert!(!clause.checks.is_empty(), "{clause}\nhas no check");
        assert!(clause.text.ends_with('.'), "{clause}\ndoes not end with a sentence");
        let words = clause.text.split_whitespace().count();
        assert!((8..=130).contains(&words), "{clause}\nhas {words} words");
        assert!(!clause.title.ends_with('.'), "{clause}\nhas a title that is a sentence");
        assert!(!clause.text.contains("Checked by"), "{clause}\nhas attributes in its text");
    }
}

#[test]
fn ids_are_unique_and_leave_no_gap_but_the_retired() {
    let living = clauses().iter().map(|clause| (clause.group, clause.number));
    let taken: Vec<_> = living.chain(retired().iter().map(|clause| (clause.group, clause.number))).collect();
    let distinct: BTreeSet<_> = taken.iter().copied().collect();
    assert_eq!(distinct.len(), taken.len(), "an id is used twice");
    for group in Group::ALL {
        let numbers: Vec<u16> =
            distinct.iter().filter(|(g, _)| *g == group).map(|(_, number)| *number).collect();
        let expected: Vec<u16> = (1..=numbers.len() as u16).collect();
        assert_eq!(numbers, expected, "chapter {}", group.letter());
    }
    for clause in retired() {
        assert!(clause.reason.ends_with('.'), "{} was retired without a reason", clause.id);
        assert_eq!(varvel_spec::clause(clause.id), None);
    }
}

#[test]
fn every_chapter_is_introduced_and_filled() {
    for group in Group::ALL {
        assert!(!group.title().is_empty());
        let words = group.introduction().split_whitespace().count();
        assert!(words >= 40, "chapter {} is introduced in {words} words", group.letter());
        assert!(group.clauses().count() >= 5, "chapter {} is all but empty", group.letter());
        assert!(group.clauses().all(|clause| clause.id.starts_with(group.letter())));
    }
}

#[test]
fn constants_name_the_clauses_of_the_document() {
    let by_name: [(&str, &Clause); 4] = [("S1", ids::S1), ("H8", ids::H8), ("L5", ids::L5), ("W8", ids::W8)];
    for (id, constant) in by_name {
        assert_eq!(constant.id, id);
        assert_eq!(clause(id), Some(constant));
    }
    assert_eq!(clause("H0"), None);
    assert_eq!(clause("h8"), None);

    let lines: Vec<&str> = varvel_spec::TEXT.lines().collect();
    for clause in clauses() {
        let heading = lines[clause.line as usize - 1];
        assert_eq!(heading, format!("### {} {}", clause.id, clause.title));
    }
}

#[test]
fn a_clause_quotes_itself() {
    let quote = ids::B4.to_string();
    let expected = "B4 Request trailers (MUST, TRAILERS_IN, RFC 9112 §7.1.2)\n    A server MUST deliver";
    assert!(quote.starts_with(expected), "{quote}");
    assert_eq!(ids::B4.rfc[0].url(), "https://www.rfc-editor.org/rfc/rfc9112#section-7.1.2");
}

#[test]
fn every_capability_has_a_clause() {
    for capability in capabilities() {
        let named = clauses().iter().any(|clause| clause.capabilities.contains(capability));
        assert!(named, "no clause hangs on {capability}");
    }
}

/// The suite, the lint and the compiler each have something to do.
#[test]
fn every_kind_of_check_is_used() {
    for kind in CheckKind::ALL {
        assert!(clauses().iter().any(|clause| clause.checks.contains(&kind)), "nothing is checked by {kind}");
    }
}

#[test]
fn links_lead_somewhere() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for name in ["README.md", "varvel.md", "rationale.md", "checks.md"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        for target in inline_links(&text) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { folder.join(name) } else { folder.join(file) };
            assert!(path.exists(), "{name} links to {target}, which does not exist");
            assert!(anchor.is_empty() || anchors(&path).contains(anchor), "{name}: no heading for {target}");
            checked += 1;
        }

        let defined: BTreeSet<&str> = text.lines().filter_map(definition).collect();
        let used: BTreeSet<&str> =
            text.match_indices("[RFC ").filter_map(|(at, _)| label(&text[at..])).collect();
        assert_eq!(used, defined, "{name}: RFCs that are cited, and those that have an address");
    }
    assert!(checked > 0, "no link was found");
}

/// For varvel.md the build sees to it; here a retired clause may be spoken of.
#[test]
fn the_other_documents_name_clauses_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for name in ["README.md", "rationale.md"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let prose = text.split('`').step_by(2);
        for word in prose.flat_map(|prose| prose.split(|c: char| !c.is_alphanumeric())) {
            let digits = word.trim_start_matches(|c| Group::from_letter(c).is_some());
            if word.len() == digits.len() + 1
                && !digits.is_empty()
                && digits.bytes().all(|b| b.is_ascii_digit())
            {
                let known = clause(word).is_some() || retired().iter().any(|clause| clause.id == word);
                assert!(known, "{name} names {word}, which is no clause");
                found += 1;
            }
        }
    }
    assert!(found > 50, "only {found} mentions were found");
}

/// The targets of `[text](target)`, code blocks excepted.
fn inline_links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)))
}

/// `RFC 9110` in `[RFC 9110]: https://...`.
fn definition(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.split_once("]: https://").map(|(label, _)| label)
}

/// `RFC 9110` in `[RFC 9110] and so on`; nothing in a definition.
fn label(text: &str) -> Option<&str> {
    let (label, rest) = text[1..].split_once(']')?;
    (!rest.starts_with(':')).then_some(label)
}

/// The anchors that GitHub gives to the headings of a file.
fn anchors(path: &PathBuf) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
            heading
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

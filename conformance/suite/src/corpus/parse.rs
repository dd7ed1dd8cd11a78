//! Reads the files of the corpus; their format is told in `corpus/README.md`.

use std::{iter::Peekable, time::Duration};

use varvel_spec::Clause;

use super::{
    Group, Level, Vector,
    escape::unescape,
    expected::{After, Answer, Call, Expected, Fact, Seen},
    vector::Step,
};
use crate::Tuning;

/// The vectors of a group, and what is wrong with those that cannot be read.
pub(super) fn file(group: Group) -> (Vec<Vector>, Vec<String>) {
    let mut lines = group.text.lines().enumerate().map(|(at, line)| (at + 1, line)).peekable();
    let is_heading = |line: &str| line.starts_with("## ");
    while lines.next_if(|(_, line)| !is_heading(line)).is_some() {}
    let (mut vectors, mut mistakes) = (Vec::new(), Vec::new());
    while let Some((line, heading)) = lines.next() {
        let name = &heading["## ".len()..];
        match vector(group.name, name, line, &mut lines) {
            Ok(vector) => vectors.push(vector),
            Err((line, error)) => {
                mistakes.push(format!("corpus/{}.txt, line {line} ({name}): {error}", group.name));
                while lines.next_if(|(_, line)| !is_heading(line)).is_some() {}
            }
        }
    }
    (vectors, mistakes)
}

/// What is wrong, and with which line.
type Error = (usize, String);

fn vector(
    group: &'static str,
    name: &'static str,
    line: usize,
    lines: &mut Peekable<impl Iterator<Item = (usize, &'static str)>>,
) -> Result<Vector, Error> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.split('-').all(is_word) {
        return Err((line, "a name is made of words in lower case, joined by hyphens".to_owned()));
    }
    let (at, attributes) = lines.next().unwrap_or((line, ""));
    let mut vector = Vector {
        group,
        name,
        level: Level::Must,
        sections: Vec::new(),
        clauses: Vec::new(),
        rules: Vec::new(),
        history: Vec::new(),
        why: String::new(),
        line,
        settings: Vec::new(),
        only_whole: false,
        script: Vec::new(),
    };
    read_attributes(&mut vector, attributes).map_err(|error| (at, error))?;
    let mut last = at;
    while let Some((at, text)) = lines.next_if(|(_, line)| !line.starts_with("## ")) {
        last = at;
        read_line(&mut vector, text).map_err(|error| (at, error))?;
    }
    check(&vector).map_err(|error| (last, error))?;
    Ok(vector)
}

fn read_attributes(vector: &mut Vector, line: &'static str) -> Result<(), String> {
    let mut parts = line.split(" · ").map(str::trim);
    let level = parts.next().unwrap_or_default();
    vector.level = Level::ALL
        .into_iter()
        .find(|known| known.word() == level)
        .ok_or_else(|| format!("{level:?} is no level"))?;
    for part in parts {
        if let Some(rules) = part.strip_prefix("ABNF ") {
            vector.rules.extend(rules.split([',', ' ']).filter(|rule| !rule.is_empty()));
        } else if part.starts_with("RFC ") {
            vector.sections.extend(part.split(',').map(str::trim));
        } else if part.split_whitespace().all(is_clause_id) {
            for id in part.split_whitespace() {
                let clause: Option<&'static Clause> = varvel_spec::clause(id);
                vector.clauses.push(clause.ok_or_else(|| format!("there is no clause {id}"))?);
            }
        } else {
            vector.history.extend(part.split(',').map(str::trim));
        }
    }
    if vector.sections.is_empty() {
        return Err("no section of an RFC".to_owned());
    }
    Ok(())
}

fn is_clause_id(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && word.len() > 1
        && bytes.all(|digit| digit.is_ascii_digit())
}

fn read_line(vector: &mut Vector, line: &'static str) -> Result<(), String> {
    let (mark, text) = match line.split_at_checked(2) {
        Some((mark @ ("> " | "< " | "= " | "@ " | "! "), text)) => (mark, text),
        _ => ("", line),
    };
    match mark {
        "> " => {
            let bytes = unescape(text)?;
            match vector.script.last_mut() {
                Some(Step::Send(segment)) => segment.extend(bytes),
                _ => vector.script.push(Step::Send(bytes)),
            }
        }
        "! " => vector.script.push(match text.trim() {
            "end" => Step::End,
            "stall" => Step::Stall,
            event => {
                let pause = event.strip_prefix("pause ").and_then(|time| time.strip_suffix("ms"));
                let pause = pause.and_then(|millis| millis.parse().ok());
                Step::Pause(Duration::from_millis(pause.ok_or_else(|| format!("no event: {text:?}"))?))
            }
        }),
        "@ " => match text.trim().split_once(' ') {
            Some(("only", "whole")) => vector.only_whole = true,
            Some((name, value)) => {
                Tuning::default().set(name, value)?;
                vector.settings.push((name, value));
            }
            None => return Err(format!("a setting without a value: {text:?}")),
        },
        "< " => match text.strip_prefix("  ") {
            Some(detail) => answer_detail(last_expected(vector)?, detail)?,
            None => vector.script.push(Step::Expect(Box::new(Expected::new(alternatives(text)?)))),
        },
        "= " => match text.strip_prefix("  ") {
            Some(detail) => {
                let Some(Seen::Called(call)) = &mut last_expected(vector)?.seen else {
                    return Err("a detail of a request of which nothing was said".to_owned());
                };
                call_detail(call, detail)?;
            }
            None => {
                let expected = last_expected(vector)?;
                if expected.seen.is_some() {
                    return Err("two requests of one answer".to_owned());
                }
                expected.seen = Some(seen(text)?);
            }
        },
        _ if line.starts_with('#') || line.trim().is_empty() => {}
        _ if line.starts_with(['>', '<', '=', '@', '!']) => {
            return Err(format!("a mark without a space behind it: {line:?}"));
        }
        _ if vector.script.is_empty() => {
            if !vector.why.is_empty() {
                vector.why.push(' ');
            }
            vector.why.push_str(line.trim());
        }
        _ => return Err(format!("neither a mark nor a comment: {line:?}")),
    }
    Ok(())
}

fn last_expected(vector: &mut Vector) -> Result<&mut Expected, String> {
    match vector.script.last_mut() {
        Some(Step::Expect(expected)) => Ok(expected),
        _ => Err("it belongs to no answer".to_owned()),
    }
}

fn alternatives(text: &str) -> Result<Vec<Answer>, String> {
    text.split(" or ").map(|text| answer(text.trim())).collect()
}

fn answer(text: &str) -> Result<Answer, String> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let wrong = || format!("no answer: {text:?}");
    if words.next().is_some() {
        return Err(wrong());
    }
    let status = match (first, second) {
        ("closed", None) => return Ok(Answer::Closed),
        ("open", None) => return Ok(Answer::Open),
        ("none", None) => return Ok(Answer::Nothing),
        _ => first.parse::<u16>().ok().filter(|status| (100..=999).contains(status)).ok_or_else(wrong)?,
    };
    let after = match second {
        None if status < 200 && status != 101 => return Ok(Answer::Interim(status)),
        None => After::Unsaid,
        Some("keep") => After::Keep,
        Some("close") => After::Close,
        Some("broken") => After::Broken,
        Some(_) => return Err(wrong()),
    };
    Ok(Answer::Final(status, after))
}

fn answer_detail(expected: &mut Expected, text: &str) -> Result<(), String> {
    if text == "broken" {
        let Some(Answer::Final(_, after)) = expected.any_of.first_mut() else {
            return Err("only a final answer can break off".to_owned());
        };
        *after = After::Broken;
    } else if let Some(body) = text.strip_prefix("body ") {
        expected.body = Some(quoted(body)?);
    } else if let Some(trailer) = text.strip_prefix("trailer ") {
        expected.trailers.get_or_insert_default().push(field(trailer)?);
    } else if text == "-trailer" {
        expected.trailers.get_or_insert_default();
    } else if let Some(name) = text.strip_prefix('-') {
        expected.absent.push(name.to_ascii_lowercase());
    } else if let Some(name) = text.strip_prefix('+') {
        expected.present.push(name.to_ascii_lowercase());
    } else {
        let (name, value) = field(text)?;
        add(&mut expected.fields, name, value);
    }
    Ok(())
}

fn seen(text: &str) -> Result<Seen, String> {
    if text == "not called" {
        return Ok(Seen::NotCalled);
    }
    let (method, rest) = text.split_once(' ').ok_or("no request line")?;
    let (target, version) = rest.rsplit_once(" HTTP/").ok_or("no version")?;
    Ok(Seen::Called(Call {
        method: method.to_owned(),
        target: unescape(target)?,
        version: version.to_owned(),
        facts: Vec::new(),
    }))
}

fn call_detail(call: &mut Call, text: &str) -> Result<(), String> {
    let fact = match text.split_once(' ') {
        Some(("path", path)) => Fact::Path(unescape(path)?),
        Some(("query", query)) => Fact::Query(Some(unescape(query)?)),
        None if text == "query" => Fact::Query(Some(Vec::new())),
        None if text == "-query" => Fact::Query(None),
        Some(("authority", authority)) => Fact::Authority(Some(unescape(authority)?)),
        None if text == "-authority" => Fact::Authority(None),
        Some(("body", body)) if body.starts_with('"') => Fact::Body(quoted(body)?),
        Some(("body", kind)) => Fact::BodyFails(match kind {
            "malformed" => "Malformed",
            "incomplete" => "Incomplete",
            "too-large" => "TooLarge",
            "timeout" => "Timeout",
            "disconnected" => "Disconnected",
            _ => return Err(format!("no kind of error: {kind:?}")),
        }),
        Some(("trailer", trailer)) => {
            let (name, value) = field(trailer)?;
            Fact::Trailer(name, vec![value])
        }
        Some(("-trailer", name)) => Fact::NoTrailer(name.to_ascii_lowercase()),
        _ => match text.strip_prefix('-') {
            Some(name) => Fact::NoField(name.to_ascii_lowercase()),
            None => {
                let (name, value) = field(text)?;
                Fact::Field(name, vec![value])
            }
        },
    };
    add_fact(&mut call.facts, fact);
    Ok(())
}

/// Adds what was seen; a further value of a field or trailer joins those that it has.
fn add_fact(facts: &mut Vec<Fact>, fact: Fact) {
    for known in facts.iter_mut() {
        match (known, &fact) {
            (Fact::Field(known, values), Fact::Field(name, more))
            | (Fact::Trailer(known, values), Fact::Trailer(name, more))
                if known == name =>
            {
                return values.extend_from_slice(more);
            }
            _ => {}
        }
    }
    facts.push(fact);
}

/// `name: value`, with the name in lower case.
fn field(text: &str) -> Result<(String, Vec<u8>), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("neither a word of the format nor a field: {text:?}"))?;
    Ok((name.trim().to_ascii_lowercase(), unescape(value.strip_prefix(' ').unwrap_or(value))?))
}

fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    unescape(inner.ok_or_else(|| format!("a body without quotes: {text:?}"))?)
}

fn add(fields: &mut Vec<(String, Vec<Vec<u8>>)>, name: String, value: Vec<u8>) {
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(value),
        None => fields.push((name, vec![value])),
    }
}

/// What a vector as a whole must be.
fn check(vector: &Vector) -> Result<(), String> {
    if vector.why.is_empty() {
        return Err("it does not say why".to_owned());
    }
    let Some(Step::Expect(last)) = vector.script.last() else {
        return Err("it does not end with an answer".to_owned());
    };
    if last.any_of.iter().any(|answer| matches!(answer, Answer::Final(_, After::Unsaid) | Answer::Interim(_)))
    {
        return Err("the last answer does not say what becomes of the connection".to_owned());
    }
    for (at, step) in vector.script.iter().enumerate() {
        let Step::Expect(expected) = step else { continue };
        if expected.is_open() && expected.any_of.len() > 1 {
            return Err("`open` stands alone".to_owned());
        }
        if expected.any_of.contains(&Answer::Nothing) && !expected.is_interim() {
            return Err("`none` is for interim heads".to_owned());
        }
        let is_last = at + 1 == vector.script.len();
        if (expected.is_interim() || expected.is_open() && !is_last) && expected.seen.is_some() {
            return Err("what was seen stands with the final answer".to_owned());
        }
        if at + 1 < vector.script.len()
            && expected.any_of.iter().all(|answer| {
                matches!(answer, Answer::Closed | Answer::Final(_, After::Close | After::Broken))
            })
        {
            return Err("something follows the end of the connection".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> (Vec<Vector>, Vec<String>) {
        file(Group { name: "group", text })
    }

    #[test]
    fn the_example_in_the_readme_is_a_vector() {
        let readme = include_str!("../../corpus/README.md");
        let example = readme.split("```\n").nth(1).unwrap();
        let (vectors, mistakes) = read(example);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let [vector] = &vectors[..] else { panic!("one vector") };
        assert_eq!((vector.id().as_str(), vector.level), ("group/size-with-plus-sign", Level::Should));
        assert_eq!((&vector.sections[..], &vector.rules[..]), (&["RFC 9112 §7.1"][..], &["chunk-size"][..]));
        assert_eq!(vector.clauses, [varvel_spec::ids::B3, varvel_spec::ids::H8]);
        assert_eq!(vector.history, ["CVE-2022-24761"]);
        assert!(vector.why.starts_with("A general integer parser"), "{}", vector.why);
        let [Step::Send(bytes), Step::Expect(expected)] = &vector.script[..] else {
            panic!("a request, an answer")
        };
        assert!(
            bytes.starts_with(b"POST / HTTP/1.1\r\nHost:") && bytes.ends_with(b"+5\r\nhello\r\n0\r\n\r\n")
        );
        assert_eq!(expected.any_of, [Answer::Final(400, After::Close)]);
        let Some(Seen::Called(call)) = &expected.seen else { panic!("a call") };
        assert!(matches!(call.facts[..], [Fact::BodyFails("Malformed")]), "{call:?}");
    }

    #[test]
    fn values_of_one_name_stay_together_and_in_order() {
        let (vectors, _) = read(
            "## a\nMUST · RFC 9112 §5\nWhy.\n> x\n< 200 keep\n<   a: 1\n<   b: 2\n<   A: 3\n\
             = GET / HTTP/1.1\n=   a: 1\n=   A: 2\n",
        );
        let Step::Expect(expected) = &vectors[0].script[1] else { panic!("an answer") };
        let one = |name: &str, values: &[&[u8]]| {
            (name.to_owned(), values.iter().map(|v| v.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(expected.fields, [one("a", &[b"1", b"3"]), one("b", &[b"2"])]);
        let Some(Seen::Called(call)) = &expected.seen else { panic!("a call") };
        assert!(matches!(&call.facts[..], [Fact::Field(_, values)] if values.len() == 2), "{call:?}");
    }

    #[test]
    fn a_mistake_is_told_with_file_and_line_and_spoils_no_other_vector() {
        const GOOD: &str = "\n## good\nMUST · RFC 9112 §5\nWhy.\n> x\n< 400 close\n";
        for (wrong, line, error) in [
            ("## Bad\nMUST · RFC 9112 §5\nWhy.\n> x\n< 400 close", 1, "a name is made of words"),
            ("## a\nWILL · RFC 9112 §5\nWhy.\n> x\n< 400 close", 2, "\"WILL\" is no level"),
            ("## a\nMUST · H8\nWhy.\n> x\n< 400 close", 2, "no section of an RFC"),
            ("## a\nMUST · RFC 9112 §5 · H99\nWhy.\n> x\n< 400 close", 2, "there is no clause H99"),
            ("## a\nMUST · RFC 9112 §5\n> x\n< 400 close", 4, "it does not say why"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> \\q\n< 400 close", 4, "an escape that is none"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> x\n< 4000 close", 5, "no answer"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> x\n< 400", 5, "does not say what becomes of the connection"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> x", 4, "it does not end with an answer"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n@ head-timeout soon\n> x\n< 400 close", 4, "cannot be"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n@ unknown 1\n> x\n< 400 close", 4, "there is no setting"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n>x\n< 400 close", 4, "a mark without a space"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> x\n= not called\n< 400 close", 5, "it belongs to no answer"),
            ("## a\nMUST · RFC 9112 §5\nWhy.\n> x\n< 400 close\n< 200 keep", 6, "something follows the end"),
            (
                "## a\nMUST · RFC 9112 §5\nWhy.\n> x\n< 200 keep\n= GET / HTTP/1.1\n=   body late",
                7,
                "no kind of error",
            ),
        ] {
            let (vectors, mistakes) = read(Box::leak(format!("{wrong}{GOOD}").into_boxed_str()));
            let [mistake] = &mistakes[..] else { panic!("{wrong}: {mistakes:?}") };
            assert!(mistake.starts_with(&format!("corpus/group.txt, line {line} ")), "{mistake}");
            assert!(mistake.contains(error), "{mistake}");
            assert!(matches!(&vectors[..], [good] if good.name == "good"), "{wrong}: {vectors:?}");
        }
    }
}

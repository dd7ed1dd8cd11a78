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
            None => vector.script.push(Step::Expect(Expected::new(alternatives(text)?))),
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
            let known = call.facts.iter_mut().find_map(|fact| match fact {
                Fact::Trailer(known, values) if *known == name => Some(values),
                _ => None,
            });
            match known {
                Some(values) => return Ok(values.push(value)),
                None => Fact::Trailer(name, vec![value]),
            }
        }
        Some(("-trailer", name)) => Fact::NoTrailer(name.to_ascii_lowercase()),
        _ => match text.strip_prefix('-') {
            Some(name) => Fact::NoField(name.to_ascii_lowercase()),
            None => {
                let (name, value) = field(text)?;
                let known = call.facts.iter_mut().find_map(|fact| match fact {
                    Fact::Field(known, values) if *known == name => Some(values),
                    _ => None,
                });
                match known {
                    Some(values) => return Ok(values.push(value)),
                    None => Fact::Field(name, vec![value]),
                }
            }
        },
    };
    call.facts.push(fact);
    Ok(())
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

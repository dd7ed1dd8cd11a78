//! Templates of paths: `/users/{id:int}/{rest:path}`.

use std::{fmt, sync::Arc};

use super::converter::{Converter, Converters};

/// A path with fields in braces, as the router understands it; its `Display` is as it was written.
#[derive(Debug)]
pub struct Template {
    text: Box<str>,
    /// Between the slashes; `/` has one, which is empty.
    pub(super) segments: Vec<Segment>,
    /// The names of the fields in their order.
    pub(super) names: Arc<[Box<str>]>,
}

#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// As it stands in a raw path.
    Literal(Box<str>),
    /// One field, or several with text between them.
    Fields(Vec<Piece>),
    /// All that is left of the path.
    Rest,
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(Box<str>),
    Field(Converter),
}

/// A clone counts who knows its names in a place of its own: workers with a table each do not meet there.
impl Clone for Template {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), segments: self.segments.clone(), names: Arc::from(&*self.names) }
    }
}

impl Segment {
    /// Whether no path tells them apart.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_piece = |(one, other): (&Piece, &Piece)| match (one, other) {
            (Piece::Literal(one), Piece::Literal(other)) => one == other,
            (Piece::Field(one), Piece::Field(other)) => one.spec == other.spec,
            _ => false,
        };
        match (self, other) {
            (Self::Literal(one), Self::Literal(other)) => one == other,
            (Self::Fields(one), Self::Fields(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(is_same_piece)
            }
            (Self::Rest, Self::Rest) => true,
            _ => false,
        }
    }
}

impl Template {
    pub(super) fn parse(text: &str, converters: &Converters) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or("a path begins with `/`")?;
        let mut names = Vec::new();
        let mut segments = Vec::new();
        for segment in split_outside_braces(path)? {
            if let Some(Segment::Rest) = segments.last() {
                return Err("nothing can follow a `path`, which takes all the rest".into());
            }
            segments.push(parse_segment(segment, converters, &mut names)?);
        }
        Ok(Self { text: text.into(), segments, names: names.into() })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is between slashes; those inside of braces are arguments of a converter.
fn split_outside_braces(path: &str) -> Result<Vec<&str>, String> {
    let (mut segments, mut begin, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'{' if inside => return Err("a brace is opened inside of braces".into()),
            b'}' if !inside => return Err("a brace is closed that was not opened".into()),
            b'{' | b'}' => inside = !inside,
            b'/' if !inside => {
                segments.push(&path[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("a brace is not closed".into());
    }
    segments.push(&path[begin..]);
    Ok(segments)
}

fn parse_segment(text: &str, converters: &Converters, names: &mut Vec<Box<str>>) -> Result<Segment, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, behind)) = rest.split_once('{') {
        let (field, behind) = behind.split_once('}').ok_or("a brace is not closed")?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(encoded(literal)?));
        } else if let Some(Piece::Field(_)) = pieces.last() {
            return Err(format!("nothing tells where the field before `{{{field}}}` ends"));
        }
        let (name, convert) = parse_field(field, converters)?;
        if names.iter().any(|known| **known == *name) {
            return Err(format!("there are two fields `{name}`"));
        }
        names.push(name.into());
        pieces.push(Piece::Field(convert));
        rest = behind;
    }
    if pieces.is_empty() {
        return Ok(Segment::Literal(encoded(rest)?));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(encoded(rest)?));
    }
    let is_rest = |piece: &Piece| matches!(piece, Piece::Field(convert) if &*convert.spec == "path");
    match &*pieces {
        [piece] if is_rest(piece) => return Ok(Segment::Rest),
        pieces if pieces.iter().any(is_rest) => return Err("a `path` stands alone between slashes".into()),
        // Clients may write what is escaped in two ways, and inside of a segment only one would be found.
        pieces if pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains('%'))) => {
            return Err("text beside a field must not need percent-encoding".into());
        }
        _ => {}
    }
    Ok(Segment::Fields(pieces))
}

fn parse_field<'t>(field: &'t str, converters: &Converters) -> Result<(&'t str, Converter), String> {
    let (name, convert) = match field.split_once(':') {
        Some((name, convert)) => (name, convert),
        None => (field, "str"),
    };
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(name) {
        return Err(format!("`{name}` is no name for a field: letters, digits and `_`"));
    }
    let (convert, arguments) = match convert.split_once('(') {
        Some((convert, arguments)) => {
            let arguments = arguments.strip_suffix(')');
            (convert, Some(arguments.ok_or_else(|| format!("`{field}` lacks a closing parenthesis"))?))
        }
        None => (convert, None),
    };
    Ok((name, converters.make(convert, arguments)?))
}

/// Literal text as it stands in a raw path: what a path cannot hold is percent-encoded, what is already is left.
fn encoded(literal: &str) -> Result<Box<str>, String> {
    let mut raw = String::with_capacity(literal.len());
    let mut bytes = literal.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'?' | b'#' => return Err(format!("`{}` is not part of a path", char::from(byte))),
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                let [Some(high), Some(low)] = digits.map(|digit| digit.filter(u8::is_ascii_hexdigit)) else {
                    return Err("a `%` stands for itself as `%25`".into());
                };
                raw.push('%');
                raw.extend([high, low].map(|digit| char::from(digit.to_ascii_uppercase())));
            }
            b'!'..=b'~' if !b"\"<>".contains(&byte) => raw.push(char::from(byte)),
            _ => raw.push_str(percent_encoding::percent_encode_byte(byte)),
        }
    }
    Ok(raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        Template::parse(text, &Converters::new())
    }

    #[test]
    fn fields_and_literals_are_told_apart() {
        let template = parse("/a/{b}/{c:int(min=1)}.json/{d:path}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["b", "c", "d"]);
        assert_eq!(
            format!("{:?}", template.segments),
            r#"[Literal("a"), Fields([Field(str)]), Fields([Field(int(min=1)), Literal(".json")]), Rest]"#
        );
    }

    #[test]
    fn literals_are_as_in_a_raw_path() {
        let template = parse("/café/a b/%c3%a9/").unwrap();
        let literals = template.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => &**text,
            other => panic!("{other:?}"),
        });
        assert_eq!(literals.collect::<Vec<_>>(), ["caf%C3%A9", "a%20b", "%C3%A9", ""]);
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_reason() {
        for (template, reason) in [
            ("users", "a path begins with `/`"),
            ("/{id", "a brace is not closed"),
            ("/id}", "a brace is closed that was not opened"),
            ("/{a{b}}", "a brace is opened inside of braces"),
            ("/{}", "`` is no name for a field: letters, digits and `_`"),
            ("/{1st}", "`1st` is no name for a field: letters, digits and `_`"),
            ("/{a}{b}", "nothing tells where the field before `{b}` ends"),
            ("/{a}/{a}", "there are two fields `a`"),
            ("/{a:path}/b", "nothing can follow a `path`, which takes all the rest"),
            ("/x{a:path}", "a `path` stands alone between slashes"),
            ("/ä{a}", "text beside a field must not need percent-encoding"),
            ("/{a:int(2}", "`a:int(2` lacks a closing parenthesis"),
            ("/a?b", "`?` is not part of a path"),
            ("/100%", "a `%` stands for itself as `%25`"),
        ] {
            assert_eq!(parse(template).unwrap_err(), reason, "{template}");
        }
    }
}

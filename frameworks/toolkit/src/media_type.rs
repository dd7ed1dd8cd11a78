//! Media types, as Content-Type has them (RFC 9110 section 8.3.1).

use std::{borrow::Cow, fmt};

use http::{HeaderMap, header};

/// A media type and its parameters, where they stand: nothing is copied.
///
/// ```
/// use varvel_toolkit::MediaType;
///
/// let media_type = MediaType::parse("Application/Problem+JSON; charset=\"utf-8\"").unwrap();
/// assert!(media_type.is("application/problem+json"));
/// assert_eq!(media_type.suffix(), Some("JSON"));
/// assert_eq!(media_type.param("charset").as_deref(), Some("utf-8"));
/// ```
#[derive(Clone, Copy)]
pub struct MediaType<'t> {
    kind: &'t str,
    subtype: &'t str,
    /// From the first semicolon on.
    params: &'t str,
}

impl<'t> MediaType<'t> {
    /// Reads a media type; `None` if it is none. Letter case is kept and does not matter.
    pub fn parse(text: &'t str) -> Option<Self> {
        let text = text.trim_matches(BLANK);
        let (essence, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        let (kind, subtype) = essence.trim_end_matches(BLANK).split_once('/')?;
        (is_token(kind) && is_token(subtype)).then_some(Self { kind, subtype, params })
    }

    /// That of a message, by its Content-Type. Of several fields, which no message may have, none is believed.
    pub fn of(headers: &'t HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::CONTENT_TYPE).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    /// What is before the slash.
    pub fn kind(&self) -> &'t str {
        self.kind
    }

    /// What is behind the slash.
    pub fn subtype(&self) -> &'t str {
        self.subtype
    }

    /// What is behind the last `+` of the subtype: `json` of `application/problem+json`.
    pub fn suffix(&self) -> Option<&'t str> {
        self.subtype.rsplit_once('+').map(|(_, suffix)| suffix)
    }

    /// Whether it is this type, such as `text/html`, whatever its parameters.
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// Whether its content is JSON: `application/json`, or any type with the suffix `+json`.
    pub fn is_json(&self) -> bool {
        self.is("application/json") || self.suffix().is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
    }

    /// The value of a parameter, without quotes; of several of a name the first.
    pub fn param(&self, name: &str) -> Option<Cow<'t, str>> {
        self.params().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Its parameters, up to the first that is none.
    pub fn params(&self) -> Params<'t> {
        Params { rest: self.params }
    }
}

impl fmt::Debug for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.kind, self.subtype, self.params)
    }
}

/// The parameters of a [`MediaType`], or of whatever else has them behind semicolons: names and values.
#[derive(Clone, Debug)]
pub struct Params<'t> {
    rest: &'t str,
}

impl<'t> Params<'t> {
    /// Those in a text that is empty or begins with a semicolon.
    pub(crate) fn of(rest: &'t str) -> Self {
        Self { rest }
    }
}

impl<'t> Iterator for Params<'t> {
    type Item = (&'t str, Cow<'t, str>);

    fn next(&mut self) -> Option<Self::Item> {
        // An empty parameter means nothing (RFC 9110 section 5.6.6).
        let rest = std::mem::take(&mut self.rest).trim_start_matches([';', ' ', '\t']);
        let (name, rest) = rest.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (value, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
                let value = value.trim_end_matches(BLANK);
                (is_token(value).then_some(value)?.into(), rest)
            }
        };
        is_token(name).then(|| {
            self.rest = rest;
            (name, value)
        })
    }
}

/// What may stand around things in a field.
pub(crate) const BLANK: [char; 2] = [' ', '\t'];

/// The content of a quoted string behind its first quote, and what is behind its last.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text[end..].starts_with('"') {
        return Some((text[..end].into(), &text[end + 1..]));
    }
    let mut content = text[..end].to_owned();
    let mut letters = text[end..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((content.into(), &text[end + at + 1..])),
            '\\' => content.push(letters.next()?.1),
            letter => content.push(letter),
        }
    }
    None
}

/// Whether it is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_the_same() {
        // RFC 9110 section 8.3.1.
        for text in [
            "text/html;charset=utf-8",
            "Text/HTML;Charset=\"utf-8\"",
            "text/html; charset=\"utf-8\"",
            "text/html;charset=utf-8;;",
            " text/html ; charset=utf-8",
        ] {
            let media_type = MediaType::parse(text).unwrap();
            assert!(media_type.is("text/html"), "{text}");
            assert_eq!(media_type.param("charset").as_deref(), Some("utf-8"), "{text}");
        }
    }

    #[test]
    fn quotes_and_escapes_are_taken_away() {
        let media_type = MediaType::parse(r#"multipart/mixed; boundary="a;\"b\\"; x=1"#).unwrap();
        let params: Vec<_> = media_type.params().collect();
        assert_eq!(params, [("boundary", r#"a;"b\"#.into()), ("x", "1".into())]);
    }

    #[test]
    fn what_is_no_media_type_is_none() {
        for text in ["", "text", "text/", "/html", "te xt/html", "text/ht ml", "text/html, text/plain"] {
            assert!(MediaType::parse(text).is_none(), "{text}");
        }
        let broken = MediaType::parse("text/html; charset=\"utf-8").unwrap();
        assert_eq!(broken.params().count(), 0);
    }

    #[test]
    fn two_content_types_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert!(MediaType::of(&headers).is_some());
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(MediaType::of(&headers).is_none());
    }

    #[test]
    fn json_is_known_by_its_suffix_too() {
        let is_json = |text| MediaType::parse(text).unwrap().is_json();
        assert!(is_json("application/json; charset=utf-8") && is_json("application/ld+JSON"));
        assert!(!is_json("text/json5") && !is_json("application/jsonx"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[a/;=\"\\\\ ,é]*") {
            let Some(media_type) = MediaType::parse(&text) else { return Ok(()) };
            media_type.params().count();
            prop_assert!(MediaType::parse(&media_type.to_string()).is_some());
        }
    }
}

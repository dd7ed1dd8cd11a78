//! The query of a URL as names and values.
//!
//! ```
//! use http::Uri;
//! use varvel_toolkit::Query;
//!
//! let uri: Uri = "/search?q=two+words&tag=a&tag=b%26c&page=2&draft".parse().unwrap();
//! let query = Query::of(&uri);
//! assert_eq!(query.get("q").as_deref(), Some("two words"));
//! assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b&c"]);
//! assert_eq!(query.parse("page").unwrap(), Some(2));
//! assert!(query.has("draft"));
//!
//! let error = query.required::<u32>("q").unwrap_err();
//! assert_eq!(error.to_json(), r#"{"title":"Bad Request","status":400,"#.to_owned()
//!     + r#""detail":"The parameter `q` has an invalid value.","code":"invalid_parameter","parameter":"q"}"#);
//! ```

use std::{borrow::Cow, fmt, str::FromStr};

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::HttpError;

/// The names and values of a query, read where they stand: `a=1&b=2`, with `+` for a space.
///
/// A name may come several times; one without `=` has an empty value. Escapes that are no UTF-8 become U+FFFD, as browsers
/// have it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'q>(&'q str);

impl<'q> Query<'q> {
    /// That of a URI, empty if it has none.
    pub fn of(uri: &'q Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// What is behind a `?`, or the content of a form.
    pub fn new(text: &'q str) -> Self {
        Self(text)
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<Cow<'q, str>> {
        self.all(name).next()
    }

    /// All values of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Cow<'q, str>> {
        self.pairs().filter(move |(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether there is this name, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of this name as another type.
    ///
    /// # Errors
    /// 400 with code `invalid_parameter` and the `parameter`, if it is there and cannot be one.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let invalid = |_| parameter_error(name, "invalid_parameter", "has an invalid value");
        self.get(name).map(|value| value.parse().map_err(invalid)).transpose()
    }

    /// The first value of this name as another type, which must be there.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and 400 with code `missing_parameter`.
    pub fn required<T: FromStr>(&self, name: &str) -> Result<T, HttpError> {
        self.parse(name)?.ok_or_else(|| parameter_error(name, "missing_parameter", "is missing"))
    }

    /// All names and values in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
    }
}

fn parameter_error(name: &str, code: &'static str, what: &str) -> HttpError {
    HttpError::bad_request(format!("The parameter `{name}` {what}."))
        .with_code(code)
        .with_member("parameter", name)
}

/// Writes names and values as a query, without a `?`.
///
/// ```
/// let query = varvel_toolkit::query::encode(&[("q", &"two words"), ("page", &2)]);
/// assert_eq!(query, "q=two+words&page=2");
/// ```
pub fn encode(pairs: &[(&str, &dyn fmt::Display)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        push_encoded(&mut query, name);
        query.push('=');
        push_encoded(&mut query, &value.to_string());
    }
    query
}

fn push_encoded(query: &mut String, text: &str) {
    const ESCAPED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');
    for piece in utf8_percent_encode(text, ESCAPED) {
        let mut words = piece.split(' ');
        query.push_str(words.next().unwrap_or_default());
        for word in words {
            query.push('+');
            query.push_str(word);
        }
    }
}

/// A name or value as it was meant.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8_lossy();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Query::new(text).pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    #[test]
    fn pairs_are_as_the_url_standard_has_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("&&a&=b&c=&d==e"), [pair("a", ""), pair("", "b"), pair("c", ""), pair("d", "=e")]);
        assert_eq!(pairs("a+b=%2B+%20&%C3%A9=%ff"), [pair("a b", "+  "), pair("é", "\u{fffd}")]);
        assert_eq!(pairs("100%=%&%4"), [pair("100%", "%"), pair("%4", "")]);
    }

    #[test]
    fn what_is_not_escaped_is_not_copied() {
        assert!(matches!(Query::new("a=plain").get("a"), Some(Cow::Borrowed("plain"))));
    }

    #[test]
    fn a_value_that_is_missing_or_wrong_is_told_in_a_way_that_programs_understand() {
        let query = Query::new("n=x");
        let error = query.required::<u8>("m").unwrap_err();
        let members: Vec<_> = error.members().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(members, ["code=\"missing_parameter\"", "parameter=\"m\""]);
        assert_eq!(query.parse::<u8>("m").unwrap(), None);
        assert_eq!(query.parse::<u8>("n").unwrap_err().status(), 400);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in ".*", value in ".*") {
            let query = encode(&[(&name, &value), ("", &7)]);
            prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{}", query);
            prop_assert_eq!(pairs(&query), [(name, value), (String::new(), "7".to_owned())]);
        }

        #[test]
        fn no_query_is_too_odd(text in "[&=+%a-f0-9é]*") {
            pairs(&text);
        }
    }
}

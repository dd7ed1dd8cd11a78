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
//!
//! All of it at once is a type of yours:
//!
//! ```
//! use serde::Deserialize;
//! use varvel_toolkit::Query;
//!
//! #[derive(Deserialize)]
//! struct Search {
//!     q: String,
//!     page: Option<u32>,
//!     #[serde(default)]
//!     tag: Vec<String>, // all values of this name
//! }
//!
//! let search: Search = Query::new("q=two+words&tag=a&tag=b%26c&page=2").typed().unwrap();
//! assert_eq!((&*search.q, search.page, &search.tag[1][..]), ("two words", Some(2), "b&c"));
//!
//! let error = Query::new("q=rust&page=two").typed::<Search>().err().unwrap();
//! assert!(error.detail().unwrap().starts_with("The parameter `page` has an invalid value"));
//! ```

use std::{borrow::Cow, fmt, str::FromStr};

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use serde::de::DeserializeOwned;

use crate::{
    HttpError,
    urlencoded::{self, Misfit},
};

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
        self.parse(name)?.ok_or_else(|| missing(name))
    }

    /// All of it as a type: a list takes all values of a name, an [`Option`] may be missing or empty, and names that the type
    /// has not are passed over, unless it denies them.
    ///
    /// # Errors
    /// 400 as [`required`](Self::required), with what is wrong with the value.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        urlencoded::typed(self.0).map_err(|misfit| match misfit {
            Misfit::Missing(name) => missing(&name),
            Misfit::Invalid(name, why) => {
                parameter_error(&name, "invalid_parameter", &format!("has an invalid value: {why}"))
            }
            Misfit::Whole(why) => HttpError::bad_request(format!("The query does not fit: {why}."))
                .with_code("invalid_parameter"),
        })
    }

    /// All names and values in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'q, str>, Cow<'q, str>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
    }
}

fn missing(name: &str) -> HttpError {
    parameter_error(name, "missing_parameter", "is missing")
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

    #[test]
    fn a_type_is_told_which_parameter_does_not_fit() {
        #[derive(Debug, serde::Deserialize, PartialEq)]
        #[serde(deny_unknown_fields)]
        struct Page {
            number: u8,
            size: Option<u8>,
            #[serde(default)]
            sort: Vec<String>,
        }
        let page = |text| Query::new(text).typed::<Page>();
        let sort = vec!["a".to_owned(), "-b".to_owned()];
        assert_eq!(page("number=1&sort=a&size=&sort=-b").unwrap(), Page { number: 1, size: None, sort });
        for (text, code, parameter) in [
            ("", "missing_parameter", Some("number")),
            ("number=x", "invalid_parameter", Some("number")),
            ("number=1&size=256", "invalid_parameter", Some("size")),
            ("number=1&nmber=2", "invalid_parameter", Some("nmber")),
        ] {
            let error = page(text).unwrap_err();
            assert_eq!(error.status(), 400, "{text}");
            let member =
                |name| error.members().find(|(known, _)| *known == name).and_then(|(_, it)| it.as_str());
            assert_eq!((member("code"), member("parameter")), (Some(code), parameter), "{text}");
        }
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
            let _ = Query::new(&text).typed::<std::collections::BTreeMap<String, u8>>();
        }
    }
}

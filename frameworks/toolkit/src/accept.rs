//! Negotiation: which of several offers a client likes best (RFC 9110 section 12.5).
//!
//! Offers are in the server's own order, which decides between those that the client likes equally. What is refused with
//! `q=0` is never chosen; elements that make no sense are passed over.
//!
//! ```
//! use http::{HeaderMap, HeaderValue, header};
//! use varvel_toolkit::accept::{Accept, encoding, language};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(header::ACCEPT, HeaderValue::from_static("text/html;q=0.5, application/json"));
//! headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("de-CH, en;q=0.7"));
//! headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
//!
//! assert_eq!(Accept::of(&headers).best(&["text/html", "application/json"]), Some("application/json"));
//! assert_eq!(language(&headers, &["en", "de"]), Some("de"));
//! assert_eq!(encoding(&headers, &["br", "gzip", "identity"]), Some("br"));
//! ```

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::media_type::{BLANK, MediaType, Params};

/// How much a client likes something, in thousandths.
type Quality = u16;

const BEST: Quality = 1000;

/// Which media types a client accepts, by its Accept; made to be kept until there is an answer.
#[derive(Clone, Debug, Default)]
pub struct Accept(Option<HeaderValue>);

impl Accept {
    /// That of a request. Allocates only where a client sends several Accept fields.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT).iter();
        let first = values.next();
        if values.next().is_none() {
            return Self(first.cloned());
        }
        let values: Vec<_> = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes).collect();
        Self(HeaderValue::from_bytes(&values.join(&b","[..])).ok())
    }

    /// The offer that the client likes best; `None` if it accepts none of them. A client that says nothing accepts all.
    pub fn best<'o>(&self, offers: &[&'o str]) -> Option<&'o str> {
        best(offers, |offer| self.quality(offer))
    }

    /// Whether the client accepts a media type.
    pub fn accepts(&self, offer: &str) -> bool {
        self.quality(offer) > 0
    }

    /// By the most specific range that includes the offer (section 12.5.1).
    fn quality(&self, offer: &str) -> Quality {
        let Some(offer) = MediaType::parse(offer) else { return 0 };
        let text = self.0.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let ranges = || elements(text).filter_map(MediaType::parse);
        let fitting = |range: MediaType<'_>| Some((includes(&range, &offer)?, quality_of(range.params())?));
        match most_specific(ranges().filter_map(fitting)) {
            Some(quality) => quality,
            None if ranges().next().is_some() => 0,
            None => BEST,
        }
    }
}

/// How specific a range is that includes the offer: 0 for `*/*`, and more the more it says.
fn includes(range: &MediaType<'_>, offer: &MediaType<'_>) -> Option<usize> {
    if range.kind() == "*" {
        return (range.subtype() == "*").then_some(0);
    }
    if !range.kind().eq_ignore_ascii_case(offer.kind()) {
        return None;
    }
    if range.subtype() == "*" {
        return Some(1);
    }
    if !range.subtype().eq_ignore_ascii_case(offer.subtype()) {
        return None;
    }
    let params = range.params().take_while(|(name, _)| !name.eq_ignore_ascii_case("q"));
    let mut specific = 2;
    for (name, value) in params {
        if !offer.param(name).is_some_and(|offered| offered.eq_ignore_ascii_case(&value)) {
            return None;
        }
        specific += 1;
    }
    Some(specific)
}

/// The language that the client likes best, by Accept-Language. A range stands for all languages that begin with it
/// (`de` for `de-CH`), and, if nothing else fits, for the one that it begins with (`de-CH` for `de`; RFC 4647
/// sections 3.3.1 and 3.4). A client that says nothing takes the first.
pub fn language<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    let begins_with = |text: &str, prefix: &str| {
        text.split_at_checked(prefix.len()).is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with('-'))
        })
    };
    negotiate(headers, &header::ACCEPT_LANGUAGE, offers, BEST, |range, offer| {
        if range == "*" {
            Some(0)
        } else if begins_with(offer, range) {
            // Beyond any prefix, and the longer the closer.
            Some(1000 + range.len())
        } else {
            begins_with(range, offer).then_some(1 + offer.len().min(998))
        }
    })
}

/// The character set that the client likes best, by Accept-Charset. A client that says nothing takes the first.
pub fn charset<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    negotiate(headers, &header::ACCEPT_CHARSET, offers, BEST, named)
}

/// The content coding that the client likes best, by Accept-Encoding, where `identity` is none. `None` if it accepts none of
/// the offers, which for `identity` takes an explicit `q=0` (section 12.5.3). To a client that says nothing only `identity`
/// is sent: it may be one that has never heard of codings.
pub fn encoding<'o>(headers: &HeaderMap, offers: &[&'o str]) -> Option<&'o str> {
    best(offers, |offer| coding_quality(headers, offer))
}

fn coding_quality(headers: &HeaderMap, offer: &str) -> Quality {
    let said = quality(headers, &header::ACCEPT_ENCODING, offer, |range, offer| {
        // A name from before the registry (section 8.4.1.3).
        named(range.strip_prefix("x-").unwrap_or(range), offer)
    });
    // What is not mentioned is not wanted, except for `identity`, which is at the end of the list.
    said.unwrap_or(if offer.eq_ignore_ascii_case("identity") { 1 } else { 0 })
}

fn named(range: &str, offer: &str) -> Option<usize> {
    if range == "*" { Some(0) } else { range.eq_ignore_ascii_case(offer).then_some(1) }
}

/// The best of the offers by the elements of a field; `fits` says how specific an element is that includes an offer.
fn negotiate<'o>(
    headers: &HeaderMap,
    field: &HeaderName,
    offers: &[&'o str],
    unsaid: Quality,
    fits: impl Fn(&str, &str) -> Option<usize>,
) -> Option<&'o str> {
    let is_said = texts(headers, field).flat_map(elements).next().is_some();
    best(offers, |offer| match quality(headers, field, offer, &fits) {
        Some(quality) => quality,
        None => {
            if is_said {
                0
            } else {
                unsaid
            }
        }
    })
}

/// The quality of the most specific element that includes the offer.
fn quality(
    headers: &HeaderMap,
    field: &HeaderName,
    offer: &str,
    fits: impl Fn(&str, &str) -> Option<usize>,
) -> Option<Quality> {
    let elements = texts(headers, field).flat_map(elements);
    most_specific(elements.filter_map(|element| {
        let (range, params) = element.split_at(element.find(';').unwrap_or(element.len()));
        Some((fits(range.trim_end_matches(BLANK), offer)?, quality_of(Params::of(params))?))
    }))
}

/// The quality of the first among the most specific.
fn most_specific(fitting: impl Iterator<Item = (usize, Quality)>) -> Option<Quality> {
    fitting.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, quality)| quality)
}

/// The first offer that is liked best, unless none is.
fn best<'o>(offers: &[&'o str], quality: impl Fn(&str) -> Quality) -> Option<&'o str> {
    let mut best = (None, 0);
    for offer in offers {
        let quality = quality(offer);
        if quality > best.1 {
            best = (Some(*offer), quality);
        }
    }
    best.0
}

fn texts<'h>(headers: &'h HeaderMap, field: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(field).iter().filter_map(|value| value.to_str().ok())
}

/// The elements of a list, between commas that are not quoted.
pub(crate) fn elements(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |letter| {
        let is_escaped = std::mem::take(&mut escaped);
        match letter {
            '\\' if quoted && !is_escaped => escaped = true,
            '"' if !is_escaped => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
    .map(|element| element.trim_matches(BLANK))
    .filter(|element| !element.is_empty())
}

/// The weight among parameters, the best if there is none; `None` if it makes no sense (section 12.4.2).
fn quality_of(mut params: Params<'_>) -> Option<Quality> {
    let Some((_, weight)) = params.find(|(name, _)| name.eq_ignore_ascii_case("q")) else {
        return Some(BEST);
    };
    let (whole, digits) = weight.split_once('.').unwrap_or((&weight, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths = [100, 10, 1].iter().zip(digits.bytes());
    let thousandths: Quality = thousandths.map(|(worth, digit)| worth * Quality::from(digit - b'0')).sum();
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(BEST),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(field: HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (field.clone(), HeaderValue::from_static(value)));
        values.collect()
    }

    fn accept(value: &'static str) -> Accept {
        Accept::of(&headers(header::ACCEPT, &[value]))
    }

    #[test]
    fn the_table_of_the_rfc_holds() {
        // RFC 9110 section 12.5.1.
        let accept = accept(
            "text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, text/plain;format=fixed;q=0.4, */*;q=0.5",
        );
        for (offer, quality) in [
            ("text/plain;format=flowed", 1000),
            ("text/plain", 700),
            ("text/html", 300),
            ("image/jpeg", 500),
            ("text/plain;format=fixed", 400),
            ("text/html;level=3", 300),
        ] {
            assert_eq!(accept.quality(offer), quality, "{offer}");
        }
    }

    #[test]
    fn the_order_of_offers_decides_between_equals() {
        assert_eq!(accept("*/*").best(&["a/b", "c/d"]), Some("a/b"));
        assert_eq!(accept("c/d, a/b").best(&["a/b", "c/d"]), Some("a/b"));
        assert_eq!(
            accept("audio/*; q=0.2, audio/basic").best(&["audio/ogg", "audio/basic"]),
            Some("audio/basic")
        );
    }

    #[test]
    fn nothing_said_is_everything_accepted_and_refused_is_refused() {
        assert_eq!(Accept::default().best(&["a/b"]), Some("a/b"));
        assert_eq!(accept("").best(&["a/b"]), Some("a/b"));
        assert_eq!(accept("c/d").best(&["a/b"]), None);
        assert_eq!(accept("*/*, a/b;q=0").best(&["a/b", "c/d"]), Some("c/d"));
        assert!(!accept("text/*;q=0.0").accepts("text/html"));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        assert_eq!(
            accept("html, a/b;q=2, a/b;q=0.1234, */c, c/d;q=.5, e/f").best(&["a/b", "c/d", "e/f"]),
            Some("e/f")
        );
        assert_eq!(
            accept("a/b;x=\"1,2\";q=0.5, c/d;q=0.4").best(&["c/d", "a/b;x=\"1,2\""]),
            Some("a/b;x=\"1,2\"")
        );
    }

    #[test]
    fn several_fields_are_one_list() {
        let accept = Accept::of(&headers(header::ACCEPT, &["a/b;q=0.1", "c/d"]));
        assert_eq!(accept.best(&["a/b", "c/d"]), Some("c/d"));
        let headers = headers(header::ACCEPT_LANGUAGE, &["da", "en;q=0.8"]);
        assert_eq!(language(&headers, &["en", "da"]), Some("da"));
    }

    #[test]
    fn languages_fit_by_their_beginning() {
        let language = |accepted, offers| language(&headers(header::ACCEPT_LANGUAGE, &[accepted]), offers);
        // RFC 9110 section 12.5.4.
        assert_eq!(language("da, en-gb;q=0.8, en;q=0.7", &["en-US", "en-GB", "da"]), Some("da"));
        assert_eq!(language("da, en-gb;q=0.8, en;q=0.7", &["en-US", "en-GB"]), Some("en-GB"));
        assert_eq!(language("de-CH", &["en", "de"]), Some("de"));
        assert_eq!(language("de-CH, de;q=0", &["en", "de"]), None);
        assert_eq!(language("fr, *;q=0.1", &["en", "de"]), Some("en"));
        assert_eq!(language("english", &["en"]), None);
    }

    #[test]
    fn codings_are_sent_to_those_who_ask_for_them() {
        let offers = ["br", "gzip", "identity"];
        let encoding = |accepted| encoding(&headers(header::ACCEPT_ENCODING, &[accepted]), &offers);
        assert_eq!(encoding("gzip, deflate"), Some("gzip"));
        assert_eq!(encoding("x-gzip"), Some("gzip"));
        assert_eq!(encoding("gzip;q=0.5, br;q=0.4"), Some("gzip"));
        assert_eq!(encoding("*"), Some("br"));
        assert_eq!(encoding("*;q=0.5, br;q=0"), Some("gzip"));
        assert_eq!(encoding("deflate"), Some("identity"));
        assert_eq!(encoding(""), Some("identity"));
        assert_eq!(encoding("identity;q=0"), None);
        assert_eq!(encoding("*;q=0"), None);
        assert_eq!(super::encoding(&HeaderMap::new(), &offers), Some("identity"));
    }

    #[test]
    fn character_sets_go_by_their_name() {
        let headers = headers(header::ACCEPT_CHARSET, &["iso-8859-5, Unicode-1-1;q=0.8"]);
        assert_eq!(charset(&headers, &["utf-8", "unicode-1-1"]), Some("unicode-1-1"));
        assert_eq!(charset(&HeaderMap::new(), &["utf-8"]), Some("utf-8"));
    }

    proptest! {
        #[test]
        fn what_is_chosen_was_offered_and_is_accepted(text in "([ab*/;,=\"\\\\ .01]|q=|a/b|\\*/\\*)*") {
            let value = HeaderValue::try_from(text).unwrap();
            let headers = HeaderMap::from_iter([
                (header::ACCEPT, value.clone()),
                (header::ACCEPT_LANGUAGE, value.clone()),
                (header::ACCEPT_ENCODING, value),
            ]);
            let accept = Accept::of(&headers);
            if let Some(chosen) = accept.best(&["a/b", "b/a", "a/a;a=b"]) {
                prop_assert!(accept.accepts(chosen));
            }
            language(&headers, &["a", "a-b"]);
            encoding(&headers, &["a", "identity"]);
        }
    }
}

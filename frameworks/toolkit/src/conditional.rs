//! Conditional requests: entity tags, dates, and what a request makes depend on them (RFC 9110 section 13).
//!
//! [`evaluate`] follows the steps of section 13.2.2, and [`answer`] makes of a response what the request asked for:
//! the whole, a part of it (see [`range`]), 304 or 412.
//!
//! ```
//! use http::{HeaderMap, HeaderValue, Method, header};
//! use varvel_toolkit::conditional::{ETag, Validators, Verdict, evaluate};
//!
//! let current = Validators { etag: ETag::strong("v2"), last_modified: None };
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(r#""v1", "v2""#));
//! assert_eq!(evaluate(&Method::GET, &headers, Some(&current)), Verdict::NotModified);
//!
//! // Somebody has changed it since: this client would overwrite what it has not seen.
//! headers.remove(header::IF_NONE_MATCH);
//! headers.insert(header::IF_MATCH, HeaderValue::from_static(r#""v1""#));
//! assert_eq!(evaluate(&Method::PUT, &headers, Some(&current)), Verdict::Failed);
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        self, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    },
};
use varvel::Body;

use crate::{Form, range};

/// An entity tag: which version of a representation it is (RFC 9110 section 8.8.3).
///
/// ```
/// use varvel_toolkit::conditional::ETag;
///
/// let tag = ETag::strong("33a64df5").unwrap();
/// assert_eq!(tag.to_str(), "\"33a64df5\"");
/// assert!(tag.matches_weakly(&ETag::weak("33a64df5").unwrap()));
/// assert_eq!(ETag::strong("no \"quotes\""), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(HeaderValue);

impl ETag {
    /// A tag that differs whenever a byte does. `None` if there is a quote, a blank or a control character inside.
    pub fn strong(opaque: &str) -> Option<Self> {
        Self::parse(format!("\"{opaque}\"").as_bytes())
    }

    /// A tag that differs whenever the meaning does.
    pub fn weak(opaque: &str) -> Option<Self> {
        Self::parse(format!("W/\"{opaque}\"").as_bytes())
    }

    /// Reads what stands in a field, quotes and all.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (tag, rest) = split_tag(text)?;
        rest.is_empty().then(|| HeaderValue::from_bytes(tag).ok().map(Self)).flatten()
    }

    /// Whether it promises that equal tags mean equal bytes.
    pub fn is_strong(&self) -> bool {
        is_strong(self.0.as_bytes())
    }

    /// Both are strong and equal: fit for ranges and for If-Match.
    pub fn matches_strongly(&self, other: &Self) -> bool {
        self.is_strong() && self.0 == other.0
    }

    /// Equal but for strength: fit for caches.
    pub fn matches_weakly(&self, other: &Self) -> bool {
        opaque(self.0.as_bytes()) == opaque(other.0.as_bytes())
    }

    /// As it stands in a field; what is beyond ASCII is shown as empty.
    pub fn to_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl From<ETag> for HeaderValue {
    fn from(tag: ETag) -> Self {
        tag.0
    }
}

fn is_strong(tag: &[u8]) -> bool {
    !tag.starts_with(b"W/")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Splits off the tag that a text begins with; a comma inside of the quotes is part of it.
fn split_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = opaque(text).strip_prefix(b"\"")?;
    let len = inner.iter().position(|byte| *byte == b'"')?;
    let is_valid = inner[..len].iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
    is_valid.then(|| text.split_at(text.len() - inner.len() + len + 1))
}

/// What tells the versions of a representation apart.
///
/// A date counts whole seconds, so two versions of the same second have the same: leave it out while it is younger
/// than that (section 8.8.2.2), and a date that is given can be relied on.
#[derive(Clone, Debug, Default)]
pub struct Validators {
    /// Its entity tag.
    pub etag: Option<ETag>,
    /// When it was modified last.
    pub last_modified: Option<SystemTime>,
}

impl Validators {
    /// Those that stand in the fields of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(header::ETAG).and_then(|value| ETag::parse(value.as_bytes())),
            last_modified: only_date(headers, &LAST_MODIFIED),
        }
    }

    /// Puts them into the fields of a response.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        if let Some(etag) = &self.etag {
            headers.insert(header::ETAG, etag.clone().into());
        }
        if let Some(date) = self.last_modified.and_then(http_date) {
            headers.insert(LAST_MODIFIED, date);
        }
    }
}

/// A moment as fields have it; `None` before 1970 and after 9999, which they cannot express.
pub fn http_date(moment: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    (since < YEAR_10000).then(|| HeaderValue::try_from(httpdate::fmt_http_date(moment)).ok()).flatten()
}

/// The moment that a field has, in any of the three forms of RFC 9110 section 5.6.7.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use varvel_toolkit::conditional::{http_date, parse_http_date};
///
/// let moment = UNIX_EPOCH + Duration::from_secs(784_111_777);
/// assert_eq!(http_date(moment).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// assert_eq!(parse_http_date(&http_date(moment).unwrap()), Some(moment));
/// ```
pub fn parse_http_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// What is to be done about a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What it asks for.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client thinks.
    Failed,
}

/// Judges a request by the current state of what it is for, `None` if there is no representation yet.
///
/// To be asked before anything is done, and only if the answer would be a 2xx otherwise (section 13.2.1).
pub fn evaluate(method: &Method, headers: &HeaderMap, current: Option<&Validators>) -> Verdict {
    if [Method::CONNECT, Method::OPTIONS, Method::TRACE].contains(method) {
        return Verdict::Proceed;
    }
    let is_read = [Method::GET, Method::HEAD].contains(method);
    // Truncated, as Last-Modified is.
    let last_modified = current.and_then(|current| current.last_modified).and_then(whole_seconds);

    // Steps 1 and 2. A date that is none, or twice, is as if it were absent; a list of tags that is none matches
    // nothing.
    if headers.contains_key(IF_MATCH) {
        if !any_matches(headers, &IF_MATCH, current, ETag::matches_strongly) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (only_date(headers, &IF_UNMODIFIED_SINCE), last_modified) {
        if modified > date {
            return Verdict::Failed;
        }
    }
    // Steps 3 and 4. Step 5 is `may_send_part`.
    if headers.contains_key(IF_NONE_MATCH) {
        if any_matches(headers, &IF_NONE_MATCH, current, ETag::matches_weakly) {
            return if is_read { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if let (true, Some(date), Some(modified)) =
        (is_read, only_date(headers, &IF_MODIFIED_SINCE), last_modified)
    {
        if modified <= date {
            return Verdict::NotModified;
        }
    }
    Verdict::Proceed
}

/// Step 5: whether Range counts, or If-Range says that the client's part is of another version.
pub fn may_send_part(method: &Method, headers: &HeaderMap, current: &Validators) -> bool {
    if method != Method::GET || !headers.contains_key(header::RANGE) {
        return false;
    }
    let mut values = headers.get_all(IF_RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return !headers.contains_key(IF_RANGE);
    };
    match ETag::parse(value.as_bytes()) {
        Some(tag) => current.etag.as_ref().is_some_and(|current| current.matches_strongly(&tag)),
        // Exactly, and not "not since" (section 13.1.5).
        None => {
            let date = parse_http_date(value);
            date.is_some() && date == current.last_modified.and_then(whole_seconds)
        }
    }
}

/// Makes of the whole what the request asked for: the whole, parts of it, 304 or 412. The response is a 200, and its
/// fields say which version it is; any other is left as it is. At most `ranges_max` parts are sent, and the whole if
/// more are asked for.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Method, Response, header};
/// use varvel::WriteBody;
/// use varvel_toolkit::{Blocking, conditional};
///
/// let whole = || {
///     let mut response = Response::new(WriteBody::from("0123456789"));
///     response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"v1\""));
///     response
/// };
/// let mut request = HeaderMap::new();
/// request.insert(header::RANGE, HeaderValue::from_static("bytes=-3"));
/// let part = conditional::answer::<Blocking>(&Method::GET, &request, whole(), 1);
/// assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 7-9/10");
///
/// request.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"v1\""));
/// let nothing = conditional::answer::<Blocking>(&Method::GET, &request, whole(), 1);
/// assert_eq!(nothing.status(), 304);
/// ```
pub fn answer<F: Form>(
    method: &Method,
    headers: &HeaderMap,
    response: Response<Body<F::Out>>,
    ranges_max: usize,
) -> Response<Body<F::Out>> {
    if response.status() != StatusCode::OK {
        return response;
    }
    let current = Validators::of(response.headers());
    match evaluate(method, headers, Some(&current)) {
        Verdict::NotModified => without_body::<F>(response, StatusCode::NOT_MODIFIED),
        Verdict::Failed => without_body::<F>(response, StatusCode::PRECONDITION_FAILED),
        Verdict::Proceed if may_send_part(method, headers, &current) => {
            range::cut::<F>(headers, response, ranges_max)
        }
        Verdict::Proceed => response,
    }
}

/// Leaves what a 304 says of the version and of caching (section 15.4.5), and nothing of the representation.
fn without_body<F: Form>(mut response: Response<Body<F::Out>>, status: StatusCode) -> Response<Body<F::Out>> {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
    ] {
        response.headers_mut().remove(name);
    }
    if status != StatusCode::NOT_MODIFIED {
        remove_caching(response.headers_mut());
    }
    *response.status_mut() = status;
    response.map(|_| Body::empty())
}

/// What is said of caching is for the representation. A cache that kept an error instead would give it to everybody: its
/// key has neither Range nor conditions.
pub(crate) fn remove_caching(headers: &mut HeaderMap) {
    headers.remove(header::CACHE_CONTROL);
    headers.remove(header::EXPIRES);
}

/// Whether `*` or one of the tags of a field is the current one.
fn any_matches(
    headers: &HeaderMap,
    name: &HeaderName,
    current: Option<&Validators>,
    matches: fn(&ETag, &ETag) -> bool,
) -> bool {
    let Some(current) = current else { return false };
    let mut tags = headers.get_all(name).iter().flat_map(|value| Tags(value.as_bytes()));
    headers.get_all(name).iter().any(|value| value.as_bytes().trim_ascii() == b"*")
        || current.etag.as_ref().is_some_and(|etag| tags.any(|tag| matches(etag, &tag)))
}

/// The tags of a list, up to what is none.
struct Tags<'t>(&'t [u8]);

impl Iterator for Tags<'_> {
    type Item = ETag;

    fn next(&mut self) -> Option<ETag> {
        let begin = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let (tag, rest) = split_tag(&self.0[begin..])?;
        let rest = rest.trim_ascii_start();
        self.0 = if rest.is_empty() || rest.starts_with(b",") { rest } else { b"" };
        HeaderValue::from_bytes(tag).ok().map(ETag)
    }
}

/// The date of a field that has one and occurs once.
fn only_date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse_http_date(value),
        _ => None,
    }
}

fn whole_seconds(moment: SystemTime) -> Option<SystemTime> {
    let since = moment.duration_since(UNIX_EPOCH).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use varvel::{AsyncBody, WriteBody};

    use super::*;
    use crate::{Blocking, Polled};

    const BEFORE: &str = "Sat, 29 Oct 1994 19:43:30 GMT";
    const MODIFIED: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const AFTER: &str = "Sat, 29 Oct 1994 19:43:32 GMT";

    /// `Name: value` lines, of which a name may occur twice.
    fn fields(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn current() -> Validators {
        // Half a second later than its Last-Modified says.
        let modified = httpdate::parse_http_date(MODIFIED).unwrap() + Duration::from_millis(500);
        Validators { etag: ETag::strong("v2"), last_modified: Some(modified) }
    }

    #[test]
    fn preconditions_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(&str, &[&str], Verdict)] = &[
            ("GET", &[], Proceed),
            // Step 1: strong, and a list.
            ("PUT", &["if-match: \"v2\""], Proceed),
            ("PUT", &["if-match: \"v1\" , \"v2\""], Proceed),
            ("PUT", &["if-match: \"v1\"", "if-match: \"v2\""], Proceed),
            ("PUT", &["if-match: *"], Proceed),
            ("PUT", &["if-match: \"v1\""], Failed),
            ("PUT", &["if-match: W/\"v2\""], Failed),
            ("PUT", &["if-match: v2"], Failed),
            ("PUT", &["if-match: \"v2"], Failed),
            ("GET", &["if-match: \"v1\""], Failed),
            // It goes before If-Unmodified-Since, which is not looked at.
            ("PUT", &["if-match: \"v2\"", &format!("if-unmodified-since: {BEFORE}")], Proceed),
            // Step 2.
            ("PUT", &[&format!("if-unmodified-since: {BEFORE}")], Failed),
            ("PUT", &[&format!("if-unmodified-since: {MODIFIED}")], Proceed),
            ("PUT", &[&format!("if-unmodified-since: {AFTER}")], Proceed),
            ("PUT", &["if-unmodified-since: yesterday"], Proceed),
            // Step 3: weak.
            ("GET", &["if-none-match: \"v2\""], NotModified),
            ("HEAD", &["if-none-match: W/\"v2\""], NotModified),
            ("GET", &["if-none-match: \"a,b\", W/\"v2\""], NotModified),
            ("GET", &["if-none-match: ,, \"v2\" ,"], NotModified),
            ("GET", &["if-none-match: *"], NotModified),
            ("GET", &["if-none-match: \"v1\""], Proceed),
            ("GET", &["if-none-match: v2"], Proceed),
            ("GET", &["if-none-match: \"v1\" \"v2\""], Proceed),
            ("PUT", &["if-none-match: *"], Failed),
            ("DELETE", &["if-none-match: \"v2\""], Failed),
            // It goes before If-Modified-Since, which is not looked at.
            ("GET", &["if-none-match: \"v1\"", &format!("if-modified-since: {AFTER}")], Proceed),
            // Step 4: of reads alone; the fraction of a second does not count.
            ("GET", &[&format!("if-modified-since: {MODIFIED}")], NotModified),
            ("HEAD", &[&format!("if-modified-since: {AFTER}")], NotModified),
            ("GET", &["if-modified-since: Saturday, 29-Oct-94 19:43:31 GMT"], NotModified),
            ("GET", &["if-modified-since: Sat Oct 29 19:43:31 1994"], NotModified),
            ("GET", &[&format!("if-modified-since: {BEFORE}")], Proceed),
            ("POST", &[&format!("if-modified-since: {AFTER}")], Proceed),
            ("GET", &["if-modified-since: 0"], Proceed),
            (
                "GET",
                &[&format!("if-modified-since: {AFTER}"), &format!("if-modified-since: {AFTER}")],
                Proceed,
            ),
            // Both kinds: first what protects, then what saves.
            ("GET", &["if-match: \"v2\"", "if-none-match: \"v2\""], NotModified),
            ("GET", &["if-match: \"v1\"", "if-none-match: \"v2\""], Failed),
            // Methods without a representation.
            ("OPTIONS", &["if-match: \"v1\""], Proceed),
        ];
        for (method, lines, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let verdict = evaluate(&method, &fields(lines), Some(&current()));
            assert_eq!(verdict, *expected, "{method} {lines:?}");
        }
    }

    #[test]
    fn no_cache_keeps_an_error_in_place_of_what_there_is() {
        let answer = |line| {
            let mut whole = Response::new(WriteBody::from("0123456789"));
            let lines = ["etag: \"v1\"", "cache-control: public, max-age=60", "expires: 0"];
            *whole.headers_mut() = fields(&lines);
            answer::<Blocking>(&Method::GET, &fields(&[line]), whole, 1)
        };
        for (line, status, is_kept) in [
            ("if-match: \"v2\"", 412, false),
            ("range: bytes=10-", 416, false),
            ("if-none-match: \"v1\"", 304, true),
            ("range: bytes=0-1", 206, true),
        ] {
            let answer = answer(line);
            assert_eq!(answer.status(), status, "{line}");
            for name in ["cache-control", "expires"] {
                assert_eq!(answer.headers().contains_key(name), is_kept, "{line} {name}");
            }
        }
    }

    #[test]
    fn what_does_not_exist_yet_matches_nothing() {
        let judge = |line| evaluate(&Method::PUT, &fields(&[line]), None);
        assert_eq!(judge("if-none-match: *"), Verdict::Proceed);
        assert_eq!(judge("if-match: *"), Verdict::Failed);
        assert_eq!(judge("if-unmodified-since: Sat, 29 Oct 1994 19:43:31 GMT"), Verdict::Proceed);
    }

    #[test]
    fn a_part_is_sent_of_the_same_version_alone() {
        let table: &[(&str, &[&str], bool)] = &[
            ("GET", &["range: bytes=0-1"], true),
            ("GET", &[], false),
            ("HEAD", &["range: bytes=0-1"], false),
            ("GET", &["range: bytes=0-1", "if-range: \"v2\""], true),
            ("GET", &["range: bytes=0-1", "if-range: \"v1\""], false),
            ("GET", &["range: bytes=0-1", "if-range: W/\"v2\""], false),
            ("GET", &["range: bytes=0-1", "if-range: \"v2\"", "if-range: \"v2\""], false),
            ("GET", &["range: bytes=0-1", &format!("if-range: {MODIFIED}")], true),
            ("GET", &["range: bytes=0-1", &format!("if-range: {AFTER}")], false),
            ("GET", &["range: bytes=0-1", "if-range: whatever"], false),
        ];
        for (method, lines, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(may_send_part(&method, &fields(lines), &current()), *expected, "{method} {lines:?}");
        }
        let unknown = Validators::default();
        let headers = fields(&["range: bytes=0-1", "if-range: whatever"]);
        assert!(!may_send_part(&Method::GET, &headers, &unknown));
    }

    #[test]
    fn tags_compare_as_in_the_table_of_section_8_8_3_2() {
        let tag = |text: &str| ETag::parse(text.as_bytes()).unwrap();
        for (one, other, strongly, weakly) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(one).matches_strongly(&tag(other)), strongly, "{one} {other}");
            assert_eq!(tag(one).matches_weakly(&tag(other)), weakly, "{one} {other}");
        }
        for text in ["", "1", "\"", "\"1", "1\"", "w/\"1\"", "W/1", "\"a b\"", "\"1\"x"] {
            assert_eq!(ETag::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(tag("\"\"").to_str(), "\"\"");
    }

    #[test]
    fn a_304_says_which_version_and_how_to_cache_and_nothing_else() {
        fn check<F: Form>() {
            let mut response = Response::new(Body::<F::Out>::from_static(b"hello"));
            let lines =
                ["content-type: text/plain", "etag: \"v2\"", "vary: accept", "cache-control: no-cache"];
            *response.headers_mut() = fields(&lines);
            let request = fields(&["if-none-match: \"v2\""]);
            let response = answer::<F>(&Method::GET, &request, response, 1);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(*response.headers(), fields(&lines[1..]));
            assert!(response.body().is_empty());
        }
        check::<Blocking>();
        check::<Polled>();
    }

    #[test]
    fn an_answer_that_is_no_200_is_left_alone() {
        let request = fields(&["if-none-match: *"]);
        let mut response = Response::new(AsyncBody::from("gone"));
        *response.status_mut() = StatusCode::GONE;
        assert_eq!(answer::<Polled>(&Method::GET, &request, response, 1).status(), StatusCode::GONE);
        let response = Response::new(WriteBody::from("changed"));
        let response = answer::<Blocking>(&Method::PUT, &request, response, 1);
        assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    }

    #[test]
    fn moments_that_no_field_can_express_are_left_out() {
        assert_eq!(http_date(UNIX_EPOCH).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(UNIX_EPOCH - Duration::from_secs(1)), None);
        assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
        assert!(http_date(UNIX_EPOCH + Duration::from_secs(253_402_300_799)).is_some());
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(value in "[ -~]{0,40}", tags in r#"((W/)?"[a-z,]{0,3}"[ ,]{0,2}){0,4}"#) {
            for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
                let mut headers = fields(&["range: bytes=0-1"]);
                headers.append(&name, value.parse().unwrap());
                headers.append(&name, tags.trim().parse().unwrap());
                evaluate(&Method::GET, &headers, Some(&current()));
                may_send_part(&Method::GET, &headers, &current());
            }
        }
    }
}

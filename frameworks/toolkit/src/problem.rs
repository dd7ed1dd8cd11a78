//! Errors that clients are told: one type, rendered as the client likes it (RFC 9457, "problem details").
//!
//! ```
//! use http::StatusCode;
//! use varvel_toolkit::HttpError;
//!
//! let error = HttpError::new(StatusCode::FORBIDDEN)
//!     .with_type("https://example.com/probs/out-of-credit")
//!     .with_title("You do not have enough credit.")
//!     .with_detail("Your current balance is 30, but that costs 50.")
//!     .with_member("balance", 30);
//! assert_eq!(
//!     error.to_json(),
//!     r#"{"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"#
//!         .to_owned()
//!         + r#""detail":"Your current balance is 30, but that costs 50.","balance":30}"#
//! );
//! ```
//!
//! | the client accepts | it gets |
//! |---|---|
//! | anything, `application/problem+json`, `application/json` | `application/problem+json` |
//! | `application/problem+xml`, `application/xml`, `text/xml` | `application/problem+xml` |
//! | `text/html`, as browsers do | a small page |
//! | `text/plain` | text |
//! | none of these | `application/problem+json` all the same (RFC 9110 section 12.5.1) |
//!
//! # How it gets to the client
//!
//! In a handler below [`Routes`](crate::Routes), by `?`: as an [`AppError`] it carries the `HttpError`, which `Routes` finds
//! and answers with. Only a 500 goes on to the server, whose answer to failures it is, and which reports the
//! [cause](HttpError::caused_by). Elsewhere by [`HttpError::respond`] or [`HttpError::answer_for`].
//!
//! What caused another 5xx, such as a 502, is reported by a framework, or by a [`CatchFailures`](crate::middleware::CatchFailures)
//! around the handler. `Routes` alone does not: it would have to keep the request for each call, in case that one fails so.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write},
    io, iter,
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use varvel::{AppError, Body, BodyErrorKind, BoxError, FailKind, Mode};

use crate::accept::Accept;

/// An error that the client is told of.
///
/// It is a pointer, so that a `Result` with it stays small; one is made seldom.
pub struct HttpError(Box<Problem>);

struct Problem {
    status: StatusCode,
    kind: Option<Cow<'static, str>>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    instance: Option<Cow<'static, str>>,
    members: Vec<(Cow<'static, str>, Value)>,
    headers: HeaderMap,
    cause: Option<BoxError>,
}

impl HttpError {
    /// An error of this status, which says no more than that.
    pub fn new(status: StatusCode) -> Self {
        Self(Box::new(Problem {
            status,
            kind: None,
            title: None,
            detail: None,
            instance: None,
            members: Vec::new(),
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// 400, with what is wrong.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST).with_detail(detail)
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    /// A URI for this sort of problem, best one that can be read about there; without it the status says all.
    #[must_use]
    pub fn with_type(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = Some(uri.into());
        self
    }

    /// What sort of problem it is, the same each time; without it the status' own phrase.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.0.title = Some(title.into());
        self
    }

    /// What is the matter this time, for a human who can do something about it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A URI for this one occurrence.
    #[must_use]
    pub fn with_instance(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.instance = Some(uri.into());
        self
    }

    /// A code of the application's own, as member `code`: for programs, which should not have to compare texts.
    #[must_use]
    pub fn with_code(self, code: impl Into<Value>) -> Self {
        self.with_member("code", code)
    }

    /// Where help is, as member `link` with `href` and `text`, and as field Link with `rel=help`.
    #[must_use]
    pub fn with_link(self, href: &str, text: &str) -> Self {
        let link = HeaderValue::try_from(format!("<{}>; rel=\"help\"", href.replace('>', "%3E")));
        let error = self.with_member("link", serde_json::json!({ "href": href, "text": text }));
        match link {
            Ok(link) => error.with_header(header::LINK, link),
            Err(_) => error,
        }
    }

    /// A member of the application's own. Those of the standard have their own methods, and are left alone by this one.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if !matches!(&*name, "type" | "title" | "status" | "detail" | "instance") {
            self.0.members.retain(|(known, _)| *known != name);
            self.0.members.push((name, value.into()));
        }
        self
    }

    /// A field of the answer, beside others of its name: `Allow`, `Retry-After`, `WWW-Authenticate`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// What caused it: for the log, never for the client. Which causes the log is told says [`is_reported`](Self::is_reported); the
    /// others are for error handlers and hooks, by [`source`](Error::source).
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<BoxError>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Whether who answers it reports it as well, as frameworks and [`CatchFailures`](crate::middleware::CatchFailures) do: a 500,
    /// and any other 5xx that something caused. What clients do wrong is not reported, or they could fill the log.
    pub fn is_reported(&self) -> bool {
        self.0.status == StatusCode::INTERNAL_SERVER_ERROR
            || (self.0.status.is_server_error() && self.0.cause.is_some())
    }

    /// What sort of problem it is.
    pub fn title(&self) -> &str {
        match &self.0.title {
            Some(title) => title,
            None => self.0.status.canonical_reason().unwrap_or("Error"),
        }
    }

    /// What is the matter this time.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Its members beside those of the standard.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.members.iter().map(|(name, value)| (&**name, value))
    }

    /// The fields of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The answer, in the form that the client likes best.
    pub fn respond<M: Mode>(&self, accept: &Accept) -> Response<Body<M>> {
        let format = accept.best(OFFERS).and_then(|offer| OFFERS.iter().position(|known| *known == offer));
        let (media_type, text) = match format {
            None | Some(0 | 1) => ("application/problem+json", self.to_json()),
            Some(2) => ("text/html; charset=utf-8", self.to_html()),
            Some(3..=5) => ("application/problem+xml", self.to_xml()),
            Some(_) => ("text/plain; charset=utf-8", self.to_text()),
        };
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.extend(self.0.headers.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.append(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    /// The `HttpError` among the sources of a failure, however deep it lies.
    ///
    /// ```
    /// use std::io;
    /// use varvel::AppError;
    /// use varvel_toolkit::HttpError;
    ///
    /// let failure = AppError::from(io::Error::other(HttpError::not_found()));
    /// assert_eq!(HttpError::of(&failure).unwrap().status(), 404);
    /// assert!(HttpError::of(&AppError::internal("no database")).is_none());
    /// ```
    pub fn of(failure: &AppError) -> Option<&Self> {
        causes(failure).find_map(<dyn Error>::downcast_ref)
    }

    /// What the client is told of a failure that has no `HttpError` among its causes: 500, 503 with Retry-After, or 413.
    /// `None` where only the server can answer, since it has to close the connection as well.
    pub fn of_kind(kind: FailKind) -> Option<Self> {
        Some(match kind {
            FailKind::Internal | FailKind::Body(BodyErrorKind::Failed) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR)
            }
            // As soon as servers say.
            FailKind::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE)
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            FailKind::Body(BodyErrorKind::TooLarge) => Self::new(StatusCode::PAYLOAD_TOO_LARGE),
            _ => return None,
        })
    }

    /// The answer to a failure, if it is one that the client is to be told of: an `HttpError` other than a 500 among its
    /// sources, or a body that is larger than the application takes.
    pub fn answer_for<M: Mode>(failure: &AppError, accept: &Accept) -> Option<Response<Body<M>>> {
        if failure.kind() == FailKind::Body(BodyErrorKind::TooLarge) {
            return Some(Self::new(StatusCode::PAYLOAD_TOO_LARGE).respond(accept));
        }
        let found = Self::of(failure)?;
        (found.status() != StatusCode::INTERNAL_SERVER_ERROR).then(|| found.respond(accept))
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As XML (RFC 9457 appendix B). Members whose names XML cannot have are left out.
    pub fn to_xml(&self) -> String {
        let mut xml =
            String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\">");
        if let Ok(Value::Object(members)) = serde_json::to_value(self) {
            for (name, value) in &members {
                push_xml(&mut xml, name, value);
            }
        }
        xml.push_str("</problem>\n");
        xml
    }

    /// As a page for a human.
    pub fn to_html(&self) -> String {
        let mut html = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<title>");
        push_escaped(&mut html, self.title());
        let _ = write!(html, "</title>\n<h1>{} ", self.0.status.as_u16());
        push_escaped(&mut html, self.title());
        html.push_str("</h1>\n");
        if let Some(detail) = self.detail() {
            html.push_str("<p>");
            push_escaped(&mut html, detail);
            html.push_str("</p>\n");
        }
        html
    }

    /// As text.
    pub fn to_text(&self) -> String {
        format!("{self}\n")
    }
}

/// What caused a failure, from the outermost error to the innermost, also those that an [`io::Error`] carries.
///
/// ```
/// use std::io;
/// use varvel::AppError;
/// use varvel_toolkit::problem::causes;
///
/// let failure = AppError::from(io::Error::other("12x".parse::<i32>().unwrap_err()));
/// assert!(causes(&failure).any(|error| error.is::<std::num::ParseIntError>()));
/// ```
pub fn causes(failure: &AppError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let outermost = failure.source().map(|source| source as &(dyn Error + 'static));
    iter::successors(outermost, |&error| {
        // An `io::Error` names the source of what it carries as its source, and so hides what it carries.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        carried.map(|carried| carried as _).or_else(|| error.source())
    })
}

/// Adds text to markup, HTML or XML, so that it is nothing but text there, between tags and in attributes with double
/// quotes. Characters that XML cannot have at all are left out.
///
/// ```
/// let mut html = String::from("<p>");
/// varvel_toolkit::problem::push_escaped(&mut html, "1 < 2 & 3");
/// assert_eq!(html, "<p>1 &lt; 2 &amp; 3");
/// ```
pub fn push_escaped(markup: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\t' | '\n' | ' '.. if !matches!(letter, '\u{fffe}' | '\u{ffff}') => markup.push(letter),
            _ => {}
        }
    }
}

/// What it can be rendered as, in the order of our preference; see [`HttpError::respond`].
const OFFERS: &[&str] = &[
    "application/problem+json",
    "application/json",
    "text/html",
    "application/problem+xml",
    "application/xml",
    "text/xml",
    "text/plain",
];

impl Serialize for HttpError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let problem = &*self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = &problem.kind {
            map.serialize_entry("type", kind)?;
        }
        map.serialize_entry("title", self.title())?;
        map.serialize_entry("status", &problem.status.as_u16())?;
        if let Some(detail) = &problem.detail {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(instance) = &problem.instance {
            map.serialize_entry("instance", instance)?;
        }
        for (name, value) in &problem.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An element, with one inside for each element of an array or member of an object.
fn push_xml(xml: &mut String, name: &str, value: &Value) {
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !is_name {
        return;
    }
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Null => {}
        Value::String(text) => push_escaped(xml, text),
        Value::Array(values) => values.iter().for_each(|value| push_xml(xml, "i", value)),
        Value::Object(members) => members.iter().for_each(|(name, value)| push_xml(xml, name, value)),
        plain => {
            let _ = write!(xml, "{plain}");
        }
    }
    let _ = write!(xml, "</{name}>");
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.title())?;
        match &self.0.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("problem", &self.to_json())
            .field("headers", &self.0.headers)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl From<StatusCode> for HttpError {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use varvel::{Async, BodyParts};

    use super::*;

    fn answer(error: &HttpError, accepted: Option<&'static str>) -> (Response<()>, String) {
        let headers = accepted.map(|accepted| (header::ACCEPT, HeaderValue::from_static(accepted)));
        let accept = Accept::of(&headers.into_iter().collect());
        let (head, body) = error.respond::<Async>(&accept).into_parts();
        let BodyParts::Full(text) = body.into_parts() else { panic!("not in memory") };
        (Response::from_parts(head, ()), String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn the_client_chooses_the_form() {
        let error = HttpError::new(StatusCode::CONFLICT).with_detail("<taken>");
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accepted, media_type, text) in [
            (None, "application/problem+json", r#"{"title":"Conflict","status":409,"detail":"<taken>"}"#),
            (Some("*/*"), "application/problem+json", "{"),
            (Some("application/json"), "application/problem+json", "{"),
            (Some("image/png"), "application/problem+json", "{"),
            (Some(browser), "text/html; charset=utf-8", "<h1>409 Conflict</h1>\n<p>&lt;taken&gt;</p>"),
            (Some("text/xml"), "application/problem+xml", "<detail>&lt;taken&gt;</detail>"),
            (Some("text/plain, */*;q=0.1"), "text/plain; charset=utf-8", "409 Conflict: <taken>\n"),
        ] {
            let (response, body) = answer(&error, accepted);
            assert_eq!(response.status(), StatusCode::CONFLICT);
            assert_eq!(response.headers()[header::CONTENT_TYPE], media_type, "{accepted:?}");
            assert_eq!(response.headers()[header::VARY], "accept");
            assert!(body.contains(text), "{accepted:?}: {body}");
        }
    }

    #[test]
    fn xml_is_as_in_the_appendix() {
        let error = HttpError::new(StatusCode::FORBIDDEN)
            .with_type("https://example.com/probs/out-of-credit")
            .with_instance("/account/12345/msgs/abc")
            .with_member("balance", 30)
            .with_member("accounts", json!(["/a", "/b & c"]))
            .with_member("1st", "no name for XML")
            .with_member("owner", json!({ "name": "x\u{0}y" }));
        let xml = error.to_xml();
        for element in [
            "<problem xmlns=\"urn:ietf:rfc:7807\">",
            "<type>https://example.com/probs/out-of-credit</type>",
            "<instance>/account/12345/msgs/abc</instance>",
            "<balance>30</balance>",
            "<accounts><i>/a</i><i>/b &amp; c</i></accounts>",
            "<owner><name>xy</name></owner>",
        ] {
            assert!(xml.contains(element), "{xml}");
        }
        assert!(!xml.contains("1st"), "{xml}");
    }

    #[test]
    fn members_of_the_standard_are_not_overwritten() {
        let error = HttpError::not_found().with_member("status", 200).with_code("a").with_code("b");
        assert_eq!(error.to_json(), r#"{"title":"Not Found","status":404,"code":"b"}"#);
    }

    #[test]
    fn a_link_is_told_in_the_head_too() {
        let error = HttpError::bad_request("so not").with_link("https://example.com/help", "Help");
        let (response, body) = answer(&error, None);
        assert_eq!(response.headers()[header::LINK], "<https://example.com/help>; rel=\"help\"");
        assert!(body.contains(r#""link":{"href":"https://example.com/help","text":"Help"}"#), "{body}");
    }

    #[test]
    fn a_failure_that_carries_one_is_answered_with_it_unless_it_is_internal() {
        let status = |failure: AppError| {
            let answer = HttpError::answer_for::<Async>(&failure, &Accept::default());
            answer.map(|answer| answer.status().as_u16())
        };
        assert_eq!(status(HttpError::not_found().into()), Some(404));
        assert_eq!(status(std::io::Error::other(HttpError::not_found()).into()), Some(404));
        assert_eq!(status(HttpError::from(StatusCode::INTERNAL_SERVER_ERROR).into()), None);
        assert_eq!(status(varvel::BodyError::new(BodyErrorKind::TooLarge).into()), Some(413));
        assert_eq!(status(varvel::BodyError::new(BodyErrorKind::Timeout).into()), None);
        assert_eq!(status(AppError::unavailable("later")), None);
    }
}

//! Answers of the usual sorts, for either form.
//!
//! ```
//! use http::StatusCode;
//! use varvel::{AppResult, sync_fn};
//! use varvel_toolkit::respond;
//!
//! let app = sync_fn(|request, _scope| -> AppResult {
//!     match request.uri().path() {
//!         "/" => Ok(respond::html("<h1>Hello</h1>")),
//!         "/data" => Ok(respond::json(&[1, 2, 3])?),
//!         "/old" => Ok(respond::redirect(StatusCode::MOVED_PERMANENTLY, "/")),
//!         _ => Ok(respond::empty(StatusCode::NOT_FOUND)),
//!     }
//! });
//! # use varvel::App;
//! # let call = |path: &str| {
//! #     let request = http::Request::get(path).body(varvel::ReadBody::empty()).unwrap();
//! #     app.call(request, varvel::Scope::for_test()).unwrap()
//! # };
//! # assert_eq!(call("/data").headers()["content-type"], "application/json");
//! # assert_eq!(call("/old").headers()["location"], "/");
//! ```

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use varvel::{Body, Mode};

/// 200 with a value as JSON.
///
/// # Errors
/// If the value cannot be JSON: a map with keys that are no texts, or a `Serialize` that fails.
pub fn json<M: Mode>(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Response<Body<M>>> {
    Ok(content("application/json", serde_json::to_vec(value)?))
}

/// 200 with HTML in UTF-8.
pub fn html<M: Mode>(html: impl Into<Bytes>) -> Response<Body<M>> {
    content("text/html; charset=utf-8", html)
}

/// 200 with text in UTF-8.
pub fn text<M: Mode>(text: impl Into<Bytes>) -> Response<Body<M>> {
    content("text/plain; charset=utf-8", text)
}

/// 200 with bytes of this media type.
pub fn content<M: Mode>(media_type: &'static str, content: impl Into<Bytes>) -> Response<Body<M>> {
    let mut response = Response::new(Body::full(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A status and no body.
pub fn empty<M: Mode>(status: StatusCode) -> Response<Body<M>> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A redirection to another URL, absolute or relative to the request's, with one of these statuses:
///
/// | | the method stays | GET from now on |
/// |---|---|---|
/// | for this time | 307 `TEMPORARY_REDIRECT` | 303 `SEE_OTHER`, behind a form |
/// | for ever | 308 `PERMANENT_REDIRECT` | 301 `MOVED_PERMANENTLY` |
///
/// What a URL cannot hold is percent-encoded, so that no text from a client adds a field to the head. That says nothing
/// about where it leads: of a client's text see that it begins with one `/` and not with `//`, or anybody can send your users
/// anywhere.
pub fn redirect<M: Mode>(status: StatusCode, location: &str) -> Response<Body<M>> {
    let mut response = empty(status);
    response.headers_mut().insert(header::LOCATION, self::location(location));
    response
}

/// A URL as Location and its like have it, with what a URL cannot hold percent-encoded.
///
/// ```
/// assert_eq!(varvel_toolkit::respond::location("/notes/a b"), "/notes/a%20b");
/// ```
pub fn location(url: &str) -> HeaderValue {
    const UNSENDABLE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');
    let location = utf8_percent_encode(url, UNSENDABLE).to_string();
    HeaderValue::try_from(location).expect("only visible ASCII is left")
}

/// The Content-Disposition that has browsers save the content under this name (RFC 6266). Control characters are replaced,
/// and browsers ignore directories in it.
///
/// ```
/// use varvel_toolkit::respond::attachment;
///
/// assert_eq!(attachment("plan.txt"), "attachment; filename=\"plan.txt\"");
/// assert_eq!(attachment("naïve.txt"), "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt");
/// ```
pub fn attachment(file_name: &str) -> HeaderValue {
    disposition("attachment", file_name)
}

/// The Content-Disposition that has browsers show the content, and suggest this name where it is saved; otherwise as
/// [`attachment`].
///
/// ```
/// assert_eq!(varvel_toolkit::respond::inline("plan.txt"), "inline; filename=\"plan.txt\"");
/// ```
pub fn inline(file_name: &str) -> HeaderValue {
    disposition("inline", file_name)
}

fn disposition(kind: &str, file_name: &str) -> HeaderValue {
    /// All but what RFC 8187 section 3.2.1 lets stand; a few more are escaped, which it allows.
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    let is_plain = |letter: &char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\' | '%');
    let plain: String =
        file_name.chars().map(|letter| if is_plain(&letter) { letter } else { '_' }).collect();
    let mut value = format!("{kind}; filename=\"{plain}\"");
    if plain != file_name {
        let name = file_name.replace(char::is_control, "_");
        value.push_str(&format!("; filename*=UTF-8''{}", utf8_percent_encode(&name, ESCAPED)));
    }
    HeaderValue::try_from(value).expect("only visible ASCII is left")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use varvel::Push;

    use super::*;

    #[test]
    fn the_media_type_is_said() {
        let media_type = |response: Response<Body<Push>>| response.headers()[header::CONTENT_TYPE].clone();
        assert_eq!(media_type(html("<p>")), "text/html; charset=utf-8");
        assert_eq!(media_type(text("hello")), "text/plain; charset=utf-8");
        assert_eq!(media_type(json("hello").unwrap()), "application/json");
    }

    #[test]
    fn what_cannot_be_json_is_an_error() {
        assert!(json::<Push>(&BTreeMap::from([((1, 2), 3)])).is_err());
    }

    #[test]
    fn a_location_cannot_forge_a_field() {
        let response = redirect::<Push>(StatusCode::SEE_OTHER, "/é?a=b c%20#x\r\nset-cookie: a=b");
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()[header::LOCATION], "/%C3%A9?a=b%20c%20#x%0D%0Aset-cookie:%20a=b");
        assert_eq!(response.headers().len(), 1);
    }
}

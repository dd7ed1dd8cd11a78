//! Answers of the usual kinds. Nothing is to be kept by caches: the next start may show something else.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use varvel::AsyncBody;

pub(super) fn typed(media_type: &'static str, body: impl Into<AsyncBody>) -> Response<AsyncBody> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

pub(super) fn html(body: impl Into<AsyncBody>) -> Response<AsyncBody> {
    typed("text/html; charset=utf-8", body)
}

pub(super) fn text(body: impl Into<AsyncBody>) -> Response<AsyncBody> {
    typed("text/plain; charset=utf-8", body)
}

pub(super) fn json(value: &Value) -> Response<AsyncBody> {
    typed("application/json", format!("{value:#}\n"))
}

pub(super) fn empty(status: StatusCode) -> Response<AsyncBody> {
    let mut response = Response::new(AsyncBody::empty());
    *response.status_mut() = status;
    response
}

/// A short word on what went wrong.
pub(super) fn refuse(status: StatusCode, why: &'static str) -> Response<AsyncBody> {
    let mut response = text(why);
    *response.status_mut() = status;
    response
}

/// There is nothing at the address.
pub(super) fn missing() -> Response<AsyncBody> {
    let mut response = html(include_str!("missing.html"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Says which methods the address has.
pub(super) fn allow(status: StatusCode, methods: &'static str) -> Response<AsyncBody> {
    let mut response = if status == StatusCode::NO_CONTENT {
        empty(status)
    } else {
        refuse(status, "not with this method\n")
    };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

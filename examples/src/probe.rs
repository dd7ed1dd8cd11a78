//! An application that says what reached it, and misbehaves on request: for examining servers from the outside.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | the request body, streamed back |
//! | `/status/N` | status N with the body `status N\n`, or without one where none is allowed |
//! | `/stream/N` | N pieces `chunk 0\n`, `chunk 1\n`, ... of no declared length |
//! | `/slow/N` | after N milliseconds, as any other path |
//! | `/noread` | `noread\n`; the request body is not read |
//! | `/nobody/N` | status N with the body `status N\n`, even where none is allowed |
//! | `/length-short` | declares 10 bytes and gives 5 |
//! | `/length-long` | declares 10 bytes and gives 15 |
//! | `/inject` | tries to set a header field that would be two; the types refuse, so 500 |
//! | `/panic` | panics |
//! | any other | reads the whole body and describes the request as JSON |
//!
//! The description has `method`, `target`, `path`, `query` (`null` without `?`), `version`, `headers` as pairs,
//! `body_len` and `body_sha256`. Target, path, query and header values are as on the wire: each byte is the character
//! of its number, so nothing is lost that is not UTF-8. Fields of one name stay apart and in order. A body that breaks
//! off fails the call with the meaning that the contract gives to it: 400, 408 or 413.
//!
//! A status that cannot be final, such as `/status/103`, is handed to the server all the same: what it makes of it is
//! part of the examination (spec H21). What no status can be, such as `/status/20`, is answered 400.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;
use varvel::{AsyncAppResult, AsyncBody, Scope};

use crate::{
    digest::digest,
    wire_text::{latin1, version},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers one request; see the [table](self).
///
/// # Errors
/// For `/inject`, and when the request body breaks off.
pub async fn probe(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let path = request.uri().path();
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("status", number)) => Ok(status(number, Body::WhereAllowed)),
        Some(("nobody", number)) => Ok(status(number, Body::Always)),
        Some(("stream", number)) => Ok(stream(number.parse().unwrap_or(0))),
        Some(("slow", number)) => {
            let millis = number.parse().unwrap_or(0);
            scope.worker().sleep(Duration::from_millis(millis)).await;
            describe(request, scope).await
        }
        _ => match path {
            "/echo" => Ok(Response::new(request.into_body())),
            "/noread" => Ok(text("noread\n")),
            "/length-short" => Ok(declares_ten_bytes("short")),
            "/length-long" => Ok(declares_ten_bytes("longer than ten")),
            "/inject" => inject(),
            "/panic" => panic!("a client asked for it"),
            _ => describe(request, scope).await,
        },
    }
}

fn text(text: impl Into<Bytes>) -> Response<AsyncBody> {
    let mut response = Response::new(AsyncBody::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

#[derive(PartialEq)]
enum Body {
    Always,
    WhereAllowed,
}

fn status(number: &str, body: Body) -> Response<AsyncBody> {
    let Some(status) = number.parse().ok().and_then(|number| StatusCode::from_u16(number).ok()) else {
        let mut response = text("that is no status\n");
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let forbids_body =
        status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let mut response = if forbids_body && body == Body::WhereAllowed {
        Response::new(AsyncBody::empty())
    } else {
        text(format!("status {}\n", status.as_u16()))
    };
    *response.status_mut() = status;
    response
}

fn stream(pieces: u64) -> Response<AsyncBody> {
    let pieces = (0..pieces).map(|number| Bytes::from(format!("chunk {number}\n")));
    let mut response = Response::new(AsyncBody::from_chunks(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

fn declares_ten_bytes(body: &'static str) -> Response<AsyncBody> {
    let mut response = text(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("10"));
    response
}

fn inject() -> AsyncAppResult {
    let mut response = text("injected\n");
    response.headers_mut().insert("x-inject", HeaderValue::from_bytes(b"a\r\ninjected: yes")?);
    Ok(response)
}

async fn describe(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let (head, body) = request.into_parts();
    let body = digest(body).await?;
    let headers = head.headers.iter().map(|(name, value)| json!([name.as_str(), latin1(value.as_bytes())]));
    let description = json!({
        "method": head.method.as_str(),
        "target": latin1(scope.raw_target()),
        "path": latin1(head.uri.path().as_bytes()),
        "query": head.uri.query().map(|query| latin1(query.as_bytes())),
        "version": version(head.version),
        "headers": headers.collect::<Vec<_>>(),
        "body_len": body.len,
        "body_sha256": body.sha256,
    });
    let mut response = text(description.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use serde_json::Value;
    use varvel::{AppError, BodyErrorKind, FailKind, Frame, FrameRead, ReadBody, app_fn};

    use super::*;
    use crate::testing;

    fn call(request: Request<ReadBody>) -> Result<Response<Bytes>, AppError> {
        testing::call(app_fn(probe), request)
    }

    fn get(target: &str) -> Response<Bytes> {
        call(testing::get(target)).unwrap()
    }

    #[test]
    fn a_request_is_described_as_it_was() {
        let mut request = testing::request("PURGE", "/a%2Fb//?x=1&", "hello");
        let headers = request.headers_mut();
        headers.append("x-tag", HeaderValue::from_static("one"));
        headers.append("x-tag", HeaderValue::from_bytes(b"tw\xf6 ").unwrap());
        let response = call(request).unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let description: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            description,
            json!({
                "method": "PURGE",
                "target": "/", // A scope for tests has this one.
                "path": "/a%2Fb//",
                "query": "x=1&",
                "version": "1.1",
                "headers": [["x-tag", "one"], ["x-tag", "tw\u{f6} "]],
                "body_len": 5,
                "body_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            })
        );
    }

    #[test]
    fn an_absent_query_is_null_and_an_empty_one_is_empty() {
        let query = |target| serde_json::from_slice::<Value>(get(target).body()).unwrap()["query"].clone();
        assert_eq!(query("/"), Value::Null);
        assert_eq!(query("/?"), "");
    }

    #[test]
    fn a_body_that_breaks_off_fails_the_call_with_its_kind() {
        struct Broken;
        impl FrameRead for Broken {
            fn next_frame(&mut self) -> Result<Option<Frame>, varvel::BodyError> {
                Err(varvel::BodyError::new(BodyErrorKind::Incomplete))
            }
        }
        let error = call(Request::new(ReadBody::from_frames(Broken))).unwrap_err();
        assert_eq!(error.kind(), FailKind::Body(BodyErrorKind::Incomplete));
    }

    #[test]
    fn echo_sends_back_what_came() {
        assert_eq!(call(testing::request("POST", "/echo", "ping")).unwrap().body(), "ping");
    }

    #[test]
    fn statuses_come_with_a_body_where_one_is_allowed() {
        for (target, status, body) in [
            ("/status/200", 200, "status 200\n"),
            ("/status/404", 404, "status 404\n"),
            ("/status/204", 204, ""),
            ("/status/304", 304, ""),
            ("/status/103", 103, ""),
            ("/status/999", 999, "status 999\n"),
            ("/nobody/204", 204, "status 204\n"),
            ("/nobody/304", 304, "status 304\n"),
            ("/status/20", 400, "that is no status\n"),
            ("/status/ok", 400, "that is no status\n"),
        ] {
            let response = get(target);
            assert_eq!(
                (response.status().as_u16(), &response.body()[..]),
                (status, body.as_bytes()),
                "{target}"
            );
        }
    }

    #[test]
    fn a_stream_has_as_many_pieces_as_asked_for_and_declares_no_length() {
        assert_eq!(get("/stream/3").body(), "chunk 0\nchunk 1\nchunk 2\n");
        assert_eq!(get("/stream/0").body(), "");
        assert_eq!(stream(3).body().exact_len(), None);
    }

    #[test]
    fn what_is_declared_is_not_what_is_given() {
        for (target, given) in [("/length-short", 5), ("/length-long", 15)] {
            let response = get(target);
            assert_eq!(response.headers()[header::CONTENT_LENGTH], "10");
            assert_eq!(response.body().len(), given);
        }
    }

    #[test]
    fn a_slow_answer_is_a_description_too() {
        let description: Value = serde_json::from_slice(get("/slow/1").body()).unwrap();
        assert_eq!(description["path"], "/slow/1");
    }

    #[test]
    fn a_body_that_nobody_reads_stays_unread() {
        struct Untouchable;
        impl FrameRead for Untouchable {
            fn next_frame(&mut self) -> Result<Option<Frame>, varvel::BodyError> {
                panic!("read")
            }
        }
        let request = Request::builder().uri("/noread").body(ReadBody::from_frames(Untouchable)).unwrap();
        assert_eq!(call(request).unwrap().body(), "noread\n");
    }

    #[test]
    fn an_injection_is_an_internal_error_and_a_panic_a_panic() {
        assert_eq!(call(testing::get("/inject")).unwrap_err().kind(), FailKind::Internal);
        assert!(catch_unwind(|| get("/panic")).is_err());
    }
}

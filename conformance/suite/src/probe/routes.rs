//! The routes: what any HTTP server can serve, in any language, to be examined. They are told in `ROUTES.md`.
//!
//! Each is a name for a few [steps](super::program).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts, uri::Authority};
use serde_json::{Value, json};
use varvel::{FailKind, Scope};

use super::{
    context::Reading,
    program::{Failing, Step, TIMER_MAX, steps_of},
};

/// What a request asks for.
pub(super) fn steps(head: &Parts) -> Vec<Step> {
    let path = head.uri.path().strip_prefix('/').unwrap_or_default();
    let (route, argument) = path.split_once('/').unwrap_or((path, ""));
    let number = argument.parse::<u64>().unwrap_or_default();
    let most = match route {
        "stream" => CHUNKS_MAX,
        "slow" => TIMER_MAX,
        _ => u64::MAX,
    };
    if number > most {
        return [vec![Step::Status(400)], text("that is too much\n")].concat();
    }
    match route {
        "steps" => steps_of(head),
        "echo" => vec![Step::Echo],
        "noread" => text("noread\n"),
        "status" => answer_with(number, !matches!(number, 100..=199 | 204 | 304)),
        "nobody" => answer_with(number, true),
        "stream" => {
            let pieces = (0..number).map(|nth| Step::Data(format!("chunk {nth}\n").into()));
            [content_type("text/plain; charset=utf-8"), Step::Stream(None)]
                .into_iter()
                .chain(pieces)
                .collect()
        }
        "slow" => [vec![Step::Timer(number)], describe()].concat(),
        "length-short" => [vec![declares("10")], text("short")].concat(),
        "length-long" => [vec![declares("10")], text("longer than ten")].concat(),
        // The types of this interface refuse CR and LF in a field.
        "inject" => vec![Step::Fail(Failing::App(FailKind::Internal))],
        "panic" => vec![Step::Panic],
        _ => describe(),
    }
}

/// How many chunks `/stream` sends at most: its steps are made ahead.
const CHUNKS_MAX: u64 = 10_000;

fn describe() -> Vec<Step> {
    vec![Step::Read(None), Step::Pass, content_type("application/json"), Step::Tell]
}

fn text(body: &'static str) -> Vec<Step> {
    vec![content_type("text/plain; charset=utf-8"), Step::Full(Bytes::from_static(body.as_bytes()))]
}

fn answer_with(status: u64, with_body: bool) -> Vec<Step> {
    let Some(status) = u16::try_from(status).ok().filter(|status| (100..=999).contains(status)) else {
        return [vec![Step::Status(400)], text("that is no status\n")].concat();
    };
    let mut steps = vec![Step::Status(status)];
    if with_body {
        steps.push(content_type("text/plain; charset=utf-8"));
        steps.push(Step::Full(format!("status {status}\n").into()));
    }
    steps
}

fn content_type(of: &'static str) -> Step {
    Step::Header(header::CONTENT_TYPE, HeaderValue::from_static(of))
}

fn declares(length: &'static str) -> Step {
    Step::Header(header::CONTENT_LENGTH, HeaderValue::from_static(length))
}

/// What reached the application, as the routes tell it.
pub(super) fn description(head: &Parts, scope: &Scope, read: &Reading) -> Value {
    json!({
        "method": head.method.as_str(),
        "target": latin1(scope.raw_target()),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            _ => "2",
        },
        "authority": scope.authority().map(Authority::as_str),
        "headers": pairs(&head.headers),
        "body_len": read.len(),
        "body_sha256": read.digest(),
        "trailers": read.trailers().map(pairs).unwrap_or_default(),
    })
}

fn pairs(fields: &HeaderMap) -> Vec<[String; 2]> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| [name.to_string(), latin1(value.as_bytes())];
    fields.iter().map(pair).collect()
}

/// Each byte as the character of its number.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response, StatusCode};
    use varvel::{
        App, AppError, AppFactory, BodyError, BodyErrorKind, Frame, FrameRead, FrameSink, ReadBody, Scope,
        WriteBody,
    };

    use super::*;
    use crate::Probe;

    fn call(request: Request<ReadBody>) -> Result<Response<WriteBody>, AppError> {
        let scope = Scope::for_test();
        let app = AppFactory::build(&Probe::routes(), scope.worker()).unwrap();
        App::call(&app, request, scope)
    }

    fn get(target: &str) -> Response<Vec<u8>> {
        struct Sink(Vec<u8>);
        impl FrameSink for Sink {
            fn data(&mut self, data: Bytes) -> Result<(), BodyError> {
                self.0.extend(data);
                Ok(())
            }
            fn flush(&mut self) -> Result<(), BodyError> {
                Ok(())
            }
            fn trailers(&mut self, _: HeaderMap) -> Result<(), BodyError> {
                Ok(())
            }
        }
        let response = call(Request::builder().uri(target).body(ReadBody::empty()).unwrap()).unwrap();
        let (head, body) = response.into_parts();
        let mut sink = Sink(Vec::new());
        body.write_to(&mut sink).unwrap();
        Response::from_parts(head, sink.0)
    }

    #[test]
    fn a_request_is_described_as_it_was() {
        let request = Request::builder()
            .method("PURGE")
            .uri("/a%2Fb//?x=1&")
            .header("x-tag", "one")
            .header("x-tag", HeaderValue::from_bytes(b"tw\xf6 ").unwrap())
            .body(ReadBody::from("hello"))
            .unwrap();
        let response = call(request).unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = response.into_body();
        let varvel::BodyParts::Full(text) = body.into_parts() else { panic!("a description in one piece") };
        assert_eq!(
            serde_json::from_slice::<Value>(&text).unwrap(),
            json!({
                "method": "PURGE",
                "target": "/", // A scope for tests has this one.
                "path": "/a%2Fb//",
                "query": "x=1&",
                "version": "1.1",
                "authority": null,
                "headers": [["x-tag", "one"], ["x-tag", "tw\u{f6} "]],
                "body_len": 5,
                "body_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                "trailers": [],
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
            fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
                Err(BodyError::new(BodyErrorKind::Incomplete))
            }
        }
        let error = call(Request::new(ReadBody::from_frames(Broken))).unwrap_err();
        assert_eq!(error.kind(), FailKind::Body(BodyErrorKind::Incomplete));
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
    fn routes_answer_what_they_are_for() {
        assert_eq!(get("/stream/3").body(), b"chunk 0\nchunk 1\nchunk 2\n");
        assert_eq!(get("/stream/0").body(), b"");
        for too_much in ["/stream/1000000000", "/slow/18446744073709551615"] {
            assert_eq!(get(too_much).status(), StatusCode::BAD_REQUEST, "{too_much}");
        }
        assert_eq!(get("/length-short").headers()[header::CONTENT_LENGTH], "10");
        assert_eq!(get("/length-short").body().len(), 5);
        assert_eq!(get("/length-long").body().len(), 15);
        let steps = get("/steps?status=201&header=x-a:b&stream&data=one&flush&data=two");
        assert_eq!(
            (steps.status(), &steps.headers()["x-a"]),
            (StatusCode::CREATED, &HeaderValue::from_static("b"))
        );
        assert_eq!(steps.body(), b"onetwo");
        assert_eq!(get("/steps?steq").status().as_u16(), 599);
    }

    #[test]
    fn the_corpus_knows_which_routes_do_something_particular() {
        let steps_of =
            |target: String| steps(&Request::builder().uri(target).body(()).unwrap().into_parts().0);
        for route in crate::corpus::ROUTES {
            let does =
                [format!("/{route}"), format!("/{route}/200"), format!("/{route}?body=a")].map(steps_of);
            assert!(does.into_iter().any(|steps| steps != describe()), "{route}");
        }
        assert_eq!(steps_of("/unknown/200?body=a".to_owned()), describe());
    }

    #[test]
    fn a_body_that_nobody_reads_stays_unread() {
        struct Untouchable;
        impl FrameRead for Untouchable {
            fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
                panic!("read")
            }
        }
        let request = Request::builder().uri("/noread").body(ReadBody::from_frames(Untouchable)).unwrap();
        assert_eq!(call(request).unwrap().status(), StatusCode::OK);
    }
}

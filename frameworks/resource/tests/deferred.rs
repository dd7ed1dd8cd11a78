//! Answers that come later, from another thread (spec M9): what is around a responder or a mount sees them, and not the
//! placeholder that stands in for them.

use std::{io, thread};

use http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use varvel::{AppError, AppResult, Reply, Scope, WriteBody, sync_fn};
use varvel_resource::{
    App, Middleware, Request, RequestHead, Resource, Responders, Response, ResponseHead, Result, errors,
};
use varvel_test::Client;

mod support;

use support::in_both_forms;

/// Answers from another thread, as the query says.
fn defer(scope: &mut Scope, with: String) -> AppResult {
    let (placeholder, reply) = scope.take_deferral().unwrap().defer();
    thread::spawn(move || send(reply, &with));
    Ok(placeholder)
}

fn send(reply: Reply, with: &str) {
    let _ = match with {
        "problem" => reply.fail(errors::conflict("Somebody was first.").into()),
        "io" => reply.fail(AppError::from(io::Error::other("broker"))),
        "nothing" => return drop(reply),
        _ => {
            let mut response = HttpResponse::new(WriteBody::from("later"));
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"v1\""));
            reply.send(response)
        }
    };
}

struct Later;

impl Resource for Later {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).after(stamp)
    }
}

impl Later {
    fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
        resp.headers.insert(header::AGE, HeaderValue::from(7));
        let with = req.query_string().to_owned();
        resp.replace(defer(req.scope(), with)?);
        Ok(())
    }
}

const SEEN: HeaderName = HeaderName::from_static("x-seen");

/// A hook behind the responder.
fn stamp(_: &mut RequestHead, resp: &mut ResponseHead) -> Result {
    let status = resp.status.as_u16();
    resp.append_header(SEEN, format!("after {status}"))
}

struct Stamp;

impl Middleware for Stamp {
    fn process_response(&self, req: &mut RequestHead, resp: &mut ResponseHead, succeeded: bool) -> Result {
        let status = resp.status.as_u16();
        let etag = resp.get_header("etag").unwrap_or("none").to_owned();
        resp.append_header(SEEN, format!("{} {status} {succeeded} {etag}", req.path()))
    }
}

fn app() -> App {
    let mut app = App::new();
    app.add_middleware(Stamp);
    app.add_error_handler(|_: &io::Error, _, resp| {
        resp.status = StatusCode::BAD_GATEWAY;
        resp.set_text("no broker");
        Ok(())
    });
    app.add_route("/responder", Later).unwrap();
    let mounted = sync_fn(|request: http::Request<_>, mut scope: Scope| {
        defer(&mut scope, request.uri().query().unwrap_or_default().to_owned())
    });
    app.add_app("/mount", mounted).unwrap();
    app
}

fn seen(response: &varvel_test::Response) -> Vec<&str> {
    response.headers().get_all(SEEN).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn middleware_and_hooks_see_a_deferred_answer_and_not_its_placeholder() {
    in_both_forms(app(), |client: &Client| {
        let response = client.get("/responder").send();
        assert_eq!((response.status(), response.text()), (StatusCode::ACCEPTED, "later"));
        assert_eq!(response.header("age"), Some("7"), "what the responder had set stays");
        assert_eq!(seen(&response), ["after 202", "/responder 202 true \"v1\""]);
        let response = client.get("/mount").send();
        assert_eq!((response.status(), response.text()), (StatusCode::ACCEPTED, "later"));
        assert_eq!(seen(&response), ["/mount 202 true \"v1\""]);
    });
}

#[test]
fn a_failure_that_comes_later_is_answered_as_one_that_comes_at_once() {
    in_both_forms(app(), |client| {
        for path in ["/responder", "/mount"] {
            let response = client.get(&format!("{path}?problem")).send();
            assert_eq!(response.status(), StatusCode::CONFLICT);
            assert!(response.text().contains("Somebody was first."));
            assert_eq!(seen(&response), [format!("{path} 409 false none")]);

            let response = client.get(&format!("{path}?io")).send();
            assert_eq!((response.status(), response.text()), (StatusCode::BAD_GATEWAY, "no broker"));

            let response = client.get(&format!("{path}?nothing")).try_send().unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(seen(&response), [format!("{path} 500 false none")]);
            assert_eq!(response.reports().len(), 1, "{:?}", response.reports());
        }
    });
}

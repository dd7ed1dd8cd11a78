//! What becomes of errors, in both forms of the contract.

use std::{error::Error, fmt, io};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use varvel::{AppError, AsyncAppResult, Caps, FailKind, app_fn, sync_fn};
use varvel_lint::Lint;
use varvel_resource::{
    App, AsyncMiddleware, AsyncRequest, AsyncResponse, HttpError, Middleware, Request, RequestHead, Resource,
    Responders, Response, ResponseHead, Result, errors,
};
use varvel_test::{Recorded, Setup};
use varvel_toolkit::{Endpoint, conditional::ETag, files::Files};

mod support;

use support::{in_both_forms, one, pending_once};

#[derive(Debug)]
struct NoSuchUser(io::Error);

impl fmt::Display for NoSuchUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such user")
    }
}

impl Error for NoSuchUser {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_handler_is_for_a_type_and_for_all_that_come_from_it() {
    let fails = || {
        one(|req, resp| {
            resp.set_etag(&ETag::strong("unwanted").unwrap());
            match &*req.get_param("with").unwrap_or_default() {
                "user" => Err(NoSuchUser(io::Error::other("disk")).into()),
                "io" => Err(io::Error::other("disk").into()),
                "gone" => Err(errors::gone("It was here.").into()),
                "teapot" => Err(errors::im_a_teapot("Short and stout.").into()),
                _ => Err("12x".parse::<i32>().unwrap_err().into()),
            }
        })
    };
    let mut app = fails();
    app.add_error_handler(|error: &io::Error, _, resp| {
        resp.status = StatusCode::SERVICE_UNAVAILABLE;
        resp.set_text(format!("io: {error}"));
        Ok(())
    });
    app.add_error_handler_if(
        |error: &HttpError| error.status() == StatusCode::GONE,
        |_, _, _| Err(errors::not_found().with_detail("by a handler").into()),
    );
    in_both_forms(app.clone(), |client| {
        let response = client.get("/?with=user").send();
        assert_eq!((response.status().as_u16(), response.text()), (503, "io: disk"));
        assert_eq!(response.header("etag"), None);
        assert_eq!(client.get("/?with=io").send().text(), "io: disk");
        let response = client.get("/?with=gone").send();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(response.text().contains("by a handler"));
        assert_eq!(client.get("/?with=teapot").send().status(), StatusCode::IM_A_TEAPOT);
    });
    app.add_error_handler(|_: &NoSuchUser, _, resp| {
        resp.status = StatusCode::NOT_FOUND;
        Ok(())
    });
    app.set_error_serializer(|_, resp, error| resp.set_text(format!("<{}>", error.title())));
    in_both_forms(app, |client| {
        assert_eq!(client.get("/?with=user").send().status(), StatusCode::NOT_FOUND);
        assert_eq!(client.get("/?with=io").send().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.get("/?with=teapot").send().text(), "<I'm a teapot>");
    });
}

/// Sets a field in each answer, and says whether the request succeeded.
struct Stamp;

impl Middleware for Stamp {
    fn process_response(&self, _: &mut RequestHead, resp: &mut ResponseHead, succeeded: bool) -> Result {
        resp.set_header(HeaderName::from_static("x-stamp"), if succeeded { "ok" } else { "failed" })
    }
}

#[test]
fn a_failure_is_answered_with_500_which_middleware_shapes_and_the_server_is_told() {
    let mut app = one(|req, _| match &*req.get_param("with").unwrap_or_default() {
        "cause" => Err(errors::internal_server_error("the secret cause").with_detail("We know.").into()),
        _ => Err("12x".parse::<i32>().unwrap_err().into()),
    });
    app.add_middleware(Stamp);
    in_both_forms(app, |client| {
        let response = client.get("/?with=anything").send();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.header("x-stamp"), Some("failed"));
        assert_eq!(response.text(), r#"{"title":"Internal Server Error","status":500}"#);
        let [record] = response.reports() else { panic!("{:?}", response.reports()) };
        let error = Some("invalid digit found in string".to_owned());
        assert_eq!(record.event, Recorded::AppFailed { kind: FailKind::Internal, error });
        assert!(record.to_string().contains("[GET /?with=anything connection "), "{record}");

        let response = client.get("/?with=cause").send();
        assert_eq!(response.header("x-stamp"), Some("failed"));
        assert!(response.text().contains("We know."));
        assert!(!response.text().contains("secret"));
        let [record] = response.reports() else { panic!("{:?}", response.reports()) };
        assert!(record.to_string().contains("the secret cause"));
    });
}

#[test]
fn the_cause_of_what_the_server_side_got_wrong_is_reported_and_no_other() {
    let app = one(|req, _| {
        let error = match &*req.get_param("with").unwrap_or_default() {
            "upstream" => HttpError::new(StatusCode::BAD_GATEWAY),
            "query" => errors::bad_request("No."),
            _ => return Err(errors::service_unavailable("Every night.", 3600).into()),
        };
        Err(error.caused_by(io::Error::other("the cause")).into())
    });
    in_both_forms(app, |client| {
        let response = client.get("/?with=upstream").send();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let [record] = response.reports() else { panic!("{:?}", response.reports()) };
        assert!(record.to_string().contains("502 Bad Gateway: the cause"), "{record}");
        for (with, status) in [("query", 400), ("maintenance", 503)] {
            let response = client.get(&format!("/?with={with}")).send();
            assert_eq!((response.status().as_u16(), response.reports().len()), (status, 0), "{with}");
        }
    });
}

/// Panics where the query says.
struct Panics;

impl Resource for Panics {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
            .post(Self::on_post)
            .put(Self::on_put)
            .before(|req: &mut RequestHead, _: &mut ResponseHead| panic_in("hook", req))
            .after(panic_in_async_hook)
    }
}

impl Panics {
    fn on_get(&self, req: &mut Request, _: &mut Response) -> Result {
        panic_in("responder", req)
    }

    async fn on_post(&self, req: &mut AsyncRequest, _: &mut AsyncResponse) -> Result {
        pending_once().await;
        panic_in("responder", req)
    }

    /// Panics before there is a future.
    fn on_put<'c>(
        &'c self,
        req: &'c mut AsyncRequest,
        _: &'c mut AsyncResponse,
    ) -> std::future::Ready<Result> {
        std::future::ready(panic_in("responder", req))
    }
}

async fn panic_in_async_hook(req: &mut RequestHead, _: &mut ResponseHead) -> Result {
    pending_once().await;
    panic_in("async hook", req)
}

impl Middleware for Panics {
    fn process_request(&self, req: &mut RequestHead, _: &mut ResponseHead) -> Result {
        panic_in("process_request", req)
    }

    fn process_resource(&self, req: &mut RequestHead, _: &mut ResponseHead) -> Result {
        panic_in("process_resource", req)
    }

    fn process_response(&self, req: &mut RequestHead, _: &mut ResponseHead, _: bool) -> Result {
        panic_in("process_response", req)
    }
}

struct AsyncPanics;

impl AsyncMiddleware for AsyncPanics {
    async fn process_request(&self, req: &mut RequestHead, _: &mut ResponseHead) -> Result {
        pending_once().await;
        panic_in("async process_request", req)
    }
}

fn panic_in(place: &str, req: &RequestHead) -> Result {
    assert!(req.get_param("in").as_deref() != Some(place), "a mistake in a {place}");
    Ok(())
}

#[test]
fn a_panic_is_a_failure_which_middleware_shapes_and_the_server_is_told_once() {
    let mut app = App::new();
    app.add_middleware(Stamp).add_middleware(Panics).add_middleware(AsyncPanics);
    app.add_route("/", Panics).unwrap();
    app.add_app("/sync", Endpoint::blocking(sync_fn(|_, _| panic!("a mistake in a mount")))).unwrap();
    app.add_app("/async", Endpoint::polled(app_fn(|_, _| async { panic!("a mistake in a mount") }))).unwrap();
    let early = app_fn(|_, _| -> std::future::Ready<AsyncAppResult> { panic!("a mistake in a mount") });
    app.add_app("/early", Endpoint::polled(early)).unwrap();
    let mut with_handler = app.clone();
    with_handler.set_uncaught_error_handler(|failure, _, resp| {
        resp.status = StatusCode::INTERNAL_SERVER_ERROR;
        resp.set_text(failure.source().map(ToString::to_string).unwrap_or_default());
        Ok(())
    });
    let places = [
        "process_request",
        "async process_request",
        "process_resource",
        "hook",
        "responder",
        "async hook",
        "process_response",
    ];
    let methods = [Method::GET, Method::POST, Method::PUT];
    let asked = places.into_iter().flat_map(|place| {
        methods.clone().map(|method| (method, format!("/?in={}", place.replace(' ', "+")), place))
    });
    let mounts = ["/sync", "/async", "/early"].map(|path| (Method::GET, path.to_owned(), "mount"));
    let asked: Vec<_> = asked.chain(mounts).collect();
    in_both_forms(app, |client| {
        for (method, path, place) in &asked {
            let response = client.request(method.clone(), path).try_send().unwrap();
            assert_eq!(
                response.text(),
                r#"{"title":"Internal Server Error","status":500}"#,
                "{method} {path}"
            );
            assert_eq!(response.header("x-stamp"), Some("failed"), "{method} {path}");
            let [record] = response.reports() else { panic!("{method} {path}: {:?}", response.reports()) };
            let line = record.to_string();
            assert!(line.contains("panic in call: a mistake in a ") && line.contains(place), "{line}");
        }
        assert_eq!(client.get("/").send().header("x-stamp"), Some("ok"));
    });
    in_both_forms(with_handler, |client| {
        let response = client.get("/?in=responder").try_send().unwrap();
        assert_eq!(response.text(), "panic: a mistake in a responder");
        assert_eq!(response.reports().len(), 1);
    });
}

/// A responder of each form with nothing around it.
struct Alone;

impl Resource for Alone {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post)
    }
}

impl Alone {
    fn on_get(&self, _: &mut Request, _: &mut Response) -> Result {
        panic!("a mistake")
    }

    async fn on_post(&self, _: &mut AsyncRequest, _: &mut AsyncResponse) -> Result {
        pending_once().await;
        panic!("a mistake")
    }
}

#[test]
fn a_panic_with_nothing_around_it_has_the_applications_own_body() {
    let mut app = App::new();
    app.add_route("/", Alone).unwrap();
    app.set_error_serializer(|_, resp, error| resp.set_text(format!("<{}>", error.title())));
    in_both_forms(app, |client| {
        for method in [Method::GET, Method::POST] {
            let response = client.request(method.clone(), "/").try_send().unwrap();
            assert_eq!((response.status().as_u16(), response.text()), (500, "<Internal Server Error>"));
            let [record] = response.reports() else { panic!("{method}: {:?}", response.reports()) };
            assert!(record.to_string().contains("panic in call: a mistake"), "{record}");
        }
    });
}

#[test]
fn what_is_not_to_be_answered_is_the_servers() {
    let mut app = one(|_, _| Err(AppError::abort()));
    app.add_middleware(Stamp);
    app.set_uncaught_error_handler(|_, _, _| panic!("called for what is no failure of the application"));
    in_both_forms(app, |client| assert!(client.get("/").try_send().is_err()));
}

#[test]
fn uncaught_errors_have_one_handler_and_are_reported_all_the_same() {
    let mut app = one(|req, _| match &*req.get_param("with").unwrap_or_default() {
        "handled" => Err(io::Error::other("disk").into()),
        "http" => Err(errors::gone("It was here.").into()),
        "text" => Err(AppError::internal("no error type at all")),
        _ => Err("12x".parse::<i32>().unwrap_err().into()),
    });
    app.add_error_handler(|_: &io::Error, _, resp| {
        resp.status = StatusCode::BAD_GATEWAY;
        Ok(())
    });
    app.set_uncaught_error_handler(|failure, req, resp| {
        if failure.source().is_some_and(|error| error.is::<std::num::ParseIntError>()) {
            return Err(errors::gone("This is not what clients are told.").into());
        }
        resp.status = StatusCode::INTERNAL_SERVER_ERROR;
        resp.set_text(format!("{} failed", req.path()));
        Ok(())
    });
    in_both_forms(app, |client| {
        let response = client.get("/?with=text").send();
        assert_eq!((response.status().as_u16(), response.text()), (500, "/ failed"));
        assert_eq!(response.reports().len(), 1);
        for (with, status, reports) in [("handled", 502, 0), ("http", 410, 0), ("int", 500, 1)] {
            let response = client.get(&format!("/?with={with}")).send();
            assert_eq!(response.status().as_u16(), status, "{with}");
            assert_eq!(response.reports().len(), reports, "{with}");
        }
    });
}

#[test]
fn a_sync_responder_for_which_there_is_no_thread_is_answered_by_way_of_middleware() {
    let mut app = one(|_, _| Ok(()));
    app.add_middleware(Stamp);
    let client = Setup::new().without(Caps::OFFLOAD).app(Lint::new(app));
    let response = client.get("/").send();
    assert_eq!((response.status().as_u16(), response.header("retry-after")), (503, Some("1")));
    assert_eq!(response.header("x-stamp"), Some("failed"));
    assert_eq!(response.reports().len(), 1);
}

struct Reads;

impl Resource for Reads {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.post(Self::on_post)
    }
}

impl Reads {
    async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.set_data(req.data().await?);
        Ok(())
    }
}

#[test]
fn a_body_that_is_too_large_is_answered_as_any_error() {
    let mut app = App::new();
    app.add_route("/", Reads).unwrap().add_middleware(Stamp).set_media_bytes_max(3);
    app.set_error_serializer(errors::falcon_serializer);
    in_both_forms(app, |client| {
        assert_eq!(client.post("/").body("123").send().text(), "123");
        let response = client.post("/").body("1234").send();
        assert_eq!(response.text(), r#"{"title":"Payload Too Large"}"#);
        assert_eq!((response.status().as_u16(), response.header("x-stamp")), (413, Some("failed")));
        assert!(response.reports().is_empty());
    });
}

#[test]
fn falcons_own_bodies_are_there_for_who_wants_them() {
    let mut app = one(|req, _| match &*req.get_param("with").unwrap_or_default() {
        "all" => Err(errors::conflict("<taken>")
            .with_title("No")
            .with_code(17)
            .with_link("https://example.com/17", "Names")
            .into()),
        _ => Err(errors::missing_header("x-key").into()),
    });
    app.set_error_serializer(errors::falcon_serializer);
    in_both_forms(app, |client| {
        let of = |accept: &'static str| {
            let response = client.get("/?with=all").header("accept", accept).send();
            assert_eq!(response.status(), StatusCode::CONFLICT);
            assert_eq!(response.header("vary"), Some("accept"));
            assert_eq!(response.header("link"), Some("<https://example.com/17>; rel=\"help\""));
            (response.header("content-type").map(str::to_owned), response.body().clone())
        };
        let json = concat!(
            r#"{"title":"No","description":"<taken>","code":17,"#,
            r#""link":{"href":"https://example.com/17","rel":"help","text":"Names"}}"#
        );
        for accept in ["*/*", "application/json", "application/xml, application/json", "application/hal+json"]
        {
            assert_eq!(of(accept), (Some("application/json".into()), json.into()), "{accept}");
        }
        let xml = concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?><error><title>No</title>"#,
            "<description>&lt;taken&gt;</description><code>17</code><link><text>Names</text>",
            "<href>https://example.com/17</href><rel>help</rel></link></error>"
        );
        for (accept, media_type) in [
            ("application/xml, application/json;q=0.9", "application/xml"),
            ("text/xml", "text/xml"),
            ("application/atom+xml", "application/xml"),
        ] {
            assert_eq!(of(accept), (Some(media_type.into()), xml.into()), "{accept}");
        }
        let (media_type, packed) = of("application/msgpack");
        assert_eq!(media_type.as_deref(), Some("application/msgpack"));
        let unpacked: serde_json::Value = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(unpacked, serde_json::from_str::<serde_json::Value>(json).unwrap());
        assert_eq!(of("image/png"), (None, "".into()));
        // As in Falcon, what is not told has no place in it.
        let text = r#"{"title":"Bad Request","description":"The header field x-key is missing.","code":"missing_header"}"#;
        assert_eq!(client.get("/").send().text(), text);
    });
}

#[test]
fn each_error_has_the_status_of_falcons_class_and_the_fields_that_go_with_it() {
    let made = [
        (400, errors::bad_request("x")),
        (400, errors::invalid_header("x", "x-key")),
        (400, errors::missing_header("x-key")),
        (400, errors::invalid_param("x", "limit")),
        (400, errors::missing_param("limit")),
        (400, errors::media_not_found("application/json")),
        (400, errors::media_malformed("application/json", "x")),
        (401, errors::unauthorized("x", "Bearer")),
        (403, errors::forbidden("x")),
        (404, errors::not_found()),
        (405, errors::method_not_allowed(&[http::Method::GET, http::Method::PUT])),
        (406, errors::not_acceptable("x")),
        (409, errors::conflict("x")),
        (410, errors::gone("x")),
        (411, errors::length_required("x")),
        (412, errors::precondition_failed("x")),
        (413, errors::content_too_large("x")),
        (414, errors::uri_too_long("x")),
        (415, errors::unsupported_media_type("x")),
        (416, errors::range_not_satisfiable(100)),
        (418, errors::im_a_teapot("x")),
        (422, errors::unprocessable_entity("x")),
        (422, errors::media_validation("x")),
        (423, errors::locked("x")),
        (424, errors::failed_dependency("x")),
        (428, errors::precondition_required("x")),
        (429, errors::too_many_requests("x", 7)),
        (431, errors::request_header_fields_too_large("x")),
        (451, errors::unavailable_for_legal_reasons("x")),
        (500, errors::internal_server_error("x")),
        (501, errors::not_implemented("x")),
        (502, errors::bad_gateway("x")),
        (503, errors::service_unavailable("x", 8)),
        (504, errors::gateway_timeout("x")),
        (505, errors::version_not_supported("x")),
        (507, errors::insufficient_storage("x")),
        (508, errors::loop_detected("x")),
        (511, errors::network_authentication_required("x")),
    ];
    for (status, error) in &made {
        assert_eq!(error.status().as_u16(), *status, "{error}");
    }
    let field = |status: u16, name: HeaderName| {
        let (_, error) = made.iter().find(|(known, _)| *known == status).unwrap();
        error.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap().to_owned()
    };
    assert_eq!(field(401, header::WWW_AUTHENTICATE), "Bearer");
    assert_eq!(field(405, header::ALLOW), "GET, PUT");
    assert_eq!(field(416, header::CONTENT_RANGE), "bytes */100");
    assert_eq!(field(429, header::RETRY_AFTER), "7");
    assert_eq!(field(503, header::RETRY_AFTER), "8");
}

#[test]
fn errors_of_files_have_the_applications_own_bodies() {
    let mut app = App::new();
    app.add_static_route("/static", env!("CARGO_MANIFEST_DIR")).unwrap();
    app.add_app("/sources", Files::new(env!("CARGO_MANIFEST_DIR")).unwrap()).unwrap();
    app.set_error_serializer(|req, resp, error| resp.set_text(format!("{} {}", error.title(), req.path())));
    app.add_error_handler_if(
        |error: &HttpError| error.status() == StatusCode::METHOD_NOT_ALLOWED,
        |error, _, resp| {
            resp.headers.extend(error.headers().clone());
            Ok(())
        },
    );
    app.add_middleware(Stamp);
    in_both_forms(app, |client| {
        for prefix in ["/static", "/sources"] {
            assert_eq!(client.get(&format!("{prefix}/Cargo.toml")).send().header("x-stamp"), Some("ok"));
            let path = format!("{prefix}/nowhere");
            let response = client.get(&path).send();
            assert_eq!(response.text(), format!("Not Found {path}"));
            assert_eq!((response.status().as_u16(), response.header("x-stamp")), (404, Some("failed")));
            let handled = client.post(&path).send();
            assert_eq!((handled.status().as_u16(), handled.header("allow")), (200, Some("GET, HEAD")));
        }
    });
}

//! What applications do, in both forms and under the eyes of the lint.

use std::{
    error::Error as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use varvel_lint::Lint;
use varvel_micro::{
    App, AsyncBody, Blocking, Bytes, Cookies, Error, Failure, Files, Form, Group, HeaderMap, Html, HttpError,
    Json, Method, Multipart, Path, Query, ReadBody, Redirect, Request, Respond, Response, Scope, Session,
    SetCookie, StartError, State, StatusCode, Urls, WebSocketUpgrade, WriteBody,
};
use varvel_test::Client;

/// The same application called by a sync server and by an event loop.
fn clients(app: &App) -> [Client; 2] {
    [Client::sync(Lint::new(app.clone())), Client::new(Lint::new(app.clone()))]
}

/// Whether it is so in both forms.
fn check(app: &App, what: impl Fn(&Client)) {
    clients(app).iter().for_each(what);
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Item {
    name: String,
    #[serde(default)]
    count: u32,
}

#[test]
fn arguments_take_the_fields_of_the_path_in_their_order() {
    let mut app = App::new();
    app.get("/{a}/then/{b:int}", |a: String, b: i64| format!("{a} {b}"));
    app.get("/async/{a}/{b}", async |a: char, b: f64| format!("{a} {b}"));
    app.get("/address/{address}", |Path(address): Path<std::net::IpAddr>| address.is_loopback().to_string());
    app.get("/some/{a}/{b}", |a: String| a);
    check(&app, |client| {
        assert_eq!(client.get("/caf%C3%A9/then/-3").send().text(), "café -3");
        assert_eq!(client.get("/async/x/0.5").send().text(), "x 0.5");
        assert_eq!(client.get("/address/127.0.0.1").send().text(), "true");
        assert_eq!(client.get("/some/first/second").send().text(), "first");
        // What is no such value is nowhere.
        for path in ["/a/then/b", "/async/xy/1", "/async/x/y", "/address/here"] {
            assert_eq!(client.get(path).send().status(), 404, "{path}");
        }
    });
}

#[test]
fn content_becomes_a_type_or_a_problem_that_programs_can_read() {
    let mut app = App::new();
    app.content_bytes_max(100);
    app.post("/json", |Json(item): Json<Item>| Json(item));
    app.post("/later", async |Json(item): Json<Item>| Json(item));
    app.post("/form", |Form(item): Form<Item>| Json(item));
    app.get("/query", async |Query(item): Query<Item>| Json(item));
    app.post("/bytes", async |bytes: Bytes| bytes.len().to_string());
    check(&app, |client| {
        let item = Item { name: "nut".into(), count: 3 };
        for path in ["/json", "/later"] {
            let response = client.post(path).json(&item).send();
            assert_eq!(response.header("content-type"), Some("application/json"));
            assert_eq!(response.json::<Item>(), item);
            let problem = |body: &'static str, media_type: &str| {
                let response = client.post(path).header("content-type", media_type).body(body).send();
                assert_eq!(response.header("content-type"), Some("application/problem+json"));
                let problem: serde_json::Value = response.json();
                (response.status().as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
            };
            assert_eq!(problem("{", "application/json"), (400, "invalid_json".into()));
            assert_eq!(problem("{}", "application/json"), (422, "missing_field".into()));
            assert_eq!(problem("{}", "text/plain"), (415, "unsupported_media_type".into()));
            let coded =
                |coding: &str| client.post(path).json(&item).header("content-encoding", coding).send();
            assert_eq!(coded("identity").status(), 200);
            let gzip = coded("gzip");
            assert_eq!((gzip.status().as_u16(), gzip.header("accept-encoding")), (415, Some("identity")));
        }
        let form = client.post("/form").header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(form.body("name=nut&count=3").send().json::<Item>(), item);
        assert_eq!(client.post("/form").body("name=nut").send().status(), 415);
        assert_eq!(client.get("/query?name=nut&count=3").send().json::<Item>(), item);
        let refused = client.get("/query?name=nut&count=many").send();
        assert_eq!(
            (refused.status().as_u16(), refused.json::<serde_json::Value>()["parameter"].as_str()),
            (400, Some("count"))
        );
        // Content is too large, a query is not.
        let long = format!("/query?name=nut{}", "&a".repeat(2000));
        assert_eq!(client.get(&long).send().status(), 200);
        assert_eq!(client.post("/bytes").body("x".repeat(100)).send().text(), "100");
        assert_eq!(client.post("/bytes").body("x".repeat(101)).send().status(), 413);
    });
}

#[test]
fn content_of_another_type_is_refused_before_it_has_come() {
    let mut app = App::new();
    app.post("/json", |_: HeaderMap, Json(item): Json<Item>| Json(item));
    app.post("/form", async |Form(item): Form<Item>| Json(item));
    // A check of one's own comes first all the same.
    let mut group = Group::new("", "/closed");
    group.before(|| Some(StatusCode::FORBIDDEN));
    group.post("", |Json(item): Json<Item>| Json(item));
    app.group(group);
    check(&app, |client| {
        for (path, status) in [("/json", 415), ("/form", 415), ("/closed", 403)] {
            // It never ends.
            let mut exchange = client.post(path).header("content-type", "text/csv").streaming().start();
            exchange.send_data("a,b,c");
            assert_eq!(exchange.status(), status, "{path}");
        }
        let coded = client.post("/json").header("content-type", "application/json");
        assert_eq!(coded.header("content-encoding", "gzip").streaming().start().status(), 415);
    });
}

#[test]
fn a_handler_can_be_told_why_an_argument_is_refused() {
    fn shown(form: Result<Form<Item>, HttpError>) -> (StatusCode, String) {
        match form {
            Ok(Form(item)) => (StatusCode::OK, item.name),
            Err(error) => (error.status(), format!("again: {error}")),
        }
    }
    let mut app = App::new();
    app.content_bytes_max(100);
    app.post("/sync", shown);
    app.post("/async", async |form: Result<Form<Item>, HttpError>| shown(form));
    app.get("/{n}", |n: Result<u32, HttpError>| n.is_err().to_string());
    check(&app, |client| {
        for path in ["/sync", "/async"] {
            let form = |content: String| {
                let request = client.post(path).header("content-type", "application/x-www-form-urlencoded");
                let response = request.body(content).send();
                (response.status().as_u16(), response.text().to_owned())
            };
            assert_eq!(form("name=nut".into()), (200, "nut".into()));
            let (status, page) = form("name=nut&count=many".into());
            assert!(status == 422 && page.starts_with("again") && page.contains("count"), "{page}");
            assert_eq!(client.post(path).body("name=nut").send().status(), 415);
            // The content is read before any argument is made.
            assert_eq!(form("x".repeat(101)).0, 413);
        }
        assert_eq!((client.get("/x").send().text(), client.get("/1").send().text()), ("true", "false"));
    });
}

#[test]
fn whatever_responds_is_an_answer() {
    let mut app = App::new();
    app.get("/html", || Html("<p>"));
    app.get("/nothing", || ());
    app.get("/status", async || StatusCode::IM_A_TEAPOT);
    app.get("/created", || (StatusCode::CREATED, [("location", "/1")], "made"));
    app.get("/fields", || ([("x-a", "1"), ("content-type", "text/css")], "p {}"));
    app.get("/cookies", async || ([("set-cookie", "a=1"), ("set-cookie", "b=2")], "both"));
    app.get("/maybe/{n}", |n: u32| (n > 0).then_some("there"));
    app.get("/error", async || -> Result<String, HttpError> { Err(HttpError::bad_request("No.")) });
    app.get("/any-error", || -> Result<String, Error> { Ok("x".parse::<u32>()?.to_string()) });
    app.get("/whole", |request: Request<ReadBody>, scope: Scope| {
        Response::new(WriteBody::from(format!("{} {}", request.method(), scope.number())))
    });
    app.post("/echo", async |request: Request<AsyncBody>| Response::new(request.into_body()));
    app.get("/go", || Redirect::to("/html"));
    app.get("/cookie", |cookies: Cookies| SetCookie::new(cookies, ("a", "b")).map(|cookie| (cookie, "set")));
    check(&app, |client| {
        let get = |path| client.get(path).send();
        assert_eq!(get("/html").header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(get("/nothing").status(), 204);
        assert_eq!(get("/status").status(), 418);
        assert_eq!(get("/fields").header("content-type"), Some("text/css"));
        assert_eq!((get("/maybe/1").text(), get("/maybe/0").status().as_u16()), ("there", 404));
        assert_eq!(get("/error").json::<serde_json::Value>()["detail"], "No.");
        let failed = client.get("/any-error").try_send().unwrap();
        assert!(failed.error().unwrap().to_string().contains("invalid digit"), "{failed:?}");
        assert_eq!(get("/whole").text(), "GET 1");
        assert_eq!(client.post("/echo").body("ping").in_pieces_of(1).send().text(), "ping");
        assert_eq!((get("/go").status().as_u16(), get("/go").header("location")), (303, Some("/html")));
        assert_eq!(get("/cookie").header("set-cookie"), Some("a=b; HttpOnly; SameSite=Lax; Path=/"));
        let both = get("/cookies");
        assert_eq!(both.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        let created = get("/created");
        assert_eq!((created.status().as_u16(), created.header("location")), (201, Some("/1")));
    });
}

#[test]
fn one_handler_answers_with_a_page_or_a_redirect() {
    fn sync(n: u32) -> Result<Response<WriteBody>, Error> {
        if n == 0 {
            return Redirect::to("/sync/1").respond();
        }
        (StatusCode::ACCEPTED, Html("<p>")).respond()
    }
    async fn polled(n: u32) -> Result<Response<AsyncBody>, Error> {
        if n == 0 { Redirect::to("/async/1").respond() } else { Json(n).respond() }
    }
    let mut app = App::new();
    app.get("/sync/{n}", sync);
    app.get("/async/{n}", polled);
    check(&app, |client| {
        assert_eq!(client.get("/sync/0").send().header("location"), Some("/sync/1"));
        let page = client.get("/sync/1").send();
        assert_eq!((page.status().as_u16(), page.text()), (202, "<p>"));
        assert_eq!(client.get("/async/0").send().header("location"), Some("/async/1"));
        assert_eq!(client.get("/async/1").send().text(), "1");
    });
}

#[test]
fn a_method_that_a_path_does_not_have_gets_405() {
    let mut app = App::new();
    app.get("/", || "front");
    app.put("/", async || "put");
    app.route(Method::OPTIONS, "/own", || "own");
    app.post("/own", || "posted");
    app.after(|head| {
        head.headers.insert("x-seen", "1".parse().unwrap());
    });
    check(&app, |client| {
        assert_eq!(client.head("/").send().status(), 200);
        assert_eq!(client.put("/").send().text(), "put");
        let refused = client.delete("/").send();
        assert_eq!(
            (refused.status().as_u16(), refused.header("allow")),
            (405, Some("GET, PUT, HEAD, OPTIONS"))
        );
        let options = client.options("/").send();
        assert_eq!((options.status().as_u16(), options.header("allow")), (204, refused.header("allow")));
        let own = client.options("/own").send();
        assert_eq!((own.text(), client.get("/own").send().header("allow")), ("own", Some("OPTIONS, POST")));
        let server = client.options("*").send();
        assert_eq!((server.status().as_u16(), server.header("allow")), (204, None));
        for response in [refused, options, server, client.get("/nowhere").send()] {
            assert_eq!(response.header("x-seen"), Some("1"), "{}", response.status());
        }
    });
}

#[test]
fn hooks_stand_around_handlers_in_their_order() {
    let trail = |name: &'static str| {
        move |head: &mut http::response::Parts| {
            head.headers.append("x-trail", name.parse().unwrap());
        }
    };
    let mut inner = Group::new("inner", "/inner");
    inner.after(trail("inner"));
    inner.error(404, |_| "nothing in there");
    inner.before(|headers: HeaderMap| (!headers.contains_key("x-key")).then_some(StatusCode::UNAUTHORIZED));
    inner.get("/{n}", async |n: u32| (n > 0).then(|| n.to_string()));
    inner.get("", || "the root");
    inner.mount("/mounted", {
        let mut app = App::new();
        app.get("/{name}", |name: String| name);
        app
    });
    let mut outer = Group::new("outer", "/outer");
    outer.after(trail("outer"));
    outer.group(inner);

    let mut app = App::new();
    app.group(outer);
    // Also what is added later.
    app.after(trail("app"));
    app.before(|method: Method| (method == Method::PATCH).then(|| Redirect::to("/elsewhere")));
    app.error(404, |error: &Failure<'_>| (StatusCode::GONE, error.to_string()));
    app.patch("/", || "never");
    check(&app, |client| {
        let get = |path| client.get(path).header("x-key", "1").send();
        let response = get("/outer/inner/1");
        let seen: Vec<_> = response.headers().get_all("x-trail").iter().collect();
        assert_eq!(seen, ["inner", "outer", "app"]);
        assert_eq!((get("/outer/inner").text(), get("/outer/inner/mounted/x").text()), ("the root", "x"));
        let missing = get("/outer/inner/0");
        assert_eq!((missing.status().as_u16(), missing.text()), (404, "nothing in there"));
        assert_eq!(get("/nowhere").status(), 410);
        assert_eq!(client.patch("/").send().header("location"), Some("/elsewhere"));
        // A guard guards also what is mounted.
        for path in ["/outer/inner/1", "/outer/inner/mounted/x"] {
            assert_eq!(client.get(path).send().status(), 401, "{path}");
        }
    });
}

#[test]
fn an_error_of_the_application_has_a_page_and_is_reported() {
    let mut app = App::new();
    app.errors(|error: &Failure<'_>| Html(format!("<h1>{}</h1>", error.status().as_u16())));
    app.get("/", || -> Result<&str, Error> { Err("x".parse::<u32>().unwrap_err().into()) });
    check(&app, |client| {
        let response = client.get("/").try_send().unwrap();
        assert_eq!((response.status().as_u16(), response.text()), (500, "<h1>500</h1>"));
        let reported = client.reports().iter().any(|record| record.to_string().contains("invalid digit"));
        assert!(reported, "{:?}", client.reports());
        assert_eq!(client.get("/nowhere").send().text(), "<h1>404</h1>");
    });
}

#[test]
fn failures_pass_through_the_hooks_as_other_errors_do() {
    let mut app = App::new();
    app.after(|head| {
        head.headers.insert("x-seen", "1".parse().unwrap());
    });
    app.error(503, |_: &Failure<'_>| "come back later");
    app.get("/broken", || -> Result<&str, Error> { Err("x".parse::<u32>().unwrap_err().into()) });
    app.get("/busy", async || -> Result<&str, Error> { Err(Error::unavailable("no room at all")) });
    app.get("/whole", async |_: Request<AsyncBody>, _: Scope| -> Result<&str, Error> {
        Err(Error::from_boxed("after the request is gone"))
    });
    check(&app, |client| {
        for (path, status, text, cause) in [
            ("/broken", 500, "500 Internal Server Error\n", "GET /broken"),
            ("/busy", 503, "come back later", "no room at all"),
            ("/whole", 500, "500 Internal Server Error\n", "GET /whole"),
        ] {
            let response = client.get(path).header("accept", "text/plain").try_send().unwrap();
            assert_eq!((response.status().as_u16(), response.text()), (status, text));
            assert_eq!(response.header("x-seen"), Some("1"), "{path}");
            let reported = client.reports().iter().any(|record| record.to_string().contains(cause));
            assert!(reported, "{:?}", client.reports());
        }
        assert_eq!(client.get("/busy").try_send().unwrap().header("retry-after"), Some("1"));
    });
}

#[test]
fn a_panic_has_the_page_of_a_500_and_passes_through_the_hooks() {
    let panics = |text: &'static str| move || -> &'static str { panic!("{text}") };
    let mut inner = App::new();
    inner.get("/", panics("in a mounted application"));
    let mut app = App::new();
    app.secret([7; 32]).mount("/mounted", inner);
    app.error(500, |failure: &Failure<'_>| Html(format!("<h1>{}</h1>", failure.uri())));
    app.after(|head| {
        head.headers.insert("x-seen", "1".parse().unwrap());
    });
    app.before(|uri: http::Uri| assert!(uri.query() != Some("before"), "in a hook"));
    app.get("/sync", panics("in a sync handler"));
    app.get("/async", async |scope: Scope| -> &'static str {
        scope.worker().sleep(std::time::Duration::ZERO).await;
        panic!("in an async {}", "handler")
    });
    app.get("/fine", || "fine");
    check(&app, |client| {
        for (path, cause) in [
            ("/sync", "panic in call: in a sync handler"),
            ("/async", "panic in call: in an async handler"),
            ("/mounted/", "panic in call: in a mounted application"),
            ("/fine?before", "panic in call: in a hook"),
        ] {
            let before = client.reports().len();
            let failed = client.get(path).try_send().unwrap();
            assert_eq!((failed.status().as_u16(), failed.text()), (500, &*format!("<h1>{path}</h1>")));
            assert_eq!(failed.header("x-seen"), Some("1"), "{path}");
            let reports: Vec<_> = client.reports().iter().skip(before).map(ToString::to_string).collect();
            assert!(reports.len() == 1 && reports[0].contains(cause), "{reports:?}");
        }
        assert_eq!(client.get("/fine").send().text(), "fine");
    });
}

#[test]
fn a_panic_is_the_servers_where_no_hook_has_a_say() {
    let mut app = App::new();
    app.get("/sync", || -> &str { panic!("a mistake") });
    app.get("/async", async || -> &str { panic!("a mistake") });
    check(&app, |client| {
        for path in ["/sync", "/async"] {
            let failed = client.get(path).try_send().unwrap();
            assert_eq!((failed.status().as_u16(), failed.text()), (500, "Internal Server Error\n"), "{path}");
        }
    });
}

#[test]
fn a_hook_behind_the_handler_can_look_at_the_request() {
    let mut inner = App::new();
    inner.get("/", || "mounted");
    let mut group = Group::new("users", "/users");
    group.after_request(|asked, head| {
        let id = format!("{}:{}", asked.uri().path(), asked.header("x-id").unwrap_or("-"));
        head.headers.insert("x-group", id.parse().unwrap());
    });
    group.get("/{id:int}", |id: u64| id.to_string());
    // The handler takes the head away.
    group.post("/{id:int}", async |request: Request<AsyncBody>, _: Scope| request.uri().path().to_owned());
    group.put("/{id:int}", |_: u64, _: Request<ReadBody>| -> Result<(), HttpError> {
        Err(HttpError::new(StatusCode::CONFLICT))
    });
    let mut app = App::new();
    app.group(group);
    app.mount("/mounted", inner);
    app.after_request(|asked, head| {
        let route = format!("{} {}", asked.method(), asked.route().unwrap_or("-"));
        head.headers.insert("x-route", route.parse().unwrap());
    });
    app.after(|head| drop(head.headers.insert("x-last", "1".parse().unwrap())));
    check(&app, |client| {
        for (method, path, status, route, group) in [
            ("GET", "/users/7", 200, "GET /users/{id:int}", Some("/users/7:a")),
            ("POST", "/users/7", 200, "POST /users/{id:int}", Some("/users/7:a")),
            ("PUT", "/users/7", 409, "PUT /users/{id:int}", Some("/users/7:a")),
            ("DELETE", "/users/7", 405, "DELETE /users/{id:int}", Some("/users/7:a")),
            ("GET", "/mounted/", 200, "GET /mounted", None),
            ("GET", "/nowhere", 404, "GET -", None),
        ] {
            let response = client.request(method, path).header("x-id", "a").send();
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.header("x-route"), Some(route));
            assert_eq!(response.header("x-group"), group);
            assert_eq!(response.header("x-last"), Some("1"));
        }
    });
}

#[test]
fn the_cause_of_what_the_server_side_got_wrong_is_reported_and_no_other() {
    fn fail(status: u16) -> HttpError {
        HttpError::new(StatusCode::from_u16(status).unwrap()).caused_by("the cause")
    }
    let mut app = App::new();
    app.get("/sync/{status}", fail);
    app.get("/async/{status}", async |status: u16| fail(status));
    app.get("/scope/{status}", |status: u16, _: Scope| fail(status));
    let mut with_page = app.clone();
    with_page.error(502, |failure: &Failure<'_>| failure.source().unwrap().to_string());
    for (app, page) in [(app, "{"), (with_page, "the cause")] {
        check(&app, |client| {
            for form in ["sync", "async", "scope"] {
                let response = client.get(&format!("/{form}/502")).send();
                assert_eq!(response.status(), 502);
                assert!(response.text().starts_with(page), "{}", response.text());
                let [record] = response.reports() else { panic!("{form}: {:?}", response.reports()) };
                let line = record.to_string();
                assert!(line.contains("502 Bad Gateway: the cause [GET /"), "{line}");
                let theirs = client.get(&format!("/{form}/400")).send();
                assert_eq!((theirs.status().as_u16(), theirs.reports().len()), (400, 0));
            }
        });
    }
}

#[test]
fn an_error_page_can_be_replaced() {
    let mut app = App::new();
    app.errors(|_: &Failure<'_>| "any, of the library").error(404, |_: &Failure<'_>| "404, of the library");
    app.errors(|_: &Failure<'_>| "any, of mine").error(404, |_: &Failure<'_>| "404, of mine");
    app.get("/", || ());
    check(&app, |client| {
        assert_eq!(client.get("/nowhere").send().text(), "404, of mine");
        assert_eq!(client.post("/").send().text(), "any, of mine");
    });
}

#[test]
fn errors_are_pages_for_browsers_and_problems_for_programs() {
    let mut api = Group::new("api", "/api");
    api.errors(|_: &Failure<'_>| None::<()>);
    api.get("/{n}", |n: u32| (n > 0).then_some("there"));
    let mut app = App::new();
    app.group(api);
    app.errors(|failure: &Failure<'_>| {
        let is_page = failure.prefers_html() && !failure.uri().path().starts_with("/feeds/");
        is_page.then(|| Html(format!("{} {}: {failure}", failure.method(), failure.uri())))
    });
    app.get("/whole", async |_: Request<AsyncBody>| HttpError::new(StatusCode::GONE));
    check(&app, |client| {
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        let get = |path, accept| client.get(path).header("accept", accept).send();
        let page = get("/x?y", browser);
        assert_eq!((page.text(), page.header("vary")), ("GET /x?y: 404 Not Found", Some("accept")));
        assert_eq!(get("/whole", browser).text(), "GET /whole: 410 Gone");
        for (path, accept, media_type) in [
            ("/x", "*/*", "application/problem+json"),
            ("/x", "application/json", "application/problem+json"),
            ("/feeds/x", "text/plain", "text/plain; charset=utf-8"),
            ("/api/0", "application/problem+json, text/html", "application/problem+json"),
        ] {
            let problem = get(path, accept);
            assert_eq!((problem.status().as_u16(), problem.header("content-type")), (404, Some(media_type)));
        }
        assert!(!get("/api/0", browser).text().contains("GET"));
    });
}

#[test]
fn files_that_are_not_there_have_the_error_page_of_the_application() {
    let files = || Files::new(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut group = Group::new("docs", "/docs");
    group.mount("/files", files()).named("files");
    let mut app = App::new();
    app.mount("/static", files()).named("static");
    app.group(group);
    app.error(404, |failure: &Failure<'_>| format!("no {}", failure.uri().path()));
    check(&app, |client| {
        for (name, path) in [("static", "/static/no%20such"), ("docs.files", "/docs/files/no%20such")] {
            assert_eq!(app.url_for(name, &[("filename", &"no such")]).unwrap(), path);
            let response = client.get(path).send();
            assert_eq!((response.status().as_u16(), response.text()), (404, &*format!("no {path}")));
            let there = app.url_for(name, &[("filename", &"src/lib.rs")]).unwrap();
            assert_eq!(client.get(&there).send().status(), 200);
            assert_eq!(client.post(&there).send().header("allow"), Some("GET, HEAD"));
        }
    });
}

#[test]
fn an_error_page_that_fails_does_not_hide_what_it_was_for() {
    let mut app = App::new();
    app.error(500, |_: &Failure<'_>| Err::<&str, _>(Error::from_boxed("the page failed, too")));
    app.get("/", || -> Result<&str, Error> { Err("x".parse::<u32>().unwrap_err().into()) });
    check(&app, |client| {
        let failed = client.get("/").try_send().unwrap();
        assert_eq!(failed.status(), 500);
        let told = format!("{:?} {:?}", client.reports(), failed.error());
        assert!(told.contains("invalid digit") && told.contains("the page failed, too"), "{told}");
    });
}

#[test]
fn a_deferred_answer_is_finished_like_any_other() {
    let mut app = App::new();
    app.secret([7; 32]);
    app.error(404, |_: &Failure<'_>| "nothing here");
    app.after(|head| {
        head.headers.insert("x-seen", "1".parse().unwrap());
    });
    app.get("/{is_there}", |is_there: bool, session: Session, mut scope: Scope| {
        let (placeholder, reply) = scope.take_deferral().unwrap().defer();
        session.set("asked", true);
        let sent = match is_there {
            true => reply.send(Response::new("later".into())),
            false => reply.fail(HttpError::not_found().into()),
        };
        sent.map(|()| placeholder)
    });
    check(&app, |client| {
        for (path, status, text) in [("/true", 200, "later"), ("/false", 404, "nothing here")] {
            let response = client.get(path).send();
            assert_eq!((response.status().as_u16(), response.text()), (status, text));
            assert_eq!(response.header("x-seen"), Some("1"));
            assert!(response.header("set-cookie").is_some());
        }
    });
}

#[test]
fn a_session_is_remembered_and_cannot_be_forged() {
    let mut app = App::new();
    app.secret([7; 32]);
    app.before(|session: Session| session.set("before", true));
    app.post("/sign-in/{name}", |name: String, session: Session| {
        session.set("name", name);
        session.flash("info", "Welcome");
        Redirect::to("/")
    });
    app.get("/", async |session: Session| {
        let flashes: Vec<_> = session.flashes().into_iter().map(|flash| flash.message).collect();
        Json((session.get::<String>("name"), flashes))
    });
    app.post("/sign-out", async |session: Session| session.clear());
    check(&app, |client| {
        let cookie = |response: &varvel_test::Response| {
            response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
        };
        let signed_in = cookie(&client.post("/sign-in/ferris").send());
        let home = client.get("/").header("cookie", &signed_in).send();
        assert_eq!(home.text(), r#"["ferris",["Welcome"]]"#);
        assert_eq!(home.header("vary"), Some("cookie"));
        let again = client.get("/").header("cookie", cookie(&home)).send();
        assert_eq!(again.text(), r#"["ferris",[]]"#);
        let forged = signed_in.replace("ferris", "root00");
        assert_ne!(forged, signed_in);
        assert_eq!(client.get("/").header("cookie", forged).send().text(), "[null,[]]");
        let out = client.post("/sign-out").header("cookie", &signed_in).send();
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    });
}

#[test]
fn a_session_that_no_browser_would_keep_is_an_error_with_a_page() {
    let mut app = App::new();
    app.secret([7; 32]);
    app.error(500, |_: &Failure<'_>| "something went wrong");
    app.get("/{length}", |length: usize, session: Session| session.set("text", "x".repeat(length)));
    check(&app, |client| {
        assert!(client.get("/3000").send().header("set-cookie").is_some());
        let failed = client.get("/5000").try_send().unwrap();
        assert_eq!((failed.status().as_u16(), failed.text()), (500, "something went wrong"));
        assert_eq!(failed.header("set-cookie"), None);
        let reported = client.reports().iter().any(|record| record.to_string().contains("the session"));
        assert!(reported, "{:?}", client.reports());
    });
}

#[test]
fn a_mounted_application_leaves_the_session_around_it_alone() {
    fn visits(session: &Session) -> u32 {
        session.set("visits", session.get("visits").unwrap_or(0) + 1);
        session.get("visits").unwrap()
    }
    let mut inner = App::new();
    inner.secret([8; 32]).session_cookie("__Host-inner");
    inner.get("/", |session: Session| visits(&session).to_string());
    let mut app = App::new();
    app.secret([7; 32]).mount("/inner", inner);
    app.before(|session: Session| {
        visits(&session);
    });
    app.get("/", async |session: Session| visits(&session).to_string());
    check(&app, |client| {
        let first = client.get("/inner/").send();
        let set = first.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
        let cookies: Vec<_> = set.map(|line| line.split(';').next().unwrap()).collect();
        let get = |path| client.get(path).header("cookie", cookies.join("; ")).send();
        assert_eq!((get("/inner/").text(), get("/").text()), ("2", "3"));
    });
}

#[test]
fn no_shared_cache_hands_a_session_to_others() {
    let mut app = App::new();
    app.secret([7; 32]);
    app.get("/", |session: Session| session.set("a", 1));
    app.get("/own", async |session: Session| {
        session.set("a", 1);
        ([("cache-control", "no-store")], "own")
    });
    check(&app, |client| {
        assert_eq!(client.get("/").send().header("cache-control"), Some("private"));
        assert_eq!(client.get("/own").send().header("cache-control"), Some("no-store"));
    });
}

#[test]
fn what_a_session_remembers_is_in_no_log() {
    let mut app = App::new();
    app.secret([7; 32]);
    app.get("/", |session: Session| {
        session.set("token", "sesame");
        format!("{session:?}")
    });
    check(&app, |client| assert_eq!(client.get("/").send().text(), "Session{\"token\"}"));
}

#[test]
fn state_is_shared_and_routes_have_names() {
    let mut app = App::new();
    app.state(AtomicUsize::new(0));
    app.get("/count", |count: State<AtomicUsize>| count.fetch_add(1, Ordering::Relaxed).to_string());
    app.get("/users/{id:int}", |id: i64| id.to_string()).named("user");
    app.get("/link", async |urls: Urls| urls.url_for("user", &[("id", &7)]));
    assert_eq!(app.url_for("user", &[("id", &7)]).unwrap(), "/users/7");
    let [sync, polled] = clients(&app);
    assert_eq!((sync.get("/count").send().text(), polled.get("/count").send().text()), ("0", "1"));
    check(&app, |client| assert_eq!(client.get("/link").send().text(), "/users/7"));
}

#[test]
fn each_worker_starts_up_and_shuts_down() {
    #[derive(Default)]
    struct Ended(Mutex<Vec<String>>);

    let mut app = App::new();
    let ended = Arc::new(Ended::default());
    app.state(Arc::clone(&ended)).state(7_u32);
    app.startup(|worker| Ok(worker.info().index)).startup(|_| Ok("second"));
    app.shutdown(|index: &u32, _worker| Err(format!("{index}").into()));
    app.shutdown(|text: &&str, _worker| Err((*text).into()));
    app.shutdown(|ended: &Arc<Ended>, worker| {
        ended.0.lock().unwrap().push(worker.info().server.to_owned());
        Ok(())
    });
    app.get("/", |index: State<u32>, text: State<&'static str>| format!("{} {}", *index, *text));
    // Of state that only workers have there is none without one; a 500 says so.
    let failed = Client::new(app.clone()).get("/").try_send().unwrap();
    assert!(format!("{:?}", failed.error()).contains("app.startup"), "{:?}", failed.error());
    for client in [Client::factory(app.clone()).unwrap(), Client::sync_factory(app).unwrap()] {
        assert_eq!(client.get("/").send().text(), "0 second");
        // Each had its turn, in reverse.
        assert_eq!(client.close().unwrap_err().to_string(), "second; 0");
    }
    assert_eq!(ended.0.lock().unwrap().len(), 2);

    let mut app = App::new();
    app.startup(|_| Err::<(), _>(StartError::new("no database")));
    assert!(Client::factory(app).unwrap_err().to_string().contains("no database"));
}

#[test]
fn mistakes_are_told_where_the_route_is_added() {
    fn told(mistake: impl FnOnce(&mut App) + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(|| mistake(&mut App::new())).unwrap_err();
        match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        }
    }
    let nothing = || ();
    for (text, part) in [
        (
            told(move |app| {
                app.get("no-slash", nothing);
            }),
            "no-slash",
        ),
        (
            told(|app| {
                app.get("/{a}", |_: String, _: u32| ());
            }),
            "takes 2 fields, but its path has 1",
        ),
        (
            told(|app| {
                app.get("/", |_: State<u32>| ());
            }),
            "State<u32>",
        ),
        (
            told(|app| {
                app.get("/", |_: Session| ());
            }),
            "app.secret",
        ),
        (
            told(|app| {
                app.get("/", |_: Scope, _: Method| ());
            }),
            "it must come last",
        ),
        (
            told(|app| {
                app.post("/", |_: Multipart<Blocking>, _: Bytes| ());
            }),
            "which can be read only once",
        ),
        (
            told(|app| {
                app.get("/", async |_: WebSocketUpgrade, _: Method| ());
            }),
            "it must come last",
        ),
        (
            told(|app| {
                app.shutdown(|_: &u32, _worker| Ok(()));
            }),
            "a `shutdown` function takes `State<u32>`",
        ),
        (
            told(|app| {
                let mut inner = App::new();
                inner.startup(|_| Ok(7_u32));
                app.mount("/inner", inner);
            }),
            "mounted on `/inner` has `startup` functions",
        ),
        (
            told(|app| {
                app.before(|_: Scope| ());
            }),
            "must leave the request",
        ),
        (
            told(|app| {
                app.before(|_: Bytes| ());
            }),
            "before the content is read",
        ),
        (
            told(|app| {
                app.before(|_: u32| ());
            }),
            "called for many paths",
        ),
        (
            told(|app| {
                app.secret("short");
            }),
            "32 bytes",
        ),
        (
            told(|app| {
                app.error(1000, |_| ());
            }),
            "not a status code",
        ),
        (
            told(move |app| {
                app.get("/{a}", nothing);
                app.get("/{b}", nothing);
            }),
            "/{b}",
        ),
        (
            told(move |app| {
                app.get("/", nothing);
                app.get("/", nothing);
            }),
            "has a handler for GET already",
        ),
        (
            told(move |app| {
                app.get("/a", nothing).named("x");
                app.get("/b", nothing).named("x");
            }),
            "x",
        ),
        (
            told(|app| {
                let mut group = Group::new("g", "/g");
                group.get("/", |_: State<u32>| ());
                app.group(group);
            }),
            "the handler of `/g/`",
        ),
    ] {
        assert!(text.contains(part), "{text}");
    }
}

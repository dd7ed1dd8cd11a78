//! What Falcon promises, in both forms of the contract, with sync and async responders, and the lint around it all.

use std::{
    fs, io,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use varvel::{AsyncBody, Worker};
use varvel_lint::Lint;
use varvel_resource::{
    App, AsyncMiddleware, AsyncRequest, AsyncResponse, HttpError, HttpStatus, Middleware, Request,
    RequestHead, Resource, Responders, Response, ResponseHead, Result, errors, inspect::RouteKind,
    testing::TestClient,
};
use varvel_test::Client;
use varvel_toolkit::{
    conditional::ETag,
    events::Event,
    middleware::{Forwarded, Middleware as _, TrailingSlash},
    multipart::Limits,
    router::Converters,
};

mod support;

use support::{Any, in_both_forms, one, pending_once};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Note {
    text: String,
}

/// Sync and async responders in one resource.
struct Notes {
    notes: Mutex<Vec<Note>>,
}

impl Resource for Notes {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post)
    }
}

impl Notes {
    fn item(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get_item).delete(Self::on_delete_item)
    }

    fn on_get(&self, _req: &mut Request, resp: &mut Response) -> Result {
        resp.set_media(&*self.notes.lock().unwrap())
    }

    async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let note: Note = req.media().await?;
        resp.set_media(&note)?;
        resp.status = StatusCode::CREATED;
        self.notes.lock().unwrap().push(note);
        Ok(())
    }

    async fn on_get_item(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let index: usize = req.path_param("index")?;
        match self.notes.lock().unwrap().get(index) {
            Some(note) => resp.set_media(note),
            None => Err(errors::not_found().with_detail("There are fewer notes.").into()),
        }
    }

    fn on_delete_item(&self, req: &mut Request, resp: &mut Response) -> Result {
        self.notes.lock().unwrap().remove(req.path_param("index")?);
        resp.status = StatusCode::NO_CONTENT;
        Ok(())
    }
}

fn notes() -> App {
    let notes = Arc::new(Notes { notes: Mutex::new(vec![Note { text: "first".into() }]) });
    let mut app = App::new();
    app.add_route("/notes", Arc::clone(&notes)).unwrap();
    app.add_route_with_suffix("/notes/{index:int(min=0)}", notes, Notes::item).unwrap();
    app
}

#[test]
fn sync_and_async_responders_stand_side_by_side() {
    for form in [|app| Client::new(Lint::new(app)), |app| Client::sync(Lint::new(app))] {
        let client: Client = form(notes());
        let created = client.post("/notes").json(&Note { text: "second".into() }).send();
        assert_eq!(
            (created.status(), created.header("content-type")),
            (StatusCode::CREATED, Some("application/json"))
        );
        assert_eq!(client.get("/notes/1").send().json::<Note>().text, "second");
        let gone = client.delete("/notes/0").send();
        assert_eq!((gone.status(), gone.header("content-type")), (StatusCode::NO_CONTENT, None));
        assert_eq!(client.get("/notes").send().json::<Vec<Note>>(), [Note { text: "second".into() }]);
    }
}

#[test]
fn what_a_resource_has_is_what_it_answers() {
    in_both_forms(notes(), |client| {
        let refused = client.put("/notes").send();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
        let options = client.options("/notes/0").send();
        assert_eq!(options.status(), StatusCode::NO_CONTENT);
        assert_eq!(options.header("allow"), Some("GET, HEAD, DELETE, OPTIONS"));
        let head = client.head("/notes/0").send();
        assert_eq!((head.status(), head.text()), (StatusCode::OK, ""));
        assert_eq!(client.get("/elsewhere").send().status(), StatusCode::NOT_FOUND);
        assert_eq!(client.get("/notes/none").send().status(), StatusCode::NOT_FOUND);
        let far = client.get("/notes/7").header("accept", "text/xml").send();
        assert_eq!(far.header("content-type"), Some("application/problem+xml"));
        assert!(far.text().contains("<detail>There are fewer notes.</detail>"));
    });
}

#[test]
fn a_conflict_is_an_error_where_the_route_is_added() {
    let mut app = notes();
    let error = app.add_route("/notes/{other:int(min=0)}", Streams).unwrap_err();
    assert!(error.to_string().contains("/notes/{index:int(min=0)}"), "{error}");
    let templates: Vec<_> = app.inspect().routes.iter().map(|route| route.template).collect();
    assert_eq!(templates, ["/notes", "/notes/{index:int(min=0)}"]);
    app.name_route("note", "/notes/{index:int(min=0)}").unwrap();
    assert_eq!(app.url_for("note", &[("index", &7)]).unwrap(), "/notes/7");
}

#[test]
fn templates_have_falcons_converters_and_ones_own() {
    let converters = Converters::new().with("slug", |_| {
        Ok(|text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
    });
    let mut app = App::with_converters(converters);
    for (template, field) in [
        ("/{it:int}", "it"),
        ("/{it:slug}", "it"),
        ("/at/{when:dt}", "when"),
        ("/by/{id:uuid}", "id"),
        ("/near/{by:float}", "by"),
        ("/{name}-{number:int}.html", "number"),
        ("/rest/{all:path}", "all"),
    ] {
        let tell = move |req: &mut Request, resp: &mut Response| {
            resp.set_text(format!("{template} {}", req.path_param::<String>(field)?));
            Ok(())
        };
        app.add_route(template, Any(tell)).unwrap();
    }
    in_both_forms(app, |client| {
        for (path, text) in [
            ("/7", "/{it:int} 7"),
            ("/a-b", "/{it:slug} a-b"),
            ("/at/2026-01-31T10:00:00Z", "/at/{when:dt} 2026-01-31T10:00:00Z"),
            (
                "/by/2f1c3a52-6b7e-4d1c-9a52-0c8a1b2c3d4e",
                "/by/{id:uuid} 2f1c3a52-6b7e-4d1c-9a52-0c8a1b2c3d4e",
            ),
            ("/near/0.5", "/near/{by:float} 0.5"),
            ("/page-12.html", "/{name}-{number:int}.html 12"),
            ("/rest/a/b%20c", "/rest/{all:path} a/b c"),
        ] {
            assert_eq!(client.get(path).send().text(), text);
        }
        for path in ["/A-B", "/at/2026-02-31T10:00:00Z", "/by/7", "/near/x", "/page-x.html"] {
            assert_eq!(client.get(path).send().status(), StatusCode::NOT_FOUND, "{path}");
        }
    });
}

#[test]
fn a_body_that_nobody_asks_for_is_not_read() {
    let mut app = one(|_, resp| resp.set_media(&"unread"));
    app.set_media_bytes_max(1);
    in_both_forms(app, |client| {
        let request = client.post("/").header("content-type", "application/octet-stream").streaming();
        assert_eq!(request.start().response().text(), "\"unread\"");
    });
}

#[test]
fn an_application_tells_what_it_consists_of() {
    let mut app = notes();
    app.add_sink("/all", Any(|_: &mut Request, _: &mut Response| Ok(()))).unwrap();
    app.add_app("/v1", varvel_toolkit::Endpoint::polled(App::new())).unwrap();
    app.add_middleware(Trace("a")).add_error_handler(|_: &HttpError, _, _| Ok(()));
    let info = app.inspect();
    let routes: Vec<_> = info.routes.iter().map(|route| (route.template, route.kind)).collect();
    assert_eq!(
        routes,
        [
            ("/notes", RouteKind::Resource),
            ("/notes/{index:int(min=0)}", RouteKind::Resource),
            ("/all", RouteKind::Sink),
            ("/v1", RouteKind::App),
        ]
    );
    assert_eq!(info.routes[0].methods, [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]);
    assert!(info.routes[2].methods.is_empty());
    let page = info.to_string();
    let lines: Vec<_> =
        page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[1], "/notes GET, HEAD, POST, OPTIONS behaviours::Notes");
    assert_eq!(
        lines[4..],
        [
            "/v1 and below all methods an application",
            "middleware",
            "behaviours::Trace",
            "error handlers",
            "varvel_toolkit::problem::HttpError"
        ]
    );
}

#[test]
fn media_is_refused_for_the_reason_that_it_has() {
    in_both_forms(notes(), |client| {
        let status = |media_type: &'static str, body: &'static str| {
            let request = client.post("/notes").header("content-type", media_type).body(body);
            let response = request.send();
            let problem: serde_json::Value = response.json();
            (response.status().as_u16(), problem["code"].as_str().map(str::to_owned))
        };
        assert_eq!(status("application/json", ""), (400, Some("media_not_found".into())));
        assert_eq!(status("application/json", "{"), (400, Some("invalid_json".into())));
        assert_eq!(status("application/json", r#"{"name": 1}"#), (422, Some("missing_field".into())));
        assert_eq!(status("text/csv", "text\nnote"), (415, None));
        assert_eq!(status("application/vnd.note+json; a=b", r#"{"text": "x"}"#).0, 201);
        assert_eq!(status("application/x-www-form-urlencoded", "text=a+b").0, 201);
        assert_eq!(client.post("/notes").body(r#"{"text": "untold"}"#).send().status(), 201);
        let large = client.post("/notes").body(vec![b' '; 1024 * 1024 + 1]).send();
        assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    });
}

#[test]
fn media_is_there_as_often_as_it_is_asked_for_and_message_pack_goes_both_ways() {
    let app = one(|req, resp| {
        let first: Note = req.media()?;
        let again: Note = req.media()?;
        assert_eq!(first, again);
        resp.set_content_type("application/msgpack");
        resp.set_media(&again)
    });
    in_both_forms(app, |client| {
        let body = rmp_serde::to_vec_named(&Note { text: "packed".into() }).unwrap();
        let response =
            client.post("/").header("content-type", "application/msgpack").body(body.clone()).send();
        assert_eq!(response.header("content-type"), Some("application/msgpack"));
        assert_eq!(response.body(), &body);
    });
}

#[test]
fn a_handler_of_ones_own_takes_the_place_of_another() {
    struct Upper;
    impl varvel_resource::media::MediaHandler for Upper {
        fn serialize(
            &self,
            value: &dyn erased_serde::Serialize,
        ) -> std::result::Result<Vec<u8>, varvel::BoxError> {
            Ok(serde_json::to_string(value)?.to_uppercase().into())
        }
        fn deserialize(
            &self,
            content: &[u8],
            read: &mut varvel_resource::media::Read<'_>,
        ) -> std::result::Result<(), varvel::BoxError> {
            let lower = content.to_ascii_lowercase();
            let mut json = serde_json::Deserializer::from_slice(&lower);
            read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))
        }
    }
    let mut app = one(|req, resp| {
        let text: String = req.media()?;
        resp.set_media(&format!("got {text}"))
    });
    app.media_handlers().insert("application/json", Upper);
    app.media_handlers().remove("application/x-www-form-urlencoded");
    in_both_forms(app, |client| {
        let json = client.post("/").header("content-type", "application/json");
        assert_eq!(json.body("\"ABC\"").send().text(), "\"GOT ABC\"");
        let form = client.post("/").header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(form.body("a=b").send().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    });
}

/// Writes down what it sees in a field of the answer.
struct Trace(&'static str);

fn trace(resp: &mut ResponseHead, word: &str) -> Result {
    let so_far = resp.get_header("x-trace").unwrap_or_default();
    let so_far = format!("{so_far} {word}");
    resp.set_header(header::HeaderName::from_static("x-trace"), so_far.trim_start())
}

impl Middleware for Trace {
    fn process_request(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        trace(resp, &format!("{}:request", self.0))?;
        if req.path() == "/moved" {
            req.set_uri("/here".parse()?);
        }
        if req.get_header("stop") == Some(self.0) {
            resp.set_text("stopped");
            resp.complete();
        }
        Ok(())
    }

    fn process_resource(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        trace(resp, &format!("{}:{}", self.0, req.uri_template().unwrap_or("?")))
    }

    fn process_response(&self, _: &mut RequestHead, resp: &mut ResponseHead, succeeded: bool) -> Result {
        trace(resp, &format!("{}:{succeeded}", self.0))
    }
}

/// The same, of the other sort.
struct AsyncTrace(&'static str);

impl AsyncMiddleware for AsyncTrace {
    async fn process_request(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        pending_once().await;
        Trace(self.0).process_request(req, resp)
    }

    async fn process_resource(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        pending_once().await;
        Trace(self.0).process_resource(req, resp)
    }

    async fn process_response(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        succeeded: bool,
    ) -> Result {
        pending_once().await;
        Trace(self.0).process_response(req, resp, succeeded)
    }
}

struct Hooked;

impl Resource for Hooked {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.before(|_: &mut RequestHead, resp: &mut ResponseHead| trace(resp, "before"))
            .before_on(Method::POST, |req: &mut RequestHead, resp: &mut ResponseHead| {
                trace(resp, "before-post")?;
                match req.get_header("x-key") {
                    Some(_) => Ok(()),
                    None => Err(errors::missing_header("x-key").into()),
                }
            })
            .get(Self::on_get)
            .post(Self::on_post)
            .after(|_: &mut RequestHead, resp: &mut ResponseHead| trace(resp, "after"))
            .after_on(Method::GET, after_get)
    }
}

/// Waits, before a responder of either form.
async fn after_get(req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
    pending_once().await;
    trace(resp, if req.method() == Method::GET { "after-get" } else { "after-what" })
}

impl Hooked {
    fn on_get(&self, _: &mut Request, resp: &mut Response) -> Result {
        trace(resp, "get")
    }

    async fn on_post(&self, _: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        trace(resp, "post")
    }
}

#[test]
fn middleware_and_hooks_come_in_falcons_order() {
    let (mut plain, mut mixed, mut waiting) = (App::new(), App::new(), App::new());
    plain.add_middleware(Trace("a")).add_middleware(Trace("b"));
    mixed.add_middleware(AsyncTrace("a")).add_middleware(Trace("b"));
    waiting.add_middleware(AsyncTrace("a")).add_middleware(AsyncTrace("b"));
    for mut app in [plain, mixed, waiting] {
        app.add_route("/here", Hooked).unwrap();
        in_both_forms(app, comes_in_order);
    }
}

fn comes_in_order(client: &Client) {
    let all = "a:request b:request a:/here b:/here";
    for path in ["/here", "/moved"] {
        let response = client.get(path).send();
        let expected = format!("{all} before get after after-get b:true a:true");
        assert_eq!(response.header("x-trace"), Some(&*expected));
    }
    let response = client.post("/here").header("x-key", "k").send();
    let expected = format!("{all} before before-post post after b:true a:true");
    assert_eq!(response.header("x-trace"), Some(&*expected));

    let response = client.post("/here").send();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let expected = format!("{all} before before-post b:false a:false");
    assert_eq!(response.header("x-trace"), Some(&*expected));

    let response = client.get("/nowhere").send();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.header("x-trace"), Some("a:request b:request b:false a:false"));

    let response = client.get("/here").header("stop", "a").send();
    assert_eq!(response.text(), "stopped");
    assert_eq!(response.header("x-trace"), Some("a:request b:true a:true"));
}

#[test]
fn a_hook_that_waits_can_end_the_call_and_needs_no_middleware() {
    struct Guarded;
    impl Resource for Guarded {
        fn responders(on: Responders<Self>) -> Responders<Self> {
            on.get(Self::on_get).before(guard)
        }
    }
    impl Guarded {
        fn on_get(&self, _: &mut Request, resp: &mut Response) -> Result {
            resp.set_text("open");
            Ok(())
        }
    }
    async fn guard(req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        pending_once().await;
        match req.get_header("x-key") {
            Some("master") => {
                resp.set_text("welcome");
                resp.complete();
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(errors::forbidden("No key.").into()),
        }
    }
    let mut app = App::new();
    app.add_route("/", Guarded).unwrap();
    in_both_forms(app, |client| {
        assert_eq!(client.get("/").send().status(), StatusCode::FORBIDDEN);
        assert_eq!(client.get("/").header("x-key", "one").send().text(), "open");
        assert_eq!(client.get("/").header("x-key", "master").send().text(), "welcome");
    });
}

#[test]
fn the_life_of_a_worker_is_told_to_middleware() {
    struct Life(Arc<Mutex<Vec<&'static str>>>);
    impl Middleware for Life {
        fn process_startup(&self, _: &Worker) -> std::result::Result<(), varvel::StartError> {
            self.0.lock().unwrap().push("startup");
            Ok(())
        }
        fn process_shutdown(&self, _: &Worker) -> std::result::Result<(), varvel::BoxError> {
            self.0.lock().unwrap().push("shutdown");
            Err("the lights could not be put out".into())
        }
    }
    struct AsyncLife(Life);
    impl AsyncMiddleware for AsyncLife {
        async fn process_startup(&self, worker: &Worker) -> std::result::Result<(), varvel::StartError> {
            pending_once().await;
            self.0.process_startup(worker)
        }
        async fn process_shutdown(&self, worker: &Worker) -> std::result::Result<(), varvel::BoxError> {
            pending_once().await;
            self.0.process_shutdown(worker)
        }
    }
    for form in [|app| Client::factory(app).unwrap(), |app: App| Client::sync_factory(app).unwrap()] {
        let told = Arc::default();
        let mut app = App::new();
        app.add_middleware(Life(Arc::clone(&told))).add_middleware(AsyncLife(Life(Arc::clone(&told))));
        let client: Client = form(app);
        assert_eq!(client.get("/").send().status(), StatusCode::NOT_FOUND);
        assert_eq!(*told.lock().unwrap(), ["startup", "startup"]);
        let twice = "the lights could not be put out; the lights could not be put out";
        assert_eq!(client.close().unwrap_err().to_string(), twice);
        assert_eq!(*told.lock().unwrap(), ["startup", "startup", "shutdown", "shutdown"]);
    }
}

#[test]
fn middleware_that_waits_follows_the_clock_of_a_test_in_either_form() {
    #[derive(Default)]
    struct Slow(OnceLock<Worker>);
    impl Slow {
        async fn wait(&self) -> Result {
            self.0.get().unwrap().sleep(Duration::from_secs(3600)).await;
            Ok(())
        }
    }
    impl AsyncMiddleware for Slow {
        async fn process_startup(&self, worker: &Worker) -> std::result::Result<(), varvel::StartError> {
            let _ = self.0.set(worker.clone());
            Ok(())
        }
        async fn process_request(&self, _: &mut RequestHead, _: &mut ResponseHead) -> Result {
            self.wait().await
        }
        async fn process_response(&self, _: &mut RequestHead, _: &mut ResponseHead, _: bool) -> Result {
            self.wait().await
        }
    }
    for form in [|app| Client::factory(app).unwrap(), |app: App| Client::sync_factory(app).unwrap()] {
        let mut app = one(|_, resp| {
            resp.set_text("at last");
            Ok(())
        });
        app.add_middleware(Slow::default());
        let client: Client = form(app);
        let mut exchange = client.get("/").start();
        for _ in 0..2 {
            assert!(exchange.poll_head().is_pending());
            client.advance(Duration::from_secs(3600));
        }
        assert_eq!(exchange.response().text(), "at last");
    }
}

/// Writes down when it starts and ends, and fails where it is told to.
struct Life {
    name: &'static str,
    told: Arc<Mutex<Vec<String>>>,
    starts: bool,
    ends: bool,
}

impl Life {
    fn tell(&self, what: &str) {
        self.told.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl AsyncMiddleware for Life {
    async fn process_startup(&self, _: &Worker) -> std::result::Result<(), varvel::StartError> {
        pending_once().await;
        self.tell("up");
        let no_table = || varvel::StartError::retry(format!("{} has no table", self.name));
        if self.starts { Ok(()) } else { Err(no_table()) }
    }

    async fn process_shutdown(&self, _: &Worker) -> std::result::Result<(), varvel::BoxError> {
        pending_once().await;
        self.tell("down");
        if self.ends { Ok(()) } else { Err(format!("{} is stuck", self.name).into()) }
    }
}

/// A kitchen and a bar below a house, the bar with a cellar below it.
fn house(told: &Arc<Mutex<Vec<String>>>, life: impl Fn(&mut Life)) -> App {
    let app = |name| {
        let mut component = Life { name, told: Arc::clone(told), starts: true, ends: true };
        life(&mut component);
        let mut app = App::new();
        app.add_middleware(component);
        app
    };
    let (mut house, mut bar) = (app("house"), app("bar"));
    bar.add_app("/cellar", app("cellar")).unwrap();
    house.add_app("/kitchen", app("kitchen")).unwrap().add_app("/bar", bar).unwrap();
    house
}

#[test]
fn applications_below_a_mount_live_as_long_as_the_one_that_they_are_mounted_in() {
    for form in [|app| Client::factory(app).unwrap(), |app: App| Client::sync_factory(app).unwrap()] {
        let told = Arc::default();
        let client: Client = form(house(&told, |_| ()));
        assert_eq!(*told.lock().unwrap(), ["house up", "kitchen up", "bar up", "cellar up"]);
        assert_eq!(client.get("/bar/cellar/x").send().status(), StatusCode::NOT_FOUND);
        told.lock().unwrap().clear();
        client.close().unwrap();
        assert_eq!(*told.lock().unwrap(), ["cellar down", "bar down", "kitchen down", "house down"]);
    }
}

#[test]
fn a_mounted_application_that_does_not_start_is_named_and_those_before_it_are_shut_down() {
    for form in [|app| Client::factory(app), |app: App| Client::sync_factory(app)] {
        let told = Arc::default();
        let failure = form(house(&told, |life| life.starts = life.name != "cellar")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "the application could not be built: the application at /bar/cellar: cellar has no table"
        );
        assert!(failure.may_retry());
        let expected =
            ["house up", "kitchen up", "bar up", "cellar up", "bar down", "kitchen down", "house down"];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}

#[test]
fn all_that_goes_wrong_at_the_shutdown_is_told() {
    for form in [|app| Client::factory(app).unwrap(), |app: App| Client::sync_factory(app).unwrap()] {
        let told = Arc::default();
        let client: Client = form(house(&told, |life| life.ends = life.name == "kitchen"));
        assert_eq!(
            client.close().unwrap_err().to_string(),
            "the application at /bar/cellar: cellar is stuck; the application at /bar: bar is stuck; house is stuck"
        );
        assert_eq!(told.lock().unwrap().len(), 8);
    }
}

#[test]
fn an_answer_can_be_returned_from_anywhere() {
    let app = one(|req, _| match &*req.get_param("to").unwrap_or_default() {
        "" => Err(HttpStatus::new(StatusCode::ACCEPTED, "later").into()),
        to => Err(HttpStatus::see_other(to).into()),
    });
    in_both_forms(app, |client| {
        let response = client.get("/").send();
        assert_eq!((response.status(), response.text()), (StatusCode::ACCEPTED, "later"));
        let response = client.get("/?to=/a%20b").send();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.header("location"), Some("/a%20b"));
    });
}

#[test]
fn parameters_are_taken_as_what_they_are_asked_for() {
    let app = one(|req, resp| {
        let int = req.get_param_as_int_in("int", 1..=10)?;
        let float = req.get_param_as_float("float")?;
        let flag = req.get_param_as_bool("flag")?;
        let list = req.get_param_as_list("list");
        let json: Option<Vec<u8>> = req.get_param_as_json("json")?;
        let word: String = req.get_required_param_as("word")?;
        resp.set_media(&(int, float, flag, list, json, word))
    });
    in_both_forms(app, |client| {
        let all = client.get("/?int=7&float=.5&flag&list=a&list=b&json=[1]&word=w").send();
        assert_eq!(all.text(), r#"[7,0.5,true,["a","b"],[1],"w"]"#);
        assert_eq!(client.get("/?word=w").send().text(), r#"[null,null,null,[],null,"w"]"#);
        for (query, parameter) in [
            ("int=11&word=w", "int"),
            ("int=x&word=w", "int"),
            ("float=inf&word=w", "float"),
            ("flag=maybe&word=w", "flag"),
            ("json=[&word=w", "json"),
            ("int=1", "word"),
        ] {
            let response = client.get(&format!("/?{query}")).send();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
            assert_eq!(response.json::<serde_json::Value>()["parameter"], parameter, "{query}");
        }
    });
}

#[test]
fn a_sink_takes_what_no_route_has() {
    let mut app = notes();
    let sink = |req: &mut Request, resp: &mut Response| {
        resp.set_text(format!("{} {}", req.method(), req.path()));
        Ok(())
    };
    app.add_sink("/notes", Any(sink)).unwrap();
    app.add_middleware(Trace("m"));
    in_both_forms(app, |client| {
        assert_eq!(client.request("PURGE", "/notes/a/b").send().text(), "PURGE /notes/a/b");
        let response = client.delete("/notes/x").send();
        assert_eq!((response.status(), response.text()), (StatusCode::OK, "DELETE /notes/x"));
        // As in Falcon, a sink is no resource.
        assert_eq!(response.header("x-trace"), Some("m:request m:true"));
        assert_eq!(client.get("/notesx").send().status(), StatusCode::NOT_FOUND);
    });
}

#[test]
fn files_are_sent_below_a_prefix_and_middleware_sees_them() {
    let directory = std::env::temp_dir().join(format!("varvel-resource-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.txt"), "0123456789").unwrap();
    let mut app = App::new();
    app.add_static_route("/static", &directory).unwrap();
    app.add_middleware(Trace("m"));
    in_both_forms(app, |client| {
        let response = client.get("/static/a.txt").header("range", "bytes=2-3").send();
        assert_eq!((response.status(), response.text()), (StatusCode::PARTIAL_CONTENT, "23"));
        assert_eq!(response.header("x-trace"), Some("m:request m:true"));
        assert_eq!(client.get("/static/../Cargo.toml").send().status(), StatusCode::NOT_FOUND);
    });
    fs::remove_dir_all(directory).unwrap();
}

struct Streams;

impl Resource for Streams {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post).put(Self::on_put)
    }
}

impl Streams {
    fn on_get(&self, _: &mut Request, resp: &mut Response) -> Result {
        resp.set_content_type("text/plain");
        resp.set_stream(io::Cursor::new("as it comes"));
        Ok(())
    }

    async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.set_stream(AsyncBody::from_chunks([Bytes::from_static(b"you said: ")]));
        let body = req.take_stream();
        resp.set_body(body);
        Ok(())
    }

    fn on_put(&self, req: &mut Request, resp: &mut Response) -> Result {
        let bytes = io::copy(req.stream(), &mut io::sink())?;
        resp.set_media(&bytes)
    }
}

#[test]
fn bodies_stream_both_ways() {
    let mut app = App::new();
    app.add_route("/", Streams).unwrap();
    in_both_forms(app, |client| {
        assert_eq!(client.get("/").send().text(), "as it comes");
        assert_eq!(client.post("/").body("echo").in_pieces_of(1).send().text(), "echo");
        assert_eq!(client.put("/").body("12345").in_pieces_of(2).send().text(), "5");
    });
}

struct Uploads;

impl Resource for Uploads {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.post(Self::on_post).put(Self::on_put).get(Self::on_get).delete(Self::on_delete)
    }
}

impl Uploads {
    fn on_delete(&self, req: &mut Request, resp: &mut Response) -> Result {
        resp.set_sse(req, |events| events.send(&Event::new("goodbye")));
        Ok(())
    }

    fn on_post(&self, req: &mut Request, resp: &mut Response) -> Result {
        let mut form = req.multipart(Limits::default())?;
        let mut told = Vec::new();
        while let Some(part) = form.next_part()? {
            told.push((part.name().to_owned(), part.text(100)?));
        }
        resp.set_media(&told)
    }

    async fn on_put(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let mut form = req.multipart(Limits::default())?;
        let mut told = Vec::new();
        while let Some(part) = form.next_part().await? {
            told.push((part.name().to_owned(), part.text(100).await?));
        }
        resp.set_media(&told)
    }

    async fn on_get(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.headers.insert(header::AGE, HeaderValue::from(1));
        resp.set_sse(req, |mut events| async move {
            events.send(&Event::new("hello")).await;
        });
        Ok(())
    }
}

#[test]
fn forms_come_part_by_part_and_events_go_one_by_one() {
    let mut app = App::new();
    app.add_route("/", Uploads).unwrap();
    in_both_forms(app, |client| {
        let content = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nCrab\r\n--x--\r\n";
        for method in [Method::POST, Method::PUT] {
            let request =
                client.request(method, "/").header("content-type", "multipart/form-data; boundary=x");
            assert_eq!(request.body(content).in_pieces_of(7).send().text(), r#"[["title","Crab"]]"#);
        }
        assert_eq!(client.post("/").body("x").send().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let events = client.get("/").send();
        assert_eq!((events.text(), events.header("age")), ("data: hello\n\n", Some("1")));
        assert_eq!(events.header("content-type"), Some("text/event-stream"));
        assert_eq!(client.delete("/").send().text(), "data: goodbye\n\n");
    });
}

#[test]
fn conditions_parts_cookies_and_names_of_downloads() {
    let app = one(|req, resp| {
        let mut cookies = req.cookies();
        let visits = cookies.get("visits").and_then(|visits| visits.parse().ok()).unwrap_or(0) + 1;
        cookies.set(("visits", visits.to_string()))?;
        resp.set_cookies(&cookies);
        resp.set_text("0123456789");
        resp.set_etag(&ETag::strong("v1").unwrap());
        resp.set_downloadable_as("naïve \"plan\".txt");
        resp.append_link("/next", "next");
        resp.make_conditional(1);
        Ok(())
    });
    in_both_forms(app, |client| {
        let whole = client.get("/").header("cookie", "visits=41").send();
        assert!(whole.header("set-cookie").unwrap().starts_with("visits=42;"));
        assert_eq!(whole.header("link"), Some("</next>; rel=\"next\""));
        let name = "attachment; filename=\"na_ve _plan_.txt\"; filename*=UTF-8''na%C3%AFve%20%22plan%22.txt";
        assert_eq!(whole.header("content-disposition"), Some(name));
        let part = client.get("/").header("range", "bytes=-3").send();
        assert_eq!((part.status(), part.text()), (StatusCode::PARTIAL_CONTENT, "789"));
        let same = client.get("/").header("if-none-match", "\"v1\"").send();
        assert_eq!((same.status(), same.text()), (StatusCode::NOT_MODIFIED, ""));
    });
}

#[test]
fn a_request_says_where_it_came_from_and_whither_it_is_bound() {
    let inner = one(|req, resp| {
        let urls = (req.url(), req.prefix(), req.relative_uri());
        let place = (req.host(), req.port(), req.subdomain(), req.netloc());
        let forwarded = (req.forwarded_scheme(), req.forwarded_host(), req.forwarded().is_some());
        resp.set_media(&(urls, place, forwarded))
    });
    let mut app = App::new();
    app.add_app("/v1", varvel_toolkit::Endpoint::polled(inner)).unwrap();
    // The client of the tests is at 127.0.0.1, and takes the part of a proxy.
    let app = Forwarded::x_forwarded(["127.0.0.0/8"]).unwrap().trust_host().around(app);
    for client in [Client::new(app.clone()), Client::sync(app)] {
        let plain = client.get("/v1/?a=b").header("host", "api.example.com:8080").send();
        assert_eq!(
            plain.text(),
            concat!(
                r#"[["http://api.example.com:8080/v1/?a=b","http://api.example.com:8080/v1","/v1/?a=b"],"#,
                r#"["api.example.com",8080,"api","api.example.com:8080"],"#,
                r#"["http","api.example.com:8080",true]]"#
            )
        );
        let proxied = client.get("/v1/").header("host", "[::1]").header("x-forwarded-for", "192.0.2.7");
        let proxied = proxied.header("x-forwarded-proto", "https").header("x-forwarded-host", "example.com");
        assert_eq!(
            proxied.send().text(),
            concat!(
                r#"[["https://example.com/v1/","https://example.com/v1","/v1/"],"#,
                r#"["[::1]",80,null,"[::1]"],["https","example.com",true]]"#
            )
        );
    }
}

#[test]
fn fields_are_taken_as_what_they_are_asked_for() {
    let app = one(|req, resp| {
        let number = req.get_header_as::<u32>("x-number")?;
        let age = req.get_header_as_datetime("date")?.map(|date| date.duration_since(UNIX_EPOCH).unwrap());
        let required = req.get_required_header("x-needed")?.to_owned();
        let has = (req.has_param("a"), req.has_param("b"), req.referer().map(str::to_owned));
        resp.set_media(&(number, age.map(|age| age.as_secs()), required, has, req.get_cookie_values("c")))
    });
    in_both_forms(app, |client| {
        let request = || client.get("/?a").header("x-needed", "y");
        let all = request().header("x-number", "7").header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let all = all.header("referer", "/").header("cookie", "c=1; d=2; c=3").send();
        assert_eq!(all.text(), r#"[7,784111777,"y",[true,false,"/"],["1","3"]]"#);
        assert_eq!(request().send().text(), r#"[null,null,"y",[true,false,null],[]]"#);
        for (refused, name) in [
            (client.get("/"), "x-needed"),
            (request().header("x-number", "x"), "x-number"),
            (request().header("date", "yesterday"), "date"),
        ] {
            let refused = refused.send();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
            assert_eq!(refused.json::<serde_json::Value>()["header"], name);
        }
    });
}

#[test]
fn fields_of_the_response_have_falcons_names() {
    let app = one(|_, resp| {
        resp.set_location("/a b");
        resp.set_content_location("/é");
        resp.set_retry_after(3);
        resp.set_cache_control("no-store");
        resp.set_expires(UNIX_EPOCH);
        resp.set_last_modified(UNIX_EPOCH);
        resp.append_vary(header::ACCEPT);
        resp.append_vary(header::COOKIE);
        resp.set_viewable_as("attachment.txt");
        resp.set_text("x");
        resp.delete_header(header::LAST_MODIFIED);
        Ok(())
    });
    in_both_forms(app, |client| {
        let response = client.get("/").send();
        for (name, value) in [
            ("location", "/a%20b"),
            ("content-location", "/%C3%A9"),
            ("retry-after", "3"),
            ("cache-control", "no-store"),
            ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("content-disposition", "inline; filename=\"attachment.txt\""),
        ] {
            assert_eq!(response.header(name), Some(value), "{name}");
        }
        let vary: Vec<_> = response.headers().get_all(header::VARY).iter().collect();
        assert_eq!(vary, ["accept", "cookie"]);
        assert_eq!(response.header("last-modified"), None);
    });
}

#[test]
fn the_client_is_asked_what_it_likes() {
    let app = one(|req, resp| {
        let prefers = req.client_prefers(&["application/json", "application/msgpack"]);
        let accepts = (req.client_accepts_json(), req.client_accepts_xml(), req.client_accepts_msgpack());
        resp.set_media(&(prefers, accepts, req.netloc(), req.scheme(), req.content_length()))
    });
    in_both_forms(app, |client| {
        let response = client
            .get("/")
            .header("host", "example.com")
            .header("accept", "application/msgpack, text/*")
            .send();
        assert_eq!(
            response.text(),
            r#"["application/msgpack",[false,false,true],"example.com","http",null]"#
        );
    });
}

#[test]
fn values_of_the_context_reach_the_responder_and_come_back() {
    struct User;
    impl Middleware for User {
        fn process_request(&self, req: &mut RequestHead, _: &mut ResponseHead) -> Result {
            req.context.insert("ada");
            Ok(())
        }
        fn process_response(&self, req: &mut RequestHead, resp: &mut ResponseHead, _: bool) -> Result {
            let count: u32 = resp.context.remove().unwrap_or_default();
            resp.append_header(header::AGE, HeaderValue::from(count))?;
            assert_eq!(req.context.get::<&str>(), Some(&"ada"));
            Ok(())
        }
    }
    let mut app = one(|req, resp| {
        resp.context.insert(7_u32);
        resp.set_text(*req.context.get::<&str>().unwrap());
        Ok(())
    });
    app.add_middleware(User);
    in_both_forms(app, |client| {
        let response = client.get("/").send();
        assert_eq!((response.text(), response.header("age")), ("ada", Some("7")));
    });
}

#[test]
fn an_application_below_another_knows_where_it_is() {
    let mut outer = App::new();
    let inner = one(|req, resp| {
        let outer: String = req.root_path().to_owned();
        resp.set_text(format!("{outer} {}", req.path()));
        Ok(())
    });
    outer.add_app("/v1", varvel_toolkit::Endpoint::polled(inner)).unwrap();
    in_both_forms(outer, |client| {
        assert_eq!(client.get("/v1/").send().text(), "/v1 /");
        assert_eq!(client.get("/v1/x").send().status(), StatusCode::NOT_FOUND);
    });
}

#[test]
fn requests_are_simulated_by_falcons_names() {
    let seen = |req: &mut Request, resp: &mut Response| {
        let text = String::from_utf8(req.data()?.to_vec())?;
        let cookies: Vec<_> =
            req.cookies().received().map(|(name, value)| format!("{name}:{value}")).collect();
        let headers = ["x-all", "x-one", "content-type"].map(|name| req.get_header(name).unwrap_or_default());
        let seen = (req.method().as_str(), req.path(), req.query_string(), headers, cookies, text);
        resp.set_media(&seen)
    };
    let all = header::HeaderName::from_static("x-all");
    for form in [TestClient::new, TestClient::sync] {
        let client = form(one(seen)).with_header(all.clone(), "a");
        let request =
            client.simulate_post("/?x=0").param("q", "two words").param("n", 2).header("x-one", "1");
        let response = request.cookie("a", "b").cookie("c", "d").json(&[1]).send();
        let expected =
            r#"["POST","/","x=0&q=two+words&n=2",["a","1","application/json"],["a:b","c:d"],"[1]"]"#;
        assert_eq!(response.text(), expected);
        let form = client.simulate_put("/").form(&[("a", &"b c"), ("d", &1)]).send();
        let form_type = "application/x-www-form-urlencoded";
        assert_eq!(form.text(), format!(r#"["PUT","/","",["a","","{form_type}"],[],"a=b+c&d=1"]"#));
        for (method, simulation) in [
            ("GET", client.simulate_get("/")),
            ("PATCH", client.simulate_patch("/")),
            ("DELETE", client.simulate_delete("/")),
            ("OPTIONS", client.simulate_options("/")),
            ("PURGE", client.simulate_request(Method::from_bytes(b"PURGE").unwrap(), "/")),
        ] {
            let (seen, ..): (String, String, String, [String; 3], Vec<String>, String) =
                simulation.send().json();
            assert_eq!(seen, method);
        }
        assert_eq!(client.simulate_head("/").send().status(), StatusCode::OK);
        assert!(client.simulate_post("/").body("raw").send().text().ends_with(r#""raw"]"#));
        let slow = client.simulate_post("/").body("raw").into_request().in_pieces_of(1);
        assert!(slow.send().text().ends_with(r#""raw"]"#));
    }
}

#[test]
fn what_stands_around_an_application_is_simulated_with_it() {
    for form in [TestClient::new, TestClient::sync] {
        let told = Arc::default();
        let client = form(TrailingSlash::Remove.around(house(&told, |_| ())));
        // Middleware of the application is started up, and that around it is in place.
        assert_eq!(told.lock().unwrap().len(), 4);
        assert_eq!(client.simulate_get("/bar/x/").send().header("location"), Some("/bar/x"));
    }
}

#[test]
fn it_stands_below_any_server_as_it_is() {
    fn of_both<A: varvel::App + varvel::AsyncApp<Future: Send> + Clone + Send + Sync + 'static>(_: &A) {}
    fn factory_of_both<F: varvel::AppFactory + varvel::AsyncAppFactory + Send + Sync + 'static>(_: &F) {}
    of_both(&App::new());
    factory_of_both(&App::new());
    let mut app = notes();
    app.add_route("/streams", Streams).unwrap();
    let request = |method: Method, path: &str| {
        http::Request::builder().method(method).uri(path).body("{\"text\": \"x\"}").unwrap()
    };
    for (method, path) in [(Method::POST, "/notes"), (Method::GET, "/notes"), (Method::POST, "/streams")] {
        varvel_lint::cancel_everywhere(&app, request(method.clone(), path));
        varvel_lint::overlap(&app, request(method, path));
    }
}

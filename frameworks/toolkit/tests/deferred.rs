//! Middleware around sync applications that answer later: the answer is changed as any other, in process and on live
//! servers.
#![cfg(all(feature = "compression", feature = "signed"))]

#[path = "support/live.rs"]
mod live;

use std::{
    io::Read,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use varvel::{
    App, AppResult, FrameSink, ReadBody, Scope, Shared, WriteBody,
    bridge::{Inline, Offloaded},
    sync_fn,
};
use varvel_server_kit::settings::Settings;
use varvel_test::{Client, Response};
use varvel_toolkit::{
    HttpError, Middleware, Routes,
    cookies::Keys,
    middleware::{
        CatchFailures, Compression, Cors, MemoryStore, RateLimit, RequestIds, SecurityHeaders, Session,
        Sessions, Timeout,
    },
    respond,
    routes::get,
};

use self::live::Live;

const TEXT: &str = "the same again, please; ";

/// Counts visits in a session, and answers later from another thread: in memory, piece by piece, or with an error; or
/// before the call has returned.
fn later(request: Request<ReadBody>, mut scope: Scope) -> AppResult {
    let session = Session::of(&scope)?;
    let (placeholder, reply) = scope.take_deferral().expect("these servers can wait").defer();
    let path = request.uri().path().to_owned();
    let answer = move || {
        let visits = session.get::<u32>("visits").unwrap_or_default() + 1;
        session.set("visits", visits)?;
        let mut response = respond::text(TEXT.repeat(1000));
        response.headers_mut().insert("visits", visits.into());
        match &*path {
            "/missing" => return Err(HttpError::not_found().into()),
            "/pieces" => {
                *response.body_mut() = WriteBody::from_writer(|sink: &mut dyn FrameSink| {
                    (0..1000).try_for_each(|_| sink.data(Bytes::from_static(TEXT.as_bytes())))
                });
            }
            _ => {}
        }
        response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"1\""));
        AppResult::Ok(response)
    };
    let send = move || match answer() {
        Ok(response) => reply.send(response),
        Err(error) => reply.fail(error),
    };
    if request.uri().path() == "/early" {
        send()?;
    } else {
        thread::spawn(send);
    }
    Ok(placeholder)
}

fn app() -> impl App + Clone + Send + Sync + 'static {
    let endpoint = || get(sync_fn(later));
    let routes = Routes::builder().route("/", endpoint()).route("/{any}", endpoint()).build().unwrap();
    let sessions = Sessions::in_store(Keys::generate(), Arc::new(MemoryStore::new(10))).secure(false);
    let limit = RateLimit::new(1000, Duration::from_secs(60)).by(|_, _| Some(b"everybody".to_vec()));
    let inner = Compression::new().around(sessions.around(limit.around(routes)));
    Cors::of(["https://a.example"]).around(RequestIds::new().around(SecurityHeaders::new().around(inner)))
}

fn everywhere(test: impl Fn(&Client)) {
    test(&Client::sync(app()));
    test(&Client::sync(varvel_lint::Lint::new(app())));
    // On an event loop as applications of the other form, in which the answer is there when middleware sees it.
    test(&Client::new(Offloaded::new(app())));
    test(&Live::threaded(Shared(app())).client);
    test(&Live::evented(Offloaded::new(Shared(app()))).client);
    test(&Live::evented(Inline::new(Shared(app()))).client);
}

fn ask(client: &Client, path: &str, cookie: Option<&str>) -> Response {
    let request = client.get(path).header("origin", "https://a.example").header("accept-encoding", "gzip");
    match cookie {
        Some(cookie) => request.header("cookie", cookie).send(),
        None => request.send(),
    }
}

#[test]
fn every_middleware_has_its_say() {
    everywhere(|client| {
        for path in ["/", "/pieces", "/early"] {
            let answer = ask(client, path, None);
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
            assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert!(answer.header("ratelimit").is_some());
            assert_eq!(answer.header("etag"), Some("W/\"1\""));
            let mut text = String::new();
            flate2::read::GzDecoder::new(&answer.body()[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, TEXT.repeat(1000), "{path}");
        }
    });
}

#[test]
fn a_session_that_is_changed_ahead_of_the_reply_is_kept() {
    everywhere(|client| {
        let first = ask(client, "/", None);
        let cookie = first.header("set-cookie").expect("it is new").split(';').next();
        assert_eq!(first.header("visits"), Some("1"));
        assert_eq!(ask(client, "/", cookie).header("visits"), Some("2"));
    });
}

#[test]
fn an_error_that_clients_are_told_of_is_answered_inside_of_the_others() {
    everywhere(|client| {
        let answer = ask(client, "/missing", None);
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
        assert!(answer.header("x-request-id").is_some());
    });
}

/// Where calls wait until a test opens it.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Sends back what it is sent, behind the gate if it is asked for `/late`; and counts its calls.
fn timed(
    after: Duration,
    gate: Arc<Gate>,
    calls: Arc<AtomicUsize>,
) -> impl App + Clone + Send + Sync + 'static {
    let app = sync_fn(move |request: Request<ReadBody>, _| {
        calls.fetch_add(1, SeqCst);
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect(100)?;
        if path == "/late" {
            gate.pass();
        }
        Ok(respond::text(body))
    });
    RequestIds::new().around(Timeout::after(after).around(CatchFailures::around(app)))
}

#[test]
fn a_sync_call_that_takes_too_long_is_answered_by_servers_while_its_thread_goes_on() {
    let gate = Arc::<Gate>::default();
    let servers = |after| {
        let app = || Shared(timed(after, Arc::clone(&gate), Arc::default()));
        [Live::threaded(app()), Live::evented(Offloaded::new(app()))]
    };
    // What is in time has all the time in the world.
    for server in servers(Duration::from_secs(3600)) {
        assert_eq!(server.client.post("/").body("in time").send().text(), "in time");
    }
    let servers = servers(Duration::from_millis(20));
    for server in &servers {
        let answer = server.client.post("/late").body("what nobody waits for").send();
        assert_eq!(answer.status(), 503);
        assert!(answer.header("x-request-id").is_some());
    }
    gate.open();
}

#[test]
fn sync_calls_are_made_directly_where_the_pool_is_full_and_not_at_all_once_nobody_waits() {
    let (gate, calls) = (Arc::<Gate>::default(), Arc::<AtomicUsize>::default());
    let mut settings = Settings::default();
    settings.offload_threads = 1;
    settings.offload_queue = 2;
    let timed = timed(Duration::from_millis(20), Arc::clone(&gate), Arc::clone(&calls));
    let held = Arc::clone(&gate);
    let app = sync_fn(move |request: Request<ReadBody>, mut scope: Scope| {
        let worker = scope.worker().clone();
        match request.uri().path() {
            "/hold" => {
                let gate = Arc::clone(&held);
                let is_taken = worker.offload(Box::new(move || gate.pass())).is_ok();
                Ok(respond::text(is_taken.to_string()))
            }
            // Answered by the pool, behind what waits for it.
            "/drained" => {
                let (placeholder, reply) = scope.take_deferral().expect("this server can wait").defer();
                let answer = move || reply.send(respond::text("drained")).expect("the client waits");
                let is_taken = worker.offload(Box::new(answer)).is_ok();
                Ok(if is_taken { placeholder } else { respond::text("full") })
            }
            _ => timed.call(request, scope),
        }
    });
    let server = Live::threaded_with(settings, Shared(app));
    let get = |path: &str| server.client.get(path).send().text().to_owned();
    assert_eq!(get("/hold"), "true");
    assert_eq!(server.client.post("/queued").send().status(), 503);
    while get("/hold") == "true" {}
    assert_eq!(server.client.post("/").body("directly").send().text(), "directly");
    gate.open();
    while get("/drained") == "full" {}
    assert_eq!(calls.load(SeqCst), 1, "the one in the queue was not made");
}

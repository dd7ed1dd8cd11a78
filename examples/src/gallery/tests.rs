//! Each route, called without a server.

use std::time::Duration;

use serde_json::Value;
use varvel::{Address, Caps, ConnInfo};
use varvel_lint::Lint;
use varvel_test::{Client, Response, Setup};

use super::*;

/// No test is about speed: on a busy machine a panic alone may take its time to be printed.
const PATIENCE: Duration = Duration::from_secs(30);

fn client() -> Client {
    Client::factory(Lint::new(Gallery::default()).poll_limit(PATIENCE)).unwrap()
}

fn get(target: &str) -> Response {
    client().get(target).send()
}

#[test]
fn the_page_says_what_runs_and_leaves_no_gap() {
    let response = get("/");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let page = response.text();
    assert!(page.contains("<strong>varvel-test</strong>"), "the server of a test");
    assert!(page.contains(&format!("<dd>{}</dd>", std::process::id())));
    assert!(!page.contains("{{") && !page.contains("}}"), "every placeholder is filled");
}

#[test]
fn everything_that_the_page_refers_to_is_there() {
    let page = get("/");
    let addresses = page.text().split(['"', '\'']).filter(|text| text.starts_with('/'));
    let mut seen = 0;
    let client = client();
    for address in addresses {
        assert_ne!(client.options(address).send().status(), 404, "{address}");
        seen += 1;
    }
    assert!(seen >= 9, "{seen} addresses");
    assert!(!page.text().contains("https://"), "nothing comes from elsewhere");
}

#[test]
fn every_demonstration_has_its_place_on_the_page() {
    let page = include_str!("page/page.html");
    let script = concat!(
        include_str!("page/contract.js"),
        include_str!("page/websocket.js"),
        include_str!("page/frameworks.js"),
        include_str!("page/middleware.js"),
        include_str!("page/self-test.js"),
    );
    for name in page.split("data-run=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(script.contains(&format!("async {name}(")), "script.js lacks {name}");
    }
    for name in script.split("out(\"").chain(script.split("say(\"")).skip(1) {
        let name = name.split('"').next().unwrap();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            assert!(page.contains(&format!("data-out=\"{name}\"")), "page.html lacks {name}");
        }
    }
}

#[test]
fn every_answer_forbids_what_it_does_not_need() {
    for target in
        ["/", "/hello", "/script.js", "/request", "/nowhere", "/stream?n=1", "/resource/no", "/micro/"]
    {
        let response = get(target);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{target}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
}

#[test]
fn an_unknown_address_has_a_page_of_its_own() {
    for target in ["/nowhere", "/hello/", "/letters/", "//"] {
        let response = get(target);
        assert_eq!(response.status(), 404, "{target}");
        assert!(response.text().contains("Back to the gallery"));
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let client = client();
    for (method, target, allowed) in [
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/hello", "GET, HEAD, OPTIONS"),
        ("GET", "/upload", "POST, OPTIONS"),
        ("GET", "/crowd", "POST, OPTIONS"),
        ("PUT", "/letters/x", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/resource/birds/x", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("GET", "/middleware/body-limit", "POST, OPTIONS"),
    ] {
        for (method, status) in [(method, 405), ("OPTIONS", 204)] {
            let response = client.request(method, target).send();
            assert_eq!((response.status().as_u16(), response.header("allow")), (status, Some(allowed)));
        }
    }
}

#[test]
fn head_is_treated_like_get() {
    let client = client();
    for target in ["/", "/hello", "/style.css"] {
        let response = client.head(target).send();
        assert_eq!(response.status(), 200);
        let [head, get] = [response, client.get(target).send()].map(|response| {
            let mut headers = response.headers().clone();
            headers.remove("x-request-id").expect("one of its own");
            headers
        });
        assert_eq!(head, get);
    }
}

#[test]
fn what_the_browser_has_of_the_page_is_not_sent_again() {
    let client = client();
    let script = client.get("/script.js").send();
    let again = client.get("/script.js").header("if-none-match", script.header("etag").unwrap()).send();
    assert_eq!(told(&again, "cache-control"), (304, "no-cache".to_owned()));
    assert_ne!(script.header("etag"), client.get("/show.js").send().header("etag"));
}

#[test]
fn a_stream_sends_each_line_before_the_next_exists() {
    let client = client();
    let mut exchange = client.get("/stream?n=2").start();
    assert_eq!(exchange.read(12), "line 1 of 2\n");
    assert!(exchange.poll_frame().is_pending());
    client.advance(Duration::from_millis(100));
    assert_eq!(exchange.response().text(), "line 2 of 2\n");
}

#[test]
fn a_slow_answer_waits_but_not_for_ever() {
    let client = client();
    for (target, millis) in [("/slow?ms=20", 20), ("/slow", 1000), ("/slow?ms=99999999", 30_000)] {
        let mut exchange = client.get(target).start();
        client.advance(Duration::from_millis(millis - 1));
        assert!(exchange.poll_head().is_pending(), "{target}");
        client.advance(Duration::from_millis(1));
        assert_eq!(exchange.response().text(), format!("Worth waiting {millis} ms for.\n"));
    }
}

#[test]
fn an_upload_is_measured() {
    let response = client().post("/upload").body("hello").in_pieces_of(2).send();
    let upload: Value = response.json();
    assert_eq!(upload["bytes"], 5);
    assert_eq!(upload["sha256"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
}

#[test]
fn a_request_is_described_whatever_its_method() {
    for method in ["GET", "PROPFIND", "OPTIONS"] {
        let seen: Value = client().request(method, "/request/a%2Fb?x=1").body("body").send().json();
        assert_eq!(seen["request"][0], json!(["method", method]));
        assert_eq!(seen["request"][2], json!(["path", "/request/a%2Fb"]));
        assert_eq!(seen["request"][3], json!(["query", "x=1"]));
    }
}

#[test]
fn trailers_carry_the_digest_of_what_came_before() {
    let client = client();
    let response = client.get("/trailers").header("te", "trailers").send();
    let upload: Value = client.post("/upload").body(response.body().clone()).send().json();
    assert_eq!(response.trailers().unwrap()["x-body-sha256"], upload["sha256"].as_str().unwrap());
    assert_eq!(response.header("trailer"), Some("x-body-sha256"));
}

#[test]
fn hints_go_ahead_of_the_page_or_are_told_to_be_impossible() {
    for (client, hints, told) in [
        (client(), 1, "went ahead of this page"),
        (Setup::new().without(Caps::INTERIM).factory(Gallery::default()).unwrap(), 0, "No hints this time"),
    ] {
        let mut exchange = client.get("/hints").start();
        assert_eq!(exchange.interim().len(), hints);
        client.advance(Duration::from_millis(300));
        let page = exchange.response();
        assert!(page.text().contains(told), "{}", page.text());
    }
}

#[test]
fn a_tunnel_shouts_back_and_needs_an_upgrade() {
    let client = client();
    let mut tunnel = client.get("/tunnel").upgrade("shout");
    tunnel.send("hello");
    assert_eq!(tunnel.receive(5), b"HELLO");
    assert_eq!(client.get("/tunnel").send().status(), 400);
    assert_eq!(client.get("/tunnel").try_upgrade("whisper").unwrap_err().status(), 400);
}

#[test]
fn a_crowd_needs_an_address_to_go_to() {
    let nowhere = ConnInfo::new(0, Address::Unnamed, Address::Unnamed);
    let client = Setup::new().connection(nowhere).factory(Gallery::default()).unwrap();
    assert_eq!(client.post("/crowd?n=1").send().status(), 501);
}

#[test]
fn a_letter_reaches_all_who_wait_for_it() {
    let client = client();
    let readers = [(); 2].map(|()| client.get("/letters/home").start());
    let left = client.get("/letters/home").start();
    drop(left);
    let posted: Value = client.post("/letters/home").body("come back").send().json();
    assert_eq!(posted["readers"], 2, "one who left is not counted");
    for reader in readers {
        assert_eq!(reader.response().text(), "come back");
    }
}

#[test]
fn who_waits_in_vain_for_a_letter_is_told_so() {
    let client = client();
    let patient = client.get("/letters/home").start();
    client.advance(LONGEST_WAIT);
    assert_eq!(patient.response().status(), 204);
    let stopped = client.get("/letters/home").start();
    client.stop();
    assert_eq!(stopped.response().status(), 204);
}

#[test]
fn events_come_once_a_second_count_who_watches_and_end_with_the_server() {
    let gallery = Gallery::default();
    let watchers = gallery.watchers.clone();
    let client = Client::factory(gallery).unwrap();
    let mut exchange = client.get("/events").start();
    for line in 1..=3 {
        let Some(varvel::Frame::Data(event)) = exchange.frame() else { panic!("an event") };
        let event = std::str::from_utf8(&event).unwrap();
        let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim_end()).unwrap();
        assert_eq!((&data["line"], &data["watchers"]), (&json!(line), &json!(1)));
        assert!(event.ends_with("\n\n"));
        assert!(exchange.poll_frame().is_pending());
        client.advance(Duration::from_secs(1));
    }
    client.stop();
    assert!(exchange.response().text().ends_with("event: goodbye\ndata: the server stops\n\n"));
    assert_eq!(watchers.count(), 0);
}

#[test]
fn websockets_are_opened_and_heard() {
    let client = client();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let open = |target| {
        let request =
            client.get(target).header("sec-websocket-version", "13").header("sec-websocket-key", key);
        request.upgrade("websocket")
    };
    // A text of two bytes, masked with zeros, and how it comes back.
    let (hi, heard) = (b"\x81\x82\0\0\0\0hi", b"\x81\x02hi");
    let mut echo = open("/echo");
    echo.send(hi);
    assert_eq!(echo.receive(4), heard);
    // Each is told who comes, then what is said.
    let mut first = open("/chat");
    assert_eq!(first.receive(25), b"\x81\x17* somebody came, 1 here");
    let mut second = open("/chat");
    for chatter in [&mut first, &mut second] {
        assert_eq!(chatter.receive(25), b"\x81\x17* somebody came, 2 here");
    }
    second.send(hi);
    assert_eq!(first.receive(4), heard);
    assert_eq!(second.receive(4), heard);
    // Who says a lot at once drives nobody out.
    second.send(hi.repeat(500));
    assert_eq!(first.receive(4 * 500), heard.repeat(500));
    second.disconnect();
    assert_eq!(first.receive(25), b"\x81\x17* somebody went, 1 here");
    assert_eq!(client.get("/echo").send().status(), 400);
}

#[test]
fn birds_are_kept_changed_on_conditions_and_let_go() {
    let client = client();
    let bird = "/resource/birds/kestrel";
    let missing = client.get(bird).header("accept", "application/xml").send();
    assert_eq!(
        (missing.status().as_u16(), missing.header("content-type")),
        (404, Some("application/problem+xml"))
    );
    assert_eq!(client.get(bird).send().header("content-type"), Some("application/problem+json"));
    assert_eq!(client.put(bird).json(&json!({ "species": "Falco" })).send().status(), 422);

    let created = client.put(bird).json(&json!({ "species": "Falco tinnunculus", "bells": 1 })).send();
    assert_eq!(created.status(), 201);
    let first = created.header("etag").unwrap();
    let names: Value = client.get("/resource/birds").send().json();
    assert_eq!(names, json!(["kestrel", "merlin"]));
    assert_eq!(client.get(bird).header("if-none-match", first).send().status(), 304);
    let part = client.get(bird).header("range", "bytes=0-9").send();
    assert_eq!((part.status().as_u16(), part.text()), (206, r#"{"species""#));

    let other = json!({ "species": "Falco tinnunculus", "bells": 2 });
    assert_eq!(client.put(bird).header("if-match", first).json(&other).send().status(), 200);
    assert_eq!(client.put(bird).header("if-match", first).json(&other).send().status(), 412);
    assert_eq!(client.delete(bird).header("if-match", first).send().status(), 412);
    assert_eq!(client.delete(bird).send().status(), 204);
    assert_eq!(client.delete(bird).send().status(), 404);
}

#[test]
fn the_guest_book_knows_who_signed_until_they_leave() {
    let client = client();
    let cookie =
        |response: &Response| response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let post = |target, body| {
        client.post(target).header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!(post("/micro/sign", "name=+&words=x").send().status(), 422);
    let signed = post("/micro/sign", "name=%3Cb%3E&words=Good+bird").send();
    assert_eq!((signed.status().as_u16(), signed.header("location")), (303, Some("/micro/")));
    let book = client.get("/micro/").header("cookie", cookie(&signed)).send();
    assert!(book.text().contains("Thank you, &lt;b&gt;."), "{}", book.text());
    assert!(book.text().contains("<dd>Good bird</dd>"));
    assert!(book.text().contains("value=\"&lt;b&gt;\""));
    let again = client.get("/micro/").header("cookie", cookie(&book)).send();
    assert!(!again.text().contains("Thank you"), "it is said once");
    let left = post("/micro/leave", "").header("cookie", cookie(&book)).send();
    let nobody = client.get("/micro/").header("cookie", cookie(&left)).send();
    assert!(nobody.text().contains("value=\"\""));
}

#[test]
fn functions_of_the_guest_book_block_or_wait() {
    let client = client();
    assert!(client.get("/micro/hello/Ada").send().text().starts_with("Hello, Ada,"));
    let later = client.get("/micro/later/500").start();
    client.advance(Duration::from_millis(500));
    assert!(later.response().text().starts_with("500 ms later"));
    let form =
        "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--x--\r\n";
    let post =
        client.post("/micro/files").header("content-type", "multipart/form-data; boundary=x").body(form);
    assert_eq!(post.in_pieces_of(7).send().json::<Value>(), json!([{ "name": "a.txt", "bytes": 5 }]));
    assert_eq!(client.post("/micro/files").body("no form").send().status(), 415);
}

/// The status of an answer, and a field of it.
fn told(response: &Response, field: &str) -> (u16, String) {
    (response.status().as_u16(), response.header(field).unwrap_or("-").to_owned())
}

#[test]
fn cors_lets_pages_of_other_origins_do_what_is_allowed() {
    let client = client();
    let ask = |method| {
        let preflight = client.options("/middleware/cors").header("origin", "http://localhost:8000");
        preflight.header("access-control-request-method", method).send()
    };
    assert_eq!(told(&ask("PUT"), "access-control-allow-methods"), (204, "PUT".to_owned()));
    assert!(!told(&ask("DELETE"), "access-control-allow-methods").1.contains("DELETE"));
    let put = client.put("/middleware/cors").header("origin", "http://localhost:8000").send();
    assert_eq!(told(&put, "access-control-allow-origin"), (200, "*".to_owned()));
    assert_eq!(put.text(), "PUT from a page of http://localhost:8000\n");
}

#[test]
fn csrf_refuses_what_other_sites_send() {
    let client = client();
    let post = |site| client.post("/middleware/csrf").header("sec-fetch-site", site).send().status().as_u16();
    assert_eq!((post("same-origin"), post("cross-site")), (200, 403));
}

#[test]
fn compression_is_by_the_coding_that_was_chosen_and_holds_nothing_back() {
    let client = client();
    let get = |target: &str| client.get(target).header("accept-encoding", "gzip, br, zstd");
    let plain = get("/middleware/compression/text?coding=identity").send();
    for coding in ["gzip", "br", "zstd"] {
        let target = format!("/middleware/compression/text?coding={coding}");
        let response = get(&target).send();
        assert_eq!(response.header("content-encoding"), Some(coding));
        assert!(response.body().len() < plain.body().len() / 2, "{coding}");
    }
    let foreign =
        client.get("/middleware/compression/text?coding=br").header("accept-encoding", "gzip").send();
    assert_eq!(foreign.header("content-encoding"), None, "a browser gets no coding that it does not know");
    let mut stream = get("/middleware/compression/stream?coding=gzip&n=2").start();
    assert_eq!(stream.head().headers["content-encoding"], "gzip");
    assert!(stream.frame().is_some(), "the first line before the second exists");
    client.advance(Duration::from_millis(100));
    assert!(stream.response().body().len() > 1);
}

#[test]
fn a_session_counts_visits_until_it_is_left() {
    let client = client();
    let cookie =
        |response: &Response| response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let first = client.get("/middleware/session").send();
    let second = client.get("/middleware/session").header("cookie", cookie(&first)).send();
    assert_eq!((first.text(), second.text()), ("Visit 1\n", "Visit 2\n"));
    let left = client.delete("/middleware/session").header("cookie", cookie(&second)).send();
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[test]
fn middleware_bounds_time_size_and_rate() {
    let client = client();
    let late = client.get("/middleware/timeout").start();
    client.advance(Duration::from_millis(300));
    assert_eq!(late.response().status(), 503);
    let post = |bytes| client.post("/middleware/body-limit").body(vec![b'x'; bytes]).send();
    assert_eq!((post(1024).text(), post(1025).status().as_u16()), ("1024 bytes\n", 413));
    let statuses: Vec<_> = (0..6).map(|_| client.get("/middleware/rate-limit").send()).collect();
    assert!(statuses[..5].iter().all(|response| response.status() == 200));
    assert_eq!(told(&statuses[5], "retry-after"), (429, "2".to_owned()));
}

#[test]
fn a_proxy_on_this_machine_is_believed() {
    let local = ConnInfo::new(0, Address::Ip(([127, 0, 0, 1], 1).into()), Address::Unnamed);
    let client = Setup::new().connection(local).factory(Gallery::default()).unwrap();
    let seen: Value =
        client.get("/middleware/forwarded").header("x-forwarded-for", "6.6.6.6, 203.0.113.7").send().json();
    assert_eq!((&seen["client"], &seen["connected from"]), (&json!("203.0.113.7"), &json!("127.0.0.1:1")));
}

#[test]
fn an_address_loses_its_slash() {
    let response = client().get("/middleware/trailing-slash/here/?a=b").send();
    assert_eq!(told(&response, "location"), (308, "/middleware/trailing-slash/here?a=b".to_owned()));
}

#[test]
fn a_failure_is_an_answer_with_an_id_and_the_gallery_goes_on() {
    let client = client();
    for kind in ["error", "panic"] {
        let response = client.get(&format!("/middleware/{kind}")).try_send().unwrap();
        assert_eq!(told(&response, "content-type"), (500, "application/problem+json".to_owned()));
        assert_eq!(response.header("x-request-id").map(str::len), Some(32));
        assert_eq!(client.get("/hello").send().status(), 200);
    }
}

#[test]
fn the_log_has_the_last_requests_by_their_ids_but_not_its_readers() {
    let client = client();
    let hello = client.get("/hello").send();
    for _ in 0..2 {
        let log = client.get("/log").send();
        let line = log.text().lines().last().unwrap();
        assert!(line.contains("method=GET target=\"/hello\""), "{line}");
        assert!(line.contains(hello.header("x-request-id").unwrap()), "{line}");
    }
    for _ in 0..20 {
        client.get(&format!("/{}", "x".repeat(1000))).send();
    }
    let log = client.get("/log").send();
    assert_eq!(log.text().lines().count(), 12);
    assert!(log.text().len() < 12 * 500, "it stays small, whatever is asked for");
}

/// What is quickly answered: a request for each address but those that wait on purpose, well and badly.
fn requests() -> impl Iterator<Item = Request<&'static str>> {
    const GET: [&str; 26] = [
        "/",
        "/style.css",
        "/hello",
        "/stream?n=1",
        "/stream?n=many",
        "/request",
        "/hints",
        "/trailers",
        "/tunnel",
        "/echo",
        "/chat",
        "/log",
        "/no",
        "/resource/birds",
        "/resource/birds/merlin",
        "/resource/birds/dodo",
        "/micro/",
        "/micro/hello/you",
        "/micro/no",
        "/middleware/compression/text?coding=gzip",
        "/middleware/compression/stream?coding=br&n=2",
        "/middleware/session",
        "/middleware/timeout",
        "/middleware/rate-limit",
        "/middleware/forwarded",
        "/middleware/trailing-slash/here/",
    ];
    const OTHER: [(&str, &str); 12] = [
        ("POST", "/upload"),
        ("POST", "/letters/home"),
        ("POST", "/hello"),
        ("PUT", "/resource/birds/hobby"),
        ("DELETE", "/resource/birds/dodo"),
        ("POST", "/resource/birds"),
        ("POST", "/micro/files"),
        ("POST", "/micro/sign"),
        ("POST", "/micro/leave"),
        ("PUT", "/middleware/cors"),
        ("POST", "/middleware/body-limit"),
        ("POST", "/middleware/csrf"),
    ];
    let coded =
        |request: http::request::Builder| request.header("accept-encoding", "gzip, br").header("host", "a");
    let gets = GET.into_iter().map(move |target| coded(Request::get(target)).body(""));
    let others = OTHER.into_iter().map(move |(method, target)| {
        coded(Request::builder().method(method).uri(target))
            .header("sec-fetch-site", "cross-site")
            .body("text")
    });
    gets.chain(others).map(Result::unwrap)
}

#[test]
fn no_rule_of_the_contract_is_broken() {
    let factory = Lint::factory(Gallery::default).poll_limit(PATIENCE);
    let findings = factory.findings();
    let client = Client::factory(factory).unwrap();
    for request in requests() {
        let (head, body) = request.into_parts();
        let mut request = client.request(head.method, &head.uri.to_string());
        for (name, value) in &head.headers {
            request = request.header(name, value);
        }
        let exchange = request.body(body).start();
        client.advance(Duration::from_secs(1));
        exchange.response();
    }
    drop(client);
    findings.assert_none();
}

#[test]
fn a_call_may_be_dropped_anywhere_and_no_capability_is_indispensable() {
    let worker = Client::new(app_fn(hello)).worker().clone();
    let site = Gallery::default().site(&worker).unwrap();
    // Here time is not moved by hand, and a request is made many times, to be answered the same.
    let fits = |request: &Request<&str>| {
        let waits = matches!(request.uri().path(), "/hints" | "/middleware/timeout");
        let depends = matches!(request.uri().path(), "/middleware/rate-limit" | "/resource/birds/hobby");
        !waits && !depends
    };
    for request in requests().filter(fits) {
        varvel_lint::without_each_capability(&Gallery::default(), request.clone());
        varvel_lint::overlap(&site, request.clone());
        varvel_lint::cancel_everywhere(&site, request);
    }
}

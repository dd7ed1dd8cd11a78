//! Each route, called without a server.

use std::time::Duration;

use serde_json::Value;
use varvel::{Address, Caps, ConnInfo};
use varvel_lint::Lint;
use varvel_test::{Client, Response, Setup};

use super::*;

fn client() -> Client {
    Client::factory(Lint::new(Gallery::default())).unwrap()
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
    for address in addresses {
        let path = address.split('?').next().unwrap();
        assert!(Route::of(path).is_some(), "{address}");
        seen += 1;
    }
    assert!(seen >= 9, "{seen} addresses");
    assert!(!page.text().contains("https://"), "nothing comes from elsewhere");
}

#[test]
fn every_demonstration_has_its_place_on_the_page() {
    let page = include_str!("page.html");
    let script = include_str!("script.js");
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
    for target in ["/", "/hello", "/script.js", "/request", "/nowhere", "/stream?n=1"] {
        let response = get(target);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{target}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
}

#[test]
fn an_unknown_address_has_a_page_of_its_own() {
    for target in ["/nowhere", "/hello/", "/letters/", "/letters/a.b", "//"] {
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
        assert_eq!(response.headers(), client.get(target).send().headers());
    }
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

/// What is quickly answered: a request for each address but those that wait on purpose.
fn requests() -> impl Iterator<Item = Request<&'static str>> {
    let gets =
        ["/", "/style.css", "/hello", "/stream?n=1", "/request", "/hints", "/trailers", "/tunnel", "/no"];
    let gets = gets.map(|target| Request::get(target).body(""));
    let posts = [Request::post("/upload").body("text"), Request::post("/letters/home").body("text")];
    gets.into_iter().chain(posts).map(Result::unwrap)
}

#[test]
fn no_rule_of_the_contract_is_broken() {
    let factory = Lint::factory(Gallery::default);
    let findings = factory.findings();
    let client = Client::factory(factory).unwrap();
    for request in requests() {
        let (head, body) = request.into_parts();
        let exchange = client.request(head.method, &head.uri.to_string()).body(body).start();
        client.advance(Duration::from_secs(1));
        exchange.response();
    }
    drop(client);
    findings.assert_none();
}

#[test]
fn a_call_may_be_dropped_anywhere_and_no_capability_is_indispensable() {
    let site = Site { gallery: Gallery::default(), page: bytes::Bytes::new() };
    // Here time is not moved by hand.
    for request in requests().filter(|request| request.uri() != "/hints") {
        varvel_lint::without_each_capability(&Gallery::default(), request.clone());
        varvel_lint::overlap(&site, request.clone());
        varvel_lint::cancel_everywhere(&site, request);
    }
}

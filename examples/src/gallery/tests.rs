//! Each route, called without a server.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

use bytes::Bytes;
use serde_json::Value;
use varvel::{App, AppFactory, ReadBody, bridge::BlockOn};

use super::*;
use crate::testing::{call_sync, get, request};

/// The application, as a sync one.
fn site() -> impl App + Clone + Send + 'static {
    Arc::new(BlockOn::new(Gallery::default()).build(Scope::for_test().worker()).unwrap())
}

fn answer(request: Request<ReadBody>) -> Response<Bytes> {
    call_sync(&site(), request).unwrap()
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn value(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[test]
fn the_page_says_what_runs_and_leaves_no_gap() {
    let response = answer(get("/"));
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let page = text(&response);
    assert!(page.contains("<strong>no server</strong>"), "the server of a scope for tests");
    assert!(page.contains(&format!("<dd>{}</dd>", std::process::id())));
    assert!(!page.contains("{{") && !page.contains("}}"), "every placeholder is filled");
}

#[test]
fn everything_that_the_page_refers_to_is_there() {
    let page = answer(get("/"));
    let addresses = text(&page).split(['"', '\'']).filter(|text| text.starts_with('/'));
    let mut seen = 0;
    for address in addresses {
        let path = address.split('?').next().unwrap();
        assert!(Route::of(path).is_some(), "{address}");
        seen += 1;
    }
    assert!(seen >= 9, "{seen} addresses");
    assert!(!text(&page).contains("https://"), "nothing comes from elsewhere");
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
        let response = answer(get(target));
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{target}");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{target}");
    }
}

#[test]
fn an_unknown_address_has_a_page_of_its_own() {
    for target in ["/nowhere", "/hello/", "/letters/", "/letters/a.b", "//"] {
        let response = answer(get(target));
        assert_eq!(response.status(), 404, "{target}");
        assert!(text(&response).contains("Back to the gallery"));
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    for (method, target, allowed) in [
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("DELETE", "/hello", "GET, HEAD, OPTIONS"),
        ("GET", "/upload", "POST, OPTIONS"),
        ("GET", "/crowd", "POST, OPTIONS"),
        ("PUT", "/letters/x", "GET, HEAD, POST, OPTIONS"),
    ] {
        let response = answer(request(method, target, ""));
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::ALLOW]),
            (405, &HeaderValue::from_static(allowed))
        );
        let options = answer(request("OPTIONS", target, ""));
        assert_eq!(
            (options.status().as_u16(), &options.headers()[header::ALLOW]),
            (204, &HeaderValue::from_static(allowed))
        );
    }
}

#[test]
fn head_is_treated_like_get() {
    for target in ["/", "/hello", "/style.css"] {
        let response = answer(request("HEAD", target, ""));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers(), answer(get(target)).headers());
    }
}

#[test]
fn a_stream_ends_with_its_last_line() {
    assert_eq!(text(&answer(get("/stream?n=2"))), "line 1 of 2\nline 2 of 2\n");
}

#[test]
fn a_slow_answer_waits() {
    let start = Instant::now();
    assert_eq!(text(&answer(get("/slow?ms=20"))), "Worth waiting 20 ms for.\n");
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn an_upload_is_measured() {
    let response = answer(request("POST", "/upload", "hello"));
    assert_eq!(value(&response)["bytes"], 5);
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(value(&response)["sha256"], sha256);
}

#[test]
fn a_request_is_described_whatever_its_method() {
    for method in ["GET", "PROPFIND", "OPTIONS"] {
        let seen = value(&answer(request(method, "/request/a%2Fb?x=1", "body")));
        assert_eq!(seen["request"][0], json!(["method", method]));
        assert_eq!(seen["request"][2], json!(["path", "/request/a%2Fb"]));
        assert_eq!(seen["request"][3], json!(["query", "x=1"]));
    }
}

#[test]
fn trailers_carry_the_digest_of_what_came_before() {
    let response = answer(get("/trailers"));
    let upload = value(&answer(request(
        "POST",
        "/upload",
        "The digest of these lines\nis known when they are over,\nand sent then.\n",
    )));
    assert_eq!(response.headers()["x-body-sha256"].to_str().unwrap(), upload["sha256"].as_str().unwrap());
    assert_eq!(response.headers()[header::TRAILER], "x-body-sha256");
}

#[test]
fn hints_are_told_to_be_impossible_where_they_are() {
    // A scope for tests has no way to send any.
    let response = answer(get("/hints"));
    assert!(text(&response).contains("No hints this time"), "{}", text(&response));
}

#[test]
fn a_tunnel_needs_an_upgrade() {
    assert_eq!(answer(get("/tunnel")).status(), 400);
}

#[test]
fn a_crowd_needs_an_address_to_go_to() {
    assert_eq!(answer(request("POST", "/crowd?n=1", "")).status(), 501);
}

#[test]
fn a_letter_reaches_all_who_wait_for_it() {
    let site = site();
    let readers = [(); 2].map(|()| {
        let site = site.clone();
        thread::spawn(move || call_sync(&site, get("/letters/home")).unwrap())
    });
    let mut reached = 0;
    while reached < 2 {
        let posted = call_sync(&site, request("POST", "/letters/home", "come back")).unwrap();
        reached += value(&posted)["readers"].as_u64().unwrap();
        thread::yield_now();
    }
    for reader in readers {
        assert_eq!(text(&reader.join().unwrap()), "come back");
    }
}

#[test]
fn a_reader_who_left_is_not_counted() {
    let letterbox = Letterbox::default();
    let scope = Scope::for_test();
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut reading = pin!(letterbox.read("home", scope.worker(), Instant::now() + LONGEST_WAIT));
        assert!(reading.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(letterbox.post("home", &Bytes::from_static(b"come back")), 0);
}

#[test]
fn events_come_one_at_a_time_and_count_who_watches() {
    let watchers = Watchers::default();
    let scope = Scope::for_test();
    let mut body = streams::events(scope.worker(), watchers.join()).into_body();
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(varvel::Frame::Data(event)))) = body.poll_frame(&mut cx) else {
        panic!("the first event is there at once");
    };
    let event = std::str::from_utf8(&event).unwrap();
    let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!((&data["line"], &data["watchers"]), (&json!(1), &json!(1)));
    assert!(event.ends_with("\n\n"));
    assert!(body.poll_frame(&mut cx).is_pending());
    drop(body);
    assert_eq!(watchers.count(), 0);
}

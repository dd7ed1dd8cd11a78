//! What a hostile peer can make a server spend.

use std::time::{Duration, Instant};

use bytes::Bytes;

use varvel_http1::{BodyEvent, Config, Connection, Limits, Spare};

use crate::peer::Peer;

/// Idle connections are counted in the hundred thousands.
#[test]
fn connection_is_small() {
    assert!(size_of::<Connection>() <= 136, "{} bytes", size_of::<Connection>());
}

#[test]
fn connections_move_between_threads() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Connection>();
}

/// CVE-2023-43669 and its like: parsed from its start at each byte, this head would cost two gigabytes of
/// parsing.
#[test]
fn head_that_comes_byte_by_byte_costs_its_length() {
    let head = Bytes::from(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(65_000)));
    let mut peer = Peer::new();
    let mut spare = Spare::default();
    let started = Instant::now();
    for end in 1..head.len() {
        let mut input = head.slice(..end);
        assert!(peer.connection.receive_head(&mut input, &mut spare, peer.now).unwrap().is_none());
        assert_eq!(input.len(), end, "nothing of an unfinished head is consumed");
    }
    let mut input = head.clone();
    assert!(peer.connection.receive_head(&mut input, &mut spare, peer.now).unwrap().is_some());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// The same for a trailer section, which has to wait in the input as well.
#[test]
fn trailers_that_come_byte_by_byte_cost_their_length() {
    let limits = Limits { trailer_bytes_max: 100_000, ..Limits::default() };
    let mut peer = Peer::with(Config { limits, ..Config::default() });
    peer.receive("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore));
    let trailers = Bytes::from(format!("X: {}\r\n\r\n", "x".repeat(65_000)));
    let started = Instant::now();
    for end in 1..trailers.len() {
        peer.input = trailers.slice(..end);
        assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore));
    }
    peer.input = trailers;
    assert!(matches!(peer.next_body(), Ok(BodyEvent::End(Some(_)))));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// RUSTSEC-2019-0033: a `HeaderMap` has an end, and reaching it must not be a panic.
#[test]
fn more_fields_than_a_map_holds_are_refused() {
    let limits = Limits { header_count_max: 100_000, head_bytes_max: 10_000_000, ..Limits::default() };
    let mut peer = Peer::with(Config { limits, ..Config::default() });
    let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    for number in 0..70_000 {
        head.push_str(&format!("x{number}: y\r\n"));
    }
    head.push_str("\r\n");
    assert_eq!(peer.try_receive(&head).unwrap_err(), varvel_http1::Refusal::TooManyFields);
}

/// A limit above what is parsed on the stack.
#[test]
fn more_fields_than_fit_the_stack_are_served() {
    let limits = Limits { header_count_max: 1000, ..Limits::default() };
    let mut peer = Peer::with(Config { limits, ..Config::default() });
    let fields: String = (0..999).map(|number| format!("x{number}: y\r\n")).collect();
    let head = peer.receive(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(head.request.headers().len(), 1000);
}

/// Pieces of a body and values of fields are slices of what the caller read.
#[test]
fn nothing_is_copied() {
    let bytes =
        Bytes::from("POST /path HTTP/1.1\r\nHost: a\r\nX: value\r\nContent-Length: 4\r\n\r\nbody".to_owned());
    let range = bytes.as_ptr_range();
    let mut peer = Peer::new();
    peer.input = bytes.clone();
    let mut spare = Spare::default();
    let head = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now).unwrap().unwrap();
    let path = head.request.uri().path().as_ptr();
    let value = head.request.headers()["x"].as_bytes().as_ptr();
    let Ok(BodyEvent::Data(data)) = peer.next_body() else { panic!("the body") };
    for pointer in [path, value, head.target.as_ptr(), data.as_ptr()] {
        assert!(range.contains(&pointer));
    }
}

/// A map that was not emptied must not lend the fields of one request to the next.
#[test]
fn spare_map_is_recycled_and_emptied() {
    let mut peer = Peer::new();
    let mut spare = Spare::default();
    spare.headers.reserve(200);
    spare.headers.insert("authorization", "of another request".parse().unwrap());
    let capacity = spare.headers.capacity();
    peer.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now).unwrap().unwrap();
    assert_eq!(head.request.headers().len(), 1);
    assert_eq!(head.request.headers().capacity(), capacity);
    assert!(spare.headers.is_empty());
}

/// Nor what a caller has put beside the fields.
#[test]
fn recycled_head_carries_no_extension_into_the_next_request() {
    let mut spare = Spare::default();
    for _ in 0..2 {
        let mut peer = Peer::new();
        peer.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut head = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now).unwrap().unwrap();
        assert_eq!(head.request.extensions_mut().insert("of this request"), None);
        spare.recycle(head);
    }
}

/// What is remembered of one Host must not be taken for another.
#[test]
fn authority_is_that_of_the_request_whatever_came_before() {
    let mut spare = Spare::default();
    for host in ["a", "a", "ab", "a", "A", "a:80", "", "b"] {
        let mut peer = Peer::new();
        peer.push(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let head = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now).unwrap().unwrap();
        assert_eq!(head.authority.map_or(String::new(), |authority| authority.to_string()), host);
    }
}

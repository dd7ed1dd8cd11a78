//! The gallery's demonstrations, seen from the wire.

use std::io::{BufRead, BufReader, Read, Write};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    SERVERS,
    running::{GALLERY, Running},
    wire::{ask, get, read_answer, read_head},
};

#[test]
fn the_page_names_the_server_that_runs_it() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &["--threads", "2"]);
        let page = get(gallery.connect(), "/");
        assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.body().contains(&format!("<strong>varvel-{server}</strong>")));
        let hello = get(gallery.connect(), "/hello").body();
        assert!(hello.starts_with(&format!("Hello from varvel-{server}, worker ")), "{hello}");
        assert_eq!(get(gallery.connect(), "/nowhere").status, 404);
        assert_eq!(ask(gallery.connect(), "HEAD /").rest, b"");
    }
}

#[test]
fn the_clock_says_goodbye_when_the_server_stops() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &["--drain-timeout", "1h"]);
        let mut stream = gallery.connect();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("data: {\"line\":1,")), "{server}");
        gallery.signal(Signal::TERM);
        assert!(lines.any(|line| line == "event: goodbye"), "{server}");
        // To the end of the stream; then the client closes, too, as browsers do.
        lines.for_each(drop);
        let (status, rest) = gallery.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
        assert!(rest.contains("every exchange was finished"), "{server}: {rest}");
    }
}

#[test]
fn a_crowd_is_answered_to_the_last() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let answer = ask(gallery.connect(), "POST /crowd?n=30\r\nContent-Length: 0\r\n\r\n");
        let crowd: Value = serde_json::from_str(&answer.body()).unwrap();
        let waits = crowd["millis"].as_array().unwrap();
        assert_eq!((waits.len(), &crowd["failed"]), (30, &Value::from(0)), "{server}");
        assert!(waits.iter().all(|wait| wait.as_u64() >= Some(1000)), "{server} {crowd}");
    }
}

#[test]
fn a_letter_reaches_the_request_that_waits_for_it() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let mut reader = gallery.connect();
        reader.write_all(b"GET /letters/home HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let post = || {
            let answer = ask(gallery.connect(), "POST /letters/home\r\nContent-Length: 9\r\n\r\ncome back");
            serde_json::from_str::<Value>(&answer.body()).unwrap()["readers"] == 1
        };
        while !post() {}
        assert_eq!(read_answer(&reader).body(), "come back", "{server}");
    }
}

#[test]
fn hints_go_ahead_of_the_answer() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let mut stream = gallery.connect();
        stream.write_all(b"GET /hints HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let hints = read_head(&mut stream);
        assert_eq!((hints.status, hints.field("link")), (103, Some("</style.css>; rel=preload; as=style")));
        assert!(read_answer(&stream).body().contains("went ahead of this page"), "{server}");
    }
}

#[test]
fn trailers_are_sent_to_who_takes_them() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let request = "GET /trailers\r\nTE: trailers\r\n\r\n";
        let with = ask(gallery.connect(), request);
        let trailer = String::from_utf8(with.rest.clone()).unwrap();
        assert!(trailer.contains("\r\n0\r\nx-body-sha256: "), "{server} {trailer}");
        let without = get(gallery.connect(), "/trailers");
        assert!(without.rest.ends_with(b"\r\n0\r\n\r\n"), "{server}");
    }
}

#[test]
fn the_tunnel_shouts_back() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let mut stream = gallery.connect();
        let request =
            "GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nis anybody ";
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert_eq!((head.status, head.field("upgrade")), (101, Some("shout")), "{server}");
        stream.write_all(b"there?").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut shouted = String::new();
        stream.read_to_string(&mut shouted).unwrap();
        assert_eq!(shouted, "IS ANYBODY THERE?", "{server}");
    }
}

#[test]
fn a_tunnel_is_in_the_access_log_with_what_it_wrote() {
    for server in SERVERS {
        let mut gallery = Running::start(GALLERY, server, &["--access-log", "combined"]);
        let request =
            "GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\nhallo";
        let mut stream = gallery.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let line = gallery.log_line();
        assert!(line.contains("\"GET /tunnel HTTP/1.1\" 101 5 "), "{server}: {line}");
    }
}

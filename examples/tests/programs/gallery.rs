//! The gallery's demonstrations, seen from the wire.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

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

/// Opens a WebSocket.
fn websocket(gallery: &Running, target: &str) -> TcpStream {
    let mut stream = gallery.connect();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut stream);
    assert_eq!(
        (head.status, head.field("sec-websocket-accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    );
    stream
}

/// The next frame, if it is these bytes.
fn expect_frame(stream: &mut TcpStream, frame: &[u8]) {
    let mut came = vec![0; frame.len()];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(came.escape_ascii().to_string(), frame.escape_ascii().to_string());
}

/// A Close with the code 1000, as clients send it: masked, here with zeros.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

#[test]
fn a_websocket_echoes_and_closes() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let mut stream = websocket(&gallery, "/echo");
        for (sent, comes) in [
            (&b"\x81\x82\0\0\0\0hi"[..], &b"\x81\x02hi"[..]),
            (b"\x82\x83\0\0\0\0\0\x01\x02", b"\x82\x03\0\x01\x02"),
            (b"\x89\x82\0\0\0\0hi", b"\x8a\x02hi"),
            (CLOSE, b"\x88\x02\x03\xe8"),
        ] {
            stream.write_all(sent).unwrap();
            expect_frame(&mut stream, comes);
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{server}: the connection ends with it");
    }
}

#[test]
fn the_chat_reaches_all_and_says_goodbye_when_the_server_stops() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &["--drain-timeout", "1h"]);
        let mut first = websocket(&gallery, "/chat");
        expect_frame(&mut first, b"\x81\x17* somebody came, 1 here");
        let mut second = websocket(&gallery, "/chat");
        for stream in [&mut first, &mut second] {
            expect_frame(stream, b"\x81\x17* somebody came, 2 here");
        }
        second.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
        expect_frame(&mut first, b"\x81\x02hi");
        expect_frame(&mut second, b"\x81\x02hi");
        drop(second);
        expect_frame(&mut first, b"\x81\x17* somebody went, 1 here");
        gallery.signal(Signal::TERM);
        expect_frame(&mut first, b"\x88\x02\x03\xe9");
        first.write_all(CLOSE).unwrap();
        drop(first);
        let (status, rest) = gallery.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
        assert!(rest.contains("every exchange was finished"), "{server}: {rest}");
    }
}

#[test]
fn the_frameworks_answer_below_their_mounts() {
    for server in SERVERS {
        let gallery = Running::start(GALLERY, server, &[]);
        let part = ask(gallery.connect(), "GET /resource/birds/merlin\r\nRange: bytes=0-9\r\n\r\n");
        assert_eq!((part.status, part.body()), (206, r#"{"species""#.to_owned()), "{server}");
        let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 16";
        let signed = ask(gallery.connect(), &format!("POST /micro/sign\r\n{form}\r\n\r\nname=Ada&words=x"));
        assert_eq!((signed.status, signed.field("location")), (303, Some("/micro/")), "{server}");
        assert!(get(gallery.connect(), "/micro/").body().contains("<dt>Ada</dt>"), "{server}");
    }
}

#[test]
fn a_call_that_panics_or_takes_too_long_is_answered_and_the_rest_goes_on() {
    for server in SERVERS {
        let mut gallery = Running::start(GALLERY, server, &[]);
        let panicked = get(gallery.connect(), "/middleware/panic");
        let id = panicked.field("x-request-id").map(str::len);
        assert_eq!((panicked.status, id), (500, Some(32)), "{server}");
        gallery.line_with("panic in call: the gallery was asked for a panic");
        assert_eq!(get(gallery.connect(), "/middleware/timeout").status, 503, "{server}");
        assert_eq!(get(gallery.connect(), "/hello").status, 200, "{server}");
    }
}

#[test]
fn what_one_worker_process_put_into_a_session_another_reads() {
    let gallery = Running::start(GALLERY, "prefork", &["--workers", "2"]);
    let mut cookie = String::new();
    for visit in 1..=20 {
        let answer = ask(gallery.connect(), &format!("GET /middleware/session\r\nCookie: {cookie}\r\n\r\n"));
        let set = answer.field("set-cookie").unwrap().split(';').next().unwrap();
        set.clone_into(&mut cookie);
        assert_eq!(answer.body(), format!("Visit {visit}\n"));
    }
}

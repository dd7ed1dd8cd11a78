//! What the probe promises, seen from the wire.

use serde_json::{Value, json};

use crate::{
    SERVERS,
    running::{PROBE, Running},
    wire::{ask, converse, get},
};

#[test]
fn a_request_is_described_as_it_was_on_the_wire() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &[]);
        let request = "POST http://other:81/a%2Fb//../c?x=1& HTTP/1.1\r\nHost: other:81\r\nX-Tag: one\r\n\
                       x-tag:  two \r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        let answer = converse(probe.connect(), request);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let seen: Value = serde_json::from_str(&answer.body()).unwrap();
        assert_eq!(
            seen,
            json!({
                "method": "POST",
                "target": "http://other:81/a%2Fb//../c?x=1&",
                "path": "/a%2Fb//../c",
                "query": "x=1&",
                "version": "1.1",
                "authority": "other:81",
                "headers": seen["headers"],
                "body_len": 5,
                "body_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
                "trailers": [],
            })
        );
        let tags = seen["headers"].as_array().unwrap().iter().filter(|header| header[0] == "x-tag");
        assert_eq!(tags.collect::<Vec<_>>(), [&json!(["x-tag", "one"]), &json!(["x-tag", "two"])]);
    }
}

#[test]
fn bodies_come_back_and_unread_ones_do_not_matter() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &[]);
        let echo = ask(probe.connect(), "POST /echo\r\nContent-Length: 4\r\n\r\nping");
        assert_eq!((echo.status, echo.body().as_str()), (200, "ping"));
        let echo = ask(
            probe.connect(),
            "POST /echo\r\nTransfer-Encoding: chunked\r\n\r\n2\r\npi\r\n2\r\nng\r\n0\r\n\r\n",
        );
        assert_eq!((echo.status, echo.body().as_str()), (200, "ping"));
        let unread = ask(probe.connect(), "POST /noread\r\nContent-Length: 4\r\n\r\nping");
        assert_eq!((unread.status, unread.body().as_str()), (200, "noread\n"));
    }
}

#[test]
fn statuses_keep_to_their_framing_whatever_the_application_says() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &[]);
        for (target, status, body) in [
            ("/status/201", 201, "status 201\n"),
            ("/status/404", 404, "status 404\n"),
            ("/status/204", 204, ""),
            ("/status/304", 304, ""),
            ("/nobody/404", 404, "status 404\n"),
            ("/status/20", 400, "that is no status\n"),
            ("/stream/3", 200, "chunk 0\nchunk 1\nchunk 2\n"),
            ("/stream/0", 200, ""),
        ] {
            let answer = get(probe.connect(), target);
            assert_eq!((answer.status, answer.body().as_str()), (status, body), "{server} {target}");
        }
        for target in ["/nobody/204", "/nobody/304"] {
            let answer = get(probe.connect(), target);
            assert_eq!(answer.rest, b"", "{server} {target}");
        }
        let head = ask(probe.connect(), "HEAD /status/404");
        assert_eq!((head.status, head.rest.as_slice()), (404, &b""[..]));
        assert_eq!(head.field("content-length"), Some("11"));
    }
}

#[test]
fn a_wrong_length_harms_its_own_answer_alone() {
    for server in SERVERS {
        let probe = Running::start(PROBE, server, &[]);
        let long = get(probe.connect(), "/length-long");
        assert_eq!((long.field("content-length"), long.rest.len()), (Some("10"), 10), "{server}");
        let short = get(probe.connect(), "/length-short");
        assert!(short.status == 500 || short.rest.len() < 10, "{server} {short:?}");
        assert_eq!(get(probe.connect(), "/status/200").status, 200);
    }
}

#[test]
fn failures_are_500_and_the_program_goes_on() {
    for server in SERVERS {
        let mut probe = Running::start(PROBE, server, &[]);
        for target in ["/panic", "/inject", "/status/103", "/status/999"] {
            let answer = get(probe.connect(), target);
            assert_eq!(answer.status, 500, "{server} {target}");
            assert!(answer.field("injected").is_none() && answer.field("x-inject").is_none());
        }
        assert!(probe.line_with("error: panic in call").contains("planned panic"));
        assert_eq!(get(probe.connect(), "/slow/1").status, 200);
    }
}

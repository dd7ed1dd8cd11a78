//! Requests sent whole, and what a server of the specification makes of the answers.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use varvel::{
    AppError, AsyncBody, BodyError, BodyErrorKind, Caps, FailKind, Frame, Outcome, Phase, WriteBody, app_fn,
    sync_fn,
};
use varvel_test::{Client, FailureKind, Recorded, Setup};

/// A client of an application that answers with this status, these fields and this body.
fn answering(
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    body: fn() -> AsyncBody,
) -> Client {
    Client::new(app_fn(move |_, _| async move {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Ok(response.body(body())?)
    }))
}

fn chunks() -> AsyncBody {
    AsyncBody::from_chunks(["one ", "two"].map(Bytes::from))
}

fn clauses(response: &varvel_test::Response) -> Vec<&'static str> {
    response.reports().iter().filter_map(|report| report.clause()).collect()
}

#[test]
fn a_request_arrives_as_it_was_written() {
    let client = Client::new(app_fn(|request, scope| async move {
        let text = format!(
            "{} {} {:?} {:?} {:?} {}",
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
            request.body().exact_len(),
            scope.raw_target().escape_ascii(),
        );
        let body = request.into_body().collect(1000).await?;
        Ok(Response::new(AsyncBody::full(format!("{text} {body:?} {:?}", scope.authority()))))
    }));
    assert_eq!(
        client
            .request("PURGE", "/a%2Fb//?x=1&")
            .header("x-a", "b")
            .header("x-a", "c")
            .body("hello")
            .send()
            .text(),
        "PURGE /a%2Fb//?x=1& HTTP/1.1 {\"x-a\": \"b\", \"x-a\": \"c\", \"host\": \"localhost\", \"content-length\": \"5\"} \
         Some(5) /a%2Fb//?x=1& b\"hello\" Some(localhost)"
    );
    assert_eq!(
        client.get("http://example.com?q").version(Version::HTTP_10).send().text(),
        "GET /?q HTTP/1.0 {\"host\": \"example.com\"} Some(0) http://example.com?q b\"\" Some(example.com)"
    );
}

#[test]
fn a_body_comes_in_the_pieces_and_with_the_trailers_that_were_asked_for() {
    let client = Client::new(app_fn(|request, _| async {
        let mut seen = Vec::new();
        let mut body = request.into_body();
        seen.push(format!("{:?}", body.exact_len()));
        while let Some(frame) = body.frame().await {
            seen.push(match frame? {
                Frame::Data(data) => String::from_utf8_lossy(&data).into_owned(),
                Frame::Trailers(trailers) => format!("{trailers:?}"),
                _ => unreachable!(),
            });
        }
        // The end is reported again (spec B1).
        assert!(body.frame().await.is_none());
        Ok(Response::new(AsyncBody::full(seen.join("|"))))
    }));
    assert_eq!(client.post("/").body("abcde").in_pieces_of(2).send().text(), "Some(5)|ab|cd|e");
    let with_trailer = || client.post("/").body("abc").trailer("x-sum", "6");
    assert_eq!(with_trailer().send().text(), "None|abc|{\"x-sum\": \"6\"}");
    let client = Setup::new().without(Caps::TRAILERS_IN).app(app_fn(|request, _| async {
        let mut body = request.into_body();
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            frame?;
            frames += 1;
        }
        Ok(Response::new(AsyncBody::full(frames.to_string())))
    }));
    assert_eq!(client.post("/").body("abc").trailer("x-sum", "6").send().text(), "1");
}

#[test]
fn answers_are_framed_as_on_the_wire() {
    let field = |response: &varvel_test::Response, name| response.header(name).map(str::to_owned);
    let full = answering(200, &[], || AsyncBody::from_static(b"hello"));
    let response = full.get("/").send();
    assert_eq!((response.text(), field(&response, "content-length")), ("hello", Some("5".to_owned())));
    assert_eq!(field(&response, "date").unwrap(), "Sat, 01 Jan 2000 00:00:00 GMT");
    assert_eq!(response.finish().bytes, 5);

    let stream = answering(200, &[], chunks);
    let response = stream.get("/").send();
    assert_eq!(
        (response.text(), field(&response, "transfer-encoding")),
        ("one two", Some("chunked".to_owned()))
    );
    let response = stream.get("/").version(Version::HTTP_10).send();
    assert_eq!((response.text(), field(&response, "transfer-encoding")), ("one two", None));
    assert_eq!(field(&response, "connection").unwrap(), "close");

    let own = answering(200, &[("date", "today")], AsyncBody::empty);
    let response = own.get("/").header("connection", "close").send();
    assert_eq!(
        (field(&response, "date").unwrap(), field(&response, "connection").unwrap()),
        ("today".into(), "close".into())
    );
}

#[test]
fn a_body_that_may_not_be_sent_is_dropped_unpolled() {
    for (client, method, length) in [
        (answering(200, &[], untouchable), "HEAD", None),
        (answering(304, &[("content-length", "7")], untouchable), "GET", Some("7")),
        (answering(204, &[("content-length", "7")], untouchable), "GET", None),
    ] {
        let response = client.request(method, "/").send();
        assert_eq!((response.text(), response.header("content-length")), ("", length));
        assert_eq!((response.finish().outcome, response.finish().bytes), (Outcome::Completed, 0));
    }
    let full = answering(200, &[], || AsyncBody::from_static(b"hello"));
    assert_eq!(full.head("/").send().headers(), full.get("/").send().headers());
}

fn untouchable() -> AsyncBody {
    AsyncBody::generate(|_| async { panic!("polled") })
}

#[test]
fn failures_become_the_answers_of_the_specification() {
    let failing = |error: fn() -> AppError| Client::new(app_fn(move |_, _| async move { Err(error()) }));
    for (error, status, reported) in [
        (failing(|| AppError::internal("no database")), 500, true),
        (failing(|| AppError::unavailable("busy")), 503, true),
        (failing(|| BodyError::failed("disk").into()), 500, true),
        (failing(|| BodyError::new(BodyErrorKind::TooLarge).into()), 413, false),
        (failing(|| BodyError::new(BodyErrorKind::Malformed).into()), 400, false),
        (failing(|| BodyError::new(BodyErrorKind::Incomplete).into()), 400, false),
        (failing(|| BodyError::new(BodyErrorKind::Timeout).into()), 408, false),
    ] {
        let response = error.get("/").send();
        assert_eq!((response.status().as_u16(), response.reports().len()), (status, usize::from(reported)));
        assert!(response.error().is_some());
        assert_eq!(response.header("retry-after").is_some(), status == 503);
        assert_eq!(response.header("connection").is_some(), matches!(status, 400 | 408));
        assert_eq!(response.finish().outcome, Outcome::Completed);
    }
    let response = failing(|| AppError::internal("no database")).get("/").send();
    assert_eq!(response.text(), "Internal Server Error\n");
    assert_eq!(response.error().unwrap().to_string(), "no database");
    assert!(matches!(
        &response.reports()[0].event,
        Recorded::AppFailed { kind: FailKind::Internal, error: Some(error) } if error == "no database"
    ));
    for silent in [failing(AppError::abort), failing(|| BodyError::new(BodyErrorKind::Disconnected).into())] {
        assert_eq!(silent.get("/").try_send().unwrap_err().kind(), FailureKind::NoAnswer);
        assert!(silent.reports().is_empty());
    }
}

#[test]
fn panics_are_contained_and_told() {
    let client = Client::new(app_fn(|request, _| async move {
        match request.uri().path() {
            "/call" => panic!("in the call"),
            "/drop" => {
                struct Bomb;
                impl Drop for Bomb {
                    fn drop(&mut self) {
                        panic!("in the drop");
                    }
                }
                let bomb = Bomb;
                Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                    let _bomb = bomb;
                    frames.data("hello").await;
                    Ok(())
                })))
            }
            _ => Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                frames.data("begun").await;
                panic!("in the body")
            }))),
        }
    }));
    let response = client.get("/call").try_send().unwrap();
    assert_eq!(
        (response.status(), response.text()),
        (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n")
    );
    let panicked = |during, message: &str| Recorded::Panicked { during, message: message.to_owned() };
    assert_eq!(response.reports()[0].event, panicked(Phase::Call, "in the call"));
    let mut exchange = client.get("/body").start();
    assert_eq!(exchange.read(5), "begun");
    assert_eq!(exchange.try_response().unwrap_err().kind(), FailureKind::BrokenOff);
    assert_eq!(client.reports()[1].event, panicked(Phase::Body, "in the body"));
}

#[test]
fn a_hook_runs_once_with_the_truth_and_its_panic_is_told() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let client = Client::new(app_fn(move |request, scope| {
        let told = Arc::clone(&told);
        async move {
            scope.on_finish(move |finish| told.lock().unwrap().push(*finish));
            if request.uri().path() == "/panic" {
                scope.on_finish(|_| panic!("in the hook"));
            }
            Ok(Response::builder().status(202).body(AsyncBody::from_static(b"four"))?)
        }
    }));
    let response = client.get("/").send();
    assert_eq!(*seen.lock().unwrap(), [response.finish()]);
    assert_eq!((response.finish().status.unwrap().as_u16(), response.finish().bytes), (202, 4));
    let response = client.get("/panic").try_send().unwrap();
    assert_eq!((response.text(), seen.lock().unwrap().len()), ("four", 2));
    assert!(matches!(response.reports()[0].event, Recorded::Panicked { during: Phase::Hook, .. }));
}

#[test]
fn breaches_of_the_contract_are_mended_and_reported() {
    type Breach =
        (u16, &'static [(&'static str, &'static str)], fn() -> AsyncBody, u16, &'static [&'static str]);
    let breaches: [Breach; 8] = [
        (200, &[("connection", "close"), ("keep-alive", "1")], AsyncBody::empty, 200, &["H5"]),
        (200, &[("upgrade", "x"), ("transfer-encoding", "gzip")], AsyncBody::empty, 200, &["H5"]),
        (200, &[("content-length", "3")], chunks, 200, &["H4"]),
        (200, &[("content-length", "2")], || AsyncBody::from_static(b"hello"), 200, &["H4"]),
        (200, &[("content-length", "five")], || AsyncBody::from_static(b"hello"), 200, &["H4"]),
        (103, &[], AsyncBody::empty, 500, &["H21"]),
        (999, &[], AsyncBody::empty, 500, &["H21"]),
        (101, &[], AsyncBody::empty, 500, &["U7"]),
    ];
    for (status, fields, body, seen, clause) in breaches {
        let client = answering(status, fields, body);
        let response = client.get("/").try_send().unwrap();
        assert_eq!((response.status().as_u16(), clauses(&response)), (seen, clause.to_vec()), "{fields:?}");
        for name in ["keep-alive", "upgrade"] {
            assert_eq!(response.header(name), None);
        }
        if let Some(length) = response.header("content-length") {
            assert_eq!(response.body().len().to_string(), length);
        }
    }
    let short = answering(200, &[("content-length", "10")], chunks);
    assert_eq!(short.get("/").try_send().unwrap_err().kind(), FailureKind::BrokenOff);
    assert_eq!(short.reports().iter().filter_map(|report| report.clause()).collect::<Vec<_>>(), ["H4"]);
}

#[test]
#[should_panic(
    expected = "the answer broke the contract: error: contract clause H5 broken: fields that only the server"
)]
fn send_does_not_pass_over_a_breach() {
    answering(200, &[("connection", "close")], AsyncBody::empty).get("/").send();
}

#[test]
fn response_trailers_reach_those_who_take_them() {
    let client = Client::new(app_fn(|request, _| async move {
        let forbidden = request.uri().path() == "/forbidden";
        Ok(Response::new(AsyncBody::generate(move |mut frames| async move {
            frames.data("body").await;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("4"));
            if forbidden {
                trailers.insert(header::HOST, HeaderValue::from_static("x"));
            }
            frames.trailers(trailers).await;
            Ok(())
        })))
    }));
    assert_eq!(client.get("/").header("te", "Trailers;q=1").send().trailers().unwrap()["x-sum"], "4");
    assert_eq!(client.get("/").send().trailers(), None);
    assert_eq!(client.get("/").version(Version::HTTP_10).header("te", "trailers").send().trailers(), None);
    let response = client.get("/forbidden").header("te", "trailers").try_send().unwrap();
    assert_eq!((response.trailers().unwrap().len(), clauses(&response)), (1, vec!["B18"]));
}

#[test]
fn interim_heads_come_ahead_and_in_order() {
    let client = Client::new(app_fn(|_, scope| async move {
        let mut links = HeaderMap::new();
        for link in ["</a>", "</b>"] {
            links.insert(header::LINK, HeaderValue::from_static(link));
            scope.interim(StatusCode::EARLY_HINTS, &links)?;
        }
        Ok(Response::new(AsyncBody::empty()))
    }));
    let response = client.get("/").send();
    let links: Vec<_> =
        response.interim().iter().map(|head| head.headers[header::LINK].to_str().unwrap()).collect();
    assert_eq!((response.interim()[0].status.as_u16(), links), (103, vec!["</a>", "</b>"]));
    assert_eq!(client.get("/").version(Version::HTTP_10).send().status(), 500);
}

#[test]
fn continue_is_sent_by_the_first_pull_and_its_lack_closes() {
    let client = Client::new(app_fn(|request, _| async move {
        if request.uri().path() == "/unread" {
            return Ok(Response::new(AsyncBody::empty()));
        }
        let body = request.into_body().collect(100).await?;
        Ok(Response::new(AsyncBody::full(body)))
    }));
    let expecting = |target| client.post(target).header("expect", "100-Continue").body("hello");
    let response = expecting("/").send();
    assert_eq!((response.interim().len(), response.interim()[0].status.as_u16()), (1, 100));
    assert_eq!(response.header("connection"), None);
    let response = expecting("/unread").send();
    assert_eq!((response.interim().len(), response.header("connection")), (0, Some("close")));
    assert_eq!(client.post("/").header("expect", "a miracle").body("x").send().status(), 417);
}

#[test]
fn what_the_server_refuses_the_application_never_sees() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let client = Client::new(app_fn(move |_, _| {
        counted.set(counted.get() + 1);
        async { Ok(Response::new(AsyncBody::empty())) }
    }));
    client.get("/").header("expect", "100-continue, and more").send();
    assert_eq!(calls.get(), 0);
    client.get("/").send();
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_body_above_the_limit_is_too_large() {
    let mut limits = varvel::Limits::default();
    limits.body_bytes_max = Some(4);
    let client = Setup::new().limits(limits).app(app_fn(|request, _| async {
        Ok(Response::new(AsyncBody::full(request.into_body().collect(100).await?)))
    }));
    assert_eq!(client.post("/").body("four").send().text(), "four");
    assert_eq!(client.post("/").body("fives").send().status(), 413);
    assert_eq!(client.post("/").body("fives").in_pieces_of(2).send().status(), 413);
}

#[test]
fn an_application_that_waits_for_ever_is_told_of_at_once() {
    for (app, waits_for) in [
        ("/timer", "a timer that is due in 30s (Client::advance moves the clock)"),
        ("/stop", "the server to stop"),
        ("/leave", "the client to leave"),
        ("/never", "the application is pending, and nothing is left to wake it"),
    ] {
        let client = Client::new(app_fn(|request, scope| async move {
            match request.uri().path() {
                "/timer" => scope.worker().sleep(Duration::from_secs(30)).await,
                "/stop" => scope.worker().stopping().await,
                "/leave" => scope.watch().disconnected().await,
                _ => std::future::pending().await,
            }
            Ok(Response::new(AsyncBody::empty()))
        }));
        let begun = std::time::Instant::now();
        let failure = client.get(app).try_send().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Pending);
        assert!(failure.to_string().contains(waits_for), "{failure}");
        // Its patience is 5 s.
        assert!(begun.elapsed() < Duration::from_secs(4), "{app}");
    }
}

#[test]
fn an_application_that_another_thread_wakes_is_waited_for() {
    let client = Client::new(app_fn(|_, _| async {
        let answer = Arc::new(Mutex::new((None, None::<std::task::Waker>)));
        let other = Arc::clone(&answer);
        std::thread::spawn(move || {
            std::thread::yield_now();
            let mut answer = other.lock().unwrap();
            answer.0 = Some("from elsewhere");
            if let Some(waker) = answer.1.take() {
                waker.wake();
            }
        });
        let text = std::future::poll_fn(move |cx| {
            let mut answer = answer.lock().unwrap();
            answer.1 = Some(cx.waker().clone());
            answer.0.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        });
        Ok(Response::new(AsyncBody::from_static(text.await.as_bytes())))
    }));
    // Often enough to meet every way in which the two threads can come across each other.
    for _ in 0..300 {
        assert_eq!(client.get("/").send().text(), "from elsewhere");
    }
}

#[test]
fn an_application_need_not_be_send() {
    let calls = Rc::new(Cell::new(0));
    let client = Client::new(app_fn(move |_, _| {
        let calls = Rc::clone(&calls);
        async move {
            std::future::ready(()).await;
            calls.set(calls.get() + 1);
            Ok(Response::new(AsyncBody::full(calls.get().to_string())))
        }
    }));
    assert_eq!(client.get("/").send().text(), "1");
    assert_eq!(client.get("/").send().text(), "2");
}

#[test]
fn a_sync_application_reads_and_writes_on_its_thread() {
    let client = Client::sync(sync_fn(|request, _| {
        let mut body = request.into_body();
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            std::io::copy(&mut body, sink)?;
            sink.data(Bytes::from("!"))?;
            sink.flush()
        })))
    }));
    assert_eq!(client.post("/").body("hello").in_pieces_of(1).send().text(), "hello!");
    assert_eq!(client.head("/").send().text(), "");
}

#[test]
fn a_deferred_reply_is_the_answer() {
    let client = Client::sync(sync_fn(|request, mut scope| {
        let (placeholder, reply) = scope.take_deferral().unwrap().defer();
        assert!(scope.take_deferral().is_none());
        match request.uri().path() {
            "/dropped" => drop(reply),
            "/early" => reply.send(Response::new(WriteBody::from_static(b"early"))).unwrap(),
            _ => drop(std::thread::spawn(move || {
                let chunks = ["la", "te"].map(Bytes::from);
                reply.send(Response::new(WriteBody::from_chunks(chunks))).unwrap();
            })),
        }
        Ok(placeholder)
    }));
    assert_eq!(client.get("/early").send().text(), "early");
    assert_eq!(client.get("/late").send().text(), "late");
    assert_eq!(client.get("/dropped").send().status(), 500);
    let masked = Setup::new().without(Caps::DEFER).sync(sync_fn(|_, mut scope| {
        Ok(Response::new(WriteBody::full(scope.take_deferral().is_some().to_string())))
    }));
    assert_eq!(masked.get("/").send().text(), "false");
}

#[test]
fn another_thread_may_read_the_request_and_answer_it() {
    let client = Client::sync(sync_fn(|request, mut scope| {
        let (placeholder, reply) = scope.take_deferral().unwrap().defer();
        std::thread::spawn(move || match request.into_body().collect(100) {
            Ok(body) => reply.send(Response::new(WriteBody::full(body))).unwrap(),
            Err(error) => reply.fail(error.into()).unwrap(),
        });
        Ok(placeholder)
    }));
    let mut exchange = client.post("/").streaming().start();
    exchange.send_data("some");
    exchange.send_data("thing");
    exchange.end_data();
    assert_eq!(exchange.response().text(), "something");
}

#[test]
fn a_reply_to_a_client_that_has_left_is_told_so() {
    let replies = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&replies);
    let client = Client::sync(sync_fn(move |_, mut scope| {
        let (placeholder, reply) = scope.take_deferral().unwrap().defer();
        *kept.lock().unwrap() = Some(reply);
        Ok(placeholder)
    }));
    let mut exchange = client.get("/").start();
    assert!(exchange.poll_head().is_pending());
    exchange.disconnect();
    let reply = replies.lock().unwrap().take().unwrap();
    assert!(reply.is_disconnected());
    assert!(reply.send(Response::new(WriteBody::empty())).is_err());
}

#[test]
fn what_is_no_target_is_a_mistake_of_the_test() {
    let client = answering(200, &[], AsyncBody::empty);
    for target in ["", "hello", "/a b", "/a#b", "ftp://x/", "*", "example.com:80", "/\u{fc}"] {
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.get(target).send()));
        let message = sent.map(|response| response.status()).unwrap_err();
        assert!(message.downcast_ref::<String>().unwrap().contains("is not a request target"), "{target}");
    }
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.connect("/path"))).is_err());
}

#[test]
#[cfg(feature = "json")]
fn json_goes_both_ways() {
    let client = Client::new(app_fn(|request, _| async {
        let (head, body) = request.into_parts();
        let mut response = Response::new(body);
        response.headers_mut().insert("x-type", head.headers[header::CONTENT_TYPE].clone());
        Ok(response)
    }));
    let response = client.post("/").json(&("falcon", 2)).send();
    assert_eq!(response.header("x-type"), Some("application/json"));
    assert_eq!(response.json::<(String, u8)>(), ("falcon".to_owned(), 2));
}

#[test]
fn the_connection_is_what_the_setup_says() {
    let peer = varvel::Address::Ip(([192, 0, 2, 7], 4321).into());
    let mut connection = varvel::ConnInfo::new(0, peer.clone(), peer);
    connection.tls = Some(Arc::new(varvel::TlsInfo::new(0x0304, 0x1301)));
    let client = Setup::new().connection(connection).app(app_fn(|_, scope| async move {
        let conn = scope.conn();
        Ok(Response::new(AsyncBody::full(format!("{} {} {}", conn.id, conn.peer, conn.is_secure()))))
    }));
    assert_eq!(client.get("/").send().text(), "1 192.0.2.7:4321 true");
    assert_eq!(client.get("/").send().text(), "2 192.0.2.7:4321 true");
}

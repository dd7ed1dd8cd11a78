//! Subjects that are right, and what the lint does beside panicking.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use varvel::{
    App, AsyncApp, AsyncAppFactory, AsyncBody, BodyParts, Caps, FileRegion, Frame, ReadBody, Scope, Shared,
    WriteBody, app_fn, sync_fn,
};

use super::{data, get, items, request, sized_items, trailers};
use crate::{
    Findings, Lint, cancel_everywhere,
    drive::{Answer, Bench, CAPS},
    overlap, overlap_sync, without_each_capability, without_each_capability_sync,
};

/// Calls an application under a lint of every kind; nothing may be found.
fn finds_nothing<A: AsyncApp + Clone>(app: A, request: impl Fn() -> Request<AsyncBody>) -> Answer {
    let bench = Bench::new(CAPS);
    let findings = Findings::new();
    let watched = Lint::new(app.clone()).sharing(&findings);
    let served = Lint::new(app).sharing(&findings).serving();
    let answer = bench.finish(bench.start(&served, request())).expect("an answer");
    let again = bench.finish(bench.start(&watched, request())).expect("an answer");
    assert_eq!(answer.summary(), again.summary());
    findings.assert_none();
    answer
}

#[test]
fn an_ordinary_application_is_let_through() {
    let app = app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
        scope.worker().sleep(Duration::from_millis(1)).await;
        let _ = scope.interim(StatusCode::EARLY_HINTS, &HeaderMap::new());
        scope.on_finish(|_| {});
        let _ = scope.worker().spawn(Box::pin(async {}));
        let _ = scope.worker().offload(Box::new(|| {}));
        Ok(Response::new(request.into_body()))
    });
    let post = || {
        let body = sized_items(None, vec![data("a"), data(""), data("b"), trailers("x-a")]);
        request("POST", "/%2e//a/../b?", body)
    };
    assert_eq!(finds_nothing(app, post).data, "ab");
}

#[test]
fn answers_of_every_kind_are_let_through() {
    let file = |len| {
        let file = Arc::new(File::open(file!().replace("conformance/lint/", "")).unwrap());
        AsyncBody::file(FileRegion { file, offset: 0, len })
    };
    let answers: Vec<Box<dyn Fn() -> Response<AsyncBody>>> = vec![
        Box::new(|| Response::builder().status(204).body(AsyncBody::empty()).unwrap()),
        Box::new(|| {
            Response::builder().status(304).header("content-length", 7).body(AsyncBody::empty()).unwrap()
        }),
        Box::new(|| Response::builder().status(205).body(AsyncBody::empty()).unwrap()),
        Box::new(|| Response::builder().status(426).header("upgrade", "a").body(AsyncBody::empty()).unwrap()),
        Box::new(|| Response::builder().status(404).body(AsyncBody::from_static(b"no")).unwrap()),
        Box::new(|| {
            Response::builder().status(599).header("content-length", 2).body(AsyncBody::from("no")).unwrap()
        }),
        Box::new(|| {
            Response::builder().header("content-length", 2).body(items(vec![data("n"), data("o")])).unwrap()
        }),
        Box::new(|| Response::new(items(vec![data("n"), trailers("x-digest")]))),
        Box::new(move || Response::new(file(10))),
    ];
    for (nth, answer) in answers.iter().enumerate() {
        for method in ["GET", "HEAD", "PURGE"] {
            let app = app_fn(|_, _| async { Ok(answer()) });
            let answer = finds_nothing(app, || request(method, "/", AsyncBody::empty()));
            assert!(answer.error.is_none() && answer.body_error.is_none(), "{nth} to {method}: {answer:?}");
        }
    }
}

#[test]
fn a_file_stays_a_file_and_bytes_stay_bytes() {
    let whole = Lint::new(sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello")))));
    let response = whole.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
    assert!(matches!(response.into_body().into_parts(), BodyParts::Full(bytes) if bytes == "hello"));
}

#[test]
fn an_upgrade_is_let_through() {
    let app = app_fn(|_, mut scope: Scope| async move {
        match scope.take_upgrade() {
            Some(token) => {
                assert_eq!(token.protocols().collect::<Vec<_>>(), ["a/1", "b"]);
                assert!(scope.take_upgrade().is_none());
                Ok(token.accept(Response::new(()), |_io| async {}))
            }
            None => Ok(Response::builder().status(426).body(AsyncBody::empty())?),
        }
    });
    let upgrade = || {
        let mut request = get();
        request.headers_mut().insert(header::CONNECTION, "Upgrade".parse().unwrap());
        request.headers_mut().insert(header::UPGRADE, "a/1".parse().unwrap());
        request.headers_mut().append(header::UPGRADE, "b".parse().unwrap());
        request
    };
    let answer = finds_nothing(app, upgrade);
    assert!(answer.is_tunnel);
    assert_eq!(answer.status(), Some(StatusCode::SWITCHING_PROTOCOLS));
    // Hidden, there is no token.
    let bench = Bench::new(CAPS);
    let answer = bench.finish(bench.start(&Lint::new(app).without(Caps::UPGRADE), upgrade())).unwrap();
    assert_eq!(answer.status(), Some(StatusCode::UPGRADE_REQUIRED));
}

#[test]
fn a_deferred_reply_is_looked_at_as_any_answer() {
    let app = |field: &'static str| {
        sync_fn(move |_, mut scope: Scope| {
            let (placeholder, reply) = scope.take_deferral().unwrap().defer();
            let response = Response::builder().header(field, "1").body(WriteBody::from_static(b"late"))?;
            std::thread::spawn(move || reply.send(response));
            Ok(placeholder)
        })
    };
    let bench = Bench::new(CAPS);
    let call = |field| {
        let lint = Lint::new(app(field)).count();
        let answer = bench.call_sync(&lint, request("GET", "/", ReadBody::empty())).unwrap();
        (answer.data, lint.findings().total(), lint.findings().count("A3.connection"))
    };
    assert_eq!(call("x-field"), ("late".into(), 0, 0));
    assert_eq!(call("connection"), ("late".into(), 1, 1));
}

#[test]
fn what_is_hidden_is_absent_in_its_defined_way() {
    let app = app_fn(|request: Request<AsyncBody>, mut scope: Scope| async move {
        let caps = scope.worker().info().caps;
        assert_eq!(caps, Caps::NONE);
        assert!(scope.interim(StatusCode::EARLY_HINTS, &HeaderMap::new()).is_err());
        assert!(scope.worker().offload(Box::new(|| {})).is_err());
        assert!(scope.worker().spawn(Box::pin(async {})).is_err());
        assert!(scope.take_deferral().is_none());
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            assert!(!matches!(frame?, Frame::Trailers(_)), "request trailers are hidden");
        }
        Ok(Response::new(items(vec![data("a"), trailers("x-a")])))
    });
    let factory = Lint::new(Shared(&app)).without(CAPS);
    let bench = Bench::new(CAPS);
    let app = bench.block_on(AsyncAppFactory::build(&factory, bench.worker())).unwrap().unwrap();
    let post = request("POST", "/", items(vec![data("a"), trailers("x-a")]));
    let (head, body) = post.into_parts();
    let (scope, _exchange) = bench.scope(&head, None);
    let call = app.call(Request::from_parts(head, body), scope);
    let mut body = bench.block_on(call).unwrap().unwrap().into_body();
    let mut frames = Vec::new();
    while let Some(frame) = bench.block_on(body.frame()).unwrap() {
        frames.push(frame.unwrap());
    }
    assert!(
        matches!(&frames[..], [Frame::Data(data)] if data == "a"),
        "response trailers are hidden: {frames:?}"
    );
}

#[test]
fn a_cancelled_call_is_made_again_and_answers() {
    let app = app_fn(|_, scope: Scope| async move {
        for _ in 0..3 {
            scope.worker().sleep(Duration::from_millis(1)).await;
        }
        Ok(Response::new(AsyncBody::from_static(b"done")))
    });
    let lint = Lint::new(app).cancelling();
    let bench = Bench::new(CAPS);
    for _ in 0..6 {
        let answer = bench.finish(bench.start(&lint, get())).unwrap();
        assert_eq!(answer.data, "done");
    }
    lint.findings().assert_none();
}

#[test]
fn the_drivers_let_right_applications_through() {
    let app = app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
        let body = request.into_body().collect(100).await?;
        scope.worker().sleep(Duration::from_millis(1)).await;
        Ok(Response::new(AsyncBody::generate(|mut frames| async move {
            frames.data(body).await;
            Ok(())
        })))
    });
    assert_eq!(cancel_everywhere(&app, request("POST", "/", "text")), 2);
    assert_eq!(overlap(&app, request("POST", "/", "text")), 2);
    without_each_capability(&Shared(&app), request("POST", "/", "text"));
    let echo = sync_fn(|request: Request<ReadBody>, _| {
        let mut body = request.into_body();
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            io::copy(&mut body, sink)?;
            sink.write_all(b"!")?;
            Ok(())
        })))
    });
    overlap_sync(echo, request("POST", "/", "text"));
    without_each_capability_sync(&Shared(Arc::new(echo)), request("POST", "/", "text"));
}

#[test]
fn a_sync_application_that_reads_and_writes_is_let_through() {
    let app = Lint::new(sync_fn(|request: Request<ReadBody>, _| {
        let mut text = String::new();
        request.into_body().read_to_string(&mut text)?;
        Ok(Response::new(WriteBody::from_chunks([Bytes::from(text.to_uppercase())])))
    }));
    let bench = Bench::new(CAPS);
    let answer = bench.call_sync(&app, request("POST", "/", ReadBody::from("a"))).unwrap();
    assert_eq!(answer.data, "A");
    assert_eq!(app.findings().total(), 0);
}

/// Breaks a rule twice.
fn chatty() -> impl AsyncApp {
    app_fn(|_, _| async { Ok(Response::builder().header("connection", "close").body(AsyncBody::empty())?) })
}

fn call_twice(lint: &Lint<impl AsyncApp>, bench: &Bench) -> Findings {
    for _ in 0..2 {
        bench.finish(bench.start(lint, get())).unwrap();
    }
    lint.findings()
}

#[test]
fn log_once_tells_the_reporter_of_each_rule_once() {
    let bench = Bench::new(CAPS);
    let findings = call_twice(&Lint::new(chatty()).log_once(), &bench);
    let reports = bench.reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let expected = "error: contract clause A3 broken: A3.connection broken by the application: it is \"close\". Leave it \
                    out: the server decides whether the connection stays. [GET /a?b connection 1 exchange 1]";
    assert_eq!(reports[0], expected);
    assert_eq!(findings.count("A3.connection"), 2);
}

#[test]
fn count_mode_is_silent_and_counts() {
    let bench = Bench::new(CAPS);
    let findings = call_twice(&Lint::new(chatty()).count(), &bench);
    assert!(bench.reports().is_empty());
    let counts: Vec<_> = findings.counts().map(|(rule, count)| (rule.id, count)).collect();
    assert_eq!(counts, [("A3.connection", 2)]);
    assert_eq!(findings.breaches().len(), 1);
    assert_eq!(format!("{findings:?}"), r#"{"A3.connection": 2}"#);
}

#[test]
fn an_application_without_a_server_is_called_in_one_line() {
    // No Host, no addresses, hooks that run at once: a test is no server, and not held to be one.
    let app = Lint::new(sync_fn(|_, scope: Scope| {
        scope.on_finish(|_| {});
        Ok(Response::new(WriteBody::from_static(b"hello")))
    }));
    app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
}

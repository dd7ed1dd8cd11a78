//! Exchanges conducted step by step: streams, stalls, disconnects, single polls.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use varvel::{
    AsyncBody, BodyErrorKind, Caps, FailKind, Finish, Frame, Outcome, Policy, WriteBody, app_fn, sync_fn,
};
use varvel_test::{Client, FailureKind, Recorded, Setup, Stage};

/// Answers each frame of the request at once.
fn echo() -> Client {
    Client::new(app_fn(|request, _| async { Ok(Response::new(request.into_body())) }))
}

fn sync_echo() -> Client {
    Client::sync(sync_fn(|request, _| {
        let mut body = request.into_body();
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            while let Some(frame) = body.next_frame()? {
                match frame {
                    Frame::Data(data) => sink.data(data)?,
                    Frame::Trailers(trailers) => sink.trailers(trailers)?,
                    _ => {}
                }
                sink.flush()?;
            }
            Ok(())
        })))
    }))
}

/// What a drop of the application's values does to a counter.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

struct Dropped(Drops);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

impl Drops {
    fn guard(&self) -> Dropped {
        Dropped(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

#[test]
fn both_directions_flow_at_once_frame_by_frame() {
    for client in [echo(), sync_echo()] {
        let mut exchange = client.post("/").header("te", "trailers").streaming().start();
        assert_eq!(exchange.head().status, 200);
        assert!(exchange.poll_frame().is_pending());
        for piece in ["ping", "pong"] {
            exchange.send_data(piece);
            assert!(matches!(exchange.frame(), Some(Frame::Data(data)) if data == piece));
            assert!(exchange.poll_frame().is_pending());
        }
        exchange.send_data("0123456789");
        assert_eq!((exchange.read(4), exchange.read(3)), (Bytes::from("0123"), Bytes::from("456")));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-t", HeaderValue::from_static("v"));
        exchange.send_trailers(trailers);
        let response = exchange.response();
        assert_eq!(
            (response.text(), &response.trailers().unwrap()["x-t"]),
            ("789", &HeaderValue::from_static("v"))
        );
    }
}

#[test]
fn what_is_missing_is_named() {
    for client in [echo(), sync_echo()] {
        let exchange = client.post("/").streaming_exactly(4).start();
        let failure = exchange.try_response().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Pending);
        assert!(
            failure.to_string().contains("the response body waits for more of the request body"),
            "{failure}"
        );
    }
}

#[test]
fn a_body_cut_short_is_incomplete() {
    let collecting = Client::new(app_fn(|request, _| async {
        Ok(Response::new(AsyncBody::full(request.into_body().collect(100).await?)))
    }));
    let sync = Client::sync(sync_fn(|request, _| {
        Ok(Response::new(WriteBody::full(request.into_body().collect(100)?)))
    }));
    for client in [collecting, sync] {
        let mut exchange = client.post("/").streaming_exactly(4).start();
        exchange.send_data("one");
        assert_eq!(exchange.poll_head(), Poll::Pending);
        exchange.end_sending();
        let response = exchange.response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.error().unwrap().kind(), FailKind::Body(BodyErrorKind::Incomplete));
    }
}

#[test]
fn a_client_that_leaves_has_the_call_dropped_and_its_hooks_run() {
    let (drops, finishes) = (Drops::default(), Arc::new(Mutex::new(Vec::new())));
    let (to_drop, to_tell) = (drops.clone(), Arc::clone(&finishes));
    let client = Client::new(app_fn(move |request, scope| {
        let (guard, finishes) = (to_drop.guard(), Arc::clone(&to_tell));
        async move {
            scope.on_finish(move |finish: &Finish| finishes.lock().unwrap().push(finish.outcome));
            if request.uri().path() == "/call" {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                let _guard = guard;
                frames.data("begun").await;
                std::future::pending().await
            })))
        }
    }));
    let mut exchange = client.get("/call").start();
    assert_eq!((exchange.stage(), drops.count()), (Stage::Calling, 0));
    exchange.disconnect();
    assert_eq!((exchange.stage(), drops.count()), (Stage::Over, 1));
    assert_eq!(exchange.finish(), Some(Finish::new(Outcome::Disconnected, None, 0)));

    let mut exchange = client.get("/body").start();
    exchange.read(5);
    assert_eq!(exchange.stage(), Stage::Answering);
    // To drop an exchange is to leave as well.
    drop(exchange);
    assert_eq!((drops.count(), &finishes.lock().unwrap()[..]), (2, &[Outcome::Disconnected; 2][..]));
    // A client that leaves is no failure (spec E5).
    assert!(client.reports().is_empty());
}

#[test]
fn under_the_policy_to_finish_the_call_goes_on_and_its_answer_is_discarded() {
    let steps = Rc::new(RefCell::new(Vec::new()));
    let taken = Rc::clone(&steps);
    let (open, gate) = futures_gate();
    let app = app_fn(move |_, scope| {
        let (steps, gate) = (Rc::clone(&taken), gate.clone());
        async move {
            gate.clone().await;
            steps.borrow_mut().push(if scope.is_disconnected() { "call, client gone" } else { "call" });
            Ok(Response::new(AsyncBody::from_chunks(["a", "b"].map(Bytes::from))))
        }
    });
    let client = Setup::new().policy(Policy::default().finish_on_disconnect()).app(app);
    let mut exchange = client.get("/").start();
    exchange.disconnect();
    assert_eq!(exchange.stage(), Stage::Calling);
    open();
    assert!(exchange.poll_frame().is_ready());
    assert_eq!(exchange.stage(), Stage::Over);
    assert_eq!(*steps.borrow(), ["call, client gone"]);
    assert_eq!(exchange.finish().unwrap().outcome, Outcome::Disconnected);
}

/// Something to wait for, and the means to end the wait.
fn futures_gate() -> (impl Fn(), Gate) {
    let state = Arc::new(Mutex::new((false, Vec::<std::task::Waker>::new())));
    let gate = Gate(Arc::clone(&state));
    let open = move || {
        let mut state = state.lock().unwrap();
        state.0 = true;
        state.1.drain(..).for_each(std::task::Waker::wake);
    };
    (open, gate)
}

#[derive(Clone)]
struct Gate(Arc<Mutex<(bool, Vec<std::task::Waker>)>>);

impl Future for Gate {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1.push(cx.waker().clone());
        Poll::Pending
    }
}

#[test]
fn the_end_of_the_sending_side_counts_as_leaving_where_the_call_waits() {
    let app = || {
        app_fn(|request: http::Request<AsyncBody>, scope| async move {
            if request.uri().path() == "/waits" {
                scope.worker().sleep(std::time::Duration::from_secs(1)).await;
            }
            Ok(Response::new(AsyncBody::from_static(b"answer")))
        })
    };
    let one_second = std::time::Duration::from_secs(1);
    let outcome = |client: &Client, target| {
        let mut exchange = client.get(target).start_unpolled();
        exchange.end_sending();
        client.advance(one_second);
        exchange.finish().map(|finish| finish.outcome)
    };
    let client = Client::new(app());
    assert_eq!(outcome(&client, "/ready"), Some(Outcome::Completed));
    assert_eq!(outcome(&client, "/waits"), Some(Outcome::Disconnected));
    for client in [
        Setup::new().with(Caps::HALF_CLOSE).app(app()),
        Setup::new().policy(Policy::default().answer_half_closed()).app(app()),
    ] {
        assert_eq!(outcome(&client, "/waits"), Some(Outcome::Completed));
    }
}

#[test]
fn without_a_watch_a_disconnect_is_noticed_by_the_next_write() {
    let client = Setup::new().without(Caps::DISCONNECT_WATCH).app(app_fn(|_, scope| async move {
        scope.worker().sleep(std::time::Duration::from_secs(1)).await;
        assert!(!scope.is_disconnected());
        Ok(Response::new(AsyncBody::from_static(b"answer")))
    }));
    let mut exchange = client.get("/").start();
    exchange.disconnect();
    assert_eq!(exchange.stage(), Stage::Calling);
    client.advance(std::time::Duration::from_secs(1));
    assert_eq!(exchange.finish(), Some(Finish::new(Outcome::Disconnected, None, 0)));
    assert!(client.reports().is_empty());
}

#[test]
fn a_client_that_does_not_read_stalls_the_producer() {
    let mut limits = varvel::Limits::default();
    limits.write_high_water = 10;
    let made = Drops::default();
    let counted = made.clone();
    let app = app_fn(move |_, _| {
        let counted = counted.clone();
        async move {
            Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                loop {
                    drop(counted.guard());
                    frames.data("four").await;
                }
            })))
        }
    });
    let client = Setup::new().limits(limits.clone()).app(app);
    let mut exchange = client.get("/").start();
    // Without being asked, the body is not polled at all.
    assert_eq!((exchange.head().status.as_u16(), made.count()), (200, 0));
    exchange.read(4);
    assert_eq!(made.count(), 1);
    assert_eq!((exchange.stall(), made.count()), (12, 4));
    assert_eq!((exchange.stall(), made.count()), (12, 4));
    assert_eq!(exchange.read(12), "fourfourfour");

    let seen = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&seen);
    let client = Setup::new().limits(limits).sync(sync_fn(move |_, _| {
        let told = Arc::clone(&told);
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            loop {
                sink.data(Bytes::from("four")).inspect_err(|error| {
                    assert_eq!(error.kind(), BodyErrorKind::Disconnected);
                    told.fetch_add(100, SeqCst);
                })?;
                told.fetch_add(1, SeqCst);
            }
        })))
    }));
    let mut exchange = client.get("/").start();
    assert_eq!(exchange.stall(), 12);
    exchange.disconnect();
    assert!(seen.load(SeqCst) >= 100, "the sink tells of the disconnect");
    assert_eq!(exchange.stage(), Stage::Over);
}

#[test]
fn a_sync_call_is_not_abandoned() {
    let ended = Drops::default();
    let guarded = ended.clone();
    let client = Client::sync(sync_fn(move |request, _| {
        let _guard = guarded.guard();
        let mut body = request.into_body();
        let mut seen = Vec::new();
        loop {
            match body.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.kind());
                    break;
                }
            }
        }
        assert_eq!(seen, [BodyErrorKind::Disconnected]);
        Ok(Response::new(WriteBody::empty()))
    }));
    let mut exchange = client.post("/").streaming().start();
    exchange.send_data("some");
    assert_eq!((exchange.unread(), ended.count()), (0, 0));
    exchange.disconnect();
    assert_eq!(ended.count(), 1);
    assert!(client.reports().is_empty());
}

#[test]
fn calls_are_driven_poll_by_poll_and_dropped_at_will() {
    let steps = Drops::default();
    let taken = steps.clone();
    let client = Client::new(app_fn(move |_, _| {
        let taken = taken.clone();
        async move {
            drop(taken.guard());
            yield_now().await;
            drop(taken.guard());
            yield_now().await;
            drop(taken.guard());
            Ok(Response::new(AsyncBody::from_chunks(["a", "b"].map(Bytes::from))))
        }
    }));
    let mut stages = Vec::new();
    let mut exchange = client.get("/").start_unpolled();
    assert_eq!((exchange.stage(), steps.count()), (Stage::Waiting, 0));
    while exchange.stage() != Stage::Over {
        stages.push((exchange.step(), steps.count()));
    }
    use Stage::{Answering, Calling, Over};
    let expected = [(Calling, 1), (Calling, 2), (Answering, 3), (Answering, 3), (Answering, 3), (Over, 3)];
    assert_eq!(stages, expected);
    assert_eq!(exchange.response().text(), "ab");

    for stop_after in 1..3 {
        let before = steps.count();
        let mut exchange = client.get("/").start_unpolled();
        for _ in 0..stop_after {
            exchange.step();
        }
        exchange.disconnect();
        assert_eq!((exchange.stage(), steps.count() - before), (Stage::Over, stop_after));
    }
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn one_request_can_wake_another() {
    let (open, gate) = futures_gate();
    let client = Client::new(app_fn(move |request, _| {
        let gate = gate.clone();
        let opens = request.uri().path() == "/open";
        if opens {
            open();
        }
        async move {
            gate.await;
            Ok(Response::new(AsyncBody::from_static(b"open")))
        }
    }));
    let mut waiting = client.get("/wait").start();
    assert!(waiting.poll_head().is_pending());
    assert_eq!(client.get("/open").send().text(), "open");
    assert!(waiting.poll_head().is_ready());
    assert_eq!(waiting.response().text(), "open");
}

#[test]
fn exclusive_calls_wait_for_each_other() {
    let client = Setup::new()
        .policy(Policy::default().exclusive())
        .app(app_fn(|request, _| async { Ok(Response::new(request.into_body())) }));
    assert_eq!(client.worker().info().concurrency, Some(1));
    let mut first = client.post("/").streaming().start();
    let mut second = client.post("/").body("second").start();
    assert_eq!((first.stage(), second.stage()), (Stage::Answering, Stage::Waiting));
    assert!(second.poll_head().is_pending());
    first.end_data();
    assert_eq!(first.response().text(), "");
    assert_eq!(second.response().text(), "second");
}

/// A setup for tests that fail on purpose.
fn impatient() -> Setup {
    Setup::new().patience(Duration::from_millis(50))
}

async fn restless() {
    loop {
        yield_now().await;
    }
}

#[test]
fn an_application_that_never_comes_to_rest_does_not_hang_the_test() {
    let client = impatient().app(app_fn(|request, scope| async move {
        match request.uri().path() {
            "/body" => Ok(Response::new(AsyncBody::generate(|_| async {
                restless().await;
                Ok(())
            }))),
            "/spawn" => {
                assert!(scope.worker().spawn(Box::pin(restless())).is_ok());
                std::future::pending().await
            }
            _ => {
                restless().await;
                unreachable!()
            }
        }
    }));
    for (target, expected) in [
        ("/call", "the application wakes itself without end"),
        ("/body", "the response body wakes itself without end"),
        ("/spawn", "nothing is left to wake it; something else wakes itself without end"),
    ] {
        let failure = client.get(target).try_send().unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Pending);
        assert!(failure.to_string().contains(expected), "{target}: {failure}");
    }
    let blocked = impatient().sync(sync_fn(|_, _| {
        loop {
            std::thread::park();
        }
    }));
    assert_eq!(blocked.get("/").try_send().unwrap_err().kind(), FailureKind::Pending);
}

/// Always ready with another frame of this size.
fn endless(bytes: usize) -> AsyncBody {
    AsyncBody::generate(move |mut frames| async move {
        loop {
            frames.data(vec![b'x'; bytes]).await;
        }
    })
}

#[test]
fn a_body_without_end_does_not_hang_the_test() {
    let client = impatient().answer_bytes_max(10_000).app(app_fn(|request, mut scope| async move {
        Ok(match scope.take_upgrade() {
            Some(upgrade) => upgrade.accept(Response::new(()), |mut io| async move {
                while io.write_all(&[b'x'; 100]).await.is_ok() {}
            }),
            None => Response::new(endless(if request.uri().path() == "/empty" { 0 } else { 100 })),
        })
    }));
    let failure = client.get("/").try_send().unwrap_err();
    assert_eq!(failure.kind(), FailureKind::TooLarge);
    assert!(
        failure.to_string().contains("more than 10000 bytes came (Setup::answer_bytes_max)"),
        "{failure}"
    );
    // What is read piece by piece is the test's to bound.
    assert_eq!(client.get("/").start().read(20_000).len(), 20_000);
    let failure = client.get("/empty").try_send().unwrap_err();
    assert!(failure.to_string().contains("the response body wakes itself without end"), "{failure}");
    let received = || client.get("/").upgrade("chat").receive_to_end();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(received)).is_err());
}

#[test]
fn a_discarded_body_without_end_does_not_hang_the_test() {
    let client =
        Setup::new().policy(Policy::default().finish_on_disconnect()).app(app_fn(|request, _| async move {
            Ok(Response::new(if request.uri().path() == "/endless" {
                endless(100)
            } else {
                AsyncBody::from("another answer")
            }))
        }));
    let mut exchange = client.get("/endless").start();
    exchange.read(100);
    exchange.disconnect();
    assert_eq!(exchange.stage(), Stage::Answering);
    // Nor does it keep others from being answered.
    assert_eq!(client.get("/").send().text(), "another answer");
    client.close().unwrap();
    assert_eq!(exchange.finish().unwrap().outcome, Outcome::Stopped);
}

#[test]
fn timers_of_a_body_run_while_the_clock_is_moved_whoever_reads() {
    let second = Duration::from_secs(1);
    let client = Client::new(app_fn(move |_, scope| async move {
        let worker = scope.worker().clone();
        worker.sleep(second).await;
        Ok(Response::new(AsyncBody::generate(move |mut frames| async move {
            for piece in ["one", "two"] {
                worker.sleep(second).await;
                frames.data(piece).await;
            }
            Ok(())
        })))
    }));
    let mut exchange = client.get("/").start();
    client.advance(2 * second);
    assert_eq!(exchange.read(3), "one");
    assert!(exchange.poll_frame().is_pending());
    client.advance(second);
    assert_eq!(exchange.response().text(), "two");
    let exchange = client.get("/").start();
    client.advance(3 * second);
    assert_eq!(exchange.response().text(), "onetwo");
}

#[test]
fn a_body_that_fails_breaks_the_answer_off() {
    let client = Client::new(app_fn(|_, _| async {
        Ok(Response::new(AsyncBody::generate(|mut frames| async move {
            frames.data("begun").await;
            Err(varvel::BodyError::failed("no more paper"))
        })))
    }));
    let mut exchange = client.get("/").start();
    assert_eq!(exchange.read(5), "begun");
    match exchange.poll_frame() {
        Poll::Ready(Some(Err(failure))) => assert_eq!(failure.kind(), FailureKind::BrokenOff),
        other => panic!("{other:?}"),
    }
    assert_eq!(exchange.finish().unwrap().outcome, Outcome::Failed);
    assert!(matches!(&exchange.reports()[0].event, Recorded::BodyFailed { kind: BodyErrorKind::Failed, .. }));
}

#[test]
fn an_answer_of_known_length_is_complete_with_its_last_byte() {
    let client = Client::new(app_fn(|_, _| async {
        let body = AsyncBody::generate(|mut frames| async move {
            frames.data("hello").await;
            Ok(())
        });
        Ok(Response::builder().header("content-length", 5).body(body)?)
    }));
    let mut exchange = client.get("/").start();
    assert_eq!((exchange.read(4), exchange.stage()), (Bytes::from("hell"), Stage::Over));
    assert_eq!(exchange.finish().unwrap().outcome, Outcome::Completed);
    assert_eq!(exchange.response().text(), "o");
}

#[test]
fn another_thread_may_send_interim_heads() {
    let client = Client::new(app_fn(|_, scope| async move {
        let watch = scope.watch();
        let sent = std::thread::spawn(move || watch.interim(http::StatusCode::PROCESSING, &HeaderMap::new()));
        sent.join().unwrap()?;
        std::future::pending().await
    }));
    let mut exchange = client.get("/").start();
    assert!(exchange.poll_head().is_pending());
    assert_eq!(exchange.interim()[0].status, 102);
}

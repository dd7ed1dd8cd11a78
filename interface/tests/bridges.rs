//! The bridges without a server: a worker whose pool starts a thread for each job.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use varvel::{
    Address, App, AsyncApp, AsyncAppFactory, AsyncBody, BodyError, BodyErrorKind, Caps, ConnInfo, Driver,
    Exchange, FailKind, Finish, FinishHook, Frame, FrameSink, Job, Outcome, Policy, PollBody, ReadBody,
    Report, Scope, TimerId, Worker, WorkerInfo, WorkerOps, WriteBody, app_fn,
    bridge::{BlockOn, Inline, Offloaded},
    map_answer, sync_factory_fn, sync_fn,
};

struct Pool {
    info: WorkerInfo,
    full: bool,
}

impl WorkerOps for Pool {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }
    fn report(&self, _: &Report<'_>) {}
    fn set_timer(&self, deadline: Instant, waker: &Waker) -> TimerId {
        let waker = waker.clone();
        std::thread::spawn(move || {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            waker.wake();
        });
        TimerId(0)
    }
    fn move_timer(&self, _: TimerId, _: &Waker) -> bool {
        false
    }
    fn cancel_timer(&self, _: TimerId) {}
    fn offload(&self, job: Job) -> Result<(), Job> {
        if self.full {
            return Err(job);
        }
        std::thread::spawn(job);
        Ok(())
    }
    fn is_stopping(&self) -> bool {
        false
    }
    fn poll_stopping(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

struct Conn {
    worker: Worker,
    info: ConnInfo,
    gone: Mutex<Gone>,
}

#[derive(Default)]
struct Gone {
    gone: bool,
    waker: Option<Waker>,
}

impl Conn {
    fn leave(&self) {
        let mut gone = self.gone.lock().unwrap();
        gone.gone = true;
        if let Some(waker) = gone.waker.take() {
            waker.wake();
        }
    }
}

impl Exchange for Conn {
    fn worker(&self) -> &Worker {
        &self.worker
    }
    fn conn(&self) -> &ConnInfo {
        &self.info
    }
    fn is_disconnected(&self, _: u64) -> bool {
        self.gone.lock().unwrap().gone
    }
    fn poll_disconnected(&self, _: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut gone = self.gone.lock().unwrap();
        if gone.gone {
            return Poll::Ready(());
        }
        gone.waker = Some(cx.waker().clone());
        Poll::Pending
    }
    fn on_finish(&self, _: u64, hook: FinishHook) {
        hook(&Finish::new(Outcome::Completed, None, 0));
    }
}

fn conn(full: bool) -> Arc<Conn> {
    let mut info = WorkerInfo::new("test", Driver::Evented);
    info.caps = Caps::OFFLOAD | Caps::DEFER;
    info.limits.write_high_water = 8;
    let worker = Worker::new(Arc::new(Pool { info, full }));
    Arc::new(Conn {
        worker,
        info: ConnInfo::new(1, Address::Unnamed, Address::Unnamed),
        gone: Mutex::default(),
    })
}

fn scope(conn: &Arc<Conn>) -> Scope {
    Scope::new(Arc::clone(conn) as Arc<dyn Exchange>, 1, Bytes::from_static(b"/"), Instant::now())
        .with_deferral()
}

/// Polls to the end, sleeping on a condition in between.
fn block_on<F: Future>(future: F) -> F::Output {
    #[derive(Default)]
    struct Flag(Mutex<bool>, Condvar);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_all();
        }
    }
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = flag.1.wait_while(flag.0.lock().unwrap(), |woken| !*woken).unwrap();
        *woken = false;
    }
}

/// What a response body pushes: each frame as text, and each flush.
#[derive(Default)]
struct Record(Vec<String>);

impl FrameSink for Record {
    fn data(&mut self, chunk: Bytes) -> Result<(), varvel::BodyError> {
        self.0.push(String::from_utf8_lossy(&chunk).into_owned());
        Ok(())
    }
    fn flush(&mut self) -> Result<(), varvel::BodyError> {
        self.0.push("(flush)".into());
        Ok(())
    }
    fn trailers(&mut self, trailers: http::HeaderMap) -> Result<(), varvel::BodyError> {
        self.0.push(format!("{trailers:?}"));
        Ok(())
    }
}

/// A request body of two frames, the second after a while.
fn dribbled(text: [&'static str; 2]) -> AsyncBody {
    AsyncBody::generate(move |mut frames| async move {
        for piece in text {
            frames.data(piece).await;
        }
        Ok(())
    })
}

#[test]
fn block_on_flushes_what_was_produced_before_it_waits() {
    let app = BlockOn::new(app_fn(|_, scope: Scope| async move {
        let worker = scope.worker().clone();
        Ok(Response::new(AsyncBody::generate(move |mut frames| async move {
            frames.data("one").await;
            worker.sleep(Duration::from_millis(20)).await;
            frames.data("two").await;
            Ok(())
        })))
    }));
    let response = app.call(Request::new(ReadBody::empty()), scope(&conn(false))).unwrap();
    let mut record = Record::default();
    response.into_body().write_to(&mut record).unwrap();
    assert_eq!(record.0, ["one", "(flush)", "two"]);
}

#[test]
fn block_on_does_not_poll_a_body_behind_its_trailers() {
    struct Trailers(bool);
    impl PollBody for Trailers {
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame, varvel::BodyError>>> {
            assert!(!std::mem::replace(&mut self.0, true), "polled behind the trailers");
            Poll::Ready(Some(Ok(Frame::Trailers(http::HeaderMap::new()))))
        }
    }
    let app = BlockOn::new(app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_poll(Trailers(false)))) }));
    let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
    let mut record = Record::default();
    response.into_body().write_to(&mut record).unwrap();
    assert_eq!(record.0, ["{}"]);
}

#[test]
fn block_on_drops_a_call_whose_client_left() {
    struct Drops(mpsc::Sender<()>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (dropped, was_dropped) = mpsc::channel();
    let conn = conn(false);
    let leaver = Arc::clone(&conn);
    let app = BlockOn::new(app_fn(move |_, _| {
        let drops = Drops(dropped.clone());
        let leaver = Arc::clone(&leaver);
        async move {
            let _drops = drops;
            std::thread::spawn(move || leaver.leave());
            std::future::pending().await
        }
    }));
    let error = app.call(Request::new(ReadBody::empty()), scope(&conn)).unwrap_err();
    assert_eq!(error.kind(), FailKind::Abort);
    was_dropped.recv().unwrap();
}

#[test]
fn offloaded_reads_a_streamed_request_and_streams_its_answer_beyond_the_high_water_mark() {
    let app = Offloaded::new(sync_fn(|request: Request<ReadBody>, _| {
        let mut body = request.into_body();
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            while let Some(frame) = body.next_frame()? {
                if let Frame::Data(data) = frame {
                    sink.data(data)?;
                    sink.flush()?;
                }
            }
            sink.data(Bytes::from_static(b"more than eight bytes"))
        })))
    }));
    let request = Request::new(dribbled(["ping", "pong"]));
    let response = block_on(app.call(request, scope(&conn(false)))).unwrap();
    let text = block_on(response.into_body().collect(1000)).unwrap();
    assert_eq!(text, "pingpongmore than eight bytes");
}

#[test]
fn offloaded_tells_the_thread_when_nobody_takes_its_frames() {
    let (outcome, was) = mpsc::channel();
    let app = Offloaded::new(sync_fn(move |_, _| {
        let outcome = outcome.clone();
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            let result = loop {
                if let Err(error) = sink.data(Bytes::from_static(b"0123456789")) {
                    break error;
                }
            };
            outcome.send(result.kind()).unwrap();
            Err(result)
        })))
    }));
    let response = block_on(app.call(Request::new(AsyncBody::empty()), scope(&conn(false)))).unwrap();
    let mut body = response.into_body();
    block_on(body.frame()).unwrap().unwrap();
    drop(body);
    assert_eq!(was.recv().unwrap(), BodyErrorKind::Disconnected);
}

#[test]
fn offloaded_holds_a_writer_of_empty_frames_back() {
    const FRAMES: usize = 10_000;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let app = Offloaded::new(sync_fn(move |_, _| {
        let count = Arc::clone(&count);
        Ok(Response::new(WriteBody::from_writer(move |sink| {
            (0..FRAMES).try_for_each(|_| {
                sink.data(Bytes::new())?;
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        })))
    }));
    let response = block_on(app.call(Request::new(AsyncBody::empty()), scope(&conn(false)))).unwrap();
    let mut body = response.into_body();
    for taken in 1..=FRAMES {
        block_on(body.frame()).unwrap().unwrap();
        let ahead = written.load(Ordering::SeqCst).saturating_sub(taken);
        assert!(ahead <= 2, "{ahead} frames wait after {taken}");
    }
    assert!(block_on(body.frame()).is_none());
}

#[test]
fn offloaded_does_not_write_a_body_that_is_not_sent() {
    struct Drops(mpsc::Sender<&'static str>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    let (sender, events) = mpsc::channel();
    let app = Offloaded::new(sync_fn(move |request, _| {
        let drops = Drops(sender.clone());
        let body = WriteBody::from_writer(move |_| {
            drops.0.send("written").unwrap();
            Ok(())
        });
        Ok(Response::builder().status(if request.uri() == "/304" { 304 } else { 200 }).body(body)?)
    }));
    for (method, target) in [("HEAD", "/"), ("GET", "/304")] {
        let request = Request::builder().method(method).uri(target).body(AsyncBody::empty()).unwrap();
        drop(block_on(app.call(request, scope(&conn(false)))).unwrap());
        // It is gone before the answer is there: the next call must not meet it.
        assert_eq!(events.try_recv(), Ok("dropped"), "{method} {target}");
        assert!(events.try_recv().is_err(), "{method} {target}");
    }
}

#[test]
fn offloaded_fails_as_a_call_where_the_writer_fails_ahead_of_the_first_frame() {
    let app = Offloaded::new(sync_fn(|_, _| {
        Ok(Response::new(WriteBody::from_writer(|_| Err(BodyError::failed("no such row")))))
    }));
    let error = block_on(app.call(Request::new(AsyncBody::empty()), scope(&conn(false)))).unwrap_err();
    assert_eq!(error.kind(), FailKind::Body(BodyErrorKind::Failed));
}

#[test]
fn offloaded_answers_503_when_the_pool_is_full() {
    let app = Offloaded::new(sync_fn(|_, _| Ok(Response::new(WriteBody::empty()))));
    let error = block_on(app.call(Request::new(AsyncBody::empty()), scope(&conn(true)))).unwrap_err();
    assert_eq!(error.kind(), FailKind::Unavailable);
}

#[test]
fn a_call_that_was_given_up_keeps_the_next_one_waiting_under_an_exclusive_policy() {
    let running = Arc::new(AtomicUsize::new(0));
    let (entered, enters) = mpsc::channel();
    let (leave, leaves) = mpsc::channel::<()>();
    let (app_running, leaves) = (Arc::clone(&running), Arc::new(Mutex::new(leaves)));
    let factory = sync_factory_fn(move |_| {
        let (running, entered, leaves) = (Arc::clone(&app_running), entered.clone(), Arc::clone(&leaves));
        Ok(sync_fn(move |_, _| {
            entered.send(running.fetch_add(1, SeqCst)).unwrap();
            leaves.lock().unwrap().recv().unwrap();
            running.fetch_sub(1, SeqCst);
            Ok(Response::new(WriteBody::empty()))
        }))
    });
    let conn = conn(false);
    let factory = Offloaded::new(factory.with_policy(Policy::default().exclusive()));
    let app = block_on(factory.build(&conn.worker)).unwrap();
    let call = || app.call(Request::new(AsyncBody::empty()), scope(&conn));
    drop(call());
    assert_eq!(enters.recv(), Ok(0));
    let second = call();
    leave.send(()).unwrap();
    // Nobody else is inside when the second comes in.
    assert_eq!(enters.recv(), Ok(0));
    leave.send(()).unwrap();
    assert!(block_on(second).is_ok());
}

#[test]
fn a_panic_on_the_pool_unwinds_on_the_loop() {
    let app = Offloaded::new(sync_fn(|_, _| panic!("at the application's own request")));
    let call = app.call(Request::new(AsyncBody::empty()), scope(&conn(false)));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(call))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"at the application's own request"));
}

#[test]
fn a_deferred_answer_may_come_later_and_from_elsewhere_through_both_bridges() {
    fn app(_: Request<ReadBody>, mut scope: Scope) -> varvel::AppResult {
        let (placeholder, reply) = scope.take_deferral().unwrap().defer();
        std::thread::spawn(move || {
            let body = WriteBody::from_writer(|sink| sink.data(Bytes::from_static(b"later")));
            let response = Response::builder().status(StatusCode::ACCEPTED).body(body).unwrap();
            reply.send(response).unwrap();
        });
        map_answer(Ok(placeholder), |answer| {
            let mut response = answer?;
            response.headers_mut().insert("seen", "the answer".parse().unwrap());
            Ok(response)
        })
    }
    let offloaded = Offloaded::new(sync_fn(app)).call(Request::new(AsyncBody::empty()), scope(&conn(false)));
    let inline = Inline::new(sync_fn(app)).call(Request::new(AsyncBody::empty()), scope(&conn(false)));
    for call in [offloaded, inline] {
        let response = block_on(call).unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.headers()["seen"], "the answer");
        assert_eq!(block_on(response.into_body().collect(100)).unwrap(), "later");
    }
}

#[test]
fn inline_calls_on_the_loop_unless_the_request_body_is_still_to_come() {
    let app = Inline::new(sync_fn(|request: Request<ReadBody>, _| {
        let thread = format!("{:?} ", std::thread::current().id());
        let body = request.into_body().collect(100)?;
        Ok(Response::new(WriteBody::full([thread.as_bytes(), &body[..]].concat())))
    }));
    let here = format!("{:?} ", std::thread::current().id());
    let answer = |request| {
        let response = block_on(app.call(Request::new(request), scope(&conn(false)))).unwrap();
        String::from_utf8(block_on(response.into_body().collect(1000)).unwrap().to_vec()).unwrap()
    };
    assert_eq!(answer(AsyncBody::from_static(b"body")), format!("{here}body"));
    let elsewhere = answer(dribbled(["bo", "dy"]));
    assert!(elsewhere.ends_with("body") && !elsewhere.starts_with(&here), "{elsewhere}");
}

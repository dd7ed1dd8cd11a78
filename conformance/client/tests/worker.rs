//! What the worker offers: time that is moved by hand, tasks, jobs, the stop; and the life of an application.

use std::{
    cell::RefCell,
    future::Future,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Poll, Waker},
    time::Duration,
};

use http::Response;
use varvel::{
    AppFactory, AsyncAppFactory, AsyncBody, BoxError, Caps, Outcome, Phase, StartError, Worker, WriteBody,
    app_fn, bridge::BlockOn, factory_fn, sync_fn,
};
use varvel_test::{Client, FailureKind, Recorded, Setup, Stage};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_is_moved_by_hand() {
    let client = Client::new(app_fn(|_, scope| async move {
        scope.worker().sleep(60 * SECOND).await;
        Ok(Response::new(AsyncBody::from_static(b"at last")))
    }));
    let mut exchange = client.get("/").start();
    assert_eq!(client.next_timer(), Some(60 * SECOND));
    client.advance(59 * SECOND);
    assert!(exchange.poll_head().is_pending());
    client.advance(SECOND);
    let response = exchange.response();
    assert_eq!(
        (response.text(), response.header("date")),
        ("at last", Some("Sat, 01 Jan 2000 00:01:00 GMT"))
    );
    assert_eq!(client.next_timer(), None);
}

#[test]
fn timers_fire_in_order_and_each_at_its_time() {
    let fired = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&fired);
    let client = Client::new(app_fn(move |request, scope| {
        let told = Rc::clone(&told);
        async move {
            let seconds: u32 = request.uri().path()[1..].parse()?;
            let begun = scope.worker().now();
            for _ in 0..2 {
                scope.worker().sleep(seconds * SECOND).await;
                told.borrow_mut().push((scope.worker().now() - begun).as_secs());
            }
            Ok(Response::new(AsyncBody::empty()))
        }
    }));
    let exchanges = ["/5", "/2", "/3"].map(|target| client.get(target).start());
    client.advance(3600 * SECOND);
    assert_eq!(*fired.borrow(), [2, 3, 4, 5, 6, 10]);
    exchanges.into_iter().for_each(|exchange| drop(exchange.response()));
}

#[test]
fn a_dropped_timer_is_cancelled() {
    let client = Client::new(app_fn(|_, scope| async move {
        scope.worker().sleep(SECOND).await;
        Ok(Response::new(AsyncBody::empty()))
    }));
    let exchange = client.get("/").start();
    assert_eq!(client.next_timer(), Some(SECOND));
    drop(exchange);
    assert_eq!(client.next_timer(), None);
}

#[test]
fn spawned_tasks_run_beside_the_requests() {
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let client = Client::new(app_fn(move |_, scope| {
        let (worker, done) = (scope.worker().clone(), Arc::clone(&counted));
        let spawned = scope.worker().spawn(Box::pin(async move {
            worker.sleep(SECOND).await;
            done.fetch_add(1, SeqCst);
            panic!("at the end of the task");
        }));
        async move { Ok(Response::new(AsyncBody::full(spawned.is_ok().to_string()))) }
    }));
    assert_eq!(client.get("/").send().text(), "true");
    assert_eq!((client.tasks(), done.load(SeqCst)), (1, 0));
    client.advance(SECOND);
    assert_eq!((client.tasks(), done.load(SeqCst)), (0, 1));
    assert!(matches!(client.reports()[0].event, Recorded::Panicked { during: Phase::Background, .. }));
}

#[test]
fn offloaded_jobs_are_waited_for() {
    let client = Client::new(app_fn(|_, scope| async move {
        let (answer, waker) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None::<Waker>)));
        let (there, to_wake) = (Arc::clone(&answer), Arc::clone(&waker));
        let here = std::thread::current().id();
        let job = Box::new(move || {
            *there.lock().unwrap() = Some(std::thread::current().id() != here);
            let waker = to_wake.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        if scope.worker().offload(job).is_err() {
            return Ok(Response::new(AsyncBody::from_static(b"given back")));
        }
        let elsewhere = std::future::poll_fn(|cx| {
            *waker.lock().unwrap() = Some(cx.waker().clone());
            answer.lock().unwrap().take().map_or(Poll::Pending, Poll::Ready)
        });
        Ok(Response::new(AsyncBody::full(elsewhere.await.to_string())))
    }));
    // Not even a look takes less: the job is over when the test goes on.
    let mut exchange = client.get("/").start();
    assert!(exchange.poll_head().is_ready());
    assert_eq!(exchange.response().text(), "true");
}

#[test]
fn a_sync_application_may_block_on_its_job() {
    let client = Client::sync(sync_fn(|_, scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let job = Box::new(move || sender.send("done").unwrap());
        scope.worker().offload(job).map_err(|_| varvel::AppError::unavailable("no pool"))?;
        Ok(Response::new(WriteBody::from_static(receiver.recv()?.as_bytes())))
    }));
    let begun = std::time::Instant::now();
    assert_eq!(client.get("/").send().text(), "done");
    // Its patience is 5 s.
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn what_is_masked_is_given_back() {
    let client = Setup::new().without(Caps::OFFLOAD | Caps::SPAWN | Caps::INTERIM | Caps::UPGRADE).app(
        app_fn(|_, mut scope| async move {
            let worker = scope.worker();
            let back = (
                worker.offload(Box::new(|| ())).is_err(),
                worker.spawn(Box::pin(async {})).is_err(),
                scope.interim(http::StatusCode::EARLY_HINTS, &http::HeaderMap::new()),
                scope.take_upgrade().is_none(),
            );
            Ok(Response::new(AsyncBody::full(format!("{back:?}"))))
        }),
    );
    assert_eq!(client.try_upgraded(), "(true, true, Err(Unsupported), true)");
}

/// What a client that asks for an upgrade is answered instead.
trait TryUpgraded {
    fn try_upgraded(&self) -> String;
}

impl TryUpgraded for Client {
    fn try_upgraded(&self) -> String {
        self.get("/").try_upgrade("chat").unwrap_err().text().to_owned()
    }
}

#[test]
fn a_stop_is_seen_and_new_connections_are_refused() {
    let client = Client::new(app_fn(|_, scope| async move {
        scope.worker().stopping().await;
        Ok(Response::new(AsyncBody::full(scope.worker().is_stopping().to_string())))
    }));
    let mut exchange = client.get("/").start();
    assert!(exchange.poll_head().is_pending());
    client.stop();
    assert_eq!(client.get("/").try_send().unwrap_err().kind(), FailureKind::Refused);
    assert_eq!(exchange.response().text(), "true");
}

#[test]
fn closing_cuts_off_what_is_left() {
    let client = Client::new(app_fn(|_, scope| async move {
        let task = scope.worker().spawn(Box::pin(std::future::pending()));
        assert!(task.is_ok());
        std::future::pending().await
    }));
    let exchange = client.get("/").start();
    client.close().unwrap();
    assert_eq!((exchange.stage(), exchange.finish().unwrap().outcome), (Stage::Over, Outcome::Stopped));
    assert_eq!(exchange.try_response().unwrap_err().kind(), FailureKind::NoAnswer);
}

#[derive(Clone, Default)]
struct Life(Arc<Mutex<Vec<&'static str>>>);

impl Life {
    fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }
}

struct Living(Life);

impl varvel::App for Living {
    fn call(&self, _request: http::Request<varvel::ReadBody>, scope: varvel::Scope) -> varvel::AppResult {
        self.0.add("call");
        let life = self.0.clone();
        scope.on_finish(move |_| life.add("hook"));
        Ok(Response::new(WriteBody::empty()))
    }
}

impl AppFactory for Life {
    type App = Living;

    fn build(&self, worker: &Worker) -> Result<Living, StartError> {
        assert_eq!(worker.info().server, "varvel-test");
        self.add("build");
        Ok(Living(self.clone()))
    }

    fn teardown(&self, app: Living, _worker: &Worker) -> Result<(), BoxError> {
        self.add("teardown");
        drop(app);
        Err("the lamp was left on".into())
    }
}

#[test]
fn an_application_is_built_called_and_torn_down() {
    let life = Life::default();
    let client = Client::sync_factory(life.clone()).unwrap();
    client.get("/").send();
    assert_eq!(client.close().unwrap_err().to_string(), "the lamp was left on");
    assert_eq!(*life.0.lock().unwrap(), ["build", "call", "hook", "teardown"]);

    let life = Life::default();
    drop(Client::sync_factory(life.clone()).unwrap());
    assert_eq!(*life.0.lock().unwrap(), ["build", "teardown"]);
}

#[test]
fn an_async_factory_may_wait_for_its_own_tasks() {
    struct Warm(Arc<AtomicBool>);
    impl AsyncAppFactory for Warm {
        type App = varvel::AppFn<fn(http::Request<AsyncBody>, varvel::Scope) -> varvel::AppFuture>;
        async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
            let warm = Arc::clone(&self.0);
            let spawned = worker.spawn(Box::pin(async move { warm.store(true, SeqCst) }));
            assert!(spawned.is_ok());
            while !self.0.load(SeqCst) {
                let mut yielded = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            Ok(app_fn(|_, _| Box::pin(async { Ok(Response::new(AsyncBody::from_static(b"warm"))) })))
        }
    }
    let client = Client::factory(Warm(Arc::default())).unwrap();
    assert_eq!(client.get("/").send().text(), "warm");
}

#[test]
fn a_failed_build_is_an_error_and_one_that_waits_a_panic() {
    type Never = varvel::AppFn<fn(http::Request<AsyncBody>, varvel::Scope) -> varvel::AppFuture>;
    let failing = factory_fn(|_| async { Err::<Never, _>(StartError::new("no database")) });
    let error = Client::factory(failing).unwrap_err();
    assert_eq!(error.to_string(), "the application could not be built: no database");
    let waiting = factory_fn(|_| std::future::pending::<Result<Never, StartError>>());
    let panic = std::panic::catch_unwind(|| Client::factory(waiting)).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("the factory's build is pending, and nothing is left to wake it"), "{message}");
}

/// Waits for a timer and a task when it is built, when it is called, in its body, and when it is torn down.
struct Sleeper;

impl AsyncAppFactory for Sleeper {
    type App = varvel::AppFn<fn(http::Request<AsyncBody>, varvel::Scope) -> varvel::AppFuture>;

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let is_warm = Arc::new(AtomicBool::new(false));
        let (sleep, warm) = (worker.sleep(SECOND), Arc::clone(&is_warm));
        let task = Box::pin(async move {
            sleep.await;
            warm.store(true, SeqCst);
        });
        assert!(worker.spawn(task).is_ok());
        worker.sleep(3600 * SECOND).await;
        assert!(is_warm.load(SeqCst));
        Ok(app_fn(|_, scope| {
            Box::pin(async move {
                let worker = scope.worker().clone();
                worker.sleep(60 * SECOND).await;
                Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("good ").await;
                    worker.sleep(60 * SECOND).await;
                    frames.data("morning").await;
                    Ok(())
                })))
            })
        }))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        let _ = app;
        worker.sleep(3600 * SECOND).await;
        Err("torn down an hour later".into())
    }
}

#[test]
fn an_application_that_waits_for_a_timer_hangs_neither_build_nor_teardown() {
    for client in [Client::factory(Sleeper), Client::sync_factory(BlockOn::new(Sleeper))].map(Result::unwrap)
    {
        // The build took an hour, and with it the time stands still again.
        assert_eq!(client.next_timer(), None);
        let date = |exchange: &mut varvel_test::Exchange| exchange.head().headers["date"].clone();
        let mut exchange = client.get("/").start();
        assert!(exchange.poll_head().is_pending());
        assert_eq!(client.next_timer(), Some(60 * SECOND));
        client.advance(59 * SECOND);
        assert!(exchange.poll_head().is_pending());
        client.advance(SECOND);
        assert_eq!(date(&mut exchange), "Sat, 01 Jan 2000 01:01:00 GMT");
        assert_eq!(exchange.read(5), "good ");
        assert!(exchange.poll_frame().is_pending());
        client.advance(60 * SECOND);
        assert_eq!(exchange.response().text(), "morning");
        assert_eq!(client.close().unwrap_err().to_string(), "torn down an hour later");
    }
}

#[test]
fn a_build_that_waits_for_another_thread_is_not_robbed_of_its_time() {
    let factory = factory_fn(|worker| async move {
        let connected = Arc::new((AtomicBool::new(false), Mutex::new(None::<Waker>)));
        let connecting = Arc::clone(&connected);
        let (wait, waits) = std::sync::mpsc::channel();
        let connect = Box::new(move || {
            waits.recv().unwrap();
            // Time enough to be robbed of it.
            std::thread::sleep(Duration::from_millis(20));
            connecting.0.store(true, SeqCst);
            if let Some(waker) = connecting.1.lock().unwrap().take() {
                waker.wake();
            }
        });
        assert!(worker.offload(connect).is_ok());
        let mut timeout = std::pin::pin!(worker.sleep(SECOND));
        std::future::poll_fn(|cx| {
            *connected.1.lock().unwrap() = Some(cx.waker().clone());
            let _ = wait.send(());
            match connected.0.load(SeqCst) {
                true => Poll::Ready(Ok(())),
                false => timeout.as_mut().poll(cx).map(|()| Err(StartError::new("too slow"))),
            }
        })
        .await?;
        Ok::<_, StartError>(app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) }))
    });
    assert!(Client::factory(factory).is_ok());
}

#[test]
fn a_sync_call_that_blocks_on_a_timer_follows_the_clock() {
    let client = Client::sync(sync_fn(|_, scope| {
        scope.worker().block_on(scope.worker().sleep(60 * SECOND));
        Ok(Response::new(WriteBody::from("at last")))
    }));
    let failure = client.get("/").try_send().unwrap_err();
    assert!(failure.to_string().contains("a timer that is due in 60s"), "{failure}");
    let exchange = client.get("/").start();
    client.advance(60 * SECOND);
    assert_eq!(exchange.response().text(), "at last");
    drop(client.get("/").start()); // And leaves the call asleep, without waiting for it.
}

#[test]
fn a_job_that_blocks_on_a_timer_follows_the_clock() {
    let minutes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&minutes);
    let client = Client::sync(sync_fn(move |_, scope| {
        let (worker, minutes) = (scope.worker().clone(), Arc::clone(&counted));
        let job = Box::new(move || {
            for _ in 0..60 {
                worker.block_on(worker.sleep(60 * SECOND));
                minutes.fetch_add(1, SeqCst);
            }
        });
        scope.worker().offload(job).map_err(|_| varvel::AppError::unavailable("no pool"))?;
        Ok(Response::new(WriteBody::empty()))
    }));
    client.get("/").send();
    client.advance(59 * 60 * SECOND);
    assert_eq!((minutes.load(SeqCst), client.next_timer()), (59, Some(60 * SECOND)));
    client.advance(60 * SECOND);
    assert_eq!((minutes.load(SeqCst), client.next_timer()), (60, None));
}

#[test]
fn reports_of_the_application_are_kept() {
    let client = Client::sync(sync_fn(|_, scope| {
        let event = varvel::Event::Log { level: varvel::Level::Info, message: "a guest" };
        scope.watch().report(&varvel::Report::new(event));
        Ok(Response::new(WriteBody::empty()))
    }));
    client.get("/").send();
    assert_eq!(client.reports()[0].to_string(), "info: a guest");
}

#[test]
fn a_build_that_never_comes_to_rest_does_not_hang_the_test() {
    type Never = varvel::AppFn<fn(http::Request<AsyncBody>, varvel::Scope) -> varvel::AppFuture>;
    let restless = factory_fn(|_| {
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<Result<Never, StartError>>::Pending
        })
    });
    let setup = Setup::new().patience(Duration::from_millis(50));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| setup.factory(restless))).is_err());
}

#[test]
fn a_task_whose_drop_panics_is_told_and_disturbs_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let client = Client::new(app_fn(|request, scope| async move {
        let bomb = Bomb;
        let ends = request.uri().path() == "/ends";
        let task = Box::pin(async move {
            if !ends {
                std::future::pending::<()>().await;
            }
            drop(bomb);
        });
        assert!(scope.worker().spawn(task).is_ok());
        Ok(Response::new(AsyncBody::empty()))
    }));
    assert_eq!(client.get("/ends").send().status(), 200);
    assert_eq!((client.get("/waits").send().status().as_u16(), client.tasks()), (200, 1));
    assert!(matches!(client.reports()[0].event, Recorded::Panicked { during: Phase::Background, .. }));
    client.close().unwrap();
}

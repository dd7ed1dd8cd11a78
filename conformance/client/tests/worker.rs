//! What the worker offers: time that is moved by hand, tasks, jobs, the stop; and the life of an application.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::Response;
use varvel::{
    AppFactory, AsyncAppFactory, AsyncBody, BoxError, Caps, Outcome, Phase, StartError, Worker, WriteBody,
    app_fn, factory_fn, sync_fn,
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
        let (answer, waker) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None::<std::task::Waker>)));
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
            answer.lock().unwrap().take().map_or(std::task::Poll::Pending, std::task::Poll::Ready)
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
                    if std::mem::replace(&mut yielded, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
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
    let waiting = factory_fn(|worker| async move {
        worker.sleep(SECOND).await;
        Err::<Never, _>(StartError::new("never said"))
    });
    let panic = std::panic::catch_unwind(|| Client::factory(waiting)).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("the factory's build waits for a timer that is due in 1s"), "{message}");
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
            std::task::Poll::<Result<Never, StartError>>::Pending
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

//! What the drivers make of applications that use timers, tasks and jobs, and of those that never end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use http::{Request, Response};
use varvel::{
    App, AppResult, AsyncApp, AsyncBody, Caps, Deferral, ReadBody, Scope, Shared, Worker, WriteBody, app_fn,
    bridge::BlockOn, sync_fn,
};

use super::{get, request};
use crate::{
    cancel_everywhere,
    drive::{Bench, CAPS, Gate, message},
    middleware, middleware_sync, overlap_sync, without_each_capability, without_each_capability_sync,
};

const SHORT: Duration = Duration::from_millis(5);

/// Has an answer given by a task that waits for a timer first; where that cannot be, gives it at once.
fn put_off(answer: Response<WriteBody>, deferral: Option<Deferral>, worker: Worker) -> Response<WriteBody> {
    let Some(deferral) = deferral.filter(|_| worker.info().caps.contains(Caps::SPAWN)) else { return answer };
    let (placeholder, reply) = deferral.defer();
    let sleep = worker.sleep(SHORT);
    let task = async move {
        sleep.await;
        let _ = reply.send(answer);
    };
    assert!(worker.spawn(Box::pin(task)).is_ok());
    placeholder
}

fn deferring() -> impl App + Send + Sync + 'static {
    sync_fn(|_, mut scope: Scope| {
        let deferral = scope.take_deferral();
        Ok(put_off(Response::new(WriteBody::from_static(b"late")), deferral, scope.worker().clone()))
    })
}

fn sleeping() -> impl AsyncApp<Future: Send> + Send + Sync + 'static {
    app_fn(|_, scope: Scope| async move {
        scope.worker().sleep(SHORT).await;
        Ok(Response::new(AsyncBody::from_static(b"late")))
    })
}

#[test]
fn a_sync_application_that_replies_from_a_task_is_let_through() {
    overlap_sync(deferring(), request("GET", "/", ""));
    without_each_capability_sync(&Shared(Arc::new(deferring())), request("GET", "/", ""));
}

#[test]
fn an_application_that_sleeps_behind_a_bridge_is_let_through() {
    overlap_sync(BlockOn::new(sleeping()), request("GET", "/", ""));
    without_each_capability_sync(&BlockOn::new(Shared(Arc::new(sleeping()))), request("GET", "/", ""));
}

#[test]
fn a_sync_middleware_that_replies_from_a_task_is_let_through() {
    struct PutsOff<A>(A);

    impl<A: App> App for PutsOff<A> {
        fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
            let deferral = scope.take_deferral();
            let worker = scope.worker().clone();
            Ok(put_off(self.0.call(request, scope)?, deferral, worker))
        }
    }

    middleware_sync(PutsOff);
}

#[test]
fn a_middleware_that_never_replies_does_not_hold_up_its_test() {
    struct Forgets<A>(A);

    impl<A: App> App for Forgets<A> {
        fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
            let (placeholder, reply) = scope.take_deferral().expect("a deferral").defer();
            std::mem::forget(reply);
            drop(self.0.call(request, scope)?);
            Ok(placeholder)
        }
    }

    assert_eq!(
        words(|| middleware_sync(Forgets)),
        "around an application that answers at once, the request has no answer within 1 s"
    );
}

#[test]
fn a_task_spawned_by_a_task_or_a_job_is_polled() {
    let app = app_fn(|_, scope: Scope| async move {
        let gates = [Gate::default(), Gate::default()];
        let [by_task, by_job] = gates.clone();
        let worker = scope.worker().clone();
        let task = Box::pin(async move {
            let _ = worker.spawn(Box::pin(async move { by_task.open() }));
        });
        let worker = scope.worker().clone();
        let job = Box::new(move || {
            let _ = worker.spawn(Box::pin(async move { by_job.open() }));
        });
        if scope.worker().spawn(task).is_ok() && scope.worker().offload(job).is_ok() {
            for gate in gates {
                gate.pass().await;
            }
        }
        Ok(Response::new(AsyncBody::empty()))
    });
    let bench = Bench::new(CAPS);
    bench.finish(bench.start(&app, get())).unwrap();
}

#[test]
fn a_timer_set_by_a_job_is_seen_by_a_loop_that_waits() {
    struct Opens(Gate);

    impl Wake for Opens {
        fn wake(self: Arc<Self>) {
            self.0.open();
        }
    }

    let app = app_fn(|_, scope: Scope| async move {
        let gate = Gate::default();
        let waker = Waker::from(Arc::new(Opens(gate.clone())));
        let worker = scope.worker().clone();
        let job = Box::new(move || {
            let mut timer = worker.timer(worker.now() + SHORT);
            let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(&waker));
            // Dropped, it would be cancelled.
            std::mem::forget(timer);
        });
        assert!(scope.worker().offload(job).is_ok());
        gate.pass().await;
        Ok(Response::new(AsyncBody::empty()))
    });
    let bench = Bench::new(CAPS);
    bench.finish(bench.start(&app, get())).unwrap();
}

/// What a driver says as it gives up.
fn words(drive: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(drive)).expect_err("it must not be let through");
    message(&*panic)
}

/// A body that goes on as long as it is asked, after a wait each time.
fn endless(wait: Option<Duration>, scope: Scope) -> AsyncBody {
    AsyncBody::generate(move |mut frames| async move {
        loop {
            if let Some(wait) = wait {
                scope.worker().sleep(wait).await;
            }
            frames.data(vec![0; if wait.is_some() { 1 } else { 1 << 18 }]).await;
        }
    })
}

#[test]
fn a_body_that_never_ends_is_given_up_with_a_word() {
    const TOO_LONG: &str = "left in peace, the answer's body has more than 16 MiB";
    let gushing = app_fn(|_, scope: Scope| async move { Ok(Response::new(endless(None, scope))) });
    let ticking = app_fn(|_, scope: Scope| async move { Ok(Response::new(endless(Some(SHORT), scope))) });
    assert_eq!(words(|| _ = cancel_everywhere(&gushing, request("GET", "/", ""))), TOO_LONG);
    assert_eq!(words(|| without_each_capability(&Shared(&gushing), request("GET", "/", ""))), TOO_LONG);
    let said = words(|| _ = cancel_everywhere(&ticking, request("GET", "/", "")));
    assert!(said.starts_with("left in peace, the answer's body has no end within 1 s, but "), "{said}");
    let pushing = sync_fn(|_, _| {
        Ok(Response::new(WriteBody::from_writer(|sink| {
            loop {
                sink.data(vec![0; 1 << 18].into())?;
            }
        })))
    });
    assert_eq!(words(|| overlap_sync(pushing, request("GET", "/", ""))), TOO_LONG);
}

#[test]
fn a_middleware_whose_body_never_ends_is_given_up_with_a_word() {
    struct Ticks<A>(A);

    impl<A: AsyncApp<Future: 'static> + Clone + 'static> AsyncApp for Ticks<A> {
        type Future = Pin<Box<dyn Future<Output = varvel::AsyncAppResult>>>;

        fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
            let inner = self.0.clone();
            Box::pin(async move {
                let watch = scope.worker().clone();
                inner.call(request, scope).await.map(|response| {
                    response.map(|_| {
                        AsyncBody::generate(move |mut frames| async move {
                            loop {
                                watch.sleep(SHORT).await;
                                frames.data("tick").await;
                            }
                        })
                    })
                })
            })
        }
    }

    let said = words(|| middleware(Ticks));
    assert!(said.contains("the answer's body has no end within 1 s"), "{said}");
}

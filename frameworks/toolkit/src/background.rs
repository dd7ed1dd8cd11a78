//! Work besides the response: what blocks, what goes on after it, and a limit on how much of it there may be.
//!
//! Tasks and jobs belong to the worker, so the drain waits for them until its deadline (spec W2, L8). One that could go on
//! forever should watch [`Worker::stopping`].
//!
//! ```
//! use std::time::Duration;
//! use http::{Response, StatusCode};
//! use varvel::{AppError, AsyncBody, app_fn};
//! use varvel_toolkit::background::{self, Background};
//!
//! let mails = Background::new(100);
//! let app = app_fn(move |_request, scope| {
//!     let mails = mails.clone();
//!     async move {
//!         // This blocks, so it runs on another thread, and we wait for its value.
//!         let user = background::offload(scope.worker(), || "ferris".to_owned()).await?;
//!         // Nobody waits for this; it begins once the client has its response.
//!         let worker = scope.worker().clone();
//!         let mail = async move {
//!             worker.sleep(Duration::from_secs(1)).await;
//!             println!("Welcome, {user}!");
//!         };
//!         mails.after(&scope, mail).map_err(AppError::unavailable)?;
//!         Ok(Response::builder().status(StatusCode::ACCEPTED).body(AsyncBody::empty())?)
//!     }
//! });
//! # let client = varvel_test::Client::new(app);
//! # assert_eq!(client.post("/").send().status(), 202);
//! # client.advance(Duration::from_secs(2));
//! # assert_eq!(client.tasks(), 0);
//! ```

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use varvel::{AppError, BoxFuture, Caps, Driver, Event, Job, Level, Report, Scope, Worker};

/// Runs blocking work on a thread of the worker's pool, and returns its value.
///
/// On a server of threads, where calls may block, it runs at once; so it does on an event loop without a pool
/// ([`Caps::OFFLOAD`]), and blocks that meanwhile.
///
/// # Errors
/// Those of the future: [`Unavailable`](varvel::FailKind::Unavailable) if the pool is full, `Internal` if the work panicked or
/// the server stopped before it ran.
pub fn offload<T: Send + 'static>(worker: &Worker, work: impl FnOnce() -> T + Send + 'static) -> Offload<T> {
    if worker.info().driver == Driver::Blocking || !worker.info().caps.contains(Caps::OFFLOAD) {
        return Offload(State::Done(Some(Ok(work()))));
    }
    let answer = Arc::new(Mutex::new(Answer { value: None, is_over: false, waker: None }));
    let teller = Teller(Arc::clone(&answer));
    let job: Job = Box::new(move || {
        let value = work();
        teller.lock().value = Some(value);
    });
    Offload(match worker.offload(job) {
        Ok(()) => State::Waiting(answer),
        Err(_) => State::Done(Some(Err(AppError::unavailable("the pool for blocking work is full")))),
    })
}

/// The future of [`offload`]ed work. If it is dropped, the work goes on.
#[must_use = "futures do nothing unless polled"]
pub struct Offload<T>(State<T>);

enum State<T> {
    Done(Option<Result<T, AppError>>),
    Waiting(Arc<Mutex<Answer<T>>>),
}

/// Shared by the thread of the work and the future.
struct Answer<T> {
    value: Option<T>,
    /// The work has returned, panicked or was dropped.
    is_over: bool,
    waker: Option<Waker>,
}

/// The work's side, which tells when it is dropped.
struct Teller<T>(Arc<Mutex<Answer<T>>>);

impl<T> Teller<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Answer<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        let waker = {
            let mut answer = self.lock();
            answer.is_over = true;
            answer.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The value is handed out and never pinned.
impl<T> Unpin for Offload<T> {}

impl<T> Future for Offload<T> {
    type Output = Result<T, AppError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(value) => Poll::Ready(value.take().expect("not polled again after its end")),
            State::Waiting(answer) => {
                let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
                if answer.is_over {
                    let lost = || AppError::internal("the blocking work has ended without a value");
                    return Poll::Ready(answer.value.take().ok_or_else(lost));
                }
                answer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Offload<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offload")
    }
}

/// Background work, up to a limit: a service that accepts work without bound falls over under load, and nobody sees it coming.
///
/// Clones share one limit.
#[derive(Clone, Debug)]
pub struct Background {
    running: Arc<AtomicUsize>,
    max: usize,
}

impl Background {
    /// At most `max` tasks and jobs at a time.
    pub fn new(max: usize) -> Self {
        Self { running: Arc::default(), max }
    }

    /// How many there are, including those that wait for their response to go out.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Has the worker poll a task to its end. It begins now, besides the response.
    ///
    /// # Errors
    /// If there are too many, or the worker cannot run tasks.
    pub fn spawn(
        &self,
        worker: &Worker,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Refused> {
        worker.spawn(self.counted(worker, Caps::SPAWN, task)?).map_err(|_| Refused::Busy)
    }

    /// Runs blocking work on a thread of the worker's pool, besides the response.
    ///
    /// # Errors
    /// If there are too many, or the pool is full, or there is none.
    pub fn run(&self, worker: &Worker, work: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let place = self.place(worker, Caps::OFFLOAD)?;
        let job = Box::new(move || {
            let _place = place;
            work();
        });
        worker.offload(job).map_err(|_| Refused::Busy)
    }

    /// As [`spawn`](Self::spawn), but the task begins when the exchange is over, even if the response failed.
    ///
    /// # Errors
    /// As for `spawn`, and at once. If the server stops before the task begins, it is dropped, and that is logged.
    pub fn after(
        &self,
        scope: &Scope,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Refused> {
        let worker = scope.worker().clone();
        let task = self.counted(&worker, Caps::SPAWN, task)?;
        scope.on_finish(move |_| {
            if worker.spawn(task).is_err() {
                let message = "a background task was dropped: the worker takes no more";
                worker.report(&Report::new(Event::Log { level: Level::Warning, message }));
            }
        });
        Ok(())
    }

    fn counted(
        &self,
        worker: &Worker,
        cap: Caps,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<BoxFuture, Refused> {
        let place = self.place(worker, cap)?;
        Ok(Box::pin(async move {
            let _place = place;
            task.await;
        }))
    }

    fn place(&self, worker: &Worker, cap: Caps) -> Result<Place, Refused> {
        if !worker.info().caps.contains(cap) {
            return Err(Refused::Unsupported);
        }
        let place = Place(Arc::clone(&self.running));
        // The guard exists already, and takes back the one too many.
        if self.running.fetch_add(1, Ordering::Relaxed) >= self.max { Err(Refused::Busy) } else { Ok(place) }
    }
}

/// One of the places. It is free again when this is dropped: at the end, in a panic, at the deadline of a stop.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why background work was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is too much already, or the worker is stopping.
    Busy,
    /// This server cannot do it.
    Unsupported,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "there is too much background work already",
            Self::Unsupported => "this server cannot do background work",
        })
    }
}

impl Error for Refused {}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use http::{Response, StatusCode};
    use varvel::{AsyncBody, WriteBody, app_fn, sync_fn};
    use varvel_test::{Client, Setup};

    use super::*;

    fn accepted(result: Result<(), Refused>) -> StatusCode {
        match result {
            Ok(()) => StatusCode::ACCEPTED,
            Err(Refused::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Err(Refused::Unsupported) => StatusCode::NOT_IMPLEMENTED,
        }
    }

    #[test]
    fn blocking_work_leaves_the_event_loop_and_its_value_comes_back() {
        let home = thread::current().id();
        let app = app_fn(move |_, scope| async move {
            let away = background_thread(&scope).await? != home;
            Ok(Response::new(AsyncBody::from(if away { "away" } else { "home" })))
        });
        async fn background_thread(scope: &Scope) -> Result<thread::ThreadId, AppError> {
            offload(scope.worker(), || thread::current().id()).await
        }
        assert_eq!(Client::new(app).get("/").send().text(), "away");
        // Without a pool there is no other place.
        assert_eq!(Setup::new().without(Caps::OFFLOAD).app(app).get("/").send().text(), "home");
    }

    #[test]
    fn work_that_panics_is_an_error_and_nobody_waits_for_it() {
        let app = app_fn(|_, scope| async move {
            offload(scope.worker(), || panic!("on purpose")).await?;
            Ok(Response::new(AsyncBody::empty()))
        });
        let client = Client::new(app);
        let answer = client.get("/").try_send();
        assert!(format!("{answer:?}").contains("500"), "{answer:?}");
    }

    #[test]
    fn a_task_begins_behind_the_answer_and_frees_its_place() {
        let background = Background::new(1);
        let app = {
            let background = background.clone();
            app_fn(move |_, scope| {
                let worker = scope.worker().clone();
                let task = async move { worker.sleep(Duration::from_secs(60)).await };
                let mut response = Response::new(AsyncBody::from("x"));
                *response.status_mut() = accepted(background.after(&scope, task));
                async move {
                    scope.worker().sleep(Duration::from_secs(1)).await;
                    Ok(response)
                }
            })
        };
        let client = Client::new(app);
        let exchange = client.get("/").start();
        assert_eq!((background.running(), client.tasks()), (1, 0));
        client.advance(Duration::from_secs(1));
        assert_eq!(exchange.response().status(), StatusCode::ACCEPTED);
        assert_eq!((background.running(), client.tasks()), (1, 1));
        let refused = client.get("/").start();
        client.advance(Duration::from_secs(1));
        assert_eq!(refused.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        client.advance(Duration::from_secs(60));
        assert_eq!((background.running(), client.tasks()), (0, 0));
    }

    #[test]
    fn tasks_of_an_answer_that_the_client_left_begin_as_well() {
        let background = Background::new(1);
        let inside = background.clone();
        let client = Client::new(app_fn(move |_, scope| {
            let refused = inside.after(&scope, std::future::pending());
            async move {
                refused?;
                scope.worker().sleep(Duration::from_secs(60)).await;
                Ok(Response::new(AsyncBody::empty()))
            }
        }));
        let mut exchange = client.get("/").start();
        exchange.disconnect();
        assert_eq!(client.tasks(), 1);
        // The deadline of the stop drops it.
        client.close().unwrap();
        assert_eq!(background.running(), 0);
    }

    #[test]
    fn sync_applications_have_it_too() {
        let background = Background::new(10);
        let (inside, (told, done)) = (background.clone(), std::sync::mpsc::channel());
        let client = Client::sync(sync_fn(move |_, scope| {
            let told = told.clone();
            inside.run(scope.worker(), move || told.send(()).unwrap())?;
            inside.spawn(scope.worker(), async {})?;
            Ok(Response::new(WriteBody::empty()))
        }));
        client.get("/").send();
        done.recv().unwrap();
        client.close().unwrap();
        assert_eq!(background.running(), 0);
    }

    #[test]
    fn without_the_capability_it_is_refused() {
        let client = Setup::new().without(Caps::SPAWN).app(app_fn(|_, scope| {
            let mut response = Response::new(AsyncBody::empty());
            *response.status_mut() = accepted(Background::new(1).after(&scope, async {}));
            async { Ok(response) }
        }));
        assert_eq!(client.get("/").send().status(), StatusCode::NOT_IMPLEMENTED);
    }
}

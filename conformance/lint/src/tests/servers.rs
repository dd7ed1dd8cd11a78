//! Servers that break the rules of their chapters.

use std::{
    future::{pending, poll_fn, ready},
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, header, request};
use varvel::{
    Address, App, AppError, AppFactory, AsyncApp, AsyncAppFactory, AsyncBody, BodyError, BodyErrorKind,
    BodyParts, BoxFuture, Caps, ConnInfo, Driver, Exchange, FailKind, Finish, FinishHook, InterimError, Job,
    Lifetime, Offer, Outcome, Policy, PollIo, ReadBody, Report, Scope, Shared, TimerId, TlsInfo, UpgradeKind,
    Worker, WorkerInfo, WorkerOps, WriteBody, app_fn, factory_fn, sync_factory_fn, sync_fn,
};

use super::{Broken, data, failed, items, sized_items, trailers};
use crate::{Lint, drive::lock};

/// A server of one exchange, as a test says that it is.
struct Server {
    info: WorkerInfo,
    conn: ConnInfo,
    number: u64,
    head: request::Parts,
    target: &'static [u8],
    authority: Option<&'static str>,
    offer: Option<Offer>,
    deferral: bool,
    /// What its interim heads give.
    interim: Result<(), InterimError>,
    /// Says for ever that the client is there.
    never_gone: bool,
    /// Wakes who waits for a stop that nobody asked for.
    stops_falsely: bool,
    /// What becomes of jobs and tasks.
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    Refuse,
    RunHere,
    Lose,
}

impl Server {
    /// One that is right, and this of it changed.
    fn new(change: impl FnOnce(&mut Self)) -> Self {
        let mut info = WorkerInfo::new("a test", Driver::Blocking);
        info.caps = Caps::TRAILERS_IN;
        let ip = |port| Address::Ip(([127, 0, 0, 1], port).into());
        let (head, ()) =
            Request::get("/a?b").header(header::HOST, "varvel.test").body(()).unwrap().into_parts();
        let mut server = Self {
            info,
            conn: ConnInfo::new(7, ip(50_000), ip(80)),
            number: 1,
            head,
            target: b"/a?b",
            authority: Some("varvel.test"),
            offer: None,
            deferral: false,
            interim: Err(InterimError::Unsupported),
            never_gone: false,
            stops_falsely: false,
            work: Work::Refuse,
        };
        change(&mut server);
        server
    }

    fn right() -> Self {
        Self::new(|_| {})
    }

    fn fake(&self) -> Arc<Fake> {
        let ops = FakeWorker { info: self.info.clone(), stops_falsely: self.stops_falsely, work: self.work };
        Arc::new(Fake {
            worker: Worker::new(Arc::new(ops)),
            conn: self.conn.clone(),
            interim: self.interim,
            never_gone: self.never_gone,
            gone: AtomicBool::new(false),
            hooks: Mutex::default(),
        })
    }

    fn scope(&self, fake: &Arc<Fake>) -> Scope {
        let exchange: Arc<dyn Exchange> = Arc::<Fake>::clone(fake);
        let mut scope = Scope::new(exchange, self.number, Bytes::from_static(self.target), Instant::now())
            .with_authority(self.authority.map(|authority| authority.parse().unwrap()));
        if let Some(offer) = &self.offer {
            scope = scope.with_upgrade(offer.clone());
        }
        if self.deferral {
            scope = scope.with_deferral();
        }
        scope
    }

    /// Begins a call.
    fn call<A: AsyncApp>(&self, app: &A, body: AsyncBody) -> (Pin<Box<A::Future>>, Arc<Fake>) {
        let fake = self.fake();
        let scope = self.scope(&fake);
        (Box::pin(app.call(Request::from_parts(self.head.clone(), body), scope)), fake)
    }
}

/// Its connection.
struct Fake {
    worker: Worker,
    conn: ConnInfo,
    interim: Result<(), InterimError>,
    never_gone: bool,
    gone: AtomicBool,
    hooks: Mutex<Vec<FinishHook>>,
}

impl Fake {
    fn finish(&self, outcome: Outcome, status: Option<u16>, bytes: u64) {
        self.gone.store(!self.never_gone, SeqCst);
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        let hooks = std::mem::take(&mut *lock(&self.hooks));
        hooks.into_iter().for_each(|hook| hook(&Finish::new(outcome, status, bytes)));
    }
}

impl Exchange for Fake {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn interim(&self, _: u64, _: StatusCode, _: &HeaderMap) -> Result<(), InterimError> {
        self.interim
    }

    fn is_disconnected(&self, _: u64) -> bool {
        self.gone.load(SeqCst)
    }

    fn poll_disconnected(&self, _: u64, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_finish(&self, _: u64, hook: FinishHook) {
        lock(&self.hooks).push(hook);
    }
}

struct FakeWorker {
    info: WorkerInfo,
    stops_falsely: bool,
    work: Work,
}

impl WorkerOps for FakeWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn report(&self, _: &Report<'_>) {}

    fn set_timer(&self, _: Instant, _: &Waker) -> TimerId {
        TimerId(0)
    }

    fn move_timer(&self, _: TimerId, _: &Waker) -> bool {
        true
    }

    fn cancel_timer(&self, _: TimerId) {}

    fn offload(&self, job: Job) -> Result<(), Job> {
        match self.work {
            Work::Refuse => return Err(job),
            Work::RunHere => job(),
            Work::Lose => drop(job),
        }
        Ok(())
    }

    fn spawn(&self, mut task: BoxFuture) -> Result<(), BoxFuture> {
        match self.work {
            Work::Refuse => return Err(task),
            Work::RunHere => {
                let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            Work::Lose => drop(task),
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn poll_stopping(&self, _: &mut Context<'_>) -> Poll<()> {
        if self.stops_falsely { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the test expects an answer that is ready"),
    }
}

fn hello() -> impl AsyncApp {
    app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"hello"))) })
}

/// A call by a server with this wrong.
fn wrong(change: impl FnOnce(&mut Server)) {
    let (mut call, _fake) = Server::new(change).call(&Lint::new(hello()), AsyncBody::empty());
    let _ = poll(&mut call);
}

/// A field of the request with this value.
fn field(name: &'static str, value: &'static str) {
    wrong(|server| {
        server.head.headers.append(name, value.parse().unwrap());
    });
}

/// A request with this Content-Length and this body, which the application reads, piece by piece.
fn body(length: Option<u64>, change: impl FnOnce(&mut Server), body: AsyncBody) {
    let server = Server::new(|server| {
        if let Some(length) = length {
            server.head.headers.insert(header::CONTENT_LENGTH, length.into());
        }
        change(server);
    });
    let app = app_fn(|request: Request<AsyncBody>, _| async {
        let BodyParts::Stream(mut body) = request.into_body().into_parts() else { panic!("a stream") };
        // Also behind the end, which has to stay one.
        for _ in 0..5 {
            if let Some(Err(error)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                return Err(error.into());
            }
        }
        Ok(Response::new(AsyncBody::empty()))
    });
    let (mut call, _fake) = server.call(&Lint::new(app), body);
    let _ = poll(&mut call);
}

/// An answer that streams two frames, polled as the test likes.
fn streamed(fails: bool, method: &str, status: u16, take: fn(&mut dyn FnMut(), &Fake)) {
    let server = Server::new(|server| server.head.method = method.parse().unwrap());
    let app = app_fn(move |_, _| {
        let end = if fails { failed() } else { data("b") };
        ready(Ok(Response::builder().status(status).body(items(vec![data("a"), end])).unwrap()))
    });
    let app = Lint::new(app).count();
    let findings = app.findings();
    let (mut call, fake) = server.call(&app, AsyncBody::empty());
    let Poll::Ready(Ok(response)) = poll(&mut call) else { panic!("an answer") };
    drop(call);
    let BodyParts::Stream(body) = response.into_body().into_parts() else { panic!("a stream") };
    let mut body = Some(body);
    let mut step = || {
        if let Some(body) = &mut body {
            let _ = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
        }
    };
    take(&mut step, &fake);
    drop(body);
    findings.assert_none();
}

/// A call that ends like this, of which the hooks are told that.
fn told(result: fn() -> varvel::AsyncAppResult, outcome: Outcome, status: Option<u16>, bytes: u64) {
    let app = Lint::new(app_fn(move |_, _| ready(result())));
    let (mut call, fake) = Server::right().call(&app, AsyncBody::empty());
    let answer = poll(&mut call);
    drop(call);
    fake.finish(outcome, status, bytes);
    drop(answer);
}

fn ok() -> varvel::AsyncAppResult {
    Ok(Response::new(AsyncBody::from_static(b"hello")))
}

/// A call of an application with this policy that waits, or whose body does.
fn waiting(policy: Policy, body_waits: bool, end: fn(Box<dyn FnOnce() + '_>, &Fake)) {
    let factory = Lint::new(
        factory_fn(move |_| async move {
            Ok(app_fn(move |_, _| async move {
                if !body_waits {
                    pending::<()>().await;
                }
                Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("a").await;
                    pending().await
                })))
            }))
        })
        .with_policy(policy),
    );
    let server = Server::right();
    let app = now(factory.build(&server.fake().worker)).unwrap();
    let (mut call, fake) = server.call(&app, AsyncBody::empty());
    let polled = poll(&mut call);
    end(Box::new(move || drop((call, polled))), &fake);
}

/// A call that does this with its scope, under a lint that serves.
fn serving(change: impl FnOnce(&mut Server), act: fn(&Scope, &Fake)) {
    let server = Server::new(change);
    let fakes: Arc<Mutex<Option<Arc<Fake>>>> = Arc::default();
    let given = Arc::clone(&fakes);
    let app = Lint::new(app_fn(move |_, scope: Scope| {
        let fake = lock(&given).clone().unwrap();
        async move {
            act(&scope, &fake);
            Ok(Response::new(AsyncBody::empty()))
        }
    }));
    let app = app.serving();
    let fake = server.fake();
    *lock(&fakes) = Some(Arc::clone(&fake));
    let scope = server.scope(&fake);
    let mut call = Box::pin(app.call(Request::from_parts(server.head, AsyncBody::empty()), scope));
    let _ = poll(&mut call);
}

fn interim(scope: &Scope, _: &Fake) {
    let _ = scope.interim(StatusCode::EARLY_HINTS, &HeaderMap::new());
}

/// Two calls on a connection, numbered so; the first one is not over unless it is said.
fn two_calls(numbers: [u64; 2], first_is_over: bool, never_gone: bool) {
    let app = Lint::new(app_fn(|_, _| async {
        Ok(Response::new(AsyncBody::generate(|mut frames| async move {
            frames.data("a").await;
            Ok(())
        })))
    }));
    let [first, second] = numbers.map(|number| {
        Server::new(|server| {
            server.number = number;
            server.never_gone = never_gone;
        })
    });
    let (mut call, fake) = first.call(&app, AsyncBody::empty());
    let answer = poll(&mut call);
    let answer = if first_is_over {
        let Poll::Ready(Ok(response)) = answer else { panic!("an answer") };
        now(response.into_body().collect(100)).unwrap();
        fake.finish(Outcome::Completed, Some(200), 1);
        None
    } else {
        Some(answer)
    };
    drop(call);
    let (_call, second) = second.call(&app, AsyncBody::empty());
    drop(answer);
    lock(&second.hooks).clear();
}

/// Two calls at once.
fn overlap(change: impl Fn(&mut Server), policy: Policy) {
    let factory = factory_fn(|_| async { Ok(app_fn(|_, _| pending::<varvel::AsyncAppResult>())) });
    let factory = Lint::new(factory.with_policy(policy));
    let servers = [7, 8].map(|connection| {
        Server::new(|server| {
            server.conn.id = connection;
            change(server);
        })
    });
    let app = now(factory.build(&servers[0].fake().worker)).unwrap();
    let calls: Vec<_> = servers.iter().map(|server| server.call(&app, AsyncBody::empty())).collect();
    drop(calls);
}

/// Built on one worker, called on another.
fn built_and_called(build: WorkerInfo, call: WorkerInfo) {
    let factory = Lint::new(Shared(app_fn(|_, _| async { ok() })));
    let builder = Server::new(|server| server.info = build);
    let app = now(AsyncAppFactory::build(&factory, &builder.fake().worker)).unwrap();
    let (mut call, _fake) = Server::new(|server| server.info = call).call(&app, AsyncBody::empty());
    let _ = poll(&mut call);
}

fn info(change: impl FnOnce(&mut WorkerInfo)) -> WorkerInfo {
    let mut info = Server::right().info;
    change(&mut info);
    info
}

fn upgrade(server: &mut Server, protocols: &str, offered: Option<&str>) {
    server.info.caps |= Caps::UPGRADE;
    server.head.headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse().unwrap());
    server.head.headers.insert(header::UPGRADE, protocols.parse().unwrap());
    server.offer = offered.map(|offered| Offer::new(UpgradeKind::Http1, offered));
}

/// A tunnel that reads bytes behind the end.
struct Resumes(AtomicUsize);

impl PollIo for Resumes {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.0.fetch_add(1, SeqCst)))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn sync_call(change: impl FnOnce(&mut Server), body: ReadBody) {
    let server = Server::new(change);
    let app = Lint::new(sync_fn(|request: Request<ReadBody>, _| {
        let body = request.into_body().collect(100)?;
        Ok(Response::new(WriteBody::full(body)))
    }));
    let fake = server.fake();
    let scope = server.scope(&fake);
    let _ = app.call(Request::from_parts(server.head, body), scope);
    lock(&fake.hooks).clear();
}

pub(super) const BROKEN: &[Broken] = &[
    ("S1.thread", || {
        let evented = || info(|info| info.driver = Driver::Evented);
        let factory = Lint::new(Shared(app_fn(|_, _| async { ok() })));
        let server = Server::new(|server| server.info = evented());
        let app = now(AsyncAppFactory::build(&factory, &server.fake().worker)).unwrap();
        let called = thread::spawn(move || drop(server.call(&app, AsyncBody::empty()))).join();
        std::panic::resume_unwind(called.unwrap_err());
    }),
    ("S1.worker", || {
        let index = |index| {
            info(|info| {
                info.index = index;
                info.workers = 2;
            })
        };
        built_and_called(index(0), index(1));
    }),
    ("S1.twice", || {
        let factory =
            Lint::new(sync_factory_fn(|_| Ok(sync_fn(|_, _| Ok(Response::new(WriteBody::empty()))))));
        let worker = Server::right().fake().worker.clone();
        let _apps = [factory.build(&worker), factory.build(&worker)];
    }),
    ("S3.order", || two_calls([2, 1], true, false)),
    ("S3.order", || two_calls([2, 2], true, false)),
    ("S3.overlap", || two_calls([1, 2], false, false)),
    ("S6.form", || {
        wrong(|server| {
            server.head.uri = "http://varvel.test/a?b".parse().unwrap();
            server.target = b"http://varvel.test/a?b";
        });
    }),
    ("S6.path", || {
        wrong(|server| {
            server.head.uri = "*".parse().unwrap();
            server.target = b"*";
        });
    }),
    ("S6.fragment", || wrong(|server| server.target = b"/a?b#c")),
    ("S6.scheme", || wrong(|server| server.target = b"ftp://varvel.test/a?b")),
    ("S7.target", || wrong(|server| server.target = b"/%61?b")),
    ("S7.target", || wrong(|server| server.target = b"http://varvel.test/a?b=")),
    ("S8.authority", || wrong(|server| server.authority = Some("other.test"))),
    ("S8.authority", || wrong(|server| server.target = b"http://other.test/a?b")),
    ("S9.whitespace", || field("x-a", "b ")),
    ("S10.transfer-encoding", || field("transfer-encoding", "chunked")),
    ("S11.length", || field("content-length", "5")),
    ("S11.length", || body(None, |_| {}, sized_items(Some(5), vec![data("hello")]))),
    ("S11.remaining", || body(Some(5), |_| {}, sized_items(Some(5), vec![data("he"), data("llo")]))),
    ("S12.addresses", || wrong(|server| server.conn.peer = Address::Unnamed)),
    ("S13.concurrency", || overlap(|server| server.info.concurrency = Some(1), Policy::default())),
    ("S13.exclusive", || overlap(|_| {}, Policy::default().exclusive())),
    ("S15.count", || {
        wrong(|server| {
            server.info.limits.header_count_max = 1;
            server.head.headers.insert("x-a", "b".parse().unwrap());
        });
    }),
    ("S15.bytes", || wrong(|server| server.info.limits.head_bytes_max = 10)),
    ("S18.workers", || wrong(|server| server.info.index = 1)),
    ("S18.changed", || built_and_called(info(|_| {}), info(|info| info.caps |= Caps::SPAWN))),
    ("S18.one-shot", || {
        let app = Lint::new(hello());
        for connection in 7..9 {
            let server = Server::new(|server| {
                server.conn.id = connection;
                server.info.lifetime = Lifetime::OneShot;
            });
            let (mut call, fake) = server.call(&app, AsyncBody::empty());
            let _ = poll(&mut call);
            fake.finish(Outcome::Completed, Some(200), 5);
        }
    }),
    ("S19.version", || wrong(|server| server.head.version = Version::HTTP_09)),
    ("S20.missing", || {
        wrong(|server| {
            server.head.headers.clear();
            server.authority = None;
        });
    }),
    ("S20.twice", || field("host", "varvel.test")),
    ("S20.value", || {
        wrong(|server| {
            server.head.headers.insert(header::HOST, "me@varvel.test".parse().unwrap());
        });
    }),
    ("S21.body", || {
        let server = Server::right();
        let kept: Arc<Mutex<Option<AsyncBody>>> = Arc::default();
        let keeps = Arc::clone(&kept);
        let app = Lint::new(app_fn(move |request: Request<AsyncBody>, _| {
            *lock(&keeps) = Some(request.into_body());
            ready(Ok(Response::new(AsyncBody::empty())))
        }));
        let (mut call, fake) = server.call(&app, items(vec![data("a")]));
        let _ = poll(&mut call);
        fake.finish(Outcome::Completed, Some(200), 0);
        let _ = now(lock(&kept).take().unwrap().collect(100));
    }),
    ("S21.interim", || {
        serving(
            |server| {
                server.interim = Ok(());
                server.info.caps |= Caps::INTERIM;
            },
            |scope, fake| {
                fake.finish(Outcome::Disconnected, None, 0);
                interim(scope, fake);
            },
        );
    }),
    ("S23.version", || {
        wrong(|server| {
            server.info.caps |= Caps::TLS;
            server.conn.tls = Some(Arc::new(TlsInfo::new(13, 0x1301)));
        });
    }),
    ("H1.polled", || streamed(false, "HEAD", 200, |step, _| step())),
    ("H2.polled", || streamed(false, "GET", 204, |step, _| step())),
    ("H8.length", || field("content-length", "0, 0")),
    ("H12.version", || {
        serving(
            |server| {
                server.interim = Ok(());
                server.info.caps |= Caps::INTERIM;
                server.head.version = Version::HTTP_10;
            },
            interim,
        );
    }),
    ("H12.status", || serving(|server| server.interim = Err(InterimError::NotInterim), interim)),
    ("B1.long", || body(Some(1), |_| {}, sized_items(Some(1), vec![data("he")]))),
    ("B1.resumed", || body(None, |_| {}, items(vec![data("a"), None, data("b")]))),
    ("B2.short", || body(Some(5), |_| {}, sized_items(Some(5), vec![]))),
    ("B3.limit", || {
        body(
            None,
            |server| server.info.limits.body_bytes_max = Some(3),
            items(vec![data("he"), data("llo")]),
        );
    }),
    ("B4.order", || body(None, |_| {}, items(vec![data("a"), trailers("x-a"), data("b")]))),
    ("B4.twice", || body(None, |_| {}, items(vec![data("a"), trailers("x-a"), trailers("x-b")]))),
    ("B12.ended", || streamed(false, "GET", 200, |step, _| (0..4).for_each(|_| step()))),
    ("B12.failed", || streamed(true, "GET", 200, |step, _| (0..3).for_each(|_| step()))),
    ("B12.trailers", || {
        let app =
            Lint::new(app_fn(|_, _| async { Ok(Response::new(items(vec![data("a"), trailers("x-a")]))) }));
        let (call, _fake) = Server::right().call(&app, AsyncBody::empty());
        let mut body = now(call).unwrap().into_body();
        while now(body.frame()).is_some() {}
    }),
    ("B12.future", || {
        let (mut call, _fake) = Server::right().call(&Lint::new(hello()), AsyncBody::empty());
        let _ = poll(&mut call);
        let _ = poll(&mut call);
    }),
    ("E2.answered", || told(|| Err(AppError::abort()), Outcome::Completed, Some(500), 0)),
    ("E3.status", || told(|| Err(AppError::unavailable("busy")), Outcome::Completed, Some(500), 0)),
    ("E3.status", || {
        told(|| Err(BodyError::new(BodyErrorKind::TooLarge).into()), Outcome::Completed, Some(400), 0);
    }),
    ("E8.order", || {
        waiting(Policy::default(), false, |drop_it, fake| {
            fake.finish(Outcome::Disconnected, None, 0);
            drop_it();
        });
    }),
    ("E10.future", || waiting(Policy::default().finish_on_disconnect(), false, |drop_it, _| drop_it())),
    ("E10.body", || {
        waiting(Policy::default().finish_on_disconnect(), true, |drop_it, fake| {
            drop_it();
            fake.finish(Outcome::Disconnected, Some(200), 0);
        });
    }),
    ("E12.never", || {
        let (mut call, fake) = Server::right().call(&Lint::new(hello()), AsyncBody::empty());
        let _ = poll(&mut call);
        lock(&fake.hooks).clear();
    }),
    ("E12.early", || {
        streamed(false, "GET", 200, |step, fake| {
            step();
            fake.finish(Outcome::Completed, Some(200), 1);
        });
    }),
    ("E12.status", || told(ok, Outcome::Completed, Some(201), 5)),
    ("E12.bytes", || told(ok, Outcome::Completed, Some(200), 4)),
    ("E12.bytes", || told(ok, Outcome::Disconnected, Some(200), 6)),
    ("E12.outcome", || told(ok, Outcome::Failed, Some(200), 5)),
    ("E12.outcome", || {
        streamed(true, "GET", 200, |step, fake| {
            (0..2).for_each(|_| step());
            fake.finish(Outcome::Completed, Some(200), 1);
        });
    }),
    ("E16.finished", || two_calls([1, 2], true, true)),
    ("L5.running", || {
        let factory =
            Lint::new(factory_fn(|_| async { Ok(app_fn(|_, _| pending::<varvel::AsyncAppResult>())) }));
        let server = Server::right();
        let worker = server.fake().worker.clone();
        let app = now(factory.build(&worker)).unwrap();
        let _call = server.call(&app, AsyncBody::empty());
        let _ = now(factory.teardown(app, &worker));
    }),
    ("L5.hooks", || {
        let factory = Lint::new(factory_fn(|_| async { Ok(app_fn(|_, _| async { ok() })) }));
        let server = Server::right();
        let worker = server.fake().worker.clone();
        let app = now(factory.build(&worker)).unwrap();
        let (call, _fake) = server.call(&app, AsyncBody::empty());
        let _ = now(call);
        let _ = now(factory.teardown(app, &worker));
    }),
    ("L7.disagree", || {
        serving(
            |server| server.stops_falsely = true,
            |scope, _| {
                let _ = scope.worker().poll_stopping(&mut Context::from_waker(Waker::noop()));
            },
        );
    }),
    ("L8.outcome", || told(ok, Outcome::Stopped, Some(200), 5)),
    ("U1.unasked", || wrong(|server| server.offer = Some(Offer::new(UpgradeKind::Http1, "varvel")))),
    ("U1.missing", || wrong(|server| upgrade(server, "varvel", None))),
    ("U1.missing", || {
        wrong(|server| {
            server.info.caps |= Caps::CONNECT;
            server.head.method = http::Method::CONNECT;
            server.head.uri = "varvel.test:80".parse().unwrap();
            server.target = b"varvel.test:80";
            server.authority = Some("varvel.test:80");
        });
    }),
    ("U1.protocols", || wrong(|server| upgrade(server, "varvel, websocket", Some("websocket")))),
    ("U5.resumed", || {
        let app = Lint::new(app_fn(|_, mut scope: Scope| async move {
            let token = scope.take_upgrade().unwrap();
            Ok(token.accept(Response::new(()), |mut io| async move {
                let mut buffer = [0; 8];
                let _ = io.read(&mut buffer).await;
                let _ = io.read(&mut buffer).await;
            }))
        }));
        let server = Server::new(|server| upgrade(server, "varvel", Some("varvel")));
        let (call, _fake) = server.call(&app, AsyncBody::empty());
        let BodyParts::Tunnel(tunnel) = now(call).unwrap().into_body().into_parts() else {
            panic!("a tunnel")
        };
        now(tunnel.run(Resumes(AtomicUsize::new(0))));
    }),
    ("X2.h2", || wrong(|server| server.head.version = Version::HTTP_2)),
    ("X2.tls", || wrong(|server| server.conn.tls = Some(Arc::new(TlsInfo::new(0x0304, 0x1301))))),
    ("X2.upgrade", || {
        wrong(|server| {
            upgrade(server, "varvel", Some("varvel"));
            server.info.caps = Caps::NONE;
        });
    }),
    ("X2.deferral", || wrong(|server| server.deferral = true)),
    ("X2.trailers", || {
        body(None, |server| server.info.caps = Caps::NONE, items(vec![data("a"), trailers("x-a")]));
    }),
    ("X2.interim", || serving(|server| server.interim = Ok(()), interim)),
    ("X2.offload", || {
        serving(
            |server| server.work = Work::RunHere,
            |scope, _| {
                let _ = scope.worker().offload(Box::new(|| {}));
            },
        );
    }),
    ("X2.spawn", || {
        serving(
            |server| server.work = Work::RunHere,
            |scope, _| {
                let _ = scope.worker().spawn(Box::pin(async {}));
            },
        );
    }),
    ("X6.version", || wrong(|server| server.info.spec = (7, 0))),
    ("W2.dropped", || {
        serving(
            |server| {
                server.work = Work::Lose;
                server.info.caps |= Caps::SPAWN;
            },
            |scope, _| {
                let _ = scope.worker().spawn(Box::pin(async {}));
            },
        );
    }),
    ("W3.thread", || {
        serving(
            |server| {
                server.work = Work::RunHere;
                server.info.caps |= Caps::OFFLOAD;
                server.info.driver = Driver::Evented;
            },
            |scope, _| {
                let _ = scope.worker().offload(Box::new(|| {}));
            },
        );
    }),
    ("W3.lost", || {
        serving(
            |server| {
                server.work = Work::Lose;
                server.info.caps |= Caps::OFFLOAD;
            },
            |scope, _| {
                let _ = scope.worker().offload(Box::new(|| {}));
            },
        );
    }),
    ("W8.missing", || sync_call(|server| server.info.caps |= Caps::DEFER, ReadBody::empty())),
    // The sync side looks at request bodies with the same eyes.
    ("B2.short", || {
        struct Ends;
        impl varvel::FrameRead for Ends {
            fn next_frame(&mut self) -> Result<Option<varvel::Frame>, BodyError> {
                Ok(None)
            }

            fn exact_len(&self) -> Option<u64> {
                Some(5)
            }
        }
        sync_call(
            |server| {
                server.head.headers.insert(header::CONTENT_LENGTH, 5.into());
            },
            ReadBody::from_frames(Ends),
        );
    }),
];

#[test]
fn a_failure_that_is_answered_as_the_table_says_is_let_through() {
    type Answered = (fn() -> varvel::AsyncAppResult, Option<u16>);
    let kinds: [Answered; 4] = [
        (|| Err(AppError::internal("a reason")), Some(500)),
        (|| Err(AppError::new(FailKind::Body(BodyErrorKind::Malformed), "a reason")), Some(431)),
        (|| Err(AppError::new(FailKind::Body(BodyErrorKind::Timeout), "a reason")), Some(408)),
        (|| Err(AppError::abort()), None),
    ];
    for (result, status) in kinds {
        let outcome = if status.is_some() { Outcome::Completed } else { Outcome::Failed };
        told(result, outcome, status, 0);
    }
}

#[test]
fn a_client_that_leaves_is_no_fault_of_anybody() {
    told(ok, Outcome::Disconnected, Some(200), 2);
    told(ok, Outcome::TimedOut, Some(200), 2);
    waiting(Policy::default(), false, |drop_it, fake| {
        drop_it();
        fake.finish(Outcome::Disconnected, None, 0);
    });
    waiting(Policy::default(), true, |drop_it, fake| {
        drop_it();
        fake.finish(Outcome::Disconnected, Some(200), 0);
    });
}

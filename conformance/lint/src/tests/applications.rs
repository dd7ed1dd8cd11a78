//! Applications that break the rules of chapter A.

use std::{
    cell::{Cell, RefCell},
    future::{pending, ready},
    io,
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use varvel::{
    App, AppError, AsyncAppResult, AsyncBody, BodyError, BodyErrorKind, BodyParts, Frame, FrameSink, PollIo,
    ReadBody, Scope, Shared, StartError, WriteBody, app_fn, factory_fn, sync_factory_fn, sync_fn,
};

use super::{Broken, data, failed, get, items, request, sized_items, trailers};
use crate::{
    Lint, cancel_everywhere,
    drive::{Bench, CAPS, Event, message},
    overlap, overlap_sync, without_each_capability, without_each_capability_sync,
};

const LIMIT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_millis(10);

/// Lets an async application answer a request, to the end.
fn answer(request: Request<AsyncBody>, make: impl Fn() -> AsyncAppResult) {
    let bench = Bench::new(CAPS);
    let app = Lint::new(app_fn(|_, _| ready(make())));
    drop(bench.finish(bench.start(&app, request)));
}

fn field(name: &'static str, value: &'static str) {
    answer(get(), || Ok(Response::builder().header(name, value).body(AsyncBody::empty())?));
}

fn status(code: u16, body: fn() -> AsyncBody) {
    answer(get(), || Ok(Response::builder().status(code).body(body())?));
}

/// An answer with this Content-Length and this body.
fn length(declared: &'static str, body: fn() -> AsyncBody) {
    answer(get(), || Ok(Response::builder().header(header::CONTENT_LENGTH, declared).body(body())?));
}

fn body(body: fn() -> AsyncBody) {
    answer(get(), || Ok(Response::new(body())));
}

/// Something that happens between two waits, and must be undone.
fn half_way(then: fn(was_half_way: bool) -> AsyncAppResult) {
    let half_way = Rc::new(Cell::new(false));
    let app = app_fn(move |_, scope: Scope| {
        let half_way = Rc::clone(&half_way);
        async move {
            let was_half_way = half_way.replace(true);
            if was_half_way {
                return then(was_half_way);
            }
            scope.worker().sleep(Duration::from_millis(1)).await;
            half_way.set(false);
            Ok(Response::new(AsyncBody::empty()))
        }
    });
    cancel_everywhere(&app, request("GET", "/", ""));
}

/// Calls that see each other.
fn crowd(then: fn() -> AsyncAppResult, waits: bool) {
    let inside = Rc::new(Cell::new(0));
    let app = app_fn(move |_, scope: Scope| {
        let inside = Rc::clone(&inside);
        async move {
            inside.set(inside.get() + 1);
            if inside.get() > 1 {
                if waits {
                    pending::<()>().await;
                }
                inside.set(inside.get() - 1);
                return then();
            }
            scope.worker().sleep(Duration::from_millis(1)).await;
            inside.set(inside.get() - 1);
            Ok(Response::new(AsyncBody::empty()))
        }
    });
    overlap(&app, request("GET", "/", ""));
}

/// An application that wants the blocking pool.
fn without_pool(then: fn() -> AsyncAppResult, waits: bool) {
    let app = app_fn(move |_, scope: Scope| async move {
        if scope.worker().offload(Box::new(|| {})).is_ok() {
            return Ok(Response::new(AsyncBody::empty()));
        }
        if waits {
            pending::<()>().await;
        }
        then()
    });
    without_each_capability(&Shared(&app), request("GET", "/", ""));
}

struct Insists(bool);

impl Drop for Insists {
    fn drop(&mut self) {
        assert!(self.0, "not closed");
    }
}

/// A sink whose client has left.
struct Gone;

impl FrameSink for Gone {
    fn data(&mut self, _chunk: Bytes) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }

    fn trailers(&mut self, _trailers: HeaderMap) -> Result<(), BodyError> {
        Err(BodyError::new(BodyErrorKind::Disconnected))
    }
}

/// A sink that takes everything.
struct Takes;

impl FrameSink for Takes {
    fn data(&mut self, _chunk: Bytes) -> Result<(), BodyError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    fn trailers(&mut self, _trailers: HeaderMap) -> Result<(), BodyError> {
        Ok(())
    }
}

fn write(sink: &mut dyn FrameSink, writer: fn(&mut dyn FrameSink) -> Result<(), BodyError>) {
    let app = Lint::new(sync_fn(move |_, _| Ok(Response::new(WriteBody::from_writer(writer)))));
    let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
    let _ = response.into_body().write_to(sink);
}

/// A connection on which nothing happens.
struct Quiet;

impl PollIo for Quiet {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
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

fn blocking_tunnel() {
    let app = app_fn(|_, mut scope: Scope| async move {
        let token = scope.take_upgrade().unwrap();
        Ok(token.accept(Response::new(()), |_io| async { thread::sleep(LONG) }))
    });
    let mut request = get();
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("varvel"));
    let bench = Bench::new(CAPS);
    let (head, body) = request.into_parts();
    let (scope, _exchange) = bench.scope(&head, Some(0));
    let call =
        varvel::AsyncApp::call(&Lint::new(app).poll_limit(LIMIT), Request::from_parts(head, body), scope);
    let response = bench.block_on(call).unwrap().unwrap();
    let BodyParts::Tunnel(tunnel) = response.into_body().into_parts() else { panic!("a tunnel") };
    let _ = tunnel.run(Quiet).as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

// Somebody has to hold a borrow across an await.
#[allow(clippy::await_holding_refcell_ref)]
pub(super) const BROKEN: &[Broken] = &[
    ("A1.call", || {
        let app = Lint::new(app_fn(|_, _| {
            thread::sleep(LONG);
            ready(Ok(Response::new(AsyncBody::empty())))
        }));
        let bench = Bench::new(CAPS);
        drop(bench.finish(bench.start(&app.poll_limit(LIMIT), get())));
    }),
    ("A1.poll", || {
        let app = Lint::new(app_fn(|_, _| async {
            thread::sleep(LONG);
            Ok(Response::new(AsyncBody::empty()))
        }));
        let bench = Bench::new(CAPS);
        drop(bench.finish(bench.start(&app.poll_limit(LIMIT), get())));
    }),
    ("A1.body", || {
        let app = Lint::new(app_fn(|_, _| async {
            Ok(Response::new(AsyncBody::generate(|_| async {
                thread::sleep(LONG);
                Ok(())
            })))
        }));
        let bench = Bench::new(CAPS);
        drop(bench.finish(bench.start(&app.poll_limit(LIMIT), get())));
    }),
    ("A1.tunnel", blocking_tunnel),
    ("A2.panic", || {
        let state = Rc::new(RefCell::new(0));
        let app = app_fn(move |_, scope: Scope| {
            let state = Rc::clone(&state);
            async move {
                let mut calls = state.borrow_mut();
                scope.worker().sleep(Duration::from_millis(1)).await;
                *calls += 1;
                Ok(Response::new(AsyncBody::empty()))
            }
        });
        overlap(&app, request("GET", "/", ""));
    }),
    ("A2.panic", || {
        let inside = std::sync::Mutex::new(());
        let app = sync_fn(move |_, _| {
            let _inside = inside.try_lock().expect("nobody else");
            thread::sleep(LONG);
            Ok(Response::new(WriteBody::empty()))
        });
        overlap_sync(app, request("GET", "/", ""));
    }),
    ("A2.stuck", || crowd(|| Ok(Response::new(AsyncBody::empty())), true)),
    ("A2.answer", || crowd(|| Ok(Response::builder().status(409).body(AsyncBody::empty())?), false)),
    ("A3.connection", || field("connection", "close")),
    ("A3.keep-alive", || field("keep-alive", "timeout=5")),
    ("A3.proxy-connection", || field("proxy-connection", "close")),
    ("A3.transfer-encoding", || field("transfer-encoding", "chunked")),
    ("A3.upgrade", || field("upgrade", "h2c")),
    ("A3.trailers", || body(|| items(vec![data("a"), trailers("connection")]))),
    ("A4.informational", || status(103, AsyncBody::empty)),
    ("A4.range", || status(600, AsyncBody::empty)),
    ("A4.no-content", || status(204, || AsyncBody::from_static(b"a"))),
    ("A3.trailers", || body(|| items(vec![data("a"), trailers("content-length")]))),
    ("A4.reset-content", || status(205, || AsyncBody::from_static(b"a"))),
    ("A4.not-modified", || status(304, || items(vec![data("a")]))),
    ("A5.twice", || {
        answer(get(), || {
            let response = Response::builder().header(header::CONTENT_LENGTH, 1);
            Ok(response.header(header::CONTENT_LENGTH, 1).body(AsyncBody::from_static(b"a"))?)
        });
    }),
    ("A5.number", || length("+1", || AsyncBody::from_static(b"a"))),
    ("A5.known", || length("2", || AsyncBody::from_static(b"a"))),
    ("A5.short", || length("3", || items(vec![data("a"), data("b")]))),
    ("A5.long", || length("1", || items(vec![data("a"), data("b")]))),
    ("A5.promise", || body(|| sized_items(Some(3), vec![data("a"), data("b")]))),
    ("A6.drop", || {
        let app = app_fn(|_, scope: Scope| async move {
            let mut insists = Insists(false);
            scope.worker().sleep(Duration::from_millis(1)).await;
            insists.0 = true;
            Ok(Response::new(AsyncBody::empty()))
        });
        cancel_everywhere(&app, request("GET", "/", ""));
    }),
    ("A6.drop", || {
        let app = Lint::new(app_fn(|_, scope: Scope| async move {
            let mut insists = Insists(false);
            scope.worker().sleep(Duration::from_millis(1)).await;
            insists.0 = true;
            Ok(Response::new(AsyncBody::empty()))
        }));
        let bench = Bench::new(CAPS);
        drop(bench.finish(bench.start(&app.cancelling(), get())));
    }),
    ("A6.drop", || {
        let app = Lint::new(app_fn(|_, _| async {
            let _insists = Insists(false);
            pending().await
        }));
        let bench = Bench::new(CAPS);
        let mut run = bench.start(&app, get());
        bench.step(&mut run);
        drop(run);
    }),
    ("A6.drop", || {
        let app = Lint::new(app_fn(|_, _| async {
            Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                let _insists = Insists(false);
                frames.data("a").await;
                pending().await
            })))
        }));
        let bench = Bench::new(CAPS);
        let mut run = bench.start(&app, get());
        while bench.step(&mut run) != Event::Frame {}
        drop(run);
    }),
    ("A6.panic", || half_way(|_| panic!("half way"))),
    ("A6.stuck", || {
        let turn = Rc::new(Cell::new(true));
        let app = app_fn(move |_, scope: Scope| {
            let turn = Rc::clone(&turn);
            async move {
                if !turn.replace(false) {
                    pending::<()>().await;
                }
                scope.worker().sleep(Duration::from_millis(1)).await;
                turn.set(true);
                Ok(Response::new(AsyncBody::empty()))
            }
        });
        cancel_everywhere(&app, request("GET", "/", ""));
    }),
    ("A6.answer", || half_way(|_| Err(AppError::internal("half way")))),
    ("A7.sink", || {
        write(&mut Gone, |sink| {
            let _ = sink.data(Bytes::from_static(b"a"));
            sink.data(Bytes::from_static(b"b"))
        })
    }),
    ("A7.sink", || {
        write(&mut Gone, |sink| {
            let _ = sink.flush();
            sink.flush()
        })
    }),
    ("A7.sink", || {
        write(&mut Gone, |sink| {
            let _ = sink.data(Bytes::from_static(b"a"));
            sink.trailers(HeaderMap::new())
        })
    }),
    ("A7.body", || {
        let app = Lint::new(app_fn(|request: Request<AsyncBody>, _| async {
            let BodyParts::Stream(mut body) = request.into_body().into_parts() else { panic!("a stream") };
            for _ in 0..2 {
                let _ = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
            }
            Ok(Response::new(AsyncBody::empty()))
        }));
        let bench = Bench::new(CAPS);
        drop(bench.finish(bench.start(&app, request("POST", "/", items(vec![failed()])))));
    }),
    ("A8.twice", || {
        write(&mut Takes, |sink| {
            sink.trailers(HeaderMap::new())?;
            sink.trailers(HeaderMap::new())
        });
    }),
    ("A8.data", || {
        write(&mut Takes, |sink| {
            sink.trailers(HeaderMap::new())?;
            sink.data(Bytes::from_static(b"a"))
        });
    }),
    ("A9.descriptors", || {
        // Many, so that other tests cannot close as many at the same time.
        drop(Lint::factory(|| {
            let listeners: Vec<_> = (0..40).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            sync_factory_fn(move |_| {
                let _ = &listeners;
                Ok(sync_fn(|_, _| Ok(Response::new(WriteBody::empty()))))
            })
        }));
    }),
    ("A9.threads", || {
        drop(Lint::factory(|| {
            let (sender, receiver) = mpsc::channel::<()>();
            let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
            for _ in 0..40 {
                let receiver = std::sync::Arc::clone(&receiver);
                thread::spawn(move || receiver.lock().unwrap().recv());
            }
            sync_factory_fn(move |_| {
                let _ = &sender;
                Ok(sync_fn(|_, _| Ok(Response::new(WriteBody::empty()))))
            })
        }));
    }),
    ("A10.panic", || without_pool(|| panic!("no pool"), false)),
    ("A10.panic", || {
        let app = sync_fn(|_, mut scope: Scope| {
            let (placeholder, reply) = scope.take_deferral().expect("a deferral").defer();
            reply.send(Response::new(WriteBody::empty()))?;
            Ok(placeholder)
        });
        without_each_capability_sync(&Shared(std::sync::Arc::new(app)), request("GET", "/", ""));
    }),
    ("A10.failure", || without_pool(|| Err(AppError::internal("no pool")), false)),
    ("A10.stuck", || without_pool(|| Ok(Response::new(AsyncBody::empty())), true)),
    ("A10.build", || {
        let factory = factory_fn(|worker: varvel::Worker| async move {
            match worker.offload(Box::new(|| {})) {
                Ok(()) => Ok(app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) })),
                Err(_) => Err(StartError::new("something is missing")),
            }
        });
        without_each_capability(&factory, request("GET", "/", ""));
    }),
    ("U7.switching", || status(101, AsyncBody::empty)),
    ("U7.connect", || {
        let mut request = request("CONNECT", "varvel.test:80", AsyncBody::empty());
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("varvel.test:80"));
        answer(request, || Ok(Response::new(AsyncBody::empty())));
    }),
];

#[test]
fn a_later_call_of_an_application_that_undoes_what_was_dropped_is_as_the_first() {
    struct Turn(Rc<Cell<bool>>);
    impl Drop for Turn {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let free = Rc::new(Cell::new(true));
    let app = app_fn(move |request: Request<AsyncBody>, scope: Scope| {
        let free = Rc::clone(&free);
        async move {
            assert!(free.replace(false), "somebody did not give his turn back");
            let turn = Turn(free);
            let body = request.into_body().collect(100).await?;
            for _ in 0..3 {
                scope.worker().sleep(Duration::from_millis(1)).await;
            }
            drop(turn);
            Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                frames.data(body).await;
                scope.worker().sleep(Duration::from_millis(1)).await;
                frames.data("end").await;
                Ok(())
            })))
        }
    });
    let places = cancel_everywhere(&app, request("POST", "/", "begin, "));
    // Three sleeps, the first frame, a sleep, the second frame.
    assert_eq!(places, 6);
    assert_eq!(
        overlap(&app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) }), request("GET", "/", "")),
        0
    );
}

#[test]
fn a_poll_that_prints_a_backtrace_is_let_through_in_a_test_and_told_of_in_production() {
    let slow = || {
        app_fn(|_, _| async {
            thread::sleep(Duration::from_millis(150));
            Ok(Response::new(AsyncBody::empty()))
        })
    };
    let bench = Bench::new(CAPS);
    drop(bench.finish(bench.start(&Lint::new(slow()), get())));

    let watched = Lint::new(slow()).count();
    drop(bench.finish(bench.start(&watched, get())));
    assert_eq!(watched.findings().count("A1.poll"), 1);
}

#[test]
fn a_field_of_any_other_name_is_let_through() {
    let name = HeaderName::from_static("connections");
    answer(get(), || Ok(Response::builder().header(&name, "7").body(items(vec![data("a"), data("")]))?));
    let _ = Frame::Data(Bytes::new());
}

#[test]
fn a_destructor_that_panics_is_found_by_a_lint_that_only_watches_and_still_panics() {
    let app = app_fn(|_, _| async {
        let _insists = Insists(false);
        pending().await
    });
    let lint = Lint::sandwich(app, |inner| inner).count();
    let bench = Bench::new(CAPS);
    let mut run = bench.start(&lint, get());
    bench.step(&mut run);
    let panic = catch_unwind(AssertUnwindSafe(|| drop(run))).expect_err("the server contains and reports it");
    assert_eq!(message(&*panic), "not closed");
    // Once, and not by both lints.
    let breaches = lint.findings().breaches();
    assert_eq!(lint.findings().total(), 1);
    assert_eq!(breaches[0].rule.id, "A6.drop");
    assert_eq!(breaches[0].what, "the destructor of the pending call panicked: not closed");
}

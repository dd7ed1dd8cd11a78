//! Middleware that breaks the rules of chapter M.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use varvel::{
    App, AppError, AppResult, AsyncApp, AsyncAppResult, AsyncBody, BodyError, BodyParts, Frame, FrameSink,
    MapResponse, PollBody, ReadBody, Scope, WriteBody, app_fn, map_answer, map_response, sync_fn,
};

use super::Broken;
use crate::{Lint, Source, drive::lock, middleware, middleware_sync, middleware_sync_with, middleware_with};

type Inner = Arc<Lint<Source>>;

/// An async middleware that does this with its request and its answer.
fn wrong<Fut>(run: fn(Inner, Request<AsyncBody>, Scope) -> Fut)
where
    Fut: Future<Output = AsyncAppResult>,
{
    middleware(|inner| {
        let inner = Arc::new(inner);
        app_fn(move |request, scope| run(Arc::clone(&inner), request, scope))
    });
}

/// One that does this with the answer.
fn wrong_answer(change: fn(Response<AsyncBody>, Method) -> Response<AsyncBody>) {
    middleware(|inner| {
        let inner = Arc::new(inner);
        app_fn(move |request: Request<AsyncBody>, scope| {
            let method = request.method().clone();
            let call = inner.call(request, scope);
            async move { Ok(change(call.await?, method)) }
        })
    });
}

/// A sync one that does this with the answer.
fn wrong_answer_sync(change: fn(Response<WriteBody>) -> Response<WriteBody>) {
    middleware_sync(|inner| sync_fn(move |request, scope| inner.call(request, scope).map(change)));
}

/// A stream of which this becomes.
struct Filtered<F>(Pin<Box<dyn PollBody + Send>>, F);

impl<F> PollBody for Filtered<F>
where
    F: FnMut(Option<Result<Frame, BodyError>>) -> Option<Result<Frame, BodyError>> + Unpin,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Self(stream, filter) = &mut *self;
        stream.as_mut().poll_frame(cx).map(filter)
    }
}

fn filtered(
    response: Response<AsyncBody>,
    filter: impl FnMut(Option<Result<Frame, BodyError>>) -> Option<Result<Frame, BodyError>>
    + Unpin
    + Send
    + 'static,
) -> Response<AsyncBody> {
    response.map(|body| body.map_stream(|stream| Box::pin(Filtered(stream, filter))))
}

/// Something kept where nobody drops it in time.
#[derive(Default)]
struct Attic(Mutex<Vec<Box<dyn std::any::Any + Send>>>);

/// A future or a body that is kept alive in the attic while it is polled from here.
struct Kept<T>(Arc<Mutex<T>>);

impl<F: Future + Unpin> Future for Kept<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut *lock(&self.0)).poll(cx)
    }
}

impl PollBody for Kept<Pin<Box<dyn PollBody + Send>>> {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        lock(&self.0).as_mut().poll_frame(cx)
    }
}

/// A sink that keeps back what it is given until the end.
struct Hoard<'a>(&'a mut dyn FrameSink, Vec<Bytes>);

impl FrameSink for Hoard<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.1.push(chunk);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        for chunk in self.1.drain(..) {
            self.0.data(chunk)?;
        }
        self.0.trailers(trailers)
    }
}

/// A sink that passes data on, and loses one thing.
struct Loses<'a> {
    sink: &'a mut dyn FrameSink,
    flushes: bool,
    trailers: bool,
}

impl FrameSink for Loses<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.sink.data(chunk)
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        if self.flushes { Ok(()) } else { self.sink.flush() }
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        if self.trailers { Ok(()) } else { self.sink.trailers(trailers) }
    }
}

/// Puts another sink around the server's.
fn resunk(
    response: Response<WriteBody>,
    write: impl FnOnce(varvel::Writer, &mut dyn FrameSink) -> Result<(), BodyError> + Send + 'static,
) -> Response<WriteBody> {
    response.map(|body| match body.into_parts() {
        BodyParts::Stream(writer) => WriteBody::from_writer(move |sink| write(writer, sink)),
        parts => WriteBody::from(parts),
    })
}

async fn rewritten(inner: Inner, mut request: Request<AsyncBody>, scope: Scope, uri: &str) -> AsyncAppResult {
    *request.uri_mut() = uri.parse()?;
    inner.call(request, scope).await
}

pub(super) const BROKEN: &[Broken] = &[
    ("M1.lost", || wrong(|inner, request, _| async move { inner.call(request, Scope::for_test()).await })),
    ("M1.lost", || {
        middleware_sync(|inner| sync_fn(move |request, _| inner.call(request, Scope::for_test())))
    }),
    ("M1.moved", || {
        let kept: Mutex<Option<Scope>> = Mutex::default();
        middleware_sync(|inner| {
            let kept = &kept;
            sync_fn(move |request, scope| match lock(kept).replace(scope) {
                None => Ok(Response::new(WriteBody::empty())),
                Some(before) => inner.call(request, before),
            })
        });
    }),
    ("M2.held", || {
        wrong(|inner, request, scope| async move {
            let (head, body) = inner.call(request, scope).await?.into_parts();
            Ok(match body.into_parts() {
                BodyParts::Stream(stream) => {
                    let body = AsyncBody::from(BodyParts::Stream(stream)).collect(1000).await?;
                    Response::from_parts(head, AsyncBody::full(body))
                }
                parts => Response::from_parts(head, AsyncBody::from(parts)),
            })
        });
    }),
    // One frame behind, all the time.
    ("M2.held", || {
        wrong_answer(|response, _| {
            response.map(|body| match body.into_parts() {
                BodyParts::Stream(stream) => AsyncBody::generate(|mut frames| async move {
                    let mut body = AsyncBody::from(BodyParts::Stream(stream));
                    let mut last = None;
                    while let Some(frame) = body.frame().await {
                        if let Some(last) = last.replace(frame?) {
                            frames.frame(last).await;
                        }
                    }
                    if let Some(last) = last {
                        frames.frame(last).await;
                    }
                    Ok(())
                }),
                parts => AsyncBody::from(parts),
            })
        });
    }),
    ("M2.flush", || {
        wrong_answer_sync(|response| {
            resunk(response, |writer, sink| {
                let mut hoard = Hoard(sink, Vec::new());
                writer.write_to(&mut hoard)?;
                hoard.1.drain(..).try_for_each(|chunk| hoard.0.data(chunk))
            })
        });
    }),
    ("M2.flush", || {
        wrong_answer_sync(|response| {
            resunk(response, |writer, sink| {
                writer.write_to(&mut Loses { sink, flushes: true, trailers: false })
            })
        });
    }),
    ("M3.trailers", || {
        wrong_answer(|response, _| {
            filtered(response, |frame| match frame {
                Some(Ok(Frame::Trailers(_))) => None,
                frame => frame,
            })
        });
    }),
    ("M3.trailers", || {
        wrong_answer_sync(|response| {
            resunk(response, |writer, sink| {
                writer.write_to(&mut Loses { sink, flushes: false, trailers: true })
            })
        });
    }),
    ("M3.tunnel", || {
        wrong_answer(|response, _| {
            response.map(|body| match body.into_parts() {
                BodyParts::Tunnel(_) => AsyncBody::empty(),
                parts => AsyncBody::from(parts),
            })
        });
    }),
    ("M3.deferral", || {
        wrong_answer_sync(|response| {
            response.map(|body| match body.into_parts() {
                parts @ BodyParts::Deferred(_) => {
                    WriteBody::from_writer(|sink| WriteBody::from(parts).write_to(sink))
                }
                parts => WriteBody::from(parts),
            })
        });
    }),
    ("M4.length", || {
        wrong_answer(|response, _| {
            response.map(|body| match body.into_parts() {
                BodyParts::Full(bytes) => AsyncBody::full([&bytes[..], b"-- \n"].concat()),
                parts => AsyncBody::from(parts),
            })
        });
    }),
    ("M4.length", || {
        wrong_answer(|response, _| {
            filtered(response, |frame| match frame {
                Some(Ok(Frame::Data(_))) => Some(Ok(Frame::Data(Bytes::from_static(b"other")))),
                frame => frame,
            })
        });
    }),
    ("M4.head-status", || {
        wrong(|inner, request, scope| async move {
            if request.method() == Method::HEAD {
                return Ok(Response::builder().status(405).body(AsyncBody::empty())?);
            }
            inner.call(request, scope).await
        });
    }),
    ("M4.head-fields", || {
        wrong_answer(|response, method| match method == Method::HEAD {
            true => response.map(|_| AsyncBody::empty()),
            false => response,
        });
    }),
    ("M9.deferred", || wrong_answer_sync(stamp)),
    ("M5.future", || {
        let attic = Attic::default();
        middleware(|inner| {
            let attic = &attic;
            app_fn(move |request, scope| {
                let call = Arc::new(Mutex::new(inner.call(request, scope)));
                lock(&attic.0).push(Box::new(Arc::clone(&call)));
                Kept(call)
            })
        });
    }),
    ("M5.body", || {
        let attic = Arc::new(Attic::default());
        middleware(|inner| {
            let attic = Arc::clone(&attic);
            app_fn(move |request, scope| {
                let call = inner.call(request, scope);
                let attic = Arc::clone(&attic);
                async move {
                    let response = call.await?;
                    Ok(response.map(|body| {
                        body.map_stream(|stream| {
                            let body = Arc::new(Mutex::new(stream));
                            lock(&attic.0).push(Box::new(Arc::clone(&body)));
                            Box::pin(Kept(body))
                        })
                    }))
                }
            })
        });
    }),
    ("M5.body", || {
        let attic = Arc::new(Attic::default());
        middleware_sync(|inner| {
            let attic = Arc::clone(&attic);
            sync_fn(move |request, scope| {
                let attic = Arc::clone(&attic);
                let response = inner.call(request, scope)?;
                Ok(response.map(|body| match body.into_parts() {
                    BodyParts::Stream(writer) => {
                        let writer = Arc::new(Mutex::new(Some(writer)));
                        lock(&attic.0).push(Box::new(Arc::clone(&writer)));
                        WriteBody::from_writer(move |sink| {
                            let writer = lock(&writer).take();
                            writer.map_or(Ok(()), |writer| writer.write_to(sink))
                        })
                    }
                    parts => WriteBody::from(parts),
                }))
            })
        });
    }),
    ("M6.kind", || {
        wrong(|inner, request, scope| async move {
            inner.call(request, scope).await.map_err(|error| AppError::internal(error.to_string()))
        });
    }),
    ("M6.source", || {
        wrong(|inner, request, scope| async move {
            inner
                .call(request, scope)
                .await
                .map_err(|error| AppError::new(error.kind(), "something happened"))
        });
    }),
    ("M6.source", || {
        middleware_sync(|inner| {
            sync_fn(move |request, scope| -> AppResult {
                inner.call(request, scope).map_err(|error| AppError::new(error.kind(), "something happened"))
            })
        });
    }),
    ("M8.boundary", || {
        wrong(
            |inner, request, scope| async move { rewritten(inner, request, scope, "/shopping/cart").await },
        );
    }),
    ("M8.lost", || {
        wrong(|inner, request, scope| async move { rewritten(inner, request, scope, "/x").await })
    }),
    ("B10.swallowed", || {
        wrong_answer(|response, _| {
            filtered(response, |frame| match frame {
                Some(Err(_)) => None,
                frame => frame,
            })
        });
    }),
];

/// Passes everything on, and adds a field: a right one.
struct Stamp<A>(A);

fn stamp<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("stamped"));
    response
}

impl<A: App> App for Stamp<A> {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        map_answer(self.0.call(request, scope), |answer| answer.map(stamp))
    }
}

impl<A: AsyncApp> AsyncApp for Stamp<A> {
    type Future = MapResponse<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        map_response(self.0.call(request, scope), stamp)
    }
}

crate::assert_as_mobile!(AsyncApp: |inner| Stamp(inner));
crate::assert_as_mobile!(App: |inner| Stamp(inner));
// The lint is a middleware as well.
crate::assert_as_mobile!(AsyncApp: |inner| Lint::new(inner));
crate::assert_as_mobile!(App: |inner| Lint::new(inner));

#[test]
fn a_middleware_that_passes_everything_on_is_let_through() {
    middleware(Stamp);
    middleware_sync(Stamp);
}

#[test]
fn the_lint_keeps_chapter_m_itself() {
    middleware(Lint::new);
    middleware_sync(Lint::new);
    // As a server of its own it hides the entries that others left in the scope, and says so.
    middleware(|inner| Lint::sandwich(inner, Stamp));
}

#[test]
fn a_middleware_that_changes_bodies_frame_by_frame_is_let_through() {
    middleware(|inner| {
        let inner = Arc::new(inner);
        app_fn(move |request, scope| {
            let call = inner.call(request, scope);
            async move {
                let mut response = call.await?;
                if matches!(response.status(), StatusCode::SWITCHING_PROTOCOLS) {
                    return Ok(response);
                }
                response.headers_mut().remove(header::CONTENT_LENGTH);
                Ok(filtered(response, |frame| match frame {
                    Some(Ok(Frame::Data(data))) => {
                        Some(Ok(Frame::Data([&data[..], &data[..]].concat().into())))
                    }
                    frame => frame,
                }))
            }
        })
    });
}

/// Lets in who shows a ticket.
fn guarded(headers: &HeaderMap) -> bool {
    headers.contains_key("ticket")
}

#[test]
fn a_middleware_that_answers_itself_is_given_requests_that_it_lets_pass() {
    let ticket = |head: &mut http::request::Parts| {
        head.headers.insert("ticket", HeaderValue::from_static("1"));
    };
    let refuse = || Ok(Response::builder().status(401).body(WriteBody::empty())?);
    middleware_sync_with(ticket, |inner| {
        sync_fn(move |request, scope| match guarded(request.headers()) {
            true => inner.call(request, scope),
            false => refuse(),
        })
    });
    middleware_with(ticket, |inner| {
        let inner = Arc::new(inner);
        app_fn(move |request: Request<AsyncBody>, scope| {
            let inner = Arc::clone(&inner);
            async move {
                if guarded(request.headers()) {
                    return inner.call(request, scope).await;
                }
                Ok(Response::builder().status(401).body(AsyncBody::empty())?)
            }
        })
    });
}

#[test]
#[should_panic(expected = "never called the application inside")]
fn a_middleware_that_lets_nothing_pass_was_not_tried() {
    middleware(|_| app_fn(|_, _| async { Ok(Response::builder().status(401).body(AsyncBody::empty())?) }));
}

#[test]
fn a_pair_of_lints_that_serves_recognises_itself() {
    let hello = sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"hello"))));
    let bench = crate::drive::Bench::new(crate::drive::CAPS);
    for lint in [Lint::sandwich(hello, Stamp).serving(), Lint::sandwich(hello, Stamp).below_middleware()] {
        let answer = bench.call_sync(&lint, super::request("GET", "/", ReadBody::empty())).unwrap();
        assert_eq!(answer.data, "hello");
        lint.findings().assert_none();
    }
}

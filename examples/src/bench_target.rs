//! An application that costs as little as the contract allows, so that a load test measures the server.
//!
//! | path | answer |
//! |---|---|
//! | `/` | `Hello, World!`, 13 bytes of text |
//! | `/echo` | the request body, streamed back |
//! | `/wait?ms=N` | `ok`, after N milliseconds in which nothing is computed and no thread is held |
//! | `/stream?n=N` | N chunks of 16 KiB, of no declared length |
//!
//! It comes in two forms, so that on neither server a bridge is measured along: [`OnThreads`] is sync and answers
//! `/wait` by a deferred reply, [`OnLoops`] is async. Both are written by hand rather than as an `async fn`: a future
//! that is ready at once need not carry the request about.

use std::{
    future::Future,
    iter,
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use varvel::{
    App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, BodyParts, Caps, Mode, ReadBody, Scope, Timer,
    WriteBody,
};

use crate::query;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// A chunk of `/stream`.
static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// What a request asks for, the same in both forms.
enum Route {
    Hello,
    Echo,
    Wait(Duration),
    Stream(usize),
    Nothing,
}

fn route(uri: &Uri) -> Route {
    match uri.path() {
        "/" => Route::Hello,
        "/echo" => Route::Echo,
        "/wait" => Route::Wait(Duration::from_millis(query::number(uri, "ms").unwrap_or(0))),
        "/stream" => {
            let chunks = query::number(uri, "n").unwrap_or(0);
            Route::Stream(usize::try_from(chunks).unwrap_or(usize::MAX))
        }
        _ => Route::Nothing,
    }
}

fn text<M: Mode>(text: &'static [u8]) -> Response<Body<M>> {
    let mut response = Response::new(Body::from_static(text));
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

fn hello<M: Mode>() -> Response<Body<M>> {
    text(b"Hello, World!")
}

fn nothing<M: Mode>() -> Response<Body<M>> {
    let mut response = text(b"nothing here\n");
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The sync form, for the threaded server.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnThreads;

impl App for OnThreads {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        Ok(match route(request.uri()) {
            Route::Hello => hello(),
            Route::Echo => Response::new(echo(request.into_body())),
            Route::Wait(duration) => wait(duration, scope),
            Route::Stream(chunks) => Response::new(WriteBody::from_writer(move |sink| {
                iter::repeat_n(&CHUNK, chunks).try_for_each(|chunk| sink.data(Bytes::from_static(chunk)))
            })),
            Route::Nothing => nothing(),
        })
    }
}

/// Frames go out as they come in, without a copy.
fn echo(body: ReadBody) -> WriteBody {
    let len = body.exact_len();
    let mut body = match body.into_parts() {
        BodyParts::Full(bytes) => return WriteBody::full(bytes),
        parts => ReadBody::from(parts),
    };
    let copy = move |sink: &mut dyn varvel::FrameSink| {
        while let Some(frame) = body.next_frame()? {
            if let varvel::Frame::Data(data) = frame {
                sink.data(data)?;
            }
        }
        Ok(())
    };
    match len {
        Some(len) => WriteBody::from_sized_writer(len, copy),
        None => WriteBody::from_writer(copy),
    }
}

/// Gives the thread back until the time is over, where the server can wait without one.
fn wait(duration: Duration, mut scope: Scope) -> Response<WriteBody> {
    let worker = scope.worker().clone();
    if worker.info().caps.contains(Caps::SPAWN) {
        if let Some(deferral) = scope.take_deferral() {
            let (placeholder, reply) = deferral.defer();
            let timer = worker.sleep(duration);
            // A worker that has stopped refuses the task; the reply is then dropped with it, which answers.
            let _ = worker.spawn(Box::pin(async move {
                timer.await;
                // Who has left meanwhile needs no answer.
                let _ = reply.send(text(b"ok"));
            }));
            return placeholder;
        }
    }
    thread::sleep(duration);
    text(b"ok")
}

/// The async form, for the evented server.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnLoops;

impl AsyncApp for OnLoops {
    type Future = Answer;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Answer {
        Answer(match route(request.uri()) {
            Route::Hello => State::Ready(hello()),
            Route::Echo => State::Ready(Response::new(request.into_body())),
            Route::Wait(duration) => State::Waiting(scope.worker().sleep(duration)),
            Route::Stream(chunks) => {
                let chunks = iter::repeat_n(Bytes::from_static(&CHUNK), chunks);
                State::Ready(Response::new(AsyncBody::from_chunks(chunks)))
            }
            Route::Nothing => State::Ready(nothing()),
        })
    }
}

/// The future of [`OnLoops`]: there already, or there when a timer fires.
#[derive(Debug)]
pub struct Answer(State);

#[derive(Debug)]
enum State {
    Ready(Response<AsyncBody>),
    Waiting(Timer),
    Given,
}

impl Future for Answer {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        if let State::Waiting(timer) = &mut self.0 {
            std::task::ready!(Pin::new(timer).poll(cx));
            self.0 = State::Ready(text(b"ok"));
        }
        match std::mem::replace(&mut self.0, State::Given) {
            State::Ready(response) => Poll::Ready(Ok(response)),
            // Polled after its end, which no server does (spec B12).
            State::Waiting(_) | State::Given => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use varvel_test::Client;

    use super::*;

    fn both() -> [Client; 2] {
        [Client::sync(OnThreads), Client::new(OnLoops)]
    }

    #[test]
    fn both_forms_answer_every_route_alike() {
        let megabyte = "x".repeat(64 * 16 * 1024);
        for (method, target, body, status, expected) in [
            ("GET", "/", "", 200, "Hello, World!"),
            ("POST", "/echo", "ping", 200, "ping"),
            ("POST", "/echo", "", 200, ""),
            ("GET", "/stream?n=64", "", 200, megabyte.as_str()),
            ("GET", "/stream?n=0", "", 200, ""),
            ("GET", "/elsewhere", "", 404, "nothing here\n"),
        ] {
            for client in both() {
                let response = client.request(method, target).body(body).send();
                assert_eq!(response.status(), status, "{target}");
                assert!(response.text() == expected, "{target}: {} bytes", response.body().len());
            }
        }
    }

    #[test]
    fn hello_is_plain_text_and_says_no_more_than_it_must() {
        for client in both() {
            let response = client.get("/").send();
            let mut fields: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
            fields.sort_unstable();
            assert_eq!(fields, ["content-length", "content-type", "date"]);
            assert_eq!(response.header("content-type"), Some("text/plain"));
        }
    }

    #[test]
    fn a_stream_declares_no_length_and_an_echo_the_one_that_came() {
        for client in both() {
            assert_eq!(client.get("/stream?n=1").send().header("transfer-encoding"), Some("chunked"));
            assert_eq!(client.post("/echo").body("ping").send().header("content-length"), Some("4"));
        }
    }

    #[test]
    fn a_wait_takes_its_time() {
        for client in both() {
            let mut exchange = client.get("/wait?ms=250").start();
            client.advance(Duration::from_millis(249));
            assert!(exchange.poll_head().is_pending());
            client.advance(Duration::from_millis(1));
            assert_eq!(exchange.response().text(), "ok");
        }
    }
}

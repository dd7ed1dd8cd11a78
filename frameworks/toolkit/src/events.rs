//! Server-sent events: a stream of short messages to an open page (the HTML standard, section 9.2).
//!
//! ```
//! use std::time::Duration;
//! use http::Request;
//! use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
//! use varvel_toolkit::events::{self, Event};
//!
//! async fn clock(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
//!     let mut number = events::last_id(request.headers()).and_then(|id| id.parse().ok()).unwrap_or(0);
//!     let worker = scope.worker().clone();
//!     Ok(events::respond(&scope, |mut events| async move {
//!         loop {
//!             worker.sleep(Duration::from_secs(1)).await;
//!             number += 1;
//!             events.send(&Event::new(format!("tick {number}")).id(number.to_string())).await;
//!         }
//!     }))
//! }
//! # let client = varvel_test::Client::new(app_fn(clock));
//! # let mut exchange = client.get("/").start();
//! # client.advance(Duration::from_secs(1));
//! # assert_eq!(exchange.read(20), "id: 1\ndata: tick 1\n\n");
//! ```
//!
//! Each event is sent at once. On a silent stream a comment is sent every [15 seconds](HEARTBEAT), so that proxies keep it
//! open and a client that has left is noticed. When the server stops, the stream ends: clients reconnect by themselves, and
//! say in Last-Event-ID where they were.
//!
//! The sync form is [`respond_blocking`]. It occupies a thread for as long as the stream lasts; for more than a few streams
//! use the async form.

use std::{
    fmt::Write,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use varvel::{
    AsyncBody, BodyError, Frame, FrameSender, FrameSink, PollBody, Scope, Timer, Worker, WriteBody,
};

/// After how long a silence a comment is sent.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    name: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Event {
    /// An event with this text, which may have several lines.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// The name of the event, for `addEventListener`; `message` by default.
    ///
    /// # Panics
    /// If it contains a line break.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(one_line(name.into()));
        self
    }

    /// What the client sends as Last-Event-ID when it reconnects.
    ///
    /// # Panics
    /// If it contains a line break or a NUL.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        let id = one_line(id.into());
        assert!(!id.contains('\0'), "an id with a NUL is ignored by browsers");
        self.id = Some(id);
        self
    }

    /// How long the client should wait before it reconnects, from now on.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    /// The event as it is sent.
    pub fn to_bytes(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 32);
        if let Some(name) = &self.name {
            field(&mut text, "event", name);
        }
        if let Some(id) = &self.id {
            field(&mut text, "id", id);
        }
        if let Some(after) = self.retry {
            let _ = writeln!(text, "retry: {}", after.as_millis());
        }
        // CRLF, CR and LF all end a line; they become LF.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            field(&mut text, "data", line);
        }
        text.push('\n');
        text.into()
    }
}

fn field(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name}: {value}");
}

#[track_caller]
fn one_line(text: String) -> String {
    assert!(!text.contains(['\n', '\r']), "a line break would begin another field");
    text
}

/// The id of the last event that the client has seen, if it reconnects.
pub fn last_id(headers: &HeaderMap) -> Option<&str> {
    std::str::from_utf8(headers.get("last-event-id")?.as_bytes()).ok()
}

/// A response with a stream of events. The future of `send` sends them; it is dropped when the client leaves or the server
/// stops.
pub fn respond<F, Fut>(scope: &Scope, send: F) -> Response<AsyncBody>
where
    F: FnOnce(Events) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let worker = scope.worker().clone();
    let events = AsyncBody::generate(|frames| {
        let sending = send(Events { frames });
        async move {
            sending.await;
            Ok(())
        }
    });
    head(AsyncBody::from_poll(Live { events, silence: worker.sleep(HEARTBEAT), worker }))
}

/// A response with a stream of events. `send` sends them on the thread of the call, after the head was sent.
///
/// Use `?` in it: once the client has left or the server stops, sending and sleeping fail, and the stream ends.
pub fn respond_blocking(
    scope: &Scope,
    send: impl FnOnce(&mut BlockingEvents<'_>) -> Result<(), BodyError> + Send + 'static,
) -> Response<WriteBody> {
    let worker = scope.worker().clone();
    head(WriteBody::from_writer(move |sink| {
        let mut events = BlockingEvents { sink, worker, stopped: false };
        match send(&mut events) {
            Err(_) if events.stopped => Ok(()),
            result => result,
        }
    }))
}

fn head<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Else nginx keeps events back until it has a buffer full of them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// Sends the events of an async application.
#[derive(Debug)]
pub struct Events {
    frames: FrameSender,
}

impl Events {
    /// Sends an event, and waits until the server has taken it.
    pub async fn send(&mut self, event: &Event) {
        self.frames.data(event.to_bytes()).await;
    }
}

/// The events, with a heartbeat and an end.
struct Live {
    events: AsyncBody,
    silence: Timer,
    worker: Worker,
}

impl PollBody for Live {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        // First: an application that always has another event must not hold up the stop.
        if self.worker.poll_stopping(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = self.events.poll_frame(cx) {
            self.silence = self.worker.sleep(HEARTBEAT);
            return Poll::Ready(frame);
        }
        std::task::ready!(Pin::new(&mut self.silence).poll(cx));
        self.silence = self.worker.sleep(HEARTBEAT);
        Poll::Ready(Some(Ok(Frame::Data(COMMENT))))
    }
}

/// Sends the events of a sync application.
pub struct BlockingEvents<'s> {
    sink: &'s mut dyn FrameSink,
    worker: Worker,
    /// The last error was due to the stop, which is a normal end of the stream.
    stopped: bool,
}

impl BlockingEvents<'_> {
    /// Sends an event, and waits until the transport has taken it.
    ///
    /// # Errors
    /// If the client has left, or the server stops.
    pub fn send(&mut self, event: &Event) -> Result<(), BodyError> {
        self.check_stop()?;
        self.push(event.to_bytes())
    }

    /// Sleeps, and sends heartbeats meanwhile. The stop of the server ends it early.
    ///
    /// # Errors
    /// If the client has left, or the server stops.
    pub fn sleep(&mut self, duration: Duration) -> Result<(), BodyError> {
        let worker = self.worker.clone();
        let mut over = worker.sleep(duration);
        loop {
            let mut silence = worker.sleep(HEARTBEAT);
            let is_over = worker.block_on(poll_fn(|cx| match Pin::new(&mut over).poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if worker.poll_stopping(cx).is_ready() => Poll::Ready(true),
                Poll::Pending => Pin::new(&mut silence).poll(cx).map(|()| false),
            }));
            if is_over {
                return self.check_stop();
            }
            self.push(COMMENT)?;
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.sink.data(data)?;
        self.sink.flush()
    }

    fn check_stop(&mut self) -> Result<(), BodyError> {
        self.stopped = self.worker.is_stopping();
        if self.stopped { Err(BodyError::failed("the server stops")) } else { Ok(()) }
    }
}

impl std::fmt::Debug for BlockingEvents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingEvents").field("worker", &self.worker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use varvel::{ReadBody, app_fn, sync_fn};
    use varvel_test::{Client, Stage};

    use super::*;

    #[test]
    fn an_event_has_its_fields_and_a_line_for_each_of_its_lines() {
        for (event, expected) in [
            (Event::new("hello"), "data: hello\n\n"),
            (Event::new(""), "data: \n\n"),
            (Event::new("a\nb\r\nc\rd\n"), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
            (Event::new(" indented"), "data:  indented\n\n"),
            (
                Event::new("x").name("add").id("7").retry(Duration::from_millis(2500)),
                "event: add\nid: 7\nretry: 2500\ndata: x\n\n",
            ),
            (Event::new("x").id(""), "id: \ndata: x\n\n"),
        ] {
            assert_eq!(event.to_bytes(), expected);
        }
    }

    #[test]
    #[should_panic = "a line break would begin another field"]
    fn a_name_cannot_smuggle_in_another_field() {
        let _ = Event::new("x").name("add\ndata: forged");
    }

    /// An event that says what the client saw last, and another later.
    fn in_each_form(check: impl Fn(&Client)) {
        const LATER: Duration = Duration::from_secs(2 * HEARTBEAT.as_secs());
        check(&Client::new(app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
            let first = Event::new(last_id(request.headers()).unwrap_or("none"));
            let worker = scope.worker().clone();
            Ok(respond(&scope, |mut events| async move {
                events.send(&first).await;
                worker.sleep(LATER).await;
                events.send(&Event::new("second")).await;
            }))
        })));
        check(&Client::sync(sync_fn(|request: Request<ReadBody>, scope: Scope| {
            let first = Event::new(last_id(request.headers()).unwrap_or("none"));
            Ok(respond_blocking(&scope, move |events| {
                events.send(&first)?;
                events.sleep(LATER)?;
                events.send(&Event::new("second"))
            }))
        })));
    }

    fn read(exchange: &mut varvel_test::Exchange, text: &str) {
        assert_eq!(exchange.read(text.len()), text);
    }

    #[test]
    fn events_come_at_once_and_comments_in_between() {
        in_each_form(|client| {
            let mut exchange = client.get("/").header("last-event-id", "41").start();
            assert_eq!(exchange.head().headers["content-type"], "text/event-stream");
            assert_eq!(exchange.head().headers["cache-control"], "no-cache");
            assert_eq!(exchange.head().headers["x-accel-buffering"], "no");
            read(&mut exchange, "data: 41\n\n");
            client.advance(HEARTBEAT);
            read(&mut exchange, ":\n\n");
            client.advance(HEARTBEAT);
            let rest = exchange.response();
            assert!(rest.text().ends_with("data: second\n\n"), "{:?}", rest.text());
        });
    }

    #[test]
    fn the_stop_ends_the_stream_as_if_it_were_over() {
        in_each_form(|client| {
            let mut exchange = client.get("/").start();
            read(&mut exchange, "data: none\n\n");
            client.stop();
            assert_eq!(exchange.response().text(), "");
        });
    }

    #[test]
    fn the_stop_ends_a_stream_that_always_has_another_event() {
        let client = Client::new(app_fn(|_, scope: Scope| async move {
            Ok(respond(&scope, |mut events| async move {
                for _ in 0..1000 {
                    events.send(&Event::new("more")).await;
                }
                events.send(&Event::new("last")).await;
            }))
        }));
        let mut exchange = client.get("/").start();
        read(&mut exchange, "data: more\n\n");
        client.stop();
        assert!(!exchange.response().text().contains("last"));
    }

    #[test]
    fn a_client_that_leaves_ends_it() {
        in_each_form(|client| {
            let mut exchange = client.get("/").start();
            read(&mut exchange, "data: none\n\n");
            exchange.disconnect();
            client.advance(HEARTBEAT);
            assert_eq!(exchange.stage(), Stage::Over);
        });
    }

    #[test]
    fn it_keeps_to_the_contract() {
        let app = app_fn(|_, scope: Scope| async move {
            Ok(respond(&scope, |mut events| async move {
                events.send(&Event::new("one\ntwo")).await;
            }))
        });
        let client = Client::new(varvel_lint::Lint::new(app));
        assert_eq!(client.get("/").send().text(), "data: one\ndata: two\n\n");
        let app = sync_fn(|_, scope: Scope| {
            Ok(respond_blocking(&scope, |events| events.send(&Event::new("one\ntwo"))))
        });
        let client = Client::sync(varvel_lint::Lint::new(app));
        assert_eq!(client.get("/").send().text(), "data: one\ndata: two\n\n");
    }
}

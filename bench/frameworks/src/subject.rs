//! What is measured: something that answers `/users/{id}`, called in process.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use serde::Serialize;

use crate::allocations::Allocations;

/// An application, with requests of its own kind.
pub(crate) trait Subject {
    type Request;

    /// `GET` [`PATH`] with [`FIELDS`], as the server under it would have made it.
    fn request(&self) -> Self::Request;

    /// Answers it, up to what a server would hand to the kernel.
    fn answer(&mut self, request: Self::Request, wire: &mut Wire);
}

/// What is asked for.
pub(crate) const PATH: &str = "/users/7";

/// What comes with it.
pub(crate) const FIELDS: [(&str, &str); 3] =
    [("host", "127.0.0.1:8000"), ("user-agent", "varvel-bench"), ("accept", "application/json")];

/// What every server of the `http` crate makes a request of: slices of what it has read.
pub(crate) struct Head {
    uri: Uri,
    fields: HeaderMap,
}

impl Default for Head {
    fn default() -> Self {
        let field =
            |(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("text"));
        Self { uri: PATH.parse().expect("a path"), fields: FIELDS.map(field).into_iter().collect() }
    }
}

impl Head {
    /// With a body of the framework's own.
    pub(crate) fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.fields.clone();
        request
    }
}

/// What is answered, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct User {
    id: i64,
    name: &'static str,
}

impl User {
    pub(crate) fn of(id: i64) -> Self {
        Self { id, name: "Ada Lovelace" }
    }
}

/// A table of so many routes: the one that is asked for in the middle, and others that end in a field as well.
pub(crate) fn paths(routes: usize) -> impl Iterator<Item = String> {
    let path =
        move |number| if number == routes / 2 { "/users/{id}".into() } else { format!("/r{number}/{{id}}") };
    (0..routes).map(path)
}

/// A future that is ready at once, as all are here, needs no run-time.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Where answers go, so that nobody is spared to read through what was made.
#[derive(Debug, Default)]
pub(crate) struct Wire(Vec<u8>);

impl Wire {
    pub(crate) fn status(&mut self, status: u16) {
        self.0.clear();
        self.0.extend_from_slice(&status.to_be_bytes());
    }

    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    pub(crate) fn data(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    /// Whether it is the answer. Some give its length themselves, others leave that to the server.
    fn is_right(&self) -> bool {
        const JSON: &str = r#"{"id":7,"name":"Ada Lovelace"}"#;
        let Some((status, rest)) = self.0.split_first_chunk() else { return false };
        let text = String::from_utf8_lossy(rest).replace(&format!("content-length: {}\r\n", JSON.len()), "");
        u16::from_be_bytes(*status) == 200 && text == format!("content-type: application/json\r\n{JSON}")
    }
}

/// A subject, measured a few requests at a time. These are made before the clock starts, and gone when it stops.
pub(crate) struct Measured<S: Subject> {
    subject: S,
    requests: Vec<S::Request>,
    wire: Wire,
}

/// At a time: few, so that they are in the processor's nearest memory, as a request is that a server has just made.
pub(crate) const BATCH: usize = 32;

/// In batches.
const WARM_UP: usize = 8;

impl<S: Subject> Measured<S> {
    /// Has it answer some batches, until nothing is done for the first time any more.
    ///
    /// # Panics
    /// If it does not answer as it should.
    pub(crate) fn new(subject: S) -> Self {
        let mut measured = Self { subject, requests: Vec::new(), wire: Wire::default() };
        let Self { subject, requests, wire } = &mut measured;
        for _ in 0..WARM_UP {
            requests.extend((0..BATCH).map(|_| subject.request()));
            for request in requests.drain(..) {
                subject.answer(request, wire);
                assert!(wire.is_right(), "{}: {}", std::any::type_name::<S>(), wire.0.escape_ascii());
            }
        }
        measured
    }
}

/// [`Measured`], whatever it is.
pub(crate) trait Batches {
    /// Answers [`BATCH`] requests, and tells how long that took and what it allocated.
    fn batch(&mut self) -> (Duration, Allocations);
}

impl<S: Subject> Batches for Measured<S> {
    fn batch(&mut self) -> (Duration, Allocations) {
        self.requests.extend((0..BATCH).map(|_| self.subject.request()));
        let (since, before) = (Instant::now(), Allocations::so_far());
        answer_batch(&mut self.subject, &mut self.requests, &mut self.wire);
        (since.elapsed(), Allocations::so_far() - before)
    }
}

/// By this name callgrind knows what to count.
#[inline(never)]
fn answer_batch<S: Subject>(subject: &mut S, requests: &mut Vec<S::Request>, wire: &mut Wire) {
    for request in requests.drain(..) {
        subject.answer(request, wire);
    }
}

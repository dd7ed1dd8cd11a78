//! Every rule has a subject that breaks it and is caught; and right subjects are let through.

mod applications;
mod coverage;
mod drivers;
mod middleware;
mod right;
mod servers;

use std::{
    panic::catch_unwind,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, header};
use varvel::{AsyncBody, BodyError, Frame, PollBody};

use crate::drive::message;

/// A rule, and a subject that breaks it under a lint in panic mode.
type Broken = (&'static str, fn());

#[test]
fn every_rule_catches_a_subject_that_breaks_it() {
    let subjects = [applications::BROKEN, middleware::BROKEN, servers::BROKEN].concat();
    let mut missed = Vec::new();
    for rule in crate::rules() {
        let mut of_this = subjects.iter().filter(|(id, _)| *id == rule.id).peekable();
        if of_this.peek().is_none() {
            missed.push(format!("{} has no subject", rule.id));
        }
        for (id, subject) in of_this {
            match catch_unwind(*subject) {
                Ok(()) => missed.push(format!("{id} did not catch its subject")),
                Err(panic) => {
                    let message = message(&*panic);
                    if !message.contains(&format!("{id} broken by the {}", rule.binds)) {
                        missed.push(format!("{id} did not catch its subject, but: {message}"));
                    }
                }
            }
        }
    }
    let unknown = subjects.iter().filter(|(id, _)| crate::rule(id).is_none());
    missed.extend(unknown.map(|(id, _)| format!("there is no rule {id}")));
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A request that nothing is wrong with.
fn get() -> Request<AsyncBody> {
    request("GET", "/a?b", AsyncBody::empty())
}

fn request<B>(method: &str, target: &str, body: B) -> Request<B> {
    Request::builder().method(method).uri(target).header(header::HOST, "varvel.test").body(body).unwrap()
}

/// A body of just these items; once they are used up, it goes on ending.
struct Items {
    items: std::vec::IntoIter<Option<Result<Frame, BodyError>>>,
    exact_len: Option<u64>,
}

impl PollBody for Items {
    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(self.items.next().flatten())
    }

    fn exact_len(&self) -> Option<u64> {
        self.exact_len
    }
}

fn items(items: Vec<Option<Result<Frame, BodyError>>>) -> AsyncBody {
    sized_items(None, items)
}

fn sized_items(exact_len: Option<u64>, items: Vec<Option<Result<Frame, BodyError>>>) -> AsyncBody {
    AsyncBody::from_poll(Items { items: items.into_iter(), exact_len })
}

fn data(text: &'static str) -> Option<Result<Frame, BodyError>> {
    Some(Ok(Frame::Data(Bytes::from_static(text.as_bytes()))))
}

fn trailers(name: &'static str) -> Option<Result<Frame, BodyError>> {
    let mut fields = http::HeaderMap::new();
    fields.insert(name, http::HeaderValue::from_static("7"));
    Some(Ok(Frame::Trailers(fields)))
}

fn failed() -> Option<Result<Frame, BodyError>> {
    Some(Err(BodyError::failed("the test's own reason")))
}

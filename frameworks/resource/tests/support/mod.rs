//! Applications for tests, and the clients that call them.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::task::Poll;

use varvel_lint::Lint;
use varvel_resource::{App, Request, Resource, Responders, Response, Result};
use varvel_test::Client;

/// Called by an event loop, and by a thread.
pub(crate) fn in_both_forms(app: App, check: impl Fn(&Client)) {
    check(&Client::new(Lint::new(app.clone())));
    check(&Client::sync(Lint::new(app)));
}

/// A resource of one responder, for any method.
pub(crate) struct Any<F>(pub(crate) F);

impl<F: Fn(&mut Request, &mut Response) -> Result + Send + Sync + 'static> Resource for Any<F> {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.any(Self::on_any)
    }
}

impl<F: Fn(&mut Request, &mut Response) -> Result> Any<F> {
    fn on_any(&self, req: &mut Request, resp: &mut Response) -> Result {
        (self.0)(req, resp)
    }
}

/// An application of one resource at `/`, of one responder.
pub(crate) fn one<F: Fn(&mut Request, &mut Response) -> Result + Send + Sync + 'static>(responder: F) -> App {
    let mut app = App::new();
    app.add_route("/", Any(responder)).unwrap();
    app
}

/// Is pending, and wakes whoever polls.
pub(crate) async fn pending_once() {
    let mut was_polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut was_polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

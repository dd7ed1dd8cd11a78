//! A lint that serves stands in front of the server's worker, and must not put another clock in its place.

use std::time::Duration;

use http::Response;
use varvel::{AsyncBody, app_fn};
use varvel_lint::Lint;
use varvel_test::Client;

#[test]
fn a_timer_under_a_lint_that_serves_follows_a_clock_that_is_moved_by_hand() {
    const HOUR: Duration = Duration::from_secs(3600);
    let lint = Lint::new(app_fn(|_, scope: varvel::Scope| async move {
        let began = scope.worker().now();
        scope.worker().sleep(HOUR).await;
        Ok(Response::new(AsyncBody::full(format!("{} s", (scope.worker().now() - began).as_secs()))))
    }));
    let findings = lint.findings();
    let client = Client::new(lint.serving());
    let mut exchange = client.get("/").start();
    assert!(exchange.poll_head().is_pending());
    client.advance(HOUR);
    assert_eq!(exchange.response().text(), "3600 s");
    findings.assert_none();
}

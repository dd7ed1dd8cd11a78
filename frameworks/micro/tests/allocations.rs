//! How often the framework allocates for a request, beyond what a bare application does.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, header};
use varvel::{Body, Mode, app_fn, sync_fn};
use varvel_micro::{App, Json, Request, Scope};
use varvel_toolkit::respond;

#[path = "../../toolkit/tests/support/counting.rs"]
mod counting;

use counting::counted;

fn request<M: Mode>(path: &'static str) -> Request<Body<M>> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}

/// For a call that is made when the like has been before.
fn of_sync(app: &impl varvel::App, path: &'static str) -> usize {
    let mut count = 0;
    for _ in 0..2 {
        let (request, scope) = (request(path), Scope::for_test());
        // As servers have it: a slice of what was read, which is shared already.
        let _shared = request.uri().clone();
        count = counted(|| app.call(request, scope).unwrap());
    }
    count
}

fn of_polled(app: &impl varvel::AsyncApp, path: &'static str) -> usize {
    let mut count = 0;
    for _ in 0..2 {
        let (request, scope) = (request(path), Scope::for_test());
        let _shared = request.uri().clone();
        count = counted(|| {
            let mut call = pin!(app.call(request, scope));
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => answer.unwrap(),
                Poll::Pending => panic!("it waits"),
            }
        });
    }
    count
}

#[test]
fn a_request_costs_the_same_however_many_routes_there_are() {
    let bare_sync = of_sync(&sync_fn(|_, _| Ok(respond::json(&1234_u64)?)), "/users/1234/sync");
    let bare_polled = of_polled(&app_fn(|_, _| async { Ok(respond::json(&1234_u64)?) }), "/users/1234/async");
    for count in [1, 1000] {
        let mut app = App::new();
        app.get("/users/{id:int}/sync", |id: u64| Json(id));
        app.get("/users/{id:int}/async", async |id: u64| Json(id));
        for number in 1..count {
            app.get(&format!("/r{number}/{{id}}"), |id: String| id);
        }
        // The values of the fields in the scope are two, the future is one.
        assert_eq!(of_sync(&app, "/users/1234/sync"), bare_sync + 2, "of {count}");
        assert_eq!(of_polled(&app, "/users/1234/async"), bare_polled + 3, "of {count}");
    }
}

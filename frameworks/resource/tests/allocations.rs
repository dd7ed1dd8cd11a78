//! How often the framework allocates for a request, beyond what an application on the bare contract does for the same answer.

use varvel::{app_fn, sync_fn};
use varvel_resource::{
    App, AsyncMiddleware, AsyncRequest, AsyncResponse, Middleware, Request, Resource, Responders, Response,
    Result,
};
use varvel_toolkit::respond;

#[path = "../../toolkit/tests/support/counting.rs"]
mod counting;

use counting::{of_polled, of_sync};

struct Users;

impl Resource for Users {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
    }
}

impl Users {
    fn polled(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get_polled)
    }

    fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
        resp.set_media(&req.path_param::<u64>("id")?)
    }

    async fn on_get_polled(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.set_media(&req.path_param::<u64>("id")?)
    }
}

/// A table of so many routes, with the ones that are asked for in the middle.
fn app(routes: usize) -> App {
    let mut app = App::new();
    for number in 0..routes {
        if number == routes / 2 {
            app.add_route("/users/{id:int}/sync", Users).unwrap();
            app.add_route_with_suffix("/users/{id:int}/polled", Users, Users::polled).unwrap();
        }
        app.add_route(&format!("/r{number}/{{id}}"), Users).unwrap();
    }
    app
}

#[test]
fn a_request_costs_what_the_front_page_says() {
    let bare_sync = of_sync(&sync_fn(|_, _| Ok(respond::json(&1234_u64)?)), "/users/1234/sync");
    let bare_polled =
        of_polled(&app_fn(|_, _| async { Ok(respond::json(&1234_u64)?) }), "/users/1234/polled");
    for routes in [1, 1000] {
        let app = app(routes);
        assert_eq!(of_sync(&app, "/users/1234/sync"), bare_sync, "of {routes}");
        // Request and response, and the future of the call.
        assert_eq!(of_polled(&app, "/users/1234/polled"), bare_polled + 2, "of {routes}");
    }
}

#[test]
fn middleware_and_hooks_cost_what_they_do() {
    struct Nothing;
    impl Middleware for Nothing {}
    struct NothingAsync;
    impl AsyncMiddleware for NothingAsync {}
    let costs = |app: &App| [of_sync(app, "/users/1234/sync"), of_polled(app, "/users/1234/polled")];
    let mut app = app(1);
    let [sync, polled] = costs(&app);
    app.add_middleware(Nothing).add_middleware(Nothing);
    app.add_error_handler(|_: &std::io::Error, _, _| Ok(()));
    // The future of the responder is apart from that of the call.
    let polled = polled + 1;
    assert_eq!(costs(&app), [sync, polled]);
    // The futures of its three methods.
    app.add_middleware(NothingAsync);
    assert_eq!(costs(&app), [sync + 3, polled + 3]);
}

//! How often the toolkit allocates for a request, beyond what the application does without it.

use http::{Request, Response};
use varvel::{AsyncBody, Body, ReadBody, Scope, app_fn, sync_fn};
use varvel_toolkit::{
    Endpoint, Middleware, Routes,
    middleware::{RequestIds, SecurityHeaders},
    respond,
    router::PathParams,
    routes::get,
};

#[path = "support/counting.rs"]
mod counting;

use counting::{of_polled, of_sync};

/// A table of so many routes, with the ones that are asked for in the middle.
fn routes(count: usize) -> Routes {
    let mut routes = Routes::builder();
    for number in 0..count {
        if number == count / 2 {
            let id = |scope: &Scope| PathParams::of(scope).parse::<u64>("id");
            routes = routes
                .route(
                    "/users/{id:int}/sync",
                    get(Endpoint::inline(sync_fn(move |_, scope| Ok(respond::json(&id(&scope)?)?)))),
                )
                .route(
                    "/users/{id:int}/async",
                    get(app_fn(move |_, scope| async move { Ok(respond::json(&id(&scope)?)?) })),
                )
                .route("/plain", get(sync_fn(|_, _| Ok(Response::new(Body::empty())))));
        }
        routes = routes
            .route(&format!("/r{number}/{{id}}"), get(sync_fn(|_, _| Ok(Response::new(Body::empty())))));
    }
    routes.build().unwrap()
}

#[test]
fn a_request_costs_what_the_front_page_says() {
    let bare_sync = of_sync(&sync_fn(|_, _| Ok(respond::json(&1234_u64)?)), "/users/1234/sync");
    let bare_polled = of_polled(&app_fn(|_, _| async { Ok(respond::json(&1234_u64)?) }), "/users/1234/async");
    for count in [1, 1000] {
        let routes = routes(count);
        assert_eq!(of_sync(&routes, "/plain"), 0, "a route without fields, of {count}");
        assert_eq!(of_sync(&routes, "/users/1234/sync"), bare_sync + 2, "fields, of {count}");
        assert_eq!(
            of_polled(&routes, "/users/1234/async"),
            bare_polled + 3,
            "fields and a future, of {count}"
        );
    }
}

#[test]
fn a_middleware_costs_what_it_adds() {
    struct Nothing;
    impl Middleware for Nothing {
        type Note = ();
        fn request<F: varvel_toolkit::Form>(
            &self,
            _: &mut Request<Body<F::In>>,
            _: &mut Scope,
        ) -> Result<(), Response<Body<F::Out>>> {
            Ok(())
        }
        fn response<F: varvel_toolkit::Form>(
            &self,
            (): (),
            response: Response<Body<F::Out>>,
        ) -> Response<Body<F::Out>> {
            response
        }
    }
    let empty = || app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) });
    assert_eq!(of_polled(&Nothing.around(Nothing.around(empty())), "/"), 0);
    let sync = || sync_fn(|_: Request<ReadBody>, _| Ok(Response::new(Body::empty())));
    assert_eq!(of_sync(&None::<SecurityHeaders>.around(sync()), "/"), 0);
    // The map of the answer, at once as large as need be.
    assert_eq!(of_sync(&SecurityHeaders::new().around(sync()), "/"), 2);
    // Two for the scope, two for the map, one for the value.
    assert_eq!(of_sync(&RequestIds::new().around(sync()), "/"), 5);
}

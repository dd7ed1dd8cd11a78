//! How often the framework allocates for a request, beyond what a bare application does.

use varvel::{app_fn, sync_fn};
use varvel_micro::{App, Json};
use varvel_toolkit::respond;

#[path = "../../toolkit/tests/support/counting.rs"]
mod counting;

use counting::{of_polled, of_sync};

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
        #[cfg(feature = "templates")]
        {
            // Where pages may ask for the session.
            app.secret([7; 32]).templates(varvel_micro::Templates::new());
            assert_eq!(of_sync(&app, "/users/1234/sync"), bare_sync + 3, "of {count}");
        }
    }
}

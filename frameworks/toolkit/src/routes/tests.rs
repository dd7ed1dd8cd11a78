use http::Request;
use varvel::{WriteBody, app_fn, sync_fn};
use varvel_test::{Client, Response as Answer};

use super::*;
use crate::{respond, router::PathParams};

/// An endpoint that says who it is, where it is mounted, and what the fields hold.
fn endpoint(who: &'static str) -> Endpoint {
    sync_fn(move |request: Request<ReadBody>, scope: Scope| {
        let params = PathParams::of(&scope);
        let fields =
            ["a", "b", "id"].iter().filter_map(|name| Some(format!(" {name}={}", params.get(name)?)));
        let (mount, path) = (scope.mount(request.uri()), scope.local_path(request.uri()));
        Ok(respond::text(format!("{who} {mount}|{path}{}", fields.collect::<String>())))
    })
    .into()
}

fn routes() -> RoutesBuilder {
    Routes::builder()
        .route("/", get(endpoint("root")))
        .route("/users/me", get(endpoint("me")))
        .route("/users/{id:int}", get(endpoint("user")).put(endpoint("put user")))
        .route("/users/{id:int}", delete(endpoint("delete user")).named("user"))
        .route("/users/{id}", delete(endpoint("anybody")))
        .route("/any", any(endpoint("any")).post(endpoint("post")))
        .route(
            "/odd",
            on(Method::from_bytes(b"PURGE").unwrap(), endpoint("purge")).options(endpoint("options")),
        )
}

fn in_each_form(routes: Routes, check: impl Fn(&Client)) {
    check(&Client::sync(varvel_lint::Lint::new(routes.clone())));
    check(&Client::new(varvel_lint::Lint::new(routes)));
}

fn send(client: &Client, method: &str, path: &str) -> Answer {
    client.request(Method::from_bytes(method.as_bytes()).unwrap(), path).send()
}

#[test]
fn path_and_method_decide() {
    in_each_form(routes().build().unwrap(), |client| {
        for (method, path, text) in [
            ("GET", "/", "root |/"),
            ("GET", "/users/7?x", "user |/users/7 id=7"),
            ("PUT", "/users/7", "put user |/users/7 id=7"),
            ("DELETE", "/users/7", "delete user |/users/7 id=7"),
            ("DELETE", "/users/ann", "anybody |/users/ann id=ann"),
            ("GET", "/users/me", "me |/users/me"),
            ("POST", "/any", "post |/any"),
            ("OPTIONS", "/any", "any |/any"),
            ("PURGE", "/odd", "purge |/odd"),
            ("OPTIONS", "/odd", "options |/odd"),
        ] {
            assert_eq!(send(client, method, path).text(), text, "{method} {path}");
        }
    });
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    in_each_form(routes().build().unwrap(), |client| {
        for (method, path, status, allow) in [
            ("GET", "/nowhere", 404, None),
            ("GET", "/users/", 404, None),
            ("POST", "/users/7", 405, Some("GET, HEAD, PUT, DELETE, OPTIONS")),
            ("DELETE", "/users/me", 405, Some("GET, HEAD, OPTIONS")),
            ("get", "/", 405, Some("GET, HEAD, OPTIONS")),
            ("GET", "/odd", 405, Some("PURGE, OPTIONS")),
            ("OPTIONS", "/users/7", 204, Some("GET, HEAD, PUT, DELETE, OPTIONS")),
            ("OPTIONS", "/nowhere", 404, None),
            ("OPTIONS", "*", 204, Some("DELETE, GET, HEAD, OPTIONS, PURGE, PUT, POST")),
        ] {
            let response = send(client, method, path);
            assert_eq!(response.status(), status, "{method} {path}");
            let (given, allow) = (response.header("allow"), allow.map(sorted));
            assert_eq!(given.map(sorted), allow, "{method} {path}");
        }
        let response = client.get("/nowhere").header("accept", "text/plain").send();
        assert_eq!(response.text(), "404 Not Found\n");
        let response = client.post("/").send();
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
    });
}

fn sorted(list: &str) -> Vec<String> {
    let mut elements: Vec<_> = list.split(", ").map(str::to_owned).collect();
    elements.sort();
    elements
}

#[test]
fn head_is_get_without_its_body() {
    in_each_form(routes().build().unwrap(), |client| {
        let (get, head) = (client.get("/users/7").send(), send(client, "HEAD", "/users/7"));
        assert_eq!(get.headers(), head.headers());
        assert_eq!(head.text(), "");
        assert_eq!(send(client, "HEAD", "/odd").status(), 405);
    });
}

#[test]
fn an_error_out_of_an_endpoint_is_the_answer() {
    let fail = || Err::<(), _>(HttpError::new(StatusCode::GONE).with_detail("moved out").with_code(17));
    let routes = Routes::builder()
        .route(
            "/sync",
            get(sync_fn(move |_, _| fail().map(|()| Response::new(WriteBody::empty())).map_err(Into::into))),
        )
        .route(
            "/async",
            get(app_fn(move |_, _| async move {
                fail()?;
                Ok(Response::new(AsyncBody::empty()))
            })),
        )
        .route(
            "/field",
            get(sync_fn(|_, scope| Ok(respond::json(&PathParams::of(&scope).parse::<u8>("id")?)?))),
        )
        .route(
            "/{id}",
            get(sync_fn(|_, scope| Ok(respond::json(&PathParams::of(&scope).parse::<u8>("id")?)?))),
        )
        .route(
            "/body",
            post(app_fn(|request, _| async {
                Ok(Response::new(AsyncBody::full(request.into_body().collect(3).await?)))
            })),
        );
    in_each_form(routes.build().unwrap(), |client| {
        for path in ["/sync", "/async"] {
            let response = client.get(path).send();
            assert_eq!(response.status(), StatusCode::GONE);
            assert_eq!(response.text(), r#"{"title":"Gone","status":410,"detail":"moved out","code":17}"#);
        }
        assert_eq!(client.get("/255").send().text(), "255");
        assert_eq!(client.get("/256").send().status(), 404);
        assert_eq!(client.post("/body").body("four").send().status(), 413);
        // Nobody but the developer can do anything about it, so the server reports it.
        let response = client.get("/field").send();
        assert_eq!(response.status(), 500);
        assert_eq!(
            std::error::Error::source(response.error().unwrap().source().unwrap()).unwrap().to_string(),
            "the route has no field `id`"
        );
    });
}

#[test]
fn a_mounted_application_sees_where_it_is() {
    let inner = Routes::builder()
        .route("/", get(endpoint("inner root")))
        .route("/items/{b}", get(endpoint("item")))
        .mount("/deeper", endpoint("deeper"));
    let outer = routes()
        .mount("/shop/{a}", Endpoint::polled(inner.build().unwrap()))
        .mount("/shop/closed", endpoint("closed"))
        .route("/shop/{id}/info", get(endpoint("info")));
    in_each_form(outer.build().unwrap(), |client| {
        for (path, text) in [
            ("/shop/x", "inner root /shop/x| a=x"),
            ("/shop/x/", "inner root /shop/x|/ a=x"),
            ("/shop/x%2Fy/items/z", "item /shop/x%2Fy|/items/z a=x/y b=z"),
            ("/shop/x/deeper/still", "deeper /shop/x/deeper|/still a=x"),
            ("/shop/closed/items/z", "closed /shop/closed|/items/z"),
            ("/shop/x/info", "info |/shop/x/info id=x"),
        ] {
            assert_eq!(client.get(path).send().text(), text, "{path}");
        }
        assert_eq!(client.get("/shop/x/nothing").send().status(), 404);
        assert_eq!(client.get("/shop").send().status(), 404);
    });
    let with_rest = routes().mount("/", endpoint("rest")).build().unwrap();
    in_each_form(with_rest, |client| {
        assert_eq!(client.get("/nowhere").send().text(), "rest |/nowhere");
        assert_eq!(client.get("/users/me").send().text(), "me |/users/me");
        assert_eq!(client.post("/users/me").send().status(), 405);
    });
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let routes = routes()
        .route("/users/{n:int}", get(endpoint("conflict")))
        .route("/users/me", get(endpoint("twice")).named("user"))
        .route("/{x:integer}", get(endpoint("unknown")))
        .mount("/static/", endpoint("slash"));
    let reasons = routes.build().unwrap_err().to_string();
    assert_eq!(
        reasons,
        "routes /users/{id:int} and /users/{n:int} are for the same paths\n\
         route /{x:integer}: there is no converter `integer`\n\
         route /static/: a prefix ends where a segment does: without a slash\n\
         route /users/me has two handlers for GET\n\
         routes /users/me and /users/{id:int} are both named `user`"
    );
}

#[test]
fn the_list_is_for_humans() {
    let routes = Routes::builder()
        .route("/users/{id:int}", get(endpoint("")).post(endpoint("")).named("user"))
        .route("/any", any(endpoint("")))
        .mount("/static", endpoint(""))
        .build()
        .unwrap();
    let list: Vec<_> = routes.list().map(|route| route.to_string()).collect();
    assert_eq!(
        list,
        ["/users/{id:int}  GET, HEAD, POST, OPTIONS  `user`", "/any  any method", "/static  and all below"]
    );
}

#[test]
fn it_keeps_to_the_contract_around_whatever_is_mounted() {
    varvel_lint::middleware(|inner| Routes::builder().mount("/", Endpoint::polled(inner)).build().unwrap());
    varvel_lint::middleware_sync(|inner| {
        Routes::builder().mount("/", Endpoint::blocking(inner)).build().unwrap()
    });
}

#[test]
fn the_answer_to_options_has_no_content() {
    in_each_form(routes().build().unwrap(), |client| {
        let response = send(client, "OPTIONS", "/");
        assert_eq!(response.header("content-type"), None);
        assert_eq!(response.text(), "");
    });
}

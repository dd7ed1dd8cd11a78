//! Hooks for one method, where a responder answers several.

use http::{Method, StatusCode};
use varvel_resource::{
    App, Request, RequestHead, Resource, Responders, Response, ResponseHead, Result, errors,
};

mod support;

use support::in_both_forms;

fn forbid(_: &mut RequestHead, _: &mut ResponseHead) -> Result {
    Err(errors::forbidden("Not this method.").into())
}

fn ok(resp: &mut Response) -> Result {
    resp.set_text("ok");
    Ok(())
}

struct Files;

impl Resource for Files {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.before_on(Method::DELETE, forbid).any(Self::on_any).before_on(Method::GET, forbid)
    }
}

impl Files {
    fn page(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_any).before_on(Method::HEAD, forbid)
    }

    fn guarded(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_any)
            .before_on(Method::GET, forbid)
            .after_on(Method::HEAD, |_: &mut RequestHead, _: &mut ResponseHead| Ok(()))
    }

    fn on_any(&self, _: &mut Request, resp: &mut Response) -> Result {
        ok(resp)
    }
}

#[test]
fn a_hook_for_one_method_guards_a_responder_for_any() {
    let mut app = App::new();
    app.add_sink("/files", Files).unwrap();
    in_both_forms(app.clone(), |client| {
        assert_eq!(client.put("/files/a").send().text(), "ok");
        assert_eq!(client.delete("/files/a").send().status(), StatusCode::FORBIDDEN);
        assert_eq!(client.get("/files/a").send().status(), StatusCode::FORBIDDEN);
        assert_eq!(client.head("/files/a").send().status(), StatusCode::FORBIDDEN);
    });
    assert!(app.inspect().routes[0].methods.is_empty(), "all methods are answered");
}

#[test]
fn a_hook_for_head_guards_it_where_get_answers_it() {
    let mut app = App::new();
    app.add_route_with_suffix("/", Files, Files::page).unwrap();
    app.add_route_with_suffix("/guarded", Files, Files::guarded).unwrap();
    in_both_forms(app, |client| {
        assert_eq!(client.get("/").send().text(), "ok");
        assert_eq!(client.head("/").send().status(), StatusCode::FORBIDDEN);
        assert_eq!(client.head("/guarded").send().status(), StatusCode::FORBIDDEN, "as GET is");
        assert_eq!(client.post("/").send().header("allow"), Some("GET, HEAD, OPTIONS"));
    });
}

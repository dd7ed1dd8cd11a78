//! The fields of a response: which of them stay when something else takes its place, and what cannot get into them.

use std::io;

use http::{HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use varvel::{WriteBody, sync_fn};
use varvel_resource::{HttpStatus, Middleware, RequestHead, ResponseHead, Result, errors};
use varvel_test::Response;
use varvel_toolkit::conditional::ETag;

mod support;

use support::{in_both_forms, one};

fn all<'r>(response: &'r Response, name: &HeaderName) -> Vec<&'r str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn cookies_and_vary_that_were_set_before_survive_errors_redirections_and_mounts() {
    struct Before;
    impl Middleware for Before {
        fn process_request(&self, _: &mut RequestHead, resp: &mut ResponseHead) -> Result {
            resp.append_header(header::SET_COOKIE, "seen=1")?;
            resp.append_vary(header::ORIGIN);
            resp.set_cache_control("no-store");
            Ok(())
        }
    }
    let mut app = one(|req, _| match &*req.get_param("with").unwrap_or_default() {
        "redirection" => {
            let cookie = HeaderValue::from_static("flash=moved");
            Err(HttpStatus::see_other("/").with_header(header::SET_COOKIE, cookie).into())
        }
        _ => Err(errors::not_found().into()),
    });
    app.add_middleware(Before);
    app.add_app(
        "/mount",
        sync_fn(|_, _| {
            let response = HttpResponse::builder().header("set-cookie", "theirs=2").header("vary", "cookie");
            Ok(response.header("cache-control", "private").body(WriteBody::empty())?)
        }),
    )
    .unwrap();
    in_both_forms(app, |client| {
        let response = client.get("/mount").send();
        assert_eq!(all(&response, &header::SET_COOKIE), ["seen=1", "theirs=2"]);
        assert_eq!(all(&response, &header::VARY), ["origin", "cookie"]);
        assert_eq!(all(&response, &header::CACHE_CONTROL), ["private"]);

        let response = client.get("/?with=redirection").send();
        assert_eq!(all(&response, &header::SET_COOKIE), ["seen=1", "flash=moved"]);

        let response = client.get("/").send();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(all(&response, &header::VARY), ["origin", "accept"]);
        assert_eq!(all(&response, &header::SET_COOKIE), ["seen=1"]);
    });
}

#[test]
fn an_error_says_nothing_of_the_content_that_did_not_come() {
    let app = one(|req, resp| {
        resp.set_downloadable_as("plan.pdf");
        resp.set_content_location("/plans/7");
        resp.set_header(header::CONTENT_LANGUAGE, "fr")?;
        resp.set_header(header::CONTENT_RANGE, "bytes 0-1/2")?;
        resp.set_header(header::ACCEPT_RANGES, "bytes")?;
        resp.set_etag(&ETag::strong("v1").unwrap());
        resp.make_conditional(1);
        match req.has_param("ok") {
            true => Err(HttpStatus::new(StatusCode::OK, "0123456789").into()),
            false => Err(errors::not_found().into()),
        }
    });
    in_both_forms(app, |client| {
        let response = client.get("/").send();
        for name in [
            "content-disposition",
            "content-location",
            "content-language",
            "content-range",
            "accept-ranges",
            "etag",
        ] {
            assert_eq!(response.header(name), None, "{name}");
        }
        let whole = client.get("/?ok").header("range", "bytes=0-1").send();
        assert_eq!((whole.status(), whole.text()), (StatusCode::OK, "0123456789"));
    });
}

#[test]
fn what_an_error_handler_did_before_it_failed_is_forgotten() {
    let mut app = one(|_, _| Err(io::Error::other("disk").into()));
    app.add_error_handler(|_: &io::Error, _, resp| {
        resp.set_content_type("text/csv");
        resp.set_text("half,a,line");
        Err(HttpStatus::new(StatusCode::ACCEPTED, "plain text").into())
    });
    in_both_forms(app, |client| {
        let response = client.get("/").send();
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    });
}

#[test]
fn a_link_cannot_be_broken_out_of() {
    let app = one(|_, resp| {
        resp.append_link("/a b>; rel=\"evil\"\r\nx: é", "next");
        resp.append_link("/b", "x\\\"; title=\"evil");
        resp.append_link("/c", "next https://example.com/é");
        Ok(())
    });
    in_both_forms(app, |client| {
        let links = client.get("/").send();
        assert_eq!(
            all(&links, &header::LINK),
            [
                "</a%20b%3E;%20rel=%22evil%22%0D%0Ax:%20%C3%A9>; rel=\"next\"",
                "</b>; rel=\"x%5C%22; title=%22evil\"",
                "</c>; rel=\"next https://example.com/%C3%A9\"",
            ]
        );
    });
}

#[test]
fn an_entity_tag_beyond_ascii_is_sent_as_it_is() {
    let app = one(|_, resp| {
        resp.set_etag(&ETag::strong("é").unwrap());
        Ok(())
    });
    in_both_forms(app, |client| {
        assert_eq!(client.get("/").send().headers()["etag"].as_bytes(), "\"é\"".as_bytes());
    });
}

#[test]
fn names_of_downloads_may_hold_anything() {
    let app = one(|_, resp| {
        resp.set_viewable_as("a\r\nx: \"é\".txt");
        Ok(())
    });
    in_both_forms(app, |client| {
        assert_eq!(
            client.get("/").send().header("content-disposition"),
            Some("inline; filename=\"a__x: ___.txt\"; filename*=UTF-8''a__x%3A%20%22%C3%A9%22.txt")
        );
    });
}

//! Bodies of requests: what is left of them for the second who asks, and what they cannot do.

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use varvel_resource::{App, AsyncRequest, AsyncResponse, Request, Resource, Responders, Response, Result};
use varvel_toolkit::multipart::Limits;

mod support;

use support::in_both_forms;

/// Asks for the body as a form, and takes it for bytes where it is none.
struct Lenient;

impl Resource for Lenient {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.post(Self::on_post).put(Self::on_put)
    }
}

impl Lenient {
    fn on_post(&self, req: &mut Request, resp: &mut Response) -> Result {
        if req.multipart(Limits::default()).is_err() {
            let first = req.data();
            resp.set_data(first.or_else(|_| req.data())?);
        }
        Ok(())
    }

    async fn on_put(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        if req.multipart(Limits::default()).is_err() {
            let data: Bytes = match req.data().await {
                Ok(data) => data,
                Err(_) => req.data().await?,
            };
            resp.set_data(data);
        }
        Ok(())
    }
}

#[test]
fn a_body_that_is_no_form_is_still_there_for_who_takes_it_for_something_else() {
    let mut app = App::new();
    app.add_route("/", Lenient).unwrap();
    in_both_forms(app, |client| {
        assert_eq!(client.post("/").body("raw").send().text(), "raw");
        assert_eq!(client.put("/").body("raw").send().text(), "raw");
    });
}

#[test]
fn a_body_that_was_too_large_is_so_for_the_second_who_asks_too() {
    let mut app = App::new();
    app.add_route("/", Lenient).unwrap();
    app.set_media_bytes_max(2);
    in_both_forms(app, |client| {
        assert_eq!(client.post("/").body("raw").send().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(client.put("/").body("raw").send().status(), StatusCode::PAYLOAD_TOO_LARGE);
    });
}

/// Asks for media.
struct Media;

impl Resource for Media {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.post(Self::on_post).put(Self::on_put)
    }
}

impl Media {
    fn on_post(&self, req: &mut Request, _: &mut Response) -> Result {
        req.media::<Vec<u8>>().map(drop)
    }

    async fn on_put(&self, req: &mut AsyncRequest, _: &mut AsyncResponse) -> Result {
        req.media::<Vec<u8>>().await.map(drop)
    }
}

#[test]
fn content_of_a_media_type_that_nobody_takes_is_refused_before_it_has_come() {
    let mut app = App::new();
    app.add_route("/", Media).unwrap();
    in_both_forms(app, |client| {
        for request in [client.post("/"), client.put("/")] {
            // It never ends.
            let mut exchange = request.header("content-type", "text/csv").streaming().start();
            assert_eq!(exchange.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    });
}

/// Arrays in arrays in arrays.
#[derive(Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[test]
fn message_pack_is_refused_for_the_reasons_that_json_is() {
    let app = support::one(|req, resp| {
        let nested: Nested = req.media()?;
        resp.set_media(&nested.0.len())
    });
    in_both_forms(app, |client| {
        let send = |body: &[u8]| {
            let request = client.post("/").header("content-type", "application/msgpack");
            let response = request.body(body.to_vec()).send();
            (response.status().as_u16(), response.text().split('"').nth(9).unwrap_or_default().to_owned())
        };
        assert_eq!(send(&[0x91, 0x90]).0, 200);
        assert_eq!(send(b"\xa1x").0, 422, "a text is no array");
        assert_eq!(send(&[0x92, 0x90]).0, 400, "half of it");
        assert_eq!(send(&[0x90, 0x90]).0, 400, "more than one value");
        let mut deep = vec![0x91; 100_000];
        deep.push(0x90);
        assert_eq!(send(&deep).0, 400);
    });
}

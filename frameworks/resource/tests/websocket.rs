//! Responders of WebSockets, in both forms of the contract.

use http::{HeaderName, StatusCode};
use varvel_resource::{
    App, AsyncRequest, AsyncResponse, HttpError, Middleware, Request, RequestHead, Resource, Responders,
    Response, ResponseHead, Result, errors, testing::TestClient,
};
use varvel_test::Tunnel;
use varvel_toolkit::websocket::Handshake;

/// Greets with the name of the room, and echoes; sync and async.
struct Room;

impl Resource for Room {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).websocket(Self::on_websocket).before(members_only)
    }
}

impl Room {
    fn blocking(on: Responders<Self>) -> Responders<Self> {
        on.websocket(Self::on_websocket_blocking).before(members_only)
    }

    fn on_get(&self, _: &mut Request, resp: &mut Response) -> Result {
        resp.set_text("a page");
        Ok(())
    }

    async fn on_websocket(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let name: String = req.path_param("name")?;
        resp.accept_websocket(req, &Handshake::new().protocol("chat"), |mut socket| async move {
            let _ = socket.send(name).await;
            while let Ok(Some(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    }

    fn on_websocket_blocking(&self, req: &mut Request, resp: &mut Response) -> Result {
        let name: String = req.path_param("name")?;
        resp.accept_websocket(req, &Handshake::new().protocol("chat"), |mut socket| {
            let _ = socket.send(name);
            while let Ok(Some(message)) = socket.recv() {
                let _ = socket.send(message);
            }
        })
    }
}

fn members_only(req: &mut RequestHead, _: &mut ResponseHead) -> Result {
    match req.get_param("banned") {
        Some(_) => Err(errors::forbidden("Not in here.").into()),
        None => Ok(()),
    }
}

/// Says of each answer what became of it; a WebSocket that was opened may be taken back.
struct Stamp;

impl Middleware for Stamp {
    fn process_response(&self, req: &mut RequestHead, resp: &mut ResponseHead, succeeded: bool) -> Result {
        resp.set_header(HeaderName::from_static("x-stamp"), format!("{} {succeeded}", req.is_websocket()))?;
        match req.get_param("late") {
            Some(_) => Err(errors::service_unavailable("Second thoughts.", 1).into()),
            None => Ok(()),
        }
    }
}

fn clients() -> [TestClient; 2] {
    let mut app = App::new();
    app.add_middleware(Stamp);
    app.add_route("/rooms/{name}", Room).unwrap();
    app.add_route_with_suffix("/blocking/{name}", Room, Room::blocking).unwrap();
    [TestClient::new(app.clone()), TestClient::sync(app)]
}

/// A Close of the client, without a code.
const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

/// What a client sends and receives as one short frame of text.
fn send(tunnel: &mut Tunnel, text: &str) {
    tunnel.send([&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat());
}

fn receive(tunnel: &mut Tunnel) -> String {
    let head = tunnel.receive(2);
    assert_eq!(head[0], 0x81);
    String::from_utf8(tunnel.receive(head[1].into())).unwrap()
}

#[test]
fn a_resource_answers_who_asks_for_a_websocket_and_who_does_not() {
    for client in clients() {
        for path in ["/rooms/attic", "/blocking/attic"] {
            let mut tunnel = client.simulate_ws(path).unwrap();
            assert_eq!(tunnel.head().headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            assert_eq!(tunnel.head().headers["x-stamp"], "true true");
            assert_eq!(receive(&mut tunnel), "attic");
            send(&mut tunnel, "hello");
            assert_eq!(receive(&mut tunnel), "hello");
            tunnel.send(CLOSE);
            assert_eq!(tunnel.receive_to_end(), [0x88, 0]);
        }
        let page = client.simulate_get("/rooms/attic").send();
        assert_eq!((page.text(), page.header("x-stamp")), ("a page", Some("false true")));
        let refused = client.simulate_get("/blocking/attic").send();
        assert_eq!((refused.status().as_u16(), refused.header("allow")), (405, Some("OPTIONS")));
    }
}

#[test]
fn a_websocket_is_refused_as_anything_else_is() {
    for client in clients() {
        for path in ["/rooms/attic", "/blocking/attic"] {
            let refusal = client.simulate_ws(&format!("{path}?banned")).unwrap_err();
            assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
            assert_eq!(refusal.header("x-stamp"), Some("true false"));
            assert!(refusal.text().contains("Not in here."));

            let old = client.simulate_get(path).header("sec-websocket-version", "8").into_request();
            let refusal = old.try_upgrade("websocket").unwrap_err();
            assert_eq!(refusal.status(), StatusCode::UPGRADE_REQUIRED);
            assert_eq!(refusal.header("sec-websocket-version"), Some("13"));
            assert_eq!(refusal.header("x-stamp"), Some("true false"));

            let refusal = client.simulate_ws(&format!("{path}?late")).unwrap_err();
            assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(refusal.header("sec-websocket-accept"), None);
            assert!(refusal.reports().is_empty(), "{:?}", refusal.reports());
        }
    }
}

#[test]
fn errors_of_the_handshake_have_the_applications_own_bodies() {
    let mut app = App::new();
    app.add_route("/{name}", Room).unwrap();
    app.set_error_serializer(|_, resp, error: &HttpError| resp.set_text(format!("<{}>", error.title())));
    let client = TestClient::new(app);
    let request = client.simulate_get("/x").header("sec-websocket-version", "13").into_request();
    assert_eq!(request.try_upgrade("websocket").unwrap_err().text(), "<Bad Request>");
}

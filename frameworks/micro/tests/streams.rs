//! What goes on: uploads as they come, streams of events, WebSockets, and work behind the answer.

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use support::{everywhere, in_process};
use varvel::Driver;
use varvel_micro::{
    App, Background, Blocking, Error, Failure, Group, HeaderMap, HttpError, Multipart, Scope, Session, State,
    StatusCode, WebSocket, WebSocketUpgrade,
    events::{self, Event},
    multipart::Limits,
    websocket::Handshake,
};
use varvel_test::{Client, RequestBuilder, Tunnel};

fn form<'c>(client: &'c Client, path: &str) -> RequestBuilder<'c> {
    client.post(path).header("content-type", "multipart/form-data; boundary=x")
}

fn part(disposition: &str, data: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{data}\r\n")
}

/// Answers with the title of a picture, and how long it is, and leaves how much of it was read.
fn uploads() -> App {
    fn blocking(
        album: String,
        mut form: Multipart<Blocking>,
        read: State<AtomicUsize>,
        session: Session,
    ) -> Result<String, Error> {
        session.flash("info", "Thank you.");
        let title = form.part_named("title")?.text(100)?;
        let mut picture = form.part_named("picture")?;
        while let Some(data) = picture.chunk()? {
            read.fetch_add(data.len(), Ordering::Relaxed);
        }
        Ok(format!("{title} of {album}: {:?}, {}", picture.file_name(), read.swap(0, Ordering::Relaxed)))
    }

    async fn polled(
        album: String,
        mut form: Multipart,
        read: State<AtomicUsize>,
        session: Session,
    ) -> Result<String, Error> {
        session.flash("info", "Thank you.");
        let title = form.part_named("title").await?.text(100).await?;
        let mut picture = form.part_named("picture").await?;
        while let Some(data) = picture.chunk().await? {
            read.fetch_add(data.len(), Ordering::Relaxed);
        }
        Ok(format!("{title} of {album}: {:?}, {}", picture.file_name(), read.swap(0, Ordering::Relaxed)))
    }

    let mut app = App::new();
    app.secret([7; 32]).state(AtomicUsize::new(0));
    app.multipart_limits(Limits { total_bytes: 1000, part_bytes: 500, ..Limits::default() });
    app.post("/sync/{album}", blocking).named("sync");
    app.post("/async/{album}", polled);
    app
}

#[test]
fn uploads_have_files_and_fields() {
    let title = part("name=title", "Crab");
    let picture = |len| part("name=picture; filename=\"../crab.png\"", &"1".repeat(len)) + "--x--";
    everywhere(uploads, |client| {
        for path in ["/sync/beach", "/async/beach"] {
            let sent = form(client, path).body(title.clone() + &picture(400)).in_pieces_of(70).send();
            assert_eq!(sent.text(), "Crab of beach: Some(\"crab.png\"), 400");
            assert!(sent.header("set-cookie").is_some());

            let told = |request: RequestBuilder<'_>| {
                let problem: serde_json::Value = request.send().json();
                (problem["status"].as_u64().unwrap(), problem["field"].as_str().map(str::to_owned))
            };
            assert_eq!(told(form(client, path).body(picture(1))), (422, Some("title".into())));
            assert_eq!(told(form(client, path).body(format!("{title}--x--"))), (422, Some("picture".into())));
            assert_eq!(told(form(client, path).body(title.clone() + &picture(501))).0, 413);
            assert_eq!(told(form(client, path).body("x".repeat(1001))).0, 413);
            assert_eq!(told(form(client, path).body("--x\r\n")).0, 400);
            assert_eq!(told(client.post(path).body("Crab")).0, 415);
        }
    });
}

#[test]
fn an_upload_is_read_as_it_comes() {
    let mut app = uploads();
    app.get("/read", async |read: State<AtomicUsize>| read.load(Ordering::Relaxed).to_string());
    for (client, path) in [(Client::sync(app.clone()), "/sync/beach"), (Client::new(app), "/async/beach")] {
        let mut exchange = form(&client, path).streaming().start();
        exchange.send_data(part("name=title", "Crab"));
        exchange.send_data(part("name=picture", &"1".repeat(300)).trim_end().to_owned());
        assert!(exchange.poll_head().is_pending());
        // It has what has come, and waits for the rest.
        assert_eq!(client.get("/read").send().text(), "300", "{path}");
        exchange.send_data("\r\n--x--");
        exchange.end_data();
        assert_eq!(exchange.response().text(), "Crab of beach: None, 300");
    }
}

#[test]
fn streams_of_events_go_on_where_they_were() {
    /// The number behind the last that this client has seen.
    fn next(headers: &HeaderMap) -> u32 {
        events::last_id(headers).and_then(|id| id.parse().ok()).map_or(0, |id: u32| id + 1)
    }

    let mut app = App::new();
    app.get("/sync/{word}", |word: String, headers: HeaderMap, scope: Scope| {
        events::respond_blocking(&scope, move |events| {
            for number in next(&headers)..3 {
                events.send(&Event::new(&*word).id(number.to_string()))?;
            }
            Ok(())
        })
    });
    app.get("/async/{word}", async |word: String, headers: HeaderMap, scope: Scope| {
        events::respond(&scope, move |mut events| async move {
            for number in next(&headers)..3 {
                events.send(&Event::new(&*word).id(number.to_string())).await;
            }
        })
    });
    everywhere(
        || app.clone(),
        |client| {
            for path in ["/sync/tick", "/async/tick"] {
                // In process a job of the pool is waited for to its end, and this one waits for its reader.
                if path == "/sync/tick"
                    && !client.is_live()
                    && client.worker().info().driver != Driver::Blocking
                {
                    continue;
                }
                let mut exchange = client.get(path).header("last-event-id", "0").start();
                assert_eq!(exchange.head().headers["content-type"], "text/event-stream");
                assert_eq!(exchange.response().text(), "id: 1\ndata: tick\n\nid: 2\ndata: tick\n\n");
            }
        },
    );
}

fn handshake<'c>(client: &'c Client, path: &str) -> RequestBuilder<'c> {
    let request = client.get(path).header("sec-websocket-version", "13");
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn open(client: &Client, path: &str) -> Tunnel {
    handshake(client, path).header("x-key", "1").upgrade("websocket")
}

#[test]
fn a_websocket_is_opened_by_a_handler_with_arguments() {
    async fn greet(mut socket: WebSocket, name: String) {
        let _ = socket.send(format!("{name}{}", socket.protocol().unwrap_or_default())).await;
    }

    let mut rooms = Group::new("rooms", "/rooms");
    rooms.before(|headers: HeaderMap| (!headers.contains_key("x-key")).then_some(StatusCode::UNAUTHORIZED));
    rooms.get("/sync/{name}", |name: String, session: Session, upgrade: WebSocketUpgrade<Blocking>| {
        if name == "closed" {
            return Err(HttpError::not_found());
        }
        session.set("name", &name);
        upgrade.on_upgrade(move |mut socket| {
            let _ = socket.send(name);
        })
    });
    rooms.get("/async/{name}", async |name: String, session: Session, upgrade: WebSocketUpgrade| {
        if name == "closed" {
            return Err(HttpError::not_found());
        }
        session.set("name", &name);
        upgrade.on_upgrade(move |socket| greet(socket, name))
    });
    rooms.get("/protocol", async |upgrade: WebSocketUpgrade| {
        let first = upgrade.protocols().next().unwrap_or_default().to_owned();
        let upgrade = upgrade.with(Handshake::new().protocol("v2"));
        upgrade.on_upgrade(move |socket| greet(socket, first))
    });
    rooms.get("/maybe", async |upgrade: Option<WebSocketUpgrade>| upgrade.is_some().to_string());

    let mut app = App::new();
    app.secret([7; 32]).group(rooms);
    app.error(426, |_: &Failure<'_>| "for WebSockets");
    everywhere(
        || app.clone(),
        |client| {
            for path in ["/rooms/sync", "/rooms/async"] {
                let path = |name: &str| format!("{path}/{name}");
                let mut socket = open(client, &path("lobby"));
                assert!(socket.head().headers.contains_key("set-cookie"));
                assert_eq!(socket.receive(7), b"\x81\x05lobby");

                let refused = |request: RequestBuilder<'_>| request.try_upgrade("websocket").unwrap_err();
                assert_eq!(refused(handshake(client, &path("lobby"))).status(), 401);
                assert_eq!(refused(handshake(client, &path("closed")).header("x-key", "1")).status(), 404);
                let other = refused(
                    client.get(&path("lobby")).header("sec-websocket-version", "8").header("x-key", "1"),
                );
                assert_eq!((other.status().as_u16(), other.text()), (426, "for WebSockets"));

                let page = client.get(&path("lobby")).header("x-key", "1").send();
                assert_eq!((page.status().as_u16(), page.text()), (426, "for WebSockets"));
                assert_eq!(page.header("upgrade"), Some("websocket"));
                assert_eq!(page.header("sec-websocket-version"), Some("13"));
                let post = client.post(&path("lobby")).send();
                assert_eq!((post.status().as_u16(), post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
            }
            let mut socket = handshake(client, "/rooms/protocol")
                .header("x-key", "1")
                .header("sec-websocket-protocol", "v3, v2")
                .upgrade("websocket");
            assert_eq!(socket.head().headers["sec-websocket-protocol"], "v2");
            assert_eq!(socket.receive(6), b"\x81\x04v3v2");
            assert_eq!(client.get("/rooms/maybe").header("x-key", "1").send().text(), "false");
        },
    );
}

#[test]
fn work_goes_on_behind_the_answer() {
    let mut app = App::new();
    app.state(Background::new(1));
    app.post("/sync", |mails: State<Background>, scope: Scope| {
        let worker = scope.worker().clone();
        let mail = async move { worker.sleep(Duration::from_secs(1)).await };
        mails.after(&scope, mail).map(|()| StatusCode::ACCEPTED).map_err(Error::unavailable)
    });
    app.post("/async", async |mails: State<Background>, scope: Scope| {
        let worker = scope.worker().clone();
        let mail = async move { worker.sleep(Duration::from_secs(1)).await };
        mails.after(&scope, mail).map(|()| StatusCode::ACCEPTED).map_err(Error::unavailable)
    });
    in_process(
        || app.clone(),
        |client| {
            for path in ["/sync", "/async"] {
                assert_eq!(client.post(path).send().status(), 202);
                assert_eq!(client.tasks(), 1);
                // One at a time.
                assert_eq!(client.post(path).try_send().unwrap().status(), 503);
                client.advance(Duration::from_secs(1));
                assert_eq!(client.tasks(), 0);
            }
        },
    );
}

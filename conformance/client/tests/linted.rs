//! The in-process server as the lint sees it from below: no rule about servers is broken.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use varvel::{AppResult, AsyncAppResult, AsyncBody, ReadBody, Scope, Shared, WriteBody, app_fn, sync_fn};
use varvel_lint::Lint;
use varvel_test::{Client, Setup};

async fn answer(request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
    Ok(match request.uri().path() {
        "/collect" => Response::new(AsyncBody::full(request.into_body().collect(1 << 20).await?)),
        "/echo" => Response::new(request.into_body()),
        "/chunks" => Response::new(AsyncBody::from_chunks(["one", "two"].map(Bytes::from))),
        "/trailers" => Response::new(AsyncBody::generate(|mut frames| async move {
            frames.data("body").await;
            frames.trailers(HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"x\""))])).await;
            Ok(())
        })),
        "/hints" => {
            let sent = scope.interim(StatusCode::EARLY_HINTS, &HeaderMap::new());
            Response::new(AsyncBody::full(format!("{sent:?}")))
        }
        "/nothing" => Response::builder().status(StatusCode::NO_CONTENT).body(AsyncBody::empty())?,
        "/error" => return Err(varvel::AppError::internal("on purpose")),
        "/sleep" => {
            scope.worker().sleep(Duration::from_secs(1)).await;
            Response::new(AsyncBody::from("rested"))
        }
        "/tick" => {
            let worker = scope.worker().clone();
            Response::new(AsyncBody::generate(|mut frames| async move {
                loop {
                    worker.sleep(Duration::from_secs(1)).await;
                    frames.data("tick").await;
                }
            }))
        }
        "/work" => {
            let spawned = scope.worker().spawn(Box::pin(async {})).is_ok();
            let offloaded = scope.worker().offload(Box::new(|| ())).is_ok();
            Response::new(AsyncBody::full(format!("{spawned} {offloaded}")))
        }
        _ => match scope.take_upgrade() {
            Some(upgrade) => upgrade.accept(Response::new(()), |mut io| async move {
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = io.read(&mut buffer).await {
                    if io.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            }),
            None => Response::new(AsyncBody::from_static(b"hello")),
        },
    })
}

fn answer_sync(request: Request<ReadBody>, mut scope: Scope) -> AppResult {
    Ok(match request.uri().path() {
        "/collect" => Response::new(WriteBody::full(request.into_body().collect(1 << 20)?)),
        "/echo" => {
            let mut body = request.into_body();
            Response::new(WriteBody::from_writer(move |sink| {
                let mut piece = [0; 64];
                loop {
                    match body.read(&mut piece)? {
                        0 => return Ok(()),
                        read => sink.data(Bytes::copy_from_slice(&piece[..read]))?,
                    }
                    sink.flush()?;
                }
            }))
        }
        "/chunks" => Response::new(WriteBody::from_chunks(["one", "two"].map(Bytes::from))),
        "/hints" => {
            let sent = scope.interim(StatusCode::EARLY_HINTS, &HeaderMap::new());
            Response::new(WriteBody::full(format!("{sent:?}")))
        }
        "/nothing" => Response::builder().status(StatusCode::NO_CONTENT).body(WriteBody::empty())?,
        "/error" => return Err(varvel::AppError::internal("on purpose")),
        "/sleep" => match scope.take_deferral() {
            Some(deferral) => {
                let (placeholder, reply) = deferral.defer();
                let timer = scope.worker().sleep(Duration::from_secs(1));
                let spawned = scope.worker().spawn(Box::pin(async move {
                    timer.await;
                    let _ = reply.send(Response::new(WriteBody::from("rested")));
                }));
                assert!(spawned.is_ok());
                placeholder
            }
            None => Response::new(WriteBody::from("restless")),
        },
        _ => match scope.take_upgrade() {
            Some(upgrade) => upgrade.accept_blocking(Response::new(()), |mut io| {
                let _ = std::io::copy(&mut io.by_ref().take(4), &mut std::io::sink());
            }),
            None => Response::new(WriteBody::from_static(b"hello")),
        },
    })
}

/// Everything that a client can do to an application.
fn provoke(client: &Client) {
    for target in ["/", "/a%2Fb//?x=1&", "/chunks", "/trailers", "/hints", "/nothing", "/error", "/work"] {
        for method in ["GET", "HEAD", "POST", "PURGE"] {
            client
                .request(method, target)
                .header("te", "trailers")
                .header("x-a", "1")
                .header("x-a", "2")
                .send();
        }
        client.get(target).version(Version::HTTP_10).send();
    }
    client.get("http://example.com/x?y").send();
    client.options("*").send();
    for target in ["/collect", "/echo", "/"] {
        client.post(target).body("hello").send();
        client.post(target).body("hello").in_pieces_of(1).trailer("x-sum", "1").send();
        client.post(target).body("hello").header("expect", "100-continue").send();
        let mut cut = client.post(target).streaming_exactly(8).start();
        cut.send_data("half");
        cut.end_sending();
        let _ = cut.try_response();
        let mut left = client.post(target).streaming().start();
        left.send_data("some");
        left.disconnect();
    }
    let mut duplex = client.post("/echo").streaming().start();
    for piece in ["one", "two"] {
        duplex.send_data(piece);
        duplex.read(3);
    }
    duplex.end_data();
    duplex.response();
    for leaves in [false, true] {
        let mut sleeping = client.get("/sleep").start();
        if leaves {
            sleeping.disconnect();
        } else {
            client.advance(Duration::from_secs(1));
            assert_eq!(sleeping.response().text(), "rested");
        }
    }
    let mut ticking = client.get("/tick").start();
    for _ in 0..3 {
        client.advance(Duration::from_secs(1));
        let _ = ticking.poll_frame();
    }
    drop(ticking);
    let mut tunnel = client.get("/").upgrade("chat");
    tunnel.send("ping");
    tunnel.end_sending();
    tunnel.receive_to_end();
    drop(client.connect("example.com:443").tunnel());
    let cut = client.get("/sleep").start();
    client.stop();
    drop(cut);
}

#[test]
fn no_rule_about_servers_is_broken_for_async_applications() {
    let lint = Lint::new(Shared(app_fn(answer)));
    let findings = lint.findings();
    let client = Client::factory(lint).unwrap();
    provoke(&client);
    client.close().unwrap();
    findings.assert_none();
}

#[test]
fn no_rule_about_servers_is_broken_for_sync_applications() {
    let lint = Lint::new(Shared(sync_fn(answer_sync)));
    let findings = lint.findings();
    let client = Client::sync_factory(lint).unwrap();
    provoke(&client);
    client.close().unwrap();
    findings.assert_none();
}

#[test]
fn no_rule_is_broken_where_capabilities_are_missing() {
    use varvel::Caps;
    for caps in [
        Caps::INTERIM,
        Caps::TRAILERS_IN,
        Caps::TRAILERS_OUT,
        Caps::OFFLOAD,
        Caps::SPAWN,
        Caps::DISCONNECT_WATCH,
    ] {
        let lint = Lint::new(Shared(app_fn(answer)));
        let findings = lint.findings();
        let client = Setup::new().without(caps).factory(lint).unwrap();
        provoke(&client);
        client.close().unwrap();
        findings.assert_none();
    }
}

/// What a test that does this fails with.
fn failing(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test fails");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a panic with a message")
}

fn too_long() -> impl varvel::AsyncApp<Future: 'static> + 'static {
    app_fn(|_, _| async {
        Ok(Response::builder().header(header::CONTENT_LENGTH, 3).body(AsyncBody::from_static(b"hello"))?)
    })
}

#[test]
fn a_lint_does_not_turn_a_red_test_green() {
    let bare = failing(|| drop(Client::new(too_long()).get("/").send()));
    assert!(bare.contains("the answer broke the contract"), "{bare}");
    let client = Client::new(Lint::new(too_long()));
    let message = failing(|| drop(client.get("/").send()));
    assert!(message.contains("A5.known broken by the application"), "{message}");
    let message = failing(|| drop(client.get("/").start().response()));
    assert!(message.contains("A5.known broken by the application"), "{message}");
    // Whoever wants to see the answer all the same can.
    assert_eq!(client.get("/").try_send().unwrap().status(), 500);

    let app = sync_fn(|_, _| {
        Ok(Response::builder().header(header::CONTENT_LENGTH, 3).body(WriteBody::from_static(b"hello"))?)
    });
    let message = failing(|| drop(Client::sync(Lint::new(app)).get("/").send()));
    assert!(message.contains("A5.known broken by the application"), "{message}");
}

#[test]
fn wherever_the_application_panics_the_test_fails_with_that_panic() {
    let client = Client::new(app_fn(|request, mut scope| async move {
        match request.uri().path() {
            "/call" => panic!("in the call"),
            "/hook" => scope.on_finish(|_| panic!("in the hook")),
            "/tunnel" => {
                let _ = scope.take_upgrade();
                panic!("in the tunnel's call")
            }
            _ => {
                return Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("begun").await;
                    panic!("in the body")
                })));
            }
        }
        Ok(Response::new(AsyncBody::empty()))
    }));
    for (place, expected) in [("/call", "in the call"), ("/hook", "in the hook"), ("/body", "in the body")] {
        assert_eq!(failing(|| drop(client.get(place).send())), expected);
        assert_eq!(failing(|| drop(client.get(place).start().response())), expected);
    }
    assert_eq!(failing(|| _ = client.get("/body").start().read(6)), "in the body");
    assert_eq!(failing(|| drop(client.get("/tunnel").upgrade("chat"))), "in the tunnel's call");
}

#[test]
fn a_panic_that_fails_the_test_is_printed_once() {
    let printed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&printed);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>().is_some_and(|text| text.contains("printed once")) {
            counted.fetch_add(1, SeqCst);
        } else {
            before(info);
        }
    }));
    let client = Client::new(app_fn(|_, _| async { panic!("printed once") }));
    assert_eq!(failing(|| drop(client.get("/").send())), "printed once");
    assert_eq!(printed.load(SeqCst), 1);
}

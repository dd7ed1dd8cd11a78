//! The same test in process and on live servers: what can be seen from outside is the same.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use socket2::{Domain, Socket, Type};
use varvel::{
    AppError, AppFuture, AsyncApp, AsyncBody, BodyError, Control, Event, Frame, Launch, Report, Reporter,
    Scope, Server, Shared, bridge::BlockOn,
};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;
use varvel_test::{Client, Failure, FailureKind, Head, Recorded};
use varvel_threaded::Threaded;

/// One path for each behaviour.
#[derive(Clone)]
struct Probe;

impl AsyncApp for Probe {
    type Future = AppFuture;

    fn call(&self, request: Request<AsyncBody>, mut scope: Scope) -> AppFuture {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            Ok(match path.trim_matches(['/', '.']) {
                "hello" => Response::builder().header("x-a", "b").body("Hello, World!".into())?,
                "describe" => {
                    let (head, body) = request.into_parts();
                    let mut fields: Vec<_> =
                        head.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                    fields.sort();
                    let length = body.exact_len();
                    let body = body.collect(1 << 20).await?;
                    let described = format!(
                        "{} {} {:?} {fields:?} {length:?} {body:?} {}",
                        head.method,
                        head.uri,
                        head.version,
                        scope.raw_target().escape_ascii()
                    );
                    Response::new(AsyncBody::full(described))
                }
                "echo" => Response::new(request.into_body()),
                "chunks" => Response::new(AsyncBody::from_chunks(["one", "two"].map(Bytes::from))),
                "nothing" => Response::builder().status(204).body("ignored".into())?,
                "unmodified" => {
                    Response::builder().status(304).header("content-length", 12).body("ignored".into())?
                }
                "trailers" => Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("body").await;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("x-sum", HeaderValue::from_static("4"));
                    frames.trailers(trailers).await;
                    Ok(())
                })),
                "hints" => {
                    let mut hints = HeaderMap::new();
                    hints.insert(header::LINK, HeaderValue::from_static("</style.css>"));
                    let sent = scope.interim(StatusCode::EARLY_HINTS, &hints);
                    Response::new(AsyncBody::full(format!("{sent:?}")))
                }
                "reset" => Response::builder().status(205).body("reset".into())?,
                "required" => {
                    Response::builder().status(426).header("upgrade", "shout").body("please".into())?
                }
                "error" => return Err(AppError::internal("secret")),
                "busy" => return Err(AppError::unavailable("secret")),
                "abort" => return Err(AppError::abort()),
                "panic" => panic!("secret"),
                "interim" => Response::builder().status(103).body("no answer".into())?,
                "bare-101" => Response::builder().status(101).body("no answer".into())?,
                "forbidden" => Response::builder()
                    .header("keep-alive", "timeout=5")
                    .header("upgrade", "h2c")
                    .header("x-kept", "yes")
                    .body("mended".into())?,
                "short" => Response::builder()
                    .header("content-length", 10)
                    .body(AsyncBody::from_chunks([Bytes::from("short")]))?,
                "long" => Response::builder()
                    .header("content-length", 3)
                    .body(AsyncBody::from_chunks([Bytes::from("longer")]))?,
                "breaks" => Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("begun").await;
                    Err(BodyError::failed("secret"))
                })),
                "endless" => Response::new(AsyncBody::generate(|mut frames| async move {
                    frames.data("begun").await;
                    std::future::pending().await
                })),
                "unread" => Response::new("unread".into()),
                "later" => {
                    let worker = scope.worker().clone();
                    Response::new(AsyncBody::generate(|mut frames| async move {
                        worker.sleep(Duration::from_millis(20)).await;
                        frames.data("later").await;
                        Ok(())
                    }))
                }
                "wait" => {
                    scope.worker().sleep(Duration::from_millis(20)).await;
                    Response::new("waited".into())
                }
                "tunnel" => match scope.take_upgrade() {
                    Some(upgrade) => upgrade.accept(Response::new(()), |mut io| async move {
                        let mut buffer = [0; 64];
                        while let Ok(read @ 1..) = io.read(&mut buffer).await {
                            if io.write_all(&buffer[..read].to_ascii_uppercase()).await.is_err() {
                                return;
                            }
                        }
                        let _ = io.write_all(b"bye").await;
                    }),
                    None => Response::builder().status(426).body("upgrade, please".into())?,
                },
                _ => Response::builder().status(404).body("nowhere".into())?,
            })
        })
    }
}

/// A server on a thread of its own, and a client of it.
struct Live {
    client: Client,
    control: Control,
    reports: Arc<Reports>,
    serving: Option<JoinHandle<()>>,
}

impl Live {
    fn start<F: Send + 'static>(server: impl Server<F> + Send + 'static, factory: F) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::at(&format!("http://{}", listener.local_addr().unwrap()));
        let (control, reports) = (Control::new(), Arc::new(Reports::default()));
        let launch = Launch::new(vec![listener.into()])
            .with_control(control.clone())
            .with_reporter(Arc::clone(&reports) as _);
        let serving = thread::spawn(move || _ = server.serve(factory, launch).unwrap());
        assert!(control.wait_ready());
        Self { client, control, reports, serving: Some(serving) }
    }

    /// Stops the server, so that nothing more is reported.
    fn stop(&mut self) {
        self.control.stop(Duration::ZERO);
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What was reported, without the words.
#[derive(Default)]
struct Reports(Mutex<Vec<String>>);

impl Reporter for Reports {
    fn report(&self, report: &Report<'_>) {
        let told = match report.event {
            Event::AppFailed { kind, .. } => format!("{kind:?}"),
            Event::Panicked { during, message } => format!("{during} {message}"),
            Event::BodyFailed { error } => format!("body {:?}", error.kind()),
            Event::Contract { clause, .. } => clause.to_owned(),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}

fn on_every_target<T: PartialEq + std::fmt::Debug>(observe: impl Fn(&Client) -> Vec<T>) -> Vec<T> {
    let client = Client::new(Probe);
    let here = observe(&client);
    let told = told(&client);
    let evented = Live::start(Evented::new(Settings::default()), Shared(Probe));
    let threaded = Live::start(Threaded::new(Settings::default()), BlockOn::new(Shared(Probe)));
    for (server, mut live) in [("evented", evented), ("threaded", threaded)] {
        let there = observe(&live.client);
        let different: Vec<_> = here.iter().zip(&there).filter(|(here, there)| here != there).collect();
        assert!(different.is_empty(), "in process, {server}: {different:#?}");
        assert_eq!(here.len(), there.len());
        live.stop();
        assert_eq!(told, *live.reports.0.lock().unwrap(), "what is reported: in process, {server}");
    }
    here
}

/// The reports of an in-process server, as [`Reports`] keeps those of a live one.
fn told(client: &Client) -> Vec<String> {
    let told = client.reports().into_iter().filter_map(|report| {
        let told = match &report.event {
            Recorded::AppFailed { kind, .. } => format!("{kind:?}"),
            Recorded::Panicked { during, message } => format!("{during} {message}"),
            Recorded::BodyFailed { kind, .. } => format!("body {kind:?}"),
            Recorded::Contract { clause, .. } => (*clause).to_owned(),
            _ => return None,
        };
        Some(told)
    });
    told.collect()
}

/// What a client can tell of an answer. Of the date only that there is one.
#[derive(Debug, PartialEq)]
struct Observed {
    heads: Vec<(u16, Vec<String>)>,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

fn observed(answer: Result<varvel_test::Response, Failure>) -> Result<Observed, FailureKind> {
    let response = answer.map_err(|failure| failure.kind())?;
    Ok(Observed {
        heads: response.interim().iter().chain([response.head()]).map(describe).collect(),
        body: response.body().clone(),
        trailers: response.trailers().cloned(),
    })
}

fn describe(head: &Head) -> (u16, Vec<String>) {
    let dateless = |(name, value): (&http::HeaderName, &HeaderValue)| {
        if name == header::DATE { "date".to_owned() } else { format!("{name}: {value:?}") }
    };
    let mut fields: Vec<_> = head.headers.iter().map(dateless).collect();
    fields.sort();
    (head.status.as_u16(), fields)
}

#[test]
fn answers_look_the_same_on_every_target() {
    let seen = on_every_target(|client| {
        let mut seen = Vec::new();
        for target in [
            "/hello",
            "/chunks",
            "/nothing",
            "/unmodified",
            "/trailers",
            "/hints",
            "/reset",
            "/required",
            "/error",
            "/busy",
            "/abort",
            "/panic",
            "/interim",
            "/bare-101",
            "/forbidden",
            "/short",
            "/long",
            "/breaks",
            "/elsewhere",
        ] {
            for method in ["GET", "HEAD"] {
                seen.push((
                    format!("{method} {target}"),
                    observed(client.request(method, target).try_send()),
                ));
            }
            let old = observed(client.get(target).version(Version::HTTP_10).try_send());
            // The reset by which such an answer breaks off may take the head with it.
            let old = old.map_err(|_| FailureKind::BrokenOff);
            seen.push((format!("GET {target} HTTP/1.0"), old));
            let taking = client.get(target).header("te", "trailers").header("connection", "close").try_send();
            seen.push((format!("GET {target} with TE, then close"), observed(taking)));
        }
        for (name, request) in [
            ("whole", client.post("/describe").body("hello").header("x-b", "1").header("x-b", "2")),
            ("none", client.request("PURGE", "/describe?a=%2F&")),
            ("empty", client.put("/describe").body("")),
            ("pieces", client.post("/describe").body("hello").in_pieces_of(1)),
            ("chunked", client.post("/describe").body("hello").trailer("x-t", "1")),
            ("absolute", client.get("http://example.com/describe?x")),
            ("continue", client.post("/describe").body("hello").header("expect", "100-continue")),
            ("continue for an echo", client.post("/echo").body("hello").header("expect", "100-continue")),
            ("two slashes", client.get("//describe/../?x")),
            ("no pull", client.post("/unread").body("hello").header("expect", "100-continue")),
            ("asterisk", client.options("*")),
            ("asterisk, absolute", client.options("http://example.com")),
            ("strange characters", client.get("/hello?[a]={b}|\\^`%zz")),
            (
                "forbidden trailers",
                client.post("/describe").body("x").trailer("host", "x").trailer("x-t", "1"),
            ),
            ("echo", client.post("/echo").body("ping")),
            ("refused connect", client.connect("example.com:443")),
        ] {
            seen.push((name.to_owned(), observed(request.header("host", "example.com").try_send())));
        }
        seen
    });
    on_every_target(|client| vec![client.post("/hello").header("expect", "much").send().status()]);
    // One sample, against a comparison of nothing with nothing.
    let (_, hello) = &seen[0];
    let hello = hello.as_ref().unwrap();
    assert_eq!((hello.heads[0].0, &hello.body[..]), (200, &b"Hello, World!"[..]));
    assert_eq!(seen.iter().filter(|(_, answer)| answer.is_err()).count(), 10);
}

#[test]
fn an_exchange_is_conducted_the_same_way() {
    on_every_target(|client| {
        let mut exchange = client.post("/echo").streaming().start();
        let mut frames = Vec::new();
        for piece in ["ping", "pong"] {
            exchange.send_data(piece);
            frames.extend(exchange.frame());
        }
        assert!(exchange.poll_frame().is_pending());
        exchange.send_data("0123456789");
        let parts = (exchange.read(4), exchange.read(6));
        exchange.end_data();
        let datas: Vec<_> = frames
            .into_iter()
            .map(|frame| match frame {
                Frame::Data(data) => data,
                other => panic!("{other:?}"),
            })
            .collect();
        vec![(datas, parts, describe(exchange.head()), exchange.response().body().clone())]
    });
}

#[test]
fn time_passes_the_same_way() {
    on_every_target(|client| {
        let mut exchange = client.get("/wait").start();
        client.advance(Duration::from_millis(20));
        let mut later = client.get("/later").start();
        client.advance(Duration::from_millis(20));
        vec![(exchange.status(), exchange.response().body().clone()), (later.status(), later.read(5))]
    });
}

#[test]
fn a_body_cut_short_is_answered_the_same_way() {
    on_every_target(|client| {
        let mut exchange = client.post("/describe").streaming_exactly(9).start();
        exchange.send_data("cut");
        exchange.end_sending();
        vec![observed(exchange.try_response())]
    });
}

#[test]
fn a_tunnel_carries_bytes_the_same_way() {
    on_every_target(|client| {
        let mut tunnel = client.get("/tunnel").upgrade("shout");
        let head = describe(tunnel.head());
        assert!(tunnel.poll_read(&mut [0; 8]).is_pending());
        tunnel.write_all(b"hello").unwrap();
        let mut seen = tunnel.receive(5);
        tunnel.end_sending();
        tunnel.receive(3).iter().for_each(|byte| seen.push(*byte));
        assert_eq!(tunnel.read(&mut [0; 8]).unwrap(), 0);
        let refused =
            observed(client.post("/tunnel").body("x").try_upgrade("shout").map_or_else(Ok, |_| panic!()));
        vec![(head, seen, refused)]
    });
}

#[test]
fn what_cannot_be_seen_from_outside_says_so() {
    let live = Live::start(Evented::new(Settings::default()), Shared(Probe));
    assert!(live.client.is_live());
    let message = |asked: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(asked)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let response = live.client.get("/hello").send();
    let exchange = live.client.get("/hello").start();
    let asked: [&dyn Fn(); 7] = [
        &|| _ = response.reports(),
        &|| _ = response.finish(),
        &|| _ = response.error(),
        &|| _ = exchange.stage(),
        &|| live.client.stop(),
        &|| _ = live.client.reports(),
        &|| _ = live.client.next_timer(),
    ];
    for asked in asked {
        let message = message(asked);
        assert!(message.contains("cannot be seen on a live server"), "{message}");
    }
}

#[test]
fn nobody_who_listens_is_a_refusal() {
    // Bound, so that nobody else can take the port, and not listening.
    let idle = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    idle.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = idle.local_addr().unwrap().as_socket().unwrap();
    let failure = Client::at(&format!("http://{address}/")).get("/").try_send().unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains(&format!("refused: by {address}")), "{failure}");
}

#[test]
fn a_large_echo_does_not_deadlock() {
    // More than any socket buffers, in both directions.
    let large = Bytes::from(vec![b'x'; 24 << 20]);
    on_every_target(|client| {
        let whole = client.post("/echo").body(large.clone()).send();
        let pieces =
            client.post("/echo").body(large.clone()).in_pieces_of(1 << 20).trailer("x-t", "1").send();
        vec![whole.body() == &large, pieces.body() == &large]
    });
}

#[test]
fn a_request_is_not_sent_with_a_hole_in_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::at(&format!("http://{}", listener.local_addr().unwrap()));
    let serving = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 100]).unwrap();
        // What is unread when a socket is closed has it reset.
    });
    let mut exchange = client.post("/").streaming().start();
    exchange.send_data(vec![b'x'; 1 << 20]);
    serving.join().unwrap();
    exchange.send_data(vec![b'x'; 16 << 20]);
    exchange.send_data("behind the hole");
    let failure = exchange.try_response().unwrap_err();
    assert_eq!(failure.kind(), FailureKind::NoAnswer);
    assert!(failure.to_string().contains("the request was not sent whole"), "{failure}");
}

#[test]
fn a_client_that_leaves_behind_the_head_has_half_an_answer_everywhere() {
    on_every_target(|client| {
        let mut exchange = client.get("/endless").start();
        assert_eq!(exchange.status(), 200);
        exchange.disconnect();
        vec![exchange.try_response().map(|response| response.status()).map_err(|failure| failure.kind())]
    });
}

/// What a client makes of these bytes, followed by the end of the connection.
fn reading(answer: &'static [u8]) -> Result<String, FailureKind> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::at(&format!("http://{}", listener.local_addr().unwrap()));
    let serving = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(answer).unwrap();
    });
    let read = client.get("/").try_send();
    serving.join().unwrap();
    read.map(|response| response.text().to_owned()).map_err(|failure| failure.kind())
}

#[test]
fn a_live_answer_is_read_strictly() {
    use FailureKind::{BrokenOff, Malformed, NoAnswer};
    for (answer, expected) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..], Ok("hello")),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", Ok("to the end")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
            Ok("hello"),
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Ok("hi")),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Ok("")),
        (b"", Err(NoAnswer)),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Err(BrokenOff)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Err(BrokenOff)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Err(BrokenOff)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Err(BrokenOff)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", Err(Malformed)),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", Err(Malformed)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            Err(Malformed),
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.0 200 OK\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 20 OK\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Err(Malformed)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Err(Malformed)),
    ] {
        assert_eq!(
            reading(answer).as_deref(),
            expected.as_ref().map(|text| *text),
            "{}",
            answer.escape_ascii()
        );
    }
}

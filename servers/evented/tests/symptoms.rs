//! Faults that were found once, each named for what was seen.

mod support;

use std::{
    future::{Future, poll_fn},
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use support::{Running, get, launch, read_line, start};
use varvel::{
    AppError, AsyncAppResult, AsyncBody, AsyncIo, FileRegion, Frame, Outcome, Policy, Scope, Shared,
    StartError, app_fn, factory_fn,
};
use varvel_server_kit::settings::Settings;

const GRACE: Duration = Duration::from_secs(10);

fn line(text: &'static str) -> AsyncAppResult {
    Ok(Response::new(AsyncBody::from(text)))
}

/// A neighbour on the same loop is served.
fn neighbour_is_served(server: &Running) {
    assert_eq!(get(&mut server.connect(), "/").unwrap(), "fine");
}

#[test]
fn a_bad_request_kills_the_loop_where_lingering_has_no_limit() {
    let server = start(
        |settings| settings.linger_timeout = Duration::MAX,
        Shared(app_fn(|_, _| async { line("fine\n") })),
    );
    let mut client = server.connect();
    client.write_all(b"not http\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    neighbour_is_served(&server);
    drop(client);
    server.stop(GRACE).unwrap();
}

#[test]
fn an_upgrade_that_panics_before_its_future_exists_kills_the_loop() {
    let app = app_fn(|_, mut scope: Scope| async move {
        match scope.take_upgrade() {
            Some(upgrade) => Ok(upgrade.accept(Response::new(()), |_| {
                if true {
                    panic!("before the future");
                }
                async {}
            })),
            None => line("fine\n"),
        }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").unwrap();
    server.expect_report("panic in tunnel: before the future");
    neighbour_is_served(&server);
    server.stop(GRACE).unwrap();
}

#[test]
fn an_error_whose_drop_panics_kills_the_loop() {
    #[derive(Debug)]
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the error's drop");
        }
    }
    impl std::fmt::Display for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a bomb")
        }
    }
    impl std::error::Error for Bomb {}
    let app = app_fn(|request: Request<AsyncBody>, _| async move {
        if request.uri().path() == "/bomb" { Err(AppError::internal(Bomb)) } else { line("fine\n") }
    });
    let server = start(|_| {}, Shared(app));
    assert_eq!(get(&mut server.connect(), "/bomb").unwrap(), "Internal Server Error");
    server.expect_report("panic in drop: the error's drop");
    neighbour_is_served(&server);
    server.stop(GRACE).unwrap();
}

#[test]
fn an_answer_ahead_of_one_that_waits_is_lost_when_the_client_ends_its_side() {
    let app = app_fn(|request: Request<AsyncBody>, _| async move {
        if request.uri().path() == "/wait" { std::future::pending().await } else { line("first\n") }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /wait HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(requests.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert!(answers.ends_with("first\n"), "{answers:?}");
    server.stop(GRACE).unwrap();
}

#[test]
fn an_endless_answer_to_nobody_starves_the_loop_and_outlives_the_stop() {
    let chunks = || std::iter::repeat(Bytes::from_static(&[b'x'; 4096]));
    let app = app_fn(move |request: Request<AsyncBody>, _| async move {
        if request.uri().path() == "/endless" {
            return Ok(Response::new(AsyncBody::from_chunks(chunks())));
        }
        line("fine\n")
    });
    let factory =
        factory_fn(move |_| async move { Ok(app) }).with_policy(Policy::default().finish_on_disconnect());
    let server = start(|_| {}, factory);
    let mut client = server.connect();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    // Closed with bytes unread: the server is told by a reset.
    drop(client);
    neighbour_is_served(&server);
    assert_eq!(server.stop(Duration::ZERO).unwrap().cut, 1);
}

#[test]
fn a_tunnel_that_the_application_kept_cancels_the_next_connection() {
    let kept: Arc<Mutex<Option<AsyncIo>>> = Arc::default();
    let app = app_fn(move |request: Request<AsyncBody>, mut scope: Scope| {
        let kept = Arc::clone(&kept);
        async move {
            if let Some(upgrade) = scope.take_upgrade() {
                return Ok(upgrade.accept(Response::new(()), move |io| async move {
                    *kept.lock().unwrap() = Some(io);
                }));
            }
            if request.uri().path() == "/wait" {
                scope.worker().sleep(Duration::from_millis(300)).await;
            }
            line("fine\n")
        }
    });
    let server = start(|_| {}, Shared(app));
    let mut first = server.connect();
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").unwrap();
    // The continuation has returned, so the tunnel ends although the application keeps its end of it.
    first.read_to_end(&mut Vec::new()).unwrap();
    let mut second = server.connect();
    second.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    drop(first);
    assert_eq!(read_line(&mut second).unwrap(), "fine");
    server.stop(GRACE).unwrap();
}

#[test]
fn a_build_that_waits_for_the_stop_hangs_for_ever() {
    let (sender, began) = mpsc::channel();
    let factory = factory_fn(move |worker| {
        sender.send(()).unwrap();
        async move {
            worker.stopping().await;
            let app = app_fn(|_, _| async { line("never\n") });
            Err::<_, StartError>(StartError::new("stopped first")).or(Ok(app))
        }
    });
    let server = launch(|_| {}, factory);
    began.recv().unwrap();
    server.stop(GRACE).unwrap();
}

#[test]
fn the_hook_is_told_of_bytes_that_nobody_was_sent() {
    let (sender, finished) = mpsc::channel();
    let path = std::env::temp_dir().join(format!("varvel-evented-{}", std::process::id()));
    let file =
        std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let len = 1 << 30;
    file.set_len(len).unwrap();
    let file = Arc::new(file);
    let app = app_fn(move |_, scope: Scope| {
        let (sender, file) = (sender.clone(), Arc::clone(&file));
        scope.on_finish(move |finish| sender.send(*finish).unwrap());
        async move { Ok(Response::new(AsyncBody::file(FileRegion { file, offset: 0, len }))) }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    let finish = finished.recv_timeout(GRACE).unwrap();
    assert!(finish.bytes < len / 2, "{finish:?}");
    server.stop(GRACE).unwrap();
}

/// Between two polls of a task that is always ready, no connection may move more than its share.
#[test]
fn one_large_upload_keeps_the_loop_to_itself() {
    const BODY: usize = 32 << 20;
    const SHARE: usize = 512 << 10;
    let moved = Arc::new(AtomicUsize::new(0));
    let seen_by_app = Arc::clone(&moved);
    let app = app_fn(move |request: Request<AsyncBody>, scope: Scope| {
        let moved = Arc::clone(&seen_by_app);
        async move {
            let most = Arc::new(AtomicUsize::new(0));
            let (watched, noted, mut last) = (Arc::clone(&moved), Arc::clone(&most), 0);
            let watch = poll_fn(move |cx| {
                let now = watched.load(Ordering::Relaxed);
                noted.fetch_max(now - last, Ordering::Relaxed);
                last = now;
                cx.waker().wake_by_ref();
                if now < BODY { Poll::Pending } else { Poll::Ready(()) }
            });
            assert!(scope.worker().spawn(Box::pin(watch)).is_ok());
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                if let Frame::Data(data) = frame? {
                    moved.fetch_add(data.len(), Ordering::Relaxed);
                }
            }
            Ok(Response::new(AsyncBody::from(format!("{}\n", most.load(Ordering::Relaxed)))))
        }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    write!(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n").unwrap();
    client.write_all(&vec![b'x'; BODY]).unwrap();
    let most: usize = read_line(&mut client).unwrap().parse().unwrap();
    assert!((1..=SHARE).contains(&most), "{most} bytes of one upload in a row");
    server.stop(GRACE).unwrap();
}

#[test]
fn a_task_whose_panic_carries_what_panics_too_kills_the_loop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    let app = app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
        if request.uri().path() == "/task" {
            let task = async { std::panic::panic_any(Bomb) };
            assert!(scope.worker().spawn(Box::pin(task)).is_ok());
        }
        line("fine\n")
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/task").unwrap(), "fine");
    server.expect_report("panic");
    assert_eq!(get(&mut client, "/").unwrap(), "fine", "the connection is still there");
    server.stop(GRACE).unwrap();
}

/// Who waits for its turn has it as soon as the call before is over. With two connections of which each has a next request
/// there is always somebody who waits.
#[test]
fn two_pipelines_to_an_exclusive_application_keep_the_loop_to_themselves() {
    const REQUESTS: usize = 500;
    let address = Arc::new(OnceLock::new());
    let (open, gate) = mpsc::channel::<()>();
    let (sender, called) = mpsc::channel();
    let (app_address, gate) = (Arc::clone(&address), Arc::new(Mutex::new(gate)));
    let late = Arc::new(Mutex::new(None));
    let app = app_fn(move |request: Request<AsyncBody>, _| {
        let path = request.uri().path().to_owned();
        let mut waits = false;
        match path.as_str() {
            // Both pipelines are there when the loop looks again.
            "/gate" => gate.lock().unwrap().recv().unwrap(),
            // The one is in a call when the other wants to begin one.
            "/first" => waits = true,
            // Somebody else comes.
            "/second" => {
                let mut client = TcpStream::connect(app_address.get().unwrap()).unwrap();
                client.write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                *late.lock().unwrap() = Some(client);
            }
            _ => {}
        }
        sender.send(path).unwrap();
        poll_fn(move |cx| {
            if std::mem::take(&mut waits) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(line("fine\n"))
        })
    });
    let factory = factory_fn(move |_| std::future::ready(Ok::<_, StartError>(app.clone())));
    let server = start(|_| {}, factory.with_policy(Policy::default().exclusive()));
    let mut clients = [server.connect(), server.connect(), server.connect()];
    address.set(clients[0].peer_addr().unwrap()).unwrap();
    for client in &mut clients {
        assert_eq!(get(client, "/").unwrap(), "fine");
    }
    let to = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = to("/").repeat(REQUESTS);
    let requests = [to("/first") + &to("/second") + &rest, rest, to("/gate")];
    for (client, requests) in clients.iter_mut().zip(&requests).rev() {
        client.write_all(requests.as_bytes()).unwrap();
    }
    open.send(()).unwrap();
    let calls: Vec<String> = called.iter().take(3 + 3 + 2 * REQUESTS + 1).collect();
    let behind = calls.iter().skip_while(|path| *path != "/late").count();
    assert!(behind > REQUESTS / 2, "{behind} calls of the pipelines came after it");
    server.stop(GRACE).unwrap();
}

/// Each is answered where it is accepted, and by then another has come.
#[test]
fn clients_that_go_on_connecting_keep_a_stopped_server_from_its_end() {
    const CLIENTS: usize = 20_000;
    let address = Arc::new(OnceLock::new());
    let (open, gate) = mpsc::channel::<()>();
    let count = Arc::new(AtomicUsize::new(0));
    let (app_address, app_count) = (Arc::clone(&address), Arc::clone(&count));
    let (gate, last) = (Arc::new(Mutex::new(gate)), Arc::new(Mutex::new(None)));
    let app = app_fn(move |request: Request<AsyncBody>, _| {
        match request.uri().path() {
            // Until the stop was asked for, and the first of them waits to be accepted.
            "/gate" => gate.lock().unwrap().recv().unwrap(),
            "/next" if app_count.fetch_add(1, Ordering::Relaxed) < CLIENTS => {
                // In the end nobody listens.
                if let Ok(client) = TcpStream::connect(app_address.get().unwrap()) {
                    *last.lock().unwrap() = Some(next(client));
                }
            }
            _ => {}
        }
        std::future::ready(line("fine\n"))
    });
    fn next(mut client: TcpStream) -> TcpStream {
        client.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client
    }
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    address.set(client.peer_addr().unwrap()).unwrap();
    assert_eq!(get(&mut client, "/").unwrap(), "fine");
    client.write_all(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let _first = next(server.connect());
    server.control.stop(GRACE);
    open.send(()).unwrap();
    server.stop(GRACE).unwrap();
    let count = count.load(Ordering::Relaxed);
    assert!((1..CLIENTS).contains(&count), "{count} came in after the stop");
}

/// One call at a time. Those of `/wait` last until the sender is dropped; of all others the number is told.
fn exclusive(policy: Policy) -> (Running, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let (release, released) = mpsc::channel::<()>();
    let (released, calls) = (Arc::new(Mutex::new(released)), Arc::new(AtomicUsize::new(0)));
    let app_calls = Arc::clone(&calls);
    let app = app_fn(move |request: Request<AsyncBody>, scope: Scope| {
        let waits = request.uri().path() == "/wait";
        if !waits {
            app_calls.fetch_add(1, Ordering::Relaxed);
        }
        let released = Arc::clone(&released);
        async move {
            while waits && released.lock().unwrap().try_recv() == Err(mpsc::TryRecvError::Empty) {
                scope.worker().sleep(Duration::from_millis(1)).await;
            }
            line("fine\n")
        }
    });
    let factory = factory_fn(move |_| std::future::ready(Ok::<_, StartError>(app.clone())));
    let server =
        start(|settings| settings.max_connections = Some(2), factory.with_policy(policy.exclusive()));
    (server, release, calls)
}

#[test]
fn clients_that_left_while_they_waited_for_their_turn_keep_others_from_being_accepted() {
    let (server, release, calls) = exclusive(Policy::default());
    let mut first = server.connect();
    first.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    for _ in 0..3 {
        let mut second = server.connect();
        second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    // It needs no turn to be refused, but to be accepted.
    let mut third = server.connect();
    third.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_line(&mut third).unwrap();
    drop(release);
    assert_eq!(read_line(&mut first).unwrap(), "fine");
    assert_eq!(calls.load(Ordering::Relaxed), 0, "calls for nobody");
    server.stop(GRACE).unwrap();
}

#[test]
fn a_client_that_ended_its_side_while_it_waited_for_its_turn_gets_no_answer() {
    let (server, release, calls) = exclusive(Policy::default().answer_half_closed());
    let (mut first, mut second) = (server.connect(), server.connect());
    first.write_all(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    second.shutdown(std::net::Shutdown::Write).unwrap();
    drop(release);
    assert_eq!(read_line(&mut second).unwrap(), "fine");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    server.stop(GRACE).unwrap();
}

#[test]
fn a_waker_that_panics_kills_the_loop() {
    struct Deadly;
    impl Wake for Deadly {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    fn poll_once(future: impl Future) {
        let waker = Waker::from(Arc::new(Deadly));
        let mut future = Box::pin(future);
        let _ = future.as_mut().poll(&mut Context::from_waker(&waker));
        std::mem::forget(future);
    }
    let app = app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
        match request.uri().path() {
            "/timer" => poll_once(scope.worker().sleep(Duration::from_millis(1))),
            "/watch" => {
                let watch = scope.watch();
                poll_once(async move { watch.disconnected().await });
            }
            "/body" => {
                let mut body = request.into_body();
                poll_once(async move { body.frame().await.is_some() });
                let mut polled = false;
                poll_fn(
                    |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending },
                )
                .await;
            }
            "/stop" => poll_once(poll_fn(move |cx| scope.worker().poll_stopping(cx))),
            _ => {}
        }
        line("fine\n")
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    for path in ["/timer", "/watch"] {
        assert_eq!(get(&mut client, path).unwrap(), "fine");
        server.expect_report("panic in background work: a waker");
    }
    let mut upload = server.connect();
    let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    upload.write_all(head.as_bytes()).unwrap();
    // Which says that the body is waited for.
    upload.read_exact(&mut [0; "HTTP/1.1 100 Continue\r\n\r\n".len()]).unwrap();
    upload.write_all(b"x").unwrap();
    assert_eq!(read_line(&mut upload).unwrap(), "fine");
    server.expect_report("panic in background work: a waker");
    assert_eq!(get(&mut client, "/stop").unwrap(), "fine", "the connection is still there");
    server.control.stop(GRACE);
    server.expect_report("panic in background work: a waker");
    server.stop(GRACE).unwrap();
}

#[test]
fn an_answer_of_tiny_chunks_that_was_cut_off_is_said_to_have_had_no_bytes() {
    let (finished, finishes) = mpsc::channel();
    let app = app_fn(move |_, scope: Scope| {
        let finished = finished.clone();
        scope.on_finish(move |finish| finished.send(*finish).unwrap());
        async {
            Ok(Response::new(AsyncBody::generate(|mut frames| async move {
                loop {
                    frames.data("ab").await;
                }
            })))
        }
    });
    let tune = |settings: &mut Settings| {
        settings.write_timeout = Duration::from_millis(200);
        settings.write_high_water = 256 * 1024;
    };
    let server = start(tune, Shared(app));
    let mut client = server.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    // It reads nothing, but keeps what the system has taken for it.
    let finish = finishes.recv_timeout(GRACE).unwrap();
    assert_eq!(finish.outcome, Outcome::TimedOut);
    let mut arrived = Vec::new();
    let _ = client.read_to_end(&mut arrived);
    let chunks = arrived.windows(7).filter(|chunk| *chunk == b"2\r\nab\r\n").count() as u64;
    assert!(chunks > 0 && finish.bytes >= 2 * chunks, "{chunks} chunks have arrived, {} bytes", finish.bytes);
    server.stop(GRACE).unwrap();
}

//! What is particular to this server: what holds a thread and what does not, and what goes on while none is free.

mod support;

use std::{
    future::Future,
    io::{Read, Write},
    net::TcpStream,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Response;
use support::{Ahead, Client, PATIENCE, Running, start, start_followed, threads};
use varvel::{
    App, AppFactory, AppResult, AsyncAppFactory, AsyncBody, BoxError, Boxed, DynApp, DynAsyncApp, FileRegion,
    Launch, Outcome, Policy, Reply, Server, Shared, StartError, Worker, WriteBody, app_fn, bridge::BlockOn,
    sync_factory_fn, sync_fn,
};
use varvel_threaded::Threaded;

/// Calls that wait until they are let go.
struct Gate {
    arrived: Receiver<()>,
    open: Arc<Mutex<Option<Sender<()>>>>,
    inner: Arc<GateInner>,
}

struct GateInner {
    arrive: Sender<()>,
    wait: Mutex<Receiver<()>>,
}

impl Gate {
    fn new() -> Self {
        let (arrive, arrived) = mpsc::channel();
        let (open, wait) = mpsc::channel();
        let inner = GateInner { arrive, wait: Mutex::new(wait) };
        Self { arrived, open: Arc::new(Mutex::new(Some(open))), inner: Arc::new(inner) }
    }

    fn wait_for(&self, calls: usize) {
        for _ in 0..calls {
            self.arrived.recv_timeout(PATIENCE).expect("the call was made");
        }
    }

    fn open(&self) {
        self.open.lock().unwrap().take();
    }
}

impl GateInner {
    fn pass(&self) {
        self.arrive.send(()).unwrap();
        // An error means that the gate is open.
        let _ = self.wait.lock().unwrap().recv();
    }
}

fn hello() -> AppResult {
    Ok(Response::new(WriteBody::from_static(b"hello")))
}

/// `/wait` waits at the gate, everything else is answered at once.
fn gated(
    threads_max: u32,
    change: impl FnOnce(&mut varvel_server_kit::settings::Settings),
) -> (Running, Gate) {
    let gate = Gate::new();
    let inner = Arc::clone(&gate.inner);
    let app = sync_fn(move |request: http::Request<varvel::ReadBody>, _| {
        if request.uri().path() == "/wait" {
            inner.pass();
        }
        hello()
    });
    let mut settings = threads(threads_max);
    change(&mut settings);
    (start(settings, Shared(Arc::new(app))), gate)
}

fn block(server: &Running, gate: &Gate, calls: usize) -> Vec<Client> {
    let mut clients = (0..calls).map(|_| server.connect()).collect::<Vec<_>>();
    clients.iter_mut().for_each(|client| client.get("/wait"));
    gate.wait_for(calls);
    clients
}

#[test]
fn idle_connections_and_unfinished_heads_hold_no_thread() {
    let (server, _gate) = gated(2, |_| {});
    let mut idle = (0..50).map(|_| server.connect()).collect::<Vec<_>>();
    for client in &mut idle {
        client.get("/");
        assert_eq!(client.answer().0, 200);
    }
    let mut slow = (0..50).map(|_| server.connect()).collect::<Vec<_>>();
    slow.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHo"));
    assert!(server.get("/").ends_with("hello"));
    for client in &mut slow {
        client.send("st: x\r\n\r\n");
        assert_eq!(client.answer(), (200, "hello".into()));
    }
    for client in &mut idle {
        client.get("/");
        assert_eq!(client.answer(), (200, "hello".into()));
    }
}

#[test]
fn while_all_threads_are_blocked_connections_are_accepted_and_time_out() {
    let (server, gate) = gated(2, |settings| {
        settings.head_timeout = Duration::from_millis(300);
        settings.keep_alive_timeout = Duration::from_millis(300);
    });
    let mut idle = server.connect();
    idle.get("/");
    assert_eq!(idle.answer().0, 200);
    let mut blocked = block(&server, &gate, 2);

    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\nHo");
    let mut silent = server.connect();
    let mut wrong = server.connect();
    wrong.send("nonsense\r\n\r\n");
    assert!(wrong.read_to_end().starts_with("HTTP/1.1 400 "));
    assert!(slow.read_to_end().starts_with("HTTP/1.1 408 "));
    assert_eq!(silent.read_to_end(), "");
    assert_eq!(idle.read_to_end(), "");

    let mut waiting = server.connect();
    waiting.get("/");
    gate.open();
    assert_eq!(waiting.answer(), (200, "hello".into()));
    for client in &mut blocked {
        assert_eq!(client.answer(), (200, "hello".into()));
    }
}

/// Tells a channel when it is woken.
struct Tell(Sender<&'static str>, &'static str);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(self.1);
    }
}

#[test]
fn while_all_threads_are_blocked_timers_fire_and_clients_are_seen_to_leave() {
    let gate = Gate::new();
    let inner = Arc::clone(&gate.inner);
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let app = sync_fn(move |request: http::Request<varvel::ReadBody>, scope: varvel::Scope| {
        let tell = tell.lock().unwrap().clone();
        let mut timer = pin!(scope.worker().sleep(Duration::from_millis(200)));
        match request.uri().path() {
            "/timer" => {
                let waker = Waker::from(Arc::new(Tell(tell, "the timer has fired")));
                assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                inner.pass();
            }
            _ => {
                let waker = Waker::from(Arc::new(Tell(tell, "the client has left")));
                assert!(scope.poll_disconnected(&mut Context::from_waker(&waker)).is_pending());
                inner.pass();
                assert!(scope.is_disconnected());
            }
        }
        hello()
    });
    let server = start(threads(2), Shared(Arc::new(app)));
    let mut leaving = server.connect();
    leaving.get("/leave");
    gate.wait_for(1);
    let mut timer = server.connect();
    timer.get("/timer");
    gate.wait_for(1);
    assert_eq!(told.recv_timeout(PATIENCE), Ok("the timer has fired"));
    drop(leaving);
    assert_eq!(told.recv_timeout(PATIENCE), Ok("the client has left"));
    gate.open();
    assert_eq!(timer.answer().0, 200);
}

#[test]
fn more_replies_can_be_outstanding_than_there_are_threads() {
    let replies: Arc<Mutex<Vec<Reply>>> = Arc::default();
    let kept = Arc::clone(&replies);
    let app = sync_fn(move |_, mut scope: varvel::Scope| {
        let (placeholder, reply) = scope.take_deferral().expect("this server can wait").defer();
        kept.lock().unwrap().push(reply);
        Ok(placeholder)
    });
    let server = start(threads(2), Shared(Arc::new(app)));
    let mut clients = (0..20).map(|_| server.connect()).collect::<Vec<_>>();
    clients.iter_mut().for_each(|client| client.get("/"));
    let begun = Instant::now();
    while replies.lock().unwrap().len() < 20 {
        assert!(begun.elapsed() < PATIENCE, "all calls were made");
        thread::yield_now();
    }
    for reply in replies.lock().unwrap().drain(..) {
        reply.send(Response::new(WriteBody::from_static(b"later"))).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer(), (200, "later".into()));
        // The connection goes on.
        client.get("/again");
    }
    while replies.lock().unwrap().len() < 20 {
        assert!(begun.elapsed() < PATIENCE, "all calls were made");
        thread::yield_now();
    }
}

#[test]
fn clients_that_do_not_read_hold_no_thread() {
    const LEN: usize = 8 * 1024 * 1024;
    let content = Bytes::from((0..LEN as u32 / 4).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let path = std::env::temp_dir().join(format!("varvel-threaded-{}", std::process::id()));
    std::fs::write(&path, &content).unwrap();
    let file = Arc::new(std::fs::File::open(&path).unwrap());
    std::fs::remove_file(path).unwrap();
    let served = content.clone();
    let app = sync_fn(move |request: http::Request<varvel::ReadBody>, _| match request.uri().path() {
        "/memory" => Ok(Response::new(WriteBody::full(served.clone()))),
        "/file" => {
            let region = FileRegion { file: Arc::clone(&file), offset: 0, len: LEN as u64 };
            Ok(Response::new(WriteBody::file(region)))
        }
        _ => hello(),
    });
    let server = start(threads(2), Shared(Arc::new(app)));
    let mut slow = (0..8).map(|_| server.connect()).collect::<Vec<_>>();
    for (index, client) in slow.iter_mut().enumerate() {
        client.get(if index % 2 == 0 { "/memory" } else { "/file" });
    }
    for _ in 0..20 {
        assert!(server.get("/").ends_with("hello"));
    }
    for client in &mut slow {
        let (status, body) = client.answer_bytes();
        assert_eq!(status, 200);
        assert!(body == content, "the whole body arrives");
    }
}

#[test]
fn a_reset_in_the_middle_of_a_body_is_told_as_such_whoever_hears_of_it_first() {
    let (tell, told) = mpsc::channel();
    let app = sync_fn(move |mut request: http::Request<varvel::ReadBody>, _| {
        tell.send(None).unwrap();
        while let Some(frame) = request.body_mut().next_frame().transpose() {
            if let Err(error) = frame {
                tell.send(Some(error.kind())).unwrap();
                return Err(error.into());
            }
        }
        hello()
    });
    let server = start(threads(2), Shared(Arc::new(app)));
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None);
        rustix::net::sockopt::set_socket_linger(&client.0, Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(varvel::BodyErrorKind::Disconnected));
    }
}

#[test]
fn more_bodies_come_in_pieces_than_there_are_processors() {
    const LEN: usize = 200_000;
    let app = sync_fn(|mut request: http::Request<varvel::ReadBody>, _| {
        let mut len = 0;
        while let Some(frame) = request.body_mut().next_frame()? {
            if let varvel::Frame::Data(data) = frame {
                len += data.len();
            }
        }
        Ok(Response::new(WriteBody::full(len.to_string())))
    });
    let server = start(threads(64), Shared(Arc::new(app)));
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut client = server.connect();
                let request =
                    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n{}", "x".repeat(LEN));
                for _ in 0..20 {
                    client.send(&request);
                    assert_eq!(client.answer(), (200, LEN.to_string()));
                }
            });
        }
    });
}

#[test]
fn a_drain_under_load_loses_no_answer() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let app = sync_fn(move |_, _| {
        counted.fetch_add(1, SeqCst);
        hello()
    });
    let server = start(threads(4), Shared(Arc::new(app)));
    let address = server.address;
    let clients = (0..8).map(|_| {
        thread::spawn(move || {
            let mut answers = 0;
            'connections: loop {
                let Ok(stream) = std::net::TcpStream::connect(address) else { return answers };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut client = Client(stream);
                loop {
                    if client.try_get("/").is_err() {
                        continue 'connections;
                    }
                    match client.try_answer() {
                        // The server may close between two requests, never inside an answer.
                        Ok(None) | Err(_) => continue 'connections,
                        Ok(Some((status, body))) => assert_eq!((status, body.as_str()), (200, "hello")),
                    }
                    answers += 1;
                }
            }
        })
    });
    let clients = clients.collect::<Vec<_>>();
    let begun = Instant::now();
    while calls.load(SeqCst) < 1000 {
        assert!(begun.elapsed() < PATIENCE, "the server serves");
        thread::yield_now();
    }
    assert_eq!(server.stop(PATIENCE).cut, 0);
    let answers = clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>();
    assert_eq!(answers, calls.load(SeqCst), "who was called for has got an answer");
}

/// Tells when it is torn down.
struct Told {
    gate: Arc<GateInner>,
    outcome: Sender<Outcome>,
    teardown: Sender<()>,
}

impl AppFactory for Told {
    type App = Box<dyn App + Send + Sync>;

    fn build(&self, _worker: &Worker) -> Result<Self::App, StartError> {
        let (gate, outcome) = (Arc::clone(&self.gate), Mutex::new(self.outcome.clone()));
        Ok(Box::new(sync_fn(move |_, scope: varvel::Scope| {
            let outcome = outcome.lock().unwrap().clone();
            scope.on_finish(move |finish| outcome.send(finish.outcome).unwrap());
            gate.pass();
            hello()
        })))
    }

    fn teardown(&self, app: Self::App, _worker: &Worker) -> Result<(), BoxError> {
        drop(app);
        self.teardown.send(()).unwrap();
        Ok(())
    }
}

#[test]
fn a_call_that_does_not_end_does_not_keep_the_server_and_is_torn_down_behind() {
    let gate = Gate::new();
    let (outcome, outcomes) = mpsc::channel();
    let (teardown, teardowns) = mpsc::channel();
    let factory = Told { gate: Arc::clone(&gate.inner), outcome, teardown };
    let server = start(threads(2), factory);
    let mut client = server.connect();
    client.get("/");
    gate.wait_for(1);
    assert_eq!(server.stop(Duration::from_millis(50)).cut, 1);
    assert_eq!(outcomes.try_recv(), Ok(Outcome::Stopped));
    assert!(teardowns.try_recv().is_err(), "a call still has the application");
    assert_eq!(client.read_to_end(), "");
    gate.open();
    assert_eq!(teardowns.recv_timeout(PATIENCE), Ok(()));
    assert!(outcomes.try_recv().is_err(), "the hook has run once");
}

#[test]
fn connections_beyond_the_limit_wait_for_room() {
    let (server, _gate) = gated(2, |settings| settings.max_connections = Some(2));
    let mut first = server.connect();
    first.get("/");
    assert_eq!(first.answer().0, 200);
    let mut second = server.connect();
    second.get("/");
    assert_eq!(second.answer().0, 200);
    let mut third = server.connect();
    third.get("/");
    third.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(third.try_answer().is_err(), "it waits");
    third.0.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(first);
    assert_eq!(third.answer().0, 200);
}

#[test]
fn calls_of_an_exclusive_application_do_not_overlap() {
    let most = Arc::new(AtomicU32::new(0));
    let running = Arc::new(AtomicU32::new(0));
    let counted = (Arc::clone(&most), Arc::clone(&running));
    let factory = sync_factory_fn(move |worker| {
        assert_eq!(worker.info().concurrency, Some(1));
        let (most, running) = (Arc::clone(&counted.0), Arc::clone(&counted.1));
        Ok(sync_fn(move |_, _| {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::yield_now();
            running.fetch_sub(1, SeqCst);
            hello()
        }))
    });
    let server = start(threads(8), factory.with_policy(Policy::default().exclusive()));
    let mut clients = (0..8).map(|_| server.connect()).collect::<Vec<_>>();
    for _ in 0..50 {
        clients.iter_mut().for_each(|client| client.get("/"));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().0, 200));
    }
    assert_eq!(most.load(SeqCst), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_do_not_shut_others_out() {
    let (server, _gate) = gated(1, |_| {});
    let mut greedy = server.connect();
    greedy.send(&"GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500));
    assert!(server.get("/").ends_with("hello"));
    for _ in 0..500 {
        assert_eq!(greedy.answer(), (200, "hello".into()));
    }
}

#[test]
fn an_answer_that_waits_for_company_does_not_wait_for_a_call_that_blocks() {
    let (server, gate) = gated(1, |_| {});
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.wait_for(1);
    assert_eq!(client.answer(), (200, "hello".into()));
    gate.open();
    assert_eq!(client.answer(), (200, "hello".into()));
}

#[test]
fn an_application_may_sleep_while_it_is_built_and_torn_down() {
    struct Sleepy(Sender<&'static str>);

    impl AsyncAppFactory for Sleepy {
        type App = Arc<DynAsyncApp>;

        async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
            worker.sleep(Duration::from_millis(20)).await;
            self.0.send("built").unwrap();
            Ok(Arc::new(Boxed(app_fn(|_, _| async { Ok(Response::new(AsyncBody::from_static(b"hello"))) }))))
        }

        async fn teardown(&self, _app: Self::App, worker: &Worker) -> Result<(), BoxError> {
            worker.sleep(Duration::from_millis(20)).await;
            self.0.send("torn down").unwrap();
            Ok(())
        }
    }

    let (tell, told) = mpsc::channel();
    let server = start(threads(1), BlockOn::new(Sleepy(tell)));
    assert_eq!(told.try_recv(), Ok("built"));
    assert!(server.get("/").ends_with("hello"));
    server.stop(PATIENCE);
    assert_eq!(told.try_recv(), Ok("torn down"));
}

#[test]
fn what_a_failed_build_has_spawned_ends_with_it() {
    struct Dropped(Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let factory = sync_factory_fn(move |worker| {
        let dropped = Dropped(tell.lock().unwrap().clone());
        let task = async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        };
        worker.spawn(Box::pin(task)).map_err(|_| "a task is taken").unwrap();
        Err::<Arc<DynApp>, _>(StartError::new("on purpose"))
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let launch = Launch::new(vec![listener.into()]);
    assert!(Threaded::new(threads(1)).serve(factory, launch).is_err());
    assert_eq!(told.try_recv(), Ok(()));
}

#[test]
fn a_tunnel_that_waits_for_nothing_of_its_client_does_not_keep_the_server() {
    let (begun, begins) = mpsc::channel();
    let begun = Mutex::new(begun);
    let app = sync_fn(move |_, mut scope: varvel::Scope| {
        let upgrade = scope.take_upgrade().expect("an upgrade was asked for");
        let begun = begun.lock().unwrap().clone();
        let head = Response::builder().header("upgrade", "nothing").body(()).unwrap();
        Ok(upgrade.accept_blocking(head, move |io| {
            let (mut transport, _) = io.into_transport();
            begun.send(()).unwrap();
            while transport.wait(false, false, None).is_ok() {}
        }))
    });
    let server = start(threads(1), Shared(Arc::new(app)));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: nothing\r\n\r\n");
    begins.recv_timeout(PATIENCE).unwrap();
    assert_eq!(server.stop(Duration::ZERO).cut, 1);
    assert!(client.read_to_end().starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_request_that_found_no_thread_before_the_end_leaves_nothing_behind() {
    let (server, gate) = gated(1, |_| {});
    let _blocked = block(&server, &gate, 1);
    let mut waiting = server.connect();
    waiting.get("/");
    // Who leads comes to this one later, and needs no thread for it.
    let mut wrong = server.connect();
    wrong.send("nonsense\r\n\r\n");
    assert!(wrong.read_to_end().starts_with("HTTP/1.1 400 "));
    let reports = Arc::clone(&server.reports);
    let opener = thread::spawn(move || {
        // Between the end of all patience with calls and the end of waiting for their threads.
        thread::sleep(Duration::from_millis(1100));
        gate.open();
    });
    server.stop(Duration::ZERO);
    assert_eq!(waiting.read_to_end(), "");
    opener.join().unwrap();
    let begun = Instant::now();
    while Arc::strong_count(&reports) > 1 {
        assert!(begun.elapsed() < PATIENCE, "somebody still has the server");
        thread::yield_now();
    }
}

#[test]
fn who_is_ahead_takes_the_connections_that_nobody_else_takes() {
    let monitor = Arc::new(Ahead::default());
    let app = Shared(Arc::new(sync_fn(|_, _| hello())));
    let server = start_followed(threads(2), app, Some(Arc::clone(&monitor) as _));
    let connect = |_| {
        let mut client = server.connect();
        client.get("/");
        client
    };
    let mut clients: Vec<Client> = (0..32).map(connect).collect();
    assert!(clients.iter_mut().all(|client| client.answer().0 == 200));
    assert!(monitor.asked.load(SeqCst) >= clients.len(), "each was left to others first");
    // At the end nobody is, for what is left in the queue would be reset.
    let mut last: Vec<Client> = (0..256).map(connect).collect();
    assert_eq!(server.stop(PATIENCE).cut, 0);
    assert!(last.iter_mut().all(|client| client.answer().0 == 200));
}

#[test]
fn an_answer_of_tiny_chunks_that_was_cut_off_is_said_to_have_had_no_bytes() {
    let (finished, finishes) = mpsc::channel();
    let finished = Mutex::new(finished);
    let app = sync_fn(move |_, scope: varvel::Scope| {
        let finished = finished.lock().unwrap().clone();
        scope.on_finish(move |finish| finished.send(*finish).unwrap());
        Ok(Response::new(WriteBody::from_writer(|sink| {
            loop {
                sink.data(Bytes::from_static(b"ab"))?;
            }
        })))
    });
    let mut settings = threads(2);
    settings.write_timeout = Duration::from_millis(200);
    settings.write_high_water = 256 * 1024;
    let server = start(settings, Shared(Arc::new(app)));
    let mut client = TcpStream::connect(server.address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    // It reads nothing, but keeps what the system has taken for it.
    let finish = finishes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(finish.outcome, Outcome::TimedOut);
    let mut arrived = Vec::new();
    let _ = client.read_to_end(&mut arrived);
    let chunks = arrived.windows(7).filter(|chunk| *chunk == b"2\r\nab\r\n").count() as u64;
    assert!(chunks > 0 && finish.bytes >= 2 * chunks, "{chunks} chunks have arrived, {} bytes", finish.bytes);
}

//! What is particular to event loops: applications that stay on their thread, several loops, and the death of one.

mod support;

use std::{
    cell::Cell,
    io::Write,
    net::TcpStream,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use http::Response;
use support::{Ahead, DEADLY, Running, get, read_line, start, start_followed};
use varvel::{AsyncBody, Policy, Scope, StartError, app_fn, factory_fn};
use varvel_server_kit::settings::Settings;

const GRACE: Duration = Duration::from_secs(10);

#[test]
fn an_application_may_stay_on_its_thread() {
    let server = start(
        |_| {},
        factory_fn(|_| async {
            let calls = Rc::new(Cell::new(0));
            Ok(app_fn(move |_, scope: Scope| {
                let calls = Rc::clone(&calls);
                async move {
                    scope.worker().sleep(Duration::from_millis(1)).await;
                    calls.set(calls.get() + 1);
                    Ok(Response::new(AsyncBody::full(format!("{}\n", calls.get()))))
                }
            }))
        }),
    );
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "1");
    assert_eq!(get(&mut client, "/").unwrap(), "2");
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

#[test]
fn a_request_that_waits_for_its_turn_has_arrived_before_it() {
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(Some(released)));
    // Before the first call, which waits, was let go.
    let before = Arc::new(OnceLock::new());
    let factory = factory_fn(move |_| {
        let (released, before) = (Arc::clone(&released), Arc::clone(&before));
        async move {
            Ok(app_fn(move |_, scope: Scope| {
                let (released, before) = (released.lock().unwrap().take(), Arc::clone(&before));
                async move {
                    if let Some(released) = released {
                        while let Err(mpsc::TryRecvError::Empty) =
                            released.try_recv().map(|instant: Instant| before.set(instant))
                        {
                            scope.worker().sleep(Duration::from_millis(1)).await;
                        }
                    }
                    let early = before.get().is_some_and(|before| scope.received_at() < *before);
                    Ok(Response::new(AsyncBody::full(format!("{early}\n"))))
                }
            }))
        }
    });
    let server = start(|_| {}, factory.with_policy(Policy::default().exclusive()));
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        write!(client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    // Once a later one is refused, both have arrived.
    let mut late = server.connect();
    write!(late, "GET / HTTP/1.1\r\n\r\n").unwrap();
    read_line(&mut late).unwrap();
    release.send(Instant::now()).unwrap();
    assert_eq!(clients.each_mut().map(|client| read_line(client).unwrap()), ["true", "true"]);
}

/// A server whose answers name the loop that gives them. A call of `/busy` takes its loop until the sender is dropped.
fn numbered(loops: u32) -> (Running, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let factory = factory_fn(move |worker| {
        let (index, released) = (worker.info().index, Arc::clone(&released));
        async move {
            Ok(app_fn(move |request: http::Request<AsyncBody>, _| {
                let released = Arc::clone(&released);
                async move {
                    if request.uri().path() == "/busy" {
                        let _ = released.lock().unwrap().recv();
                    }
                    Ok(Response::new(AsyncBody::full(format!("{index}\n"))))
                }
            }))
        }
    });
    (start(|settings| settings.loops = Some(loops), factory), release)
}

/// Every loop must have the share of these connections that is its own, give or take a tenth.
fn expect_balance(indices: &[String], loops: u32) {
    let share = indices.len() as f64 / f64::from(loops);
    for index in 0..loops {
        let count = indices.iter().filter(|of| **of == index.to_string()).count();
        let off = (count as f64 - share).abs() / share;
        assert!(off <= 0.1, "{count} of {} connections are on loop {index} of {loops}", indices.len());
    }
}

#[test]
fn connections_are_shared_out_evenly() {
    for (loops, count) in [(2, 64), (4, 64), (2, 256), (4, 256)] {
        let (server, _release) = numbered(loops);
        let mut clients: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
        let indices: Vec<_> = clients.iter_mut().map(|client| get(client, "/").unwrap()).collect();
        expect_balance(&indices, loops);
        drop(clients);
        assert_eq!(server.stop(GRACE).unwrap().cut, 0);
    }
}

#[test]
fn connections_that_come_while_older_ones_live_are_shared_out_evenly() {
    for (loops, count) in [(2, 64), (4, 64), (2, 256), (4, 256)] {
        let (server, _release) = numbered(loops);
        let mut clients = Vec::new();
        let mut indices = Vec::new();
        for _ in 0..count {
            let mut client = server.connect();
            indices.push(get(&mut client, "/").unwrap());
            clients.push(client);
        }
        expect_balance(&indices, loops);
        drop(clients);
        assert_eq!(server.stop(GRACE).unwrap().cut, 0);
    }
}

#[test]
fn connections_that_come_while_a_loop_is_busy_are_shared_out_evenly() {
    for (loops, count) in [(2, 64), (4, 64), (2, 256), (4, 256)] {
        let (server, release) = numbered(loops);
        let mut clients: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
        write!(clients[0], "GET /busy HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        for client in &mut clients[1..] {
            write!(client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        }
        // Those of the other loops are answered meanwhile.
        let others = count - (count as f64 / f64::from(loops) * 1.1) as usize;
        for client in &clients {
            client.set_nonblocking(true).unwrap();
        }
        while clients.iter().filter(|client| client.peek(&mut [0]).is_ok()).count() < others {
            thread::yield_now();
        }
        drop(release);
        let indices: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                client.set_nonblocking(false).unwrap();
                read_line(client).unwrap()
            })
            .collect();
        expect_balance(&indices, loops);
        drop(clients);
        assert_eq!(server.stop(GRACE).unwrap().cut, 0);
    }
}

#[test]
fn a_loop_that_dies_is_replaced() {
    let builds = Arc::new(AtomicUsize::new(0));
    let factory = factory_fn(move |_| {
        let build = builds.fetch_add(1, SeqCst) + 1;
        async move {
            Ok(app_fn(move |request: http::Request<AsyncBody>, _| async move {
                if request.uri().path() == "/die" {
                    panic!("{DEADLY}");
                }
                Ok(Response::new(AsyncBody::full(format!("{build}\n"))))
            }))
        }
    });
    let server = start(|_| {}, factory);
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "1");
    get(&mut client, "/die").unwrap_err();
    server.expect_report("the reporter panics");
    assert_eq!(get(&mut server.connect(), "/").unwrap(), "2");
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

#[test]
fn no_connection_is_given_to_a_loop_that_could_not_be_replaced() {
    let builds = Arc::new(AtomicUsize::new(0));
    let factory = factory_fn(move |worker| {
        let index = worker.info().index;
        let build = builds.fetch_add(1, SeqCst) + 1;
        async move {
            if build > 2 {
                return Err(StartError::new("no third time"));
            }
            Ok(app_fn(move |request: http::Request<AsyncBody>, _| async move {
                if request.uri().path() == "/die" {
                    panic!("{DEADLY}");
                }
                Ok(Response::new(AsyncBody::full(format!("{index}\n"))))
            }))
        }
    });
    let server = start(|settings| settings.loops = Some(2), factory);
    let mut client = server.connect();
    let index = get(&mut client, "/").unwrap();
    get(&mut client, "/die").unwrap_err();
    server.expect_report("is gone");
    let mut clients: Vec<TcpStream> = (0..12).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_ne!(get(client, "/").unwrap(), index);
    }
    drop(clients);
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

#[test]
fn a_task_that_was_spawned_when_the_loop_died_never_runs() {
    let (sender, run) = mpsc::channel();
    let factory = factory_fn(move |_| {
        let sender = sender.clone();
        async move {
            Ok(app_fn(move |_, scope: Scope| {
                let sender = sender.clone();
                async move {
                    let deadly = Box::pin(async { panic!("{DEADLY}") });
                    let task = Box::pin(async move { sender.send(()).unwrap() });
                    assert!(scope.worker().spawn(deadly).is_ok() && scope.worker().spawn(task).is_ok());
                    Ok(Response::new(AsyncBody::from("fine\n")))
                }
            }))
        }
    });
    let server = start(|_| {}, factory);
    assert_eq!(get(&mut server.connect(), "/").unwrap(), "fine");
    server.expect_report("the reporter panics");
    run.recv_timeout(GRACE).unwrap();
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

#[test]
fn a_full_server_whose_loop_is_gone_accepts_nobody_until_another_client_comes() {
    let builds = Arc::new(AtomicUsize::new(0));
    let factory = factory_fn(move |_| {
        let build = builds.fetch_add(1, SeqCst) + 1;
        async move {
            if build > 2 {
                return Err(StartError::new("no third time"));
            }
            Ok(app_fn(move |request: http::Request<AsyncBody>, _| async move {
                if request.uri().path() == "/die" {
                    panic!("{DEADLY}");
                }
                Ok(Response::new(AsyncBody::from("fine\n")))
            }))
        }
    });
    let tune = |settings: &mut Settings| (settings.loops, settings.max_connections) = (Some(2), Some(1));
    let server = start(tune, factory);
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "fine");
    let mut waiting = server.connect();
    // The loops have heard of it, and cannot take it.
    assert_eq!(get(&mut client, "/").unwrap(), "fine");
    get(&mut client, "/die").unwrap_err();
    assert_eq!(get(&mut waiting, "/").unwrap(), "fine");
    drop((client, waiting));
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

#[test]
fn who_is_ahead_takes_the_connections_that_nobody_else_takes() {
    let monitor = Arc::new(Ahead::default());
    let factory =
        factory_fn(|_| async { Ok(app_fn(|_, _| async { Ok(Response::new(AsyncBody::full("hello\n"))) })) });
    let server = start_followed(|settings| settings.loops = Some(2), factory, Arc::clone(&monitor) as _);
    let mut clients: Vec<TcpStream> = (0..32).map(|_| server.connect()).collect();
    assert!(clients.iter_mut().all(|client| get(client, "/").unwrap() == "hello"));
    assert!(monitor.asked.load(SeqCst) >= clients.len(), "each was left to others first");
    // At the end nobody is, for what is left in the queue would be reset.
    let mut last: Vec<TcpStream> = (0..256).map(|_| server.connect()).collect();
    last.iter_mut().for_each(|client| write!(client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap());
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
    assert!(last.iter_mut().all(|client| read_line(client).unwrap() == "hello"));
}

//! What is particular to event loops: applications that stay on their thread, several loops, and the death of one.

mod support;

use std::{
    cell::Cell,
    future::Future,
    net::TcpStream,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use http::Response;
use support::{get, start};
use varvel::{AsyncBody, Scope, StartError, app_fn, factory_fn};

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
fn connections_are_shared_out_evenly() {
    let server = start(
        |settings| settings.loops = Some(2),
        factory_fn(|worker| async move {
            let index = worker.info().index;
            Ok(app_fn(move |_, _| async move { Ok(Response::new(AsyncBody::full(format!("{index}\n")))) }))
        }),
    );
    let mut clients: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    let indices = clients.iter_mut().map(|client| get(client, "/").unwrap());
    let on_first = indices.filter(|index| index == "0").count();
    assert!((30..=34).contains(&on_first), "{on_first} of 64 connections are on the first loop");
    drop(clients);
    assert_eq!(server.stop(GRACE).unwrap().cut, 0);
}

/// The one thing of an application's that a loop runs uncontained.
struct Deadly;

impl Wake for Deadly {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Has the loop wake something deadly, and never answers.
async fn die(scope: Scope) -> varvel::AsyncAppResult {
    let mut timer = scope.worker().sleep(Duration::from_millis(1));
    let waker = Waker::from(Arc::new(Deadly));
    let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(&waker));
    std::mem::forget(timer);
    std::future::pending().await
}

#[test]
fn a_loop_that_dies_is_replaced() {
    let builds = Arc::new(AtomicUsize::new(0));
    let factory = factory_fn(move |_| {
        let build = builds.fetch_add(1, SeqCst) + 1;
        async move {
            Ok(app_fn(move |request: http::Request<AsyncBody>, scope: Scope| async move {
                if request.uri().path() == "/die" {
                    return die(scope).await;
                }
                Ok(Response::new(AsyncBody::full(format!("{build}\n"))))
            }))
        }
    });
    let server = start(|_| {}, factory);
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "1");
    get(&mut client, "/die").unwrap_err();
    server.expect_report("a waker that panics");
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
            Ok(app_fn(move |request: http::Request<AsyncBody>, scope: Scope| async move {
                if request.uri().path() == "/die" {
                    return die(scope).await;
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

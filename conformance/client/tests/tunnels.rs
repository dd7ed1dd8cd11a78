//! Connections that are taken over.

use std::{
    io::{ErrorKind, Read, Write},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use varvel::{
    AsyncAppResult, AsyncBody, AsyncIo, Caps, Outcome, Phase, ReadBody, Scope, WriteBody, app_fn, sync_fn,
};
use varvel_test::{Client, Recorded, Setup, Stage};

/// Sends everything back, in capitals, until the client has nothing more to say.
async fn shout(mut io: AsyncIo) {
    let mut buffer = [0; 64];
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        if io.write_all(&buffer[..read].to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
    let _ = io.write_all(b" bye").await;
}

async fn shouting(_: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
    match scope.take_upgrade() {
        Some(upgrade) => Ok(upgrade.accept(Response::builder().header("x-mood", "loud").body(())?, shout)),
        None => Ok(Response::builder().status(StatusCode::UPGRADE_REQUIRED).body(AsyncBody::empty())?),
    }
}

fn sync_shouting() -> Client {
    Client::sync(sync_fn(|_: Request<ReadBody>, mut scope: Scope| {
        let Some(upgrade) = scope.take_upgrade() else {
            return Ok(Response::builder().status(StatusCode::UPGRADE_REQUIRED).body(WriteBody::empty())?);
        };
        Ok(upgrade.accept_blocking(Response::builder().header("x-mood", "loud").body(())?, |mut io| {
            let mut buffer = [0; 64];
            while let Ok(read @ 1..) = io.read(&mut buffer) {
                if io.write_all(&buffer[..read].to_ascii_uppercase()).is_err() {
                    return;
                }
            }
            let _ = io.write_all(b" bye");
        }))
    }))
}

#[test]
fn both_ends_of_an_upgrade_are_the_tests() {
    for client in [Client::new(app_fn(shouting)), sync_shouting()] {
        let mut tunnel = client.get("/").upgrade("shout, whisper");
        let head = tunnel.head().clone();
        assert_eq!(
            (head.status.as_u16(), &head.headers["upgrade"], &head.headers["x-mood"]),
            (101, &"shout".parse().unwrap(), &"loud".parse().unwrap())
        );
        assert_eq!(head.headers["connection"], "upgrade");
        assert!(tunnel.poll_read(&mut [0; 8]).is_pending());
        tunnel.send("hello");
        assert_eq!(tunnel.receive(5), b"HELLO");
        assert_eq!(tunnel.stage(), Stage::Tunnel);
        tunnel.end_sending();
        assert_eq!(tunnel.receive_to_end(), b" bye");
        let finish = tunnel.finish().unwrap();
        assert_eq!((finish.outcome, finish.bytes), (Outcome::Completed, 9));
        assert_eq!(tunnel.stage(), Stage::Over);
    }
}

#[test]
fn a_tunnel_is_read_and_written_as_a_socket_that_does_not_block() {
    let client = Client::new(app_fn(shouting));
    let mut tunnel = client.get("/").upgrade("shout");
    assert_eq!(tunnel.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    tunnel.write_all(b"x").unwrap();
    assert!(matches!(tunnel.poll_read(&mut [0; 8]), Poll::Ready(Ok(1))));
    tunnel.disconnect();
    assert_eq!(tunnel.finish().unwrap().outcome, Outcome::Disconnected);
    assert_eq!(tunnel.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn connect_is_a_tunnel_and_what_is_none_is_an_answer() {
    let client = Client::new(app_fn(shouting));
    let mut tunnel = client.connect("example.com:443").tunnel();
    assert_eq!((tunnel.head().status.as_u16(), tunnel.head().headers.contains_key("upgrade")), (200, false));
    tunnel.send("x");
    assert_eq!(tunnel.receive(1), b"X");

    assert_eq!(client.get("/").send().status(), StatusCode::UPGRADE_REQUIRED);
    let with_body = client.post("/").body("hello").try_upgrade("shout");
    assert_eq!(with_body.unwrap_err().status(), StatusCode::UPGRADE_REQUIRED);
    for masked in [Caps::UPGRADE, Caps::CONNECT] {
        let client = Setup::new().without(masked).app(app_fn(shouting));
        assert_eq!(client.get("/").try_upgrade("shout").is_ok(), masked == Caps::CONNECT);
        assert_eq!(client.connect("a:1").start().into_tunnel().is_ok(), masked == Caps::UPGRADE);
    }
}

#[test]
fn a_continuation_that_panics_is_told_and_closes_the_connection() {
    let client = Client::new(app_fn(|_, mut scope: Scope| async move {
        let upgrade = scope.take_upgrade().unwrap();
        Ok(upgrade.accept(Response::new(()), |_io| async { panic!("in the tunnel") }))
    }));
    let mut tunnel = client.get("/").upgrade("x");
    assert!(tunnel.receive_to_end().is_empty());
    assert_eq!(tunnel.finish().unwrap().outcome, Outcome::Failed);
    assert!(matches!(client.reports()[0].event, Recorded::Panicked { during: Phase::Tunnel, .. }));
}

#[test]
fn a_blocking_read_times_out_on_the_clock_of_the_test() {
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let client = Client::sync(sync_fn(move |_, mut scope| {
        let told = Arc::clone(&told);
        let upgrade = scope.take_upgrade().unwrap();
        Ok(upgrade.accept_blocking(Response::new(()), move |mut io| {
            io.set_read_timeout(Some(Duration::from_secs(60)));
            *told.lock().unwrap() = Some(io.read(&mut [0; 8]).unwrap_err().kind());
        }))
    }));
    let tunnel = client.get("/").upgrade("x");
    client.advance(Duration::from_secs(59));
    assert_eq!((*seen.lock().unwrap(), tunnel.stage()), (None, Stage::Tunnel));
    client.advance(Duration::from_secs(1));
    assert_eq!((*seen.lock().unwrap(), tunnel.stage()), (Some(ErrorKind::TimedOut), Stage::Over));
}

#[test]
fn a_write_waits_for_a_client_that_does_not_read() {
    let mut limits = varvel::Limits::default();
    limits.write_high_water = 4;
    let client = Setup::new().limits(limits).app(app_fn(|_, mut scope: Scope| async move {
        let upgrade = scope.take_upgrade().unwrap();
        Ok(upgrade.accept(Response::new(()), |mut io| async move {
            let _ = io.write_all(b"0123456789").await;
        }))
    }));
    let mut tunnel = client.get("/").upgrade("x");
    assert_eq!(tunnel.stage(), Stage::Tunnel);
    assert_eq!(tunnel.receive_to_end(), b"0123456789");
    assert_eq!(tunnel.stage(), Stage::Over);
}

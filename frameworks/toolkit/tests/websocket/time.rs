//! Silence, clients that do not answer or do not read, and the stop of the server.

use std::{sync::mpsc, task::Poll, time::Duration};

use varvel_test::{Client, Stage};
use varvel_toolkit::{
    Blocking,
    websocket::{Error, Handshake, Message, WebSocket},
};

use crate::{
    BINARY, CLOSE, FIN, PING, PONG, TEXT, echo, echo_blocking, frame, in_process, masked, open, status,
};

const INTERVAL: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(5);

fn pinging() -> Handshake {
    Handshake::new().ping(INTERVAL, PATIENCE)
}

/// Has the application wait: what it was sent before was answered, and then it set its timers.
fn settle(tunnel: &mut varvel_test::Tunnel) {
    tunnel.send(masked(FIN | PING, "there?"));
    let pong = frame(FIN | PONG, "there?");
    assert_eq!(tunnel.receive(pong.len()), pong);
}

/// Moves the clock, once the application waits for it.
fn pass(client: &Client, duration: Duration) {
    while client.next_timer().is_none() {
        std::thread::yield_now();
    }
    client.advance(duration);
}

#[test]
fn a_silent_client_is_pinged_and_given_up_if_it_stays_silent() {
    in_process(&pinging(), echo, echo_blocking, |client| {
        let mut tunnel = open(client);
        pass(client, INTERVAL);
        assert_eq!(tunnel.receive(2), frame(FIN | PING, ""));
        pass(client, PATIENCE);
        assert_eq!(tunnel.receive_to_end(), b"");
    });
}

#[test]
fn whoever_gives_a_sign_of_life_is_not_given_up() {
    in_process(&pinging(), echo, echo_blocking, |client| {
        let mut tunnel = open(client);
        for sign in [masked(FIN | PONG, ""), masked(TEXT, "an unfinished message")] {
            pass(client, INTERVAL);
            assert_eq!(tunnel.receive(2), frame(FIN | PING, ""));
            tunnel.send(sign);
            settle(&mut tunnel);
            pass(client, PATIENCE);
        }
        settle(&mut tunnel);
        // And who speaks is not pinged.
        pass(client, INTERVAL);
        settle(&mut tunnel);
    });
}

#[test]
fn a_client_that_does_not_answer_a_close_is_left() {
    let (tell, hear) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    in_process(
        &Handshake::new().close_timeout(PATIENCE),
        async move |mut socket: WebSocket| {
            tell.send(socket.close(1000, "").await.unwrap_err().to_string()).unwrap();
        },
        move |mut socket: WebSocket<Blocking>| {
            tell_too.send(socket.close(1000, "").unwrap_err().to_string()).unwrap();
        },
        |client| {
            let mut tunnel = open(client);
            let close = frame(FIN | CLOSE, status(1000, ""));
            assert_eq!(tunnel.receive(close.len()), close);
            pass(client, PATIENCE);
            assert_eq!(tunnel.receive_to_end(), b"");
            assert_eq!(hear.recv().unwrap(), "the client is silent or does not read");
        },
    );
}

#[test]
fn the_stop_closes_what_waits_with_going_away() {
    in_process(&Handshake::new(), echo, echo_blocking, |client| {
        let mut tunnel = open(client);
        settle(&mut tunnel);
        client.stop();
        let close = frame(FIN | CLOSE, status(1001, ""));
        assert_eq!(tunnel.receive(close.len()), close);
        tunnel.send(masked(FIN | CLOSE, status(1001, "")));
        assert_eq!(tunnel.receive_to_end(), b"");
    });
}

#[test]
fn what_is_being_answered_at_the_stop_is_sent() {
    let (ready, is_ready) = mpsc::channel();
    let (ready, ready_too) = (ready.clone(), ready);
    in_process(
        &Handshake::new(),
        async move |mut socket: WebSocket| {
            let message = socket.recv().await.unwrap().unwrap();
            ready.send(()).unwrap();
            socket.worker().stopping().await;
            socket.send(message).await.unwrap();
            assert!(socket.recv().await.unwrap().is_none());
        },
        move |mut socket: WebSocket<Blocking>| {
            let message = socket.recv().unwrap().unwrap();
            ready_too.send(()).unwrap();
            socket.worker().block_on(socket.worker().stopping());
            socket.send(message).unwrap();
            assert!(socket.recv().unwrap().is_none());
        },
        |client| {
            let mut tunnel = open(client);
            tunnel.send(masked(FIN | TEXT, "late"));
            is_ready.recv().unwrap();
            client.stop();
            let expected = [frame(FIN | TEXT, "late"), frame(FIN | CLOSE, status(1001, ""))].concat();
            assert_eq!(tunnel.receive(expected.len()), expected);
            tunnel.send(masked(FIN | CLOSE, ""));
            assert_eq!(tunnel.receive_to_end(), b"");
        },
    );
}

#[test]
fn who_sends_for_ever_is_stopped_all_the_same() {
    in_process(
        &Handshake::new().close_timeout(PATIENCE).no_ping(),
        async |mut socket: WebSocket| {
            while socket.send("tick").await.is_ok() {
                let second = socket.worker().sleep(Duration::from_secs(1));
                second.await;
            }
        },
        |mut socket: WebSocket<Blocking>| while socket.send("tick").is_ok() {},
        |client| {
            let mut tunnel = open(client);
            let tick = frame(FIN | TEXT, "tick");
            assert_eq!(tunnel.receive(tick.len()), tick);
            client.stop();
            // Whoever sends first notes the stop, and then the time is up.
            let close = frame(FIN | CLOSE, status(1001, ""));
            let mut received = Vec::new();
            while !received.ends_with(&close) {
                client.advance(PATIENCE);
                let mut piece = [0; 1024];
                if let Poll::Ready(Ok(read)) = tunnel.poll_read(&mut piece) {
                    received.extend_from_slice(&piece[..read]);
                }
            }
        },
    );
}

#[test]
fn a_client_that_does_not_read_holds_up_the_sender_and_is_given_up() {
    let (tell, hear) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    let message = || Message::from(vec![7; 50_000]);
    in_process(
        &pinging(),
        async move |mut socket: WebSocket| {
            while socket.send(message()).await.is_ok() {
                tell.send(()).unwrap();
            }
        },
        move |mut socket: WebSocket<Blocking>| {
            while socket.send(message()).is_ok() {
                tell_too.send(()).unwrap();
            }
        },
        |client| {
            let mut tunnel = open(client);
            hear.recv().unwrap();
            // It waits for its timer only once there is no more room.
            pass(client, INTERVAL);
            pass(client, PATIENCE);
            let received = tunnel.receive_to_end();
            let sent = hear.try_iter().count() + 1;
            assert!(sent < 20, "{sent} messages without a reader");
            let whole = frame(FIN | BINARY, [7; 50_000]).len();
            assert!(received.len() / whole >= sent);
        },
    );
}

#[test]
fn a_client_that_pings_and_does_not_read_is_read_no_further_and_given_up() {
    let (tell, hear) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    let pings = masked(FIN | PING, [7; 125]).repeat(20_000);
    in_process(
        &pinging(),
        async move |mut socket: WebSocket| tell.send(socket.recv().await).unwrap(),
        move |mut socket: WebSocket<Blocking>| tell_too.send(socket.recv()).unwrap(),
        |client| {
            let mut tunnel = open(client);
            tunnel.send([&pings[..], &masked(FIN | TEXT, "behind all Pongs")].concat());
            while tunnel.stage() == Stage::Tunnel {
                client.advance(INTERVAL);
                std::thread::yield_now();
            }
            let end = hear.recv().unwrap();
            assert!(matches!(end, Err(Error::TimedOut)), "{end:?}");
        },
    );
}

#[test]
fn a_client_that_reads_late_gets_every_pong_and_is_heard() {
    let pings: Vec<_> = (0..20_000_u32).map(|n| masked(FIN | PING, n.to_be_bytes())).collect();
    let pongs: Vec<_> = (0..20_000_u32).map(|n| frame(FIN | PONG, n.to_be_bytes())).collect();
    in_process(&pinging(), echo, echo_blocking, |client| {
        let mut tunnel = open(client);
        tunnel.send([pings.concat(), masked(FIN | TEXT, "on"), masked(FIN | CLOSE, "")].concat());
        let expected = [pongs.concat(), frame(FIN | TEXT, "on"), frame(FIN | CLOSE, "")].concat();
        assert!(tunnel.receive_to_end() == expected);
    });
}

//! What an application sees of an open WebSocket.

use std::sync::mpsc;

use proptest::{collection::vec, prelude::any, proptest, test_runner::Config};
use varvel_lint::Lint;
use varvel_test::Client;
use varvel_toolkit::{
    Blocking,
    websocket::{Close, Error, Handshake, Message, WebSocket},
};

use crate::{
    BINARY, CLOSE, FIN, PING, PONG, TEXT, async_app, echo, echo_blocking, frame, in_process, masked, open,
    status, sync_app,
};

/// What became of it, as the application was told.
fn told(end: Result<Option<Message>, Error>, closed_with: Option<&Close>) -> String {
    let end = match end {
        Ok(None) => "closed".to_owned(),
        Ok(Some(message)) => format!("{message:?}"),
        Err(error) => error.to_string(),
    };
    let said = closed_with.map(|close| format!(" {} {:?}", close.code, close.reason));
    format!("{end}{}", said.unwrap_or_default())
}

#[test]
fn the_application_is_told_how_it_ended() {
    for (sent, expected) in [
        (masked(FIN | CLOSE, status(4000, "done")), r#"closed 4000 "done""#),
        (masked(FIN | CLOSE, ""), r#"closed 1005 """#),
        (masked(FIN | TEXT, b"\xff"), "the client sent text that is not UTF-8"),
        (frame(FIN | TEXT, "hi"), "the client violated the WebSocket protocol: "),
        (masked(FIN | BINARY, [0; 11]), "the client sent a message beyond the limit"),
        (vec![], "the connection failed: unexpected end of file"),
    ] {
        let (tell, hear) = mpsc::channel();
        let (tell, tell_too) = (tell.clone(), tell);
        in_process(
            &Handshake::new().message_bytes_max(10),
            async move |mut socket: WebSocket| {
                let end = socket.recv().await;
                tell.send(told(end, socket.closed_with())).unwrap();
                assert!(matches!(socket.recv().await, Ok(None)), "it stays closed");
                assert!(matches!(socket.send("more").await, Err(Error::Closed)));
                socket.close(1000, "").await.unwrap();
            },
            move |mut socket: WebSocket<Blocking>| {
                let end = socket.recv();
                tell_too.send(told(end, socket.closed_with())).unwrap();
                assert!(matches!(socket.recv(), Ok(None)), "it stays closed");
                assert!(matches!(socket.send("more"), Err(Error::Closed)));
                socket.close(1000, "").unwrap();
            },
            |client| {
                let mut tunnel = open(client);
                tunnel.send(&sent);
                tunnel.end_sending();
                tunnel.receive_to_end();
                let told = hear.recv().unwrap();
                assert!(told.starts_with(expected), "{told:?}, not {expected:?}");
            },
        );
    }
}

#[test]
fn closing_waits_for_the_clients_close_and_drops_what_comes_before_it() {
    let (tell, hear) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    in_process(
        &Handshake::new(),
        async move |mut socket: WebSocket| {
            socket.close(4001, "enough").await.unwrap();
            tell.send(told(socket.recv().await, socket.closed_with())).unwrap();
        },
        move |mut socket: WebSocket<Blocking>| {
            socket.close(4001, "enough").unwrap();
            tell_too.send(told(socket.recv(), socket.closed_with())).unwrap();
        },
        |client| {
            let mut tunnel = open(client);
            let close = frame(FIN | CLOSE, status(4001, "enough"));
            assert_eq!(tunnel.receive(close.len()), close);
            tunnel.send(masked(FIN | TEXT, "crossed on the way"));
            tunnel.send(masked(FIN | PING, "not answered any more"));
            assert!(hear.try_recv().is_err(), "it waits");
            tunnel.send(masked(FIN | CLOSE, status(4001, "")));
            assert_eq!(tunnel.receive_to_end(), b"");
            assert_eq!(hear.recv().unwrap(), r#"closed 4001 """#);
        },
    );
}

#[test]
fn a_socket_that_is_dropped_says_goodbye() {
    let drops = |_: WebSocket| async {};
    in_process(&Handshake::new(), drops, drop, |client| {
        assert_eq!(open(client).receive_to_end(), frame(FIN | CLOSE, status(1000, "")));
    });
}

#[test]
fn who_only_sends_answers_pings_and_is_told_of_the_close() {
    let (tell, hear) = mpsc::channel();
    let (tell, tell_too) = (tell.clone(), tell);
    in_process(
        &Handshake::new(),
        async move |mut socket: WebSocket| {
            let first = socket.recv().await;
            while socket.send("tick").await.is_ok() {}
            tell.send(told(first, socket.closed_with())).unwrap();
        },
        move |mut socket: WebSocket<Blocking>| {
            let first = socket.recv();
            while socket.send("tick").is_ok() {}
            tell_too.send(told(first, socket.closed_with())).unwrap();
        },
        |client| {
            let mut tunnel = open(client);
            // It would send for ever, so everything is there before it begins.
            let sent = [masked(FIN | TEXT, "go"), masked(FIN | PING, "hi"), masked(FIN | CLOSE, "")];
            tunnel.send(sent.concat());
            let received = tunnel.receive_to_end();
            let (pong, close) = (frame(FIN | PONG, "hi"), frame(FIN | CLOSE, ""));
            assert!(received.windows(pong.len()).any(|part| part == pong));
            assert!(received.ends_with(&close));
            assert_eq!(hear.recv().unwrap(), r#"Text("go") 1005 """#);
        },
    );
}

#[test]
fn what_came_while_sending_is_received_afterwards_and_in_order() {
    in_process(
        &Handshake::new(),
        async |mut socket: WebSocket| {
            socket.recv().await.unwrap();
            for text in ["a", "b", "c"] {
                socket.send(text).await.unwrap();
            }
            while let Ok(Some(message)) = socket.recv().await {
                socket.send(message).await.unwrap();
            }
        },
        |mut socket: WebSocket<Blocking>| {
            socket.recv().unwrap();
            for text in ["a", "b", "c"] {
                socket.send(text).unwrap();
            }
            while let Ok(Some(message)) = socket.recv() {
                socket.send(message).unwrap();
            }
        },
        |client| {
            let mut tunnel = open(client);
            let sent = ["go", "1", "2", "3"].map(|text| masked(FIN | TEXT, text)).concat();
            tunnel.send([sent, masked(FIN | CLOSE, "")].concat());
            let expected = ["a", "b", "c", "1", "2", "3"].map(|text| frame(FIN | TEXT, text)).concat();
            assert_eq!(tunnel.receive_to_end(), [expected, frame(FIN | CLOSE, "")].concat());
        },
    );
}

#[test]
fn it_keeps_to_the_contract() {
    let handshake = Handshake::new();
    for client in [
        Client::new(Lint::new(async_app(handshake.clone(), echo))),
        Client::sync(Lint::new(sync_app(handshake, echo_blocking))),
    ] {
        let mut tunnel = open(&client);
        tunnel.send([masked(FIN | TEXT, "hi"), masked(FIN | CLOSE, "")].concat());
        assert_eq!(tunnel.receive_to_end(), [frame(FIN | TEXT, "hi"), frame(FIN | CLOSE, "")].concat());
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(200) })]

    /// Frames of any kind, and between them bytes of no kind.
    #[test]
    fn whatever_comes_it_ends_and_nothing_panics(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..140), any::<bool>()), 0..8),
        end in vec(any::<u8>(), 0..20),
    ) {
        let client = Client::new(async_app(Handshake::new().message_bytes_max(200), echo));
        let mut tunnel = open(&client);
        let frames = frames.iter().map(|(first, payload, plain)| {
            if *plain { frame(*first, payload) } else { masked(*first & 0x8f, payload) }
        });
        let sent = frames.chain([end]).collect::<Vec<_>>().concat();
        // It may be refused from the middle on.
        let _ = std::io::Write::write_all(&mut tunnel, &sent);
        tunnel.end_sending();
        tunnel.receive_to_end();
        let reports = client.reports();
        assert!(reports.is_empty(), "{reports:?}");
    }
}

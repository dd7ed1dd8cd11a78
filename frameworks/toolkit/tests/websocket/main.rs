//! The WebSockets of both forms, in process and on live servers, against what RFC 6455 asks for.

mod frames;
mod handshake;
#[path = "../support/live.rs"]
mod live;
mod opened;
mod time;

use http::Request;
use varvel::{AsyncApp, AsyncBody, ReadBody, Scope, Shared, app_fn, sync_fn};
use varvel_test::{Client, Tunnel};
use varvel_toolkit::{
    Blocking, Endpoint,
    websocket::{Handshake, WebSocket},
};

use self::live::Live;

/// Sends everything back; small limits, so that going beyond them takes little.
fn handshake() -> Handshake {
    Handshake::new().protocol("echo").protocol("echo.v2").message_bytes_max(100_000).frame_bytes_max(70_000)
}

async fn echo(mut socket: WebSocket) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

fn echo_blocking(mut socket: WebSocket<Blocking>) {
    while let Ok(Some(message)) = socket.recv() {
        if socket.send(message).is_err() {
            break;
        }
    }
}

fn async_app(
    handshake: Handshake,
    run: impl AsyncFnOnceSend,
) -> impl AsyncApp<Future: Send> + Clone + Send + Sync + 'static {
    app_fn(move |request: Request<AsyncBody>, mut scope: Scope| {
        let (handshake, run) = (handshake.clone(), run.clone());
        async move { Ok(handshake.accept(&request, &mut scope, move |socket| run.run(socket))) }
    })
}

/// A function of a WebSocket whose future may cross threads.
trait AsyncFnOnceSend: Clone + Send + Sync + 'static {
    fn run(self, socket: WebSocket) -> impl Future<Output = ()> + Send + 'static;
}

impl<F, Fut> AsyncFnOnceSend for F
where
    F: FnOnce(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn run(self, socket: WebSocket) -> impl Future<Output = ()> + Send + 'static {
        self(socket)
    }
}

fn sync_app(
    handshake: Handshake,
    run: impl FnOnce(WebSocket<Blocking>) + Clone + Send + Sync + 'static,
) -> impl varvel::App + Clone + Send + Sync + 'static {
    sync_fn(move |request: Request<ReadBody>, mut scope: Scope| -> varvel::AppResult {
        Ok(handshake.accept_blocking(&request, &mut scope, run.clone()))
    })
}

/// Runs a test in both forms, in process.
fn in_process(
    handshake: &Handshake,
    run: impl AsyncFnOnceSend,
    run_blocking: impl FnOnce(WebSocket<Blocking>) + Clone + Send + Sync + 'static,
    test: impl Fn(&Client),
) {
    test(&Client::new(async_app(handshake.clone(), run)));
    test(&Client::sync(sync_app(handshake.clone(), run_blocking)));
}

/// Runs a test against the echo everywhere: in both forms in process and on each server.
fn everywhere(test: impl Fn(&Client)) {
    in_process(&handshake(), echo, echo_blocking, &test);
    let async_echo = || Endpoint::polled(async_app(handshake(), echo));
    let sync_echo = || Endpoint::blocking(sync_app(handshake(), echo_blocking));
    for endpoint in [async_echo(), sync_echo()] {
        test(&Live::evented(Shared(endpoint.clone())).client);
        test(&Live::threaded(Shared(endpoint)).client);
    }
}

/// Opens a WebSocket.
fn open(client: &Client) -> Tunnel {
    let request = client.get("/").header("sec-websocket-version", "13");
    request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").upgrade("websocket")
}

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A frame as the server sends it.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(len as u8),
        len @ ..65536 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A frame as a client sends it.
fn masked(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let payload = payload.as_ref();
    let mut frame = frame(first, payload);
    let head = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame.splice(head..head, MASK);
    frame[head + 4..].iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    frame
}

/// What a Close says.
fn status(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

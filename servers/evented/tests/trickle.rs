//! What a body may cost that comes in small pieces.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::{io::Write, sync::mpsc, time::Duration};

use counting::allocated;
use http::{Request, Response};
use support::{read_line, start};
use varvel::{AsyncBody, Shared, app_fn};

#[test]
fn each_byte_of_a_large_body_costs_a_buffer_that_would_hold_the_rest() {
    const PIECES: usize = 100;
    const LENGTH: usize = 100 * 1024;
    const BYTES_MAX: usize = 4 * 1024;
    let (sender, taken) = mpsc::channel();
    let app = app_fn(move |request: Request<AsyncBody>, _| {
        let sender = sender.clone();
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
                sender.send(()).unwrap();
            }
            Ok(Response::new(AsyncBody::from("fine\n")))
        }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    write!(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
    let mut send = || {
        client.write_all(b"x").unwrap();
        taken.recv_timeout(Duration::from_secs(10)).unwrap();
    };
    send();
    let before = allocated();
    (0..PIECES).for_each(|_| send());
    let each = (allocated() - before) / PIECES;
    assert!(each < BYTES_MAX, "each piece took {each} bytes");
    client.write_all(&vec![b'x'; LENGTH - PIECES - 1]).unwrap();
    assert_eq!(read_line(&mut client).unwrap(), "fine");
    server.stop(Duration::from_secs(10)).unwrap();
}

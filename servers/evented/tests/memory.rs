//! What a connection may keep while it waits.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::{
    io::{Read, Write},
    iter,
    net::TcpStream,
    sync::mpsc,
    time::Duration,
};

use bytes::Bytes;
use counting::live;
use http::{Request, Response};
use support::start;
use varvel::{AsyncBody, Shared, app_fn};

/// The buffer in which answers gather is the thread's, and as large as they are. Who waits for the body of a request has
/// nothing in it, and may wait for long.
#[test]
fn uploads_that_wait_take_the_buffers_of_answers_with_them() {
    const UPLOADS: usize = 32;
    const BYTES_MAX: usize = 8 * 1024;
    let (sender, begun) = mpsc::channel();
    let app = app_fn(move |request: Request<AsyncBody>, _| {
        let sender = sender.clone();
        async move {
            if request.uri().path() == "/upload" {
                sender.send(()).unwrap();
                let mut body = request.into_body();
                while let Some(frame) = body.frame().await {
                    frame?;
                }
            }
            // Pieces that are copied, as they are small.
            Ok(Response::new(AsyncBody::from_chunks(iter::repeat_n(Bytes::from_static(&[b'x'; 1024]), 48))))
        }
    });
    let server = start(|_| {}, Shared(app));
    let mut client = server.connect();
    read_large_answer(&mut client);
    let before = live();
    let uploads: Vec<TcpStream> = (0..UPLOADS)
        .map(|_| {
            let mut upload = server.connect();
            upload.write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").unwrap();
            begun.recv_timeout(Duration::from_secs(10)).unwrap();
            // The loop is through with the upload when it answers another.
            read_large_answer(&mut client);
            upload
        })
        .collect();
    let each = live().saturating_sub(before) / UPLOADS;
    assert!(each < BYTES_MAX, "an upload that waits takes {each} bytes");
    drop(uploads);
    server.stop(Duration::from_secs(10)).unwrap();
}

fn read_large_answer(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut end = Vec::new();
    let mut piece = [0; 16 * 1024];
    while !end.ends_with(b"\r\n0\r\n\r\n") {
        let read = client.read(&mut piece).unwrap();
        assert!(read > 0, "the server closed the connection");
        end.extend_from_slice(&piece[..read]);
        end.drain(..end.len().saturating_sub(8));
    }
}

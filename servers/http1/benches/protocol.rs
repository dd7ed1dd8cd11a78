//! What the protocol alone costs: the time of heads, bodies and whole exchanges, without a socket.
//!
//! `cargo bench -p varvel-http1`, with a part of a name behind it for some of them. Connections and maps are those of a
//! server at work: a thread's map goes round, and a kept connection serves one request after the other.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use bytes::Bytes;
use divan::{Bencher, Divan, black_box, counter::ItemsCount};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use varvel_http1::{After, BodyEvent, BodyLength, Config, Connection, RequestHead, Spare};

fn main() {
    // Single calls are too short for the clock.
    Divan::default().sample_size(256).config_with_args().main();
}

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

const DATE: &[u8] = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

const HELLO: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &str = "GET /an/article?page=2 HTTP/1.1\r\nHost: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,image/png,*/*;q=0.8\r\n\
    Accept-Language: de,en;q=0.7,fr;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0b54f1c2a7d84e6f9f03; consent=all; zone=Europe%2FBerlin\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: none\r\n\r\n";

const POST: &str = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 1024\r\n\r\n";

fn connection() -> Connection {
    Connection::new(Arc::clone(&CONFIG), *NOW)
}

/// What is spare on a thread that has served requests before.
fn spare() -> Spare {
    let mut spare = Spare::default();
    spare.headers = HeaderMap::with_capacity(16);
    spare
}

/// Bytes as they lie in a buffer of which others have slices, too.
fn shared(text: impl Into<String>) -> Bytes {
    let bytes = Bytes::from(text.into());
    drop(bytes.clone());
    bytes
}

fn receive_head(connection: &mut Connection, input: &mut Bytes, spare: &mut Spare) -> Box<RequestHead> {
    connection.receive_head(input, spare, *NOW).expect("a good head").expect("a whole one")
}

mod head {
    use super::*;

    #[divan::bench]
    fn hello(bencher: Bencher<'_, '_>) {
        whole(bencher, HELLO);
    }

    #[divan::bench]
    fn browser(bencher: Bencher<'_, '_>) {
        whole(bencher, BROWSER);
    }

    fn whole(bencher: Bencher<'_, '_>, head: &'static str) {
        let head = shared(head);
        bencher
            .with_inputs(|| (connection(), head.clone(), spare()))
            .bench_refs(|(connection, input, spare)| receive_head(connection, input, spare));
    }

    /// As a slow client sends it: what has come is looked at each time.
    #[divan::bench(args = [2, 8, 64])]
    fn in_pieces(bencher: Bencher<'_, '_>, pieces: usize) {
        let head = shared(BROWSER);
        bencher.with_inputs(|| (connection(), head.clone(), spare())).bench_refs(
            |(connection, all, spare)| {
                for piece in 1..pieces {
                    let mut input = all.slice(..all.len() * piece / pieces);
                    let head = connection.receive_head(&mut input, spare, *NOW);
                    assert!(matches!(head, Ok(None)));
                }
                receive_head(connection, all, spare)
            },
        );
    }
}

mod body {
    use super::*;

    const PIECES: usize = 16;

    #[divan::bench]
    fn of_known_length(bencher: Bencher<'_, '_>) {
        let len = PIECES * 4096;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        receive(bencher, head + &"x".repeat(len));
    }

    #[divan::bench(args = [16, 4096])]
    fn chunked(bencher: Bencher<'_, '_>, len: usize) {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{len:x}\r\n{}\r\n", "x".repeat(len));
        receive(bencher, format!("{head}{}0\r\n\r\n", chunk.repeat(PIECES)));
    }

    fn receive(bencher: Bencher<'_, '_>, request: String) {
        let request = shared(request);
        let begin = || {
            let (mut connection, mut input) = (connection(), request.clone());
            receive_head(&mut connection, &mut input, &mut spare());
            (connection, input)
        };
        bencher.with_inputs(begin).bench_refs(|(connection, input)| {
            while let BodyEvent::Data(data) = connection.receive_body(input, *NOW).expect("a good body") {
                black_box(data);
            }
        });
    }
}

mod response {
    use super::*;

    #[divan::bench(args = [1, 8])]
    fn head(bencher: Bencher<'_, '_>, fields: usize) {
        const NAMES: [header::HeaderName; 8] = [
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            header::ETAG,
            header::LAST_MODIFIED,
            header::VARY,
            header::SERVER,
            header::CONTENT_ENCODING,
            header::SET_COOKIE,
        ];
        let value = HeaderValue::from_static("a value of usual length");
        let headers: HeaderMap = NAMES.into_iter().take(fields).map(|name| (name, value.clone())).collect();
        let mut out = Vec::with_capacity(1024);
        let begin = || {
            let mut connection = connection();
            receive_head(&mut connection, &mut Bytes::from_static(HELLO.as_bytes()), &mut spare());
            connection
        };
        bencher.with_inputs(begin).bench_local_refs(|connection| {
            out.clear();
            connection.send_head(StatusCode::OK, &headers, BodyLength::Known(13), DATE, &mut out)
        });
    }

    /// What is written around the data of a chunk.
    #[divan::bench]
    fn chunk(bencher: Bencher<'_, '_>) {
        let mut connection = connection();
        receive_head(&mut connection, &mut Bytes::from_static(HELLO.as_bytes()), &mut spare());
        let mut out = Vec::with_capacity(1024);
        connection
            .send_head(StatusCode::OK, &HeaderMap::new(), BodyLength::Unknown, DATE, &mut out)
            .expect("it is awaited");
        bencher.bench_local(|| {
            out.clear();
            connection.send_data(black_box(16 * 1024), &mut out)
        });
    }
}

/// From the bytes of a request to those of its answer, on a connection that is kept. The application's part is in it: it
/// sets one field.
mod exchange {
    use super::*;

    #[divan::bench]
    fn hello(bencher: Bencher<'_, '_>) {
        play(bencher, HELLO.to_owned(), 1);
    }

    #[divan::bench]
    fn browser(bencher: Bencher<'_, '_>) {
        play(bencher, BROWSER.to_owned(), 1);
    }

    #[divan::bench(args = [16])]
    fn pipelined(bencher: Bencher<'_, '_>, requests: usize) {
        play(bencher, HELLO.repeat(requests), requests);
    }

    #[divan::bench]
    fn post(bencher: Bencher<'_, '_>) {
        play(bencher, POST.to_owned() + &"x".repeat(1024), 1);
    }

    fn play(bencher: Bencher<'_, '_>, requests: String, number: usize) {
        let (mut connection, mut spare, mut out) = (connection(), spare(), Vec::with_capacity(16 * 1024));
        let requests = shared(requests);
        bencher.counter(ItemsCount::new(number)).bench_local(|| {
            let mut input = requests.clone();
            out.clear();
            for _ in 0..number {
                exchange(&mut connection, &mut input, &mut spare, &mut out);
            }
            assert!(input.is_empty());
        });
    }

    fn exchange(connection: &mut Connection, input: &mut Bytes, spare: &mut Spare, out: &mut Vec<u8>) {
        let request = receive_head(connection, input, spare).request;
        while let BodyEvent::Data(data) = connection.receive_body(input, *NOW).expect("a good body") {
            black_box(data);
        }
        drop(black_box(request));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let answer = b"Hello, World!";
        let len = answer.len() as u64;
        connection
            .send_head(StatusCode::OK, &headers, BodyLength::Known(len), DATE, out)
            .expect("it is awaited");
        connection.send_data(len, out);
        out.extend_from_slice(answer);
        connection.send_end(None, out).expect("it is whole");
        assert_eq!(connection.next_exchange(input, *NOW), After::KeepAlive);
        spare.headers = headers;
    }
}

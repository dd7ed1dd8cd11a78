//! What the contract costs: the same requests answered in memory, by a function that is called with the head that the
//! protocol has read, and by applications that are called as the evented server calls them.
//!
//! ```text
//!   bytes -> http1 -> RequestHead -> Bare:     fn(&Request) -> (status, fields, body)          -> http1 -> bytes
//!                                    Contract: admit -> Request, Scope -> call -> poll
//!                                              -> Response -> checks -> end of the exchange
//! ```
//!
//! Both use the same parser, the same memo of fields, the same serializer; neither touches a socket, a deadline or a clock.
//! What differs is what a server pays for having an application behind an interface: a request of its own, a scope and
//! the connection's handle in it, a future, panics that are contained, an answer that is checked, hooks at the end.

mod contract;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use varvel_http1::{After, BodyLength, Config, Connection, RequestHead, Spare};
use varvel_server_kit::http_date::DateLine;

pub use contract::{Contract, Handle, OnLoops, OnThreads};

/// What is answered.
const HELLO: &[u8] = b"Hello, World!";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// A connection without a socket.
#[derive(Debug)]
pub struct Wire {
    http: Connection,
    spare: Spare,
    date: DateLine,
    now: Instant,
}

impl Default for Wire {
    fn default() -> Self {
        let now = Instant::now();
        let http = Connection::new(Arc::new(Config::default()), now);
        Self { http, spare: Spare::default(), date: DateLine::new(), now }
    }
}

impl Wire {
    /// Answers all requests in `input`, which have no bodies.
    ///
    /// # Panics
    /// If they are not such that a connection goes on after them.
    pub fn serve(&mut self, mut input: Bytes, way: &mut impl Way, out: &mut Vec<u8>) {
        loop {
            let head = self.http.receive_head(&mut input, &mut self.spare, self.now).expect("a good request");
            let Some(mut head) = head else { break };
            way.answer(&mut head, self, out);
            self.spare.recycle(head);
            assert_eq!(self.http.next_exchange(&mut input, self.now), After::KeepAlive);
        }
    }

    /// The rest of an answer, behind its head.
    fn send_body(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let frame = self.http.send_data(body.len() as u64, out);
        out.extend_from_slice(&body[..frame.take as usize]);
        out.extend_from_slice(frame.suffix);
        let _ = self.http.send_end(None, out);
    }

    /// The map of one answer is that of the next request.
    fn keep(&mut self, mut headers: HeaderMap) {
        headers.clear();
        self.spare.headers = headers;
    }
}

/// A way from a head to an answer.
pub trait Way {
    /// Writes the answer.
    fn answer(&mut self, head: &mut RequestHead, wire: &mut Wire, out: &mut Vec<u8>);
}

/// Without a contract: a function that is told what came and gives back what is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl Way for Bare {
    #[inline]
    fn answer(&mut self, head: &mut RequestHead, wire: &mut Wire, out: &mut Vec<u8>) {
        let (status, headers, body) = hello(&head.request);
        let length = BodyLength::Known(body.len() as u64);
        wire.http
            .send_head(status, &headers, length, wire.date.as_bytes(), out)
            .expect("an answer is awaited");
        wire.send_body(&body, out);
        wire.keep(headers);
    }
}

fn hello(request: &Request<()>) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, TEXT);
    match request.uri().path() {
        "/" => (StatusCode::OK, headers, Bytes::from_static(HELLO)),
        _ => (StatusCode::NOT_FOUND, headers, Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use varvel::bridge::Inline;

    use super::*;

    #[test]
    fn all_ways_send_the_same() {
        let bare = answers(Bare);
        assert_eq!(bare.iter().filter(|line| *line == "Hello, World!").count(), 3, "{bare:?}");
        assert_eq!(answers(Contract::new(OnLoops)), bare);
        assert_eq!(answers(Contract::new(Inline::new(OnThreads))), bare);
    }

    /// The lines of three answers, sorted, as the order of fields does not matter.
    fn answers(mut way: impl Way) -> Vec<String> {
        let requests = Bytes::from("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
        let mut out = Vec::new();
        Wire::default().serve(requests, &mut way, &mut out);
        let text = String::from_utf8(out).unwrap().replace("Hello, World!", "Hello, World!\n");
        // A second may begin between two runs.
        let mut lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

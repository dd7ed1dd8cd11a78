//! A server that writes down what it was given.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use varvel_http1::{
    After, BodyEvent, BodyLength, Config, Connection, Eof, RequestFraming, RequestHead, Spare,
};

/// What a server understood of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// Every request with its body, in words.
    pub(crate) requests: Vec<String>,
    /// The request that was being received at the end.
    pub(crate) unfinished: Option<String>,
    /// Where it ended: `idle`, `closed: ...`, `refused: ...`, `body: ...`, `eof: ...`.
    pub(crate) end: String,
}

/// Serves the pieces one after another, answering each request with an empty 200 once it is complete, and
/// writes down what was seen. After the last piece the peer closes its sending side.
pub(crate) fn serve<'a>(config: Config, pieces: impl IntoIterator<Item = &'a [u8]>) -> Transcript {
    let mut server = Server {
        connection: Connection::new(Arc::new(config), Instant::now()),
        input: Bytes::new(),
        spare: Spare::default(),
        request: None,
        body: Vec::new(),
        requests: Vec::new(),
    };
    for piece in pieces {
        server.input = [&server.input[..], piece].concat().into();
        if let Some(end) = server.run() {
            return server.transcript(end);
        }
    }
    let end = match server.connection.receive_eof() {
        Eof::Clean => "idle".to_owned(),
        Eof::InHead => "eof: in head".to_owned(),
        Eof::InBody | Eof::AfterRequest => server.run().expect("an end after the end of input"),
    };
    server.transcript(end)
}

struct Server {
    connection: Connection,
    input: Bytes,
    spare: Spare,
    /// The request whose body is being read.
    request: Option<String>,
    body: Vec<u8>,
    requests: Vec<String>,
}

impl Server {
    /// Goes as far as the input allows. `Some` once the connection is over.
    fn run(&mut self) -> Option<String> {
        let now = Instant::now();
        loop {
            if self.request.is_none() {
                match self.connection.receive_head(&mut self.input, &mut self.spare, now) {
                    Ok(Some(head)) => self.request = Some(describe(&head)),
                    Ok(None) => return None,
                    Err(refusal) => {
                        let again = self.connection.receive_head(&mut self.input, &mut self.spare, now);
                        assert_eq!(again.err(), Some(refusal), "a failed connection stays failed");
                        return Some(format!("refused: {} {refusal:?}", refusal.status().as_u16()));
                    }
                }
            }
            match self.connection.receive_body(&mut self.input, now) {
                Ok(BodyEvent::NeedMore) => return None,
                Ok(BodyEvent::Data(data)) => {
                    assert!(!data.is_empty(), "data is never empty");
                    self.body.extend_from_slice(&data);
                }
                Ok(BodyEvent::End(trailers)) => {
                    let again = self.connection.receive_body(&mut self.input, now);
                    assert_eq!(again, Ok(BodyEvent::End(None)), "an ended body stays ended");
                    if let Some(end) = self.answer(trailers, now) {
                        return Some(end);
                    }
                }
                Err(fault) => {
                    let again = self.connection.receive_body(&mut self.input, now);
                    assert_eq!(again, Err(fault), "a failed body stays failed");
                    let status = varvel_http1::Refusal::from(fault).status().as_u16();
                    return Some(format!("body: {status} {fault:?}"));
                }
            }
        }
    }

    fn transcript(self, end: String) -> Transcript {
        let unfinished = self.request.map(|head| format!("{head}body: {}", self.body.escape_ascii()));
        Transcript { requests: self.requests, unfinished, end }
    }

    fn answer(&mut self, trailers: Option<HeaderMap>, now: Instant) -> Option<String> {
        let mut request = self.request.take().unwrap_or_default();
        let body = std::mem::take(&mut self.body);
        if !body.is_empty() {
            writeln!(request, "body: {}", body.escape_ascii()).unwrap();
        }
        for (name, value) in trailers.iter().flatten() {
            writeln!(request, "trailer {name}: {}", value.as_bytes().escape_ascii()).unwrap();
        }
        self.requests.push(request);

        let connection = &mut self.connection;
        let mut out = Vec::new();
        // CONNECT is declined, since without a tunnel 200 is no answer to it.
        let connect = self.requests.last().is_some_and(|request| request.contains("upgrade: Connect"));
        let status = if connect { StatusCode::NOT_IMPLEMENTED } else { StatusCode::OK };
        connection.send_head(status, &HeaderMap::new(), BodyLength::Known(0), b"", &mut out).unwrap();
        connection.send_end(None, &mut out).unwrap();
        match connection.next_exchange(&mut self.input, now) {
            After::KeepAlive => None,
            After::Close(reason) => Some(format!("closed: {reason:?}")),
            After::Discard => panic!("the body was read to its end"),
        }
    }
}

/// A head in words, one thing a line.
pub(crate) fn describe(head: &RequestHead) -> String {
    let mut text = String::new();
    let request = &head.request;
    writeln!(text, "{} {} {:?}", request.method(), request.uri(), request.version()).unwrap();
    if head.target != request.uri().to_string() {
        writeln!(text, "target: {}", head.target.escape_ascii()).unwrap();
    }
    if let Some(authority) = &head.authority {
        writeln!(text, "authority: {authority}").unwrap();
    }
    for (name, value) in request.headers() {
        writeln!(text, "{}", format!("field {name}: {}", value.as_bytes().escape_ascii()).trim_end())
            .unwrap();
    }
    if head.framing != RequestFraming::None {
        writeln!(text, "framing: {:?}", head.framing).unwrap();
    }
    if head.expects_continue {
        writeln!(text, "expects continue").unwrap();
    }
    if let Some(upgrade) = head.upgrade {
        writeln!(text, "upgrade: {upgrade:?}").unwrap();
    }
    if head.te_trailers {
        writeln!(text, "te trailers").unwrap();
    }
    text
}

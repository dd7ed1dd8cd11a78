//! Valid conversations, both ways: the crate must read a request as it was meant, and a strict client must
//! read the answer as it was meant.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use varvel_http1::{After, BodyEvent, CloseReason, Config, Connection, RequestHead, Spare, UpgradeRequest};

use super::client::{Answer, Asked, End};
use super::request::Request;
use super::response::{Response, Setting, allowed, fields};
use super::script::Script;

/// All of the bytes are a script that makes up requests, cuts, and answers.
pub fn round_trip(data: &[u8]) {
    let mut script = Script::new(data);
    let requests: Vec<Request> = (0..=script.below(3)).map(|_| Request::make_up(&mut script)).collect();
    let now = Instant::now();
    let mut server = Server {
        connection: Connection::new(Arc::new(Config::default()), now),
        now,
        wire: requests.iter().flat_map(Request::encode).collect(),
        longest_piece: script.pick(&[65536, 1, 7, 100]),
        script,
        input: Bytes::new(),
        spare: Spare::default(),
    };
    for (index, request) in requests.iter().enumerate() {
        if !server.exchange(request) {
            return;
        }
        let behind = requests[index + 1..].iter().map(|request| request.encode().len()).sum::<usize>();
        assert_eq!(server.input.len() + server.wire.len(), behind, "{request:?} was taken, and no more");
    }
    let spare = &mut Spare::default();
    assert!(server.connection.receive_head(&mut server.input, spare, now).unwrap().is_none());
    assert_eq!(server.connection.close_reason(), None);
}

struct Server<'a> {
    connection: Connection,
    now: Instant,
    script: Script<'a>,
    /// What has still to arrive.
    wire: Vec<u8>,
    longest_piece: usize,
    input: Bytes,
    spare: Spare,
}

impl Server<'_> {
    /// Whether the connection goes on.
    fn exchange(&mut self, request: &Request) -> bool {
        let head = self.receive_head();
        request.check(&head);

        let mut out = Vec::new();
        let mut interims = Vec::new();
        let mut awaits_continue = request.expects_continue();
        let is_http10 = request.version == Version::HTTP_10;
        if self.script.one_in(2) {
            assert_eq!(self.connection.send_continue(&mut out), awaits_continue);
            interims.extend(awaits_continue.then(|| (100, HeaderMap::new())));
            awaits_continue = false;
        }
        if self.script.one_in(4) {
            let status = StatusCode::from_u16(102 + self.script.below(98) as u16).unwrap();
            let fields = fields(&mut self.script);
            let sent = self.connection.send_interim(status, &fields, &mut out);
            assert_eq!(sent.is_ok(), !is_http10);
            interims.extend(sent.is_ok().then(|| (status.as_u16(), fields)));
        }

        // Before the answer, behind it, partly before and partly behind it, or not at all.
        let when = self.script.below(4);
        let mut body = Vec::new();
        if when == 0 {
            self.read_body(request, &mut body, usize::MAX);
        } else if when == 2 && !request.body.content().is_empty() {
            self.read_body(request, &mut body, 1);
        }
        awaits_continue &= body.is_empty();
        let is_read = when == 0 || !request.has_body();
        if head.upgrade.is_some() && is_read && self.script.one_in(2) {
            self.upgrade(&head, interims, out);
            return false;
        }
        let stops = self.script.one_in(16);
        if stops {
            self.connection.shutting_down();
        }
        let setting = Setting {
            asked: Asked { head: request.method == Method::HEAD, connect: request.method == Method::CONNECT },
            is_http10,
            takes_trailers: request.takes_trailers(),
            closes: request.closes() || stops || (awaits_continue && !is_read),
        };
        let Some(close) = self.answer(setting, interims, out) else {
            let after = self.connection.next_exchange(&mut self.input, self.now);
            assert_eq!(after, After::Close(self.connection.close_reason().unwrap()));
            return false;
        };
        if when == 1 || when == 2 {
            self.read_body(request, &mut body, usize::MAX);
        }
        self.next_exchange(close)
    }

    fn receive_head(&mut self) -> Box<RequestHead> {
        loop {
            match self.connection.receive_head(&mut self.input, &mut self.spare, self.now) {
                Ok(Some(head)) => return head,
                Ok(None) => self.feed(),
                Err(refusal) => panic!("{refusal}: {}", self.input.escape_ascii()),
            }
        }
    }

    /// Reads at least so many bytes of the body, or all there are.
    fn read_body(&mut self, request: &Request, body: &mut Vec<u8>, least: usize) {
        while body.len() < least {
            match self.connection.receive_body(&mut self.input, self.now) {
                Ok(BodyEvent::NeedMore) => self.feed(),
                Ok(BodyEvent::Data(data)) => body.extend_from_slice(&data),
                Ok(BodyEvent::End(trailers)) => {
                    assert_eq!(body, request.body.content());
                    request.body.check_trailers(trailers.as_ref());
                    return;
                }
                Err(fault) => panic!("{fault}: {}", self.input.escape_ascii()),
            }
        }
    }

    fn feed(&mut self) {
        assert!(!self.wire.is_empty(), "more is wanted than the request has");
        let length = 1 + self.script.below(self.longest_piece.min(self.wire.len()));
        let piece = self.wire.drain(..length);
        self.input = [&self.input[..], piece.as_slice()].concat().into();
    }

    fn next_exchange(&mut self, close: bool) -> bool {
        loop {
            let after = self.connection.next_exchange(&mut self.input, self.now);
            assert_eq!(matches!(after, After::Close(_)), close, "{after:?}, and the head said otherwise");
            match after {
                After::KeepAlive => return true,
                After::Discard => self.feed(),
                After::Close(_) => return false,
            }
        }
    }

    /// Sends a response and reads it back. Gives whether the connection closes behind it, or `None` if the
    /// response broke it.
    fn answer(
        &mut self,
        setting: Setting,
        interims: Vec<(u16, HeaderMap)>,
        mut out: Vec<u8>,
    ) -> Option<bool> {
        let response = Response::make_up(&mut self.script, setting.asked);
        let missing = response.send(&mut self.connection, setting, &mut out);

        let mut wire = &out[..];
        for (status, fields) in interims {
            let answer = Answer::read(&mut wire, setting.asked);
            assert_eq!((answer.status, answer.fields), (status, allowed(&fields)));
        }
        response.check(&Answer::read(&mut wire, setting.asked), setting);
        assert!(wire.is_empty(), "behind the answer: {}", wire.escape_ascii());
        (missing == 0).then(|| response.closes(setting))
    }

    fn upgrade(&mut self, head: &RequestHead, interims: Vec<(u16, HeaderMap)>, mut out: Vec<u8>) {
        let mut fields = fields(&mut self.script);
        let protocol = UpgradeRequest::first_protocol(head.request.headers());
        let connect = head.upgrade == Some(UpgradeRequest::Connect);
        if let Some(protocol) = protocol.as_ref().filter(|_| !connect) {
            fields.insert("upgrade", protocol.clone());
        }
        let left = self.input.clone();
        self.connection.accept_upgrade(&fields, b"", &mut out).expect("an offered upgrade");
        let mut wire = &out[..];
        let asked = Asked { head: false, connect };
        for (status, _) in interims {
            assert_eq!(Answer::read(&mut wire, asked).status, status);
        }
        let answer = Answer::read(&mut wire, asked);
        assert_eq!((answer.status, answer.end), (if connect { 200 } else { 101 }, End::Tunnel));
        let mut lines = allowed(&fields);
        if let Some(protocol) = protocol.filter(|_| !connect) {
            lines.push(("upgrade".into(), protocol.as_bytes().into()));
            lines.push(("connection".into(), "upgrade".into()));
        }
        assert_eq!(answer.fields, lines);
        assert!(wire.is_empty());
        let after = self.connection.next_exchange(&mut self.input, self.now);
        assert_eq!(after, After::Close(CloseReason::Upgraded));
        assert_eq!(self.input, left, "what follows belongs to the tunnel");
    }
}

//! Valid conversations, both ways: the crate must read a request as it was meant, and a strict client must
//! read the answer as it was meant.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use varvel_http1::{
    After, BodyEvent, BodyLength, CloseReason, Config, Connection, RequestHead, ResponseFraming, Spare,
    UpgradeRequest,
};

use super::client::{Answer, Asked, End};
use super::request::Request;
use super::script::Script;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

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

        // Before the answer, behind it, or not at all.
        let when = self.script.below(3);
        if when == 0 {
            awaits_continue &= request.body.content().is_empty();
            self.check_body(request);
        }
        let is_read = when == 0 || !request.has_body();
        if head.upgrade.is_some() && is_read && self.script.one_in(2) {
            self.upgrade(&head, interims, out);
            return false;
        }
        let stops = self.script.one_in(16);
        if stops {
            self.connection.shutting_down();
        }
        let Some(close) = self.answer(request, stops || (awaits_continue && !is_read), interims, out) else {
            let after = self.connection.next_exchange(&mut self.input, self.now);
            assert_eq!(after, After::Close(self.connection.close_reason().unwrap()));
            return false;
        };
        if when == 1 {
            self.check_body(request);
        }
        self.next_exchange(close)
    }

    fn receive_head(&mut self) -> RequestHead {
        loop {
            match self.connection.receive_head(&mut self.input, &mut self.spare, self.now) {
                Ok(Some(head)) => return head,
                Ok(None) => self.feed(),
                Err(refusal) => panic!("{refusal}: {}", self.input.escape_ascii()),
            }
        }
    }

    fn check_body(&mut self, request: &Request) {
        let mut body = Vec::new();
        loop {
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

    /// Sends a response and reads it back. Gives whether the connection closes behind it, which `must_close`
    /// can be a reason for, or `None` if the response broke it.
    fn answer(
        &mut self,
        request: &Request,
        must_close: bool,
        interims: Vec<(u16, HeaderMap)>,
        mut out: Vec<u8>,
    ) -> Option<bool> {
        let script = &mut self.script;
        let asked =
            Asked { head: request.method == Method::HEAD, connect: request.method == Method::CONNECT };
        let lowest = if asked.connect { 300 } else { 200 };
        let status = match script.below(3) {
            0 if !asked.connect => script.pick(&[200, 204, 205]),
            1 => 304,
            _ => lowest + script.below(1000 - usize::from(lowest)) as u16,
        };
        let pieces: Vec<Vec<u8>> = (0..script.below(4)).map(|_| script.bytes(60).to_vec()).collect();
        let content: Vec<u8> = pieces.concat();
        let mut fields = fields(script);
        let declared = match script.below(6) {
            0 => Some(content.len() as u64),
            1 => Some(script.below(100) as u64),
            _ => None,
        };
        if let Some(length) = declared {
            fields.insert("content-length", HeaderValue::from(length));
        } else if script.one_in(8) {
            let invalid = script.pick(&["", "x", "-1", "1, 1", "99999999999999999999", "0x1"]);
            fields.insert("content-length", HeaderValue::from_static(invalid));
        }
        let known = match script.one_in(2) {
            true => BodyLength::Known(content.len() as u64),
            false => BodyLength::Unknown,
        };
        let trailers = script.one_in(2).then(|| self::fields(script));

        // What the wire must say.
        let is_http10 = request.version == Version::HTTP_10;
        let framing = match (status, declared, known) {
            (204 | 304, ..) => ResponseFraming::None,
            (205, ..) => ResponseFraming::Length(0),
            (_, Some(length), _) | (_, None, BodyLength::Known(length)) => ResponseFraming::Length(length),
            (_, None, BodyLength::Unknown) if is_http10 => ResponseFraming::UntilClose,
            (_, None, BodyLength::Unknown) => ResponseFraming::Chunked,
        };
        let length = match framing {
            ResponseFraming::Length(length) => Some(length),
            _ if status == 304 => declared,
            _ => None,
        };
        let bodiless = asked.head || framing == ResponseFraming::None;
        let close = must_close || request.closes() || asked.connect || framing == ResponseFraming::UntilClose;

        let code = StatusCode::from_u16(status).unwrap();
        let date_line = format!("date: {DATE}\r\n");
        let sent =
            self.connection.send_head(code, &fields, known, date_line.as_bytes(), &mut out).expect("a head");
        assert_eq!(sent.framing, if asked.head { ResponseFraming::None } else { framing });
        assert_eq!(sent.close, close, "{request:?} {status} {framing:?}");
        let mismatch = declared.filter(|&declared| {
            known != BodyLength::Unknown && declared != content.len() as u64 && !asked.head
        });
        let has_length = !matches!(status, 204 | 205 | 304);
        if has_length {
            assert_eq!(sent.length_mismatch, mismatch);
        }
        let mut forbidden: Vec<&str> =
            FORBIDDEN.into_iter().filter(|name| fields.contains_key(*name)).collect();
        if fields.contains_key("content-length") && (declared.is_none() || status == 204) {
            forbidden.push("content-length");
        }
        assert_eq!(sent.removed.names().collect::<Vec<_>>(), forbidden);

        let mut expected = Vec::new();
        for piece in &pieces {
            let before = out.len();
            let frame = self.connection.send_data(piece.len() as u64, &mut out);
            let taken = &piece[..frame.take as usize];
            assert_eq!(frame.excess, taken.len() < piece.len() && !asked.head);
            assert!(!taken.is_empty() || out.len() == before);
            out.extend_from_slice(taken);
            out.extend_from_slice(frame.suffix);
            expected.extend_from_slice(taken);
        }
        let wanted = match framing {
            _ if bodiless => 0,
            ResponseFraming::Length(length) => content.len().min(length as usize),
            _ => content.len(),
        };
        assert_eq!(expected, content[..wanted]);
        let missing = match framing {
            ResponseFraming::Length(length) if !bodiless => length - wanted as u64,
            _ => 0,
        };
        let before = out.len();
        let end = self.connection.send_end(trailers.as_ref(), &mut out);
        assert_eq!(end.err().map_or(0, |short| short.missing), missing);
        assert!(missing == 0 || out.len() == before, "a short response that looks finished");

        // What the wire says.
        let mut wire = &out[..];
        for (status, fields) in &interims {
            let answer = Answer::read(&mut wire, asked);
            assert_eq!(answer.status, *status);
            assert_eq!(answer.fields, allowed(fields), "interim");
        }
        let answer = Answer::read(&mut wire, asked);
        assert!(wire.is_empty(), "behind the answer: {}", wire.escape_ascii());
        assert_eq!(answer.status, status);
        assert_eq!(answer.reason, code.canonical_reason().unwrap_or_default());
        assert_eq!(answer.body, expected);
        let end = match framing {
            ResponseFraming::UntilClose if !bodiless => End::Closed,
            // A client cannot see that the answer to HEAD would have ended with the connection.
            _ if missing > 0 => End::Cut,
            _ => End::Whole,
        };
        assert_eq!(answer.end, end, "{}", out.escape_ascii());

        let mut lines = allowed(&fields);
        if !fields.contains_key("date") {
            lines.push(("date".into(), DATE.into()));
        }
        if let Some(length) = length {
            lines.push(("content-length".into(), length.to_string().into()));
        }
        if framing == ResponseFraming::Chunked {
            lines.push(("transfer-encoding".into(), "chunked".into()));
        }
        if close {
            lines.push(("connection".into(), "close".into()));
        } else if is_http10 {
            lines.push(("connection".into(), "keep-alive".into()));
        }
        assert_eq!(answer.fields, lines);

        let has_trailers = framing == ResponseFraming::Chunked && !bodiless && request.takes_trailers();
        let sendable = |fields: &HeaderMap| {
            let fields = fields.iter().filter(|(name, _)| !NO_TRAILERS.contains(&name.as_str()));
            fields.map(line).collect::<Vec<_>>()
        };
        let lines = trailers.iter().filter(|_| has_trailers).flat_map(sendable);
        assert_eq!(answer.trailers, lines.collect::<Vec<_>>());

        (missing == 0).then_some(close)
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

/// What only the server may set, in the order in which it names them.
const FORBIDDEN: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// What is no trailer.
const NO_TRAILERS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The lines that fields of an application become.
fn allowed(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let is_servers = |name: &HeaderName| FORBIDDEN.contains(&name.as_str()) || name == "content-length";
    fields.iter().filter(|(name, _)| !is_servers(name)).map(line).collect()
}

fn line((name, value): (&HeaderName, &HeaderValue)) -> (String, Vec<u8>) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = value.as_bytes();
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    (name.to_string(), value[start..end].to_vec())
}

/// Fields that an application could set: any name with any value that the types admit.
fn fields(script: &mut Script<'_>) -> HeaderMap {
    const NAMES: [&str; 14] = [
        "set-cookie",
        "content-type",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "date",
        "trailer",
        "te",
        "host",
        "x",
        "server",
        "etag",
    ];
    let mut fields = HeaderMap::new();
    for _ in 0..script.below(4) {
        let name = match script.below(NAMES.len() + 2) {
            at if at < NAMES.len() => NAMES[at].to_owned(),
            _ => script.text(8, super::request::TOKEN),
        };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let Ok(value) = HeaderValue::from_bytes(script.bytes(20)) else { continue };
        if name != "content-length" {
            fields.append(name, value);
        }
    }
    fields
}

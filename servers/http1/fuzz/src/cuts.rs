//! Any bytes in any pieces, against a server that does as it likes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use varvel_http1::{
    After, BodyEvent, BodyLength, CloseReason, Connection, DeadlineKind, Eof, Expired, Limits, Refusal,
    RequestFraming, RequestHead, Spare, UpgradeRequest,
};

use super::chunks;
use super::client::{Answer, Asked, End};
use super::config::config;
use super::script::Script;

const DATE: &[u8] = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// The first byte is the length of a script, which follows; the others are sent.
///
/// The script decides which limits are tight, in which pieces the bytes arrive, how time passes, and what
/// the server does.
pub fn cuts(data: &[u8]) {
    let Some((&length, rest)) = data.split_first() else { return };
    let (script, wire) = rest.split_at(rest.len().min(length.into()));
    let mut script = Script::new(script);
    let config = config(script.byte());
    let now = Instant::now();
    let mut server = Server {
        limits: config.limits.clone(),
        connection: Connection::new(Arc::new(config), now),
        script,
        now,
        wire,
        input: Bytes::new(),
        spare: Spare::default(),
        finished: false,
        out: Vec::new(),
        sent: Vec::new(),
        calls_left: 100 + 8 * data.len(),
    };
    while server.exchange() {}
    server.check_rest();
    server.check_output();
}

/// A server together with its peer.
struct Server<'a> {
    limits: Limits,
    connection: Connection,
    script: Script<'a>,
    now: Instant,
    /// What the peer has still to send.
    wire: &'a [u8],
    input: Bytes,
    spare: Spare,
    /// The peer has closed its sending side, and the connection was told.
    finished: bool,
    out: Vec<u8>,
    /// What was sent, request by request.
    sent: Vec<Sent>,
    /// How often the crate may still be called before this counts as a hang.
    calls_left: usize,
}

/// What a client must find for one request.
#[derive(Default)]
struct Sent {
    asked: Asked,
    interims: Vec<u16>,
    status: Option<u16>,
    body: Vec<u8>,
    /// Whether the end was sent, or its sending refused.
    end: Option<Result<(), ()>>,
    /// The head said that the connection closes.
    close: bool,
}

/// Why a wait is over.
enum Wake {
    Bytes,
    End,
    Expired(Expired),
}

impl Server<'_> {
    /// One request and its answer. Whether another may follow.
    fn exchange(&mut self) -> bool {
        let Some(head) = self.receive_head() else { return false };
        let asked = Asked {
            head: head.request.method() == Method::HEAD,
            connect: head.upgrade == Some(UpgradeRequest::Connect),
        };
        self.sent.push(Sent { asked, ..Sent::default() });
        assert_eq!(self.connection.wants_body(), head.framing.exact_len() != Some(0));
        let mut body = Body { framing: head.framing, content: Vec::new(), raw: Vec::new(), ended: false };
        while !self.script.is_used_up() && !self.script.one_in(8) {
            if !self.act(&mut body) {
                return false;
            }
        }
        if !self.script.one_in(3) && !self.read_body(&mut body) {
            return false;
        }
        self.send_head(BodyLength::Known(2));
        self.send_data(2);
        self.send_end() && self.next_exchange()
    }

    /// The next head, or `None` when the connection is over.
    fn receive_head(&mut self) -> Option<Box<RequestHead>> {
        loop {
            let before = self.input.clone();
            let mut spare = std::mem::take(&mut self.spare);
            let received =
                self.call(|connection, input, now| connection.receive_head(input, &mut spare, now));
            self.spare = spare;
            let head_bytes = behind_blank_lines(&before);
            match received {
                Ok(Some(head)) => {
                    let length = head_bytes.len() - self.input.len();
                    check_head(&head, &head_bytes.slice(..length), &self.limits);
                    // Not emptied, as it should be: nothing of it may get into the next request.
                    self.spare.headers = head.request.headers().clone();
                    return Some(head);
                }
                Ok(None) => {
                    assert_eq!(self.input, head_bytes, "only empty lines are taken from an unfinished head");
                    assert!(
                        self.input.len() <= self.limits.head_bytes_max as usize,
                        "a head beyond its limit"
                    );
                    if self.connection.close_reason().is_some() {
                        assert!(self.finished);
                        return None;
                    }
                }
                Err(refusal) => {
                    assert!(self.input.ends_with(&head_bytes), "nothing of a refused head is taken");
                    self.refuse(refusal, self.input.starts_with(b"HEAD "));
                    return None;
                }
            }
            match self.wait() {
                Wake::Bytes => {}
                Wake::End => {
                    let is_new = self.connection.is_idle();
                    let end = self.connection.receive_eof();
                    assert_eq!(end, if is_new { Eof::Clean } else { Eof::InHead });
                }
                Wake::Expired(Expired::Refuse(refusal)) => {
                    self.refuse(refusal, self.input.starts_with(b"HEAD "));
                    return None;
                }
                Wake::Expired(Expired::Close(_)) => return None,
                Wake::Expired(Expired::Body(fault)) => panic!("{fault} without a request"),
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal, head: bool) {
        let length = self.out.len();
        self.connection.send_refusal(refusal, DATE, &mut self.out);
        let status = Some(refusal.status().as_u16());
        let body = if head { String::new() } else { format!("{refusal}\n") };
        assert!(self.out[length..].ends_with(body.as_bytes()));
        let asked = Asked { head, connect: false };
        let end = Some(Ok(()));
        self.sent.push(Sent { asked, status, body: body.into(), end, close: true, ..Sent::default() });
        assert!(matches!(self.connection.next_exchange(&mut self.input, self.now), After::Close(_)));
    }

    /// Something a server may do with a request, in or out of place. Whether the connection goes on.
    fn act(&mut self, body: &mut Body) -> bool {
        match self.script.below(10) {
            0 => return self.read_piece(body),
            1 => {
                if self.connection.send_continue(&mut self.out) {
                    self.last().interims.push(100);
                }
            }
            2 => self.send_interim(),
            3 => {
                let length = match self.script.one_in(2) {
                    true => BodyLength::Unknown,
                    false => BodyLength::Known(self.script.below(40) as u64),
                };
                self.send_head(length);
            }
            4 | 5 => {
                let length = self.script.below(40);
                self.send_data(length);
            }
            6 => return self.send_end(),
            7 => {
                let (written, pending) = (self.script.below(1000), self.script.one_in(2));
                self.connection.output_progress(written, pending, self.now);
            }
            8 if self.script.one_in(4) => {
                self.connection.abort(CloseReason::Application);
                return false;
            }
            8 => self.connection.shutting_down(),
            _ => return !self.accept_upgrade(),
        }
        true
    }

    /// Reads to the end of the body, or to its fault. Whether the connection goes on.
    fn read_body(&mut self, body: &mut Body) -> bool {
        while !body.ended {
            if !self.read_piece(body) {
                return false;
            }
        }
        true
    }

    fn read_piece(&mut self, body: &mut Body) -> bool {
        let before = self.input.clone();
        let event = self.call(|connection, input, now| connection.receive_body(input, now));
        assert!(before.ends_with(&self.input), "the front of the input is taken");
        body.raw.extend_from_slice(&before[..before.len() - self.input.len()]);
        match event {
            Ok(BodyEvent::Data(data)) => {
                assert!(!data.is_empty());
                assert!(before.as_ptr_range().contains(&data.as_ptr()), "data is a slice of the input");
                body.content.extend_from_slice(&data);
                assert!(self.limits.body_bytes_max.is_none_or(|max| body.content.len() as u64 <= max));
            }
            Ok(BodyEvent::End(trailers)) => {
                if !body.ended {
                    body.check(&self.limits);
                }
                assert!(trailers.is_none() || body.framing == RequestFraming::Chunked);
                assert!(!self.connection.wants_body());
                body.ended = true;
            }
            Ok(BodyEvent::NeedMore) => {
                assert!(!self.finished, "more is wanted from a peer that has finished");
                assert!(
                    self.input.len() <= self.limits.trailer_bytes_max as usize,
                    "trailers beyond their limit"
                );
                match self.wait() {
                    Wake::Bytes => {}
                    Wake::End => assert_eq!(self.connection.receive_eof(), Eof::InBody),
                    Wake::Expired(Expired::Body(fault)) => self.check_fault(fault, body),
                    Wake::Expired(Expired::Close(_)) => return false,
                    Wake::Expired(Expired::Refuse(refusal)) => panic!("{refusal} in a body"),
                }
            }
            Err(fault) => self.check_fault(fault, body),
        }
        true
    }

    fn check_fault(&mut self, fault: varvel_http1::BodyFault, body: &mut Body) {
        let again = self.call(|connection, input, now| connection.receive_body(input, now));
        assert_eq!(again, Err(fault), "a failed body stays failed");
        assert_eq!(self.connection.close_reason(), Some(CloseReason::Body(fault)));
        body.ended = true;
    }

    fn send_interim(&mut self) {
        let status = StatusCode::from_u16(100 + self.script.below(120) as u16).unwrap();
        let length = self.out.len();
        let sent = self.connection.send_interim(status, &fields(&mut self.script), &mut self.out);
        match self.out.len() > length {
            true => {
                assert_eq!(sent, Ok(()));
                self.last().interims.push(status.as_u16());
            }
            false => assert!(sent.is_err() || status == StatusCode::CONTINUE),
        }
    }

    fn send_head(&mut self, body: BodyLength) {
        let status = match self.script.below(8) {
            0..4 => 200,
            4 => self.script.pick(&[101, 204, 205, 304]),
            _ => 100 + self.script.below(900) as u16,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let fields = fields(&mut self.script);
        let length = self.out.len();
        match self.connection.send_head(status, &fields, body, DATE, &mut self.out) {
            Ok(head) => {
                let sent = self.last();
                assert_eq!(sent.status, None, "two heads for one request");
                sent.status = Some(status.as_u16());
                sent.close = head.close;
            }
            Err(_) => assert_eq!(self.out.len(), length, "a refused head writes nothing"),
        }
    }

    fn send_data(&mut self, length: usize) {
        let data: Vec<u8> =
            b"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".iter().copied().cycle().take(length).collect();
        let before = self.out.len();
        let frame = self.connection.send_data(length as u64, &mut self.out);
        let taken = &data[..frame.take as usize];
        if taken.is_empty() {
            assert!(self.out.len() == before && frame.suffix.is_empty(), "framing without data");
        }
        self.out.extend_from_slice(taken);
        self.out.extend_from_slice(frame.suffix);
        if let Some(sent) = self.sent.last_mut() {
            sent.body.extend_from_slice(taken);
        }
    }

    /// Ends the response. Whether the connection goes on.
    fn send_end(&mut self) -> bool {
        let trailers = fields(&mut self.script);
        let trailers = self.script.one_in(2).then_some(&trailers);
        let length = self.out.len();
        let end = self.connection.send_end(trailers, &mut self.out);
        assert!(end.is_ok() || self.out.len() == length, "a short response that looks finished");
        let sent = self.last();
        if sent.status.is_some() {
            sent.end.get_or_insert(end.map(drop).map_err(drop));
        }
        end.is_ok()
    }

    /// Whether the connection is a tunnel now.
    fn accept_upgrade(&mut self) -> bool {
        let mut fields = fields(&mut self.script);
        fields.insert(header::UPGRADE, HeaderValue::from_static("new/1"));
        let length = self.out.len();
        if self.connection.accept_upgrade(&fields, DATE, &mut self.out).is_err() {
            assert_eq!(self.out.len(), length, "a refused upgrade writes nothing");
            return false;
        }
        let status = if self.last().asked.connect { 200 } else { 101 };
        self.last().status = Some(status);
        assert_eq!(self.connection.close_reason(), Some(CloseReason::Upgraded));
        assert_eq!(self.connection.deadline().filter(|deadline| deadline.kind != DeadlineKind::Write), None);
        true
    }

    /// Drops what is left of a request. Whether the connection goes on.
    fn next_exchange(&mut self) -> bool {
        let mut discarded = 0;
        loop {
            let before = self.input.len();
            let after = self.call(|connection, input, now| connection.next_exchange(input, now));
            discarded += before - self.input.len();
            let sent = self.last();
            match after {
                After::Close(reason) => {
                    assert_eq!(self.connection.close_reason(), Some(reason));
                    return false;
                }
                After::KeepAlive => {
                    assert!(!sent.close, "the head said that the connection closes");
                    assert_eq!(sent.end, Some(Ok(())), "nothing follows an unfinished response");
                    assert!(self.connection.is_idle());
                }
                After::Discard => {
                    assert!(!sent.close && self.connection.wants_body());
                    assert!(self.input.len() <= self.limits.trailer_bytes_max as usize);
                }
            }
            assert!(discarded <= self.limits.discard_bytes_max as usize, "{discarded} bytes were dropped");
            if after == After::KeepAlive {
                return true;
            }
            match self.wait() {
                Wake::Bytes => {}
                Wake::End => assert_eq!(self.connection.receive_eof(), Eof::InBody),
                Wake::Expired(Expired::Close(_)) => return false,
                Wake::Expired(expired) => panic!("{expired:?} while a body is dropped"),
            }
        }
    }

    /// Lets time pass, and the peer send something. Everything that waits for the peer comes through here, so
    /// here is where nothing may wait for ever.
    fn wait(&mut self) -> Wake {
        assert!(!self.finished, "a peer that has finished is waited for");
        let deadline = self.connection.deadline().expect("who waits has a deadline");
        match self.script.below(16) {
            15 => self.now = self.now.max(deadline.at),
            some => self.now += Duration::from_millis(100 * some as u64),
        }
        if let Some(expired) = self.connection.expire(self.now) {
            assert!(deadline.at <= self.now, "expired before its time");
            assert_eq!(self.connection.expire(self.now), None, "expired twice");
            assert!(self.connection.close_reason().is_some());
            return Wake::Expired(expired);
        }
        assert!(deadline.at > self.now, "not expired in its time");
        if self.wire.is_empty() {
            self.finished = true;
            return Wake::End;
        }
        let longest = self.script.pick(&[4096, 1, 3, 16, 64]);
        let length = 1 + self.script.below(longest);
        let length = if self.script.is_used_up() { self.wire.len() } else { length.min(self.wire.len()) };
        let (piece, rest) = self.wire.split_at(length);
        self.wire = rest;
        self.input = [&self.input[..], piece].concat().into();
        Wake::Bytes
    }

    /// A connection that is over stays so, whatever it is asked and sent.
    fn check_rest(&mut self) {
        let reason = self.connection.close_reason();
        assert!(reason.is_some(), "a connection ends for a reason");
        self.input = [&self.input[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat().into();
        let left = self.input.len();
        let written = self.out.len();
        let (input, out, now) = (&mut self.input, &mut self.out, self.now);
        let connection = &mut self.connection;
        assert!(!matches!(connection.receive_head(input, &mut Spare::default(), now), Ok(Some(_))));
        let is_answered = !matches!(self.sent.last(), Some(Sent { end: None, .. }));
        if is_answered || reason == Some(CloseReason::Upgraded) {
            assert!(!connection.send_continue(out));
            assert!(connection.send_interim(StatusCode::EARLY_HINTS, &HeaderMap::new(), out).is_err());
            assert!(
                connection
                    .send_head(StatusCode::OK, &HeaderMap::new(), BodyLength::Unknown, DATE, out)
                    .is_err()
            );
            assert!(connection.accept_upgrade(&HeaderMap::new(), DATE, out).is_err());
            assert_eq!(connection.send_data(9, out).take, 0);
            assert!(connection.send_end(None, out).is_ok());
        }
        assert!(matches!(connection.next_exchange(input, now), After::Close(_)));
        assert_eq!(connection.close_reason(), reason, "the reason stays");
        assert_eq!((input.len(), out.len()), (left, written), "nothing moves any more");
        // What is left to wait for has an end.
        connection.output_progress(0, false, now);
        if let Some(deadline) = connection.deadline() {
            assert!(connection.should_linger() && deadline.kind == DeadlineKind::Linger);
            assert_eq!(connection.expire(deadline.at), Some(Expired::Close(CloseReason::LingerTimeout)));
            assert_eq!(connection.deadline(), None);
        }
    }

    /// All that was written is what a strict client takes for the answers to its requests.
    fn check_output(&self) {
        let mut wire = &self.out[..];
        for (index, sent) in self.sent.iter().enumerate() {
            for &interim in &sent.interims {
                assert_eq!(Answer::read(&mut wire, sent.asked).status, interim);
            }
            let Some(status) = sent.status else { continue };
            let answer = Answer::read(&mut wire, sent.asked);
            assert_eq!(answer.status, status);
            assert_eq!(answer.body, sent.body);
            match sent.end {
                Some(Ok(())) => assert!(matches!(answer.end, End::Whole | End::Closed), "{answer:?}"),
                Some(Err(())) => assert_eq!(answer.end, End::Cut),
                None => {}
            }
            let is_last = index + 1 == self.sent.len();
            assert!(is_last || answer.end == End::Whole && !sent.close, "more behind the last answer");
            let close: &[&[u8]] = &[b"close"];
            assert_eq!(sent.close, answer.all("connection") == close);
            assert_eq!(answer.all("date").len(), 1);
        }
        assert!(wire.is_empty(), "more than was sent: {}", wire.escape_ascii());
    }

    fn call<T>(&mut self, method: impl FnOnce(&mut Connection, &mut Bytes, Instant) -> T) -> T {
        self.calls_left = self.calls_left.checked_sub(1).expect("progress");
        method(&mut self.connection, &mut self.input, self.now)
    }

    fn last(&mut self) -> &mut Sent {
        self.sent.last_mut().expect("a request")
    }
}

/// What came of a request body.
struct Body {
    framing: RequestFraming,
    content: Vec<u8>,
    /// What was taken from the input.
    raw: Vec<u8>,
    /// It has ended, or failed.
    ended: bool,
}

impl Body {
    /// Reads a whole body once more.
    fn check(&self, limits: &Limits) {
        match self.framing {
            RequestFraming::None => assert!(self.raw.is_empty()),
            RequestFraming::Length(length) => {
                assert!(self.raw == self.content && self.content.len() as u64 == length);
            }
            RequestFraming::Chunked => assert_eq!(chunks::decode(&self.raw, limits), self.content),
        }
    }
}

/// Fields of a response: allowed ones, forbidden ones, and such as are both.
fn fields(script: &mut Script<'_>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..script.below(4) {
        let (name, value) = script.pick(&[
            ("content-length", "2"),
            ("content-length", "10"),
            ("content-length", "007"),
            ("content-length", "-1"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("connection", "upgrade"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("upgrade", "new/1"),
            ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
            ("x", ""),
            ("trailer", "x"),
            ("te", "trailers"),
        ]);
        if name == "date" {
            fields.insert(name, HeaderValue::from_static(value));
        } else {
            fields.append(name, HeaderValue::from_static(value));
        }
    }
    fields
}

/// Cuts off what HTTP calls white space around a value (RFC 9110 section 5.6.3), and nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn behind_blank_lines(input: &Bytes) -> Bytes {
    let mut at = 0;
    while input[at..].starts_with(b"\r\n") {
        at += 2;
    }
    input.slice(at..)
}

/// Reads an accepted head again, plainly and strictly.
fn check_head(head: &RequestHead, bytes: &Bytes, limits: &Limits) {
    let text = bytes.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let fields = &lines[1..];
    assert!(bytes.len() <= limits.head_bytes_max as usize);
    assert!(fields.len() <= limits.header_count_max as usize);

    let request = &head.request;
    let version = request.version();
    let line = lines[0].strip_suffix(b"\r").unwrap_or(lines[0]);
    assert!(line.len() <= limits.request_line_bytes_max as usize);
    let start = [request.method().as_str().as_bytes(), b" ", &head.target, b" HTTP/1."].concat();
    let minor = line.strip_prefix(&start[..]).expect("method, target and version");
    assert!(matches!(minor, [b'0'..=b'9']));
    assert_eq!(version == Version::HTTP_10, minor == b"0");
    assert!(matches!(version, Version::HTTP_10 | Version::HTTP_11));

    let mut kept = HeaderMap::<&[u8]>::default();
    let (mut codings, mut lengths) = (Vec::new(), Vec::new());
    for (index, field) in fields.iter().enumerate() {
        // The CR of the last one went with the empty line.
        let field = if index + 1 < fields.len() { field.strip_suffix(b"\r").expect("CRLF") } else { field };
        let colon = field.iter().position(|&byte| byte == b':').expect("a colon");
        let (name, value) = (&field[..colon], trim(&field[colon + 1..]));
        assert!(!value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f), "a control byte");
        let name = header::HeaderName::from_bytes(name).expect("a name");
        match name {
            header::TRANSFER_ENCODING => codings.push(value),
            _ => drop(kept.append(name.clone(), value)),
        }
        if name == header::CONTENT_LENGTH {
            lengths.push(value);
        }
    }
    assert_eq!(request.headers().len(), kept.len());
    for name in request.headers().keys() {
        let values = request.headers().get_all(name).iter().map(|value| value.as_bytes());
        assert!(values.eq(kept.get_all(name).iter().copied()), "{name}: values and their order");
    }
    for value in request.headers().values() {
        let is_slice = value.is_empty() || bytes.as_ptr_range().contains(&value.as_bytes().as_ptr());
        // A head of a higher minor version is parsed from a copy.
        assert!(is_slice || minor > &b"1"[..], "a value is a slice of the input");
    }
    assert!(version == Version::HTTP_10 || request.headers().get_all(header::HOST).iter().count() == 1);
    if matches!(head.target[0], b'/' | b'*') {
        let host = kept.get(header::HOST).copied().filter(|host| !host.is_empty());
        assert_eq!(head.authority.as_ref().map(|authority| authority.as_str().as_bytes()), host);
    }

    match head.framing {
        RequestFraming::None => assert!(codings.is_empty() && lengths.is_empty()),
        RequestFraming::Length(length) => {
            let sent = std::str::from_utf8(lengths[0]).expect("digits");
            assert!(codings.is_empty() && lengths.len() == 1 && sent.parse() == Ok(length));
            assert!(sent.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(limits.body_bytes_max.is_none_or(|max| length <= max));
        }
        RequestFraming::Chunked => {
            assert!(lengths.is_empty() && version == Version::HTTP_11);
            assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"));
        }
    }
    if head.upgrade.is_some() {
        assert_eq!(head.framing.exact_len(), Some(0), "an offer has no body");
    }
}

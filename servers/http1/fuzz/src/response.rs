//! A response as an application may make it up, what must become of it, and what of it must be on the wire.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use varvel_http1::{BodyLength, Connection, ResponseFraming, SentHead};

use super::client::{Answer, Asked, End};
use super::request::TOKEN;
use super::script::Script;

pub(crate) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What only the server may set, in the order in which the crate names them.
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

#[derive(Debug)]
pub(crate) struct Response {
    status: StatusCode,
    fields: HeaderMap,
    /// A valid Content-Length among the fields.
    declared: Option<u64>,
    length: BodyLength,
    pieces: Vec<Vec<u8>>,
    trailers: Option<HeaderMap>,
}

/// What a response depends on beside itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) asked: Asked,
    pub(crate) is_http10: bool,
    pub(crate) takes_trailers: bool,
    /// The connection closes whatever the response is.
    pub(crate) closes: bool,
}

impl Response {
    /// One that is no tunnel, if `asked` by CONNECT.
    pub(crate) fn make_up(script: &mut Script<'_>, asked: Asked) -> Response {
        let lowest = if asked.connect { 300 } else { 200 };
        let status = match script.below(3) {
            0 if !asked.connect => script.pick(&[200, 204, 205]),
            1 => 304,
            _ => lowest + script.below(1000 - usize::from(lowest)) as u16,
        };
        let pieces: Vec<Vec<u8>> = (0..script.below(4)).map(|_| script.bytes(60).to_vec()).collect();
        let length = pieces.iter().map(Vec::len).sum::<usize>() as u64;
        let mut fields = fields(script);
        let declared = match script.below(6) {
            0 => Some(length),
            1 => Some(script.below(100) as u64),
            _ => None,
        };
        if let Some(length) = declared {
            fields.insert("content-length", HeaderValue::from(length));
        } else if script.one_in(8) {
            let invalid = script.pick(&["", "x", "-1", "1, 1", "99999999999999999999", "0x1"]);
            fields.insert("content-length", HeaderValue::from_static(invalid));
        }
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            fields,
            declared,
            length: if script.one_in(2) { BodyLength::Known(length) } else { BodyLength::Unknown },
            pieces,
            trailers: script.one_in(2).then(|| self::fields(script)),
        }
    }

    /// Sends it. Gives how many bytes of its declared length were missing.
    pub(crate) fn send(&self, connection: &mut Connection, setting: Setting, out: &mut Vec<u8>) -> u64 {
        let date_line = format!("date: {DATE}\r\n");
        let sent = connection.send_head(self.status, &self.fields, self.length, date_line.as_bytes(), out);
        self.check_sent(&sent.expect("a response is awaited"), setting);

        let mut left = self.body(setting);
        for piece in &self.pieces {
            let before = out.len();
            let frame = connection.send_data(piece.len() as u64, out);
            let taken = &piece[..frame.take as usize];
            assert_eq!(taken.len(), piece.len().min(left.len()));
            assert_eq!(frame.excess, taken.len() < piece.len() && !setting.asked.head);
            assert!(!taken.is_empty() || out.len() == before, "framing without data");
            out.extend_from_slice(taken);
            out.extend_from_slice(frame.suffix);
            left.drain(..taken.len());
        }

        let before = out.len();
        let end = connection.send_end(self.trailers.as_ref(), out);
        let missing = self.missing(setting);
        assert_eq!(end.err().map_or(0, |short| short.missing), missing);
        assert!(missing == 0 || out.len() == before, "a short response that looks finished");
        missing
    }

    fn check_sent(&self, sent: &SentHead, setting: Setting) {
        let framing = if setting.asked.head { ResponseFraming::None } else { self.framing(setting) };
        assert_eq!(sent.framing, framing);
        assert_eq!(sent.close, self.closes(setting), "{self:?} {setting:?}");
        let status = self.status.as_u16();
        if !matches!(status, 204 | 205 | 304) {
            let is_other =
                |declared: &u64| !matches!(self.length, BodyLength::Known(known) if known == *declared);
            let is_told = self.length != BodyLength::Unknown && !setting.asked.head;
            assert_eq!(sent.length_mismatch, self.declared.filter(is_other).filter(|_| is_told));
        }
        let mut removed: Vec<&str> = FORBIDDEN.to_vec();
        removed.retain(|name| self.fields.contains_key(*name));
        if self.fields.contains_key("content-length") && (self.declared.is_none() || status == 204) {
            removed.push("content-length");
        }
        assert_eq!(sent.removed.names().collect::<Vec<_>>(), removed);
    }

    /// Whether this is what a client has read.
    pub(crate) fn check(&self, answer: &Answer, setting: Setting) {
        assert_eq!(answer.status, self.status.as_u16());
        assert_eq!(answer.reason, self.status.canonical_reason().unwrap_or_default());
        assert_eq!(answer.body, self.body(setting));
        let framing = self.framing(setting);
        let end = match framing {
            _ if self.missing(setting) > 0 => End::Cut,
            // A client cannot see that a body it did not get would have ended with the connection.
            ResponseFraming::UntilClose if !setting.asked.head => End::Closed,
            _ => End::Whole,
        };
        assert_eq!(answer.end, end);

        let mut lines = allowed(&self.fields);
        let mut add = |name: &str, value: &str| lines.push((name.to_owned(), value.as_bytes().to_vec()));
        if !self.fields.contains_key("date") {
            add("date", DATE);
        }
        match framing {
            ResponseFraming::Length(length) => add("content-length", &length.to_string()),
            ResponseFraming::Chunked => add("transfer-encoding", "chunked"),
            ResponseFraming::None | ResponseFraming::UntilClose => {
                let stands_for = self.declared.filter(|_| self.status == StatusCode::NOT_MODIFIED);
                stands_for.into_iter().for_each(|length| add("content-length", &length.to_string()));
            }
        }
        if self.closes(setting) {
            add("connection", "close");
        } else if setting.is_http10 {
            add("connection", "keep-alive");
        }
        assert_eq!(answer.fields, lines);

        let is_sent = framing == ResponseFraming::Chunked && !setting.asked.head && setting.takes_trailers;
        let trailers = self.trailers.iter().filter(|_| is_sent).flatten();
        let trailers = trailers.filter(|(name, _)| !NO_TRAILERS.contains(&name.as_str()));
        assert_eq!(answer.trailers, trailers.map(line).collect::<Vec<_>>());
    }

    /// Whether no request can follow.
    pub(crate) fn closes(&self, setting: Setting) -> bool {
        setting.closes || setting.asked.connect || self.framing(setting) == ResponseFraming::UntilClose
    }

    /// RFC 9112 section 6.3, from the sender's side; that of GET for HEAD.
    fn framing(&self, setting: Setting) -> ResponseFraming {
        match (self.status.as_u16(), self.declared, self.length) {
            (204 | 304, ..) => ResponseFraming::None,
            (205, ..) => ResponseFraming::Length(0),
            (_, Some(length), _) | (_, None, BodyLength::Known(length)) => ResponseFraming::Length(length),
            (_, None, BodyLength::Unknown) if setting.is_http10 => ResponseFraming::UntilClose,
            (_, None, BodyLength::Unknown) => ResponseFraming::Chunked,
        }
    }

    /// The bytes that are to arrive.
    fn body(&self, setting: Setting) -> Vec<u8> {
        let mut body = self.pieces.concat();
        match self.framing(setting) {
            _ if setting.asked.head => body.clear(),
            ResponseFraming::None => body.clear(),
            ResponseFraming::Length(length) => body.truncate(length as usize),
            ResponseFraming::Chunked | ResponseFraming::UntilClose => {}
        }
        body
    }

    fn missing(&self, setting: Setting) -> u64 {
        match self.framing(setting) {
            ResponseFraming::Length(length) if !setting.asked.head => {
                length - self.body(setting).len() as u64
            }
            _ => 0,
        }
    }
}

/// Fields that an application could set: any name with any value that the types admit.
pub(crate) fn fields(script: &mut Script<'_>) -> HeaderMap {
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
            _ => script.text(8, TOKEN),
        };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let Ok(value) = HeaderValue::from_bytes(script.bytes(20)) else { continue };
        if name != "content-length" {
            fields.append(name, value);
        }
    }
    fields
}

/// The lines that fields of an application become in a head.
pub(crate) fn allowed(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
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

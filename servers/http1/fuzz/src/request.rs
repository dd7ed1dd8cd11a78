//! A valid request, its bytes, and what must be understood of them.

use http::{HeaderMap, HeaderName, Method, Version};
use varvel_http1::{RequestFraming, RequestHead, UpgradeRequest};

use super::script::Script;

/// `tchar` (RFC 9110 section 5.6.2).
pub(crate) const TOKEN: &[u8] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";

/// What a path is made of, with what clients send although the grammar of URIs lacks it.
const PATH: &[u8] = b"abcxyzABCXYZ0189-._~!$&'()*+,;=:@/%\\^{|}[]";

/// The same with `?`, and the backtick, which `http::Uri` holds only here.
const QUERY: &[u8] = b"abcxyzABCXYZ0189-._~!$&'()*+,;=:@/%\\^`{|}[]?";

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    target: Target,
    pub(crate) version: Version,
    /// The value of Host, if there is one.
    host: Option<&'static str>,
    /// Names as they are written, values, and the white space around them.
    fields: Vec<(String, Vec<u8>, &'static str)>,
    pub(crate) body: Body,
    blank_line: bool,
}

#[derive(Debug)]
enum Target {
    Origin { path: String, query: Option<String> },
    Absolute { scheme: &'static str, authority: &'static str, path: String, query: Option<String> },
    Asterisk,
    Authority(&'static str),
}

#[derive(Debug)]
pub(crate) enum Body {
    None,
    Length { content: Vec<u8>, zeros: usize },
    Chunked { chunks: Vec<Chunk>, last: String, content: Vec<u8>, trailers: Vec<(String, Vec<u8>)> },
}

#[derive(Debug)]
pub(crate) struct Chunk {
    size_line: String,
    data: Vec<u8>,
}

impl Request {
    pub(crate) fn make_up(script: &mut Script<'_>) -> Request {
        let version = if script.one_in(4) { Version::HTTP_10 } else { Version::HTTP_11 };
        let method = match script.below(8) {
            0 | 1 => Method::GET,
            2 | 3 => Method::POST,
            4 => Method::HEAD,
            5 => Method::OPTIONS,
            6 => Method::CONNECT,
            _ => Method::from_bytes(script.text(9, TOKEN).as_bytes()).unwrap_or(Method::PUT),
        };
        let target = Target::make_up(script, &method);
        let has_host = version == Version::HTTP_11 || script.one_in(2);
        let host =
            has_host.then(|| script.pick(&["a", "", "a:80", "[::1]", "[::1]:65535", "1.2.3.4:1", "b-c.d:"]));
        let body = match script.below(4) {
            _ if method == Method::CONNECT => Body::None,
            0 | 1 => Body::None,
            2 => Body::Length { content: script.bytes(80).to_vec(), zeros: script.below(3) },
            _ if version == Version::HTTP_10 => Body::None,
            _ => Body::chunked(script),
        };
        let mut fields = Vec::new();
        for _ in 0..script.below(5) {
            fields.push(field(script));
        }
        Request { method, target, version, host, fields, body, blank_line: script.one_in(8) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.blank_line {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(
            format!("{} {} {:?}\r\n", self.method, self.target.text(), self.version).as_bytes(),
        );
        let (before, behind) = self.fields.split_at(self.fields.len() / 2);
        let write = |out: &mut Vec<u8>, fields: &[(String, Vec<u8>, &str)]| {
            for (name, value, space) in fields {
                let space = space.as_bytes();
                for part in [name.as_bytes(), b":", space, value, space, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        };
        write(&mut out, before);
        if let Some(host) = self.host {
            out.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        write(&mut out, behind);
        match &self.body {
            Body::None => out.extend_from_slice(b"\r\n"),
            Body::Length { content, zeros } => {
                let length = format!("Content-Length: {}{}\r\n\r\n", "0".repeat(*zeros), content.len());
                out.extend_from_slice(length.as_bytes());
                out.extend_from_slice(content);
            }
            Body::Chunked { chunks, last, trailers, .. } => {
                out.extend_from_slice(b"transfer-Encoding:Chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend_from_slice(chunk.size_line.as_bytes());
                    out.extend_from_slice(&chunk.data);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(last.as_bytes());
                for (name, value) in trailers {
                    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                        out.extend_from_slice(part);
                    }
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    pub(crate) fn check(&self, head: &RequestHead) {
        let request = &head.request;
        assert_eq!(request.method(), self.method);
        assert_eq!(request.version(), self.version);
        assert_eq!(head.target, self.target.text());
        self.target.check(request.uri());
        let authority = self.target.authority().or(self.host.filter(|host| !host.is_empty()));
        assert_eq!(head.authority.as_ref().map(|authority| authority.as_str()), authority);

        let mut fields = HeaderMap::new();
        let (before, behind) = self.fields.split_at(self.fields.len() / 2);
        let host = self.host.map(|host| ("host".to_owned(), host.into(), ""));
        for (name, value, _) in before.iter().chain(&host).chain(behind) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        if let Body::Length { content, zeros } = &self.body {
            let length = format!("{}{}", "0".repeat(*zeros), content.len());
            fields.append("content-length", length.parse().unwrap());
        }
        assert_eq!(*request.headers(), fields);

        let framing = match &self.body {
            Body::None => RequestFraming::None,
            Body::Length { content, .. } => RequestFraming::Length(content.len() as u64),
            Body::Chunked { .. } => RequestFraming::Chunked,
        };
        assert_eq!(head.framing, framing);
        assert_eq!(head.expects_continue, self.expects_continue());
        assert_eq!(head.te_trailers, self.takes_trailers());
        let is_http11 = self.version == Version::HTTP_11;
        let upgrade = match () {
            () if self.method == Method::CONNECT => Some(UpgradeRequest::Connect),
            () if is_http11
                && !self.has_body()
                && self.lists("connection", "upgrade")
                && self.has("upgrade") =>
            {
                Some(UpgradeRequest::Protocol)
            }
            () => None,
        };
        assert_eq!(head.upgrade, upgrade);
    }

    /// Whether bytes come behind the head.
    pub(crate) fn has_body(&self) -> bool {
        match &self.body {
            Body::None => false,
            Body::Length { content, .. } => !content.is_empty(),
            Body::Chunked { .. } => true,
        }
    }

    pub(crate) fn expects_continue(&self) -> bool {
        self.version == Version::HTTP_11 && self.has_body() && self.has("expect")
    }

    pub(crate) fn takes_trailers(&self) -> bool {
        self.lists("te", "trailers")
    }

    /// Whether the client wants no further request on this connection (RFC 9112 section 9.3).
    pub(crate) fn closes(&self) -> bool {
        let keeps = self.version == Version::HTTP_11 || self.lists("connection", "keep-alive");
        self.lists("connection", "close") || !keeps
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.0.eq_ignore_ascii_case(name))
    }

    fn lists(&self, name: &str, word: &str) -> bool {
        let named = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        named.filter_map(|field| std::str::from_utf8(&field.1).ok()).any(|value| {
            value.split(',').any(|element| element.trim_matches([' ', '\t']).eq_ignore_ascii_case(word))
        })
    }
}

/// A field of the request that has a meaning here, or one that has none.
fn field(script: &mut Script<'_>) -> (String, Vec<u8>, &'static str) {
    let space = script.pick(&[" ", "", "\t", " \t "]);
    let (name, value) = script.pick(&[
        ("", ""),
        ("Connection", "close"),
        ("connection", "Keep-Alive"),
        ("CONNECTION", "upgrade,x"),
        ("Connection", ", te\t,keep-alive"),
        ("Upgrade", "websocket"),
        ("upgrade", "h2c , a/1.0"),
        ("Expect", "100-Continue"),
        ("TE", "trailers"),
        ("te", "gzip;q=0.5 ,Trailers"),
        ("TE", "deflate"),
        ("Cookie", "a=b"),
        ("Accept", ""),
        ("Trailer", "x"),
    ]);
    if !name.is_empty() {
        return (name.to_owned(), value.into(), space);
    }
    (format!("x{}", script.text(6, TOKEN)), value_bytes(script), space)
}

/// Any bytes that a value may have; white space around it is no part of it.
fn value_bytes(script: &mut Script<'_>) -> Vec<u8> {
    let bytes = script.bytes(24).iter().map(|&byte| if byte < b' ' || byte == 0x7f { b'\t' } else { byte });
    let value: Vec<u8> = bytes.collect();
    value.trim_ascii().to_vec()
}

impl Target {
    fn make_up(script: &mut Script<'_>, method: &Method) -> Target {
        const AUTHORITIES: [&str; 5] = ["a:1", "[::1]:443", "1.2.3.4:80", "a_b.c:8080", "d:65535"];
        if *method == Method::CONNECT {
            return Target::Authority(script.pick(&AUTHORITIES));
        }
        if *method == Method::OPTIONS && script.one_in(2) {
            return Target::Asterisk;
        }
        let path = format!("/{}", script.text(12, PATH));
        let query = script.one_in(2).then(|| script.text(12, QUERY));
        match script.one_in(4) {
            true => {
                let scheme = script.pick(&["http", "https", "HTTP"]);
                let authority = script.pick(&AUTHORITIES);
                let path = if script.one_in(3) { String::new() } else { path };
                Target::Absolute { scheme, authority, path, query }
            }
            false => Target::Origin { path, query },
        }
    }

    fn text(&self) -> String {
        let with_query = |path: &str, query: &Option<String>| match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        match self {
            Target::Origin { path, query } => with_query(path, query),
            Target::Absolute { scheme, authority, path, query } => {
                format!("{scheme}://{authority}{}", with_query(path, query))
            }
            Target::Asterisk => "*".into(),
            Target::Authority(authority) => (*authority).into(),
        }
    }

    fn authority(&self) -> Option<&str> {
        match self {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => None,
        }
    }

    fn check(&self, uri: &http::Uri) {
        match self {
            Target::Origin { path, query } | Target::Absolute { path, query, .. } => {
                let is_server = path.is_empty() && query.is_none() && uri.path() == "*";
                let path = if path.is_empty() { "/" } else { path };
                assert!(uri.path() == path || is_server, "{uri} is not {path}");
                assert_eq!(uri.query(), query.as_deref());
                assert_eq!(uri.authority(), None);
            }
            Target::Asterisk => assert_eq!(uri.path(), "*"),
            Target::Authority(authority) => {
                assert_eq!(uri.authority().map(|authority| authority.as_str()), Some(*authority));
            }
        }
    }
}

impl Body {
    fn chunked(script: &mut Script<'_>) -> Body {
        let mut chunks = Vec::new();
        for _ in 0..script.below(5) {
            let data = script.bytes(40).to_vec();
            if !data.is_empty() {
                chunks.push(Chunk { size_line: size_line(script, data.len()), data });
            }
        }
        let content = chunks.iter().flat_map(|chunk| chunk.data.clone()).collect();
        let last = size_line(script, 0);
        let mut trailers = Vec::new();
        for _ in 0..script.below(4) {
            let name = match script.one_in(3) {
                true => {
                    script.pick(&["content-length", "host", "Transfer-Encoding", "authorization"]).to_owned()
                }
                false => format!("X{}", script.text(6, TOKEN)),
            };
            trailers.push((name, value_bytes(script)));
        }
        Body::Chunked { chunks, last, content, trailers }
    }

    pub(crate) fn content(&self) -> &[u8] {
        match self {
            Body::None => &[],
            Body::Length { content, .. } | Body::Chunked { content, .. } => content,
        }
    }

    pub(crate) fn check_trailers(&self, seen: Option<&HeaderMap>) {
        let mut expected = HeaderMap::new();
        if let Body::Chunked { trailers, .. } = self {
            for (name, value) in trailers {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                if !matches!(name.as_str(), "content-length" | "host" | "transfer-encoding") {
                    expected.append(name, http::HeaderValue::from_bytes(value).unwrap());
                }
            }
        }
        assert_eq!(seen.cloned().unwrap_or_default(), expected);
    }
}

/// Every way the grammar has to write a size.
fn size_line(script: &mut Script<'_>, size: usize) -> String {
    let zeros = "0".repeat(script.below(4));
    let size = if script.one_in(2) { format!("{zeros}{size:X}") } else { format!("{zeros}{size:x}") };
    let mut line = size;
    for _ in 0..script.below(4) {
        let space = script.pick(&["", " ", "\t "]);
        let name = format!("n{}", script.text(4, TOKEN));
        line.push_str(&format!("{space};{space}{name}"));
        match script.below(3) {
            0 => {}
            1 => line.push_str(&format!("{space}={space}v{}", script.text(4, TOKEN))),
            _ => {
                let text = script.text(8, b"abc;,= \t\r\n0\"\\");
                let text = text.replace(['\r', '\n'], "-").replace('\\', "\\\\").replace('"', "\\\"");
                line.push_str(&format!("{space}={space}\"{text}\""));
            }
        }
    }
    line.push_str("\r\n");
    line
}

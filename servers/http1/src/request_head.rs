//! From the bytes of a head to a [`RequestHead`].
//!
//! ```text
//!   input: | GET /a HTTP/1.1 CRLF Host: x CRLF CRLF | the next bytes ...
//!            ^^^ ^^                     ^
//!            |   +- target, uri         +- values: slices of `input`, nothing is copied
//!            +- a constant for the known ones
//! ```
//!
//! A head that is whole at first sight is parsed at once, but for its fields if they are those of the connection's last
//! request (see [`section_memo`](crate::section_memo)). Whatever is not whole and correct goes through the
//! [`HeadScanner`], which finds the end or names the fault, and is parsed afterwards.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};

use crate::close_reason::CloseReason;
use crate::error::Refusal;
use crate::field_lines::NoSection;
use crate::framing::RequestFraming;
use crate::grammar::{is_target, is_token, list};
use crate::head_scanner::{HeadScanner, ScanLimits};
use crate::known_fields::{Host, KnownFields};
use crate::limits::Limits;
use crate::section_memo::Digest;
use crate::spare::Spare;
use crate::target::Target;

/// A request without its body.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// Method, URI, version and fields.
    ///
    /// The URI is path and query, exactly as sent; `*` for OPTIONS of the whole server; host and port for
    /// CONNECT. The version is 1.0 or 1.1: higher minor versions count as 1.1 (RFC 9110 section 2.5).
    /// Transfer-Encoding is missing from the fields, because the body is delivered without it.
    pub request: Request<()>,
    /// The request target exactly as on the wire.
    pub target: Bytes,
    /// Host and port the request is for: from the target if it has them, else from Host. `None` if Host is
    /// missing (HTTP/1.0) or empty.
    pub authority: Option<Authority>,
    /// How the body is delimited.
    pub framing: RequestFraming,
    /// The peer waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The change of protocol on offer, see [`accept_upgrade`](crate::Connection::accept_upgrade).
    pub upgrade: Option<UpgradeRequest>,
    /// The peer sent `TE: trailers`, so trailers of a chunked response will reach it.
    pub te_trailers: bool,
    /// Bytes of input the head takes.
    pub(crate) length: usize,
    /// Why no request may follow, if so.
    pub(crate) close: Option<CloseReason>,
}

/// What a request offers to turn the connection into. An offer with a body is not taken up: the body would
/// have to be read first, and no protocol in use needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeRequest {
    /// One of the protocols in the `upgrade` field of the request (RFC 9110 section 7.8).
    Protocol,
    /// A tunnel to the authority (RFC 9110 section 9.3.6).
    Connect,
}

impl UpgradeRequest {
    /// The first protocol in the `upgrade` fields of a request: what to accept when nobody chose.
    pub fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
        let first =
            headers.get_all(header::UPGRADE).iter().find_map(|value| list(value.as_bytes()).next())?;
        HeaderValue::from_bytes(first).ok()
    }
}

/// What reading a head takes and changes. The input does not begin with an empty line.
pub(crate) struct Reading<'a> {
    pub(crate) input: &'a Bytes,
    pub(crate) limits: &'a Limits,
    /// The digest of the connection's last header section.
    pub(crate) last: &'a mut Digest,
    pub(crate) spare: &'a mut Spare,
    /// What is filled.
    pub(crate) head: &'a mut RequestHead,
}

impl Reading<'_> {
    /// Fills the head. `false` if its end is missing; then `scanner` knows how far the input was looked at.
    #[inline]
    pub(crate) fn read(mut self, scanner: &mut HeadScanner) -> Result<bool, Refusal> {
        if scanner.is_new() && self.parse()? {
            return Ok(true);
        }
        self.read_scanned(scanner)
    }

    /// For heads that come in pieces, and for those that are refused.
    #[cold]
    fn read_scanned(mut self, scanner: &mut HeadScanner) -> Result<bool, Refusal> {
        let bounds = ScanLimits {
            request_line_bytes: self.limits.request_line_bytes_max,
            bytes: self.limits.head_bytes_max,
            fields: self.limits.header_count_max,
        };
        if scanner.scan(self.input, &bounds)?.is_none() {
            return Ok(false);
        }
        match self.parse()? {
            true => Ok(true),
            // The scanner and the parser accept the same heads; if they ever differ, the head is in doubt.
            false => Err(Refusal::FieldNameInvalid),
        }
    }

    /// Fills the head, unless there is none that is whole, within the limits and correct by its bytes; why is for the
    /// scanner to say.
    #[inline(always)]
    fn parse(&mut self) -> Result<bool, Refusal> {
        let Self { input, limits, last, spare, head } = self;
        let Some((line, start)) = RequestLine::read(input) else { return Ok(false) };
        let fields = head.request.headers_mut();
        if !fields.is_empty() {
            // A map with fields would lend them to this request.
            fields.clear();
        }
        let lines_max = limits.header_count_max.min(HeadScanner::FIELDS_MAX.into()) as usize;
        let remembered = spare.sections.find(**last, &input[start..], lines_max);
        let is_remembered = remembered.is_some();
        let known = match remembered {
            Some(section) => section.recall(fields),
            None => match KnownFields::read(input, start, lines_max, spare, fields) {
                Ok(known) => known,
                Err(NoSection) => return Ok(false),
            },
        };
        let length = start + known.length;
        if line.length() > limits.request_line_bytes_max as usize || length > limits.head_bytes_max as usize {
            return Ok(false);
        }
        head.length = length;
        line.understand(input, head)?;
        judge(known, limits, head)?;
        if !is_remembered {
            spare.sections.seen(&input[start..length], last);
        }
        Ok(true)
    }
}

/// A request line as it is written.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    /// The line at the beginning of `input`, and where it has ended; none if it is not whole and correct.
    fn read(input: &'a [u8]) -> Option<(RequestLine<'a>, usize)> {
        let method = input.iter().position(|&byte| !is_token(byte)).filter(|&end| end > 0)?;
        let rest = input[method..].strip_prefix(b" ")?;
        let target = rest.iter().position(|&byte| !is_target(byte)).filter(|&end| end > 0)?;
        let [minor, b'\r', b'\n', ..] = rest[target..].strip_prefix(b" HTTP/1.")? else { return None };
        let version = match minor {
            b'0' => Version::HTTP_10,
            b'1'..=b'9' => Version::HTTP_11,
            _ => return None,
        };
        let line = RequestLine { method: &input[..method], target: &rest[..target], version };
        let end = line.length() + "\r\n".len();
        Some((line, end))
    }

    /// Its length without its end.
    fn length(&self) -> usize {
        self.method.len() + " ".len() + self.target.len() + " HTTP/1.1".len()
    }

    /// What the line means.
    #[inline(always)]
    fn understand(&self, input: &Bytes, head: &mut RequestHead) -> Result<(), Refusal> {
        let method = parse_method(self.method)?;
        // The commonest target of all needs no share in the input.
        let target =
            if self.target == b"/" { Bytes::from_static(b"/") } else { input.slice_ref(self.target) };
        let Target { uri, authority } = Target::parse(&method, &target)?;
        *head.request.method_mut() = method;
        *head.request.uri_mut() = uri;
        *head.request.version_mut() = self.version;
        head.target = target;
        head.authority = authority;
        Ok(())
    }
}

/// What the fields mean, with the line. Here a head that is correct by its bytes is refused for what it says.
#[inline(always)]
fn judge(known: KnownFields, limits: &Limits, head: &mut RequestHead) -> Result<(), Refusal> {
    if let Some(fault) = known.fault {
        return Err(fault);
    }
    let version = head.request.version();
    let is_http11 = version == Version::HTTP_11;
    let is_connect = head.request.method() == Method::CONNECT;
    let host = match known.host {
        // RFC 9112 section 3.2: HTTP/1.1 needs Host even where the target overrides it.
        Host::Missing if is_http11 => return Err(Refusal::HostMissing),
        Host::Missing | Host::Empty => None,
        Host::Is(host) => Some(host),
    };
    let framing = known.framing.judge(version)?;
    let has_body = framing.exact_len() != Some(0);
    if limits.body_bytes_max.is_some_and(|max| framing.exact_len() > Some(max)) {
        return Err(Refusal::BodyTooLarge);
    }
    if has_body && is_connect {
        return Err(Refusal::ConnectWithBody);
    }
    // RFC 9110 section 10.1.1: a server ignores the expectations of HTTP/1.0.
    if known.expects_unknown && is_http11 {
        return Err(Refusal::ExpectationUnknown);
    }
    if head.authority.is_none() {
        head.authority = host;
    }
    head.framing = framing;
    head.expects_continue = known.expects_continue && is_http11 && has_body;
    head.upgrade = match () {
        () if is_connect => Some(UpgradeRequest::Connect),
        () if is_http11 && known.connection_upgrade && known.upgrade == Some(true) && !has_body => {
            Some(UpgradeRequest::Protocol)
        }
        () => None,
    };
    head.te_trailers = known.te_trailers;
    // RFC 9112 section 9.3.
    head.close = match () {
        () if known.connection_close => Some(CloseReason::PeerAsked),
        () if is_http11 || known.connection_keep_alive => None,
        () => Some(CloseReason::Http10),
    };
    Ok(())
}

fn parse_method(method: &[u8]) -> Result<Method, Refusal> {
    match method {
        b"GET" => Ok(Method::GET),
        b"POST" => Ok(Method::POST),
        b"HEAD" => Ok(Method::HEAD),
        _ => Method::from_bytes(method).map_err(|_| Refusal::MethodInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that is read on its own.
    fn with<T>(input: &Bytes, limits: &Limits, read: impl FnOnce(Reading<'_>) -> T) -> (T, RequestHead) {
        let (mut last, mut spare, mut head) = (Digest::default(), Spare::default(), RequestHead::default());
        let reading = Reading { input, limits, last: &mut last, spare: &mut spare, head: &mut head };
        (read(reading), head)
    }

    /// The scanner says where a head ends and why it is refused, the parser what is in it. They must accept
    /// the same heads, or one would be refused for no reason, or accepted against the rules.
    #[test]
    fn scanner_and_parser_accept_the_same_heads() {
        const LINES: [&str; 12] = [
            "GET / HTTP/1.1\r\n",
            "POST /a?b HTTP/1.0\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.3\r\n",
            "A: b\r\n",
            "A:\r\n",
            "Long-Name:  value with words \t\r\n",
            "B: \u{e4}\r\n",
            "C: d\n",
            "\r\n",
            "\r\n",
            "\n",
        ];
        const BYTES: &[u8] = b"\r\n\0 \t:A/?#\x0b\x7f\x80\xff\"1";
        let limits = Limits {
            header_count_max: 5,
            head_bytes_max: 120,
            request_line_bytes_max: 24,
            ..Limits::default()
        };
        let bounds = ScanLimits { request_line_bytes: 24, bytes: 120, fields: 5 };
        let mut state = 7u64;
        let mut random = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let mut bytes = Vec::from(LINES[random(4)]);
            for _ in 0..random(7) {
                bytes.extend_from_slice(LINES[4 + random(8)].as_bytes());
            }
            bytes.extend_from_slice(b"\r\nbehind");
            if random(3) == 0 {
                let at = 1 + random(bytes.len() - 1);
                bytes[at] = BYTES[random(BYTES.len())];
            }
            let input = Bytes::from(bytes);
            let shown = input.escape_ascii();
            let mut scanner = HeadScanner::HEAD;
            if let Ok(Some(length)) = scanner.scan(&input, &bounds) {
                accepted += 1;
                let (parsed, head) = with(&input, &limits, |mut reading| reading.parse());
                assert!(parsed != Ok(false), "only the scanner accepts {shown}");
                if parsed.is_ok() {
                    assert_eq!(head.length, length, "{shown}");
                }
            } else {
                refused += 1;
                let (parsed, _) = with(&input, &limits, |mut reading| reading.parse());
                assert_eq!(parsed, Ok(false), "only the parser accepts {shown}");
            }
        }
        assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
    }

    #[test]
    fn a_head_of_more_lines_than_can_be_counted_is_served_if_it_comes_in_one_piece() {
        let limits = Limits { header_count_max: 100_000, head_bytes_max: 1 << 20, ..Limits::default() };
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(u16::MAX.into()));
        let input = Bytes::from(head);
        let bounds = ScanLimits { request_line_bytes: 8192, bytes: 1 << 20, fields: 100_000 };
        let mut begun = HeadScanner::HEAD;
        assert_eq!(begun.scan(&input[..100], &bounds), Ok(None));
        for mut scanner in [HeadScanner::HEAD, begun] {
            let (read, _) = with(&input, &limits, |reading| reading.read(&mut scanner));
            assert_eq!(read, Err(Refusal::TooManyFields));
        }
    }
}

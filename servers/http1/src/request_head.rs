//! From the bytes of a head to a [`RequestHead`].
//!
//! ```text
//!   input: | GET /a HTTP/1.1 CRLF Host: x CRLF CRLF | the next bytes ...
//!            ^^^ ^^                     ^
//!            |   +- target, uri         +- values: slices of `input`, nothing is copied
//!            +- a constant for the known ones
//! ```
//!
//! A head that is whole at first sight is parsed at once, by one pass of httparse. Whatever is not whole and
//! correct goes through the [`HeadScanner`], which finds the end or names the fault, and is parsed
//! afterwards.

use std::mem::{self, MaybeUninit};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};

use crate::close_reason::CloseReason;
use crate::error::Refusal;
use crate::framing::{FramingFields, RequestFraming};
use crate::grammar::{is_target, is_token, list, lists};
use crate::head_scanner::{HeadScanner, ScanLimits};
use crate::host::parse_authority;
use crate::limits::Limits;
use crate::target::Target;

/// A request without its body.
#[derive(Debug)]
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

/// What the head of one request leaves for the next that is read on the same thread, of whichever connection. It changes
/// nothing but the time that reading takes.
#[derive(Debug, Default)]
pub struct Spare {
    /// The next request's fields are put into it, so that a map need not be allocated. Its own are thrown away.
    pub headers: HeaderMap,
    /// The last Host. Most requests to a server have the same, which need not be parsed again. It keeps the piece of
    /// input that it was read in.
    host: Option<Authority>,
}

impl Spare {
    /// The authority in a Host field, which is a part of `input`.
    fn authority(&mut self, input: &Bytes, host: &[u8]) -> Result<Authority, Refusal> {
        match &self.host {
            Some(last) if last.as_str().as_bytes() == host => Ok(last.clone()),
            _ => {
                let host = parse_authority(input.slice_ref(host)).ok_or(Refusal::HostInvalid)?;
                self.host = Some(host.clone());
                Ok(host)
            }
        }
    }
}

/// Takes a head from the beginning of `input`, which does not begin with an empty line. There is none if its end is
/// missing; then `scanner` knows how far it was looked at.
///
/// The head is handed over in `head`, here and below, because it is large: a result would be copied at every step.
#[inline]
pub(crate) fn read(
    input: &Bytes,
    scanner: &mut HeadScanner,
    limits: &Limits,
    spare: &mut Spare,
    head: &mut Option<RequestHead>,
) -> Result<(), Refusal> {
    if scanner.is_new() {
        parse(input, limits, spare, head)?;
        if head.is_some() {
            return Ok(());
        }
    }
    read_scanned(input, scanner, limits, spare, head)
}

/// For heads that come in pieces, and for those that are refused.
#[cold]
fn read_scanned(
    input: &Bytes,
    scanner: &mut HeadScanner,
    limits: &Limits,
    spare: &mut Spare,
    head: &mut Option<RequestHead>,
) -> Result<(), Refusal> {
    let bounds = ScanLimits {
        request_line_bytes: limits.request_line_bytes_max,
        bytes: limits.head_bytes_max,
        fields: limits.header_count_max,
    };
    let Some(length) = scanner.scan(input, &bounds)? else { return Ok(()) };
    parse(&as_minor_version_1(input.slice(..length)), limits, spare, head)?;
    // The scanner and the parser accept the same heads; if they ever differ, the head is in doubt.
    if head.is_none() { Err(Refusal::FieldNameInvalid) } else { Ok(()) }
}

/// A head of version 1.2 to 1.9 as one of 1.1, which is all httparse knows. There is no such version, so this
/// copy is rare.
fn as_minor_version_1(head: Bytes) -> Bytes {
    let minor = head.iter().position(|&byte| byte == b'\r').map_or(0, |end| end - 1);
    if head[minor] <= b'1' {
        return head;
    }
    let mut copy = Vec::from(head);
    copy[minor] = b'1';
    Bytes::from(copy)
}

/// Fields that are parsed without a heap allocation.
const FIELDS_ON_STACK: usize = 128;

/// Finds none if this is no head that is whole, within the limits and correct by its bytes; why is for the
/// scanner to say.
#[inline(always)]
fn parse(
    input: &Bytes,
    limits: &Limits,
    spare: &mut Spare,
    head: &mut Option<RequestHead>,
) -> Result<(), Refusal> {
    let count = limits.header_count_max as usize;
    let mut on_stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut on_heap;
    let room = if count <= FIELDS_ON_STACK {
        &mut on_stack[..count]
    } else {
        on_heap = Vec::new();
        on_heap.resize_with(count, MaybeUninit::uninit);
        &mut on_heap[..]
    };
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(input, room) {
        Ok(httparse::Status::Complete(length)) => length,
        _ => return Ok(()),
    };
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Ok(());
    };
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let line = RequestLine { method, target, version };
    if line.length() > limits.request_line_bytes_max as usize
        || length > limits.head_bytes_max as usize
        || !target.bytes().all(is_target)
        || !lines_end_in_crlf(input, length, parsed.headers)
    {
        return Ok(());
    }
    let built = build(input, length, line, parsed.headers, limits, spare, head);
    if built.is_err() {
        spare.headers.clear();
    }
    built
}

struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
}

impl RequestLine<'_> {
    fn length(&self) -> usize {
        self.method.len() + " ".len() + self.target.len() + " HTTP/1.1".len()
    }
}

/// httparse takes a lone LF for a line end and never a lone CR. So a line ends in CRLF if there is a CR two
/// bytes before the next; the last line is checked together with the empty one.
fn lines_end_in_crlf(input: &[u8], length: usize, fields: &[httparse::Header<'_>]) -> bool {
    let start = input.as_ptr() as usize;
    input[..length].ends_with(b"\r\n\r\n")
        && fields.iter().all(|field| input[field.name.as_ptr() as usize - start - 2] == b'\r')
}

/// What the bytes mean. Here a head that is correct by its bytes is refused for what it says.
#[inline(always)]
fn build(
    input: &Bytes,
    length: usize,
    line: RequestLine<'_>,
    fields: &[httparse::Header<'_>],
    limits: &Limits,
    spare: &mut Spare,
    head: &mut Option<RequestHead>,
) -> Result<(), Refusal> {
    let RequestLine { method, target, version } = line;
    let method = parse_method(method)?;
    // The commonest target of all needs no share in the input.
    let target = if target == "/" { Bytes::from_static(b"/") } else { input.slice_ref(target.as_bytes()) };
    let Target { uri, authority } = Target::parse(&method, &target)?;
    let known = KnownFields::read(input, fields, &mut spare.headers)?;

    // RFC 9112 section 3.2: HTTP/1.1 needs Host even where the target overrides it.
    let host = match known.host {
        None if version == Version::HTTP_11 => return Err(Refusal::HostMissing),
        None => None,
        Some([]) => None,
        Some(host) => Some(spare.authority(input, host)?),
    };
    let framing = known.framing.judge(version)?;
    let has_body = framing.exact_len() != Some(0);
    if limits.body_bytes_max.is_some_and(|max| framing.exact_len() > Some(max)) {
        return Err(Refusal::BodyTooLarge);
    }
    if has_body && method == Method::CONNECT {
        return Err(Refusal::ConnectWithBody);
    }
    // RFC 9110 section 10.1.1: a server ignores the expectations of HTTP/1.0.
    let is_http11 = version == Version::HTTP_11;
    if known.expects_unknown && is_http11 {
        return Err(Refusal::ExpectationUnknown);
    }
    let upgrade = match () {
        () if method == Method::CONNECT => Some(UpgradeRequest::Connect),
        () if is_http11 && known.connection_upgrade && known.upgrade == Some(true) && !has_body => {
            Some(UpgradeRequest::Protocol)
        }
        () => None,
    };
    // RFC 9112 section 9.3.
    let close = match () {
        () if known.connection_close => Some(CloseReason::PeerAsked),
        () if is_http11 || known.connection_keep_alive => None,
        () => Some(CloseReason::Http10),
    };

    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = mem::take(&mut spare.headers);
    *head = Some(RequestHead {
        request,
        target,
        authority: authority.or(host),
        framing,
        expects_continue: known.expects_continue && is_http11 && has_body,
        upgrade,
        te_trailers: known.te_trailers,
        length,
        close,
    });
    Ok(())
}

fn parse_method(method: &str) -> Result<Method, Refusal> {
    match method {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        "HEAD" => Ok(Method::HEAD),
        _ => Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::MethodInvalid),
    }
}

/// The fields this crate acts on.
#[derive(Default)]
struct KnownFields<'a> {
    host: Option<&'a [u8]>,
    framing: FramingFields,
    connection_close: bool,
    connection_keep_alive: bool,
    connection_upgrade: bool,
    expects_continue: bool,
    expects_unknown: bool,
    /// Whether all lines name protocols correctly, and there are any.
    upgrade: Option<bool>,
    te_trailers: bool,
}

impl<'a> KnownFields<'a> {
    /// One pass over the fields: into `map` with all but Transfer-Encoding, and a look at those that matter
    /// here.
    fn read(
        input: &Bytes,
        fields: &[httparse::Header<'a>],
        map: &mut HeaderMap,
    ) -> Result<KnownFields<'a>, Refusal> {
        if !map.is_empty() {
            // A map with fields would lend them to this request.
            map.clear();
        }
        let mut known = KnownFields::default();
        map.try_reserve(fields.len()).map_err(|_| Refusal::TooManyFields)?;
        for field in fields {
            let name =
                HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::FieldNameInvalid)?;
            match name {
                header::HOST if known.host.is_some() => return Err(Refusal::HostRepeated),
                header::HOST => known.host = Some(field.value),
                header::CONTENT_LENGTH => known.framing.add_content_length(field.value),
                header::TRANSFER_ENCODING => {
                    known.framing.add_transfer_encoding(field.value);
                    continue;
                }
                header::CONNECTION => {
                    known.connection_close |= lists(field.value, b"close");
                    known.connection_keep_alive |= lists(field.value, b"keep-alive");
                    known.connection_upgrade |= lists(field.value, b"upgrade");
                }
                header::EXPECT => {
                    for expectation in list(field.value) {
                        match expectation.eq_ignore_ascii_case(b"100-continue") {
                            true => known.expects_continue = true,
                            false => known.expects_unknown = true,
                        }
                    }
                }
                header::UPGRADE => {
                    known.upgrade = Some(known.upgrade != Some(false) && names_protocols(field.value));
                }
                header::TE => known.te_trailers |= lists(field.value, b"trailers"),
                _ => {}
            }
            // This validates again what httparse has validated; doing without could not be measured.
            let value = HeaderValue::from_maybe_shared(input.slice_ref(field.value))
                .map_err(|_| Refusal::FieldValueInvalid)?;
            map.try_append(name, value).map_err(|_| Refusal::TooManyFields)?;
        }
        Ok(known)
    }
}

/// A list of `name` or `name/version` with at least one element.
fn names_protocols(value: &[u8]) -> bool {
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(|&byte| is_token(byte));
    let mut any = false;
    list(value).all(|protocol| {
        any = true;
        let mut parts = protocol.splitn(2, |&byte| byte == b'/');
        parts.all(is_word)
    }) && any
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let mut head = None;
                let parsed =
                    parse(&as_minor_version_1(input.clone()), &limits, &mut Spare::default(), &mut head);
                assert!(parsed.is_err() || head.is_some(), "only the scanner accepts {shown}");
                if let Some(head) = head {
                    assert_eq!(head.length, length, "{shown}");
                }
            } else {
                refused += 1;
                let mut head = None;
                let parsed = parse(&input, &limits, &mut Spare::default(), &mut head);
                assert!(parsed.is_ok() && head.is_none(), "only the parser accepts {shown}");
            }
        }
        assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
    }
}

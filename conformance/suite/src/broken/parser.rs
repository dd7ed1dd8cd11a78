//! The head of a request, read line by line from a wire. Strict: what two recipients could read differently is refused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};

use super::{
    Fault,
    settings::Settings,
    wire::{Stuck, Wire},
};

/// The head of a well-formed request.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    /// As it stood in the request line.
    pub(super) target: Bytes,
    pub(super) uri: Uri,
    pub(super) authority: Option<Authority>,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) framing: BodyFraming,
    /// The options of all Connection lines, in lower case.
    pub(super) options: Vec<String>,
    pub(super) expects_continue: bool,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}

/// Why there is no head to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unserved {
    /// It is answered with this status.
    Refused(StatusCode),
    /// Nobody is there to be answered.
    Silence,
}

impl From<StatusCode> for Unserved {
    fn from(status: StatusCode) -> Self {
        Self::Refused(status)
    }
}

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// Empty lines that may precede a request line.
const LEADING_LINES: usize = 4;

/// Longer than any check waits.
const FOREVER: Duration = Duration::from_secs(3600);

/// Reads the head whose first byte has arrived.
pub(super) fn read_head(wire: &Wire, number: u64, settings: &Settings) -> Result<RequestHead, Unserved> {
    let forever = number > 1 && settings.has(Fault::TimesFirstHeadOnly);
    let until = Instant::now() + if forever { FOREVER } else { settings.tuning.head_timeout };
    let mut lines = Lines {
        wire,
        number,
        until,
        left: if settings.has(Fault::RefusesLongHeads) {
            4096
        } else {
            settings.tuning.head_bytes_max as usize
        },
        unlimited: settings.has(Fault::NoHeadLimit),
    };
    let (method, target, version) = request_line(&lines.request_line(settings)?, settings)?;
    let headers = fields(&mut lines, settings)?;

    let (uri, target_authority) = parse_target(&target, &method, settings)?;
    let host = host(&headers, version, settings)?;
    let authority = if settings.has(Fault::AuthorityIsHost) { host } else { target_authority.or(host) };
    let framing = framing(&headers, version, settings)?;
    if method == Method::CONNECT && framing != BodyFraming::None {
        return Err(BAD.into());
    }
    let options = connection_options(&headers, settings);
    let expects_continue = expects_continue(&headers, settings)? && version == Version::HTTP_11
        || settings.has(Fault::ContinuesOn10) && headers.contains_key(header::EXPECT);
    if let (BodyFraming::Length(length), Some(max)) = (framing, settings.tuning.body_bytes_max) {
        if length > max && !settings.has(Fault::NoBodyLimit) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
        }
    }
    let has_body = match framing {
        BodyFraming::None => false,
        BodyFraming::Length(0) => settings.has(Fault::ContinuesWithoutBody),
        _ => true,
    };
    let mut head = RequestHead {
        method,
        target: Bytes::from(target),
        uri,
        authority,
        version,
        headers,
        framing,
        options,
        expects_continue: expects_continue && has_body,
    };
    if !settings.has(Fault::DeliversTransferEncoding) {
        head.headers.remove(header::TRANSFER_ENCODING);
    }
    deliver_otherwise(&mut head, settings);
    Ok(head)
}

impl RequestHead {
    /// Whether the client named this option in a Connection line.
    pub(super) fn has_option(&self, option: &str) -> bool {
        self.options.iter().any(|named| named == option)
    }
}

/// The faults that change a request on its way to the application.
fn deliver_otherwise(head: &mut RequestHead, settings: &Settings) {
    let headers = &mut head.headers;
    if settings.has(Fault::UppercasesMethod) {
        let upper = head.method.as_str().to_ascii_uppercase();
        head.method = Method::from_bytes(upper.as_bytes()).unwrap_or_default();
    }
    if settings.has(Fault::RawTargetIsUri) {
        head.target = Bytes::from(head.uri.to_string());
    }
    if settings.has(Fault::RewritesHost) {
        let authority =
            head.authority.as_ref().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        headers.extend(authority.map(|authority| (header::HOST, authority)));
    }
    if settings.has(Fault::MergesFields) {
        *headers = merged(headers);
    }
    if settings.has(Fault::WithholdsConnection) {
        headers.remove(header::CONNECTION);
        headers.remove("keep-alive");
    }
    if settings.has(Fault::WithholdsUnderscores) {
        let names: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
    }
    if settings.has(Fault::SaysVersion11) {
        head.version = Version::HTTP_11;
    }
}

/// All values of a name in one, with commas.
pub(super) fn merged(headers: &HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        all.extend(HeaderValue::from_bytes(&values.join(&b", "[..])).ok().map(|value| (name.clone(), value)));
    }
    all
}

/// The lines of a head, with the bounds that they share.
struct Lines<'w> {
    wire: &'w Wire,
    number: u64,
    until: Instant,
    /// Bytes that the head may still take.
    left: usize,
    unlimited: bool,
}

impl Lines<'_> {
    /// The next line without its end. `max` is its own bound, beyond which it is `too_long`; each byte must fit.
    fn next(
        &mut self,
        max: usize,
        too_long: impl FnOnce(&[u8]) -> StatusCode,
        fits: impl Fn(&[u8], u8) -> bool,
    ) -> Result<Vec<u8>, Unserved> {
        let mut line = Vec::new();
        let left = if self.unlimited { usize::MAX } else { self.left };
        let taken = self.wire.take_line_if(self.number, &mut line, max.min(left), Some(self.until), fits);
        match taken {
            Ok(()) => {}
            Err(Stuck::TooLong) if max <= left => return Err(too_long(&line).into()),
            Err(Stuck::TooLong) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into()),
            Err(Stuck::BadLine) => return Err(BAD.into()),
            Err(Stuck::TimedOut) => return Err(StatusCode::REQUEST_TIMEOUT.into()),
            Err(Stuck::Ended | Stuck::Gone | Stuck::Killed | Stuck::Stale) => return Err(Unserved::Silence),
        }
        self.left = self.left.saturating_sub(line.len());
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn request_line(&mut self, settings: &Settings) -> Result<Vec<u8>, Unserved> {
        let mut max = settings.tuning.request_line_bytes_max as usize + 2;
        if settings.has(Fault::NoLineLimit) {
            max = usize::MAX;
        }
        let too_long = |line: &[u8]| {
            // A method without an end is none that is known.
            if line.contains(&b' ') { StatusCode::URI_TOO_LONG } else { StatusCode::NOT_IMPLEMENTED }
        };
        // What can begin no method is not waited for to become a line.
        let fits = |line: &[u8], byte: u8| {
            line.contains(&b' ')
                || is_token(&[byte])
                || byte == b' ' && !line.is_empty()
                || matches!(byte, b'\r' | b'\n' | 0)
        };
        for _ in 0..=LEADING_LINES {
            let line = self.next(max, too_long, fits)?;
            if !line.is_empty() {
                return Ok(line);
            }
            if settings.has(Fault::RefusesLeadingEmptyLine) {
                break;
            }
        }
        Err(BAD.into())
    }
}

fn request_line(line: &[u8], settings: &Settings) -> Result<(Method, Vec<u8>, Version), StatusCode> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BAD);
    };
    if !is_token(method) {
        return Err(BAD);
    }
    let version = parse_version(version, settings)?;
    let method = Method::from_bytes(method).map_err(|_| BAD)?;
    let registered = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    if settings.has(Fault::RefusesUnknownMethods) && !registered.contains(&method.as_str()) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    Ok((method, target.to_vec(), version))
}

fn parse_version(version: &[u8], settings: &Settings) -> Result<Version, StatusCode> {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match (major, minor) {
                (b'1', b'0') => Ok(Version::HTTP_10),
                (b'1', b'2'..) if settings.has(Fault::TakesHigherMinorFor10) => Ok(Version::HTTP_10),
                (b'1', _) => Ok(Version::HTTP_11),
                _ if settings.has(Fault::TakesAnyVersion) => Ok(Version::HTTP_11),
                _ if settings.has(Fault::ForeignVersionIs400) => Err(BAD),
                _ => Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
            }
        }
        _ if settings.has(Fault::TakesAnyVersion) => Ok(Version::HTTP_11),
        _ => Err(BAD),
    }
}

/// RFC 9112 section 3.2: path and query, and whom the target itself names.
fn parse_target(
    target: &[u8],
    method: &Method,
    settings: &Settings,
) -> Result<(Uri, Option<Authority>), StatusCode> {
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(BAD);
    }
    let mut text = String::from_utf8(target.to_vec()).map_err(|_| BAD)?;
    if settings.has(Fault::CutsFragment) {
        text.truncate(text.find('#').unwrap_or(text.len()));
    }
    if *method == Method::CONNECT {
        let (_, port) = text.rsplit_once(':').ok_or(BAD)?;
        if port.is_empty() || !is_host(text.as_bytes()) {
            return Err(BAD);
        }
        let authority = Authority::try_from(text.as_str()).map_err(|_| BAD)?;
        return Ok((Uri::from(authority.clone()), Some(authority)));
    }
    if text == "*" {
        return if *method == Method::OPTIONS { Ok((Uri::from_static("*"), None)) } else { Err(BAD) };
    }
    if text.starts_with('/') {
        return Ok((path_and_query(text, settings)?, None));
    }
    let (scheme, rest) = text.split_once("://").ok_or(BAD)?;
    // Others are for proxies.
    let scheme_is_good = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !scheme_is_good || authority.is_empty() || !is_host(authority.as_bytes()) {
        return Err(BAD);
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let authority = Authority::try_from(authority).map_err(|_| BAD)?;
    Ok((path_and_query(path, settings)?, Some(authority)))
}

fn path_and_query(text: String, settings: &Settings) -> Result<Uri, StatusCode> {
    // More than the type takes.
    if text.len() >= usize::from(u16::MAX) {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let uri = PathAndQuery::try_from(text.as_str()).map_err(|_| BAD)?;
    // What the type would change on the way cannot be delivered.
    if uri.as_str() != text {
        return Err(BAD);
    }
    let otherwise = if settings.has(Fault::DecodesPath) {
        text.replace("%2F", "/").replace("%2f", "/").replace("%2e", ".").replace("%41", "A")
    } else if settings.has(Fault::ResolvesDotSegments) {
        text.replace("/../", "/").replace("/./", "/")
    } else if settings.has(Fault::MergesSlashes) {
        text.replace("//", "/")
    } else if settings.has(Fault::DropsEmptyQuery) {
        text.trim_end_matches('?').to_owned()
    } else {
        return Ok(Uri::from(uri));
    };
    PathAndQuery::try_from(otherwise).map(Uri::from).map_err(|_| BAD)
}

fn fields(lines: &mut Lines<'_>, settings: &Settings) -> Result<HeaderMap, Unserved> {
    let mut headers = HeaderMap::new();
    let mut count = 0;
    // The faults that join lines need the one before.
    let mut last: Option<(HeaderName, HeaderValue)> = None;
    loop {
        let line = lines.next(usize::MAX, |_| StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, |_, _| true)?;
        if line.is_empty() {
            headers.extend(last);
            return Ok(headers);
        }
        count += 1;
        if count > settings.tuning.header_count_max && !settings.has(Fault::NoFieldCountLimit) {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into());
        }
        if let b' ' | b'\t' = line[0] {
            match &mut last {
                Some((_, value)) if settings.has(Fault::TakesFolding) => {
                    let joined = [value.as_bytes(), b" ", line.trim_ascii()].concat();
                    *value = HeaderValue::from_bytes(&joined).map_err(|_| BAD)?;
                    continue;
                }
                None if settings.has(Fault::SkipsSpaceBeforeFields) => continue,
                _ => return Err(BAD.into()),
            }
        }
        let field = match field(&line, settings) {
            Ok(field) => field,
            Err(None) => continue,
            Err(Some(status)) => return Err(status.into()),
        };
        if headers.try_reserve(1).is_err() {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into());
        }
        if let Some((name, value)) = last.replace(field) {
            headers.append(name, value);
        }
    }
}

/// One field line; `Err(None)` if a fault skips it.
fn field(line: &[u8], settings: &Settings) -> Result<(HeaderName, HeaderValue), Option<StatusCode>> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Err(if settings.has(Fault::SkipsLinesWithoutColon) { None } else { Some(BAD) });
    };
    let (mut name, mut value) = (&line[..colon], &line[colon + 1..]);
    if settings.has(Fault::TakesSpaceBeforeColon) {
        name = name.trim_ascii_end();
    }
    if !is_token(name) {
        return Err(if settings.has(Fault::SkipsBadNames) { None } else { Some(BAD) });
    }
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let ([rest @ .., b' ' | b'\t'], false) = (value, settings.has(Fault::KeepsTrailingSpace)) {
        value = rest;
    }
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    let mut value = value.to_vec();
    if settings.has(Fault::ReplacesControls) || settings.has(Fault::TakesBareCr) {
        value.iter_mut().filter(|byte| is_control(**byte)).for_each(|byte| *byte = b' ');
    }
    if settings.has(Fault::MasksHighBytes) {
        value.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    if value.iter().any(|byte| is_control(*byte)) {
        return Err(Some(BAD));
    }
    let name = HeaderName::from_bytes(name).map_err(|_| Some(BAD))?;
    Ok((name, HeaderValue::from_bytes(&value).map_err(|_| Some(BAD))?))
}

/// The trailer fields behind the last chunk, up to the empty line.
pub(super) fn read_trailers(
    wire: &Wire,
    number: u64,
    settings: &Settings,
    bytes_max: usize,
) -> Result<HeaderMap, Unserved> {
    let until = Instant::now() + settings.tuning.body_timeout;
    fields(
        &mut Lines { wire, number, until, left: bytes_max, unlimited: settings.has(Fault::NoTrailerLimit) },
        settings,
    )
}

fn host(headers: &HeaderMap, version: Version, settings: &Settings) -> Result<Option<Authority>, StatusCode> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if first.is_none() && version == Version::HTTP_11 && !settings.has(Fault::IgnoresMissingHost) {
        return Err(BAD);
    }
    if hosts.next().is_some() && !settings.has(Fault::IgnoresSecondHost) {
        return Err(BAD);
    }
    let Some(host) = first else { return Ok(None) };
    if settings.has(Fault::RefusesHostWithPort) && host.as_bytes().contains(&b':') {
        return Err(BAD);
    }
    if !is_host(host.as_bytes()) && !settings.has(Fault::IgnoresHostValue) {
        return Err(BAD);
    }
    Ok(Authority::try_from(host.as_bytes()).ok())
}

/// RFC 9112 section 6.3.
fn framing(headers: &HeaderMap, version: Version, settings: &Settings) -> Result<BodyFraming, StatusCode> {
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if !lengths.is_empty() && !settings.has(Fault::TakesBothFramings) {
            return Err(BAD);
        }
        if version < Version::HTTP_11 && !settings.has(Fault::TakesChunksOn10) {
            return Err(BAD);
        }
        return chunked(headers, settings);
    }
    match lengths[..] {
        [] => Ok(BodyFraming::None),
        [length] => Ok(BodyFraming::Length(parse_length(length.as_bytes(), settings)?)),
        [first, .., last] if settings.has(Fault::TakesLastLength) => {
            let _ = first;
            Ok(BodyFraming::Length(parse_length(last.as_bytes(), settings)?))
        }
        [first, ..]
            if settings.has(Fault::TakesEqualLengths) && lengths.iter().all(|other| *other == first) =>
        {
            Ok(BodyFraming::Length(parse_length(first.as_bytes(), settings)?))
        }
        _ => Err(BAD),
    }
}

fn chunked(headers: &HeaderMap, settings: &Settings) -> Result<BodyFraming, StatusCode> {
    let all: Vec<_> = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .map(|value| value.as_bytes().to_ascii_lowercase())
        .collect();
    let all = all.join(&b","[..]);
    let mut codings: Vec<_> = all.split(|byte| *byte == b',').map(trim_ows).collect();
    if codings.pop() != Some(b"chunked") {
        return if settings.has(Fault::IgnoresOddTransferEncoding) {
            Ok(BodyFraming::None)
        } else {
            Err(BAD)
        };
    }
    let again = codings.contains(&&b"chunked"[..]) && !settings.has(Fault::TakesChunkedTwice);
    let coding_name =
        |coding: &&[u8]| is_token(trim_ows(coding.split(|byte| *byte == b';').next().unwrap_or(b"")));
    if again || !codings.iter().all(coding_name) {
        return Err(BAD);
    }
    let inner = codings.iter().any(|coding| *coding != b"chunked");
    if inner && settings.has(Fault::InnerCodingIs400) {
        return Err(BAD);
    }
    if inner && !settings.has(Fault::IgnoresInnerCodings) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    Ok(BodyFraming::Chunked)
}

fn parse_length(value: &[u8], settings: &Settings) -> Result<u64, StatusCode> {
    let digits = match value {
        [b'+', rest @ ..] if settings.has(Fault::TakesSignedLength) => rest,
        value => value,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        let first = digits.split(|byte| *byte == b',').next().unwrap_or(digits);
        let is_list = digits.contains(&b',') && first.iter().all(u8::is_ascii_digit);
        if is_list && settings.has(Fault::TakesEqualLengths) {
            return parse_length(first, settings);
        }
        return Err(BAD);
    }
    digits.iter().try_fold(0_u64, |length, digit| {
        let digit = u64::from(digit - b'0');
        if settings.has(Fault::WrapsLength) {
            return Ok(length.wrapping_mul(10).wrapping_add(digit));
        }
        length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(BAD)
    })
}

fn connection_options(headers: &HeaderMap, settings: &Settings) -> Vec<String> {
    let mut options: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|option| String::from_utf8_lossy(trim_ows(option)).into_owned())
        .collect();
    if settings.has(Fault::ReadsFirstOptionOnly) {
        options.truncate(1);
    }
    if !settings.has(Fault::OptionsAreCaseSensitive) {
        options.iter_mut().for_each(|option| option.make_ascii_lowercase());
    }
    if settings.has(Fault::IgnoresClose) {
        options.retain(|option| option != "close");
    }
    options
}

fn expects_continue(headers: &HeaderMap, settings: &Settings) -> Result<bool, StatusCode> {
    let mut expects = false;
    let values = headers.get_all(header::EXPECT).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(trim_ows);
    for word in words.filter(|word| !word.is_empty()) {
        let known = match settings.has(Fault::ExpectIsCaseSensitive) {
            true => word == b"100-continue",
            false => word.eq_ignore_ascii_case(b"100-continue"),
        };
        if !known && !settings.has(Fault::IgnoresExpectations) {
            return Err(StatusCode::EXPECTATION_FAILED);
        }
        expects |= known;
    }
    Ok(expects)
}

/// Without the whitespace of HTTP around it.
pub(super) fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// Empty, or a host with an optional port, without user information (RFC 9110 section 7.2).
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        // The last colon of a bracketed address lies within the brackets.
        Some(colon) if !value[colon..].contains(&b']') => (&value[..colon], &value[colon + 1..]),
        _ => (value, &b""[..]),
    };
    if !port.iter().all(u8::is_ascii_digit) || (host.is_empty() && !value.is_empty()) {
        return false;
    }
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (byte, tail) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => tail,
            _ => return false,
        };
    }
    true
}

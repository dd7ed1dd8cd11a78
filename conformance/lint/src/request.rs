//! What the server above owes of a request's head and scope.

use http::{HeaderMap, Method, Version, header, request, uri::Authority};
use varvel::{Caps, Offer, Scope, Upgrade, UpgradeKind};

use crate::{record::Record, rules as r};

/// Looks at a request that came straight from a server.
pub(crate) fn check(record: &Record, head: &request::Parts, exact_len: Option<u64>, scope: Scope) -> Scope {
    check_version(record, head, &scope);
    check_target(record, head, &scope);
    check_fields(record, head, &scope);
    check_host(record, head, &scope);
    check_length(record, head, exact_len);
    check_connection(record, &scope);
    check_deferral(record, check_upgrade(record, head, exact_len, scope))
}

fn check_version(record: &Record, head: &request::Parts, scope: &Scope) {
    if head.version < Version::HTTP_10 {
        record.breach(r::S19_VERSION, || format!("it is {:?}", head.version));
    }
    if head.version == Version::HTTP_2 && !caps(scope).contains(Caps::H2) {
        record.breach(r::X2_H2, || "the request's version is HTTP/2".to_owned());
    }
}

fn check_target(record: &Record, head: &request::Parts, scope: &Scope) {
    let uri = &head.uri;
    if scope.raw_target().contains(&b'#') {
        record.breach(r::S6_FRAGMENT, || "it was delivered".to_owned());
    }
    if head.method == Method::CONNECT {
        return;
    }
    let scheme = absolute(scope.raw_target()).map(|(scheme, ..)| scheme);
    let is_http =
        |scheme: &[u8]| scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    if scheme.is_some_and(|scheme| !is_http(scheme)) {
        record.breach(r::S6_SCHEME, || format!("it is {:?}", scope.raw_target().escape_ascii().to_string()));
    }
    if uri.scheme().is_some() || uri.authority().is_some() {
        record.breach(r::S6_FORM, || format!("it is {uri}"));
    } else if !(uri.path().starts_with('/') || uri.path() == "*" && head.method == Method::OPTIONS) {
        record.breach(r::S6_PATH, || format!("it is {:?}", uri.path()));
    }
    let delivered = uri.path_and_query().map_or("", |path| path.as_str());
    // To ask a server as a whole, an absolute-form target has no path (RFC 9112 section 3.2.4).
    let asks_server =
        delivered == "*" && head.method == Method::OPTIONS && !scope.raw_target().starts_with(b"/");
    if !asks_server && !names(scope.raw_target(), delivered) {
        record.breach(r::S7_TARGET, || {
            format!(
                "{:?} on the wire, {delivered:?} delivered",
                scope.raw_target().escape_ascii().to_string()
            )
        });
    }
}

/// Whether a target in origin, absolute or asterisk form has this path and query.
fn names(target: &[u8], delivered: &str) -> bool {
    if target.starts_with(b"/") || target == b"*" {
        return target == delivered.as_bytes();
    }
    let rest = absolute(target).map(|(.., rest)| rest).unwrap_or_default();
    let slash = if rest.starts_with(b"/") { "" } else { "/" };
    delivered.strip_prefix(slash).is_some_and(|delivered| delivered.as_bytes() == rest)
}

/// Scheme and authority of a target in absolute form, and what follows them.
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if target.starts_with(b"/") {
        return None;
    }
    let colon = target.windows(3).position(|bytes| bytes == b"://")?;
    let (scheme, rest) = (&target[..colon], &target[colon + 3..]);
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some((scheme, authority, rest))
}

fn check_fields(record: &Record, head: &request::Parts, scope: &Scope) {
    let mut bytes = scope.raw_target().len() as u64;
    for (name, value) in &head.headers {
        let value = value.as_bytes();
        bytes += (name.as_str().len() + value.len()) as u64;
        let blank = |byte: Option<&u8>| byte.is_some_and(|byte| b" \t".contains(byte));
        if blank(value.first()) || blank(value.last()) {
            record.breach(r::S9_WHITESPACE, || format!("{name} is {:?}", value.escape_ascii().to_string()));
        }
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        record.breach(r::S10_TRANSFER_ENCODING, || "it was delivered".to_owned());
    }
    let limits = &scope.worker().info().limits;
    let count = head.headers.len();
    if limits.header_count_max != 0 && count > limits.header_count_max as usize {
        record.breach(r::S15_COUNT, || format!("it has {count}, {} may be", limits.header_count_max));
    }
    if limits.head_bytes_max != 0 && bytes > limits.head_bytes_max {
        record.breach(r::S15_BYTES, || format!("it has {bytes} and more, {} may be", limits.head_bytes_max));
    }
}

fn check_host(record: &Record, head: &request::Parts, scope: &Scope) {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        record.breach(r::S20_TWICE, || "there are several".to_owned());
    }
    if host.is_none() && head.version == Version::HTTP_11 {
        record.breach(r::S20_MISSING, || "there is none".to_owned());
    }
    let host = host.map_or(&b""[..], |host| host.as_bytes());
    if !host.is_empty() && (host.contains(&b'@') || Authority::try_from(host).is_err()) {
        record.breach(r::S20_VALUE, || format!("it is {:?}", host.escape_ascii().to_string()));
    }

    let target = scope.raw_target();
    let expected = match absolute(target) {
        _ if head.method == Method::CONNECT => target,
        Some((_, authority, _)) => authority,
        // HTTP/2 has no Host where `:authority` takes its place.
        _ if head.version >= Version::HTTP_2 && host.is_empty() => return,
        _ => host,
    };
    let expected = expected.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let found = scope.authority().map_or("", Authority::as_str);
    if found.rsplit('@').next().unwrap_or_default().as_bytes() != expected {
        record.breach(r::S8_AUTHORITY, || {
            format!("{found:?} instead of {:?}", expected.escape_ascii().to_string())
        });
    }
}

fn check_length(record: &Record, head: &request::Parts, exact_len: Option<u64>) {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let declared = length.and_then(|length| decimal(length.as_bytes()));
    let connects = head.method == Method::CONNECT && head.version < Version::HTTP_2;
    if lengths.next().is_some() || length.is_some() && (declared.is_none() || connects) {
        record.breach(r::H8_LENGTH, || format!("there is {length:?}, and perhaps more"));
        return;
    }
    // Without a Content-Length the body is empty or of a length unknown; the latter only where there are chunks.
    let fits = match declared {
        Some(declared) => exact_len == Some(declared),
        None if head.version < Version::HTTP_11 => exact_len == Some(0),
        None => exact_len.is_none_or(|len| len == 0),
    };
    if !fits {
        record.breach(r::S11_LENGTH, || format!("Content-Length {declared:?}, exact_len {exact_len:?}"));
    }
}

/// A plain decimal number, and not more than 64 bits of it.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn check_connection(record: &Record, scope: &Scope) {
    let conn = scope.conn();
    if conn.peer.ip().is_some() != conn.local.ip().is_some() {
        record.breach(r::S12_ADDRESSES, || format!("{} talks to {}", conn.peer, conn.local));
    }
    if let Some(tls) = &conn.tls {
        if !caps(scope).contains(Caps::TLS) {
            record.breach(r::X2_TLS, || "the connection is said to be secure".to_owned());
        }
        if !(0x0300..=0x03ff).contains(&tls.version) || tls.cipher_suite == 0 {
            record.breach(r::S23_VERSION, || {
                format!("version {:#06x}, cipher suite {:#06x}", tls.version, tls.cipher_suite)
            });
        }
    }
}

/// Takes the token, looks at it, and puts it back.
fn check_upgrade(record: &Record, head: &request::Parts, exact_len: Option<u64>, mut scope: Scope) -> Scope {
    let token = scope.take_upgrade();
    match (&token, asked(head, exact_len)) {
        (None, None) => {}
        (None, Some(kind)) => {
            if caps(&scope).contains(cap(kind)) {
                record.breach(r::U1_MISSING, || format!("it asks for an upgrade of kind {kind:?}"));
            }
        }
        (Some(token), None) => {
            record.breach(r::U1_UNASKED, || format!("there is a token of kind {:?}", token.kind()));
        }
        (Some(token), Some(_)) => {
            if !caps(&scope).contains(cap(token.kind())) {
                record.breach(r::X2_UPGRADE, || format!("there is a token of kind {:?}", token.kind()));
            }
            let offered: Vec<_> = token.protocols().collect();
            let asked = protocols(&head.headers);
            if token.kind() == UpgradeKind::Http1 && offered != asked {
                record.breach(r::U1_PROTOCOLS, || format!("{asked:?} asked for, {offered:?} in the token"));
            }
        }
    }
    match token {
        Some(token) => scope.with_upgrade(offer_of(&token)),
        None => scope,
    }
}

/// The offer that a token was made of.
pub(crate) fn offer_of(token: &Upgrade) -> Offer {
    Offer::new(token.kind(), token.protocols().collect::<Vec<_>>().join(", "))
}

/// The upgrade that a request asks for, as far as its head tells. Extended CONNECT tells it to the server alone.
pub(crate) fn asked(head: &request::Parts, exact_len: Option<u64>) -> Option<UpgradeKind> {
    if head.method == Method::CONNECT {
        let extended = head.version >= Version::HTTP_2 && head.uri.path() != "";
        return Some(if extended { UpgradeKind::ExtendedConnect } else { UpgradeKind::Connect });
    }
    let wants = list(&head.headers, header::CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let protocols = protocols(&head.headers);
    let names_some = !protocols.is_empty() && protocols.into_iter().all(is_protocol);
    let asks = head.version == Version::HTTP_11 && wants && exact_len == Some(0) && names_some;
    asks.then_some(UpgradeKind::Http1)
}

/// The offer that such a request makes.
pub(crate) fn offer(kind: UpgradeKind, headers: &HeaderMap) -> Offer {
    Offer::new(kind, protocols(headers).join(", "))
}

/// Whether it is a name, or a name and a version (RFC 9110 section 7.8).
fn is_protocol(protocol: &str) -> bool {
    // Names of fields are tokens as well.
    let is_token = |part: &str| header::HeaderName::from_bytes(part.as_bytes()).is_ok();
    protocol.splitn(2, '/').all(is_token)
}

fn protocols(headers: &HeaderMap) -> Vec<&str> {
    list(headers, header::UPGRADE).collect()
}

/// The members of a field that is a list, over all of its lines.
fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

/// The capability that such an upgrade hangs on.
pub(crate) fn cap(kind: UpgradeKind) -> Caps {
    match kind {
        UpgradeKind::Connect => Caps::CONNECT,
        UpgradeKind::ExtendedConnect => Caps::EXT_CONNECT,
        _ => Caps::UPGRADE,
    }
}

/// Takes the deferral, looks at it, and puts it back.
fn check_deferral(record: &Record, mut scope: Scope) -> Scope {
    let advertised = caps(&scope).contains(Caps::DEFER);
    if scope.take_deferral().is_some() {
        if !advertised {
            record.breach(r::X2_DEFERRAL, || "there is one".to_owned());
        }
        return scope.with_deferral();
    }
    if advertised && !record.is_async {
        record.breach(r::W8_MISSING, || "there is none".to_owned());
    }
    scope
}

fn caps(scope: &Scope) -> Caps {
    scope.worker().info().caps
}

//! The head of an answer as a server of the specification sends it (chapter H): what is added, what is removed, and how
//! the body is delimited. Every breach is reported.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use varvel::{BodyErrorKind, Event, FailKind};

use crate::Head;

/// What the answer depends on in its request.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// `TE: trailers`.
    pub(crate) takes_trailers: bool,
    /// What the Connection field said.
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    Close,
}

/// Makes the head of an application's answer, whose body is `length` bytes long if that is known. `Err` is the reported
/// breach for which 500 is sent in its place.
pub(crate) fn head(
    asked: &Asked,
    status: StatusCode,
    mut headers: HeaderMap,
    length: Option<u64>,
    date: HeaderValue,
    report: impl Fn(Event<'_>),
) -> Result<(Head, Framing), ()> {
    let refused = match status {
        StatusCode::SWITCHING_PROTOCOLS => {
            Some(("U7", "a 101 without accepting an upgrade token; 500 was sent"))
        }
        status if !(200..600).contains(&status.as_u16()) => {
            Some(("H21", "the status of an answer must be 200 to 599; 500 was sent"))
        }
        status if asked.method == Method::CONNECT && status.is_success() => {
            Some(("U7", "a 2xx answer to CONNECT without accepting its upgrade token; 500 was sent"))
        }
        _ => None,
    };
    if let Some((clause, detail)) = refused {
        report(Event::Contract { clause, detail });
        return Err(());
    }
    // 426 has to say which protocols would do.
    let required = match status {
        StatusCode::UPGRADE_REQUIRED => take_upgrade(&mut headers),
        _ => Vec::new(),
    };
    remove_forbidden(&mut headers, &report);
    let declared = declared_length(&mut headers, &report);
    headers.entry(header::DATE).or_insert(date);
    let is_head = asked.method == Method::HEAD;
    let mut framing = match (status, declared.or(length)) {
        (StatusCode::NO_CONTENT, _) => {
            headers.remove(header::CONTENT_LENGTH);
            Framing::None
        }
        // The length is that of the 200 it stands for, which only the application knows.
        (StatusCode::NOT_MODIFIED, _) => Framing::None,
        (StatusCode::RESET_CONTENT, _) => Framing::Length(0),
        (_, Some(length)) => Framing::Length(length),
        (_, None) if asked.version < Version::HTTP_11 => Framing::Close,
        (_, None) => Framing::Chunked,
    };
    match framing {
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        Framing::Chunked => {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Framing::None | Framing::Close => {}
    }
    let old = asked.version < Version::HTTP_11;
    let may_stay = !asked.close && asked.method != Method::CONNECT && (!old || asked.keep_alive);
    if !may_stay || framing == Framing::Close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if old {
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    name_upgrade(&mut headers, required);
    if is_head {
        framing = Framing::None;
    }
    Ok((Head { status, headers }, framing))
}

/// The head of an accepted upgrade (spec U3).
pub(crate) fn accepted(
    asked: &Asked,
    mut headers: HeaderMap,
    date: HeaderValue,
    report: impl Fn(Event<'_>),
) -> Head {
    let upgrade = take_upgrade(&mut headers);
    remove_forbidden(&mut headers, report);
    headers.remove(header::CONTENT_LENGTH);
    headers.entry(header::DATE).or_insert(date);
    if asked.method == Method::CONNECT {
        return Head { status: StatusCode::OK, headers };
    }
    name_upgrade(&mut headers, upgrade);
    Head { status: StatusCode::SWITCHING_PROTOCOLS, headers }
}

/// Takes the Upgrade fields out, which elsewhere are not the application's.
fn take_upgrade(headers: &mut HeaderMap) -> Vec<HeaderValue> {
    let protocols = headers.get_all(header::UPGRADE).iter().cloned().collect();
    headers.remove(header::UPGRADE);
    protocols
}

/// Puts them in again, and says in Connection that they are there.
fn name_upgrade(headers: &mut HeaderMap, protocols: Vec<HeaderValue>) {
    if !protocols.is_empty() {
        headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    headers.extend(protocols.into_iter().map(|protocol| (header::UPGRADE, protocol)));
}

/// What a failure means to the client (the table of chapter E).
pub(crate) enum Verdict {
    /// An error response with this status; whether the connection is closed behind it.
    Respond(StatusCode, bool),
    /// Not a byte; whether the failure is the application's own doing.
    Silence { aborted: bool },
}

/// What an error of this kind means.
pub(crate) fn verdict(kind: FailKind) -> Verdict {
    match kind {
        FailKind::Abort => Verdict::Silence { aborted: true },
        FailKind::Unavailable => Verdict::Respond(StatusCode::SERVICE_UNAVAILABLE, false),
        FailKind::Body(BodyErrorKind::TooLarge) => Verdict::Respond(StatusCode::PAYLOAD_TOO_LARGE, false),
        FailKind::Body(BodyErrorKind::Malformed | BodyErrorKind::Incomplete) => {
            Verdict::Respond(StatusCode::BAD_REQUEST, true)
        }
        FailKind::Body(BodyErrorKind::Timeout) => Verdict::Respond(StatusCode::REQUEST_TIMEOUT, true),
        FailKind::Body(BodyErrorKind::Disconnected) => Verdict::Silence { aborted: false },
        _ => Verdict::Respond(StatusCode::INTERNAL_SERVER_ERROR, false),
    }
}

/// Whether a failure is one of the application, to be reported (spec E5).
pub(crate) fn is_reportable(kind: FailKind) -> bool {
    match kind {
        FailKind::Abort => false,
        FailKind::Body(kind) => !matches!(
            kind,
            BodyErrorKind::TooLarge
                | BodyErrorKind::Malformed
                | BodyErrorKind::Incomplete
                | BodyErrorKind::Timeout
                | BodyErrorKind::Disconnected
        ),
        _ => true,
    }
}

/// The fields of an error response, and its text, which names no detail (spec E1).
pub(crate) fn error(status: StatusCode) -> (HeaderMap, &'static str) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let text = match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            "Service Unavailable\n"
        }
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large\n",
        StatusCode::BAD_REQUEST => "Bad Request\n",
        StatusCode::REQUEST_TIMEOUT => "Request Timeout\n",
        StatusCode::EXPECTATION_FAILED => "Expectation Failed\n",
        _ => "Internal Server Error\n",
    };
    (headers, text)
}

/// Removes what may not be a trailer, and reports it (spec B18).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, report: impl Fn(Event<'_>)) {
    if let Some(names) = remove_from_trailers(trailers) {
        let detail = format!("fields that may not be trailers were removed: {names}");
        report(Event::Contract { clause: "B18", detail: &detail });
    }
}

/// Removes what may not be a trailer, in either direction, and names it.
pub(crate) fn remove_from_trailers(trailers: &mut HeaderMap) -> Option<String> {
    const NOT_TRAILERS: [HeaderName; 4] = [header::CONTENT_LENGTH, header::HOST, header::TE, header::TRAILER];
    remove(trailers, FORBIDDEN.into_iter().chain(NOT_TRAILERS))
}

/// The fields that only the server may set (spec A3).
const FORBIDDEN: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes them, and reports it (spec H5).
pub(crate) fn remove_forbidden(headers: &mut HeaderMap, report: impl Fn(Event<'_>)) {
    if let Some(names) = remove(headers, FORBIDDEN) {
        let detail = format!("fields that only the server may set were removed: {names}");
        report(Event::Contract { clause: "H5", detail: &detail });
    }
}

/// Removes fields, and names those that were there.
fn remove(headers: &mut HeaderMap, fields: impl IntoIterator<Item = HeaderName>) -> Option<String> {
    let removed = fields.into_iter().filter(|name| headers.remove(name).is_some());
    let names: Vec<_> = removed.map(|name| name.to_string()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The length that the application declared; what is not one decimal number is removed and reported (spec H4).
fn declared_length(headers: &mut HeaderMap, report: impl Fn(Event<'_>)) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = values.next()?;
    let digits = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
    let length = first.to_str().ok().filter(|_| digits).and_then(|text| text.parse().ok());
    if length.is_none() || values.next().is_some() {
        headers.remove(header::CONTENT_LENGTH);
        let detail = "a content-length that is not one decimal number was removed";
        report(Event::Contract { clause: "H4", detail });
        return None;
    }
    length
}

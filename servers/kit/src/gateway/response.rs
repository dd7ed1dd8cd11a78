//! From an answer to the bytes of its head, with a report of everything that the application may not do.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use varvel::Event;
use varvel_http1::{BodyLength, Connection, HeadRefused, ResponseFraming, SentHead};

use super::failure::ErrorResponse;

/// What came of sending a head.
#[derive(Debug)]
pub enum Sent {
    /// The application's head was written.
    Head(SentHead),
    /// The application's answer is not one; 500 was sent in its place, whole.
    Replaced(SentHead),
    /// No answer is awaited: the connection is over.
    Nothing,
}

/// Writes the head of an application's answer, whose body is `length` long.
pub fn send_head(
    http: &mut Connection,
    status: StatusCode,
    headers: &HeaderMap,
    length: BodyLength,
    date_line: &[u8],
    out: &mut Vec<u8>,
    report: impl Fn(Event<'_>),
) -> Sent {
    let is_final = (200..600).contains(&status.as_u16());
    let sent = match is_final {
        true => http.send_head(status, headers, length, date_line, out),
        false => Err(HeadRefused::Interim),
    };
    let (clause, detail) = match sent {
        Ok(head) => {
            let clause = if status == StatusCode::NO_CONTENT { "H2" } else { "H4" };
            report_faults(&head, length, clause, &report);
            return Sent::Head(head);
        }
        Err(HeadRefused::NotAwaited) => return Sent::Nothing,
        Err(HeadRefused::ConnectNeedsAccept) => {
            ("U7", "a 2xx answer to CONNECT without accepting its upgrade token; 500 was sent")
        }
        Err(_) if status == StatusCode::SWITCHING_PROTOCOLS => {
            ("U7", "a 101 without accepting an upgrade token; 500 was sent")
        }
        Err(_) => ("H21", "the status of an answer must be 200 to 599; 500 was sent"),
    };
    report(Event::Contract { clause, detail });
    send_error(http, &ErrorResponse::INTERNAL, date_line, out).map_or(Sent::Nothing, Sent::Replaced)
}

/// Writes the head that accepts an upgrade, and tells the status it has; `None` if there is none to accept (spec U3).
pub fn accept_upgrade(
    http: &mut Connection,
    method: &Method,
    headers: &HeaderMap,
    date_line: &[u8],
    out: &mut Vec<u8>,
    report: impl Fn(Event<'_>),
) -> Option<StatusCode> {
    match http.accept_upgrade(headers, date_line, out) {
        Ok(head) => {
            report_faults(&head, BodyLength::Known(0), "U3", &report);
            // Whatever the application chose, CONNECT is accepted by 200.
            Some(if method == Method::CONNECT { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS })
        }
        Err(_) => {
            let detail = "the answer to one request carried the upgrade token of another; 500 was sent";
            report(Event::Contract { clause: "U7", detail });
            None
        }
    }
}

/// Writes a whole error response; `None` if none is awaited.
pub fn send_error(
    http: &mut Connection,
    response: &ErrorResponse,
    date_line: &[u8],
    out: &mut Vec<u8>,
) -> Option<SentHead> {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if response.retry {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if response.close {
        http.shutting_down();
    }
    let length = response.text.len() as u64;
    let head = http.send_head(response.status, &headers, BodyLength::Known(length), date_line, out).ok()?;
    if head.framing != ResponseFraming::None {
        let frame = http.send_data(length, out);
        out.extend_from_slice(response.text.as_bytes());
        out.extend_from_slice(frame.suffix);
    }
    // Every byte that was declared has just been written.
    let _ = http.send_end(None, out);
    Some(head)
}

/// Reports what was amiss with a head; `length_clause` is the one by which a Content-Length was removed.
fn report_faults(
    head: &SentHead,
    length: BodyLength,
    length_clause: &'static str,
    report: &impl Fn(Event<'_>),
) {
    if !head.removed.is_empty() {
        let (lengths, others): (Vec<_>, Vec<_>) =
            head.removed.names().partition(|name| *name == "content-length");
        if !others.is_empty() {
            let names = others.join(", ");
            let detail = format!("fields that only the server may set were removed from the answer: {names}");
            report(Event::Contract { clause: "H5", detail: &detail });
        }
        if !lengths.is_empty() {
            let detail = "a content-length that this answer cannot have was removed";
            report(Event::Contract { clause: length_clause, detail });
        }
    }
    if let Some(declared) = head.length_mismatch {
        let detail = format!("content-length says {declared}, the body is {length:?} long");
        report(Event::Contract { clause: "H4", detail: &detail });
    }
}

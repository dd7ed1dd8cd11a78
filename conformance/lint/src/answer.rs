//! The answer: what the application owes of its head, and where its body begins to be watched.

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, header, response};
use varvel::{AppError, AppResult, AsyncAppResult, AsyncBody, BodyParts, Mode, Outcome, Scope, WriteBody};

use crate::{
    Rule,
    outgoing::{self, Lengths},
    passage::{self, Shape},
    record::{Body, Call, Place, Record},
    request::decimal,
    rules as r, tunnel,
};

/// The fields that belong to the connection, but for Upgrade.
const CONNECTION_FIELDS: [(header::HeaderName, &Rule); 4] = [
    (header::CONNECTION, r::A3_CONNECTION),
    (header::HeaderName::from_static("keep-alive"), r::A3_KEEP_ALIVE),
    (header::HeaderName::from_static("proxy-connection"), r::A3_PROXY_CONNECTION),
    (header::TRANSFER_ENCODING, r::A3_TRANSFER_ENCODING),
];

/// The fields that belong to the head, and so may not stand in trailers.
const HEAD_FIELDS: [header::HeaderName; 4] =
    [header::CONTENT_LENGTH, header::HOST, header::TE, header::TRAILER];

/// Looks at what an async call returned.
pub(crate) fn watch_async(result: AsyncAppResult, record: &Arc<Record>) -> AsyncAppResult {
    let (head, body) = opened(result, record)?;
    let exact_len = body.exact_len();
    let parts = body.into_parts();
    let lengths = check_head(record, &head, shape(&parts), exact_len);
    let body = match parts {
        BodyParts::Stream(stream) => outgoing::watch_poll(stream, lengths, record),
        BodyParts::Tunnel(tunnel) => AsyncBody::from(BodyParts::Tunnel(tunnel::watch_async(tunnel, record))),
        parts => AsyncBody::from(parts),
    };
    Ok(Response::from_parts(head, body))
}

/// Looks at what a sync call returned, or what was replied later.
pub(crate) fn watch_sync(result: AppResult, record: &Arc<Record>) -> AppResult {
    let (head, body) = opened(result, record)?;
    let exact_len = body.exact_len();
    let parts = body.into_parts();
    let lengths = check_head(record, &head, shape(&parts), exact_len);
    let body = match parts {
        BodyParts::Stream(writer) => outgoing::watch_push(writer, lengths, record),
        BodyParts::Tunnel(tunnel) => {
            WriteBody::from(BodyParts::Tunnel(tunnel::watch_blocking(tunnel, record)))
        }
        BodyParts::Deferred(answer) => {
            // The reply passes through a placeholder of the lint's own, to be looked at on its way.
            let deferral = Scope::for_test().with_deferral().take_deferral();
            let (placeholder, reply) = deferral.expect("it was just put in").defer();
            let record = Arc::clone(record);
            answer.on_reply(move |result| {
                let sent = match watch_sync(result, &record) {
                    Ok(response) => reply.send(response),
                    Err(error) => reply.fail(error),
                };
                sent.is_ok()
            });
            placeholder.into_body()
        }
        parts => WriteBody::from(parts),
    };
    Ok(Response::from_parts(head, body))
}

/// Takes an answer apart, after the looks that need all of it.
fn opened<B>(
    result: Result<Response<B>, AppError>,
    record: &Record,
) -> Result<(response::Parts, B), AppError> {
    match result {
        Ok(response) => Ok(response.into_parts()),
        Err(error) => {
            if let Some(passage) = &record.passage {
                match record.core.settings.place {
                    Place::Inside => passage.call_failed(&error),
                    _ => passage::check_error(record, passage, &error),
                }
            }
            record.advance(|state| {
                state.call = Call::Failed(error.kind());
                if state.body == Body::Deferred {
                    state.body = Body::None;
                }
            });
            Err(error)
        }
    }
}

fn shape<M: Mode>(parts: &BodyParts<M>) -> Shape {
    match parts {
        BodyParts::File(_) => Shape::File,
        BodyParts::Stream(_) => Shape::Stream,
        BodyParts::Tunnel(_) => Shape::Tunnel,
        BodyParts::Deferred(_) => Shape::Deferred,
        _ => Shape::Whole,
    }
}

/// Looks at the head of an answer; says how long its body has to be.
fn check_head(record: &Record, head: &response::Parts, shape: Shape, exact_len: Option<u64>) -> Lengths {
    if let Some(passage) = &record.passage {
        match record.core.settings.place {
            Place::Inside => passage.answered(head.status, shape),
            _ => passage::check_answer(record, passage, head.status, shape),
        }
    }
    // The placeholder's head is nobody's: the reply brings one.
    let mut lengths = Lengths { declared: None, promised: None };
    let mut flawed = false;
    if shape != Shape::Deferred {
        flawed |= check_status(record, head.status, shape, exact_len);
        flawed |= check_fields(record, head, shape);
        if shape != Shape::Tunnel {
            let (declared, wrong) = check_length(record, head, exact_len);
            flawed |= wrong;
            lengths = Lengths { declared, promised: exact_len };
        }
    }
    record.advance(|state| {
        state.call = Call::Returned;
        state.status = Some(head.status);
        state.flawed |= flawed;
        state.declared = lengths.declared.or(exact_len);
        state.body = match shape {
            Shape::Whole => Body::Whole,
            Shape::File => Body::File,
            Shape::Stream => Body::Open,
            Shape::Tunnel => Body::Tunnel,
            Shape::Deferred => Body::Deferred,
        };
        if matches!(shape, Shape::Whole | Shape::File) {
            state.produced = exact_len.unwrap_or_default();
        }
    });
    lengths
}

fn check_status(record: &Record, status: StatusCode, shape: Shape, exact_len: Option<u64>) -> bool {
    let code = status.as_u16();
    let rule = match code {
        _ if shape == Shape::Tunnel => return false,
        101 => r::U7_SWITCHING,
        100..200 => r::A4_INFORMATIONAL,
        600.. => r::A4_RANGE,
        200..300 if record.method == Method::CONNECT => r::U7_CONNECT,
        205 if exact_len != Some(0) => r::A4_RESET_CONTENT,
        204 if exact_len != Some(0) => r::A4_NO_CONTENT,
        304 if exact_len != Some(0) => r::A4_NOT_MODIFIED,
        _ => return false,
    };
    record.breach(rule, || format!("status {code}, body of {exact_len:?} bytes"));
    true
}

fn check_fields(record: &Record, head: &response::Parts, shape: Shape) -> bool {
    let headers = &head.headers;
    let mut flawed = false;
    for (name, rule) in &CONNECTION_FIELDS {
        // An accepted upgrade says so in Connection, whoever wrote it there.
        if let Some(value) = headers.get(name).filter(|_| shape != Shape::Tunnel) {
            record.breach(rule, || format!("it is {value:?}"));
            flawed = true;
        }
    }
    let may_upgrade = shape == Shape::Tunnel || head.status == StatusCode::UPGRADE_REQUIRED;
    if let Some(value) = headers.get(header::UPGRADE).filter(|_| !may_upgrade) {
        record.breach(r::A3_UPGRADE, || format!("it is {value:?}"));
        flawed = true;
    }
    flawed
}

/// The declared length, and whether anything is wrong with it.
fn check_length(record: &Record, head: &response::Parts, exact_len: Option<u64>) -> (Option<u64>, bool) {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return (None, false) };
    if lengths.next().is_some() {
        record.breach(length_rule(record, r::A5_TWICE), || "there are several".to_owned());
        return (None, true);
    }
    let Some(declared) = decimal(length.as_bytes()) else {
        record.breach(length_rule(record, r::A5_NUMBER), || format!("it is {length:?}"));
        return (None, true);
    };
    // What GET would have had, or 200.
    if record.method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED {
        return (None, false);
    }
    if let Some(known) = exact_len.filter(|known| *known != declared) {
        record.breach(length_rule(record, r::A5_KNOWN), || {
            format!("Content-Length is {declared}, the body has {known} bytes")
        });
        return (None, true);
    }
    (Some(declared), false)
}

/// A wrong length is the middleware's where it was right inside of it.
pub(crate) fn length_rule(record: &Record, rule: &'static Rule) -> &'static Rule {
    match &record.passage {
        Some(passage) if record.core.settings.place == Place::Inside => passage.blame_length(),
        Some(passage) if !passage.has_wrong_length() => return r::M4_LENGTH,
        _ => {}
    }
    rule
}

/// Looks at the fields of trailers.
pub(crate) fn check_trailers(record: &Record, trailers: &HeaderMap) {
    let forbidden = CONNECTION_FIELDS.into_iter().map(|(name, _)| name).chain([header::UPGRADE]);
    for name in forbidden.chain(HEAD_FIELDS).filter(|name| trailers.contains_key(name)) {
        record.breach(r::A3_TRAILERS, || format!("{name} is among them"));
    }
}

/// Whether a body may be touched at all.
pub(crate) fn check_wanted(record: &Record) {
    let state = *record.state();
    let disconnected = state.finish.is_some_and(|finish| finish.outcome == Outcome::Disconnected);
    if !record.omits_body(&state) || disconnected {
        return;
    }
    let rule = if record.method == Method::HEAD { r::H1_POLLED } else { r::H2_POLLED };
    record
        .breach(rule, || format!("the answer is {} to {}", state.status.unwrap_or_default(), record.method));
}

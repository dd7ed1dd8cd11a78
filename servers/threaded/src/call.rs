//! One exchange: the request goes to the application, and its answer into the outbox.

use std::{
    sync::{Arc, MutexGuard},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};
use varvel::{
    App, AppError, AppResult, BodyError, BodyParts, Event, FailKind, FileRegion, Outcome, Phase as Running,
    ReadBody,
};
use varvel_http1::{BodyEvent, BodyLength, CloseReason, RequestHead, ResponseFraming};
use varvel_server_kit::{
    containment::contain,
    gateway::{
        ErrorResponse, Verdict, failure, request,
        response::{Sent, send_error, send_head},
    },
};

use crate::{
    connection::{Connection, Io, Phase, Task},
    request_body::RequestBody,
    shared::Tools,
    sink, tunnel,
};

/// After so many requests in a row others get their turn.
const REQUESTS_PER_TURN: u32 = 32;

/// Serves a connection that the caller owns, until it is parked or somebody else's.
pub(crate) fn serve<A: App + ?Sized>(connection: &Arc<Connection>, app: &A, tools: &mut Tools) {
    let mut requests = 0;
    let mut kept = Some(connection.lock());
    while let Some((task, mut io)) = kept.and_then(|io| connection.advance(io, tools)) {
        kept = match task {
            Task::Finish => Some(connection.finish(io)),
            Task::Reply(answer) => {
                drop(io);
                respond(connection, *answer, tools)
            }
            Task::Call(..) if requests == REQUESTS_PER_TURN => {
                Connection::put_back(&mut io, task);
                connection.release(&mut io);
                drop(io);
                return connection.shared.pool.push_again(Arc::clone(connection));
            }
            Task::Call(head, now) => {
                requests += 1;
                let kept = call(connection, io, head, now, app, tools);
                connection.shared.pool.note_progress();
                kept
            }
        };
    }
}

/// A connection that is still owned by who served it. Without one its tunnel has it, or a reply that may have come
/// already: it must not be touched any more.
type Kept<'a> = Option<MutexGuard<'a, Io>>;

fn call<'a, A: App + ?Sized>(
    connection: &'a Arc<Connection>,
    mut io: MutexGuard<'a, Io>,
    mut head: Box<RequestHead>,
    now: Instant,
    app: &A,
    tools: &mut Tools,
) -> Kept<'a> {
    connection.begin(&mut io, &head, now);
    let number = io.number;
    let body = request_body(connection, &mut io, &head, now);
    drop(io);
    if connection.schedule.is_closed() {
        connection.check_client();
    }
    let exchange = Arc::clone(connection) as _;
    let answer = contain(
        Running::Call,
        |event| connection.report(event),
        || {
            let (request, scope) = request::admit(&mut head, body, exchange, number, now);
            app.call(request, scope)
        },
    );
    tools.spare.recycle(head);
    match answer {
        Some(answer) => respond(connection, answer, tools),
        None => {
            respond_error(connection, ErrorResponse::INTERNAL, tools);
            Some(connection.lock())
        }
    }
}

/// The body of a request: in memory if it has come with the head as a whole, which most have.
fn request_body(connection: &Arc<Connection>, io: &mut Io, head: &RequestHead, now: Instant) -> ReadBody {
    let exact_len = head.framing.exact_len();
    let mut first = None;
    match exact_len {
        Some(0) => return ReadBody::empty(),
        Some(len) if len <= io.input.bytes.len() as u64 => {
            if let Ok(BodyEvent::Data(data)) = io.http.receive_body(&mut io.input.bytes, now) {
                if data.len() as u64 == len {
                    return ReadBody::full(data);
                }
                first = Some(data);
            }
        }
        _ => {}
    }
    ReadBody::from_frames(RequestBody::new(Arc::clone(connection), io.number, exact_len, first))
}

/// Sends what the application has answered.
fn respond<'a>(connection: &'a Arc<Connection>, answer: AppResult, tools: &mut Tools) -> Kept<'a> {
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            respond_failure(connection, &error, tools);
            return Some(connection.lock());
        }
    };
    let (mut head, body) = response.into_parts();
    if !head.extensions.is_empty() {
        drop_contained(connection, std::mem::take(&mut head.extensions));
    }
    let mut io = connection.lock();
    if io.failed.is_some() {
        io.phase = Phase::Broken;
        drop(io);
        drop_contained(connection, body);
        return Some(connection.lock());
    }
    let length = body.exact_len().map_or(BodyLength::Unknown, BodyLength::Known);
    let whole = match body.into_parts() {
        BodyParts::Empty => Whole::Bytes(Bytes::new()),
        BodyParts::Full(bytes) => Whole::Bytes(bytes),
        BodyParts::File(region) => Whole::File(region),
        BodyParts::Stream(writer) => {
            drop(io);
            sink::stream(connection, head, length, writer, tools);
            return Some(connection.lock());
        }
        BodyParts::Tunnel(tunnel) => {
            drop(io);
            let started = tunnel::start(connection, head.headers, tunnel, tools);
            return if started { None } else { Some(connection.lock()) };
        }
        BodyParts::Deferred(answer) => {
            io.phase = Phase::Deferred;
            drop(io);
            let connection = Arc::clone(connection);
            answer.on_reply(move |answer| replied(&connection, answer));
            return None;
        }
        // A kind of body that this server does not know.
        _ => {
            drop(io);
            respond_error(connection, ErrorResponse::INTERNAL, tools);
            return Some(connection.lock());
        }
    };
    Some(send_whole(connection, io, head, length, whole, tools))
}

/// The answer to a deferred request has come, on whatever thread; `false` if the client is gone. One that has only ended
/// its sending side may still read (spec W5).
fn replied(connection: &Arc<Connection>, answer: AppResult) -> bool {
    let mut io = connection.lock();
    let wanted = io.is_intact();
    if !matches!(io.phase, Phase::Deferred) {
        drop(io);
        drop_contained(connection, answer);
        return false;
    }
    io.phase = Phase::Replied(Box::new(answer));
    drop(io);
    connection.shared.pool.push_examined(Arc::clone(connection));
    wanted
}

/// A body that need not be produced.
enum Whole {
    Bytes(Bytes),
    File(FileRegion),
}

fn send_whole<'a>(
    connection: &'a Connection,
    mut guard: MutexGuard<'a, Io>,
    mut head: response::Parts,
    length: BodyLength,
    body: Whole,
    tools: &mut Tools,
) -> MutexGuard<'a, Io> {
    let io = &mut *guard;
    let mut unsent = None;
    if let Some(begun) = begin_answer(connection, io, head.status, &head.headers, length, tools) {
        if begun.framing == ResponseFraming::None {
            unsent = Some(body);
        } else {
            let len = match &body {
                Whole::Bytes(bytes) => bytes.len() as u64,
                Whole::File(region) => region.len,
            };
            let frame = io.http.send_data(len, io.outbox.text_mut());
            match body {
                Whole::Bytes(mut bytes) => {
                    bytes.truncate(usize::try_from(frame.take).unwrap_or(usize::MAX));
                    io.outbox.push_bytes(bytes);
                }
                Whole::File(region) => {
                    io.outbox.push_file(region.file, region.offset, frame.take);
                    if let Some(current) = &mut io.current {
                        current.has_file = true;
                    }
                }
            }
            io.outbox.push_text(frame.suffix);
            io.count(frame.take);
            if frame.excess && !begun.reported {
                report_excess(connection, io);
            }
        }
        end_answer(connection, io, None, begun.reported);
    }
    head.headers.clear();
    tools.spare.headers = head.headers;
    if let Some(body) = unsent {
        drop(guard);
        drop_contained(connection, body);
        return connection.lock();
    }
    guard
}

/// The head of an answer that was put into the outbox.
pub(crate) struct Begun {
    pub(crate) framing: ResponseFraming,
    /// The application was found to have declared another length than its body has, and that was reported.
    pub(crate) reported: bool,
}

/// Puts the head of an answer into the outbox. `None` if that was not possible; then the rest is settled already.
pub(crate) fn begin_answer(
    connection: &Connection,
    io: &mut Io,
    status: StatusCode,
    headers: &HeaderMap,
    length: BodyLength,
    tools: &mut Tools,
) -> Option<Begun> {
    let Io { http, outbox, current, number, .. } = io;
    let id = current.as_ref().map(|current| current.id(connection.id(), *number));
    let report = |event: Event<'_>| connection.shared.report(id, event);
    let (sent, begun, bytes) =
        match send_head(http, status, headers, length, tools.date_line(), outbox.text_mut(), report) {
            Sent::Head(sent) => {
                let begun = Begun { framing: sent.framing, reported: sent.length_mismatch.is_some() };
                (Some((status, sent.framing)), Some(begun), 0)
            }
            Sent::Replaced(sent) => {
                let bytes = if sent.framing == ResponseFraming::None {
                    0
                } else {
                    ErrorResponse::INTERNAL.text.len()
                };
                (Some((ErrorResponse::INTERNAL.status, sent.framing)), None, bytes)
            }
            Sent::Nothing => (None, None, 0),
        };
    match sent {
        Some((status, framing)) => {
            io.phase = Phase::Tail;
            io.until_close = framing == ResponseFraming::UntilClose;
            if let Some(current) = &mut io.current {
                current.status = Some(status);
            }
            io.count(bytes as u64);
        }
        None => {
            io.fail(Outcome::Failed, CloseReason::Application);
            io.phase = Phase::Broken;
        }
    }
    begun
}

/// Ends an answer. `reported` says that the application was told off for its length before.
pub(crate) fn end_answer(connection: &Connection, io: &mut Io, trailers: Option<&HeaderMap>, reported: bool) {
    io.phase = Phase::Tail;
    let before = io.outbox.len();
    let sent = io.http.send_end(trailers, io.outbox.text_mut());
    if let Some(current) = &mut io.current {
        current.chunks.end(io.outbox.len() - before);
    }
    match sent {
        Ok(sent) if sent.trailers_removed => {
            let detail = "fields that may not be trailers were removed from the answer's";
            connection.report_of(io, Event::Contract { clause: "B18", detail });
        }
        Ok(_) => {}
        Err(short) => {
            if !reported {
                connection.report_of(io, Event::Contract { clause: "H4", detail: &short.to_string() });
            }
            break_off(io, Outcome::Failed);
        }
    }
}

pub(crate) fn report_excess(connection: &Connection, io: &Io) {
    let detail = "the answer's body is longer than its content-length; it was cut";
    connection.report_of(io, Event::Contract { clause: "H4", detail });
}

/// The answer cannot be completed: what is in the outbox goes out, and the connection ends short of the declared length or
/// without the last chunk; if it is its end that delimits the answer, it is reset (spec B10).
pub(crate) fn break_off(io: &mut Io, outcome: Outcome) {
    if io.until_close {
        io.fail(outcome, CloseReason::Application);
        io.phase = Phase::Broken;
    } else {
        io.failed.get_or_insert(outcome);
        io.http.abort(CloseReason::Application);
        io.phase = Phase::Tail;
    }
}

/// Answers for an application that could not (spec E1 to E3).
fn respond_failure(connection: &Connection, error: &AppError, tools: &mut Tools) {
    let kind = error.kind();
    if failure::is_reportable(kind) && kind != FailKind::Abort {
        let error = error.source().map(|source| source as _);
        connection.report(Event::AppFailed { kind, error });
    }
    settle(connection, Verdict::of(kind), tools);
}

/// The same for a body that failed before its first byte.
pub(crate) fn respond_body_failure(connection: &Connection, error: BodyError, tools: &mut Tools) {
    if failure::is_reportable(FailKind::Body(error.kind())) {
        connection.report(Event::BodyFailed { error: &error });
    }
    // `?` would find the same kind in it.
    settle(connection, Verdict::of(AppError::from(error).kind()), tools);
}

fn settle(connection: &Connection, verdict: Verdict, tools: &mut Tools) {
    let mut io = connection.lock();
    let verdict = verdict.given(io.http.close_reason());
    let outcome = match verdict {
        Verdict::Respond(response) => {
            drop(io);
            return respond_error(connection, response, tools);
        }
        // The bridge gives a call up in this way when its client has left.
        Verdict::Reset if !connection.exchanges.is_disconnected(io.number) => Outcome::Failed,
        Verdict::Reset | Verdict::Close => Outcome::Disconnected,
    };
    // Earlier answers are still the client's.
    let _ = connection.write(&mut io);
    io.reset = verdict == Verdict::Reset;
    io.fail(outcome, CloseReason::Application);
    io.phase = Phase::Broken;
}

/// Sends an error response in place of an answer.
pub(crate) fn respond_error(connection: &Connection, response: ErrorResponse, tools: &mut Tools) {
    let mut guard = connection.lock();
    let io = &mut *guard;
    if io.failed.is_some() {
        io.phase = Phase::Broken;
        return;
    }
    match send_error(&mut io.http, &response, tools.date_line(), io.outbox.text_mut()) {
        Some(sent) => {
            if let Some(current) = &mut io.current {
                current.status = Some(response.status);
            }
            if sent.framing != ResponseFraming::None {
                io.count(response.text.len() as u64);
            }
            io.phase = Phase::Tail;
        }
        None => {
            io.fail(Outcome::Failed, CloseReason::Application);
            io.phase = Phase::Broken;
        }
    }
}

/// Drops something that the application made (spec E7).
pub(crate) fn drop_contained<T>(connection: &Connection, value: T) {
    contain(Running::Drop, |event| connection.report(event), || drop(value));
}

//! What a request tells the probe to do: the steps in its query, one after the other.
//!
//! ```text
//! GET /c12?read&gate=c12.go&status=201&stream&data=hello&flush&fail=failed HTTP/1.1
//!      ^^^ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
//!      key steps of the call              steps of the body
//! ```
//!
//! The key is the first segment of the path and marks the events of the request. A request without steps is answered
//! with a [description](super::describe) of itself. Values are percent-encoded where they hold `&` or bytes that a
//! query cannot. CONNECT, whose target has no query, has its steps in the field `Steps`, and its key as the host.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts};
use varvel::{BodyErrorKind, FailKind};

/// One thing to do. In the body only those make sense that do not say so otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// `emit=NAME`: emits the event `mark`.
    Emit(String),
    /// `gate=NAME`: emits `held` and waits until the harness opens the gate.
    Gate(String),
    /// `block=NAME`: as `gate`, but blocks the thread in async applications too.
    Block(String),
    /// `timer=MILLISECONDS`: waits by a timer of the worker.
    Timer(u64),
    /// `timer-moved=MILLISECONDS`: the same, with a timer that another task has polled before.
    TimerMoved(u64),
    /// `stopping`: emits `waiting`, waits until the worker is stopping and emits `stopping`.
    Stopping,
    /// `disconnected`: emits `waiting`, waits until the client has left and emits `disconnected`.
    Disconnected,
    /// `read` or `read=BYTES`: pulls the request body, to its end or until so many bytes came; emits `read`.
    Read(Option<u64>),
    /// `pull`: pulls one frame of the request body; emits `pulled`.
    Pull,
    /// `pass`: fails with the error that the last `read` or `pull` met, as `?` does.
    Pass,
    /// `drop-request`: drops the request body; only in the call.
    DropRequest,
    /// `interim=STATUS` or `interim=STATUS:NAME:VALUE`: emits `interim` with what came of it.
    Interim(u16, HeaderMap),
    /// `panic`: panics here.
    Panic,
    /// `panic-early`: panics in `call` itself, before there is a future; the same as `panic` in sync calls.
    PanicEarly,
    /// `panic-on-drop`: in the call, something in the response's extensions panics when it is dropped; in the body, the
    /// body itself does.
    PanicOnDrop,
    /// `fail=KIND`: an `AppError` in the call, a `BodyError` in the body. See [`Failing`].
    Fail(Failing),
    /// `hook`: emits `finish` when the exchange is over; `hook=panic` panics then too.
    Hook { panics: bool },
    /// `keep`, `keep=body` or `keep=scope`: keeps a handle to the exchange for `stale`, and the request body, or at the
    /// end of the call the scope.
    Keep(Keep),
    /// `watch`: has another thread wait until the client has left and emit `disconnected`.
    Watch,
    /// `die`: does to the worker what ends it, if anything of an application's can: aborts a process of its own, has an
    /// event loop wake what panics.
    Die,
    /// `stale=KEY`: uses what the request with this key kept; emits `stale`.
    Stale(String),
    /// `echo`: passes all frames of the request body on. In the call it begins the body.
    Echo,
    /// `spawn=NAME`: runs a task that emits `task-began`, waits at the gate NAME, emits `task-ended`.
    Spawn(String),
    /// `offload=NAME`: runs a job that emits `job-began`, waits at the gate NAME, emits `job-ended`.
    Offload(String),
    /// `spawn-panic`, `offload-panic`: the same with a panic at once.
    BackgroundPanic { job: bool },

    // Of the answer, in the call.
    /// `status=CODE`.
    Status(u16),
    /// `header=NAME:VALUE`, repeated for repeated fields.
    Header(HeaderName, HeaderValue),
    /// `body=TEXT`: all of the body.
    Full(Bytes),
    /// `size=BYTES`: a body in memory of so many bytes of the [pattern].
    Size(u64),
    /// `file=OFFSET:LENGTH:ACTUAL`: a region of a file that holds ACTUAL bytes of the pattern.
    File { offset: u64, len: u64, actual: u64 },
    /// `stream` or `stream=LENGTH`: a body made by the steps that follow, with a promised length.
    Stream(Option<u64>),
    /// `upgrade`: takes the token and accepts; the steps that follow are of the tunnel. See `tunnel.rs`. With
    /// `upgrade=replaced` the call then returns an answer `replaced` in place of the tunnel.
    Upgrade { replaced: bool },
    /// `take-upgrade`: takes the token and drops it; emits `token` with whether there was one.
    TakeUpgrade,
    /// `defer`: takes the deferral; the steps that follow run on a thread of their own, which then replies and emits
    /// `replied`. The call returns the placeholder at once, or by `defer=early` when the reply was sent, or by
    /// `defer=replaced` an answer `replaced` in its stead. Without a deferral the answer is 501.
    Defer(String),
    /// `take-deferral`: takes the deferral and drops it; emits `deferral` with whether there was one.
    TakeDeferral,

    // Of the body.
    /// `data=TEXT`: a data frame; without TEXT an empty one.
    Data(Bytes),
    /// `frames=COUNT:BYTES`: so many data frames of the pattern, each announced by the event `produced`.
    Frames { count: u64, bytes: u64 },
    /// `flush`: flushes a sink; an async body is pending once.
    Flush,
    /// `trailers=NAME:VALUE`.
    Trailers(HeaderMap),

    // Of the tunnel.
    /// `close`: ends the sending side.
    Close,

    /// `describe`: the answer is a description of the request, as without any steps; only in the call.
    Describe,
    /// The answer is a description of the request and of what was read of its body; only in the call, of the
    /// [routes](super::routes) alone.
    Tell,
    /// Not a step, or one of more than the probe makes. A typing error in a check shall be seen, so it is answered with
    /// 599, but beside `describe`.
    Unknown(String),
}

/// What a request leaves for a later one, beside the handle to its exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keep {
    Handle,
    Body,
    Scope,
}

/// How to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failing {
    /// `internal`, `unavailable`, `abort`.
    App(FailKind),
    /// `incomplete`, `malformed`, `too-large`, `timeout`, `disconnected`, `failed`.
    Body(BodyErrorKind),
}

impl Step {
    /// Whether a sync application blocks in it.
    pub(super) fn blocks(&self) -> bool {
        matches!(
            self,
            Self::Gate(_)
                | Self::Block(_)
                | Self::Timer(_)
                | Self::TimerMoved(_)
                | Self::Stopping
                | Self::Disconnected
        )
    }
}

/// The steps of a request: its query, or for CONNECT, whose target has none, the field `Steps`.
pub(crate) fn steps_of(head: &Parts) -> Vec<Step> {
    match head.method {
        Method::CONNECT => program(head.headers.get("steps").and_then(|steps| steps.to_str().ok())),
        _ => program(head.uri.query()),
    }
}

/// The steps in a query.
pub(crate) fn program(query: Option<&str>) -> Vec<Step> {
    let steps = query.unwrap_or_default().split('&').filter(|step| !step.is_empty());
    steps.map(|step| parse(step).unwrap_or_else(|| Step::Unknown(step.to_owned()))).collect()
}

fn parse(step: &str) -> Option<Step> {
    let (verb, value) = match step.split_once('=') {
        Some((verb, value)) => (verb, Some(percent_decode(value))),
        None => (step, None),
    };
    let text = || value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
    let number = || text()?.parse().ok();
    Some(match verb {
        "emit" => Step::Emit(text()?),
        "gate" => Step::Gate(text()?),
        "block" => Step::Block(text()?),
        "timer" => Step::Timer(at_most(TIMER_MAX, number()?)?),
        "timer-moved" => Step::TimerMoved(at_most(TIMER_MAX, number()?)?),
        "stopping" => Step::Stopping,
        "disconnected" => Step::Disconnected,
        "read" if value.is_none() => Step::Read(None),
        "read" => Step::Read(Some(at_most(SIZE_MAX, number()?)?)),
        "pull" => Step::Pull,
        "pass" => Step::Pass,
        "drop-request" => Step::DropRequest,
        "interim" => {
            let text = text()?;
            let (status, fields) = text.split_once(':').map_or((&*text, None), |(s, f)| (s, Some(f)));
            Step::Interim(
                status.parse().ok()?,
                fields.map_or(Some(HeaderMap::new()), |f| fields_of(f.as_bytes()))?,
            )
        }
        "panic" => Step::Panic,
        "panic-early" => Step::PanicEarly,
        "panic-on-drop" => Step::PanicOnDrop,
        "fail" => Step::Fail(failing(&text()?)?),
        "hook" => Step::Hook { panics: text().is_some_and(|text| text == "panic") },
        "keep" => Step::Keep(match text().as_deref() {
            None => Keep::Handle,
            Some("body") => Keep::Body,
            Some("scope") => Keep::Scope,
            Some(_) => return None,
        }),
        "watch" => Step::Watch,
        "die" => Step::Die,
        "stale" => Step::Stale(text()?),
        "echo" => Step::Echo,
        "spawn" => Step::Spawn(text()?),
        "offload" => Step::Offload(text()?),
        "spawn-panic" => Step::BackgroundPanic { job: false },
        "offload-panic" => Step::BackgroundPanic { job: true },
        "status" => Step::Status(number()?.try_into().ok()?),
        "header" => {
            let (name, value) = one_field(value.as_deref()?)?;
            Step::Header(name, value)
        }
        "body" => Step::Full(value.unwrap_or_default().into()),
        "size" => Step::Size(at_most(SIZE_MAX, number()?)?),
        "file" => {
            let text = text()?;
            let mut numbers = text.split(':').map(|number| number.parse().ok());
            let (offset, len) = (numbers.next()??, numbers.next()??);
            Step::File { offset, len, actual: at_most(SIZE_MAX, numbers.next()??)? }
        }
        "stream" if value.is_none() => Step::Stream(None),
        "stream" => Step::Stream(Some(number()?)),
        "upgrade" => Step::Upgrade { replaced: text().is_some_and(|text| text == "replaced") },
        "take-upgrade" => Step::TakeUpgrade,
        "defer" => Step::Defer(text().unwrap_or_default()),
        "take-deferral" => Step::TakeDeferral,
        "data" => Step::Data(value.unwrap_or_default().into()),
        "frames" => {
            let text = text()?;
            let (count, bytes) = text.split_once(':')?;
            let (count, bytes) = (count.parse::<u64>().ok()?, at_most(SIZE_MAX, bytes.parse().ok()?)?);
            // Each frame is made when its turn comes, and the position of the last can be counted.
            count.checked_mul(bytes)?;
            Step::Frames { count, bytes }
        }
        "flush" => Step::Flush,
        "close" => Step::Close,
        "describe" => Step::Describe,
        "trailers" => Step::Trailers(fields_of(value.as_deref()?)?),
        _ => return None,
    })
}

/// The largest body, frame or file that is made in memory, in bytes.
const SIZE_MAX: u64 = 64 << 20;

/// The longest time that anything waits, in milliseconds: a day.
pub(super) const TIMER_MAX: u64 = 24 * 60 * 60 * 1000;

/// A number that whoever connects may choose: one that is too large is no step, rather than the end of the process.
fn at_most(most: u64, number: u64) -> Option<u64> {
    (number <= most).then_some(number)
}

fn failing(kind: &str) -> Option<Failing> {
    Some(match kind {
        "internal" => Failing::App(FailKind::Internal),
        "unavailable" => Failing::App(FailKind::Unavailable),
        "abort" => Failing::App(FailKind::Abort),
        "incomplete" => Failing::Body(BodyErrorKind::Incomplete),
        "malformed" => Failing::Body(BodyErrorKind::Malformed),
        "too-large" => Failing::Body(BodyErrorKind::TooLarge),
        "timeout" => Failing::Body(BodyErrorKind::Timeout),
        "disconnected" => Failing::Body(BodyErrorKind::Disconnected),
        "failed" => Failing::Body(BodyErrorKind::Failed),
        _ => return None,
    })
}

fn fields_of(field: &[u8]) -> Option<HeaderMap> {
    let (name, value) = one_field(field)?;
    Some(HeaderMap::from_iter([(name, value)]))
}

fn one_field(field: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&field[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(&field[colon + 1..]).ok()?))
}

/// Bytes that tell their position, so that one missing or repeated shows: the period is prime. Copied in whole periods, since
/// tens of megabytes made byte by byte would keep a busy machine for longer than checks wait.
pub fn pattern(from: u64, count: u64) -> Bytes {
    const PERIOD: &[u8; 23] = b"abcdefghijklmnopqrstuvw";
    let (skipped, count) = ((from % 23) as usize, count as usize);
    Bytes::from(PERIOD.repeat((skipped + count).div_ceil(23))).slice(skipped..skipped + count)
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// Escapes a value for a step: everything but letters, digits and a few harmless signs.
pub fn escape(value: impl AsRef<[u8]>) -> String {
    let mut escaped = String::new();
    for byte in value.as_ref() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' | b'/' => {
                escaped.push(char::from(*byte));
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_steps_in_order() {
        let steps = program(Some("read=5&gate=g&status=201&header=X-A:b%20c&stream=3&data=a%26b&data&flush"));
        assert_eq!(
            steps,
            [
                Step::Read(Some(5)),
                Step::Gate("g".into()),
                Step::Status(201),
                Step::Header(HeaderName::from_static("x-a"), HeaderValue::from_static("b c")),
                Step::Stream(Some(3)),
                Step::Data("a&b".into()),
                Step::Data(Bytes::new()),
                Step::Flush,
            ]
        );
        assert_eq!(program(None), []);
        assert_eq!(program(Some("raed")), [Step::Unknown("raed".into())]);
        for wrong in [
            "status=x",
            "size=1000000000000",
            "read=1000000000000",
            "frames=1:1000000000000",
            "frames=18446744073709551615:2",
            "file=0:1:1000000000000",
            "timer=18446744073709551615",
        ] {
            assert_eq!(program(Some(wrong)), [Step::Unknown(wrong.into())]);
        }
    }

    #[test]
    fn what_is_escaped_is_decoded_again() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(percent_decode(&escape(&bytes)), bytes);
    }
}

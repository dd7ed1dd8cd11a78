//! The routes: what any HTTP server can serve, in any language, to be examined. They are told in `ROUTES.md`.
//!
//! Each is a name for a few [steps](super::program).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts, uri::Authority};
use serde_json::{Value, json};
use varvel::{FailKind, Scope};

use super::{
    context::Reading,
    program::{Failing, Step, steps_of},
};

/// What a request asks for.
pub(super) fn steps(head: &Parts) -> Vec<Step> {
    let path = head.uri.path();
    let (route, argument) =
        path.get(1..).unwrap_or_default().split_once('/').unwrap_or((path.get(1..).unwrap_or_default(), ""));
    let number = || argument.parse::<u64>().ok();
    match (route, number()) {
        ("steps", _) => steps_of(head),
        ("echo", _) if argument.is_empty() => vec![Step::Echo],
        ("noread", _) if argument.is_empty() => text("noread\n"),
        ("status", Some(status)) => answer_with(status, !matches!(status, 100..=199 | 204 | 304)),
        ("nobody", Some(status)) => answer_with(status, true),
        ("stream", Some(pieces)) => {
            let data = (0..pieces).map(|nth| Step::Data(format!("chunk {nth}\n").into()));
            [content_type("text/plain; charset=utf-8"), Step::Stream(None)].into_iter().chain(data).collect()
        }
        ("slow", Some(millis)) => [vec![Step::Timer(millis)], describe()].concat(),
        ("length-short", _) => [vec![declares("10")], text("short")].concat(),
        ("length-long", _) => [vec![declares("10")], text("longer than ten")].concat(),
        // The types of this interface refuse CR and LF in a field.
        ("inject", _) => vec![Step::Fail(Failing::App(FailKind::Internal))],
        ("panic", _) => vec![Step::Panic],
        _ => describe(),
    }
}

fn describe() -> Vec<Step> {
    vec![Step::Read(None), Step::Pass, content_type("application/json"), Step::Tell]
}

fn text(body: &'static str) -> Vec<Step> {
    vec![content_type("text/plain; charset=utf-8"), Step::Full(Bytes::from_static(body.as_bytes()))]
}

fn answer_with(status: u64, with_body: bool) -> Vec<Step> {
    let Some(status) = u16::try_from(status).ok().filter(|status| (100..=999).contains(status)) else {
        return [vec![Step::Status(400)], text("that is no status\n")].concat();
    };
    let mut steps = vec![Step::Status(status)];
    if with_body {
        steps.push(content_type("text/plain; charset=utf-8"));
        steps.push(Step::Full(format!("status {status}\n").into()));
    }
    steps
}

fn content_type(of: &'static str) -> Step {
    Step::Header(header::CONTENT_TYPE, HeaderValue::from_static(of))
}

fn declares(length: &'static str) -> Step {
    Step::Header(header::CONTENT_LENGTH, HeaderValue::from_static(length))
}

/// What reached the application, as the routes tell it.
pub(super) fn description(head: &Parts, scope: &Scope, read: &Reading) -> Value {
    json!({
        "method": head.method.as_str(),
        "target": latin1(scope.raw_target()),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "version": match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            _ => "2",
        },
        "authority": scope.authority().map(Authority::as_str),
        "headers": pairs(&head.headers),
        "body_len": read.len(),
        "body_sha256": read.digest(),
        "trailers": read.trailers().map(pairs).unwrap_or_default(),
    })
}

fn pairs(fields: &HeaderMap) -> Vec<[String; 2]> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| [name.to_string(), latin1(value.as_bytes())];
    fields.iter().map(pair).collect()
}

/// Each byte as the character of its number.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

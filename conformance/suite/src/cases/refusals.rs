//! Requests that never reach an application: one row each, in three deliveries.

use std::fmt;

use crate::{Case, Failure, Setup, Verdict, ensure};

/// A request that a server must refuse itself.
pub(super) struct Refused<'a> {
    /// What is wrong with it.
    pub(super) what: &'a str,
    /// Its bytes, in which `KEY` stands for the key of the check.
    pub(super) request: &'a [u8],
    /// Statuses that are right.
    pub(super) statuses: &'a [u16],
    /// Whether the connection must be closed afterwards.
    pub(super) closes: bool,
}

impl<'a> Refused<'a> {
    /// Refused with 400, and closed.
    pub(super) const fn bad(what: &'a str, request: &'a [u8]) -> Self {
        Self { what, request, statuses: &[400], closes: true }
    }

    /// Refused with another status, and closed.
    pub(super) const fn with(what: &'a str, request: &'a [u8], statuses: &'a [u16]) -> Self {
        Self { what, request, statuses, closes: true }
    }
}

/// How bytes are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delivery {
    Whole,
    ByLine,
    ByByte,
}

impl Delivery {
    pub(super) const ALL: [Self; 3] = [Self::Whole, Self::ByLine, Self::ByByte];

    /// The segments.
    pub(super) fn cut(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole => vec![bytes],
            Self::ByLine => bytes.split_inclusive(|byte| *byte == b'\n').collect(),
            Self::ByByte => bytes.chunks(1).collect(),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::ByLine => "line by line",
            Self::ByByte => "byte by byte",
        })
    }
}

/// Sends each request in each delivery, with a plain one behind it. It must be refused as its row says, nothing that
/// follows on a closed connection may be answered, no call may be made, and the server must go on serving.
pub(super) fn refused(case: &mut Case<'_>, rows: &[Refused<'_>]) -> Verdict {
    // A server of its own shows all calls, whatever became of their targets.
    case.start(Setup::default())?;
    for row in rows {
        for delivery in Delivery::ALL {
            one(case, row, delivery)
                .map_err(|failure| failure.within(format_args!("{}, delivered {delivery}", row.what)))?;
        }
    }
    case.still_serves()?;
    let calls = case.settled("call");
    let wrong = calls.iter().find(|call| !call.key().ends_with(".after") && !call.key().ends_with(".behind"));
    match wrong {
        None => Ok(()),
        Some(call) => Err(Failure::new("no call for a request that is refused", call.to_string())),
    }
}

fn one(case: &mut Case<'_>, row: &Refused<'_>, delivery: Delivery) -> Verdict {
    let request = with_key(row.request, case.key());
    let behind = format!("GET /{}.behind?body=behind HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
    let mut client = case.connect()?;
    // A server may have answered and closed before all of it was sent.
    let sent = delivery.cut(&request).into_iter().all(|piece| client.try_send(piece));
    if sent {
        client.try_send(&behind);
    }
    let response = client.response()?;
    let statuses: Vec<_> = row.statuses.iter().map(u16::to_string).collect();
    ensure(
        row.statuses.contains(&response.status()),
        format_args!("status {}", statuses.join(" or ")),
        response.status(),
    )?;
    if !row.closes {
        return Ok(());
    }
    ensure(
        response.head.connection_has("close"),
        "Connection: close",
        format_args!("{:?}", response.head.fields),
    )?;
    client.closed()?;
    let followed = case.events("call").into_iter().any(|call| call.key().ends_with(".behind"));
    ensure(!followed, "no call for what stands behind a refused request", "one")
}

/// Puts the key of a check into a request.
pub(super) fn with_key(request: &[u8], key: &str) -> Vec<u8> {
    let mut result = Vec::with_capacity(request.len() + key.len());
    let mut rest = request;
    while let Some(at) = rest.windows(3).position(|window| window == b"KEY") {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(key.as_bytes());
        rest = &rest[at + 3..];
    }
    result.extend_from_slice(rest);
    result
}

/// Bytes, readable in a message.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

//! Chapter H: what the server does about HTTP so that no application has to.

use std::collections::BTreeSet;

use varvel::Caps;
use varvel_spec::ids;

use super::refusals::{Delivery, Refused, refused, with_key};
use crate::{
    Case, Check, Client, Event, Failure, Framing, Head, Response, Verdict,
    broken::Fault::*,
    ensure, expect_eq,
    probe::{digest, escape, pattern},
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::H1, "same-head-no-body", same_head_no_body, &[HeadSendsBody, HeadSaysEmpty]),
    Check::new(ids::H1, "body-not-run", body_of_head_not_run, &[HeadRunsBody]),
    Check::new(
        ids::H2,
        "no-body-no-framing",
        no_body_no_framing,
        &[BodilessStatusSendsBody, LengthWithNoContent],
    ),
    Check::new(ids::H2, "body-not-run", body_of_bodiless_not_run, &[BodilessStatusRunsBody]),
    Check::new(
        ids::H3,
        "every-version-and-body",
        every_version_and_body,
        &[ChunkedOn10, ChunksEverything, EmptyWithoutLength],
    ),
    Check::new(ids::H4, "excess-is-cut", excess_is_cut, &[SendsExcess, CutsSilently]),
    Check::new(
        ids::H4,
        "shortage-breaks-off",
        shortage_breaks_off,
        &[ShortAnswerKeepsConnection, ShortGoesUnreported],
    ),
    Check::new(ids::H4, "no-number-is-removed", no_number_is_removed, &[SendsOddLength]),
    Check::new(
        ids::H5,
        "connection-fields-removed",
        connection_fields_removed,
        &[SendsConnectionFields, RemovesSilently],
    ),
    Check::new(ids::H6, "added-once", date_added_once, &[NoDate]),
    Check::new(ids::H6, "applications-own-stays", date_of_the_application_stays, &[ReplacesDate]),
    Check::new(
        ids::H7,
        "every-version-and-option",
        every_version_and_option,
        &[
            IgnoresClose,
            OptionsAreCaseSensitive,
            ReadsFirstOptionOnly,
            ClosesUnannounced,
            NeverKeepsAlive,
            Keeps10Alive,
            Keeps10AliveSilently,
        ],
    ),
    Check::new(ids::H7, "nothing-behind-close", nothing_behind_close, &[IgnoresClose]),
    Check::new(
        ids::H8,
        "ambiguous-lengths",
        ambiguous_lengths,
        &[TakesBothFramings, TakesEqualLengths, TakesLastLength, TakesSignedLength, WrapsLength],
    ),
    Check::new(
        ids::H8,
        "ambiguous-codings",
        ambiguous_codings,
        &[TakesChunkedTwice, TakesChunksOn10, IgnoresOddTransferEncoding],
    ),
    Check::new(ids::H8, "folds-and-spaces", folds_and_spaces, &[TakesFolding, TakesSpaceBeforeColon]),
    Check::new(ids::H8, "bad-chunks", bad_chunks, &[IgnoresChunkEnd]),
    Check::new(
        ids::H9,
        "at-the-first-pull",
        continue_at_the_first_pull,
        &[ContinuesBeforePull, NeverContinues],
    ),
    Check::new(
        ids::H9,
        "not-to-1.0-nor-without-body",
        no_continue_where_none_is_due,
        &[ContinuesOn10, ContinuesWithoutBody],
    ),
    Check::new(
        ids::H9,
        "not-behind-the-final-head",
        no_continue_behind_the_final_head,
        &[ContinuesAfterHead],
    ),
    Check::new(
        ids::H10,
        "closes-without-the-body",
        closes_without_the_body,
        &[WaitsForUnsentBody, ClosesUnannounced],
    ),
    Check::new(ids::H11, "on-demand-and-once", continue_on_demand, &[IgnoresForcedContinue, ContinuesTwice])
        .needs(Caps::INTERIM),
    Check::new(
        ids::H11,
        "nothing-where-none-is-expected",
        continue_unexpected,
        &[ContinuesUnasked, ContinuesTwice],
    )
    .needs(Caps::INTERIM),
    Check::new(ids::H12, "ahead-of-the-final-head", interim_ahead, &[HoldsInterimBack, SwallowsInterim])
        .needs(Caps::INTERIM),
    Check::new(ids::H12, "refused-where-impossible", interim_refused, &[InterimTo10, AcceptsLateInterim])
        .needs(Caps::INTERIM),
    Check::new(ids::H13, "unread-is-no-request", unread_is_no_request, &[UnreadBodyIsNextRequest]),
    Check::new(ids::H14, "bytes-as-given", bytes_as_given, &[AltersContent]),
    Check::new(ids::H15, "fields-as-given", fields_as_given, &[MergesAnswerFields, MasksAnswerBytes]),
    Check::new(ids::H16, "bad-line-ends", bad_line_ends, &[TakesBareLf, TakesBareCr, SkipsNul]),
    Check::new(ids::H16, "bad-line-ends-in-bodies", bad_line_ends_in_bodies, &[TakesBareLf]),
    Check::new(ids::H16, "empty-line-ahead", empty_line_ahead, &[RefusesLeadingEmptyLine]),
    Check::new(
        ids::H17,
        "malformed-fields",
        malformed_fields,
        &[SkipsBadNames, SkipsLinesWithoutColon, ReplacesControls, SkipsSpaceBeforeFields],
    ),
    Check::new(
        ids::H18,
        "foreign-and-malformed",
        foreign_and_malformed_versions,
        &[TakesAnyVersion, ForeignVersionIs400],
    ),
    Check::new(ids::H19, "unknown-expectations", unknown_expectations, &[IgnoresExpectations]),
    Check::new(ids::H19, "in-any-case", expectation_in_any_case, &[ExpectIsCaseSensitive]),
    Check::new(
        ids::H20,
        "coding-ahead-of-chunked",
        coding_ahead_of_chunked,
        &[InnerCodingIs400, IgnoresInnerCodings],
    ),
    Check::new(ids::H21, "replaced-and-reported", odd_statuses, &[SendsAnyStatus, CorrectsStatusSilently]),
];

/// Sees that a connection is still good for another request, and in step.
fn next_is_answered(case: &Case<'_>, client: &mut Client) -> Verdict {
    let request = format!("GET /{}.next?body=next HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
    let next = client.send(request).and_then(|()| client.response());
    let next = next.map_err(|failure| failure.within("the next request on the connection"))?;
    expect_eq("the next answer:", (next.status(), next.text()), (200, "next".to_owned()))
}

/// Name and value of all fields but Date, in order of name.
fn without_date(head: &Head) -> Vec<(String, String)> {
    let lines = head.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    let mut fields: Vec<_> =
        lines.map(|(name, value)| (name.to_lowercase(), value.escape_ascii().to_string())).collect();
    fields.sort();
    fields
}

/// Answers of every kind, for GET and HEAD alike.
const BODIES: [(&str, &str); 8] = [
    ("an empty body", "status=200"),
    ("a body in memory", "body=hello"),
    ("a large body in memory", "size=300000"),
    ("a declared length", "header=Content-Length:5&body=hello"),
    ("a file", "file=10:50000:100000"),
    ("a stream", "stream&data=hello&data=again"),
    ("a stream of known length", "stream=10&data=hello&data=again"),
    ("an error of the application", "status=404&header=X-A:b&body=none"),
];

fn same_head_no_body(case: &mut Case<'_>) -> Verdict {
    for (what, steps) in BODIES {
        let mut client = case.connect()?;
        client.send(case.get(steps))?;
        let get = client.response().map_err(|failure| failure.within(format_args!("GET of {what}")))?;
        client.send(case.request("HEAD", steps, ""))?;
        let head =
            client.response_to("HEAD").map_err(|failure| failure.within(format_args!("HEAD of {what}")))?;
        expect_eq(format_args!("status with {what}:"), head.status(), get.status())?;
        let named = format!("fields with {what}:");
        expect_eq(named, without_date(&head.head), without_date(&get.head))?;
        next_is_answered(case, &mut client)
            .map_err(|failure| failure.within(format_args!("HEAD of {what}")))?;
    }
    Ok(())
}

fn body_of_head_not_run(case: &mut Case<'_>) -> Verdict {
    for (n, steps) in ["stream&data=hello", "stream=5&data=hello", "stream&panic"].into_iter().enumerate() {
        let (request, key) = keyed(case, n, steps);
        let mut client = case.connect()?;
        client.send(request.replacen("GET", "HEAD", 1))?;
        client.response_to("HEAD")?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key)?;
        expect_eq("how often the body was polled or run:", dropped.number("polls"), Some(0))?;
    }
    Ok(())
}

fn no_body_no_framing(case: &mut Case<'_>) -> Verdict {
    for status in [204, 304] {
        for body in ["body=hello", "stream&data=hello", "stream=5&data=hello", "file=0:5:5", "header=X-A:b"] {
            let what = format!("status {status} with {body}");
            let mut client = case.connect()?;
            client.send(case.get(&format!("status={status}&{body}")))?;
            // The reader refuses framing fields with 204 by itself.
            let response = client.response().map_err(|failure| failure.within(&what))?;
            expect_eq(format_args!("{what}: status"), response.status(), status)?;
            ensure(
                !response.head.has("transfer-encoding"),
                format_args!("{what}: no Transfer-Encoding"),
                format_args!("{:?}", response.head.fields),
            )?;
            if response.head.connection_has("close") {
                client.closed().map_err(|failure| failure.within(&what))?;
            } else {
                next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
            }
        }
    }
    Ok(())
}

fn body_of_bodiless_not_run(case: &mut Case<'_>) -> Verdict {
    for (nth, status) in [204, 304].into_iter().enumerate() {
        let (request, key) = keyed(case, nth, &format!("status={status}&stream&data=hello"));
        case.ask(request)?;
        let dropped = case.wait_for("body-dropped", |event| event.key() == key)?;
        let what = format!("how often the body was polled or run with {status}:");
        expect_eq(what, dropped.number("polls"), Some(0))?;
    }
    Ok(())
}

fn every_version_and_body(case: &mut Case<'_>) -> Verdict {
    let chunked = &[Framing::Chunked][..];
    let close = &[Framing::Close][..];
    let rows: [(&str, &str, &[u8], &[Framing], &[Framing]); 9] = [
        ("an empty body", "status=200", b"", &[Framing::Length(0)], &[Framing::Length(0)]),
        ("an empty body with 404", "status=404", b"", &[Framing::Length(0)], &[Framing::Length(0)]),
        ("a body in memory", "body=hello", b"hello", &[Framing::Length(5)], &[Framing::Length(5)]),
        ("a file", "file=0:23:23", &pattern(0, 23), &[Framing::Length(23)], &[Framing::Length(23)]),
        (
            "a known length",
            "stream=5&data=hel&data=lo",
            b"hello",
            &[Framing::Length(5)],
            &[Framing::Length(5)],
        ),
        (
            "a declared length",
            "header=Content-Length:5&stream&data=hel&data=lo",
            b"hello",
            &[Framing::Length(5)],
            &[Framing::Length(5)],
        ),
        ("an unknown length", "stream&data=hel&flush&data=lo", b"hello", chunked, close),
        ("an unknown length with 500", "status=500&stream&data=hel&flush&data=lo", b"hello", chunked, close),
        // A server that looks ahead may find out that nothing comes.
        (
            "a stream of nothing",
            "stream",
            b"",
            &[Framing::Chunked, Framing::Length(0)],
            &[Framing::Close, Framing::Length(0)],
        ),
    ];
    for (what, steps, body, on_11, on_10) in rows {
        for (version, framings) in [("1.1", on_11), ("1.0", on_10)] {
            let what = format!("{what} on {version}");
            let request = format!("GET {} HTTP/{version}\r\nHost: varvel.test\r\n\r\n", case.target(steps));
            let response = case.ask(request).map_err(|failure| failure.within(&what))?;
            ensure(
                framings.contains(&response.framing),
                format_args!("{what}: framing {framings:?}"),
                format_args!("{:?}, {:?}", response.framing, response.head.fields),
            )?;
            expect_eq(format_args!("{what}: body"), &response.body[..], body)?;
        }
    }
    Ok(())
}

/// Waits for a report about this key that is no message for the log.
fn reported(case: &Case<'_>, key: &str) -> Result<Event, Failure> {
    case.wait_for("report", |event| event.key() == key && event.text("report") != "Log")
        .map_err(|failure| failure.within("a report of it"))
}

/// A request with a key of its own, so that its reports are told from others.
fn keyed(case: &Case<'_>, n: usize, steps: &str) -> (String, String) {
    let key = format!("{}.{n}", case.key());
    (format!("GET /{key}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n\r\n"), key)
}

fn excess_is_cut(case: &mut Case<'_>) -> Verdict {
    for (n, body) in [
        "body=hello",
        "stream&data=hel&data=lo",
        "stream=5&data=hello",
        "file=0:5:5",
        "stream&data=hel&flush&data=lo",
    ]
    .into_iter()
    .enumerate()
    {
        let (request, key) = keyed(case, n, &format!("header=Content-Length:3&{body}"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response().map_err(|failure| failure.within(body))?;
        expect_eq(format_args!("framing of {body}:"), response.framing, Framing::Length(3))?;
        expect_eq(format_args!("bytes of {body}:"), response.body.len(), 3)?;
        if response.head.connection_has("close") {
            client.closed()?;
        } else {
            // If the server decides to close after the head, it does so without a further byte.
            let request = format!("GET /{key}.next?body=next HTTP/1.1\r\nHost: varvel.test\r\n\r\n");
            if client.try_send(request) {
                match client.response() {
                    Ok(next) => expect_eq(format_args!("the answer behind {body}:"), next.text(), "next")?,
                    Err(failure) => {
                        client.closed().map_err(|_| failure.within(format_args!("behind {body}")))?;
                    }
                }
            }
        }
        reported(case, &key)?;
    }
    Ok(())
}

fn shortage_breaks_off(case: &mut Case<'_>) -> Verdict {
    for (n, steps) in [
        "header=Content-Length:10&body=hello",
        "header=Content-Length:10&stream&data=hello",
        "header=Content-Length:10&stream=5&data=hello",
        "stream=10&data=hello",
        "header=Content-Length:10&stream",
    ]
    .into_iter()
    .enumerate()
    {
        let (request, key) = keyed(case, n, steps);
        let mut client = case.connect()?;
        client.send(request)?;
        let (rest, _) = client.rest().map_err(|failure| failure.within(steps))?;
        broken_off(&rest).map_err(|failure| failure.within(steps))?;
        reported(case, &key).map_err(|failure| failure.within(steps))?;
    }
    Ok(())
}

/// An answer with the declared length 10 that ended before it, or nothing at all.
fn broken_off(received: &[u8]) -> Verdict {
    let shown = received.escape_ascii().to_string();
    if received.is_empty() {
        return Ok(());
    }
    let end = received.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { return Ok(()) };
    let head = Head::parse(&received[..end + 2]).map_err(|expected| Failure::new(expected, shown.clone()))?;
    expect_eq("declared length:", head.one("content-length"), Some("10"))?;
    ensure(
        received.len() - end - 4 < 10,
        "fewer bytes than were declared, then the end of the connection",
        shown,
    )
}

fn no_number_is_removed(case: &mut Case<'_>) -> Verdict {
    for (n, declared) in [
        "header=Content-Length:five",
        "header=Content-Length:-5",
        "header=Content-Length:%2B5",
        "header=Content-Length:5.0",
        "header=Content-Length:0x5",
        "header=Content-Length:",
        "header=Content-Length:5,%205",
        "header=Content-Length:99999999999999999999",
        "header=Content-Length:5&header=Content-Length:7",
    ]
    .into_iter()
    .enumerate()
    {
        for (m, body) in ["body=hello", "stream&data=hel&data=lo"].into_iter().enumerate() {
            let steps = format!("{declared}&{body}");
            let (request, key) = keyed(case, 10 * n + m, &steps);
            let mut client = case.connect()?;
            client.send(request)?;
            let response = client.response().map_err(|failure| failure.within(&steps))?;
            expect_eq(format_args!("body of {steps}:"), response.text(), "hello")?;
            next_is_answered(case, &mut client).map_err(|failure| failure.within(&steps))?;
            reported(case, &key).map_err(|failure| failure.within(&steps))?;
        }
    }
    Ok(())
}

fn connection_fields_removed(case: &mut Case<'_>) -> Verdict {
    for (n, (name, value)) in [
        ("Connection", "x-mine"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=99"),
        ("Proxy-Connection", "keep-alive"),
        ("Transfer-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "x-proto"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{name}: {value}");
        let (request, key) = keyed(case, n, &format!("header={name}:{value}&header=X-Kept:yes&body=hello"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response = client.response().map_err(|failure| failure.within(&what))?;
        expect_eq(
            format_args!("answer with {what}:"),
            (response.status(), response.text()),
            (200, "hello".to_owned()),
        )?;
        expect_eq(format_args!("other field beside {what}:"), response.head.one("x-kept"), Some("yes"))?;
        let sent = match name {
            // The server may say something of its own there.
            "Connection" => response.head.connection_has(value),
            _ => response.head.has(name),
        };
        ensure(!sent, format_args!("{what} is not sent"), format_args!("{:?}", response.head.fields))?;
        next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
        reported(case, &key).map_err(|failure| failure.within(&what))?;
    }
    Ok(())
}

fn date_added_once(case: &mut Case<'_>) -> Verdict {
    let bad = with_key(b"GET /KEY HTTP/1.1\r\n\r\n", case.key());
    let requests = [
        ("200", case.get("body=x").into_bytes()),
        ("404", case.get("status=404").into_bytes()),
        ("204", case.get("status=204").into_bytes()),
        ("a stream", case.get("stream&data=x").into_bytes()),
        ("an error of the application", case.get("fail=internal").into_bytes()),
        ("a refusal", bad),
    ];
    for (what, request) in requests {
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        let date = response.head.one("date");
        ensure(
            date.is_some_and(is_date),
            format_args!("one Date with {what}"),
            format_args!("{:?}", response.head.fields),
        )?;
    }
    Ok(())
}

/// Whether a text has the form `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_date(text: &str) -> bool {
    let form = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        _ => byte == *form,
    };
    text.len() == form.len() && text.bytes().zip(form).all(fits)
}

fn date_of_the_application_stays(case: &mut Case<'_>) -> Verdict {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let response = case.ask(case.get(&format!("header=Date:{}&body=x", escape(date))))?;
    expect_eq("Date:", response.head.one("date"), Some(date))
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Open,
    /// Open, and the server must say so.
    OpenAndSaid,
    Closed,
}

fn every_version_and_option(case: &mut Case<'_>) -> Verdict {
    let known = "body=x";
    let unknown = "stream&data=x";
    for (version, fields, steps, then) in [
        ("1.1", "", known, Then::Open),
        ("1.1", "", unknown, Then::Open),
        ("1.1", "Connection: keep-alive\r\n", known, Then::Open),
        ("1.1", "Connection: x-other\r\n", known, Then::Open),
        ("1.1", "Connection: close\r\n", known, Then::Closed),
        ("1.1", "Connection: close\r\n", unknown, Then::Closed),
        ("1.1", "Connection: Close\r\n", known, Then::Closed),
        ("1.1", "connection: CLOSE\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other, close\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other,\t close ,x-more\r\n", known, Then::Closed),
        ("1.1", "Connection: ,,close\r\n", known, Then::Closed),
        ("1.1", "Connection: keep-alive, close\r\n", known, Then::Closed),
        ("1.1", "Connection: x-other\r\nX: y\r\nConnection: close\r\n", known, Then::Closed),
        ("1.1", "Connection: closed\r\n", known, Then::Open),
        ("1.1", "Connection: x-close\r\n", known, Then::Open),
        ("1.0", "", known, Then::Closed),
        ("1.0", "", unknown, Then::Closed),
        ("1.0", "Connection: keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: Keep-Alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: x-other, keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: x-other\r\nConnection: keep-alive\r\n", known, Then::OpenAndSaid),
        ("1.0", "Connection: keep-alive\r\n", unknown, Then::Closed),
        ("1.0", "Connection: keep-alive, close\r\n", known, Then::Closed),
    ] {
        let what = format!("{version} with {:?} and {steps}", fields);
        let target = case.target(steps);
        let mut client = case.connect()?;
        client.send(format!("GET {target} HTTP/{version}\r\nHost: varvel.test\r\n{fields}\r\n"))?;
        // The end of an answer without a length is the close itself.
        let response = client.response().map_err(|failure| failure.within(&what))?;
        let says = |option| response.head.connection_has(option);
        let said = format!("{:?}", response.head.fields);
        match then {
            Then::Closed => {
                ensure(says("close"), format_args!("{what}: Connection: close"), said)?;
                client.closed().map_err(|failure| failure.within(&what))?;
            }
            Then::Open | Then::OpenAndSaid => {
                ensure(!says("close"), format_args!("{what}: no Connection: close"), &said)?;
                let must_say = then == Then::OpenAndSaid;
                ensure(
                    !must_say || says("keep-alive"),
                    format_args!("{what}: Connection: keep-alive"),
                    &said,
                )?;
                next_is_answered(case, &mut client).map_err(|failure| failure.within(&what))?;
            }
        }
    }
    Ok(())
}

fn nothing_behind_close(case: &mut Case<'_>) -> Verdict {
    let behind = format!("GET /{}.behind?body=behind HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
    for first in [
        case.request("GET", "body=first", "Connection: close\r\n"),
        case.request("POST", "read&body=first", "Connection: close\r\nContent-Length: 5\r\n") + "hello",
        format!("GET {} HTTP/1.0\r\n\r\n", case.target("body=first")),
    ] {
        let mut client = case.connect()?;
        client.send(first + &behind)?;
        expect_eq("first answer:", client.response()?.text(), "first")?;
        client.closed()?;
    }
    let called = case.settled("call")?.into_iter().any(|call| call.key().ends_with(".behind"));
    ensure(!called, "no call for what stands behind `close`", "one")
}

fn ambiguous_lengths(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, String)> = [
        ("both framings", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("both framings the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("both framings, length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths the other way round", "Content-Length: 6\r\nContent-Length: 5\r\n"),
        ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("a length of 0 and another", "Content-Length: 0\r\nContent-Length: 5\r\n"),
    ]
    .map(|(what, fields)| (what.to_owned(), fields.to_owned()))
    .to_vec();
    for value in [
        "5, 5",
        "5, 6",
        "5,",
        ",5",
        "+5",
        "-5",
        "-0",
        "5.0",
        "5e0",
        "0x5",
        "5_0",
        "5 5",
        "5;x",
        "\"5\"",
        "five",
        "",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "-18446744073709551611",
        "\u{665}",
    ] {
        rows.push((format!("Content-Length: {value}"), format!("Content-Length: {value}\r\n")));
    }
    refuse_all(case, "1.1", &rows)
}

fn ambiguous_codings(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, String)> = Vec::new();
    for value in [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, identity",
        "chunked, chunked",
        "chunked,chunked",
        "xchunked",
        "chunkedx",
        "chunk",
        "\"chunked\"",
        "chunked;x=y",
        "chunked x",
        "x chunked",
        "chunked, ",
        "",
        "\x0bchunked",
        "chunked\x0b",
        "cow, ",
        ",",
        "chu nked",
        "gzip;chunked",
    ] {
        rows.push((format!("Transfer-Encoding: {value:?}"), format!("Transfer-Encoding: {value}\r\n")));
    }
    for (what, fields) in [
        ("chunked on two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked and then another line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("chunked and then an empty line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"),
    ] {
        rows.push((what.to_owned(), fields.to_owned()));
    }
    // A list may end in empty elements, which count for nothing (RFC 9110 section 5.6.1).
    rows.retain(|(_, fields)| !fields.contains("chunked, \r\n"));
    refuse_all(case, "1.1", &rows)?;
    refuse_all(
        case,
        "1.0",
        &[
            ("chunked on HTTP/1.0".to_owned(), "Transfer-Encoding: chunked\r\n".to_owned()),
            (
                "chunked with keep-alive on HTTP/1.0".to_owned(),
                "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            ),
        ],
    )
}

/// Refuses POST requests with these fields, behind which stand bytes that are a body by one reading of them and the
/// beginning of a request by another.
fn refuse_all(case: &mut Case<'_>, version: &str, rows: &[(String, String)]) -> Verdict {
    let request = |fields: &str| {
        format!("POST /KEY?read&body=x HTTP/{version}\r\nHost: a\r\n{fields}\r\n0\r\n\r\nGET /KEY.smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            .into_bytes()
    };
    let requests: Vec<_> = rows.iter().map(|(what, fields)| (what, request(fields))).collect();
    let refusals: Vec<_> = requests.iter().map(|(what, request)| Refused::bad(what, request)).collect();
    refused(case, &refusals)
}

fn folds_and_spaces(case: &mut Case<'_>) -> Verdict {
    let rows: Vec<(String, String)> = [
        ("a folded value", "X: a\r\n b\r\n"),
        ("a value folded with a tab", "X: a\r\n\tb\r\n"),
        ("an empty fold", "X: a\r\n \r\nY: z\r\n"),
        ("a folded length", "Content-Length: 1\r\n 0\r\n"),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n"),
        ("a space before the colon", "X : a\r\n"),
        ("a tab before the colon", "X\t: a\r\n"),
        ("a space before the colon of a length", "Content-Length : 5\r\n"),
        ("a space before the colon of a coding", "Transfer-Encoding : chunked\r\n"),
    ]
    .map(|(what, fields)| (what.to_owned(), fields.to_owned()))
    .to_vec();
    refuse_all(case, "1.1", &rows)
}

/// Chunked bodies outside the grammar, each with what comes before the fault.
const BAD_CHUNKS: [(&str, &[u8]); 24] = [
    ("a size that is no number", b"xyz\r\nhello\r\n0\r\n\r\n"),
    ("no size", b"\r\nhello\r\n0\r\n\r\n"),
    ("a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("a space ahead of the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("text behind the size", b"5 x\r\nhello\r\n0\r\n\r\n"),
    ("a comma behind the size", b"5,5\r\nhello\r\n0\r\n\r\n"),
    ("a quoted size", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size far beyond 64 bits", b"fffffffffffffffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
    ("too few bytes announced", b"4\r\nhello\r\n0\r\n\r\n"),
    ("too many bytes announced", b"6\r\nhello\r\n0\r\n\r\n"),
    ("no line end behind the data", b"5\r\nhello0\r\n\r\n"),
    ("other bytes behind the data", b"5\r\nhelloXX0\r\n\r\n"),
    ("LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
    ("CR behind the data", b"5\r\nhello\r0\r\n\r\n"),
    ("LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
    ("CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
    ("LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL in an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n"),
    ("LF behind the last chunk", b"5\r\nhello\r\n0\n\r\n"),
];

fn bad_chunks(case: &mut Case<'_>) -> Verdict {
    for (what, body) in BAD_CHUNKS {
        malformed_body(case, what, body)?;
    }
    case.still_serves()?;
    no_smuggled_call(case)
}

/// Sends a chunked body in each delivery, and sees that it comes to Malformed, 400 and a close.
fn malformed_body(case: &mut Case<'_>, what: &str, body: &[u8]) -> Verdict {
    for delivery in Delivery::ALL {
        let what = format!("{what}, delivered {delivery:?}");
        let mut request =
            case.request("POST", "read&pass&body=read", "Transfer-Encoding: chunked\r\n").into_bytes();
        request.extend_from_slice(body);
        request.extend_from_slice(&smuggled(case));
        let mut client = case.connect()?;
        delivery.cut(&request).into_iter().all(|piece| client.try_send(piece));
        let response = client.response().map_err(|failure| failure.within(&what))?;
        expect_eq(format_args!("{what}: status"), response.status(), 400)?;
        client.closed().map_err(|failure| failure.within(&what))?;
    }
    Ok(())
}

/// A request that must never be taken for one.
fn smuggled(case: &Case<'_>) -> Vec<u8> {
    format!("GET /{}.smuggled?body=smuggled HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key()).into_bytes()
}

fn no_smuggled_call(case: &Case<'_>) -> Verdict {
    let call = case.settled("call")?.into_iter().find(|call| call.key().ends_with(".smuggled"));
    ensure(call.is_none(), "no byte of a body is taken for a request", format_args!("{:?}", call))
}

const EXPECT: &str = "Expect: 100-continue\r\nContent-Length: 5\r\n";

fn continue_at_the_first_pull(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    for fields in [EXPECT, "expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n"] {
        let body = if fields == EXPECT { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
        let mut client = case.connect()?;
        client.send(case.request("POST", &format!("gate={gate}&read&body=ok"), fields))?;
        if fields == EXPECT {
            case.wait_for("held", |_| true)?;
            client.silent().map_err(|failure| failure.within("before the first pull"))?;
            case.open(&gate);
        }
        expect_eq("status of the head at the first pull:", client.head()?.status, 100)?;
        client.send(body)?;
        let response = client.response()?;
        expect_eq("interim heads behind the 100:", response.interim.len(), 0)?;
        expect_eq("answer:", response.text(), "ok")?;
        next_is_answered(case, &mut client)?;
    }
    Ok(())
}

fn no_continue_where_none_is_due(case: &mut Case<'_>) -> Verdict {
    for (what, head, body) in [
        (
            "HTTP/1.0",
            format!("POST {} HTTP/1.0\r\nHost: a\r\n{EXPECT}\r\n", case.target("emit=called&read&body=ok")),
            "hello",
        ),
        (
            "GET without a body",
            case.request("GET", "emit=called&read&body=ok", "Expect: 100-continue\r\n"),
            "",
        ),
        (
            "a body of length 0",
            case.request("POST", "emit=called&read&body=ok", "Expect: 100-continue\r\nContent-Length: 0\r\n"),
            "",
        ),
    ] {
        let mut client = case.connect()?;
        client.send(head)?;
        if !body.is_empty() {
            client.silent().map_err(|failure| failure.within(what))?;
            client.send(body)?;
        }
        let response = client.response().map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("interim heads with {what}:"), response.interim.len(), 0)?;
        expect_eq(format_args!("answer with {what}:"), response.text(), "ok")?;
    }
    Ok(())
}

fn no_continue_behind_the_final_head(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut client = case.connect()?;
    client.send(case.request("POST", &format!("stream&data=a&flush&gate={gate}&read&data=b"), EXPECT))?;
    let head = client.head()?;
    expect_eq("status:", head.status, 200)?;
    expect_eq("first chunk:", client.chunk()?, Some(b"a".to_vec()))?;
    case.open(&gate);
    // The pull may fail, or wait for the body; in the stream there is nothing but chunks, whichever it is.
    let _ = client.silent();
    client.send("hello")?;
    while client.chunk()?.is_some() {}
    expect_eq("trailers:", client.trailers()?.len(), 0)
}

fn closes_without_the_body(case: &mut Case<'_>) -> Verdict {
    for steps in ["body=no", "status=401", "stream&data=n&data=o"] {
        let mut client = case.connect()?;
        client.send(case.request("POST", steps, EXPECT))?;
        let response = client.response().map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("interim heads with {steps}:"), response.interim.len(), 0)?;
        ensure(
            response.head.connection_has("close"),
            format_args!("{steps}: Connection: close"),
            format_args!("{:?}", response.head.fields),
        )?;
        client.closed().map_err(|failure| failure.within(steps))?;
    }
    Ok(())
}

fn continue_on_demand(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut client = case.connect()?;
    client.send(case.request("POST", &format!("interim=100&gate={gate}&read&body=ok"), EXPECT))?;
    expect_eq("head sent on demand:", client.head()?.status, 100)?;
    expect_eq("result:", case.wait_for("interim", |_| true)?.text("result"), "Ok")?;
    case.open(&gate);
    // The pull comes while the body is still under way.
    client.silent().map_err(|failure| failure.within("no second 100"))?;
    client.send("hello")?;
    let response = client.response()?;
    expect_eq("further interim heads:", response.interim.len(), 0)?;
    expect_eq("answer:", response.text(), "ok")
}

fn continue_unexpected(case: &mut Case<'_>) -> Verdict {
    for (what, request) in [
        (
            "no expectation",
            case.request("POST", "interim=100&read&body=ok", "Content-Length: 5\r\n") + "hello",
        ),
        ("no body", case.get("interim=100&read&body=ok")),
    ] {
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("interim heads with {what}:"), response.interim.len(), 0)?;
        expect_eq("answer:", response.text(), "ok")?;
    }
    // Twice on demand is once on the wire.
    let mut client = case.connect()?;
    client.send(case.request("POST", "interim=100&interim=100&read&body=ok", EXPECT))?;
    expect_eq("head sent on demand:", client.head()?.status, 100)?;
    client.send("hello")?;
    expect_eq("further interim heads:", client.response()?.interim.len(), 0)
}

fn interim_ahead(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go")?;
    let mut client = case.connect()?;
    client.send(case.get(&format!(
        "interim=103:Link:one&interim=103:Link:two&interim=102&interim=199&gate={gate}&body=final"
    )))?;
    for (status, link) in [(103, Some("one")), (103, Some("two")), (102, None), (199, None)] {
        let head = client.head().map_err(|failure| failure.within("while the answer waits"))?;
        expect_eq("interim head:", (head.status, head.one("link")), (status, link))?;
    }
    let results: BTreeSet<_> =
        case.settled("interim")?.iter().map(|event| event.text("result").to_owned()).collect();
    expect_eq("results:", results.into_iter().collect::<Vec<_>>(), vec!["Ok"])?;
    case.open(&gate);
    let response = client.response()?;
    expect_eq("further interim heads:", response.interim.len(), 0)?;
    expect_eq("answer:", (response.status(), response.text()), (200, "final".to_owned()))?;
    ensure(
        !response.head.has("link"),
        "no interim field in the final head",
        format_args!("{:?}", response.head.fields),
    )?;
    next_is_answered(case, &mut client)
}

fn interim_refused(case: &mut Case<'_>) -> Verdict {
    let key = case.key().to_owned();
    let rows = [
        ("to HTTP/1.0", "1.0", "interim=103&body=ok", "Unsupported"),
        ("behind the final head", "1.1", "stream&data=o&flush&interim=103&data=k", "TooLate"),
        ("with 101", "1.1", "interim=101&body=ok", "NotInterim"),
        ("with 200", "1.1", "interim=200&body=ok", "NotInterim"),
    ];
    for (n, (what, version, steps, result)) in rows.into_iter().enumerate() {
        let response =
            case.ask(format!("GET /{key}.{n}?{steps} HTTP/{version}\r\nHost: varvel.test\r\n\r\n"))?;
        expect_eq(format_args!("interim heads {what}:"), response.interim.len(), 0)?;
        expect_eq(
            format_args!("answer {what}:"),
            (response.status(), response.text()),
            (200, "ok".to_owned()),
        )?;
        let event = case.wait_for("interim", |event| event.key() == format!("{key}.{n}"))?;
        expect_eq(format_args!("result {what}:"), event.text("result"), result)?;
    }
    Ok(())
}

fn unread_is_no_request(case: &mut Case<'_>) -> Verdict {
    let smuggled = smuggled(case);
    let small = smuggled.repeat(3);
    let large = smuggled.repeat(4 * 1024 * 1024 / smuggled.len());
    for (size, body) in [("small", &small), ("large", &large)] {
        for chunked in [false, true] {
            for steps in ["body=early", "read=5&body=early", "drop-request&body=early", "fail=unavailable"] {
                let what = format!("a {size} body, chunked: {chunked}, {steps}");
                let mut request = if chunked {
                    let mut request =
                        case.request("POST", steps, "Transfer-Encoding: chunked\r\n").into_bytes();
                    for piece in body.chunks(64 * 1024) {
                        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                        request.extend_from_slice(piece);
                        request.extend_from_slice(b"\r\n");
                    }
                    request.extend_from_slice(b"0\r\n\r\n");
                    request
                } else {
                    let mut request = case
                        .request("POST", steps, &format!("Content-Length: {}\r\n", body.len()))
                        .into_bytes();
                    request.extend_from_slice(body);
                    request
                };
                request.extend_from_slice(case.get("body=next").as_bytes());
                let mut client = case.connect()?;
                let sent = client.try_send(&request);
                let response = client.response().map_err(|failure| failure.within(&what))?;
                let expected = if steps.starts_with("fail") { 503 } else { 200 };
                expect_eq(format_args!("{what}: status"), response.status(), expected)?;
                // Either the next request is answered, or the connection ends.
                if sent && !response.head.connection_has("close") {
                    match client.response() {
                        Ok(next) => expect_eq(format_args!("{what}: next answer"), next.text(), "next")?,
                        Err(_) => client.closed().map(|_| ()).map_err(|failure| failure.within(&what))?,
                    }
                } else {
                    client.closed().map_err(|failure| failure.within(&what))?;
                }
            }
        }
    }
    no_smuggled_call(case)?;
    case.still_serves()
}

fn bytes_as_given(case: &mut Case<'_>) -> Verdict {
    let content = pattern(0, 100_000);
    for accepted in ["", "gzip", "br", "zstd", "deflate", "gzip;q=1.0, identity;q=0", "*", "identity"] {
        for steps in [
            "size=100000",
            "stream&frames=10:10000",
            "file=0:100000:100000",
            "header=Content-Encoding:gzip&size=100000",
        ] {
            let what = format!("{steps} with Accept-Encoding: {accepted}");
            let response = case
                .ask(case.request("GET", steps, &format!("Accept-Encoding: {accepted}\r\n")))
                .map_err(|failure| failure.within(&what))?;
            let coding = steps.starts_with("header").then_some("gzip");
            expect_eq(
                format_args!("Content-Encoding of {what}:"),
                response.head.one("content-encoding"),
                coding,
            )?;
            let same = response.body.len() == content.len() && digest(&response.body) == digest(&content);
            ensure(
                same,
                format_args!("{what}: the 100,000 bytes of the application"),
                format_args!("{} others", response.body.len()),
            )?;
        }
    }
    Ok(())
}

fn fields_as_given(case: &mut Case<'_>) -> Verdict {
    let high: Vec<u8> = (0x80..=0xff).collect();
    let given: [(&str, &[u8]); 9] = [
        ("Set-Cookie", b"a=1; Path=/"),
        ("X-Single", b"one, two"),
        ("Set-Cookie", b"b=2; Expires=Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Set-Cookie", b"a=1; Path=/"),
        ("X-High", &high),
        ("X-Spaces", b"two  inner\tkinds"),
        ("X-Empty", b""),
        ("Content-Type", b"text/plain; charset=\"utf-8\""),
        ("Server", b"the application's"),
    ];
    let steps: String =
        given.iter().map(|(name, value)| format!("header={name}:{}&", escape(value))).collect();
    let response = case.ask(case.get(&format!("{steps}body=x")))?;
    let names: BTreeSet<_> = given.iter().map(|(name, _)| *name).collect();
    for name in names {
        let expected: Vec<_> =
            given.iter().filter(|(other, _)| *other == name).map(|(_, value)| shown(value)).collect();
        let sent: Vec<_> = response.head.all(name).into_iter().map(shown).collect();
        expect_eq(format_args!("lines of {name}:"), sent, expected)?;
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn bad_line_ends(case: &mut Case<'_>) -> Verdict {
    let head: &[&str] = &["POST /KEY?read&body=x HTTP/1.1", "Host: a", "X-A: b", "Content-Length: 0", ""];
    let mut rows = Vec::new();
    for nth in 0..head.len() {
        for (name, end) in [("LF", "\n"), ("CR", "\r"), ("CR CR LF", "\r\r\n")] {
            let lines: Vec<_> = head
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{line}{}", if n == nth { end } else { "\r\n" }))
                .collect();
            rows.push((format!("{name} at the end of line {nth}"), lines.concat()));
        }
    }
    for (nth, line) in head.iter().enumerate().take(4) {
        for (name, byte) in [("NUL", "\0"), ("CR", "\r"), ("LF", "\n")] {
            let at = line.len() - 1;
            let bad = format!("{}{byte}{}", &line[..at], &line[at..]);
            let lines: Vec<_> = head
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{}\r\n", if n == nth { &*bad } else { line }))
                .collect();
            rows.push((format!("{name} inside line {nth}"), lines.concat()));
        }
    }
    let refusals: Vec<_> =
        rows.iter().map(|(what, request)| Refused::bad(what, request.as_bytes())).collect();
    refused(case, &refusals)
}

fn bad_line_ends_in_bodies(case: &mut Case<'_>) -> Verdict {
    for (what, body) in [
        ("LF behind a size", &b"5\nhello\r\n0\r\n\r\n"[..]),
        ("LF behind the last chunk", b"5\r\nhello\r\n0\n\r\n"),
        ("LF behind a trailer", b"5\r\nhello\r\n0\r\nX-A: b\n\r\n"),
        ("LF for the last line", b"5\r\nhello\r\n0\r\nX-A: b\r\n\n"),
        ("CR inside a trailer", b"5\r\nhello\r\n0\r\nX-A: b\rc\r\n\r\n"),
        ("NUL inside a trailer", b"5\r\nhello\r\n0\r\nX-A: b\0c\r\n\r\n"),
    ] {
        malformed_body(case, what, body)?;
    }
    no_smuggled_call(case)
}

fn empty_line_ahead(case: &mut Case<'_>) -> Verdict {
    let request = case.get("body=fine");
    let response = case.ask(format!("\r\n{request}"))?;
    expect_eq("answer to a first request behind an empty line:", response.text(), "fine")?;
    // Left over by clients that end a body with a line end too many.
    let mut client = case.connect()?;
    let post = case.request("POST", "read&body=post", "Content-Length: 5\r\n");
    client.send(format!("{post}hello\r\n{request}"))?;
    expect_eq("answer to POST:", client.response()?.text(), "post")?;
    expect_eq("answer to a request behind an empty line:", client.response()?.text(), "fine")
}

fn malformed_fields(case: &mut Case<'_>) -> Verdict {
    let mut rows: Vec<(String, Vec<u8>)> = Vec::new();
    for line in [
        &b": value"[..],
        b":",
        b"Two words: value",
        b"X(a): value",
        b"X/a: value",
        b"X\"a\": value",
        b"X,a: value",
        b"X\x01: value",
        b"X\xe9: value",
        b"No-Colon",
        b"No colon but words",
        b"X: a\x01b",
        b"X: \x1b[0m",
        b"X: a\x7fb",
        b"X: a\x0bb",
        b"X:\x0ca",
        b"\x0b: a",
        b"=: a\x02",
    ] {
        let mut request = b"GET /KEY HTTP/1.1\r\nHost: a\r\n".to_vec();
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n\r\n");
        rows.push((format!("the line {:?}", shown(line)), request));
    }
    for (what, request) in [
        ("a space ahead of the first field", &b"GET /KEY HTTP/1.1\r\n Host: a\r\n\r\n"[..]),
        ("a tab ahead of the first field", b"GET /KEY HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
        ("a line of a space ahead of the first field", b"GET /KEY HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
    ] {
        rows.push((what.to_owned(), request.to_vec()));
    }
    let refusals: Vec<_> = rows.iter().map(|(what, request)| Refused::bad(what, request)).collect();
    refused(case, &refusals)
}

fn foreign_and_malformed_versions(case: &mut Case<'_>) -> Verdict {
    let line = |version: &str| format!("GET /KEY{version}\r\nHost: a\r\n\r\n");
    let foreign = [" HTTP/2.0", " HTTP/3.0", " HTTP/0.9", " HTTP/9.9"].map(line);
    let malformed = [
        " HTTP/1.",
        " HTTP/1",
        " HTTP/.1",
        " HTTP/1.1.1",
        " HTTP/11",
        " HTTP/1.10",
        " HTTP/01.1",
        " HTTP/1,1",
        " HTTP/a.b",
        " http/1.1",
        " Http/1.1",
        " HTTPS/1.1",
        " HTTP 1.1",
        " HTTP/ 1.1",
        " HTTP/1.1x",
        " HTTP/1.1 ",
        "  HTTP/1.1",
        " XHTTP/1.1",
        " HTTP/-1.1",
        " ",
        "",
    ]
    .map(line);
    let mut rows: Vec<_> = foreign
        .iter()
        .map(|request| Refused::with("a foreign version", request.as_bytes(), &[505]))
        .collect();
    rows.extend(
        malformed
            .iter()
            .map(|request| Refused::bad(request.lines().next().unwrap_or_default(), request.as_bytes())),
    );
    refused(case, &rows)
}

fn unknown_expectations(case: &mut Case<'_>) -> Verdict {
    let requests = ["200-ok", "100-continues", "wonders=yes", "continue"]
        .map(|value| (value, format!("GET /KEY HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\n\r\n")));
    let rows: Vec<_> = requests
        .iter()
        .map(|(what, request)| Refused { what, request: request.as_bytes(), statuses: &[417], closes: false })
        .collect();
    refused(case, &rows)
}

fn expectation_in_any_case(case: &mut Case<'_>) -> Verdict {
    for value in ["100-continue", "100-Continue", "100-CONTINUE"] {
        let fields = format!("Expect: {value}\r\nContent-Length: 5\r\n");
        let mut client = case.connect()?;
        client.send(case.request("POST", "read&body=ok", &fields))?;
        expect_eq(format_args!("first head with {value}:"), client.head()?.status, 100)?;
        client.send("hello")?;
        expect_eq(format_args!("answer with {value}:"), client.response()?.text(), "ok")?;
    }
    Ok(())
}

fn coding_ahead_of_chunked(case: &mut Case<'_>) -> Verdict {
    let requests =
        ["gzip, chunked", "GZip,chunked", "identity, chunked", "x-own, gzip, chunked"].map(|value| {
            let head = format!("POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n");
            (value, head + "5\r\nhello\r\n0\r\n\r\n")
        });
    let mut rows: Vec<_> =
        requests.iter().map(|(what, request)| Refused::with(what, request.as_bytes(), &[501])).collect();
    // Line by line, the first is one that does not end in `chunked` (H8).
    let two_lines = b"POST /KEY HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    rows.push(Refused::with("gzip and chunked on two lines", two_lines, &[501, 400]));
    refused(case, &rows)
}

fn odd_statuses(case: &mut Case<'_>) -> Verdict {
    for status in [100_usize, 102, 103, 199, 600, 999] {
        let (request, key) = keyed(case, status, &format!("status={status}&body=odd"));
        let mut client = case.connect()?;
        client.send(request)?;
        let response: Response = client.response().map_err(|failure| failure.within(status))?;
        expect_eq(format_args!("interim heads with {status}:"), response.interim.len(), 0)?;
        expect_eq(format_args!("status in place of {status}:"), response.status(), 500)?;
        ensure(response.text() != "odd", "not the body of the application", response.text())?;
        reported(case, &key).map_err(|failure| failure.within(status))?;
    }
    // 200 to 599 are the application's, whether anybody has registered them or not.
    for status in [200, 201, 299, 308, 418, 451, 499, 511, 599] {
        let response = case.ask(case.get(&format!("status={status}&body=x")))?;
        expect_eq("status:", response.status(), status)?;
    }
    Ok(())
}

//! Chapter U: upgrades, and the tunnels behind them.

use std::time::Duration;

use bytes::Bytes;
use varvel::Caps;
use varvel_spec::ids;

use crate::{
    Case, Check, Client, End, Failure, Head, SILENCE, Tuning, Verdict,
    broken::Fault::*,
    cases::flood::{FLOOD, PIECE, SOCKET_BUFFERS, until_stalled},
    ensure, expect_eq,
    probe::pattern,
};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        ids::U1,
        "valid-upgrades-only",
        valid_upgrades_only,
        &[TokenOn10, TokenWithoutConnection, TokenWithBody, TokenForOddUpgrade, NeverGivesToken],
    )
    .needs(Caps::UPGRADE),
    Check::new(ids::U1, "token-for-connect", token_for_connect, &[NeverGivesToken]).needs(Caps::CONNECT),
    Check::new(ids::U2, "ordinary-without-it", ordinary_without_it, &[UnusedTokenCloses])
        .needs(Caps::UPGRADE),
    Check::new(ids::U2, "ordinary-if-replaced", ordinary_if_replaced, &[UnusedTokenCloses])
        .needs(Caps::UPGRADE),
    Check::new(
        ids::U3,
        "head-of-an-upgrade",
        head_of_an_upgrade,
        &[UpgradeHeadIsBare, TunnelKeepsLength, TunnelDropsFields],
    )
    .needs(Caps::UPGRADE),
    Check::new(ids::U3, "head-of-a-connect", head_of_a_connect, &[TunnelKeepsLength, TunnelDropsFields])
        .needs(Caps::CONNECT),
    Check::new(ids::U4, "bytes-behind-the-head", bytes_behind_the_head, &[TunnelLosesEarlyBytes])
        .needs(Caps::UPGRADE),
    Check::new(ids::U4, "bytes-behind-a-connect", bytes_behind_a_connect, &[TunnelLosesEarlyBytes])
        .needs(Caps::CONNECT),
    Check::new(ids::U5, "binary-echo", binary_echo, &[TunnelIsSevenBit]).needs(Caps::UPGRADE),
    Check::new(ids::U5, "client-ends-first", client_ends_first, &[HalfCloseEndsTunnel]).needs(Caps::UPGRADE),
    Check::new(ids::U5, "server-ends-first", server_ends_first, &[CloseEndsReading]).needs(Caps::UPGRADE),
    Check::new(ids::U6, "return-closes", return_closes, &[TunnelStaysOpen, TunnelLosesLastBytes])
        .needs(Caps::UPGRADE),
    Check::new(ids::U6, "panic-is-contained", panic_is_contained, &[TunnelPanicIsLost]).needs(Caps::UPGRADE),
    Check::new(ids::U7, "bare-101", bare_101, &[SendsBare101, CorrectsStatusSilently]),
    Check::new(ids::U7, "bare-connect", bare_connect, &[SendsBareConnect, CorrectsStatusSilently]),
    Check::new(ids::U8, "stop-is-seen", stop_is_seen, &[StopsUnannounced]).needs(Caps::UPGRADE),
    Check::new(ids::U8, "cut-at-the-deadline", cut_at_the_deadline, &[TunnelSurvivesDeadline])
        .needs(Caps::UPGRADE),
    Check::new(ids::U9, "writes-wait", writes_wait, &[TunnelWritesWithoutBound]).needs(Caps::UPGRADE),
    Check::new(ids::U9, "reads-wait", reads_wait, &[TunnelReadsWithoutBound]).needs(Caps::UPGRADE),
];

/// Fields that ask for an upgrade.
const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: test\r\n";

/// A CONNECT with these steps, whose further field lines each end in CRLF.
fn connect_request(case: &Case<'_>, steps: &str, fields: &str) -> String {
    let key = case.key();
    format!("CONNECT {key}:443 HTTP/1.1\r\nHost: {key}:443\r\nSteps: {steps}\r\n{fields}\r\n")
}

/// Opens a tunnel in which these steps are done.
fn tunnel(case: &mut Case<'_>, steps: &str) -> Result<(Client, Head), Failure> {
    let mut client = case.connect()?;
    client.send(case.request("GET", &format!("upgrade&{steps}"), UPGRADE))?;
    let head = client.head()?;
    expect_eq("status", head.status, 101)?;
    Ok((client, head))
}

fn valid_upgrades_only(case: &mut Case<'_>) -> Verdict {
    let rows = [
        ("an upgrade", "HTTP/1.1", UPGRADE, true),
        ("among other options", "HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: test/2\r\n", true),
        (
            "on two lines",
            "HTTP/1.1",
            "Connection: keep-alive\r\nConnection: UPGRADE\r\nUpgrade: a, b/1\r\n",
            true,
        ),
        ("on HTTP/1.0", "HTTP/1.0", UPGRADE, false),
        ("without a Connection line", "HTTP/1.1", "Upgrade: test\r\n", false),
        ("without the option", "HTTP/1.1", "Connection: keep-alive\r\nUpgrade: test\r\n", false),
        ("without an Upgrade line", "HTTP/1.1", "Connection: upgrade\r\n", false),
        ("with an empty one", "HTTP/1.1", "Connection: upgrade\r\nUpgrade:\r\n", false),
        (
            "with one that is no list of protocols",
            "HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: a b, (c)\r\n",
            false,
        ),
        ("with a body", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: test\r\nContent-Length: 5\r\n", false),
        (
            "with a chunked body",
            "HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: test\r\nTransfer-Encoding: chunked\r\n",
            false,
        ),
    ];
    for (nth, (what, version, fields, some)) in rows.into_iter().enumerate() {
        let body = match () {
            () if fields.contains("Length") => "hello",
            () if fields.contains("chunked") => "5\r\nhello\r\n0\r\n\r\n",
            () => "",
        };
        let key = format!("{}.{nth}", case.key());
        let request = format!(
            "GET /{key}?take-upgrade&take-upgrade&body=x {version}\r\nHost: varvel.test\r\n{fields}\r\n{body}"
        );
        let response = case.ask(request).map_err(|failure| failure.within(what))?;
        expect_eq(format_args!("{what}, status"), response.status(), 200)?;
        let tokens: Vec<_> = case.settled("token").into_iter().filter(|event| event.key() == key).collect();
        let tokens: Vec<_> = tokens.iter().map(|event| event.is("some")).collect();
        // The second time there is none in any case.
        expect_eq(format_args!("{what}, tokens"), tokens, [some, false])?;
    }
    Ok(())
}

fn token_for_connect(case: &mut Case<'_>) -> Verdict {
    let response = case.ask(connect_request(case, "take-upgrade&take-upgrade&status=404", ""))?;
    expect_eq("status", response.status(), 404)?;
    let tokens: Vec<_> = case.settled("token").iter().map(|event| event.is("some")).collect();
    expect_eq("tokens", tokens, [true, false])
}

fn ordinary_without_it(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    for steps in ["take-upgrade&body=plain", "body=plain", "take-upgrade&stream&data=plain"] {
        client.send(case.request("GET", steps, UPGRADE))?;
        let response = client.response().map_err(|failure| failure.within(steps))?;
        expect_eq(format_args!("`{steps}`:"), (response.status(), response.text().as_str()), (200, "plain"))?;
    }
    Ok(())
}

fn ordinary_if_replaced(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    for steps in ["upgrade=replaced&echo", "body=replaced", "upgrade=replaced&data=x"] {
        client.send(case.request("GET", steps, UPGRADE))?;
        let response = client.response().map_err(|failure| failure.within(steps))?;
        let seen = (response.status(), response.text());
        expect_eq(format_args!("`{steps}`:"), seen, (200, "replaced".to_owned()))?;
    }
    expect_eq("tunnels that came into being:", case.settled("tunnel-began").len(), 0)
}

fn no_framing(head: &Head) -> Verdict {
    ensure(
        !head.has("content-length") && !head.has("transfer-encoding"),
        "a head of a tunnel without framing fields",
        format_args!("{head:?}"),
    )
}

fn head_of_an_upgrade(case: &mut Case<'_>) -> Verdict {
    let app = "header=X-App:a&header=X-App:b&header=Content-Length:5";
    let rows = [
        (app.to_owned(), "Upgrade: first, second\r\n", "first"),
        (format!("{app}&header=Upgrade:second&status=200"), "Upgrade: first, second\r\n", "second"),
    ];
    for (steps, fields, protocol) in rows {
        let mut client = case.connect()?;
        let fields = format!("Connection: upgrade\r\n{fields}");
        client.send(case.request("GET", &format!("{steps}&upgrade&data=hi"), &fields))?;
        let head = client.head()?;
        expect_eq("status", head.status, 101)?;
        let upgrades = head.one("connection").is_some_and(|options| options.eq_ignore_ascii_case("upgrade"));
        ensure(upgrades, "Connection: upgrade", format_args!("{head:?}"))?;
        expect_eq("Upgrade", head.one("upgrade"), Some(protocol))?;
        expect_eq("the application's fields", head.all("x-app"), ["a", "b"])?;
        no_framing(&head)?;
        expect_eq("the first bytes behind it", client.exactly(2)?, "hi")?;
    }
    Ok(())
}

fn head_of_a_connect(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(connect_request(case, "header=X-App:a&header=Content-Length:5&upgrade&data=hi", ""))?;
    let head = client.head()?;
    expect_eq("status", head.status, 200)?;
    expect_eq("the application's field", head.one("x-app"), Some("a"))?;
    no_framing(&head)?;
    expect_eq("the first bytes behind it", client.exactly(2)?, "hi")
}

/// Bytes that would be a request if anybody parsed them.
const EARLY: &str = "GET /early?body=x HTTP/1.1\r\nHost: varvel.test\r\n\r\n";

fn echoes_early_bytes(case: &mut Case<'_>, request: &str) -> Verdict {
    let mut client = case.connect()?;
    client.send(format!("{request}{EARLY}"))?;
    ensure([101, 200].contains(&client.head()?.status), "an accepted tunnel", "another status")?;
    let echo = client.exactly(EARLY.len())?;
    expect_eq(
        "the first bytes of the tunnel:",
        echo.escape_ascii().to_string(),
        EARLY.escape_default().to_string(),
    )?;
    client.send("late")?;
    expect_eq("what follows:", client.exactly(4)?, "late")
}

fn bytes_behind_the_head(case: &mut Case<'_>) -> Verdict {
    let request = case.request("GET", "upgrade&echo", UPGRADE);
    echoes_early_bytes(case, &request)
}

fn bytes_behind_a_connect(case: &mut Case<'_>) -> Verdict {
    let request = connect_request(case, "upgrade&echo", "");
    echoes_early_bytes(case, &request)
}

fn binary_echo(case: &mut Case<'_>) -> Verdict {
    let (mut client, _) = tunnel(case, "echo")?;
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    for round in 0..4 {
        client.send(&bytes)?;
        let same = client.exactly(bytes.len())? == bytes;
        ensure(same, format_args!("all bytes back in round {round}"), "others")?;
    }
    client.half_close()?;
    expect_eq("the end of the tunnel:", client.closed()?, End::Closed)
}

fn client_ends_first(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let (mut client, _) = tunnel(case, &format!("read&gate={gate}&data=still&data=open"))?;
    client.send("all")?;
    client.half_close()?;
    let read = case.wait_for("tunnel-read", |_| true)?;
    expect_eq("bytes read to the end:", read.text("hex"), "616c6c")?;
    client.silent()?;
    case.open(&gate);
    expect_eq("written behind the end of reading:", client.exactly(9)?, "stillopen")?;
    client.closed().map(drop)
}

fn server_ends_first(case: &mut Case<'_>) -> Verdict {
    let (mut client, _) = tunnel(case, "data=bye&close&read")?;
    expect_eq("the last bytes, and the end:", client.rest()?, (Bytes::from("bye"), End::Closed))?;
    client.send("one more")?;
    client.half_close()?;
    let read = case.wait_for("tunnel-read", |_| true)?;
    expect_eq("bytes read behind the end of writing:", read.number("bytes"), Some(8))
}

fn return_closes(case: &mut Case<'_>) -> Verdict {
    let (mut client, _) = tunnel(case, "read=1&frames=8:8192")?;
    client.send("x")?;
    let (rest, end) = client.rest()?;
    expect_eq("the end of the connection:", end, End::Closed)?;
    ensure(rest == pattern(0, 65536), "all that was written", format_args!("{} bytes", rest.len()))?;
    // A client that still sends must not lose it either.
    let (mut client, _) = tunnel(case, "data=last")?;
    expect_eq("what was written:", client.exactly(4)?, "last")?;
    client.closed()?;
    case.still_serves()
}

fn panic_is_contained(case: &mut Case<'_>) -> Verdict {
    let (mut neighbour, _) = tunnel(case, "echo")?;
    let key = format!("{}.panic", case.key());
    let mut client = case.connect()?;
    client
        .send(format!("GET /{key}?upgrade&read=1&panic HTTP/1.1\r\nHost: varvel.test\r\n{UPGRADE}\r\nx"))?;
    expect_eq("status", client.head()?.status, 101)?;
    client.closed()?;
    let report = case.wait_for("report", |report| report.key() == key)?;
    expect_eq(
        "the panic is reported as",
        (report.text("report"), report.text("detail"), report.text("method")),
        ("Panicked", "Tunnel", "GET"),
    )?;
    neighbour.send("still here")?;
    expect_eq("a neighbour's echo:", neighbour.exactly(10)?, "still here")?;
    case.still_serves()
}

/// Sees that the answer is a 500 in place of what the application gave, and that it was reported.
fn corrected(case: &mut Case<'_>, request: &str) -> Verdict {
    let mut client = case.connect()?;
    client.send(request)?;
    expect_eq("status", client.response()?.status(), 500)?;
    let report = case.wait_for("report", |_| true)?;
    expect_eq("the clause that is reported:", report.text("detail"), "U7")?;
    Ok(())
}

fn bare_101(case: &mut Case<'_>) -> Verdict {
    let request = case.request("GET", "take-upgrade&status=101&header=Upgrade:test", UPGRADE);
    corrected(case, &request)?;
    let request = case.get("status=101");
    corrected(case, &request)
}

fn bare_connect(case: &mut Case<'_>) -> Verdict {
    for status in [200, 204, 299] {
        let request = connect_request(case, &format!("take-upgrade&status={status}"), "");
        corrected(case, &request).map_err(|failure| failure.within(format_args!("{status} to CONNECT")))?;
    }
    Ok(())
}

fn stop_is_seen(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning::default())?;
    let (mut client, _) = tunnel(case, "data=a&stopping&data=bye")?;
    expect_eq("ahead of the stop:", client.exactly(1)?, "a")?;
    case.wait_for("waiting", |_| true)?;
    let ended = case.own()?.stop(Duration::from_secs(30))?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    expect_eq("what the tunnel said and did:", client.rest()?, (Bytes::from("bye"), End::Closed))
}

fn cut_at_the_deadline(case: &mut Case<'_>) -> Verdict {
    case.start(Tuning::default())?;
    let (mut client, _) = tunnel(case, "data=a&read")?;
    expect_eq("ahead of the stop:", client.exactly(1)?, "a")?;
    let ended = case.own()?.stop(Duration::ZERO)?;
    ensure(matches!(ended, Ok(Ok(_))), "an orderly return", format_args!("{ended:?}"))?;
    client.closed()?;
    case.wait_for("tunnel-ended", |_| true).map(drop)
}

fn writes_wait(case: &mut Case<'_>) -> Verdict {
    let (_client, _) = tunnel(case, &format!("frames={}:{PIECE}", FLOOD / PIECE))?;
    let written = until_stalled(case, "sent")? * PIECE;
    let bound = case.about().write_high_water + PIECE + SOCKET_BUFFERS;
    ensure(
        written <= bound,
        format_args!("no more than {bound} bytes written while the client does not read"),
        format_args!("{written} bytes of {FLOOD}"),
    )
}

fn reads_wait(case: &mut Case<'_>) -> Verdict {
    let gate = case.gate("go");
    let (mut client, _) = tunnel(case, &format!("read=1&gate={gate}"))?;
    client.send("x")?;
    case.wait_for("held", |_| true)?;
    let accepted = client.send_until_stalled([b'x'; 4096], FLOOD as usize, 2 * SILENCE)? as u64;
    let bound = case.about().read_ahead + SOCKET_BUFFERS;
    ensure(
        accepted <= bound,
        format_args!("no more than {bound} bytes taken while the tunnel does not read"),
        format_args!("{accepted} bytes of {FLOOD}"),
    )
}

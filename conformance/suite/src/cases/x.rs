//! Chapter X: capabilities that are absent, versions. That bridges and adapters lose nothing is shown by running the
//! whole suite through them.

use varvel::{Caps, SPEC_VERSION};
use varvel_spec::ids;

use crate::{Case, Check, Form, Setup, Verdict, broken::Fault::*, ensure, expect_eq, probe::pattern};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::X2, "without-interim", without_interim, &[MissingInterimSaysSent]).lacks(Caps::INTERIM),
    Check::new(ids::X2, "without-upgrade", without_upgrade, &[MissingUpgradeIsOffered]).lacks(Caps::UPGRADE),
    Check::new(ids::X2, "without-connect", without_connect, &[MissingUpgradeIsOffered]).lacks(Caps::CONNECT),
    Check::new(
        ids::X2,
        "without-extended-connect",
        without_extended_connect,
        &[MissingExtendedConnectIsOffered],
    )
    .lacks(Caps::EXT_CONNECT),
    Check::new(ids::X2, "without-trailers-in", without_trailers_in, &[MissingTrailersFail])
        .lacks(Caps::TRAILERS_IN),
    Check::new(ids::X2, "without-trailers-out", without_trailers_out, &[MissingTrailersAreSent])
        .lacks(Caps::TRAILERS_OUT),
    Check::new(ids::X2, "without-full-duplex", without_full_duplex, &[BodyEndsWithCall])
        .lacks(Caps::FULL_DUPLEX),
    Check::new(ids::X2, "without-offload", without_offload, &[MissingServiceSwallows]).lacks(Caps::OFFLOAD),
    Check::new(ids::X2, "without-spawn", without_spawn, &[MissingServiceSwallows]).lacks(Caps::SPAWN),
    Check::new(ids::X2, "without-deferral", without_deferral, &[MissingDeferralIsGiven]).lacks(Caps::DEFER),
    Check::new(ids::X2, "without-a-watch", without_a_watch, &[IgnoresFailedWrites])
        .lacks(Caps::DISCONNECT_WATCH),
    Check::new(ids::X2, "without-zero-copy", without_zero_copy, &[MissingZerocopyFails])
        .lacks(Caps::FILE_ZEROCOPY),
    Check::new(ids::X2, "without-http2", without_http2, &[MissingHttp2IsAccepted]).lacks(Caps::H2),
    Check::new(ids::X2, "without-tls", without_tls, &[MissingTlsIsClaimed]).lacks(Caps::TLS),
    Check::new(ids::X2, "without-a-monitor", without_a_monitor, &[MissingMonitorIsTold]).lacks(Caps::MONITOR),
    Check::new(ids::X6, "version-of-the-specification", version_of_the_specification, &[StatesNoVersion]),
];

fn without_interim(case: &mut Case<'_>) -> Verdict {
    let response = case.ask(case.get("interim=103:Link:x&interim=102&body=fine"))?;
    expect_eq("the answer:", response.text().as_str(), "fine")?;
    expect_eq("interim heads", response.interim, [])?;
    let results: Vec<_> =
        case.settled("interim").iter().map(|event| event.text("result").to_owned()).collect();
    expect_eq("interim returns", results, ["Unsupported"; 2])
}

/// Sees that there is no token, and that the answer is an ordinary one.
fn no_token(case: &mut Case<'_>, request: &str, status: u16) -> Verdict {
    expect_eq("status", case.ask(request)?.status(), status)?;
    let tokens: Vec<_> = case.settled("token").iter().map(|event| event.is("some")).collect();
    expect_eq("tokens", tokens, [false])
}

fn without_upgrade(case: &mut Case<'_>) -> Verdict {
    let request = case.request("GET", "take-upgrade&body=plain", "Connection: upgrade\r\nUpgrade: test\r\n");
    no_token(case, &request, 200)
}

fn without_connect(case: &mut Case<'_>) -> Verdict {
    let key = case.key();
    let request =
        format!("CONNECT {key}:443 HTTP/1.1\r\nHost: {key}:443\r\nSteps: take-upgrade&status=501\r\n\r\n");
    no_token(case, &request, 501)
}

fn without_extended_connect(case: &mut Case<'_>) -> Verdict {
    // What stands for it in HTTP/1 is a CONNECT like any other.
    let key = case.key().to_owned();
    let steps = "Steps: take-upgrade&status=501\r\n";
    let plain =
        format!("CONNECT {key}:443 HTTP/1.1\r\nHost: {key}:443\r\nProtocol: websocket\r\n{steps}\r\n");
    expect_eq("status", case.ask(plain)?.status(), 501)?;
    let kinds: Vec<_> = case.settled("token").iter().map(|event| event.text("kind").to_owned()).collect();
    ensure(
        kinds.iter().all(|kind| kind != "ExtendedConnect"),
        "no token of an extended CONNECT",
        format_args!("{kinds:?}"),
    )?;
    let pseudo =
        format!("CONNECT {key}:443 HTTP/1.1\r\nHost: {key}:443\r\n:protocol: websocket\r\n{steps}\r\n");
    expect_eq("status of one with a pseudo-header field", case.ask(pseudo)?.status(), 400)
}

fn without_zero_copy(case: &mut Case<'_>) -> Verdict {
    let response = case.ask(case.get("file=1000:200000:300000"))?;
    let same = response.body == pattern(1000, 200_000);
    ensure(same, "the bytes of the file", format_args!("{} bytes", response.body.len()))
}

fn without_http2(case: &mut Case<'_>) -> Verdict {
    let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let response = case.ask(case.request("GET", "body=plain", offer))?;
    expect_eq(
        "the answer to an offer of HTTP/2:",
        (response.status(), response.text()),
        (200, "plain".to_owned()),
    )?;
    let mut client = case.connect()?;
    // The server may have answered and closed before the end.
    client.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let response = client.response().map_err(|failure| failure.within("the preface of HTTP/2"))?;
    let refused = [400, 505].contains(&response.status());
    ensure(refused, "the preface of HTTP/2 refused with 505 or 400", response.status())?;
    client.closed().map(drop)
}

fn without_tls(case: &mut Case<'_>) -> Verdict {
    let forged = "X-Forwarded-Proto: https\r\nForwarded: proto=https\r\n";
    case.ask(case.request("GET", "describe", forged))?;
    let call = case.wait_for("call", |_| true)?;
    expect_eq("is_secure, and whether there is a tls:", (call.is("secure"), call.is("tls")), (false, false))?;
    // A client that begins a handshake is not kept waiting.
    let mut client = case.connect()?;
    client.try_send([&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[0; 194]].concat());
    client.rest().map(drop).map_err(|failure| failure.within("a client that begins a TLS handshake"))
}

fn without_a_monitor(case: &mut Case<'_>) -> Verdict {
    case.start(Setup { monitored: true, ..Setup::default() })?;
    expect_eq("the answer:", case.ask(case.get("body=fine"))?.text().as_str(), "fine")?;
    expect_eq("what the monitor is told of exchanges", case.settled("exchange-began"), [])
}

fn without_trailers_in(case: &mut Case<'_>) -> Verdict {
    let body = "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
    let mut client = case.connect()?;
    for _ in 0..2 {
        client.send(case.request("POST", "read&body=fine", "Transfer-Encoding: chunked\r\n") + body)?;
        expect_eq("the answer:", client.response()?.text().as_str(), "fine")?;
    }
    for read in case.settled("read") {
        expect_eq(
            "bytes and end of the body:",
            (read.number("bytes"), read.text("end"), read.field("trailers").is_null()),
            (Some(3), "end", true),
        )?;
    }
    // They are checked all the same.
    let bad = "3\r\nabc\r\n0\r\nno colon\r\n\r\n";
    let response = case.ask(case.request("POST", "read&pass", "Transfer-Encoding: chunked\r\n") + bad)?;
    expect_eq("status after bad trailers", response.status(), 400)
}

fn without_trailers_out(case: &mut Case<'_>) -> Verdict {
    let fields = "TE: trailers\r\nConnection: TE\r\n";
    let response = case.ask(case.request("GET", "stream&data=abc&trailers=X-Sum:1", fields))?;
    expect_eq("body", response.text().as_str(), "abc")?;
    expect_eq("trailers", response.trailers, [])
}

fn without_full_duplex(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.request("POST", "echo", "Content-Length: 10\r\n"))?;
    client.send("hello")?;
    case.wait_for("call", |_| true)?;
    client.send("world")?;
    expect_eq("the echo:", client.response()?.text().as_str(), "helloworld")
}

fn without_offload(case: &mut Case<'_>) -> Verdict {
    given_back(case, "offload", "offloaded")
}

fn without_spawn(case: &mut Case<'_>) -> Verdict {
    given_back(case, "spawn", "spawned")
}

fn given_back(case: &mut Case<'_>, step: &str, event: &str) -> Verdict {
    expect_eq("status", case.ask(case.get(&format!("{step}={}.x", case.key())))?.status(), 200)?;
    let accepted: Vec<_> = case.settled(event).iter().map(|event| event.is("accepted")).collect();
    expect_eq("accepted", accepted, [false])
}

fn without_deferral(case: &mut Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Sync, "async calls need none")?;
    expect_eq("status", case.ask(case.get("defer&body=late"))?.status(), 501)
}

fn without_a_watch(case: &mut Case<'_>) -> Verdict {
    let mut client = case.connect()?;
    client.send(case.get("hook&stream&frames=1000000:65536"))?;
    client.head()?;
    client.reset();
    let finish = case.wait_for("finish", |_| true)?;
    expect_eq("the end, noticed by writing:", finish.text("outcome"), "Disconnected")
}

fn version_of_the_specification(case: &mut Case<'_>) -> Verdict {
    case.ask(case.get("describe"))?;
    let call = case.wait_for("call", |_| true)?;
    let (major, minor) = SPEC_VERSION;
    let stated = &call.field("worker")["spec"];
    ensure(*stated == serde_json::json!([major, minor]), format_args!("[{major},{minor}]"), stated)
}

//! Who gets a WebSocket, and what others are told.

use varvel::Caps;
use varvel_test::{Client, Setup};
use varvel_toolkit::{Middleware, middleware::Forwarded, websocket::Handshake};

use crate::{async_app, echo, echo_blocking, everywhere, in_process, sync_app};

const GOOD: &[(&str, &str)] = &[
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The good request with these fields in place of, or beside, its own; a field without a value is left out.
fn status(client: &Client, method: &str, changes: &[(&str, &str)]) -> u16 {
    let mut request = client.request(method, "/");
    for (name, value) in GOOD.iter().filter(|(name, _)| !changes.iter().any(|(change, _)| change == name)) {
        request = request.header(*name, *value);
    }
    for (name, value) in changes.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    request.start().status().as_u16()
}

#[test]
fn what_is_no_valid_request_for_a_websocket_is_refused() {
    everywhere(|client| {
        for (method, changes, expected) in [
            ("GET", &[][..], 101),
            ("GET", &[("upgrade", "WebSocket")], 101),
            ("GET", &[("upgrade", "h2c, websocket")], 101),
            ("GET", &[("connection", "keep-alive, upgrade")], 101),
            ("GET", &[("upgrade", "h2c")], 400),
            ("GET", &[("upgrade", "")], 400),
            ("GET", &[("connection", "close")], 400),
            ("POST", &[], 400),
            ("GET", &[("sec-websocket-version", "")], 426),
            ("GET", &[("sec-websocket-version", "8")], 426),
            ("GET", &[("sec-websocket-version", "13, 8")], 426),
            ("GET", &[("sec-websocket-version", "13"), ("sec-websocket-version", "13")], 426),
            ("GET", &[("sec-websocket-key", "")], 400),
            ("GET", &[("sec-websocket-key", "c2hvcnQ=")], 400),
            ("GET", &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")], 400),
            ("GET", &[("sec-websocket-key", "dGhlIHNhbXBsZSBub2$jZQ==")], 400),
            (
                "GET",
                &[
                    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                    ("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC=="),
                ],
                400,
            ),
        ] {
            assert_eq!(status(client, method, changes), expected, "{method} {changes:?}");
        }
    });
}

#[test]
fn another_version_is_told_which_is_spoken() {
    everywhere(|client| {
        let request = client.get("/").header("sec-websocket-version", "14");
        let refusal = request.header("sec-websocket-key", GOOD[3].1).try_upgrade("websocket").unwrap_err();
        assert_eq!(refusal.status(), 426);
        assert_eq!(refusal.header("sec-websocket-version"), Some("13"));
        assert_eq!(refusal.header("upgrade"), Some("websocket"));
    });
}

#[test]
fn the_head_has_the_answer_to_the_key_and_the_chosen_protocol() {
    everywhere(|client| {
        for (offered, chosen) in [
            (&[][..], None),
            (&["echo.v2, echo"], Some("echo.v2")),
            (&["chat,echo"], Some("echo")),
            (&["chat", "other , echo.v2"], Some("echo.v2")),
            (&["chat", "Echo"], None),
        ] {
            let mut request = client.get("/").header("sec-websocket-version", "13");
            for list in offered {
                request = request.header("sec-websocket-protocol", *list);
            }
            let tunnel = request.header("sec-websocket-key", GOOD[3].1).upgrade("websocket");
            let headers = &tunnel.head().headers;
            assert_eq!(headers["upgrade"], "websocket");
            assert_eq!(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            assert_eq!(headers.get("sec-websocket-protocol").map(|value| value.to_str().unwrap()), chosen);
        }
    });
}

#[test]
fn pages_of_other_origins_stay_out() {
    let strict = Handshake::new().allow_origin("HTTPS://App.Example:443");
    let lax = Handshake::new().allow_any_origin();
    let expectations = [
        ("http://here.example", 101, 101),
        ("https://here.example", 101, 101),
        ("https://HERE.example:443", 101, 101),
        ("https://app.example", 101, 101),
        ("https://here.example:8443", 403, 101),
        ("http://app.example", 403, 101),
        ("https://evil.example", 403, 101),
        ("https://here.example.evil.example", 403, 101),
        ("https://here.example@evil.example", 403, 101),
        ("null", 403, 101),
    ];
    in_process(&strict, echo, echo_blocking, |client| {
        for (origin, expected, _) in expectations {
            assert_eq!(
                status(client, "GET", &[("host", "here.example"), ("origin", origin)]),
                expected,
                "{origin}"
            );
        }
        assert_eq!(status(client, "GET", &[("origin", "https://app.example"), ("origin", "null")]), 403);
    });
    in_process(&lax, echo, echo_blocking, |client| {
        for (origin, _, expected) in expectations {
            assert_eq!(status(client, "GET", &[("origin", origin)]), expected, "{origin}");
        }
    });
}

#[test]
fn what_no_browser_ever_sends_is_told_when_the_program_starts() {
    for wrong in ["*", "", "app.example", "https://app.example/", "https://*.app.example", "null"] {
        let made = std::panic::catch_unwind(|| Handshake::new().allow_origin(wrong));
        assert!(made.is_err(), "{wrong}");
    }
}

#[test]
fn behind_a_proxy_the_own_origin_is_the_one_that_the_client_named() {
    let trusted = Forwarded::x_forwarded(["127.0.0.0/8"]).unwrap().trust_host();
    let client = Client::new(trusted.around(async_app(Handshake::new(), echo)));
    for (origin, scheme, expected) in [
        ("https://app.example", "https", 101),
        ("https://app.example", "", 101),
        ("http://app.example", "http", 101),
        ("http://app.example", "https", 403),
        ("https://inner.example", "https", 403),
    ] {
        let fields = [
            ("host", "inner.example"),
            ("x-forwarded-host", "app.example"),
            ("x-forwarded-proto", scheme),
            ("origin", origin),
        ];
        assert_eq!(status(&client, "GET", &fields), expected, "{origin} by {scheme}");
    }
}

#[test]
fn a_server_without_upgrades_says_so() {
    let setup = || Setup::new().without(Caps::UPGRADE);
    let handshake = Handshake::new();
    assert_eq!(status(&setup().app(async_app(handshake.clone(), echo)), "GET", &[]), 501);
    assert_eq!(status(&setup().sync(sync_app(handshake, echo_blocking)), "GET", &[]), 501);
}

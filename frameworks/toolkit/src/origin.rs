//! Origins: as people write them, as browsers do, and which is a request's own.

use http::uri::Authority;
use varvel::Scope;

use crate::middleware::{Client, is_secure};

/// An origin as browsers write it, in small letters and without the usual port.
///
/// # Panics
/// For what no browser sends: without a scheme, with a path, with a `*`, with letters beyond ASCII, `null`.
#[track_caller]
pub(crate) fn serialize(origin: &str) -> String {
    serialized(origin).unwrap_or_else(|| panic!("{origin:?} is no origin"))
}

fn serialized(origin: &str) -> Option<String> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://")?;
    let authority: Authority = host.parse().ok()?;
    let port = &host[authority.host().len()..];
    let is_port = port.is_empty() || authority.port_u16().is_some_and(|number| port == format!(":{number}"));
    if scheme.is_empty() || !is_port || host.contains(['@', '*', ',']) {
        return None;
    }
    let usual_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Some(origin),
    };
    Some(origin.strip_suffix(usual_port).unwrap_or(&origin).to_owned())
}

/// Whether an origin that a browser sent is the one that the request is for, as a trusted proxy or else the request says.
pub(crate) fn is_own(origin: &str, scope: &Scope) -> bool {
    let told = scope.get::<Client>().and_then(|client| client.host.as_ref());
    // Anybody on the network can write a page that came without encryption.
    let is_downgraded = is_secure(scope) && origin.starts_with("http://");
    told.or(scope.authority()).is_some_and(|host| is_of(origin, host)) && !is_downgraded
}

/// Whether an origin has this host and port. Schemes are not compared: behind a proxy that ends TLS a server may not know
/// its own.
fn is_of(origin: &str, host: &Authority) -> bool {
    let (usual_port, from) = match origin.split_once("://") {
        Some(("http", from)) => (80, from),
        Some(("https", from)) => (443, from),
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual_port);
    from.parse::<Authority>()
        .is_ok_and(|from| from.host().eq_ignore_ascii_case(host.host()) && port(&from) == port(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        for (written, expected) in [
            ("https://app.example", Some("https://app.example")),
            ("HTTPS://App.Example:443", Some("https://app.example")),
            ("http://app.example:80", Some("http://app.example")),
            ("http://app.example:443", Some("http://app.example:443")),
            ("http://[::1]:8000", Some("http://[::1]:8000")),
            ("tauri://localhost", Some("tauri://localhost")),
            ("*", None),
            ("null", None),
            ("app.example", None),
            ("://app.example", None),
            ("https://", None),
            ("https://app.example/", None),
            ("https://*.app.example", None),
            ("https://user@app.example", None),
            ("https://a.example, https://b.example", None),
            ("https://app.example:", None),
            ("https://app.example:0443", None),
            ("https://app.example:99999", None),
            ("https://b\u{fc}cher.example", None),
            ("https://app.example\t", None),
        ] {
            assert_eq!(serialized(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn the_usual_port_may_be_said_or_not() {
        let host = |text: &str| text.parse::<Authority>().unwrap();
        assert!(is_of("https://here.example", &host("here.example:443")));
        assert!(is_of("http://here.example", &host("here.example:80")));
        assert!(!is_of("http://here.example", &host("here.example:443")));
        assert!(is_of("http://[::1]:8000", &host("[::1]:8000")));
    }
}

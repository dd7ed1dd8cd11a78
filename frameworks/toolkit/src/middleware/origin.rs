//! Origins as people write them and as browsers do.

/// An origin as browsers write it, in small letters and without the usual port; `None` for what is none: without a scheme,
/// with a path, with a `*`.
pub(super) fn serialized(origin: &str) -> Option<String> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://")?;
    if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', '@', '*', ',', ' ']) {
        return None;
    }
    let usual_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Some(origin),
    };
    Some(origin.strip_suffix(usual_port).unwrap_or(&origin).to_owned())
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
        ] {
            assert_eq!(serialized(written).as_deref(), expected, "{written}");
        }
    }
}

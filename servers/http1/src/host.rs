//! `host [ ":" port ]`, the grammar of Host and of the authority in a target (RFC 9110 section 7.2, RFC 3986
//! section 3.2).

use std::net::Ipv6Addr;

use bytes::Bytes;
use http::uri::Authority;

use crate::grammar::is_reg_name;

/// An authority without user information. `None` if it breaks the grammar.
///
/// Two narrowings: a port must fit 16 bits, and percent-encoding is refused, which no name on the wire needs
/// and [`Authority`] cannot hold.
pub(crate) fn parse_authority(text: Bytes) -> Option<Authority> {
    if is_host_and_port(&text) { Authority::from_maybe_shared(text).ok() } else { None }
}

/// Whether this is a host that is not empty, with or without a port.
fn is_host_and_port(text: &[u8]) -> bool {
    let (host_is_valid, rest) = match text {
        [b'[', inner @ ..] => match inner.iter().position(|&byte| byte == b']') {
            Some(end) => (is_ip_literal(&inner[..end]), &inner[end + 1..]),
            None => return false,
        },
        _ => {
            let end = text.iter().position(|&byte| !is_reg_name(byte)).unwrap_or(text.len());
            (end > 0, &text[end..])
        }
    };
    host_is_valid
        && match rest {
            [] => true,
            [b':', port @ ..] => is_port(port),
            _ => false,
        }
}

/// Digits that fit 16 bits. The grammar allows none at all: `example.com:`.
fn is_port(digits: &[u8]) -> bool {
    let mut port = 0u32;
    digits.iter().all(|digit| {
        port = port.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')));
        digit.is_ascii_digit() && port <= u32::from(u16::MAX)
    })
}

/// What stands in brackets: an IPv6 address without zone, or `v1.` and something of the future.
fn is_ip_literal(text: &[u8]) -> bool {
    match text {
        [b'v' | b'V', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            matches!(&rest[digits..], [b'.', address @ ..]
                if digits > 0 && !address.is_empty() && address.iter().all(|&byte| is_reg_name(byte) || byte == b':'))
        }
        _ => std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &'static str) -> bool {
        parse_authority(Bytes::from_static(text.as_bytes()))
            .is_some_and(|authority| authority.as_str() == text)
    }

    #[test]
    fn takes_names_addresses_and_ports() {
        for text in [
            "example.com",
            "EXAMPLE.com:80",
            "localhost:",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::7]:8080",
            "a_b",
            "a,b",
            "[::ffff:1.2.3.4]",
            "xn--bcher-kva.example",
            "1",
            "example.com.",
        ] {
            assert!(accepts(text), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:99999999999",
            "a:+80",
            "a:80:90",
            "user@a",
            "user:pw@a",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1]",
            "[v.a]",
            "a%20b",
            "a\\b",
            "ä.example",
            "\"a\"",
            "a]",
            "[a]",
            "http://a",
        ] {
            assert!(!accepts(text), "{text}");
        }
    }
}

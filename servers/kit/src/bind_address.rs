//! Where to listen, as operators write it.
//!
//! | text | meaning |
//! |---|---|
//! | `127.0.0.1:8000` | this IPv4 address |
//! | `[::1]:8000` | this IPv6 address; `[::]` is every IPv6 address and no IPv4 address |
//! | `:8000` | every address of this machine, IPv6 and IPv4, by one socket |
//! | `localhost:8000` | the first address of the name that can be bound, IPv4 before IPv6 |
//! | `unix:/run/app.sock` | a Unix stream socket at this path |
//! | `fd:3` | a listening socket that was open at start (systemd socket activation starts at 3) |
//!
//! `[::]` never includes IPv4, whatever the system's `bindv6only` says, so that one text means one thing on every
//! machine. Port 0 lets the system choose a free one.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen at. Parsed from text, and displayed as the text it can be parsed from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// One IP address and port.
    Tcp(SocketAddr),
    /// This port of every address, IPv4 and IPv6.
    TcpEverywhere(u16),
    /// A host name, looked up when bound.
    TcpNamed {
        /// The name, without port.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix stream socket at a path.
    Unix(PathBuf),
    /// A socket that listens already and was passed to this process under this number.
    Fd(RawFd),
}

/// A text that is no [`BindAddress`], and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddressError {
    text: String,
    advice: &'static str,
}

impl FromStr for BindAddress {
    type Err = BindAddressError;

    fn from_str(text: &str) -> Result<Self, BindAddressError> {
        parse(text).map_err(|advice| BindAddressError { text: text.to_owned(), advice })
    }
}

fn parse(text: &str) -> Result<BindAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.as_bytes() {
            [] => Err("a path has to follow `unix:`, as in unix:/run/app.sock"),
            [b'@', ..] => {
                Err("abstract socket names are not supported; write unix:./@name for a file of that name")
            }
            bytes if bytes.contains(&0) => Err("a path cannot contain a NUL byte"),
            _ => Ok(BindAddress::Unix(PathBuf::from(path))),
        };
    }
    if let Some(number) = text.strip_prefix("fd:") {
        return match digits::<RawFd>(number) {
            Some(fd) => Ok(BindAddress::Fd(fd)),
            None => Err("a descriptor number has to follow `fd:`, as in fd:3"),
        };
    }
    if text.contains("://") {
        return Err("leave out the scheme: host:port is enough");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("write :PORT for every interface, 127.0.0.1:PORT for this machine alone, or unix:PATH");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err("an IPv6 address needs brackets and a port, as in [::1]:8000");
    }
    let Some(port) = digits::<u16>(port) else {
        return Err("a port from 0 to 65535 has to follow the last colon");
    };
    if host.is_empty() {
        return Ok(BindAddress::TcpEverywhere(port));
    }
    if let Ok(addr) = text.parse() {
        return Ok(BindAddress::Tcp(addr));
    }
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if bracketed || numeric {
        return Err("this is no valid IP address");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
        return Err("a host name has letters, digits, dots and hyphens");
    }
    Ok(BindAddress::TcpNamed { host: host.to_owned(), port })
}

/// A number of digits alone: `str::parse` would take `+80` too.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::TcpEverywhere(port) => write!(f, ":{port}"),
            Self::TcpNamed { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Fd(fd) => write!(f, "fd:{fd}"),
        }
    }
}

impl From<SocketAddr> for BindAddress {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl fmt::Display for BindAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at `{}`: {}", self.text.escape_debug(), self.advice)
    }
}

impl std::error::Error for BindAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_displayed_as_written() {
        let named = |host: &str, port| BindAddress::TcpNamed { host: host.into(), port };
        for (text, expected) in [
            ("127.0.0.1:8000", BindAddress::Tcp("127.0.0.1:8000".parse().unwrap())),
            ("0.0.0.0:0", BindAddress::Tcp("0.0.0.0:0".parse().unwrap())),
            ("[::1]:8000", BindAddress::Tcp("[::1]:8000".parse().unwrap())),
            ("[fe80::1%2]:80", BindAddress::Tcp("[fe80::1%2]:80".parse().unwrap())),
            (":65535", BindAddress::TcpEverywhere(65535)),
            ("localhost:8000", named("localhost", 8000)),
            ("app-1.example.com:443", named("app-1.example.com", 443)),
            ("unix:/run/app.sock", BindAddress::Unix("/run/app.sock".into())),
            ("unix:app.sock", BindAddress::Unix("app.sock".into())),
            ("fd:3", BindAddress::Fd(3)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_refused_comes_with_advice() {
        for (text, advice) in [
            ("", "write :PORT"),
            ("8000", "write :PORT"),
            ("localhost", "write :PORT"),
            ("localhost:", "a port from 0 to 65535"),
            (":65536", "a port from 0 to 65535"),
            (":+80", "a port from 0 to 65535"),
            (": 80", "a port from 0 to 65535"),
            ("::1:8000", "brackets"),
            ("::1", "brackets"),
            ("[::1]", "brackets"),
            ("[::g]:80", "no valid IP address"),
            ("256.0.0.1:80", "no valid IP address"),
            ("http://localhost:80", "leave out the scheme"),
            ("local host:80", "a host name has"),
            ("unix:", "a path has to follow"),
            ("unix:@app", "abstract"),
            ("unix:a\0b", "NUL"),
            ("fd:", "a descriptor number"),
            ("fd:-1", "a descriptor number"),
            ("fd:99999999999", "a descriptor number"),
        ] {
            let error = text.parse::<BindAddress>().unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
            assert!(error.starts_with("cannot listen at `"), "{error}");
        }
    }
}

//! HTTP/1.1 messages as a strict client reads them: what a lenient one would repair is an error here.

use std::fmt;

use bytes::Bytes;

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version, such as (1, 1).
    pub version: (u8, u8),
    /// The status code.
    pub status: u16,
    /// Name as sent and value without the whitespace around it, in the order of the lines.
    pub fields: Vec<(String, Bytes)>,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The interim heads ahead of it.
    pub interim: Vec<Head>,
    /// Its head.
    pub head: Head,
    /// How the body was delimited.
    pub framing: Framing,
    /// The data of the body.
    pub body: Bytes,
    /// The trailer fields.
    pub trailers: Vec<(String, Bytes)>,
}

/// How the body of a response is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There cannot be one: the status or the method has none.
    None,
    /// By a length.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no body"),
            Self::Length(length) => write!(f, "a body of {length} bytes"),
            Self::Chunked => f.write_str("a chunked body"),
            Self::Close => f.write_str("a body up to the end of the connection"),
        }
    }
}

impl Head {
    /// All values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&Bytes> {
        let lines = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value).collect()
    }

    /// The value of a field, if there is exactly one that is UTF-8.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether Connection has this option, in whatever case, line and place.
    pub fn connection_has(&self, option: &str) -> bool {
        let mut lines = self.all("connection").into_iter().map(|value| String::from_utf8_lossy(value));
        lines.any(|line| line.split(',').any(|word| word.trim().eq_ignore_ascii_case(option)))
    }

    /// Reads a head without its last empty line.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut lines = split_lines(text)?.into_iter();
        let line = lines.next().unwrap_or_default();
        let status_line =
            || format!("a status line as in RFC 9112 section 4, not {:?}", line.escape_ascii().to_string());
        let version = match line {
            [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9', b' ', ..] => {
                (major - b'0', minor - b'0')
            }
            _ => return Err(status_line()),
        };
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', reason @ ..] = &line[9..] else {
            return Err(status_line());
        };
        if !reason.iter().all(|byte| is_field_byte(*byte)) {
            return Err(status_line());
        }
        let status = [a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(**digit - b'0'));
        let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { version, status, fields })
    }

    /// How the body behind this head is delimited in an answer to `method` (RFC 9112 section 6.3).
    pub(crate) fn framing(&self, method: &str) -> Result<Framing, String> {
        let lengths = self.all("content-length");
        let codings = self.all("transfer-encoding");
        if !lengths.is_empty() && !codings.is_empty() {
            return Err("Content-Length or Transfer-Encoding, not both".to_owned());
        }
        if lengths.len() > 1 {
            return Err(format!("one Content-Length, not {}", lengths.len()));
        }
        let length = lengths.first().map(|value| {
            let digits =
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                format!("a decimal Content-Length, not {:?}", value.escape_ascii().to_string())
            })
        });
        let length: Option<u64> = length.transpose()?;
        if codings.iter().any(|coding| !coding.eq_ignore_ascii_case(b"chunked")) || codings.len() > 1 {
            return Err(format!("no transfer coding but one `chunked`, not {codings:?}"));
        }
        let bodiless = matches!(self.status, 100..=199 | 204);
        if bodiless && (length.is_some() || !codings.is_empty()) && method != "CONNECT" {
            return Err(format!("no framing field with status {}", self.status));
        }
        Ok(
            if bodiless
                || self.status == 304
                || method == "HEAD"
                || (method == "CONNECT" && self.status < 300)
            {
                Framing::None
            } else if !codings.is_empty() {
                Framing::Chunked
            } else {
                length.map_or(Framing::Close, Framing::Length)
            },
        )
    }
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text, for messages and descriptions.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads a field line.
pub(crate) fn field(line: &[u8]) -> Result<(String, Bytes), String> {
    let wrong =
        || format!("a field line as in RFC 9112 section 5, not {:?}", line.escape_ascii().to_string());
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_token = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
    if !is_token || !value.iter().all(|byte| is_field_byte(*byte)) {
        return Err(wrong());
    }
    let name = String::from_utf8(name.to_vec()).map_err(|_| wrong())?;
    Ok((name, Bytes::copy_from_slice(value)))
}

/// The size in a chunk-size line.
pub(crate) fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let wrong =
        || format!("a chunk size as in RFC 9112 section 7.1, not {:?}", line.escape_ascii().to_string());
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or_else(wrong)
}

/// Lines without their CRLF; no other line end will do.
fn split_lines(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\r\n").filter(|bare| !bare.contains(&b'\r'));
        let shown = line.escape_ascii();
        lines.push(bare.ok_or_else(|| format!("a line that ends in CRLF, not {:?}", shown.to_string()))?);
    }
    Ok(lines)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_reader_takes_what_is_right() {
        let head =
            Head::parse(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie:\tb=\xff \r\nX:\r\n").unwrap();
        assert_eq!((head.version, head.status), ((1, 1), 200));
        assert_eq!(head.all("Set-Cookie"), [b"a=1".as_slice(), b"b=\xff"]);
        assert_eq!(head.one("x"), Some(""));
        assert!(Head::parse(b"HTTP/1.0 404 \r\n").is_ok());
    }

    #[test]
    fn a_strict_reader_refuses_what_a_lenient_one_repairs() {
        for head in [
            "HTTP/1.1 200 OK\n",
            "HTTP/1.1  200 OK\r\n",
            "HTTP/1.1 200\r\n",
            "HTTP/1.1 20 OK\r\n",
            "http/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nName : x\r\n",
            "HTTP/1.1 200 OK\r\n folded\r\n",
            "HTTP/1.1 200 OK\r\nNo colon\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n",
            "HTTP/1.1 200 OK\r\nA: x\ry\r\n",
            "HTTP/1.1 200 OK\r\nA: x\0y\r\n",
        ] {
            assert!(Head::parse(head.as_bytes()).is_err(), "{head:?}");
        }
    }

    #[test]
    fn framing_is_read_as_the_rfc_says_and_doubt_is_an_error() {
        let framing = |status: u16, fields: &str, method: &str| {
            Head::parse(format!("HTTP/1.1 {status} X\r\n{fields}").as_bytes()).unwrap().framing(method)
        };
        assert_eq!(framing(200, "Content-Length: 5\r\n", "GET"), Ok(Framing::Length(5)));
        assert_eq!(framing(200, "Transfer-Encoding: Chunked\r\n", "GET"), Ok(Framing::Chunked));
        assert_eq!(framing(200, "", "GET"), Ok(Framing::Close));
        assert_eq!(framing(200, "Content-Length: 5\r\n", "HEAD"), Ok(Framing::None));
        assert_eq!(framing(304, "Content-Length: 5\r\n", "GET"), Ok(Framing::None));
        assert_eq!(framing(204, "", "GET"), Ok(Framing::None));
        assert!(framing(204, "Content-Length: 0\r\n", "GET").is_err());
        assert!(framing(200, "Content-Length: 5\r\nContent-Length: 5\r\n", "GET").is_err());
        assert!(framing(200, "Content-Length: +5\r\n", "GET").is_err());
        assert!(framing(200, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "GET").is_err());
        assert!(framing(200, "Transfer-Encoding: gzip, chunked\r\n", "GET").is_err());
    }

    #[test]
    fn chunk_sizes_are_hexadecimal_digits_and_nothing_else() {
        assert_eq!(chunk_size(b"1aF"), Ok(0x1af));
        assert_eq!(chunk_size(b"5;name=value"), Ok(5));
        for wrong in [b"".as_slice(), b"+5", b"0x5", b" 5", b"5 ", b"11111111111111111"] {
            assert!(chunk_size(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! HTTP/1.1 as text: requests are written, responses read, the latter strictly.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use varvel::Frame;

use crate::{Head, request::Draft};

/// What was found at the beginning of the bytes received.
pub(super) enum Parsed<T> {
    /// The whole of it, which was taken.
    Whole(T),
    /// A part of it, or nothing.
    Part,
}

/// How the body of a response is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// The last chunk was read; trailers follow.
    Trailers,
    Close,
    /// What follows is not HTTP.
    Tunnel,
}

/// Longer than any head that a server under test has reason to send, in bytes.
const HEAD_BYTES_MAX: usize = 256 * 1024;

pub(super) fn request_head(draft: &Draft) -> Vec<u8> {
    let version = if draft.version < Version::HTTP_11 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = Vec::new();
    text.extend_from_slice(draft.method.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(&draft.target);
    text.push(b' ');
    text.extend_from_slice(version.as_bytes());
    text.extend_from_slice(b"\r\n");
    write_fields(&draft.headers, &mut text);
    text
}

pub(super) fn chunk(data: &[u8]) -> Vec<u8> {
    let mut text = format!("{:x}\r\n", data.len()).into_bytes();
    text.extend_from_slice(data);
    text.extend_from_slice(b"\r\n");
    text
}

pub(super) fn last_chunk(trailers: &HeaderMap) -> Vec<u8> {
    let mut text = b"0\r\n".to_vec();
    write_fields(trailers, &mut text);
    text
}

/// Writes field lines, and the empty line behind them.
fn write_fields(fields: &HeaderMap, text: &mut Vec<u8>) {
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
}

/// Takes a response head.
pub(super) fn head(buffer: &mut BytesMut) -> Result<Parsed<Head>, String> {
    let Parsed::Whole(text) = section(buffer)? else { return Ok(Parsed::Part) };
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(&text) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(format!("no head: {}", text.escape_ascii())),
        Err(error) => return Err(format!("{error} in the head {}", text.escape_ascii())),
    }
    if response.version != Some(1) {
        return Err("a server of HTTP/1 says HTTP/1.1".to_owned());
    }
    let status =
        StatusCode::from_u16(response.code.unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok(Parsed::Whole(Head { status, headers: collect(response.headers)? }))
}

/// How the body behind a final head is delimited; `asked` is the request's method and version, and whether it asks for an
/// upgrade.
pub(super) fn framing(head: &Head, asked: (&Method, Version, bool)) -> Result<Framing, String> {
    let (method, version, asks_for_upgrade) = asked;
    let codings: Vec<_> = head.headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let lengths: Vec<_> = head.headers.get_all(header::CONTENT_LENGTH).iter().collect();
    match head.status {
        StatusCode::SWITCHING_PROTOCOLS if asks_for_upgrade => return Ok(Framing::Tunnel),
        StatusCode::SWITCHING_PROTOCOLS => return Err("101 without a request for an upgrade".to_owned()),
        status if *method == Method::CONNECT && status.is_success() => return Ok(Framing::Tunnel),
        StatusCode::NO_CONTENT if !lengths.is_empty() => return Err("content-length with 204".to_owned()),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED if !codings.is_empty() => {
            return Err("transfer-encoding with a status that has no body".to_owned());
        }
        _ => {}
    }
    let framing = match (&codings[..], &lengths[..]) {
        ([], []) => Framing::Close,
        ([], [length]) => Framing::Length(decimal(length.as_bytes())?),
        ([coding], [])
            if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && version >= Version::HTTP_11 =>
        {
            Framing::Chunked
        }
        _ => return Err(format!("ambiguous framing: {codings:?}, {lengths:?}")),
    };
    let bodiless =
        *method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(if bodiless { Framing::None } else { framing })
}

/// Takes a frame: a whole chunk where there are chunks, else what has arrived; `None` is the end.
pub(super) fn frame(framing: &mut Framing, buffer: &mut BytesMut) -> Result<Parsed<Option<Frame>>, String> {
    match framing {
        Framing::None | Framing::Length(0) => Ok(Parsed::Whole(None)),
        Framing::Length(_) | Framing::Close if buffer.is_empty() => Ok(Parsed::Part),
        Framing::Close => Ok(Parsed::Whole(Some(Frame::Data(buffer.split().freeze())))),
        Framing::Length(left) => {
            let taken = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= taken as u64;
            Ok(Parsed::Whole(Some(Frame::Data(buffer.split_to(taken).freeze()))))
        }
        Framing::Chunked => {
            let Some((line, size)) = chunk_size(buffer)? else { return Ok(Parsed::Part) };
            if size == 0 {
                buffer.advance(line);
                *framing = Framing::Trailers;
                return frame(framing, buffer);
            }
            if buffer.len() < line + size + 2 {
                return Ok(Parsed::Part);
            }
            buffer.advance(line);
            let data = buffer.split_to(size).freeze();
            if buffer.split_to(2) != "\r\n" {
                return Err("no CRLF behind the data of a chunk".to_owned());
            }
            Ok(Parsed::Whole(Some(Frame::Data(data))))
        }
        Framing::Trailers => {
            let fields = if buffer.starts_with(b"\r\n") {
                buffer.advance(2);
                HeaderMap::new()
            } else {
                let Parsed::Whole(text) = section(buffer)? else { return Ok(Parsed::Part) };
                let mut fields = [httparse::EMPTY_HEADER; 256];
                match httparse::parse_headers(&text, &mut fields) {
                    Ok(httparse::Status::Complete((_, fields))) => collect(fields)?,
                    _ => return Err(format!("no trailers: {}", text.escape_ascii())),
                }
            };
            *framing = Framing::None;
            if fields.is_empty() {
                return Ok(Parsed::Whole(None));
            }
            Ok(Parsed::Whole(Some(Frame::Trailers(fields))))
        }
        Framing::Tunnel => Err("a tunnel has no frames".to_owned()),
    }
}

/// Takes lines through the first empty one, each ended by CRLF.
fn section(buffer: &mut BytesMut) -> Result<Parsed<Bytes>, String> {
    let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes"));
        }
        return Ok(Parsed::Part);
    };
    let text = buffer.split_to(end + 4).freeze();
    let mut before = b' ';
    for byte in &text {
        // Either alone is taken for a line's end by some and not by others.
        if (*byte == b'\n') != (before == b'\r') {
            return Err(format!("a line that does not end in CRLF: {}", text.escape_ascii()));
        }
        before = *byte;
    }
    Ok(Parsed::Whole(text))
}

fn collect(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|error| error.to_string())?);
    }
    Ok(headers)
}

/// The length of a chunk's first line, and the size in it.
fn chunk_size(buffer: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let Some(end) = buffer.windows(2).position(|bytes| bytes == b"\r\n") else {
        return if buffer.len() > 1024 { Err("an endless chunk size".to_owned()) } else { Ok(None) };
    };
    let line = &buffer[..end];
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain && !line.contains(&b'\n'));
    let size = text.and_then(|text| usize::from_str_radix(text, 16).ok());
    let size = size.ok_or_else(|| format!("no chunk size: {}", line.escape_ascii()))?;
    Ok(Some((end + 2, size)))
}

fn decimal(digits: &[u8]) -> Result<u64, String> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("no length: {}", digits.escape_ascii()))
}

//! The chunked coding of a request once more, line by line and without a state machine (RFC 9112 section 7.1).

use varvel_http1::Limits;

use super::request::TOKEN;

/// Reads a whole body that the crate has accepted, from its first size line to the end of its trailers, and gives the
/// content. Panics where it breaks the grammar or the limits.
pub(crate) fn decode(mut raw: &[u8], limits: &Limits) -> Vec<u8> {
    let mut content = Vec::new();
    let mut overspent = 0;
    loop {
        let end = raw.windows(2).position(|pair| pair == b"\r\n").expect("the end of a size line");
        let (line, rest) = (&raw[..end], &raw[end + 2..]);
        let size = size(line);
        assert!(line.len() <= limits.chunk_line_bytes_max as usize, "a long size line");
        overspent = (overspent + line.len() + 4).saturating_sub(16 + 2 * size);
        assert!(overspent <= limits.chunk_overhead_bytes_max as usize, "much framing for little content");
        if size == 0 {
            check_trailers(rest, limits);
            return content;
        }
        content.extend_from_slice(&rest[..size]);
        raw = rest[size..].strip_prefix(b"\r\n").expect("CRLF behind a chunk");
    }
}

/// `chunk-size [ chunk-ext ]`.
fn size(line: &[u8]) -> usize {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    assert!((1..=16).contains(&digits), "{digits} digits");
    let (size, mut rest) = line.split_at(digits);
    while !rest.is_empty() {
        rest = trim(rest).strip_prefix(b";").expect("a semicolon");
        rest = word(trim(rest));
        if let Some(value) = trim(rest).strip_prefix(b"=") {
            let value = trim(value);
            rest = if value.starts_with(b"\"") { quoted(&value[1..]) } else { word(value) };
        }
    }
    usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).expect("a size that fits what was sent")
}

/// What is behind a token, which is not empty.
fn word(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| TOKEN.contains(byte)).count();
    assert!(length > 0, "no token: {}", text.escape_ascii());
    &text[length..]
}

/// What is behind the closing quote.
fn quoted(mut text: &[u8]) -> &[u8] {
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    loop {
        text = match text {
            [b'"', rest @ ..] => return rest,
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] if is_text(*byte) => rest,
            _ => panic!("no quoted string: {}", text.escape_ascii()),
        };
    }
}

fn check_trailers(section: &[u8], limits: &Limits) {
    let lines = section.strip_suffix(b"\r\n").expect("an empty line at the end");
    let count = lines.split_inclusive(|&byte| byte == b'\n').count();
    assert!(section.len() <= limits.trailer_bytes_max as usize && count <= limits.trailer_count_max as usize);
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("CRLF");
        let value = word(line).strip_prefix(b":").expect("a colon behind a name");
        assert!(value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)), "a control byte");
    }
}

/// Without spaces and tabs in front.
fn trim(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[length..]
}

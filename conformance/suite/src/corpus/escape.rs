//! Bytes as the corpus writes them.

/// Reads `\r \n \t \0 \s \xHH \\ \{` and `{what*times}`.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '\\' => {
                let (byte, length) = escaped(rest)?;
                bytes.push(byte);
                rest = &rest[length..];
            }
            '{' => {
                let (repeated, length) = repeated(rest)?;
                bytes.extend(repeated);
                rest = &rest[length..];
            }
            _ => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(first.encode_utf8(&mut buffer).as_bytes());
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Ok(bytes)
}

/// The byte that an escape stands for, and how long the escape is.
fn escaped(text: &str) -> Result<(u8, usize), String> {
    let byte = match text.as_bytes().get(1) {
        Some(b'r') => b'\r',
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'0') => 0,
        Some(b's') => b' ',
        Some(b'x') => {
            let digits =
                text.get(2..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            return Ok((byte.ok_or("\\x without two hexadecimal digits")?, 4));
        }
        Some(byte @ (b'\\' | b'{' | b'"')) => *byte,
        _ => return Err(format!("an escape that is none: {:?}", text.chars().take(2).collect::<String>())),
    };
    Ok((byte, 2))
}

/// The bytes that `{what*times}` stands for, and how long it is.
fn repeated(text: &str) -> Result<(Vec<u8>, usize), String> {
    const WRONG: &str = "a brace that does not begin {what*times}; a plain one is \\{";
    let end = closing_brace(text).ok_or(WRONG)?;
    let (what, times) = text[1..end].rsplit_once('*').ok_or(WRONG)?;
    let times: usize = times.parse().map_err(|_| WRONG)?;
    Ok((unescape(what)?.repeat(times), end + 1))
}

/// Where the brace ends that the text begins with; there may be others inside.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        assert_eq!(unescape(r#"a\r\n\t\0\s\xfF\\\{}\"b"#).unwrap(), b"a\r\n\t\0 \xff\\{}\"b");
        assert_eq!(unescape(r"<{ab*3}{X: y\r\n*2}>").unwrap(), b"<abababX: y\r\nX: y\r\n>");
        assert_eq!(unescape(r"{1;{x*2}\r\n*2}").unwrap(), b"1;xx\r\n1;xx\r\n");
        assert_eq!(unescape("é").unwrap(), "é".as_bytes());
        for wrong in [r"\q", r"\x4", r"\xgg", "\\", "{a*b}", "{a}", "{a*2"] {
            assert!(unescape(wrong).is_err(), "{wrong}");
        }
    }
}

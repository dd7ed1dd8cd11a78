//! The classes of bytes and the comma-separated lists that the rest is made of.

/// `tchar` (RFC 9110 section 5.6.2): what methods, field names and most words in values are made of.
pub(crate) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// What a request target may contain: every visible ASCII byte that a browser sends without encoding it, so
/// more than RFC 3986 has (`|`, `{`, `` ` ``, `\` and others occur in queries), but neither `"`, `<`, `>` nor
/// `#`.
pub(crate) const fn is_target(byte: u8) -> bool {
    CLASSES[byte as usize] & TARGET != 0
}

/// What a field value may contain (RFC 9110 section 5.5): visible bytes, space, tab, and 0x80 to 0xFF without
/// meaning.
pub(crate) const fn is_value(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// `unreserved` and `sub-delims` (RFC 3986 section 2): what a registered name is made of, percent-encoding
/// apart.
pub(crate) const fn is_reg_name(byte: u8) -> bool {
    CLASSES[byte as usize] & REG_NAME != 0
}

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;
const REG_NAME: u8 = 8;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || contains(b"!#$%&'*+-.^_`|~", b) {
            classes[byte] |= TOKEN;
        }
        if b.is_ascii_graphic() && !contains(b"\"<>#", b) {
            classes[byte] |= TARGET;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            classes[byte] |= VALUE;
        }
        if b.is_ascii_alphanumeric() || contains(b"-._~!$&'()*+,;=", b) {
            classes[byte] |= REG_NAME;
        }
        byte += 1;
    }
    classes
};

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// The elements of a comma-separated list, trimmed of spaces and tabs and of nothing else; empty ones are
/// left out (RFC 9110 section 5.6.1). Quoted strings are not looked into: no list read here may hold one.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a list has this word, without regard to case.
pub(crate) fn lists(value: &[u8], word: &[u8]) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(word))
}

/// Cuts spaces and tabs off both ends. `<[u8]>::trim_ascii` would take more bytes for white space than HTTP
/// does.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_only_spaces_and_tabs() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b"\x0ba\x0c"), b"\x0ba\x0c");
        assert_eq!(trim(b" \t"), b"");
    }

    #[test]
    fn lists_skip_empty_elements() {
        let elements: Vec<&[u8]> = list(b",a ,, \t,b c,").collect();
        assert_eq!(elements, [&b"a"[..], b"b c"]);
    }
}

//! Mentions of clauses in prose. The build script compiles this file too.

use std::ops::Range;

use crate::clause::Group;

/// The places where `text` mentions a clause: ids outside code, such as `H8` and `B2` in "see H8 (B2)".
pub(crate) fn references(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut in_code = false;
    let mut previous = ' ';
    text.char_indices().filter_map(move |(start, char)| {
        let at_word_start = !(previous.is_ascii_alphanumeric() || "_-§".contains(previous));
        previous = char;
        in_code ^= char == '`';
        if in_code || !at_word_start || Group::from_letter(char).is_none() {
            return None;
        }
        let rest = &text[start + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let ends = !rest[digits..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        (digits > 0 && ends && !rest.starts_with('0')).then_some(start..start + 1 + digits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_ids_outside_code() {
        let text = "H8, (B10) and `E2`; not S01, HTTP/1, X-Y1, AH8, H8a, U_1, §S3, L or Q1. W12";
        let found: Vec<&str> = references(text).map(|range| &text[range]).collect();
        assert_eq!(found, ["H8", "B10", "W12"]);
    }
}

//! The field that tells caches what they may do.

use http::{HeaderMap, header};

/// Whether it has a directive that takes no argument, or has it without one (RFC 9111 section 5.2).
pub(super) fn has_directive(headers: &HeaderMap, name: &str) -> bool {
    let lists = headers.get_all(header::CACHE_CONTROL).iter();
    let mut directives = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

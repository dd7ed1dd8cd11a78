//! The field that tells caches what an answer depends on.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Says that the answer depends on a field of the request (RFC 9110 section 12.5.5).
pub(super) fn vary_by(headers: &mut HeaderMap, name: &HeaderName) {
    let named = headers.get_all(header::VARY).iter().any(|list| {
        let mut names = list.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|said| said == b"*" || said.eq_ignore_ascii_case(name.as_str().as_bytes()))
    });
    if !named {
        headers.append(header::VARY, HeaderValue::from_name(name.clone()));
    }
}

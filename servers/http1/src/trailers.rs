//! Trailer fields (RFC 9110 section 6.5).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::error::BodyFault;

/// Reads a trailer section of `count` field lines, whose bytes a
/// [`HeadScanner`](crate::head_scanner::HeadScanner) has found to be correct.
///
/// Fields that must not be trailers are dropped, not refused: nobody behind this can be misled by what it
/// never sees, and the upload they follow has been taken in whole.
pub(crate) fn parse(section: &Bytes, count: usize) -> Result<Option<HeaderMap>, BodyFault> {
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    let fields = match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => fields,
        _ => return Err(BodyFault::TrailerInvalid),
    };
    let mut trailers = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BodyFault::TrailerInvalid)?;
        if is_forbidden(&name) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(section.slice_ref(field.value))
            .map_err(|_| BodyFault::TrailerInvalid)?;
        trailers.try_append(name, value).map_err(|_| BodyFault::TrailersTooLarge)?;
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

/// Whether a field may not be a trailer, in either direction: those that frame the message, route it, or
/// manage the connection (RFC 9110 section 6.5.1). Of others, such as Authorization, it is enough that they
/// never get among the fields of the head.
pub(crate) fn is_forbidden(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::CONTENT_LENGTH
        | header::HOST
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

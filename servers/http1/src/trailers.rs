//! Trailer fields (RFC 9110 section 6.5).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};

use crate::error::BodyFault;
use crate::field_lines::{FieldLine, FieldLines, NoSection};

/// Reads a trailer section, whose bytes a [`HeadScanner`](crate::head_scanner::HeadScanner) has found to be correct.
///
/// Fields that must not be trailers are dropped, not refused: nobody behind this can be misled by what it
/// never sees, and the upload they follow has been taken in whole.
pub(crate) fn parse(section: &Bytes) -> Result<Option<HeaderMap>, BodyFault> {
    let mut trailers = HeaderMap::new();
    for line in FieldLines::new(section, 0) {
        let FieldLine { name, value, .. } = line.map_err(|NoSection| BodyFault::TrailerInvalid)?;
        if !is_forbidden(&name) {
            trailers.try_append(name, value).map_err(|_| BodyFault::TrailersTooLarge)?;
        }
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

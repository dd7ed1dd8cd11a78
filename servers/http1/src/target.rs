//! The four forms of a request target (RFC 9112 section 3.2).

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::{Authority, Parts, PathAndQuery};
use http::{Method, Uri};

use crate::error::Refusal;
use crate::host::parse_authority;

/// What a request is for, as far as the target says.
pub(crate) struct Target {
    /// Path and query, `*`, or for CONNECT the authority.
    pub(crate) uri: Uri,
    /// The authority in a target that has one.
    pub(crate) authority: Option<Authority>,
}

impl Target {
    /// Reads a target that is not empty and has only bytes that [`is_target`](crate::grammar::is_target)
    /// allows.
    pub(crate) fn parse(method: &Method, text: &Bytes) -> Result<Target, Refusal> {
        if *method == Method::CONNECT {
            return authority_form(text);
        }
        match &text[..] {
            b"/" => Ok(Target { uri: Uri::default(), authority: None }),
            [b'/', ..] => Ok(Target { uri: origin(text.clone())?, authority: None }),
            b"*" if *method == Method::OPTIONS => Ok(Target { uri: asterisk(), authority: None }),
            b"*" => Err(Refusal::TargetFormUnfit),
            _ => absolute_form(method, text),
        }
    }
}

/// Section 3.2.3: host and port, both needed, since there is no default port for a tunnel.
fn authority_form(text: &Bytes) -> Result<Target, Refusal> {
    if matches!(text[0], b'/' | b'*') {
        return Err(Refusal::TargetFormUnfit);
    }
    let authority = parse_authority(text.clone()).ok_or(Refusal::TargetInvalid)?;
    if authority.port_u16().is_none() {
        return Err(Refusal::TargetInvalid);
    }
    let mut parts = Parts::default();
    parts.authority = Some(authority.clone());
    let uri = Uri::from_parts(parts).map_err(|_| Refusal::TargetInvalid)?;
    Ok(Target { uri, authority: Some(authority) })
}

/// Section 3.2.2: a whole URI, which servers must take although only proxies are sent it. Schemes other than
/// `http` and `https` are for proxies only.
fn absolute_form(method: &Method, text: &Bytes) -> Result<Target, Refusal> {
    let start = ["http://", "https://"]
        .into_iter()
        .find(|scheme| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        })
        .ok_or_else(|| if text.contains(&b':') { Refusal::TargetFormUnfit } else { Refusal::TargetInvalid })?
        .len();
    let end = text[start..].iter().position(|byte| b"/?".contains(byte)).map_or(text.len(), |at| start + at);
    let authority = parse_authority(text.slice(start..end)).ok_or(Refusal::TargetInvalid)?;
    let uri = match &text[end..] {
        // Section 3.2.4: this is how `*` looks on its way through proxies.
        [] if *method == Method::OPTIONS => asterisk(),
        [] => Uri::default(),
        [b'/', ..] => origin(text.slice(end..))?,
        // A query right behind the authority: the empty path is `/` (RFC 9110 section 4.2.3).
        query => {
            let mut path = BytesMut::with_capacity(1 + query.len());
            path.put_u8(b'/');
            path.put_slice(query);
            origin(path.freeze())?
        }
    };
    Ok(Target { uri, authority: Some(authority) })
}

/// Section 3.2.1: path and query as they are. Going through [`Parts`] keeps `//host/` a path.
fn origin(text: Bytes) -> Result<Uri, Refusal> {
    if text.len() >= usize::from(u16::MAX) {
        return Err(Refusal::RequestLineTooLong);
    }
    let mut parts = Parts::default();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(text).map_err(|_| Refusal::TargetInvalid)?);
    Uri::from_parts(parts).map_err(|_| Refusal::TargetInvalid)
}

/// Section 3.2.4.
fn asterisk() -> Uri {
    Uri::from_static("*")
}

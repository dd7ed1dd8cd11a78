//! The fields of a request: all of them into a map, and what those say that this crate acts on.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;

use crate::error::Refusal;
use crate::framing::FramingFields;
use crate::grammar::{is_token, list, lists};
use crate::spare::Spare;

/// What the fields say that this crate acts on.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownFields {
    pub(crate) host: Host,
    pub(crate) framing: FramingFields,
    pub(crate) connection_close: bool,
    pub(crate) connection_keep_alive: bool,
    pub(crate) connection_upgrade: bool,
    pub(crate) expects_continue: bool,
    pub(crate) expects_unknown: bool,
    /// Whether all lines name protocols correctly, and there are any.
    pub(crate) upgrade: Option<bool>,
    pub(crate) te_trailers: bool,
}

/// The field Host.
#[derive(Debug, Clone, Default)]
pub(crate) enum Host {
    #[default]
    Missing,
    Empty,
    Is(Authority),
}

impl KnownFields {
    /// One pass over the fields, which are parts of `input`: into the spare map with all but Transfer-Encoding, and a
    /// look at those that matter here.
    pub(crate) fn read(
        input: &Bytes,
        fields: &[httparse::Header<'_>],
        spare: &mut Spare,
    ) -> Result<KnownFields, Refusal> {
        let map = &mut spare.headers;
        if !map.is_empty() {
            // A map with fields would lend them to this request.
            map.clear();
        }
        let mut known = KnownFields::default();
        let mut host = None;
        map.try_reserve(fields.len()).map_err(|_| Refusal::TooManyFields)?;
        for field in fields {
            let name =
                HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::FieldNameInvalid)?;
            match name {
                header::HOST if host.is_some() => return Err(Refusal::HostRepeated),
                header::HOST => host = Some(field.value),
                header::CONTENT_LENGTH => known.framing.add_content_length(field.value),
                header::TRANSFER_ENCODING => {
                    known.framing.add_transfer_encoding(field.value);
                    continue;
                }
                header::CONNECTION => {
                    known.connection_close |= lists(field.value, b"close");
                    known.connection_keep_alive |= lists(field.value, b"keep-alive");
                    known.connection_upgrade |= lists(field.value, b"upgrade");
                }
                header::EXPECT => {
                    for expectation in list(field.value) {
                        match expectation.eq_ignore_ascii_case(b"100-continue") {
                            true => known.expects_continue = true,
                            false => known.expects_unknown = true,
                        }
                    }
                }
                header::UPGRADE => {
                    known.upgrade = Some(known.upgrade != Some(false) && names_protocols(field.value));
                }
                header::TE => known.te_trailers |= lists(field.value, b"trailers"),
                _ => {}
            }
            // This validates again what httparse has validated; doing without could not be measured.
            let value = HeaderValue::from_maybe_shared(input.slice_ref(field.value))
                .map_err(|_| Refusal::FieldValueInvalid)?;
            map.try_append(name, value).map_err(|_| Refusal::TooManyFields)?;
        }
        known.host = match host {
            None => Host::Missing,
            Some([]) => Host::Empty,
            Some(host) => Host::Is(spare.authority(input, host)?),
        };
        Ok(known)
    }
}

/// A list of `name` or `name/version` with at least one element.
fn names_protocols(value: &[u8]) -> bool {
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(|&byte| is_token(byte));
    let mut any = false;
    list(value).all(|protocol| {
        any = true;
        let mut parts = protocol.splitn(2, |&byte| byte == b'/');
        parts.all(is_word)
    }) && any
}

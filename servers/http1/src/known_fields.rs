//! The fields of a request: all of them into a map, and what those say that this crate acts on.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::Authority;

use crate::error::Refusal;
use crate::field_lines::{FieldLine, FieldLines, NoSection};
use crate::framing::FramingFields;
use crate::grammar::{is_token, list, lists};
use crate::spare::Spare;

/// What the fields say that this crate acts on.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownFields {
    /// How many field lines there are.
    pub(crate) lines: usize,
    /// Where the section ends, counted from its beginning.
    pub(crate) length: usize,
    /// Why a request with these fields is refused, whatever its line says.
    pub(crate) fault: Option<Refusal>,
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
    /// One pass over the section that begins at `start` and has no more than `lines_max` lines: all fields but
    /// Transfer-Encoding into `map`, which is empty, and a look at those that matter here.
    pub(crate) fn read(
        input: &Bytes,
        start: usize,
        lines_max: usize,
        spare: &mut Spare,
        map: &mut HeaderMap,
    ) -> Result<KnownFields, NoSection> {
        let mut known = KnownFields::default();
        let mut host = None;
        let mut lines = FieldLines::new(input, start);
        for line in lines.by_ref() {
            let FieldLine { name, value, text } = line?;
            if known.lines == lines_max {
                return Err(NoSection);
            }
            known.lines += 1;
            match name {
                header::HOST if host.is_some() => known.refuse(Refusal::HostRepeated),
                header::HOST => host = Some(text),
                header::CONTENT_LENGTH => known.framing.add_content_length(text),
                header::TRANSFER_ENCODING => {
                    known.framing.add_transfer_encoding(text);
                    continue;
                }
                header::CONNECTION => {
                    for option in list(text) {
                        known.connection_close |= option.eq_ignore_ascii_case(b"close");
                        known.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                        known.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                header::EXPECT => {
                    for expectation in list(text) {
                        match expectation.eq_ignore_ascii_case(b"100-continue") {
                            true => known.expects_continue = true,
                            false => known.expects_unknown = true,
                        }
                    }
                }
                header::UPGRADE => {
                    known.upgrade = Some(known.upgrade != Some(false) && names_protocols(text));
                }
                header::TE => known.te_trailers |= lists(text, b"trailers"),
                _ => {}
            }
            if map.try_append(name, value).is_err() {
                known.refuse(Refusal::TooManyFields);
            }
        }
        known.length = lines.end() - start;
        known.host = match host {
            None => Host::Missing,
            Some([]) => Host::Empty,
            Some(host) => match spare.authority(input, host) {
                Ok(host) => Host::Is(host),
                Err(refusal) => {
                    known.refuse(refusal);
                    Host::Missing
                }
            },
        };
        Ok(known)
    }

    /// The first fault counts.
    fn refuse(&mut self, refusal: Refusal) {
        self.fault.get_or_insert(refusal);
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

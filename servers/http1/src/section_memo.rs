//! Header sections that were read before.
//!
//! Programs and browsers send the same fields with every request of a connection, and different requests differ in
//! their first line. Reading the fields is most of what a request costs here; copying the map of last time is not.
//!
//! ```text
//!   GET /a HTTP/1.1 CRLF | Host: x CRLF Accept: y CRLF CRLF |     read; its digest stays with the connection
//!   GET /b HTTP/1.1 CRLF | Host: x CRLF Accept: y CRLF CRLF |     read; the same digest again: remembered
//!   GET /c HTTP/1.1 CRLF | Host: x CRLF Accept: y CRLF CRLF |     found under the connection's digest
//! ```
//!
//! What is found counts only if it is byte for byte what has come, up to the empty line that ends it. The fields and
//! what they mean depend on nothing but these bytes, so a section that is found is the section that would have been
//! read. The digest only says where to look: whoever makes two sections of the same digest gets both read.
//!
//! A connection costs four bytes; the sections, as many as there is room for, belong to the thread. They are those of
//! requests that were accepted, and they may hold credentials, as the memory of any server does.
//!
//! Each section has one place where it can be, and more connections than there are places is the rule. If whoever comes
//! took the place, each would find that of another, and all would pay for remembering what nobody finds again. So a
//! section that is in use keeps its place, and one that is not makes way.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use crate::known_fields::KnownFields;
use crate::spare::Spare;

/// Sections remembered at a time. Clients that send the same share one.
const SECTIONS_MAX: usize = 64;

/// A longer section is read each time, in bytes.
const SECTION_BYTES_MAX: usize = 4 * 1024;

/// How many others want the place of a section in vain before it makes way, unless it is found in between. Of so many
/// connections that share a place one gains, and with more the loss is as small a part.
const PATIENCE: u8 = 8;

/// Sections by their digests.
#[derive(Default)]
pub(crate) struct SectionMemo(Vec<Option<Section>>);

/// A header section: the fields with the empty line behind them.
pub(crate) struct Section {
    digest: Digest,
    bytes: Bytes,
    fields: HeaderMap,
    known: KnownFields,
    /// How many more may want its place.
    patience: u8,
}

/// A small number made of a section; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest(u32);

impl SectionMemo {
    /// The section with this digest, if `input` begins with it and it has no more than `lines_max` lines.
    #[inline]
    pub(crate) fn find(&mut self, digest: Digest, input: &[u8], lines_max: usize) -> Option<&Section> {
        let section = self.0.get_mut(digest.slot())?.as_mut()?;
        let is_meant = section.digest == digest && input.starts_with(&section.bytes);
        if !is_meant || section.known.lines > lines_max {
            return None;
        }
        section.patience = PATIENCE;
        Some(section)
    }

    /// Takes note of a section that was read and accepted. `last` is the digest of the connection's last one.
    pub(crate) fn seen(&mut self, section: &[u8], last: &mut Digest) {
        let digest = Digest::of(section);
        if digest == *last && section.len() <= SECTION_BYTES_MAX {
            self.0.resize_with(SECTIONS_MAX, || None);
            match &mut self.0[digest.slot()] {
                Some(holder) if holder.patience > 0 => holder.patience -= 1,
                place => *place = Section::read(section, digest),
            }
        }
        *last = digest;
    }
}

impl Section {
    /// Reads a section once more, as one that owns its bytes. The request that it came with may be part of a large
    /// read, which must not be kept for it.
    fn read(section: &[u8], digest: Digest) -> Option<Section> {
        let bytes = Bytes::copy_from_slice(section);
        let mut fields = HeaderMap::new();
        let known = KnownFields::read(&bytes, 0, usize::MAX, &mut Spare::default(), &mut fields).ok()?;
        Some(Section { digest, bytes, fields, known, patience: PATIENCE })
    }

    /// Puts its fields into `map`, which is empty, and tells what they say.
    #[inline]
    pub(crate) fn recall(&self, map: &mut HeaderMap) -> KnownFields {
        if map.capacity() < self.fields.len() {
            *map = self.fields.clone();
        } else {
            for (name, value) in &self.fields {
                map.append(name, value.clone());
            }
        }
        self.known.clone()
    }
}

impl Digest {
    /// Mixes eight bytes at a time, as it is done for every section that is read.
    fn of(section: &[u8]) -> Digest {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut words = section.chunks_exact(8);
        let mix = |state: u64, word: u64| (state.rotate_left(5) ^ word).wrapping_mul(FACTOR);
        let state = words.by_ref().fold(section.len() as u64, |state, word| {
            mix(state, u64::from_le_bytes(word.try_into().unwrap_or_default()))
        });
        let state = words.remainder().iter().fold(state, |state, &byte| mix(state, byte.into()));
        Digest((state >> 32) as u32 | 1)
    }

    fn slot(self) -> usize {
        // The lowest bit is always set.
        (self.0 >> 1) as usize % SECTIONS_MAX
    }
}

/// Without the sections: they are what clients sent, of which some is secret.
impl fmt::Debug for SectionMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionMemo").field("sections", &self.0.iter().flatten().count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever knows how digests are made can make two sections of the same.
    #[test]
    fn sections_of_the_same_digest_are_not_taken_for_each_other() {
        let mut memo = SectionMemo::default();
        let (ours, theirs) = (b"Host: a\r\n\r\n", b"Host: b\r\n\r\n");
        let mut last = Digest::of(ours);
        memo.seen(ours, &mut last);
        assert!(memo.find(last, ours, 1).is_some(), "it was sent twice");
        assert!(
            memo.find(last, theirs, 1).is_none() && memo.find(last, &ours[..ours.len() - 1], 1).is_none()
        );
    }

    #[test]
    fn a_section_of_many_fields_is_remembered_as_it_was_sent() {
        let mut memo = SectionMemo::default();
        let lines: String = (0..100).map(|number| format!("X-{number}: {number}\r\n")).collect();
        let section = format!("Host: a\r\n{lines}\r\n");
        let mut last = Digest::of(section.as_bytes());
        memo.seen(section.as_bytes(), &mut last);
        assert!(memo.find(last, section.as_bytes(), 100).is_none(), "the limit counts for it, too");
        let mut fields = HeaderMap::new();
        let known = memo.find(last, section.as_bytes(), 101).expect("it was sent twice").recall(&mut fields);
        assert_eq!((known.lines, known.length, fields.len()), (101, section.len(), 101));
    }

    #[test]
    fn what_is_sent_once_is_not_remembered() {
        let mut memo = SectionMemo::default();
        let mut last = Digest::default();
        for number in 0..1000 {
            memo.seen(format!("Host: a\r\nX: {number}\r\n\r\n").as_bytes(), &mut last);
        }
        assert_eq!(memo.0.iter().flatten().count(), 0);
    }

    /// Two sections for the same place, each with its digest.
    fn rivals() -> [(String, Digest); 2] {
        let section = |number| {
            let section = format!("Host: a\r\nX: {number}\r\n\r\n");
            let digest = Digest::of(section.as_bytes());
            (section, digest)
        };
        let first = section(0);
        let second = (1..).map(section).find(|(_, digest)| digest.slot() == first.1.slot()).unwrap();
        [first, second]
    }

    /// Two clients in turn on one thread: what is remembered of one must not be lost to the other each time, or both pay
    /// for remembering and neither gains.
    #[test]
    fn clients_that_share_a_place_do_not_take_it_from_each_other_with_every_request() {
        let mut memo = SectionMemo::default();
        let mut rivals = rivals();
        let mut found = [0, 0];
        for _ in 0..100 {
            for (rival, (section, last)) in rivals.iter_mut().enumerate() {
                match memo.find(*last, section.as_bytes(), 2) {
                    Some(_) => found[rival] += 1,
                    None => memo.seen(section.as_bytes(), last),
                }
            }
        }
        assert_eq!(found, [99, 0]);
    }

    #[test]
    fn a_section_that_nobody_sends_any_more_makes_way() {
        let mut memo = SectionMemo::default();
        let [(old, mut old_last), (new, mut new_last)] = rivals();
        memo.seen(old.as_bytes(), &mut old_last);
        let wanted = (1..100).find(|_| {
            memo.seen(new.as_bytes(), &mut new_last);
            memo.find(new_last, new.as_bytes(), 2).is_some()
        });
        assert_eq!(wanted, Some(usize::from(PATIENCE) + 1));
        assert!(memo.find(old_last, old.as_bytes(), 2).is_none());
    }

    /// Neither many sections nor long ones make the memory of a thread grow without bound.
    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut memo = SectionMemo::default();
        for number in 0..1000 {
            let section = format!("Host: a\r\nX: {number}\r\n\r\n");
            let mut last = Digest::of(section.as_bytes());
            memo.seen(section.as_bytes(), &mut last);
        }
        assert_eq!(memo.0.len(), SECTIONS_MAX);
        let long = format!("Host: a\r\nX: {}\r\n\r\n", "x".repeat(SECTION_BYTES_MAX));
        let mut last = Digest::of(long.as_bytes());
        memo.seen(long.as_bytes(), &mut last);
        assert!(memo.find(last, long.as_bytes(), 2).is_none());
    }
}

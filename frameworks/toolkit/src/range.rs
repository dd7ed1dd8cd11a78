//! Parts of a representation: `Range: bytes=0-499` (RFC 9110 section 14).
//!
//! What is asked for is bounded before anything is sent: ranges that overlap or touch are joined, so that no answer
//! is longer than the whole, and who asks for more parts than allowed gets the whole.
//!
//! ```
//! use http::HeaderValue;
//! use varvel_toolkit::range::{ByteRange, Ranges};
//!
//! let asked = |value| Ranges::parse(&HeaderValue::from_static(value), 1000, 4);
//! assert_eq!(asked("bytes=0-99, -100"), Ranges::Parts(vec![ByteRange::new(0, 100), ByteRange::new(900, 100)]));
//! assert_eq!(asked("bytes=1000-"), Ranges::Unsatisfiable);
//! assert_eq!(asked("lines=1-2"), Ranges::Whole);
//! ```

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{self, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE},
};
use varvel::{Body, BodyParts, FileRegion, Mode};

use crate::{Form, conditional::remove_caching};

/// A part of a representation, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Where it begins.
    pub start: u64,
    /// How long it is; never 0.
    pub len: u64,
}

impl ByteRange {
    /// The `len` bytes from `start` on.
    pub const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    fn end(self) -> u64 {
        self.start + self.len
    }

    /// As Content-Range has it.
    fn content_range(self, whole: u64) -> String {
        format!("bytes {}-{}/{whole}", self.start, self.end() - 1)
    }
}

/// What a Range field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Everything: it is no range of bytes, makes no sense, or asks for too many parts.
    Whole,
    /// These, none of which overlaps another, in the order in which they were asked for.
    Parts(Vec<ByteRange>),
    /// Nothing of what was asked for exists: 416.
    Unsatisfiable,
}

impl Ranges {
    /// What a field comes to for a representation of `whole` bytes, of which at most `ranges_max` parts are sent.
    pub fn parse(field: &HeaderValue, whole: u64, ranges_max: usize) -> Self {
        match parse(field, whole, ranges_max) {
            None => Self::Whole,
            Some(parts) if parts.is_empty() => Self::Unsatisfiable,
            Some(parts) => Self::Parts(parts),
        }
    }

    /// What the Range of a request comes to; a request that has two has none.
    pub fn of(headers: &HeaderMap, whole: u64, ranges_max: usize) -> Self {
        let mut fields = headers.get_all(RANGE).iter();
        match (fields.next(), fields.next()) {
            (Some(field), None) => Self::parse(field, whole, ranges_max),
            _ => Self::Whole,
        }
    }
}

/// The ranges that exist; `None` if the field is to be ignored.
fn parse(field: &HeaderValue, whole: u64, ranges_max: usize) -> Option<Vec<ByteRange>> {
    let (unit, list) = field.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut parts = Vec::new();
    let mut is_said = false;
    let specs = list.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    for (index, spec) in specs.enumerate() {
        if index >= ranges_max {
            return None;
        }
        let (first, last) = spec.split_once('-')?;
        let range = match (number(first.trim_end())?, number(last.trim_start())?) {
            (None, None) => return None,
            // The last so many bytes, of a shorter representation all.
            (None, Some(suffix)) => {
                let len = suffix.min(whole);
                if suffix > 0 && whole == 0 {
                    // It exists, and there is no way to say which bytes it is.
                    return None;
                }
                ByteRange::new(whole - len, len)
            }
            (Some(first), Some(last)) if last < first => return None,
            (Some(first), last) => {
                let end = last.map_or(whole, |last| last.saturating_add(1).min(whole));
                ByteRange::new(first, end.saturating_sub(first))
            }
        };
        is_said = true;
        if range.len > 0 {
            join(&mut parts, range);
        }
    }
    is_said.then_some(parts)
}

/// A number, of which there may be none; one beyond all sizes is beyond this one, too.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

/// Adds a range. Those that it overlaps or touches become one with it, at the place of the first of them.
fn join(parts: &mut Vec<ByteRange>, mut range: ByteRange) {
    let mut place = None;
    let mut index = 0;
    while index < parts.len() {
        let part = parts[index];
        if part.start <= range.end() && range.start <= part.end() {
            let start = part.start.min(range.start);
            range = ByteRange::new(start, part.end().max(range.end()) - start);
            parts.remove(index);
            place = Some(place.unwrap_or(index).min(index));
            // It is larger now, and may touch what it did not before.
            index = 0;
        } else {
            index += 1;
        }
    }
    parts.insert(place.unwrap_or(parts.len()), range);
}

/// Makes of a whole response the part that the request asked for: 206, or 416. What is neither in memory nor a file
/// is left as it is, for it has no parts.
///
/// Conditions come first: [`conditional::answer`](crate::conditional::answer) calls this where they allow it.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Response, header};
/// use varvel::WriteBody;
/// use varvel_toolkit::{Blocking, range};
///
/// let mut request = HeaderMap::new();
/// request.insert(header::RANGE, HeaderValue::from_static("bytes=2-3"));
/// let part = range::cut::<Blocking>(&request, Response::new(WriteBody::from("0123456789")), 1);
/// assert_eq!(part.status(), 206);
/// assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 2-3/10");
/// assert_eq!(part.body().exact_len(), Some(2));
/// ```
pub fn cut<F: Form>(
    headers: &HeaderMap,
    response: Response<Body<F::Out>>,
    ranges_max: usize,
) -> Response<Body<F::Out>> {
    let (mut head, body) = response.into_parts();
    let whole = match body.into_parts() {
        BodyParts::Empty => Whole::Memory(Bytes::new()),
        BodyParts::Full(bytes) => Whole::Memory(bytes),
        BodyParts::File(region) => Whole::File(region),
        other => return Response::from_parts(head, other.into()),
    };
    head.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let parts = match Ranges::of(headers, whole.len(), ranges_max) {
        Ranges::Whole => return Response::from_parts(head, whole.into_body()),
        Ranges::Parts(parts) => parts,
        Ranges::Unsatisfiable => {
            head.status = StatusCode::RANGE_NOT_SATISFIABLE;
            for name in [CONTENT_TYPE, CONTENT_LENGTH, header::CONTENT_ENCODING] {
                head.headers.remove(name);
            }
            remove_caching(&mut head.headers);
            head.headers.insert(CONTENT_RANGE, visible(format!("bytes */{}", whole.len())));
            return Response::from_parts(head, Body::empty());
        }
    };
    head.status = StatusCode::PARTIAL_CONTENT;
    head.headers.remove(CONTENT_LENGTH);
    let body = if let [part] = parts[..] {
        head.headers.insert(CONTENT_RANGE, visible(part.content_range(whole.len())));
        whole.part(part)
    } else {
        let boundary = boundary();
        let media_type = visible(format!("multipart/byteranges; boundary={boundary}"));
        let media_type = head.headers.insert(CONTENT_TYPE, media_type);
        multipart::<F>(&whole, &parts, &boundary, media_type.as_ref())
    };
    Response::from_parts(head, body)
}

/// The body of several parts (section 14.6).
fn multipart<F: Form>(
    whole: &Whole,
    parts: &[ByteRange],
    boundary: &str,
    media_type: Option<&HeaderValue>,
) -> Body<F::Out> {
    let mut bodies = Vec::with_capacity(2 * parts.len() + 1);
    let mut between = "";
    for part in parts {
        let mut head = format!("{between}--{boundary}\r\n").into_bytes();
        if let Some(media_type) = media_type {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(media_type.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(
            format!("content-range: {}\r\n\r\n", part.content_range(whole.len())).as_bytes(),
        );
        bodies.push(Body::full(head));
        bodies.push(whole.part(*part));
        between = "\r\n";
    }
    bodies.push(Body::full(format!("\r\n--{boundary}--\r\n")));
    F::response_in_pieces(bodies)
}

/// A line that nobody can foresee, so nobody can have put it into the content.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

fn visible(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("only visible ASCII")
}

/// What parts can be taken of.
enum Whole {
    Memory(Bytes),
    File(FileRegion),
}

impl Whole {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(region) => region.len,
        }
    }

    fn part<M: Mode>(&self, part: ByteRange) -> Body<M> {
        match self {
            // Both fit, for the whole is in memory.
            Self::Memory(bytes) => Body::full(bytes.slice(part.start as usize..part.end() as usize)),
            Self::File(region) => Body::file(FileRegion {
                file: region.file.clone(),
                offset: region.offset + part.start,
                len: part.len,
            }),
        }
    }

    fn into_body<M: Mode>(self) -> Body<M> {
        match self {
            Self::Memory(bytes) => Body::full(bytes),
            Self::File(region) => Body::file(region),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, sync::Arc};

    use proptest::prelude::*;
    use varvel::{AsyncBody, WriteBody, app_fn, sync_fn};
    use varvel_test::{Client, Response as Answer};

    use super::*;
    use crate::{Blocking, Polled};

    /// `start+len` of each part, or what else it comes to.
    fn parsed(field: &str, whole: u64) -> String {
        match Ranges::parse(&field.parse().unwrap(), whole, 4) {
            Ranges::Whole => "whole".to_owned(),
            Ranges::Unsatisfiable => "unsatisfiable".to_owned(),
            Ranges::Parts(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| format!("{}+{}", part.start, part.len)).collect();
                parts.join(" ")
            }
        }
    }

    #[test]
    fn ranges_as_in_the_rfc_and_as_they_come() {
        for (field, expected) in [
            // The examples of section 14.1.2, for 10,000 bytes.
            ("bytes=0-499", "0+500"),
            ("bytes=500-999", "500+500"),
            ("bytes=-500", "9500+500"),
            ("bytes=9500-", "9500+500"),
            ("bytes=0-0,-1", "0+1 9999+1"),
            ("bytes= 0-999, 4500-5499, -1000", "0+1000 4500+1000 9000+1000"),
            ("bytes=500-600,601-999", "500+500"),
            ("bytes=500-700,601-999", "500+500"),
            // As they come.
            ("Bytes=0-", "0+10000"),
            ("bytes=0-99999", "0+10000"),
            ("bytes=-99999", "0+10000"),
            ("bytes=9999-", "9999+1"),
            ("bytes=,, 1-1 ,", "1+1"),
            ("bytes=5-5,1-1", "5+1 1+1"),
            ("bytes=0-1,99999-", "0+2"),
            ("bytes=4-5,0-1,2-3", "0+6"),
            ("bytes=0-0,10-10,20-20,0-30", "0+31"),
            ("bytes=0-18446744073709551616", "0+10000"),
            ("bytes=18446744073709551615-18446744073709551615", "unsatisfiable"),
            ("bytes=99999999999999999999-", "unsatisfiable"),
            ("bytes=10000-", "unsatisfiable"),
            ("bytes=-0", "unsatisfiable"),
            // What makes no sense is ignored.
            ("bytes=5-4", "whole"),
            ("bytes=0-1,5-4", "whole"),
            ("bytes=", "whole"),
            ("bytes=,", "whole"),
            ("bytes=-", "whole"),
            ("bytes=--1", "whole"),
            ("bytes=+1-2", "whole"),
            ("bytes=0x1-2", "whole"),
            ("bytes=1", "whole"),
            ("bytes 0-1", "whole"),
            ("seconds=0-1", "whole"),
            // One more than allowed.
            ("bytes=0-0,2-2,4-4,6-6,8-8", "whole"),
        ] {
            assert_eq!(parsed(field, 10_000), expected, "{field}");
        }
        assert_eq!(parsed("bytes=0-", 0), "unsatisfiable");
        assert_eq!(parsed("bytes=-1", 0), "whole");
    }

    /// The answers to a request for ranges of `0123456789`, from memory and from a file, in both forms.
    fn answers(range: &str) -> Vec<Answer> {
        let mut file = nameless_file();
        file.write_all(b"..0123456789..").unwrap();
        let region = FileRegion { file: Arc::new(file), offset: 2, len: 10 };
        let memory = Bytes::from_static(b"0123456789");
        let mut answers = Vec::new();
        for from_file in [false, true] {
            fn whole<M: Mode>(region: Option<FileRegion>, memory: &Bytes) -> Response<Body<M>> {
                let body = region.map_or_else(|| Body::full(memory.clone()), Body::file);
                let mut response = Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                response
            }
            let region = from_file.then(|| region.clone());
            let (r, m) = (region.clone(), memory.clone());
            let blocking = Client::sync(sync_fn(move |request, _| {
                Ok(cut::<Blocking>(request.headers(), whole(r.clone(), &m), 4))
            }));
            let (r, m) = (region, memory.clone());
            let polled = Client::new(app_fn(move |request, _| {
                let response = cut::<Polled>(request.headers(), whole(r.clone(), &m), 4);
                async { Ok(response) }
            }));
            for client in [blocking, polled] {
                answers.push(client.get("/").header("range", range).send());
            }
        }
        answers
    }

    /// A file without a name, gone with its last handle.
    fn nameless_file() -> File {
        let path = std::env::temp_dir().join(format!("varvel-range-{}", boundary()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn one_part_is_the_body() {
        for answer in answers("bytes=2-4") {
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(answer.header("content-range"), Some("bytes 2-4/10"));
            assert_eq!(answer.header("content-length"), Some("3"));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert_eq!(answer.text(), "234");
        }
    }

    #[test]
    fn several_parts_are_a_multipart_of_known_length() {
        for answer in answers("bytes=8-, 0-1") {
            let media_type = answer.header("content-type").unwrap();
            let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
            let part = |range, data| {
                format!(
                    "--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: {range}\r\n\r\n{data}\r\n"
                )
            };
            let expected =
                part("bytes 8-9/10", "89") + &part("bytes 0-1/10", "01") + &format!("--{boundary}--\r\n");
            assert_eq!(answer.text(), expected);
            assert_eq!(answer.header("content-length"), Some(expected.len().to_string().as_str()));
            assert_eq!(answer.header("content-range"), None);
        }
    }

    #[test]
    fn what_does_not_exist_is_416_with_the_length() {
        for answer in answers("bytes=10-") {
            assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
            assert_eq!(answer.header("content-range"), Some("bytes */10"));
            assert_eq!(answer.text(), "");
        }
    }

    #[test]
    fn the_whole_says_that_there_could_be_parts() {
        for answer in answers("bytes=banana") {
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
            assert_eq!(answer.text(), "0123456789");
        }
    }

    #[test]
    fn a_stream_has_no_parts() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
        let polled = Response::new(AsyncBody::from_chunks([Bytes::from_static(b"abc")]));
        assert_eq!(cut::<Polled>(&headers, polled, 4).status(), StatusCode::OK);
        let pushed = Response::new(WriteBody::from_sized_writer(3, |sink| sink.data("abc".into())));
        assert_eq!(cut::<Blocking>(&headers, pushed, 4).headers().get(ACCEPT_RANGES), None);
    }

    proptest! {
        #[test]
        fn parts_exist_do_not_overlap_and_are_few(
            field in "[bytes=0-9, -]{0,40}|bytes=([0-9]{0,3}-[0-9]{0,3},){0,6}",
            whole in 0..500_u64,
        ) {
            if let Ranges::Parts(parts) = Ranges::parse(&field.trim().parse().unwrap(), whole, 4) {
                prop_assert!((1..=4).contains(&parts.len()));
                for (index, part) in parts.iter().enumerate() {
                    prop_assert!(part.len > 0 && part.end() <= whole);
                    for other in &parts[index + 1..] {
                        prop_assert!(part.end() < other.start || other.end() < part.start);
                    }
                }
            }
        }
    }
}

//! Forms with files: `multipart/form-data` (RFC 7578), read part by part as it arrives, so that an upload need not fit into
//! memory.
//!
//! ```
//! use http::{Request, Response};
//! use varvel::{AppResult, ReadBody, Scope, WriteBody, sync_fn};
//! use varvel_toolkit::{Blocking, multipart::{Limits, Multipart}};
//!
//! fn upload(request: Request<ReadBody>, _scope: Scope) -> AppResult {
//!     let (head, body) = request.into_parts();
//!     let mut form = Multipart::<Blocking>::new(&head.headers, body, Limits::default())?;
//!     let mut told = String::new();
//!     while let Some(mut part) = form.next_part()? {
//!         if part.file_name().is_some() {
//!             // Keep it under a name of your own; the client's is only for display.
//!             let bytes = std::io::copy(&mut part, &mut std::io::sink())?;
//!             told += &format!("{}: {:?} of {bytes} bytes\n", part.name(), part.file_name());
//!         } else {
//!             let name = part.name().to_owned();
//!             told += &format!("{name}: {}\n", part.text(1000)?);
//!         }
//!     }
//!     Ok(Response::new(WriteBody::from(told)))
//! }
//! # let content = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nCrab\r\n--x\r\n\
//! #     Content-Disposition: form-data; name=\"picture\"; filename=\"../crab.png\"\r\n\r\n\r\n123\r\n--x--\r\n";
//! # let client = varvel_test::Client::sync(sync_fn(upload));
//! # let request = client.post("/").header("content-type", "multipart/form-data; boundary=x").body(content);
//! # assert_eq!(request.send().text(), "title: Crab\npicture: Some(\"crab.png\") of 5 bytes\n");
//! ```
//!
//! An async application does the same with `Multipart::<Polled>` and `.await` after each call.
//!
//! What the client did wrong is an [`HttpError`]: 415 for another media type, 413 beyond the [`Limits`], 400 if the form is
//! malformed or breaks off. Lines end with CRLF, as all browsers and libraries send them.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Read},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_DISPOSITION};
use memchr::memmem;
use percent_encoding::percent_decode;
use varvel::{AppError, Body, Frame};

use crate::{Blocking, Form, HttpError, MediaType, Polled};

/// How large a form may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the whole content, in bytes; 16 MiB.
    pub total_bytes: u64,
    /// Size of the data of one part, in bytes; 16 MiB.
    pub part_bytes: u64,
    /// Number of parts; 1000.
    pub parts: usize,
    /// Size of the header fields of one part, in bytes; 8 KiB.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total_bytes: 16 << 20, part_bytes: 16 << 20, parts: 1000, head_bytes: 8 << 10 }
    }
}

/// A form that arrives part by part; in a sync application a `Multipart<Blocking>`.
pub struct Multipart<F: Form = Polled> {
    body: Body<F::In>,
    parser: Parser,
}

impl<F: Form> Multipart<F> {
    /// The form in a request. Nothing is read yet.
    ///
    /// # Errors
    /// If the content is not such a form, or declares more bytes than allowed.
    pub fn new(headers: &HeaderMap, body: Body<F::In>, limits: Limits) -> Result<Self, HttpError> {
        let media_type = MediaType::of(headers).filter(|media_type| media_type.is("multipart/form-data"));
        let Some(media_type) = media_type else {
            let detail = "A form is expected: multipart/form-data.";
            return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with_detail(detail));
        };
        let mut boundaries = media_type.params().filter(|(name, _)| name.eq_ignore_ascii_case("boundary"));
        let boundary = match (boundaries.next(), boundaries.next()) {
            (Some((_, boundary)), None) if (1..=70).contains(&boundary.len()) => boundary,
            _ => return Err(malformed("The form has no boundary between its parts, or more than one.")),
        };
        if F::request_len(&body).is_some_and(|len| len > limits.total_bytes) {
            return Err(too_large("The form is too long."));
        }
        Ok(Self { body, parser: Parser::new(&boundary, limits) })
    }

    fn part(&mut self, headers: HeaderMap, names: Names) -> Part<'_, F> {
        Part { headers, names, form: self, is_over: false }
    }
}

impl Multipart<Blocking> {
    /// Waits for the next part; `None` after the last. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// If the form is malformed, too large, or breaks off.
    pub fn next_part(&mut self) -> Result<Option<Part<'_, Blocking>>, AppError> {
        loop {
            match self.event()? {
                Event::Part(headers) => {
                    let names = Names::of(&headers)?;
                    return Ok(Some(self.part(headers, names)));
                }
                Event::End => return Ok(None),
                Event::Data(_) | Event::PartEnd | Event::NeedMore => {}
            }
        }
    }

    /// Waits for the part of this name; those before it are skipped. Browsers send parts in the order of the form.
    ///
    /// # Errors
    /// 422 with code `missing_field` and the `field`, if no part with this name follows; else as
    /// [`next_part`](Self::next_part).
    pub fn part_named(&mut self, name: &str) -> Result<Part<'_, Blocking>, AppError> {
        loop {
            match self.event()? {
                Event::Part(headers) => {
                    let names = Names::of(&headers)?;
                    if names.name == name {
                        return Ok(self.part(headers, names));
                    }
                }
                Event::End => return Err(missing(name).into()),
                Event::Data(_) | Event::PartEnd | Event::NeedMore => {}
            }
        }
    }

    fn event(&mut self) -> Result<Event, AppError> {
        loop {
            match self.parser.next()? {
                Event::NeedMore => self.parser.take(self.body.next_frame()?)?,
                event => return Ok(event),
            }
        }
    }
}

impl Multipart<Polled> {
    /// Waits for the next part; `None` after the last. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// If the form is malformed, too large, or breaks off.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_, Polled>>, AppError> {
        loop {
            match self.event().await? {
                Event::Part(headers) => {
                    let names = Names::of(&headers)?;
                    return Ok(Some(self.part(headers, names)));
                }
                Event::End => return Ok(None),
                Event::Data(_) | Event::PartEnd | Event::NeedMore => {}
            }
        }
    }

    /// Waits for the part of this name; those before it are skipped. Browsers send parts in the order of the form.
    ///
    /// # Errors
    /// 422 with code `missing_field` and the `field`, if no part with this name follows; else as
    /// [`next_part`](Self::next_part).
    pub async fn part_named(&mut self, name: &str) -> Result<Part<'_, Polled>, AppError> {
        loop {
            match self.event().await? {
                Event::Part(headers) => {
                    let names = Names::of(&headers)?;
                    if names.name == name {
                        return Ok(self.part(headers, names));
                    }
                }
                Event::End => return Err(missing(name).into()),
                Event::Data(_) | Event::PartEnd | Event::NeedMore => {}
            }
        }
    }

    async fn event(&mut self) -> Result<Event, AppError> {
        loop {
            match self.parser.next()? {
                Event::NeedMore => self.parser.take(self.body.frame().await.transpose()?)?,
                event => return Ok(event),
            }
        }
    }
}

impl<F: Form> fmt::Debug for Multipart<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").field("parts", &self.parser.parts).finish_non_exhaustive()
    }
}

/// A part of a form: a field, or a file.
pub struct Part<'m, F: Form> {
    headers: HeaderMap,
    names: Names,
    form: &'m mut Multipart<F>,
    is_over: bool,
}

impl<F: Form> Part<'_, F> {
    /// The name of the field.
    pub fn name(&self) -> &str {
        &self.names.name
    }

    /// The client's name for the file, if it is one: without directories and control characters, and never empty, `.` or `..`.
    /// `None` as well where a browser's user has chosen no file. Use it for display only, and keep the file under a name of
    /// your own.
    pub fn file_name(&self) -> Option<&str> {
        self.names.file_name.as_deref()
    }

    /// The media type, according to the client.
    pub fn media_type(&self) -> Option<MediaType<'_>> {
        MediaType::of(&self.headers)
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What an event means to the reader of this part.
    fn data(&mut self, event: Event) -> Option<Bytes> {
        match event {
            Event::Data(data) => Some(data),
            _ => {
                self.is_over = true;
                None
            }
        }
    }
}

impl Part<'_, Blocking> {
    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// If the form is malformed, too large, or breaks off.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, AppError> {
        if self.is_over {
            return Ok(None);
        }
        let unread = std::mem::take(&mut self.form.parser.unread);
        if !unread.is_empty() {
            return Ok(Some(unread));
        }
        let event = self.form.event()?;
        Ok(self.data(event))
    }

    /// Waits for all of it.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk); 413 beyond `limit` bytes.
    pub fn bytes(mut self, limit: usize) -> Result<Bytes, AppError> {
        let mut all = BytesMut::new();
        while let Some(data) = self.chunk()? {
            gather(&mut all, &data, limit)?;
        }
        Ok(all.freeze())
    }

    /// Waits for all of it, as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); 400 if it is not UTF-8.
    pub fn text(self, limit: usize) -> Result<String, AppError> {
        Ok(text(self.bytes(limit)?)?)
    }
}

impl Part<'_, Polled> {
    /// Waits for the next bytes; `None` at the end.
    ///
    /// # Errors
    /// If the form is malformed, too large, or breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, AppError> {
        if self.is_over {
            return Ok(None);
        }
        let event = self.form.event().await?;
        Ok(self.data(event))
    }

    /// Waits for all of it.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk); 413 beyond `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, AppError> {
        let mut all = BytesMut::new();
        while let Some(data) = self.chunk().await? {
            gather(&mut all, &data, limit)?;
        }
        Ok(all.freeze())
    }

    /// Waits for all of it, as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); 400 if it is not UTF-8.
    pub async fn text(self, limit: usize) -> Result<String, AppError> {
        Ok(text(self.bytes(limit).await?)?)
    }
}

/// Reads the data. An error of the form is inside the [`io::Error`], where [`AppError`] finds it again.
impl Read for Part<'_, Blocking> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_over {
            return Ok(0);
        }
        if self.form.parser.unread.is_empty() {
            match self.chunk().map_err(into_io)? {
                Some(data) => self.form.parser.unread = data,
                None => return Ok(0),
            }
        }
        let unread = &mut self.form.parser.unread;
        let taken = buffer.len().min(unread.len());
        buffer[..taken].copy_from_slice(&unread.split_to(taken));
        Ok(taken)
    }
}

impl<F: Form> fmt::Debug for Part<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file_name = &self.names.file_name;
        f.debug_struct("Part").field("name", &self.names.name).field("file_name", file_name).finish()
    }
}

fn gather(all: &mut BytesMut, data: &Bytes, limit: usize) -> Result<(), HttpError> {
    if data.len() > limit - all.len() {
        return Err(too_large("A part of the form is too long."));
    }
    all.extend_from_slice(data);
    Ok(())
}

fn text(bytes: Bytes) -> Result<String, HttpError> {
    String::from_utf8(bytes.into()).map_err(|_| malformed("A field of the form is not UTF-8."))
}

fn malformed(detail: &'static str) -> HttpError {
    HttpError::bad_request(detail).with_code("malformed_multipart")
}

fn missing(name: &str) -> HttpError {
    HttpError::new(StatusCode::UNPROCESSABLE_ENTITY)
        .with_detail(format!(
            "The field `{name}` is missing, or comes ahead of one that is expected before it."
        ))
        .with_code("missing_field")
        .with_member("field", name)
}

fn too_large(detail: &'static str) -> HttpError {
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE).with_detail(detail)
}

/// Bytes in, events out; who feeds it decides how to wait.
///
/// ```text
///   Preamble --delimiter--> Delimiter --CRLF--> Head --empty line--> Data --delimiter--> Delimiter
///                               \--"--"--> End
/// ```
struct Parser {
    /// CRLF, two dashes and the boundary.
    delimiter: Vec<u8>,
    limits: Limits,
    state: State,
    /// What has come and was not given out: less than a delimiter, or the head of a part, behind the frame that came
    /// last.
    buffer: Bytes,
    /// The rest of what was given out, where it is read by [`Read`].
    unread: Bytes,
    total_bytes: u64,
    part_bytes: u64,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Delimiter,
    Head,
    Data,
    End,
}

enum Event {
    /// To be asked again after more of the body.
    NeedMore,
    Part(HeaderMap),
    /// Never empty.
    Data(Bytes),
    PartEnd,
    End,
}

impl Parser {
    fn new(boundary: &str, limits: Limits) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            limits,
            state: State::Preamble,
            // As if a line had ended before: the first delimiter may be at the very beginning.
            buffer: Bytes::from_static(b"\r\n"),
            unread: Bytes::new(),
            total_bytes: 0,
            part_bytes: 0,
            parts: 0,
        }
    }

    /// Takes the next frame of the body, or its end.
    fn take(&mut self, frame: Option<Frame>) -> Result<(), HttpError> {
        let data = match frame {
            Some(Frame::Data(data)) => data,
            Some(_) => return Ok(()),
            None => return Err(malformed("The form ends too early.")),
        };
        self.total_bytes += data.len() as u64;
        if self.total_bytes > self.limits.total_bytes {
            return Err(too_large("The form is too long."));
        }
        if self.buffer.is_empty() {
            self.buffer = data;
        } else {
            let mut joined = BytesMut::with_capacity(self.buffer.len() + data.len());
            joined.extend_from_slice(&self.buffer);
            joined.extend_from_slice(&data);
            self.buffer = joined.freeze();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Event, HttpError> {
        self.unread = Bytes::new();
        loop {
            match self.state {
                State::Preamble => {
                    let passed_over = self.before_delimiter();
                    if !passed_over.is_empty() {
                        continue;
                    }
                    if !self.at_delimiter() {
                        return Ok(Event::NeedMore);
                    }
                }
                State::Data => {
                    let data = self.before_delimiter();
                    if !data.is_empty() {
                        self.part_bytes += data.len() as u64;
                        if self.part_bytes > self.limits.part_bytes {
                            return Err(too_large("A part of the form is too long."));
                        }
                        return Ok(Event::Data(data));
                    }
                    return Ok(if self.at_delimiter() { Event::PartEnd } else { Event::NeedMore });
                }
                State::Delimiter => match self.line()? {
                    None => return Ok(Event::NeedMore),
                    Some(state) => self.state = state,
                },
                State::Head => return self.head(),
                State::End => return Ok(Event::End),
            }
        }
    }

    /// Takes what is certainly no part of a delimiter, up to the next one.
    fn before_delimiter(&mut self) -> Bytes {
        let end = memmem::find(&self.buffer, &self.delimiter).unwrap_or_else(|| {
            // The end of what is there may be the beginning of one.
            let tail = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            let may_begin = |at: &usize| self.delimiter.starts_with(&self.buffer[*at..]);
            (tail..self.buffer.len()).find(may_begin).unwrap_or(self.buffer.len())
        });
        self.buffer.split_to(end)
    }

    /// Takes the delimiter, if it is there.
    fn at_delimiter(&mut self) -> bool {
        let is_there = self.buffer.starts_with(&self.delimiter);
        if is_there {
            let _ = self.buffer.split_to(self.delimiter.len());
            self.state = State::Delimiter;
        }
        is_there
    }

    /// Takes what is behind a delimiter: two dashes at the end of the form, or blanks and the end of the line.
    fn line(&mut self) -> Result<Option<State>, HttpError> {
        if self.buffer.starts_with(b"--") {
            return Ok(Some(State::End));
        }
        let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &self.buffer[blanks..] {
            [b'\r', b'\n', ..] => {
                let _ = self.buffer.split_to(blanks + 2);
                if self.parts == self.limits.parts {
                    return Err(too_large("The form has too many parts.").with_code("too_many_fields"));
                }
                self.parts += 1;
                Ok(Some(State::Head))
            }
            [] | [b'\r'] if blanks <= self.limits.head_bytes => Ok(None),
            [b'-'] if blanks == 0 => Ok(None),
            _ => Err(malformed("The form has something after a boundary.")),
        }
    }

    /// Takes the fields in front of a part, which end with an empty line.
    fn head(&mut self) -> Result<Event, HttpError> {
        let end = if self.buffer.starts_with(b"\r\n") {
            0
        } else {
            match memmem::find(&self.buffer, b"\r\n\r\n") {
                Some(end) => end + 2,
                // All but the last byte of the empty line may be there.
                None if self.buffer.len() > self.limits.head_bytes.saturating_add(1) => usize::MAX,
                None => return Ok(Event::NeedMore),
            }
        };
        if end > self.limits.head_bytes {
            return Err(too_large("The header fields of a part of the form are too long."));
        }
        let head = self.buffer.split_to(end);
        let _empty_line = self.buffer.split_to(2);
        self.state = State::Data;
        self.part_bytes = 0;
        // Data that is empty has the delimiter at once, whose CRLF is behind this empty line.
        let headers = fields(&head)
            .ok_or_else(|| malformed("The header fields of a part of the form are malformed."))?;
        Ok(Event::Part(headers))
    }
}

/// The fields of a head, each with its CRLF.
fn fields(head: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut rest = head;
    while let Some(end) = memmem::find(rest, b"\r\n") {
        let line = &rest[..end];
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.try_append(name, value).ok()?;
        rest = &rest[end + 2..];
    }
    Some(headers)
}

/// What Content-Disposition says of a part.
struct Names {
    name: String,
    file_name: Option<String>,
}

impl Names {
    fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        let mut dispositions = headers.get_all(CONTENT_DISPOSITION).iter();
        let names = match (dispositions.next(), dispositions.next()) {
            (Some(disposition), None) => Self::parse(disposition.as_bytes()),
            _ => None,
        };
        names.ok_or_else(|| malformed("A part of the form has no name, or more than one."))
    }

    /// `None` if it is no field of a form, or could be one for us and another for whoever has looked at it before.
    fn parse(disposition: &[u8]) -> Option<Self> {
        let (kind, mut rest) = split_at_byte(disposition, b';');
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let (mut name, mut file_name, mut extended) = (None, None, None);
        while !rest.is_empty() {
            let (key, behind) = split_at_byte(rest, b'=');
            let (value, behind) = parameter(behind.trim_ascii_start())?;
            let place = match key.trim_ascii().to_ascii_lowercase().as_slice() {
                b"name" => Some(&mut name),
                b"filename" => Some(&mut file_name),
                // Not to be sent here (RFC 7578 section 4.2), and sent by libraries all the same.
                b"filename*" => Some(&mut extended),
                _ => None,
            };
            if place.is_some_and(|place| place.replace(value).is_some()) {
                return None;
            }
            rest = split_at_byte(behind, b';').1;
        }
        let file_name = extended.and_then(|value| decode_extended(&value)).or(file_name);
        let file_name = file_name.filter(|name| !name.is_empty());
        Some(Self { name: name?, file_name: file_name.map(|name| plain_file_name(&name)) })
    }
}

/// What is before a byte and what is behind it, which is empty if it is not there.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|known| *known == byte) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

/// The value of a parameter, and what is behind it; `None` if its quotes are not closed. Within quotes browsers write `%22`
/// for a quote and leave a backslash as it is; others put a backslash before a quote. Either way it is a quote.
fn parameter(text: &[u8]) -> Option<(String, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return Some((String::from_utf8_lossy(text[..end].trim_ascii()).into_owned(), &text[end..]));
    };
    let mut value = Vec::new();
    let mut at = 0;
    while at < quoted.len() && quoted[at] != b'"' {
        at += usize::from(quoted[at..].starts_with(b"\\\""));
        value.push(quoted[at]);
        at += 1;
    }
    let value =
        String::from_utf8_lossy(&value).replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
    Some((value, quoted.get(at + 1..)?))
}

/// `UTF-8''na%C3%AFve.txt` (RFC 8187).
fn decode_extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    let decoded: Cow<'_, str> = percent_decode(text.as_bytes()).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| decoded.into_owned())
}

/// The last segment of what may be a path of any system, without what has no place in a name; `file` if nothing is
/// left.
fn plain_file_name(name: &str) -> String {
    /// As long as names may be on most file systems.
    const BYTES_MAX: usize = 255;
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut plain: String = last.chars().filter(|letter| !letter.is_control()).collect();
    while plain.len() > BYTES_MAX {
        plain.pop();
    }
    let plain = plain.trim();
    if matches!(plain, "" | "." | "..") { "file".to_owned() } else { plain.to_owned() }
}

fn into_io(error: AppError) -> io::Error {
    io::Error::other(Carried(error))
}

/// An [`AppError`] is no `Error`, so that `?` can make one of any; its source is what matters.
#[derive(Debug)]
struct Carried(AppError);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Carried {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use proptest::prelude::*;
    use varvel::{AsyncBody, ReadBody, Scope, WriteBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::{Endpoint, Routes, routes};

    const SMALL: Limits = Limits { total_bytes: 1000, part_bytes: 40, parts: 3, head_bytes: 100 };

    /// What is told of each part: `name|file name|type=data`.
    fn told(name: &str, file_name: Option<&str>, media_type: Option<MediaType<'_>>) -> String {
        let media_type = media_type.map(|media_type| media_type.to_string()).unwrap_or_default();
        format!("{name}|{}|{media_type}=", file_name.unwrap_or_default())
    }

    fn blocking(request: Request<ReadBody>, _: Scope) -> varvel::AppResult {
        let (head, body) = request.into_parts();
        let mut form = Multipart::<Blocking>::new(&head.headers, body, SMALL)?;
        let mut all = String::new();
        while let Some(mut part) = form.next_part()? {
            all += &told(part.name(), part.file_name(), part.media_type());
            if part.name() == "skip" {
                continue;
            }
            let mut data = Vec::new();
            part.read_to_end(&mut data)?;
            all += &format!("{}\n", data.escape_ascii());
        }
        Ok(Response::new(WriteBody::from(all)))
    }

    async fn polled(request: Request<AsyncBody>, _: Scope) -> varvel::AsyncAppResult {
        let (head, body) = request.into_parts();
        let mut form = Multipart::<Polled>::new(&head.headers, body, SMALL)?;
        let mut all = String::new();
        while let Some(mut part) = form.next_part().await? {
            all += &told(part.name(), part.file_name(), part.media_type());
            if part.name() == "skip" {
                continue;
            }
            while let Some(data) = part.chunk().await? {
                all += &data.escape_ascii().to_string();
            }
            all += "\n";
        }
        Ok(Response::new(AsyncBody::from(all)))
    }

    /// The answer to a form, which is the same in both forms of the contract and however it is cut.
    fn answer(content: &str) -> (u16, String) {
        let post = |endpoint: Endpoint| routes::post(endpoint);
        let app = Routes::builder()
            .route("/blocking", post(sync_fn(blocking).into()))
            .route("/polled", post(app_fn(polled).into()))
            .build();
        let client = Client::new(app.unwrap());
        let mut answers = Vec::new();
        for path in ["/blocking", "/polled"] {
            for bytes in [1, 2, 3, 7, 10_000] {
                let request =
                    client.post(path).header("content-type", "multipart/form-data; boundary=\"xYz\"");
                let answer = request.body(content.to_owned()).in_pieces_of(bytes).send();
                answers.push((answer.status().as_u16(), answer.text().to_owned()));
            }
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{content:?}: {answers:?}");
        answers.remove(0)
    }

    fn part(disposition: &str, data: &str) -> String {
        format!("--xYz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{data}\r\n")
    }

    #[test]
    fn parts_are_what_was_between_the_delimiters() {
        let content = part("name=\"a\"", "1")
            + &part("name=\"empty\"", "")
            + "--xYz  \t\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION:form-data; name=f; filename=\"a b.png\"\r\n\
               x-more: y\r\n\r\n\r\n--xY\r\n--xY\n--xYz\r\n\r\n--xYz--";
        let expected = "a||=1\nempty||=\nf|a b.png|image/png=\\r\\n--xY\\r\\n--xY\\n--xYz\\r\\n\n";
        assert_eq!(answer(&content), (200, expected.to_owned()));
    }

    #[test]
    fn what_is_around_the_parts_does_not_matter() {
        let content =
            format!("preamble --xYz\r\n--xY\r\n{}--xYz--\r\nepilogue --xYz\r\n", part("name=a", "1"));
        assert_eq!(answer(&content), (200, "a||=1\n".to_owned()));
        assert_eq!(answer("--xYz--"), (200, String::new()));
    }

    #[test]
    fn a_part_that_is_not_read_is_passed_over() {
        let content = part("name=skip", "something") + &part("name=a", "1") + "--xYz--";
        assert_eq!(answer(&content), (200, "skip||=a||=1\n".to_owned()));
    }

    #[test]
    fn a_part_is_found_by_its_name() {
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("multipart/form-data; boundary=xYz"),
        )]);
        let content = part("name=a", "1") + &part("name=b", "2") + &part("name=c", "3") + "--xYz--";
        let told = |error: AppError| HttpError::answer_for::<varvel::Push>(&error, &Default::default());
        let mut form = Multipart::<Blocking>::new(&headers, ReadBody::from(content.clone()), SMALL).unwrap();
        assert_eq!(form.part_named("b").unwrap().text(10).unwrap(), "2");
        // It is not gone back for.
        let missing = told(form.part_named("a").map(drop).unwrap_err()).unwrap();
        assert_eq!(missing.status(), StatusCode::UNPROCESSABLE_ENTITY);

        let app = app_fn(move |_, _| {
            let mut form = Multipart::<Polled>::new(&headers, AsyncBody::from(content.clone()), SMALL);
            async move {
                let part = form.as_mut().unwrap().part_named("c").await?;
                Ok(Response::new(AsyncBody::from(part.text(10).await?)))
            }
        });
        assert_eq!(Client::new(app).get("/").send().text(), "3");
    }

    #[test]
    fn what_was_begun_by_read_is_ended_by_chunks() {
        let content = part("name=a", "0123456789") + &part("name=b", "x") + "--xYz--";
        let headers = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("multipart/form-data; boundary=xYz"),
        )]);
        let mut form = Multipart::<Blocking>::new(&headers, ReadBody::from(content), SMALL).unwrap();
        let mut first = form.next_part().unwrap().unwrap();
        let mut begin = [0; 4];
        first.read_exact(&mut begin).unwrap();
        assert_eq!((&begin, first.chunk().unwrap().unwrap().as_ref()), (b"0123", &b"456789"[..]));
        assert!(first.chunk().unwrap().is_none() && first.chunk().unwrap().is_none());
        let mut second = form.next_part().unwrap().unwrap();
        assert_eq!(second.read(&mut begin).unwrap(), 1);
        assert_eq!(second.text(10).unwrap(), "");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let head = "--xYz\r\nContent-Disposition: form-data; name=a\r\n\r\n";
        for content in [
            "".to_owned(),
            "--xYz".to_owned(),
            "--xYz\r\n".to_owned(),
            "no form".to_owned(),
            format!("{head}1"),
            format!("{head}1\r\n--xYz"),
            format!("{head}1\r\n--xYz-"),
            format!("{head}1\r\n--xYzw\r\n"),
            format!("{head}1\n--xYz--"),
            "--xYz\n".to_owned(),
            "--xYz\r\n\r\n1\r\n--xYz--".to_owned(),
            "--xYz\r\nContent-Disposition: form-data\r\n\r\n1\r\n--xYz--".to_owned(),
            "--xYz\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--xYz--".to_owned(),
            "--xYz\r\nno field\r\n\r\n1\r\n--xYz--".to_owned(),
            "--xYz\r\na b: c\r\n\r\n1\r\n--xYz--".to_owned(),
            "--xYz\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--xYz--".to_owned(),
        ] {
            assert_eq!(answer(&content).0, 400, "{content:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let parts = |count| part("name=a", "1").repeat(count) + "--xYz--";
        assert_eq!(answer(&parts(3)).0, 200);
        assert_eq!(answer(&parts(4)).0, 413);
        let data = |len| part("name=a", &"1".repeat(len)) + "--xYz--";
        assert_eq!(answer(&data(40)).0, 200);
        assert_eq!(answer(&data(41)).0, 413);
        let fields = |len| {
            format!("--xYz\r\nContent-Disposition: form-data; name=a{}\r\n\r\n\r\n--xYz--", " ".repeat(len))
        };
        assert_eq!(answer(&fields(60)).0, 200);
        assert_eq!(answer(&fields(61)).0, 413);
        assert_eq!(answer(&format!("--xYz\r\n{}", "a".repeat(900))).0, 413);
        assert_eq!(answer(&format!("--xYz{}", " ".repeat(900))).0, 400);
        assert_eq!(answer(&"a".repeat(1001)).0, 413);
    }

    #[test]
    fn a_total_without_a_declared_length_is_limited_as_well() {
        let mut parser = Parser::new("x", Limits { total_bytes: 10, ..SMALL });
        assert!(parser.take(Some(Frame::Data(Bytes::from_static(b"12345")))).is_ok());
        assert!(parser.take(Some(Frame::Data(Bytes::from_static(b"67890")))).is_ok());
        assert!(parser.take(Some(Frame::Data(Bytes::from_static(b"1")))).is_err());
    }

    #[test]
    fn where_there_is_no_limit_nothing_is_beyond_it() {
        let most = usize::MAX;
        let limits = Limits { total_bytes: u64::MAX, part_bytes: u64::MAX, parts: most, head_bytes: most };
        let mut parser = Parser::new("x", limits);
        parser.take(Some(Frame::Data(Bytes::from_static(b"--x\r\nunfinished: ")))).unwrap();
        assert!(matches!(parser.next(), Ok(Event::NeedMore)));
    }

    #[test]
    fn nothing_but_the_head_of_a_part_is_held() {
        let mut parser = Parser::new("xYz", Limits::default());
        let mut feed = |data: &'static [u8]| {
            parser.take(Some(Frame::Data(Bytes::from_static(data)))).unwrap();
            let mut given = 0;
            loop {
                match parser.next().unwrap() {
                    Event::NeedMore => return (given, parser.buffer.len()),
                    Event::Data(data) => given += data.len(),
                    _ => {}
                }
            }
        };
        const FRAME: &[u8] = &[b'a'; 1000];
        assert_eq!(feed(FRAME), (0, 0));
        assert_eq!(feed(b"\r\n--xYz\r\nContent-Disposition: form-data; name=a\r\n\r\n"), (0, 0));
        assert_eq!(feed(FRAME), (1000, 0));
        assert_eq!(feed(b"abc\r\n--x"), (3, 5));
        assert_eq!(feed(FRAME), (1005, 0));
    }

    #[test]
    fn another_media_type_is_told_apart() {
        let new = |media_type: &'static str| {
            let headers =
                HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(media_type))]);
            let form = Multipart::<Blocking>::new(&headers, ReadBody::empty(), SMALL);
            form.map_or_else(|error| error.status().as_u16(), |_| 200)
        };
        assert_eq!(new("multipart/form-data; boundary=x"), 200);
        assert_eq!(new("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), 200);
        assert_eq!(new("multipart/mixed; boundary=x"), 415);
        assert_eq!(new("text/plain"), 415);
        assert_eq!(new("multipart/form-data"), 400);
        assert_eq!(new("multipart/form-data; boundary="), 400);
        assert_eq!(new("multipart/form-data; boundary=x; Boundary=y"), 400);
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert_eq!(new(long.leak()), 400);
    }

    #[test]
    fn file_names_are_names_and_never_paths() {
        let file_name = |parameter: &str| {
            let names = Names::parse(format!("form-data; name=a; {parameter}").as_bytes()).unwrap();
            names.file_name.unwrap_or_default()
        };
        for (parameter, expected) in [
            ("filename=\"crab.png\"", "crab.png"),
            ("filename=crab.png", "crab.png"),
            ("filename = \"crab.png\" ; x=y", "crab.png"),
            ("FileName=\"crab; two.png\"", "crab; two.png"),
            ("filename=\"naïve \u{1F980}.png\"", "naïve \u{1F980}.png"),
            ("filename=\"a%22b%0D%0A.png\"", "a\"b.png"),
            (r#"filename="a\"b.png""#, "a\"b.png"),
            (r#"filename="100%.png""#, "100%.png"),
            ("filename=\"../../etc/passwd\"", "passwd"),
            ("filename=\"/etc/passwd\"", "passwd"),
            (r#"filename="C:\fakepath\crab.png""#, "crab.png"),
            (r#"filename="..\..\crab.png""#, "crab.png"),
            ("filename=\"..\"", "file"),
            ("filename=\"dir/\"", "file"),
            // Where no file was chosen.
            ("filename=\"\"", ""),
            ("filename=\" . \"", "file"),
            ("filename=\"a\0b\u{7f}.png\"", "ab.png"),
            ("filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
            ("filename=x; filename*=utf-8'en'..%2F%00y", "y"),
            ("filename=x; filename*=latin1''y", "x"),
        ] {
            assert_eq!(file_name(parameter), expected, "{parameter}");
        }
        assert_eq!(file_name(&format!("filename={}", "é".repeat(200))).len(), 254);
    }

    #[test]
    fn what_others_may_read_otherwise_is_refused() {
        for disposition in [
            "form-data; name=a; name=b",
            "form-data; name=a; filename=x; FileName=y",
            "form-data; name=a; filename=x; filename*=UTF-8''y; filename*=UTF-8''z",
            "form-data; name=\"unclosed",
            "form-data; name=\"unclosed\\",
            "form-data; name=\"unclosed\\\"",
            "form-data; name=a; filename=\"unclosed",
            "form-data",
            "attachment; name=a",
        ] {
            assert!(Names::parse(disposition.as_bytes()).is_none(), "{disposition}");
        }
        let names = |lines: &str| fields(lines.as_bytes()).map(|fields| Names::of(&fields).is_ok());
        let line = "content-disposition: form-data; name=a\r\n";
        assert_eq!(names(line), Some(true));
        assert_eq!(names(&line.repeat(2)), Some(false));
    }

    #[test]
    fn a_body_that_breaks_off_keeps_its_kind() {
        for client in [Client::sync(sync_fn(blocking)), Client::new(app_fn(polled))] {
            let request = client.post("/").header("content-type", "multipart/form-data; boundary=xYz");
            let mut exchange = request.streaming_exactly(500).start();
            exchange.send_data(part("name=a", "1"));
            exchange.end_sending();
            let answer = exchange.try_response();
            assert!(answer.is_err() || answer.unwrap().status() == 400);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_parsed_or_refused(
            pieces in proptest::collection::vec(
                "\r\n--x|\r\n--x--|--x\r\n|\r\n|-|content-disposition: form-data; name=a\r\n\r\n|[a-z\"=;]{0,9}",
                0..12,
            ),
        ) {
            let mut parser = Parser::new("x", Limits { total_bytes: 200, part_bytes: 20, parts: 3, head_bytes: 60 });
            let (mut parts, mut data) = (0, 0);
            for piece in pieces {
                if parser.take(Some(Frame::Data(piece.into()))).is_err() {
                    break;
                }
                let over = loop {
                    match parser.next() {
                        Err(_) | Ok(Event::End) => break true,
                        Ok(Event::NeedMore) => break false,
                        Ok(Event::Part(_)) => { parts += 1; data = 0 }
                        Ok(Event::Data(bytes)) => {
                            prop_assert!(!bytes.is_empty());
                            data += bytes.len();
                        }
                        Ok(Event::PartEnd) => {}
                    }
                };
                prop_assert!(parts <= 3 && data <= 20 && parser.buffer.len() <= 200);
                if over {
                    break;
                }
            }
        }

        #[test]
        fn no_disposition_makes_it_panic(text in "form-data;( ?(name|filename)\\*?=[a-z\"\\\\;%'/.]{0,12};?){0,3}") {
            if let Some(names) = Names::parse(text.as_bytes()) {
                let file_name = names.file_name.unwrap_or("file".to_owned());
                prop_assert!(!file_name.contains(['/', '\\']) && !matches!(&*file_name, "" | "." | ".."));
            }
        }
    }
}

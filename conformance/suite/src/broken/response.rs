//! The final head and the body of an answer: what the application gave, made into HTTP/1.

use std::{
    io::{Read, Seek, SeekFrom},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use varvel::{BodyError, BodyErrorKind, BodyParts, Caps, FileRegion, FrameSink, WriteBody};

use super::{
    Fault,
    exchange::Exchange,
    parser::{RequestHead, merged, trim_ows},
    wire::Stuck,
};

/// What the answer depends on of the request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    /// The client wants the connection closed, or cannot keep it.
    pub(super) close: bool,
    /// The client takes trailers.
    pub(super) takes_trailers: bool,
}

impl Asked {
    pub(super) fn new(head: &RequestHead, keeps_10: bool) -> Self {
        let is_10 = head.version < Version::HTTP_11;
        let keeps = !is_10 || keeps_10 || head.has_option("keep-alive");
        let takes_trailers = head
            .headers
            .get_all(header::TE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|coding| trim_ows(coding).eq_ignore_ascii_case(b"trailers"));
        Self {
            method: head.method.clone(),
            version: head.version,
            close: head.has_option("close") || !keeps,
            takes_trailers: takes_trailers && !is_10,
        }
    }
}

/// How the body of an answer is told from what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the head says.
    Absent,
    Length(u64),
    Chunked,
    Close,
}

/// The fields that are the server's (spec A3).
pub(super) fn is_of_the_connection(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
}

/// Whether a field cannot be a trailer (spec B18).
fn is_no_trailer(name: &HeaderName) -> bool {
    [header::CONTENT_LENGTH, header::HOST, header::TE, header::TRAILER].contains(name)
        || is_of_the_connection(name)
}

/// The head of an answer that is about to be sent.
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The connection closes after it.
    pub(super) close: bool,
}

impl AnswerHead {
    /// Decides on the framing of the application's answer, and makes its fields true.
    pub(super) fn decide(
        exchange: &Exchange,
        asked: &Asked,
        status: StatusCode,
        mut headers: HeaderMap,
        known_len: Option<u64>,
        close: bool,
    ) -> Self {
        let has = |fault| exchange.core.has(fault);
        let names_protocols = status == StatusCode::UPGRADE_REQUIRED && !has(Fault::UpgradeRequiredIsBare);
        let protocol = if names_protocols { headers.remove(header::UPGRADE) } else { None };
        if !has(Fault::SendsConnectionFields) {
            remove(exchange, &mut headers, is_of_the_connection, ("H5", has(Fault::RemovesSilently)));
        }
        if let Some(protocol) = protocol {
            headers.insert(header::UPGRADE, protocol);
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        let declared = declared_length(exchange, &mut headers);
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let is_head = asked.method == Method::HEAD;
        let mut framing = match declared.or(known_len) {
            Some(_) if has(Fault::ChunksEverything) && asked.version == Version::HTTP_11 => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None if asked.version == Version::HTTP_11 || has(Fault::ChunkedOn10) => Framing::Chunked,
            None => Framing::Close,
        };
        match framing {
            Framing::Length(_) if is_head && has(Fault::HeadSaysEmpty) => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            }
            Framing::Length(0) if declared.is_none() && has(Fault::EmptyWithoutLength) => {}
            Framing::Length(length) if declared.is_none() && !bodiless => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            Framing::Chunked if !bodiless => {
                headers.remove(header::CONTENT_LENGTH);
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            _ => {}
        }
        if status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
            if has(Fault::LengthWithNoContent) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            }
        }
        let absent =
            (bodiless && !has(Fault::BodilessStatusSendsBody)) || (is_head && !has(Fault::HeadSendsBody));
        let close = close || asked.close || (framing == Framing::Close && !bodiless);
        if absent {
            framing = Framing::Absent;
        }
        Self { status, headers, framing, close }
    }

    /// The head as it goes out.
    pub(super) fn write(mut self, exchange: &Exchange, asked: &Asked) -> Bytes {
        let has = |fault| exchange.core.has(fault);
        let is_10 = asked.version < Version::HTTP_11;
        if self.close && !has(Fault::ClosesUnannounced) {
            self.headers.append(header::CONNECTION, HeaderValue::from_static("close"));
        } else if is_10 && !self.close && !has(Fault::Keeps10AliveSilently) {
            self.headers.append(header::CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        add_date(&mut self.headers, has(Fault::NoDate), has(Fault::ReplacesDate));
        if has(Fault::MergesAnswerFields) {
            self.headers = merged(&self.headers);
        }
        write_head(self.status, &self.headers, has(Fault::MasksAnswerBytes))
    }
}

/// Adds Date where it is missing (spec H6).
pub(super) fn add_date(headers: &mut HeaderMap, never: bool, always: bool) {
    if never || (headers.contains_key(header::DATE) && !always) {
        return;
    }
    let date = http_date(SystemTime::now());
    headers.extend(HeaderValue::from_str(&date).ok().map(|date| (header::DATE, date)));
}

/// Status line and fields with the empty line behind them.
pub(super) fn write_head(status: StatusCode, headers: &HeaderMap, masks_bytes: bool) -> Bytes {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    write_fields(&mut head, headers, masks_bytes);
    head.extend_from_slice(b"\r\n");
    Bytes::from(head)
}

fn write_fields(head: &mut Vec<u8>, headers: &HeaderMap, masks_bytes: bool) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend(
            value.as_bytes().iter().map(|byte| if masks_bytes && !byte.is_ascii() { b'?' } else { *byte }),
        );
        head.extend_from_slice(b"\r\n");
    }
}

/// Removes fields that may not be where they are, and reports it.
fn remove(
    exchange: &Exchange,
    headers: &mut HeaderMap,
    unwanted: fn(&HeaderName) -> bool,
    (clause, silently): (&'static str, bool),
) {
    let names: Vec<_> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    if names.is_empty() {
        return;
    }
    names.iter().for_each(|name| drop(headers.remove(name)));
    if !silently {
        let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
        exchange.report_breach(clause, &format!("removed {}", names.join(", ")));
    }
}

/// The Content-Length of the application; one that is no number is removed (spec H4).
fn declared_length(exchange: &Exchange, headers: &mut HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let value = values.next()?;
    let number = match (values.next(), value.to_str()) {
        (None, Ok(text)) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    };
    if number.is_none() && !exchange.core.has(Fault::SendsOddLength) {
        headers.remove(header::CONTENT_LENGTH);
        exchange.report_breach("H4", "removed a Content-Length that is not one decimal number");
    }
    number
}

/// Where the application's body goes.
pub(super) struct Sink {
    exchange: Arc<Exchange>,
    framing: Framing,
    trailers_wanted: bool,
    /// What is left of a length.
    left: u64,
    exceeded: bool,
    trailers: HeaderMap,
    /// Why nothing more goes out.
    pub(super) stuck: Option<Stuck>,
    /// A fault has ended the answer early.
    ended: bool,
    /// What a fault holds back.
    held_back: Vec<u8>,
    /// The head, if a fault holds it back.
    head: Option<(StatusCode, Bytes)>,
}

impl Sink {
    pub(super) fn new(exchange: &Arc<Exchange>, asked: &Asked, framing: Framing) -> Self {
        let exchange = Arc::clone(exchange);
        let can = exchange.core.can(Caps::TRAILERS_OUT) && !exchange.core.has(Fault::DropsResponseTrailers);
        let can = can || exchange.core.has(Fault::MissingTrailersAreSent);
        let wanted = asked.takes_trailers || exchange.core.has(Fault::TrailersUnasked);
        Self {
            framing,
            trailers_wanted: can && wanted && framing == Framing::Chunked,
            left: if let Framing::Length(length) = framing { length } else { 0 },
            exceeded: false,
            trailers: HeaderMap::new(),
            stuck: None,
            ended: false,
            held_back: Vec::new(),
            head: None,
            exchange,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.exchange.core.has(fault)
    }

    /// Writes a body of any kind into it.
    pub(super) fn take_body(&mut self, body: WriteBody) -> Result<(), BodyError> {
        match body.into_parts() {
            BodyParts::File(region) => self.take_file(region),
            parts => WriteBody::from(parts).write_to(self),
        }
    }

    fn take_file(&mut self, mut region: FileRegion) -> Result<(), BodyError> {
        if self.has(Fault::MissingZerocopyFails) {
            return Err(BodyError::failed("files are not supported"));
        }
        if self.has(Fault::UsesFilePosition) {
            let mut file = &*region.file;
            file.seek(SeekFrom::Start(region.offset)).map_err(BodyError::failed)?;
            for _ in 0..region.len.div_ceil(1024) {
                let mut piece = Vec::new();
                file.take(1024).read_to_end(&mut piece).map_err(BodyError::failed)?;
                std::thread::yield_now();
                self.data(Bytes::from(piece))?;
            }
            return Ok(());
        }
        if self.has(Fault::IgnoresFileOffset) {
            region.offset = 0;
        }
        if self.has(Fault::IgnoresFileLength) {
            self.left = region.file.metadata().map_err(BodyError::failed)?.len() - region.offset;
            region.len = self.left;
        }
        let written = WriteBody::file(region).write_to(self);
        match written {
            Err(_) if self.left > 0 && self.has(Fault::PadsShortFiles) => {
                self.data(Bytes::from(vec![0; self.left as usize]))
            }
            written => written,
        }
    }

    /// Ends a body that came to its end. `false` if the client can tell that something is missing.
    pub(super) fn end(&mut self) -> bool {
        if self.exceeded && !self.has(Fault::CutsSilently) {
            self.exchange.report_breach("H4", "cut what exceeds the declared length");
        }
        if self.left > 0 && !self.ended {
            if !self.has(Fault::ShortGoesUnreported) {
                self.exchange.report_breach("H4", "broke off an answer that is shorter than declared");
            }
            return self.has(Fault::ShortAnswerKeepsConnection);
        }
        let held_back = std::mem::take(&mut self.held_back);
        let mut end = Vec::new();
        if self.framing == Framing::Chunked && !self.ended {
            end.extend_from_slice(b"0\r\n");
            write_fields(&mut end, &self.trailers, false);
            end.extend_from_slice(b"\r\n");
        }
        self.put(Bytes::from(held_back), true).is_ok() && self.put(Bytes::from(end), false).is_ok()
    }

    /// Keeps the head until there is something to go with it.
    pub(super) fn hold_back(&mut self, status: StatusCode, head: Bytes) -> Result<(), Stuck> {
        self.head = Some((status, head));
        if self.framing == Framing::Absent { self.let_head_go() } else { Ok(()) }
    }

    fn let_head_go(&mut self) -> Result<(), Stuck> {
        self.head.take().map_or(Ok(()), |(status, head)| self.exchange.put_head(status, head))
    }

    /// Ends a body that failed as if it had come to its end.
    pub(super) fn pretend_complete(&mut self) {
        let missing = std::mem::take(&mut self.left);
        let _ = self.put(Bytes::from(vec![b'0'; missing as usize]), true);
        self.end();
    }

    fn put(&mut self, bytes: Bytes, content: bool) -> Result<(), BodyError> {
        self.let_head_go().map_err(|stuck| self.is_stuck(stuck))?;
        self.exchange.wire.put(bytes, content).map_err(|stuck| self.is_stuck(stuck))
    }

    fn is_stuck(&mut self, stuck: Stuck) -> BodyError {
        self.stuck = Some(stuck);
        BodyError::new(if stuck == Stuck::TimedOut {
            BodyErrorKind::Timeout
        } else {
            BodyErrorKind::Disconnected
        })
    }
}

impl FrameSink for Sink {
    fn data(&mut self, mut chunk: Bytes) -> Result<(), BodyError> {
        if self.framing == Framing::Absent {
            return Ok(());
        }
        if let (Framing::Length(_), false) = (self.framing, self.has(Fault::SendsExcess)) {
            let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
            self.exceeded |= fits < chunk.len();
            chunk.truncate(fits);
        }
        self.left = self.left.saturating_sub(chunk.len() as u64);
        if self.has(Fault::SinkRefusesHalfClosed) && self.exchange.wire.is_gone(true) {
            return Err(self.is_stuck(Stuck::Gone));
        }
        let room = self.exchange.wire.wait_for_room();
        room.map_err(|stuck| self.is_stuck(stuck))?;
        // The probe's description of a request shall arrive, or no check would run.
        if self.has(Fault::AltersContent) && chunk.len() >= 4096 {
            chunk = Bytes::from(chunk.to_ascii_uppercase());
        }
        if chunk.is_empty() && self.framing == Framing::Chunked && self.has(Fault::EmptyFrameEnds) {
            self.ended = true;
            return self.put(Bytes::from_static(b"0\r\n\r\n"), false);
        }
        if chunk.is_empty() || self.ended {
            return Ok(());
        }
        if self.framing != Framing::Chunked {
            if self.has(Fault::HoldsFramesBack) {
                self.held_back.extend_from_slice(&chunk);
                return Ok(());
            }
            return self.put(chunk, true);
        }
        if self.has(Fault::HoldsFramesBack) {
            self.held_back.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            self.held_back.extend_from_slice(&chunk);
            self.held_back.extend_from_slice(b"\r\n");
            return Ok(());
        }
        self.put(Bytes::from(format!("{:x}\r\n", chunk.len())), false)?;
        self.put(chunk, true)?;
        self.put(Bytes::from_static(b"\r\n"), false)
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        let flushed = self.exchange.wire.flush();
        flushed.map_err(|stuck| self.is_stuck(stuck))
    }

    fn trailers(&mut self, mut trailers: HeaderMap) -> Result<(), BodyError> {
        if !self.has(Fault::SendsAnyTrailer) {
            let silently = self.has(Fault::RemovesTrailersSilently);
            remove(&self.exchange, &mut trailers, is_no_trailer, ("B18", silently));
        }
        if self.trailers_wanted {
            self.trailers = trailers;
        }
        Ok(())
    }
}

/// RFC 9110 section 5.6.7, in the preferred form.
fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut left) = (1970, day);
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let month_length = |month: usize| match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    while left >= month_length(month) {
        left -= month_length(month);
        month += 1;
    }
    format!(
        "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        DAYS[(day % 7) as usize],
        left + 1,
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |seconds| http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(1_798_761_599), "Thu, 31 Dec 2026 23:59:59 GMT");
    }
}

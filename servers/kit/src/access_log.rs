//! A line for each exchange, for operators and their tools.
//!
//! Whatever came from the client is escaped: a request cannot forge a line, break a field or send a terminal its
//! control codes.
//!
//! ```text
//! combined: 192.0.2.1 - - [21/Nov/2026:08:53:55 +0000] "GET /a?b HTTP/1.1" 200 13 "-" "curl/8.5.0" 153
//! json:     {"time":"2026-11-21T08:53:55Z","peer":"192.0.2.1:4711","method":"GET","target":"/a?b", ...}
//! ```

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::Version;
use varvel::Address;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache's and nginx's "combined" format, with the duration in microseconds as one more field at the end
    /// (Apache `%D`).
    Combined,
    /// A JSON object per line, keys always present and in this order: `time` (RFC 3339, UTC), `peer`, `method`,
    /// `target`, `version`, `status`, `bytes`, `referer`, `user_agent`, `duration_us`.
    Json,
}

/// What there is to tell about one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Who asked: the last hop.
    pub peer: &'a Address,
    /// When the head of the request was complete.
    pub time: SystemTime,
    /// As sent; empty if there was no request that could be read.
    pub method: &'a str,
    /// As sent.
    pub target: &'a [u8],
    /// As sent.
    pub version: Version,
    /// Of the final response.
    pub status: u16,
    /// Bytes of the response's body, without framing.
    pub bytes: u64,
    /// The `referer` field of the request.
    pub referer: Option<&'a [u8]>,
    /// The `user-agent` field of the request.
    pub user_agent: Option<&'a [u8]>,
    /// From `time` to the last byte of the response being handed to the kernel.
    pub duration: Duration,
}

impl Format {
    /// Appends the line for `entry`, with its newline.
    pub fn append(self, line: &mut Vec<u8>, entry: &Entry<'_>) {
        match self {
            Self::Combined => append_combined(line, entry),
            Self::Json => append_json(line, entry),
        }
    }
}

fn append_combined(line: &mut Vec<u8>, entry: &Entry<'_>) {
    let date = httpdate::fmt_http_date(entry.time);
    let [day, month, year, time] = date_parts(&date);
    match entry.peer.ip() {
        Some(addr) => push(line, format_args!("{}", addr.ip())),
        None => line.extend_from_slice(b"unix:"),
    }
    push(line, format_args!(" - - [{day}/{month}/{year}:{time} +0000] \""));
    if entry.method.is_empty() {
        line.push(b'-');
    } else {
        push_quotable(line, entry.method.as_bytes());
        line.push(b' ');
        push_quotable(line, entry.target);
        push(line, format_args!(" {:?}", entry.version));
    }
    push(line, format_args!("\" {} {} \"", entry.status, entry.bytes));
    push_quotable(line, entry.referer.unwrap_or(b"-"));
    line.extend_from_slice(b"\" \"");
    push_quotable(line, entry.user_agent.unwrap_or(b"-"));
    push(line, format_args!("\" {}\n", entry.duration.as_micros()));
}

fn append_json(line: &mut Vec<u8>, entry: &Entry<'_>) {
    let date = httpdate::fmt_http_date(entry.time);
    let [day, month, year, time] = date_parts(&date);
    let month = 1 + MONTHS.iter().position(|name| *name == month).unwrap_or(0);
    push(line, format_args!("{{\"time\":\"{year}-{month:02}-{day}T{time}Z\",\"peer\":\"{}\"", entry.peer));
    push_json(line, "method", Some(entry.method.as_bytes()));
    push_json(line, "target", Some(entry.target));
    push(line, format_args!(",\"version\":\"{:?}\"", entry.version));
    push(line, format_args!(",\"status\":{},\"bytes\":{}", entry.status, entry.bytes));
    push_json(line, "referer", entry.referer);
    push_json(line, "user_agent", entry.user_agent);
    push(line, format_args!(",\"duration_us\":{}}}\n", entry.duration.as_micros()));
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Day, month, year and time of `Sat, 21 Nov 2026 08:53:55 GMT`.
fn date_parts(date: &str) -> [&str; 4] {
    [&date[5..7], &date[8..11], &date[12..16], &date[17..25]]
}

fn push(line: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = line.write_fmt(text); // A Vec takes everything.
}

/// As nginx: quotes, backslashes and all that is not printable ASCII become `\xHH`.
fn push_quotable(line: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => push(line, format_args!("\\x{byte:02X}")),
            _ => line.push(byte),
        }
    }
}

/// A member of an object, after another. Bytes that are no UTF-8 become U+FFFD.
fn push_json(line: &mut Vec<u8>, key: &str, value: Option<&[u8]>) {
    push(line, format_args!(",\"{key}\":"));
    let Some(value) = value else {
        return line.extend_from_slice(b"null");
    };
    line.push(b'"');
    for character in String::from_utf8_lossy(value).chars() {
        match character {
            '"' | '\\' => push(line, format_args!("\\{character}")),
            // U+0080 to U+009F as well: some terminals obey them.
            _ if character.is_control() => push(line, format_args!("\\u{:04x}", character as u32)),
            _ => push(line, format_args!("{character}")),
        }
    }
    line.push(b'"');
}

/// Writes entries as lines to wherever the log goes. Shared by all threads of a server.
///
/// Lines are gathered and written in large pieces: when many have come, when an entry comes a second after the
/// last piece, and on [`flush`](Self::flush), which a loop calls before it waits. Lines are never split.
/// A log that cannot be written is no reason to stop serving: errors of the writer are ignored.
pub struct AccessLog {
    format: Format,
    pending: Mutex<Pending>,
}

struct Pending {
    lines: Vec<u8>,
    /// The time of the first entry in `lines`.
    since: SystemTime,
    out: Box<dyn Write + Send>,
}

/// Gathered lines are written when there are this many bytes of them.
const PIECE_BYTES: usize = 32 * 1024;

/// Gathered lines are written when the next entry comes this long after the first of them.
const PIECE_TIME: Duration = Duration::from_secs(1);

impl AccessLog {
    /// A log in this format to this writer, which needs no buffer of its own.
    pub fn new(format: Format, out: impl Write + Send + 'static) -> Self {
        let pending = Pending { lines: Vec::new(), since: SystemTime::UNIX_EPOCH, out: Box::new(out) };
        Self { format, pending: Mutex::new(pending) }
    }

    /// Takes the line for `entry`.
    pub fn record(&self, entry: &Entry<'_>) {
        let mut pending = self.lock();
        if pending.lines.is_empty() {
            pending.since = entry.time;
        }
        self.format.append(&mut pending.lines, entry);
        // A clock that was set back must not hold lines up: an error counts as long ago.
        let age = entry.time.duration_since(pending.since).unwrap_or(PIECE_TIME);
        if pending.lines.len() >= PIECE_BYTES || age >= PIECE_TIME {
            pending.write();
        }
    }

    /// Writes what was gathered.
    pub fn flush(&self) {
        self.lock().write();
    }

    /// A writer that panicked can lose lines, nothing worse.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn write(&mut self) {
        if !self.lines.is_empty() {
            let _ = self.out.write_all(&self.lines).and_then(|()| self.out.flush());
            self.lines.clear();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
    use std::sync::Arc;

    use super::*;

    static PEER: Address = Address::Ip(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4711)));

    fn entry() -> Entry<'static> {
        Entry {
            peer: &PEER,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_235),
            method: "GET",
            target: b"/a?b",
            version: Version::HTTP_11,
            status: 200,
            bytes: 13,
            referer: None,
            user_agent: Some(b"curl/8.5.0"),
            duration: Duration::from_nanos(153_999),
        }
    }

    fn line(format: Format, entry: Entry<'_>) -> String {
        let mut line = Vec::new();
        format.append(&mut line, &entry);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_combined_line() {
        assert_eq!(
            line(Format::Combined, entry()),
            "192.0.2.1 - - [21/Nov/2026:08:53:55 +0000] \"GET /a?b HTTP/1.1\" 200 13 \"-\" \"curl/8.5.0\" 153\n"
        );
    }

    #[test]
    fn a_json_line() {
        assert_eq!(
            line(Format::Json, entry()),
            "{\"time\":\"2026-11-21T08:53:55Z\",\"peer\":\"192.0.2.1:4711\",\"method\":\"GET\",\"target\":\"/a?b\",\
             \"version\":\"HTTP/1.1\",\"status\":200,\"bytes\":13,\"referer\":null,\"user_agent\":\"curl/8.5.0\",\
             \"duration_us\":153}\n"
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_and_a_local_peer() {
        let entry = Entry { peer: &Address::Unnamed, method: "", target: b"", status: 400, ..entry() };
        assert!(line(Format::Combined, entry).starts_with("unix: - - ["));
        assert!(line(Format::Combined, entry).contains("] \"-\" 400 "));
        assert!(line(Format::Json, entry).contains("\"peer\":\"unix:\",\"method\":\"\",\"target\":\"\","));
    }

    #[test]
    fn clients_cannot_forge_lines_or_fields() {
        let evil = b"x\" 200 1\r\n10.0.0.1 - - \\ \t\x00\x1b[2J\x7f\xc2\x9b\xff";
        let entry = Entry { target: evil, referer: Some(evil), user_agent: Some(evil), ..entry() };

        let combined = line(Format::Combined, entry);
        assert_eq!(combined.matches('\n').count(), 1);
        assert_eq!(combined.matches('"').count(), 6);
        assert!(combined.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert!(
            combined
                .contains("x\\x22 200 1\\x0D\\x0A10.0.0.1 - - \\x5C \\x09\\x00\\x1B[2J\\x7F\\xC2\\x9B\\xFF")
        );

        let json = line(Format::Json, entry);
        assert_eq!(json.matches('\n').count(), 1);
        assert!(!json.trim_end().chars().any(char::is_control));
        assert!(json.contains(
            "\"x\\\" 200 1\\u000d\\u000a10.0.0.1 - - \\\\ \\u0009\\u0000\\u001b[2J\\u007f\\u009b\u{fffd}\""
        ));
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn pieces(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    #[test]
    fn lines_are_gathered_and_none_is_lost_or_split() {
        let sink = Sink::default();
        let log = AccessLog::new(Format::Combined, sink.clone());
        for _ in 0..1000 {
            log.record(&entry());
        }
        assert!((2..5).contains(&sink.pieces()), "{}", sink.pieces());
        drop(log);
        let expected = line(Format::Combined, entry());
        for piece in sink.0.lock().unwrap().iter() {
            assert!(piece.ends_with(b"\n"));
        }
        assert_eq!(sink.0.lock().unwrap().concat(), expected.repeat(1000).into_bytes());
    }

    #[test]
    fn lines_do_not_wait_longer_than_a_second_while_others_come() {
        let sink = Sink::default();
        let log = AccessLog::new(Format::Json, sink.clone());
        let at = |millis| Entry { time: entry().time + Duration::from_millis(millis), ..entry() };
        log.record(&at(0));
        log.record(&at(999));
        assert_eq!(sink.pieces(), 0);
        log.record(&at(1000));
        assert_eq!(sink.pieces(), 1);
        log.record(&at(5000));
        assert_eq!(sink.pieces(), 1, "a second counts from the first line that waits");
        log.flush();
        assert_eq!(sink.pieces(), 2);
        log.flush();
        assert_eq!(sink.pieces(), 2, "nothing is written for nothing");
        log.record(&at(5000));
        log.record(&at(10));
        assert_eq!(sink.pieces(), 3, "a clock that was set back holds nothing up");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_trouble() {
        let log = AccessLog::new(Format::Combined, io::Cursor::new([0; 10]));
        for _ in 0..1000 {
            log.record(&entry());
        }
        log.flush();
        assert!(log.lock().lines.is_empty());
    }
}

//! The `date` line of responses as ready bytes, formatted once a second and not once a response.
//!
//! ```
//! # use varvel_server_kit::http_date::DateLine;
//! let mut date = DateLine::new();
//! // Once per wake-up of the loop, or per request on a blocking thread:
//! date.refresh();
//! assert!(date.as_bytes().starts_with(b"date: "));
//! assert!(date.as_bytes().ends_with(b" GMT\r\n"));
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

const LINE_BYTES: usize = b"date: Sat, 21 Nov 2026 08:53:55 GMT\r\n".len();

/// `date: Sat, 21 Nov 2026 08:53:55 GMT\r\n` (RFC 9110 section 6.6.1), kept up to date by its owner.
///
/// One per thread; there is nothing to share and so nothing to lock.
#[derive(Clone, Debug)]
pub struct DateLine {
    line: [u8; LINE_BYTES],
    /// The second that `line` tells, counted from 1970.
    second: u64,
}

impl DateLine {
    /// The line for now.
    pub fn new() -> Self {
        let mut date = Self { line: [0; LINE_BYTES], second: 0 };
        date.format(coarse_second());
        date
    }

    /// Formats the line anew if the second has changed. Costs a few nanoseconds if not: the coarse clock is read
    /// without a system call and without asking the hardware; it lags by at most one timer tick (1 to 10 ms).
    #[inline]
    pub fn refresh(&mut self) {
        let second = coarse_second();
        if second != self.second {
            self.format(second);
        }
    }

    /// As [`refresh`](Self::refresh), for callers who have the time at hand.
    pub fn refresh_at(&mut self, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.format(second);
        }
    }

    /// The whole header line, CRLF included.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.line
    }

    #[cold]
    fn format(&mut self, second: u64) {
        // A clock set beyond the year 9999 cannot be told in this format.
        const LAST_SECOND: u64 = 253_402_300_799;
        let time = UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
        self.line[..6].copy_from_slice(b"date: ");
        self.line[6..LINE_BYTES - 2].copy_from_slice(httpdate::fmt_http_date(time).as_bytes());
        self.line[LINE_BYTES - 2..].copy_from_slice(b"\r\n");
        self.second = second;
    }
}

impl Default for DateLine {
    fn default() -> Self {
        Self::new()
    }
}

fn coarse_second() -> u64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_follows_the_clock_forwards_and_backwards() {
        let mut date = DateLine::new();
        let at = |seconds| UNIX_EPOCH + Duration::from_millis(seconds);
        date.refresh_at(at(1_795_251_235_000));
        assert_eq!(date.as_bytes(), b"date: Sat, 21 Nov 2026 08:53:55 GMT\r\n");
        date.refresh_at(at(1_795_251_235_999));
        assert_eq!(date.as_bytes(), b"date: Sat, 21 Nov 2026 08:53:55 GMT\r\n");
        date.refresh_at(at(1_795_251_236_000));
        assert_eq!(date.as_bytes(), b"date: Sat, 21 Nov 2026 08:53:56 GMT\r\n");
        date.refresh_at(at(784_111_777_000));
        assert_eq!(date.as_bytes(), b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    }

    #[test]
    fn a_refreshed_line_tells_the_present() {
        let mut date = DateLine::new();
        date.refresh_at(UNIX_EPOCH);
        let before = SystemTime::now() - Duration::from_secs(2);
        date.refresh();
        let line = std::str::from_utf8(date.as_bytes()).unwrap();
        let told = httpdate::parse_http_date(&line[6..LINE_BYTES - 2]).unwrap();
        assert!(before <= told && told <= SystemTime::now(), "{line}");
    }

    #[test]
    fn clocks_out_of_range_neither_panic_nor_break_the_line() {
        let mut date = DateLine::new();
        date.refresh_at(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(date.as_bytes(), b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        date.refresh_at(UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert_eq!(date.as_bytes(), b"date: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    }
}

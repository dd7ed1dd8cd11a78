//! Lines for operators, on standard error.

use std::{
    env, fmt,
    fs::File,
    io::{self, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    process,
    time::{Duration, SystemTime},
};

use crate::{Report, Reporter};

/// Writes each report as one line to standard error, behind the time and the number of the process:
///
/// ```text
/// 2026-11-22T08:53:55.042Z [4711] error: application failed (Internal): no disk [GET /a connection 7 exchange 1]
/// ```
///
/// To systemd's journal, which has both of its own, the line goes without them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Stderr {
    /// Writes a line of another kind, as a report is written. It must not contain the end of one.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        let line = match is_journal() {
            true => format!("{line}\n"),
            false => format!("{} [{}] {line}\n", Utc(SystemTime::now()), process::id()),
        };
        // One write, so that lines of several threads do not mix; a closed standard error is nobody's business.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl Reporter for Stderr {
    fn report(&self, report: &Report<'_>) {
        self.line(format_args!("{report}"));
    }
}

/// Whether standard error is what systemd has connected to its journal, and nobody has put a file in its place since.
fn is_journal() -> bool {
    // Device and inode: systemd.exec(5).
    let Ok(journal) = env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().and_then(|stderr| File::from(stderr).metadata());
    stderr.is_ok_and(|stderr| journal == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// A moment as of RFC 3339, in UTC.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is wrong anyway.
        let passed = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (seconds, milliseconds) = (passed.as_secs(), passed.subsec_millis());
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
    }
}

/// The date so many days after the first of January 1970, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    // The calendar repeats itself every 400 years.
    year += 400 * (days / 146_097);
    days %= 146_097;
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    loop {
        let of_year = 365 + u64::from(is_leap(year));
        if days < of_year {
            break;
        }
        days -= of_year;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < of_month {
            break;
        }
        days -= of_month;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_a_clock_in_utc() {
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_795_337_635_042, "2026-11-22T08:53:55.042Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (13_574_563_200_000, "2400-02-29T00:00:00.000Z"),
        ] {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
            assert_eq!(Utc(moment).to_string(), expected);
        }
    }
}

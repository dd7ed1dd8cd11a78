//! How values of settings are written: one kind for each way of reading a text.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::access_log::Format;
use crate::listener::BindAddress;

/// What the values of a setting look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A span of time.
    Time,
    /// A number of bytes.
    Bytes,
    /// A number of something.
    Count,
    /// `on` or `off`.
    Switch,
    /// Addresses to listen at, separated by commas.
    Addresses,
    /// Permission bits in octal.
    FileMode,
    /// A format of the access log, or `off`.
    LogFormat,
    /// A path of a file.
    Path,
    /// Name or number of a user or a group.
    Name,
}

/// A text that is no value of its setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError(String);

/// A way to read and write values.
pub(super) trait Kind {
    type Value;
    const UNIT: Unit;

    fn parse(text: &str) -> Result<Self::Value, ValueError>;
    /// A text that `parse` reads as the same value.
    fn show(value: &Self::Value) -> String;
}

/// A span of time, 0 included.
pub(super) struct Time;
/// A bound on time: not 0, which some take for "no limit" and some for "no time at all". `off` is
/// [`Duration::MAX`].
pub(super) struct Timeout;
/// A number of bytes, at least 1.
pub(super) struct Bytes;
/// A number of bytes, at least 1, in 32 bits.
pub(super) struct Bytes32;
/// A bound on bytes, or `off`.
pub(super) struct BytesLimit;
/// A number.
pub(super) struct Count;
/// A number, at least 1.
pub(super) struct Positive;
/// A bound on a number. `off` and `0` are no bound.
pub(super) struct CountLimit;
/// A number, at least 1, or `auto`.
pub(super) struct AutoCount;
/// `on` or `off`.
pub(super) struct Switch;
/// Addresses separated by commas.
pub(super) struct Addresses;
/// Permission bits in octal, or `umask`.
pub(super) struct FileMode;
/// A format of the access log, or `off`.
pub(super) struct LogFormat;

/// A path, or `off`.
pub(super) struct OptionalPath;
/// A path, or `-` for the standard stream.
pub(super) struct LogTarget;
/// Name or number of a user or a group, or `off`.
pub(super) struct Name;

/// Longer spans are taken for mistakes, and sums with the present never overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const BYTE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Kind for Time {
    type Value = Duration;
    const UNIT: Unit = Unit::Time;

    fn parse(text: &str) -> Result<Duration, ValueError> {
        let wrong = || ValueError::new(text, "no time: write a number with ms, s, m, h or d, as in 1m30s");
        if let Some(seconds) = number(text) {
            return within_a_year(text, Duration::from_secs(seconds));
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (amount, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
            let unit = after.get(..letters).ok_or_else(wrong)?;
            let &(_, millis) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            // From large to small and each once: `30s1m` is more likely a slip than meant.
            if millis >= smallest {
                return Err(wrong());
            }
            smallest = millis;
            let amount = number(amount).ok_or_else(wrong)?;
            total = total.saturating_add(Duration::from_millis(amount.saturating_mul(millis)));
            rest = &after[letters..];
        }
        if text.is_empty() { Err(wrong()) } else { within_a_year(text, total) }
    }

    fn show(value: &Duration) -> String {
        let mut left = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, millis) in TIME_UNITS {
            if left >= millis {
                text += &format!("{}{unit}", left / millis);
                left %= millis;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

fn within_a_year(text: &str, time: Duration) -> Result<Duration, ValueError> {
    if time <= LONGEST { Ok(time) } else { Err(ValueError::new(text, "too long: at most 365d")) }
}

impl Kind for Timeout {
    type Value = Duration;
    const UNIT: Unit = Unit::Time;

    fn parse(text: &str) -> Result<Duration, ValueError> {
        match text {
            "off" => Ok(Duration::MAX),
            text => match Time::parse(text)? {
                Duration::ZERO => Err(ValueError::new(text, "no time at all: write `off` for no limit")),
                time => Ok(time),
            },
        }
    }

    fn show(value: &Duration) -> String {
        if *value == Duration::MAX { "off".to_owned() } else { Time::show(value) }
    }
}

impl Kind for Bytes {
    type Value = u64;
    const UNIT: Unit = Unit::Bytes;

    fn parse(text: &str) -> Result<u64, ValueError> {
        match bytes(text)? {
            0 => Err(ValueError::new(text, "too small: at least 1")),
            bytes => Ok(bytes),
        }
    }

    fn show(value: &u64) -> String {
        match BYTE_UNITS.iter().find(|(_, size)| *value >= *size && *value % size == 0) {
            Some((unit, size)) => format!("{}{unit}", value / size),
            None => value.to_string(),
        }
    }
}

/// `64k` is 65,536 as in nginx and Apache. `64kB` would be 64,000 to some readers, so it is refused.
fn bytes(text: &str) -> Result<u64, ValueError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let shift = match unit {
        "" => Some(0),
        "k" | "K" | "KiB" => Some(10),
        "m" | "M" | "MiB" => Some(20),
        "g" | "G" | "GiB" => Some(30),
        _ => None,
    };
    match (number(amount), shift) {
        (Some(amount), Some(shift)) => {
            amount.checked_mul(1 << shift).ok_or_else(|| ValueError::new(text, "too large"))
        }
        _ => Err(ValueError::new(
            text,
            "no size: write a number of bytes or one with KiB, MiB or GiB, as in 64KiB",
        )),
    }
}

impl Kind for Bytes32 {
    type Value = u32;
    const UNIT: Unit = Unit::Bytes;

    fn parse(text: &str) -> Result<u32, ValueError> {
        Bytes::parse(text)?.try_into().map_err(|_| ValueError::new(text, "too large: less than 4GiB"))
    }

    fn show(value: &u32) -> String {
        Bytes::show(&u64::from(*value))
    }
}

impl Kind for BytesLimit {
    type Value = Option<u64>;
    const UNIT: Unit = Unit::Bytes;

    fn parse(text: &str) -> Result<Option<u64>, ValueError> {
        if text == "off" { Ok(None) } else { bytes(text).map(Some) }
    }

    fn show(value: &Option<u64>) -> String {
        value.as_ref().map_or("off".to_owned(), Bytes::show)
    }
}

impl Kind for Count {
    type Value = u32;
    const UNIT: Unit = Unit::Count;

    fn parse(text: &str) -> Result<u32, ValueError> {
        number(text)
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| ValueError::new(text, "no number from 0 to 4294967295"))
    }

    fn show(value: &u32) -> String {
        value.to_string()
    }
}

impl Kind for Positive {
    type Value = u32;
    const UNIT: Unit = Unit::Count;

    fn parse(text: &str) -> Result<u32, ValueError> {
        match Count::parse(text) {
            Ok(0) => Err(ValueError::new(text, "too small: at least 1")),
            Ok(count) => Ok(count),
            Err(_) => Err(ValueError::new(text, "no number from 1 to 4294967295")),
        }
    }

    fn show(value: &u32) -> String {
        value.to_string()
    }
}

impl Kind for CountLimit {
    type Value = Option<u32>;
    const UNIT: Unit = Unit::Count;

    fn parse(text: &str) -> Result<Option<u32>, ValueError> {
        if text == "off" { Ok(None) } else { Ok(Some(Count::parse(text)?).filter(|count| *count > 0)) }
    }

    fn show(value: &Option<u32>) -> String {
        value.map_or("off".to_owned(), |count| count.to_string())
    }
}

impl Kind for AutoCount {
    type Value = Option<u32>;
    const UNIT: Unit = Unit::Count;

    fn parse(text: &str) -> Result<Option<u32>, ValueError> {
        if text == "auto" { Ok(None) } else { Positive::parse(text).map(Some) }
    }

    fn show(value: &Option<u32>) -> String {
        value.map_or("auto".to_owned(), |count| count.to_string())
    }
}

impl Kind for Switch {
    type Value = bool;
    const UNIT: Unit = Unit::Switch;

    fn parse(text: &str) -> Result<bool, ValueError> {
        match text {
            "on" | "true" | "yes" | "1" => Ok(true),
            "off" | "false" | "no" | "0" => Ok(false),
            _ => Err(ValueError::new(text, "neither `on` nor `off`")),
        }
    }

    fn show(value: &bool) -> String {
        if *value { "on" } else { "off" }.to_owned()
    }
}

impl Kind for Addresses {
    type Value = Vec<BindAddress>;
    const UNIT: Unit = Unit::Addresses;

    fn parse(text: &str) -> Result<Vec<BindAddress>, ValueError> {
        let addresses = text.split(',').map(|text| text.trim().parse::<BindAddress>());
        addresses.collect::<Result<_, _>>().map_err(|error| ValueError(error.to_string()))
    }

    fn show(value: &Vec<BindAddress>) -> String {
        value.iter().map(BindAddress::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Kind for FileMode {
    type Value = Option<u32>;
    const UNIT: Unit = Unit::FileMode;

    fn parse(text: &str) -> Result<Option<u32>, ValueError> {
        if text == "umask" {
            return Ok(None);
        }
        let octal = text.strip_prefix("0o").unwrap_or(text);
        let digits = octal.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(octal, 8) {
            Ok(mode) if digits && mode <= 0o777 => Ok(Some(mode)),
            _ => Err(ValueError::new(text, "no file mode: write three octal digits as in 660, or `umask`")),
        }
    }

    fn show(value: &Option<u32>) -> String {
        value.map_or("umask".to_owned(), |mode| format!("{mode:04o}"))
    }
}

impl Kind for LogFormat {
    type Value = Option<Format>;
    const UNIT: Unit = Unit::LogFormat;

    fn parse(text: &str) -> Result<Option<Format>, ValueError> {
        match text {
            "off" => Ok(None),
            "combined" => Ok(Some(Format::Combined)),
            "json" => Ok(Some(Format::Json)),
            _ => Err(ValueError::new(text, "no log format: write `off`, `combined` or `json`")),
        }
    }

    fn show(value: &Option<Format>) -> String {
        match value {
            None => "off",
            Some(Format::Combined) => "combined",
            Some(Format::Json) => "json",
        }
        .to_owned()
    }
}

impl Kind for OptionalPath {
    type Value = Option<PathBuf>;
    const UNIT: Unit = Unit::Path;

    fn parse(text: &str) -> Result<Option<PathBuf>, ValueError> {
        if text == "off" { Ok(None) } else { path(text).map(Some) }
    }

    fn show(value: &Option<PathBuf>) -> String {
        value.as_ref().map_or("off".to_owned(), |path| path.display().to_string())
    }
}

impl Kind for LogTarget {
    type Value = Option<PathBuf>;
    const UNIT: Unit = Unit::Path;

    fn parse(text: &str) -> Result<Option<PathBuf>, ValueError> {
        if text == "-" { Ok(None) } else { path(text).map(Some) }
    }

    fn show(value: &Option<PathBuf>) -> String {
        value.as_ref().map_or("-".to_owned(), |path| path.display().to_string())
    }
}

fn path(text: &str) -> Result<PathBuf, ValueError> {
    let names_a_file = !text.is_empty() && !text.ends_with('/') && !text.contains('\0');
    names_a_file.then(|| text.into()).ok_or_else(|| ValueError::new(text, "no path of a file"))
}

impl Kind for Name {
    type Value = Option<String>;
    const UNIT: Unit = Unit::Name;

    fn parse(text: &str) -> Result<Option<String>, ValueError> {
        match text {
            "off" => Ok(None),
            "" => Err(ValueError::new(text, "no name")),
            _ if text.contains([':', '/']) || text.contains(char::is_whitespace) => {
                Err(ValueError::new(text, "no name: write one as in /etc/passwd or /etc/group, or a number"))
            }
            _ => Ok(Some(text.to_owned())),
        }
    }

    fn show(value: &Option<String>) -> String {
        value.clone().unwrap_or_else(|| "off".to_owned())
    }
}

/// Digits alone: `str::parse` would take `+5`, too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl ValueError {
    fn new(text: &str, problem: &str) -> Self {
        Self(format!("`{}` is {problem}", text.escape_debug()))
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ValueError {}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Switch => "switch",
            Self::Addresses => "addresses",
            Self::FileMode => "file mode",
            Self::LogFormat => "log format",
            Self::Path => "path",
            Self::Name => "name",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text is read as the value, and the value is shown as the last of the texts.
    fn check<K: Kind<Value: PartialEq + fmt::Debug>>(value: K::Value, texts: &[&str]) {
        for text in texts {
            assert_eq!(K::parse(text).as_ref(), Ok(&value), "{text}");
        }
        assert_eq!(K::show(&value), texts[texts.len() - 1]);
    }

    fn refused<K: Kind<Value: fmt::Debug>>(advice: &str, texts: &[&str]) {
        for text in texts {
            let error = K::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn times() {
        check::<Time>(Duration::from_secs(5), &["5", "5000ms", "5s"]);
        check::<Time>(Duration::from_millis(250), &["250ms"]);
        check::<Time>(Duration::from_secs(90), &["90", "90s", "1m30s"]);
        check::<Time>(Duration::from_millis(93_784_005), &["1d2h3m4s5ms"]);
        check::<Time>(Duration::ZERO, &["0", "0ms", "0s"]);
        refused::<Time>(
            "no time",
            &["", "s", "-5s", "+5s", "5 s", "1.5s", "5x", "5sec", "30s1m", "5s5s", "5s5", "5é"],
        );
        refused::<Time>("too long", &["366d", "99999999999", "18446744073709551615d"]);
        refused::<Time>("no time", &["off", "99999999999999999999"]);
    }

    #[test]
    fn time_outs() {
        check::<Timeout>(Duration::from_secs(30), &["30", "30s"]);
        check::<Timeout>(Duration::MAX, &["off"]);
        refused::<Timeout>("write `off` for no limit", &["0", "0s"]);
    }

    #[test]
    fn sizes() {
        check::<Bytes>(65_536, &["65536", "64k", "64K", "64KiB"]);
        check::<Bytes>(1 << 20, &["1m", "1024KiB", "1MiB"]);
        check::<Bytes>(3 << 30, &["3g", "3GiB"]);
        check::<Bytes>(65_537, &["65537"]);
        check::<BytesLimit>(None, &["off"]);
        check::<BytesLimit>(Some(0), &["0"]);
        refused::<Bytes>("no size", &["", "k", "64kB", "64KB", "64 KiB", "-1", "+1", "1.5m", "off"]);
        refused::<Bytes>("too large", &["99999999999GiB"]);
        refused::<Bytes>("at least 1", &["0", "0k"]);
        refused::<Bytes32>("too large", &["4GiB"]);
    }

    #[test]
    fn counts() {
        check::<Count>(0, &["0"]);
        check::<Positive>(100, &["0100", "100"]);
        check::<CountLimit>(None, &["0", "off"]);
        check::<CountLimit>(Some(7), &["7"]);
        check::<AutoCount>(None, &["auto"]);
        check::<AutoCount>(Some(2), &["2"]);
        refused::<Count>("no number", &["", "-1", "+1", "4294967296", "1e3", "ten"]);
        refused::<Positive>("at least 1", &["0"]);
        refused::<AutoCount>("at least 1", &["0"]);
    }

    #[test]
    fn switches_modes_and_formats() {
        check::<Switch>(true, &["true", "yes", "1", "on"]);
        check::<Switch>(false, &["false", "no", "0", "off"]);
        refused::<Switch>("neither", &["", "ON", "maybe"]);
        check::<FileMode>(Some(0o660), &["660", "0o660", "0660"]);
        check::<FileMode>(None, &["umask"]);
        refused::<FileMode>("no file mode", &["", "888", "1777", "+660", "rw-rw----"]);
        check::<LogFormat>(Some(Format::Combined), &["combined"]);
        refused::<LogFormat>("no log format", &["common"]);
    }

    #[test]
    fn paths_and_names() {
        check::<OptionalPath>(Some("/run/shop.pid".into()), &["/run/shop.pid"]);
        check::<OptionalPath>(None, &["off"]);
        check::<LogTarget>(Some("a b.log".into()), &["a b.log"]);
        check::<LogTarget>(None, &["-"]);
        refused::<OptionalPath>("no path", &["", "/run/", "a\0b"]);
        check::<Name>(Some("www-data".into()), &["www-data"]);
        check::<Name>(Some("65534".into()), &["65534"]);
        check::<Name>(None, &["off"]);
        refused::<Name>("no name", &["", "a b", "www:www"]);
    }

    #[test]
    fn addresses() {
        let addresses = [":80", "unix:/run/a.sock", "fd:3"].map(|text| text.parse().unwrap());
        check::<Addresses>(addresses.into(), &[":80, unix:/run/a.sock ,fd:3", ":80,unix:/run/a.sock,fd:3"]);
        refused::<Addresses>("write :PORT", &["", ":80,", "80"]);
    }
}

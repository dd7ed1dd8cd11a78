//! The settings of all servers: each defined once, in `settings/definitions.rs`, with its text.
//!
//! A setting is a typed field of [`Settings`] for programs, and a name with a text for operators. Command lines,
//! environments and files all come through [`Settings::set`]; help and reference are made from [`describe`].
//!
//! ```
//! # use std::time::Duration;
//! # use varvel_server_kit::settings::Settings;
//! let mut settings = Settings::default();
//! settings.set("head-timeout", "1m30s")?;
//! assert_eq!(settings.head_timeout, Duration::from_secs(90));
//! let error = settings.set("head-timeout", "soon").unwrap_err();
//! assert_eq!(error.to_string(), "head-timeout: `soon` is no time: write a number with ms, s, m, h or d, as in 1m30s");
//! # Ok::<_, varvel_server_kit::settings::SettingError>(())
//! ```
//!
//! # How values are written
//!
//! | unit | examples |
//! |---|---|
//! | time | `30s`, `250ms`, `1m30s`, `30` (seconds); `off` where no limit makes sense |
//! | bytes | `64KiB`, `64k`, `1MiB`, `65536`; `off` where no limit makes sense |
//! | count | `100`; `off` for no limit; `auto` where the server can choose |
//! | addresses | `127.0.0.1:8000,unix:/run/app.sock`; see [`BindAddress`](crate::listener::BindAddress) |

use std::fmt;
use std::num::NonZero;
use std::thread;

use varvel_http1::{Limits, Timeouts};

use crate::listener::BindOptions;

mod definitions;
mod value;

pub use definitions::Settings;
pub use value::{Unit, ValueError};

/// One setting, told apart from any value: what help, reference and command line are made from.
pub struct Setting {
    /// As operators write it: `head-timeout`.
    pub name: &'static str,
    /// What its values look like.
    pub unit: Unit,
    /// Where the default comes from, or who else has the setting.
    pub precedent: &'static str,
    /// The lines of the documentation comment, each with its leading space.
    lines: &'static [&'static str],
    set: fn(&mut Settings, &str) -> Result<(), ValueError>,
    show: fn(&Settings) -> String,
}

/// All settings, in the order in which help shows them.
pub fn describe() -> &'static [Setting] {
    definitions::ALL
}

/// A setting that does not exist, or a text that is no value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// No setting has this name.
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The text is no value of the setting.
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong, and what to write instead.
        error: ValueError,
    },
}

impl Settings {
    /// Gives a setting the value that `text` describes. After an error the setting has the value it had.
    ///
    /// `name` may have underscores for hyphens, as is usual in files.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        let setting = Setting::named(name).ok_or_else(|| SettingError::Unknown { name: name.to_owned() })?;
        (setting.set)(self, text).map_err(|error| SettingError::Value { name: setting.name, error })
    }

    /// The value of a setting as text, which [`set`](Self::set) would take. `None` if there is no such setting.
    pub fn show(&self, name: &str) -> Option<String> {
        Setting::named(name).map(|setting| (setting.show)(self))
    }

    /// Event loops to start: as set, or one per processor that this process may use.
    pub fn loop_count(&self) -> usize {
        match self.loops {
            Some(loops) => loops as usize,
            None => thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// Worker processes to start: as set, or one per processor that this process may use.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            Some(workers) => workers as usize,
            None => thread::available_parallelism().map_or(1, NonZero::get),
        }
    }

    /// How to listen.
    pub fn bind_options(&self) -> BindOptions {
        BindOptions { backlog: self.backlog, reuse_port: self.reuse_port, unix_mode: self.unix_mode }
    }

    /// What the protocol core is to accept.
    pub fn limits(&self) -> Limits {
        Limits {
            request_line_bytes_max: self.request_line_bytes_max,
            head_bytes_max: self.head_bytes_max,
            header_count_max: self.header_count_max,
            body_bytes_max: self.body_bytes_max,
            ..Limits::default()
        }
    }

    /// What applications are told of the bounds.
    pub fn contract_limits(&self) -> varvel::Limits {
        let mut limits = varvel::Limits::default();
        limits.head_bytes_max = u64::from(self.head_bytes_max);
        limits.header_count_max = self.header_count_max;
        limits.body_bytes_max = self.body_bytes_max;
        limits.read_ahead = self.read_ahead;
        limits.write_high_water = self.write_high_water;
        limits
    }

    /// How long the protocol core is to wait.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts {
            head_timeout: self.head_timeout,
            keep_alive_timeout: self.keep_alive_timeout,
            body_timeout: self.body_timeout,
            body_rate_min: self.body_rate_min,
            write_timeout: self.write_timeout,
            write_rate_min: self.write_rate_min,
            linger_timeout: self.linger_timeout,
            ..Timeouts::default()
        }
    }
}

impl Setting {
    /// The setting of this name; underscores count as hyphens.
    pub fn named(name: &str) -> Option<&'static Self> {
        let same = |(one, other): (u8, u8)| one == other || (one == b'-' && other == b'_');
        describe().iter().find(|setting| {
            setting.name.len() == name.len() && setting.name.bytes().zip(name.bytes()).all(same)
        })
    }

    /// The environment variable for it: `VARVEL_HEAD_TIMEOUT`.
    pub fn env_name(&self) -> String {
        format!("VARVEL_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// Its value when nobody sets it, as text.
    pub fn default_text(&self) -> String {
        (self.show)(&Settings::default())
    }

    /// What it is, in one sentence without the full stop: for lists.
    pub fn summary(&self) -> String {
        let help = self.help();
        let first = help.split("\n\n").next().unwrap_or_default();
        first.strip_suffix('.').unwrap_or(first).to_owned()
    }

    /// All there is to know about it, in paragraphs separated by empty lines. The first one is a sentence.
    pub fn help(&self) -> String {
        let mut help = String::new();
        for line in self.lines {
            match line.trim() {
                "" => help.push_str("\n\n"),
                words => {
                    if !help.is_empty() && !help.ends_with('\n') {
                        help.push(' ');
                    }
                    help.push_str(words);
                }
            }
        }
        help
    }
}

/// The reference of all settings, in Markdown.
pub fn reference() -> String {
    let mut text = String::new();
    for setting in describe() {
        text += &format!(
            "### `{}`\n\n{}\n\n- unit: {}\n- default: `{}`\n- environment: `{}`\n- precedent: {}\n\n",
            setting.name,
            setting.help(),
            setting.unit,
            setting.default_text(),
            setting.env_name(),
            setting.precedent,
        );
    }
    text
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).field("unit", &self.unit).finish_non_exhaustive()
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no setting `{}`", name.escape_debug()),
            Self::Value { name, error } => write!(f, "{name}: {error}"),
        }
    }
}

impl std::error::Error for SettingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_survives_being_written_and_read() {
        let mut settings = Settings::default();
        for setting in describe() {
            let text = setting.default_text();
            settings.set(setting.name, &text).unwrap();
            assert_eq!(settings.show(setting.name), Some(text));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn every_setting_can_be_changed_and_tells_its_new_value() {
        for setting in describe() {
            let mut settings = Settings::default();
            let text = match setting.unit {
                Unit::Time => "1m7s",
                Unit::Bytes => "12345",
                Unit::Count => "77",
                Unit::Switch => "on",
                Unit::Addresses => "[::1]:1234,unix:/run/app.sock",
                Unit::FileMode => "0640",
                Unit::LogFormat => "json",
                Unit::Path => "/var/log/app.log",
                Unit::Name => "www-data",
            };
            assert_ne!(settings.show(setting.name).unwrap(), text, "{}", setting.name);
            settings.set(setting.name, text).unwrap();
            assert_eq!(settings.show(setting.name).unwrap(), text, "{}", setting.name);
            assert_ne!(settings, Settings::default());
        }
    }

    #[test]
    fn every_setting_is_named_like_its_field_and_documented() {
        let fields = format!("{:?}", Settings::default());
        for setting in describe() {
            assert!(fields.contains(&format!("{}:", setting.name.replace('-', "_"))), "{}", setting.name);
            assert!(setting.help().len() > 30, "{}", setting.name);
            assert!(setting.help().split("\n\n").next().unwrap().ends_with('.'), "{}", setting.name);
            assert!(!setting.precedent.is_empty(), "{}", setting.name);
            assert!(reference().contains(&format!("### `{}`", setting.name)));
        }
        let mut names = describe().iter().map(|setting| setting.name).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), describe().len());
    }

    #[test]
    fn names_lead_to_settings_in_every_spelling() {
        let setting = Setting::named("head-timeout").unwrap();
        assert_eq!(setting.env_name(), "VARVEL_HEAD_TIMEOUT");
        assert_eq!(Setting::named("head_timeout").unwrap().name, "head-timeout");
        for unknown in ["head-timeou", "head-timeoutt", "Head-Timeout", ""] {
            assert!(Setting::named(unknown).is_none(), "{unknown}");
        }
        let error = Settings::default().set("head-timeot", "1s").unwrap_err();
        assert_eq!(error.to_string(), "there is no setting `head-timeot`");
    }

    #[test]
    fn an_error_leaves_the_setting_as_it_was() {
        let mut settings = Settings::default();
        for setting in describe() {
            settings.set(setting.name, "no such\0value ").unwrap_err();
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn the_defaults_are_those_of_the_parts_that_use_them() {
        let settings = Settings::default();
        assert_eq!(settings.limits(), Limits::default());
        assert_eq!(settings.timeouts(), Timeouts::default());
        assert_eq!(settings.bind_options(), BindOptions::default());
        assert!(settings.loop_count() >= 1);
    }
}

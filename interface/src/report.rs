//! What servers and applications tell the log, and who listens.

use std::{error::Error, fmt};

use http::Method;

use crate::{BodyError, FailKind};

/// Something worth a line in the log: a failure, a broken clause, a message.
///
/// Every failure is reported exactly once, with the request it belongs to; a client that leaves is not a failure
/// (spec E5).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// What happened.
    pub event: Event<'a>,
    /// During which request, if any.
    pub request: Option<RequestId<'a>>,
}

impl<'a> Report<'a> {
    /// A report outside any request.
    pub fn new(event: Event<'a>) -> Self {
        Self { event, request: None }
    }

    /// A report about a request.
    pub fn of(request: RequestId<'a>, event: Event<'a>) -> Self {
        Self { event, request: Some(request) }
    }
}

/// What a [`Report`] tells.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The application returned an error (spec E1, E2).
    AppFailed {
        /// What it means to the client.
        kind: FailKind,
        /// Its cause, if it named one.
        error: Option<&'a (dyn Error + 'static)>,
    },
    /// The application panicked (spec E6, E7).
    Panicked {
        /// What was running.
        during: Phase,
        /// The panic's message, as far as it is text.
        message: &'a str,
    },
    /// The response body broke off (spec B10).
    BodyFailed {
        /// Why.
        error: &'a BodyError,
    },
    /// One side did what the specification forbids.
    Contract {
        /// The id of the clause, such as `H5`.
        clause: &'static str,
        /// What was done, and what was done about it.
        detail: &'a str,
    },
    /// A message.
    Log {
        /// How urgent it is.
        level: Level,
        /// The text, one line.
        message: &'a str,
    },
}

/// What was running when something panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// [`AppFactory::build`](crate::AppFactory::build).
    Build,
    /// The call, or a poll of its future.
    Call,
    /// A poll of the response body, or its writer.
    Body,
    /// The continuation of an upgrade.
    Tunnel,
    /// An `on_finish` hook.
    Hook,
    /// A drop of something that the application made.
    Drop,
    /// A spawned task or an offloaded job.
    Background,
    /// [`AppFactory::teardown`](crate::AppFactory::teardown).
    Teardown,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Somebody should look at it.
    Error,
    /// Somebody may want to look at it.
    Warning,
    /// It is good to know.
    Info,
}

/// Which request a report is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestId<'a> {
    /// The connection's number, unique within the process.
    pub connection: u64,
    /// The exchange's number on the connection, from 1.
    pub exchange: u64,
    /// The method, where it is still known.
    pub method: Option<&'a Method>,
    /// The target as it was on the wire.
    pub target: &'a [u8],
}

impl<'a> RequestId<'a> {
    /// The identity of an exchange.
    pub fn new(connection: u64, exchange: u64, method: Option<&'a Method>, target: &'a [u8]) -> Self {
        Self { connection, exchange, method, target }
    }
}

/// Takes the reports of a server.
pub trait Reporter: Send + Sync {
    /// Called on whatever thread something happened; must be quick and must not panic.
    fn report(&self, report: &Report<'_>);
}

/// One line, whatever the messages of applications and panics contain.
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut line = OneLine(f);
        match self.event {
            Event::AppFailed { kind, error: Some(error) } => {
                write!(line, "error: application failed ({kind:?}): {error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(line, ": {cause}")?;
                    source = cause.source();
                }
            }
            Event::AppFailed { kind, error: None } => write!(line, "error: application failed ({kind:?})")?,
            Event::Panicked { during, message } => write!(line, "error: panic in {during}: {message}")?,
            Event::BodyFailed { error } => write!(line, "error: response body broke off: {error}")?,
            Event::Contract { clause, detail } => {
                write!(line, "error: contract clause {clause} broken: {detail}")?
            }
            Event::Log { level, message } => write!(line, "{level}: {message}")?,
        }
        match self.request {
            Some(request) => write!(line, " [{request}]"),
            None => Ok(()),
        }
    }
}

/// Escapes what would end the line or steer the terminal, so that nobody can forge a line of the log.
struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some((at, control)) = text.char_indices().find(|(_, char)| char.is_control()) {
            self.0.write_str(&text[..at])?;
            write!(self.0, "{}", control.escape_default())?;
            text = &text[at + control.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = self.method {
            write!(f, "{method} ")?;
        }
        // The target came from the wire: escaped, so that it can forge no line of the log.
        write!(f, "{} connection {} exchange {}", self.target.escape_ascii(), self.connection, self.exchange)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Build => "build",
            Self::Call => "call",
            Self::Body => "response body",
            Self::Tunnel => "tunnel",
            Self::Hook => "on_finish hook",
            Self::Drop => "drop",
            Self::Background => "background work",
            Self::Teardown => "teardown",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_forge_a_line_of_the_log() {
        let event = Event::Panicked { during: Phase::Call, message: "tab\tand\nerror: all is lost\u{1b}[2J" };
        assert_eq!(
            Report::new(event).to_string(),
            r"error: panic in call: tab\tand\nerror: all is lost\u{1b}[2J"
        );
    }

    #[test]
    fn a_target_cannot_forge_a_line_of_the_log() {
        let request = RequestId::new(7, 1, Some(&Method::GET), b"/a\r\nerror: all is lost");
        let line =
            Report::of(request, Event::AppFailed { kind: FailKind::Internal, error: None }).to_string();
        assert!(!line.contains(['\r', '\n']), "{line:?}");
        assert!(line.contains(r"/a\r\nerror"), "{line:?}");
    }
}

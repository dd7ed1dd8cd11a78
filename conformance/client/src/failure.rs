//! Why there is no answer, or not all of one.

use std::{error::Error, fmt};

/// Why there is no answer, or not all of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    detail: String,
}

/// What kind of [`Failure`] it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The application waits, and nothing that comes by itself would wake it. On a live target: nothing came in time.
    Pending,
    /// The server closed the connection without a byte of an answer.
    NoAnswer,
    /// The answer ended short of its end (spec B10).
    BrokenOff,
    /// The server takes no connection: it was stopped, or nobody listens.
    Refused,
    /// What came is not HTTP; on live targets only.
    Malformed,
    /// The answer has more bytes than [are collected](crate::Setup::answer_bytes_max), if it ever ends.
    TooLarge,
}

impl Failure {
    pub(crate) fn too_large(max: u64) -> Self {
        Self::new(FailureKind::TooLarge, format!("more than {max} bytes came (Setup::answer_bytes_max)"))
    }

    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Of what kind it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FailureKind::Pending => "no answer yet",
            FailureKind::NoAnswer => "the connection was closed without an answer",
            FailureKind::BrokenOff => "the answer broke off",
            FailureKind::Refused => "the connection was refused",
            FailureKind::Malformed => "the answer is not HTTP/1.1",
            FailureKind::TooLarge => "the answer is too large to be collected",
        };
        write!(f, "{what}: {}", self.detail)
    }
}

impl Error for Failure {}

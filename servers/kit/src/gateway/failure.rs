//! What a failure before the head means to the client (spec chapter on errors, E1 to E3).
//!
//! | failure | answer | connection |
//! |---|---|---|
//! | `Internal`, a panic, a body that could not be produced | 500 | kept |
//! | `Unavailable` | 503, `retry-after: 1` | kept |
//! | request body `TooLarge` | 413 | kept if the rest can be discarded |
//! | request body `Malformed`, `Incomplete` | 400; 431 for trailers above their limits | closed |
//! | request body `Timeout` | 408 | closed |
//! | request body `Disconnected` | none | closed |
//! | `Abort` | none | reset |
//!
//! After the head every failure is the same: the connection ends before the body does, by a reset where its end is the
//! body's, so that nobody takes what was sent for complete (spec B10, E4).

use std::any::Any;

use http::StatusCode;
use varvel::{BodyErrorKind, FailKind};
use varvel_http1::{CloseReason, Refusal};

/// What to do about a failure before the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this in place of an answer.
    Respond(ErrorResponse),
    /// Close; there is nobody to tell.
    Close,
    /// Reset, with nothing written (spec E2).
    Reset,
}

/// A small error response that names no detail (spec E1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its body, `text/plain`.
    pub text: &'static str,
    /// Whether it carries `retry-after`.
    pub retry: bool,
    /// Whether the connection must not be used again.
    pub close: bool,
}

impl ErrorResponse {
    /// The answer to a panic, and to whatever else is the application's fault.
    pub const INTERNAL: Self = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n");

    /// The answer of a server that has no room.
    pub const UNAVAILABLE: Self =
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n") };

    const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, retry: false, close: false }
    }

    const fn closing(self) -> Self {
        Self { close: true, ..self }
    }
}

impl Verdict {
    /// What an [`AppError`](varvel::AppError) of this kind means.
    pub fn of(kind: FailKind) -> Self {
        match kind {
            FailKind::Abort => Self::Reset,
            FailKind::Unavailable => Self::Respond(ErrorResponse::UNAVAILABLE),
            FailKind::Body(kind) => Self::of_body(kind),
            _ => Self::Respond(ErrorResponse::INTERNAL),
        }
    }

    /// The same, where the request's own fault is known more exactly than by its kind: trailers above their limits
    /// are Malformed, and answered with 431.
    #[must_use]
    pub fn given(self, reason: Option<CloseReason>) -> Self {
        match (self, reason) {
            (Self::Respond(response), Some(CloseReason::Body(fault)))
                if response.status == StatusCode::BAD_REQUEST =>
            {
                let status = Refusal::from(fault).status();
                Self::Respond(ErrorResponse { status, ..response })
            }
            (verdict, _) => verdict,
        }
    }

    fn of_body(kind: BodyErrorKind) -> Self {
        Self::Respond(match kind {
            BodyErrorKind::TooLarge => {
                ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large\n")
            }
            BodyErrorKind::Malformed | BodyErrorKind::Incomplete => {
                ErrorResponse::new(StatusCode::BAD_REQUEST, "Bad Request\n").closing()
            }
            BodyErrorKind::Timeout => {
                ErrorResponse::new(StatusCode::REQUEST_TIMEOUT, "Request Timeout\n").closing()
            }
            BodyErrorKind::Disconnected => return Self::Close,
            _ => ErrorResponse::INTERNAL,
        })
    }
}

/// Whether a failure is one of the application, to be reported; a client's misbehaviour is not (spec E5).
pub fn is_reportable(kind: FailKind) -> bool {
    !matches!(
        kind,
        FailKind::Body(
            BodyErrorKind::TooLarge
                | BodyErrorKind::Malformed
                | BodyErrorKind::Incomplete
                | BodyErrorKind::Timeout
                | BodyErrorKind::Disconnected
        )
    )
}

/// The text of a panic, as far as it has one.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a message"
    }
}

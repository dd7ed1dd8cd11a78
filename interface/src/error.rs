//! What can go wrong, and what it means to the client on every server alike.

use std::{error::Error, fmt, io};

/// Any error, as the standard library passes them around.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why an application could not answer, with one fixed meaning on every server (spec E1-E3).
///
/// Made by `?` from any type that implements [`Error`]: a [`BodyError`] anywhere in its chain of sources keeps its
/// meaning, so that a body limit exceeded deep in an application becomes 413 without help; everything else is
/// [`FailKind::Internal`]. What does not implement `Error` itself, such as a string, a [`BoxError`] or an
/// `anyhow::Error`, goes through `.map_err(AppError::from_boxed)?` to the same end.
///
/// It is the server's answer to a failure of the application, with no text of yours: what the client did wrong is a
/// response like any other, `Ok` with status 400 or 404.
///
/// ```
/// use varvel::{AppError, BodyError, BodyErrorKind, FailKind};
///
/// fn parse(text: &str) -> Result<u32, AppError> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().kind(), FailKind::Internal);
///
/// let too_large = AppError::from(BodyError::new(BodyErrorKind::TooLarge));
/// assert_eq!(too_large.kind(), FailKind::Body(BodyErrorKind::TooLarge));
///
/// fn boxed() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
///     Err("no such thing".into())
/// }
/// fn answer() -> Result<u32, AppError> {
///     boxed().map_err(AppError::from_boxed)
/// }
/// assert_eq!(answer().unwrap_err().kind(), FailKind::Internal);
/// ```
pub struct AppError {
    kind: FailKind,
    source: Option<BoxError>,
}

/// The meaning of an [`AppError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailKind {
    /// The application is at fault: 500 without detail, and a report.
    Internal,
    /// Too busy just now: 503 with `Retry-After`, and a report.
    Unavailable,
    /// No answer at all: the connection is reset with nothing written.
    Abort,
    /// The request body could not be had: 413, 408, 400 or nothing, by the body error's kind.
    Body(BodyErrorKind),
}

impl AppError {
    /// What `?` makes of an error, for those that `?` does not take: strings, boxed errors, `anyhow::Error`.
    pub fn from_boxed(source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let kind = body_error_in(&*source).map_or(FailKind::Internal, |error| FailKind::Body(error.kind()));
        Self { kind, source: Some(source) }
    }

    /// An error of this kind whatever its cause, which is for the report alone.
    pub fn new(kind: FailKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// The application is at fault, whatever the cause: 500.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::new(FailKind::Internal, source)
    }

    /// Too busy just now: 503 with `Retry-After`.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::new(FailKind::Unavailable, source)
    }

    /// Wants the connection reset, with nothing written.
    pub fn abort() -> Self {
        Self { kind: FailKind::Abort, source: None }
    }

    /// What it means.
    pub fn kind(&self) -> FailKind {
        self.kind
    }

    /// What caused it, for reports; never shown to a client (spec E1).
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.source.as_deref()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for AppError {
    fn from(error: E) -> Self {
        Self::from_boxed(error)
    }
}

/// The first [`BodyError`] among an error and its sources.
fn body_error_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e BodyError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<BodyError>() {
            return Some(found);
        }
        // An `io::Error` names the source of what it carries as its source, and so hides what it carries.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

impl fmt::Debug for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.kind) {
            (Some(source), _) => write!(f, "{source}"),
            (None, FailKind::Abort) => f.write_str("the application asked for the connection to be reset"),
            (None, kind) => write!(f, "{kind:?}"),
        }
    }
}

/// Why a body ended before its end.
#[derive(Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    source: Option<BoxError>,
}

/// The meaning of a [`BodyError`] (spec B2, B3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The sender stopped before the end that its framing promised. 400.
    Incomplete,
    /// The framing of the body is broken. 400.
    Malformed,
    /// More bytes than a limit allows. 413.
    TooLarge,
    /// The sender was too slow. 408.
    Timeout,
    /// The other side is gone; nothing can be answered.
    Disconnected,
    /// Whatever produces the body failed, for a reason of its own.
    Failed,
}

impl BodyError {
    /// An error of this kind.
    pub const fn new(kind: BodyErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of this kind with its cause.
    pub fn with_source(kind: BodyErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// A body's producer failed for a reason of its own.
    pub fn failed(source: impl Into<BoxError>) -> Self {
        Self::with_source(BodyErrorKind::Failed, source)
    }

    /// What it means.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyErrorKind::Incomplete => "the body ended before its declared end",
            BodyErrorKind::Malformed => "the body's framing is broken",
            BodyErrorKind::TooLarge => "the body is larger than allowed",
            BodyErrorKind::Timeout => "the body arrived too slowly",
            BodyErrorKind::Disconnected => "the other side is gone",
            BodyErrorKind::Failed => "the body could not be produced",
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A body error seen through [`std::io::Read`] or `Write`; [`AppError`] finds it again in there.
impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error.kind {
            BodyErrorKind::Incomplete => io::ErrorKind::UnexpectedEof,
            BodyErrorKind::Malformed | BodyErrorKind::TooLarge => io::ErrorKind::InvalidData,
            BodyErrorKind::Timeout => io::ErrorKind::TimedOut,
            BodyErrorKind::Disconnected => io::ErrorKind::ConnectionAborted,
            BodyErrorKind::Failed => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A body error that travelled as an [`io::Error`] comes back as what it was; any other becomes
/// [`BodyErrorKind::Failed`].
impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<BodyError>() {
            Ok(body_error) => body_error,
            Err(other) => Self::failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapped(BodyError);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("could not parse the form")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_body_error_keeps_its_meaning_however_deep_it_lies() {
        let timeout = || BodyError::new(BodyErrorKind::Timeout);
        let kinds = [
            AppError::from(timeout()).kind(),
            AppError::from(Wrapped(timeout())).kind(),
            AppError::from(io::Error::from(timeout())).kind(),
            AppError::from(io::Error::other(Wrapped(timeout()))).kind(),
            AppError::from_boxed(BoxError::from(Wrapped(timeout()))).kind(),
            AppError::from(BodyError::failed(io::Error::from(timeout()))).kind(),
        ];
        assert_eq!(kinds[..5], [FailKind::Body(BodyErrorKind::Timeout); 5]);
        // The outermost body error is the one that its author chose to report.
        assert_eq!(kinds[5], FailKind::Body(BodyErrorKind::Failed));
    }

    #[test]
    fn a_body_error_survives_the_journey_through_io() {
        let there = io::Error::from(BodyError::new(BodyErrorKind::Incomplete));
        assert_eq!(there.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(BodyError::from(there).kind(), BodyErrorKind::Incomplete);
    }

    #[test]
    fn any_other_error_is_the_applications_own_fault() {
        assert_eq!(AppError::internal("no database").kind(), FailKind::Internal);
        assert_eq!(AppError::from_boxed("no database").kind(), FailKind::Internal);
        assert_eq!(AppError::from(io::Error::other("disk")).kind(), FailKind::Internal);
    }
}

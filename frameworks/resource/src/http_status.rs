//! Answers that end a call early without being errors.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use varvel::{Body, Push};

/// `falcon.HTTPStatus`: ends a call with this answer, from wherever it is returned by `?` or `Err(….into())`.
///
/// ```
/// use varvel_resource::{HttpStatus, Request, Response, Result};
///
/// struct Old;
///
/// impl Old {
///     fn on_get(&self, _req: &mut Request, _resp: &mut Response) -> Result {
///         Err(HttpStatus::moved_permanently("/new").into())
///     }
/// }
/// # let _ = Old::on_get;
/// ```
#[derive(Debug)]
pub struct HttpStatus(Box<Answer>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: Bytes,
}

macro_rules! redirects {
    ($($function:ident $status:ident $class:literal)*) => {$(
        #[doc = concat!("`", $class, "`: a redirection, with what a URL cannot hold percent-encoded.")]
        pub fn $function(location: &str) -> Self {
            let response: Response<Body<Push>> = varvel_toolkit::respond::redirect(StatusCode::$status, location);
            let (head, _) = response.into_parts();
            Self(Box::new(Answer { status: head.status, headers: head.headers, text: Bytes::new() }))
        }
    )*};
}

impl HttpStatus {
    /// An answer of this status, with a text.
    pub fn new(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self(Box::new(Answer { status, headers: HeaderMap::new(), text: text.into() }))
    }

    /// With a field beside those that there are.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    redirects! {
        moved_permanently MOVED_PERMANENTLY "HTTPMovedPermanently"
        found FOUND "HTTPFound"
        see_other SEE_OTHER "HTTPSeeOther"
        temporary_redirect TEMPORARY_REDIRECT "HTTPTemporaryRedirect"
        permanent_redirect PERMANENT_REDIRECT "HTTPPermanentRedirect"
    }

    pub(crate) fn answer(&self) -> &Answer {
        &self.0
    }
}

impl fmt::Display for HttpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered with {}", self.0.status)
    }
}

impl Error for HttpStatus {}

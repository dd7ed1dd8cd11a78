//! What was asked, for what comes behind the handler.

use std::fmt;

use http::{HeaderMap, Method, Uri};
use varvel::AppError;
use varvel_toolkit::FailureLog;

use crate::Session;

/// A request as hooks see it once it is answered; see [`App::after_request`](crate::App::after_request).
pub struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) uri: &'r Uri,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) route: Option<&'r str>,
    pub(crate) session: Option<&'r Session>,
    pub(crate) log: &'r dyn Fn() -> FailureLog,
}

impl Asked<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The first field of this name in the head, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path of the route that was found, as it was added, such as `/users/{id:int}`; the prefix, if it is a mount. Few, where
    /// clients may ask for any number of paths.
    pub fn route(&self) -> Option<&str> {
        self.route
    }

    pub(crate) fn report(&self, failure: &AppError) {
        (self.log)().failed(self.method, self.uri, failure);
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri)
    }
}

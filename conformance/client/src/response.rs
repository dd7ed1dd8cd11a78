//! A whole answer.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use varvel::{AppError, Finish};

use crate::{Head, Record};

/// A whole answer, body and all.
///
/// ```
/// use http::Response;
/// use varvel::{AsyncBody, Outcome, app_fn};
/// use varvel_test::Client;
///
/// let client = Client::new(app_fn(|_, _| async {
///     Ok(Response::builder().status(201).header("location", "/notes/1").body(AsyncBody::from("noted"))?)
/// }));
/// let response = client.post("/notes").body("Buy milk.").send();
/// assert_eq!((response.status().as_u16(), response.text()), (201, "noted"));
/// assert_eq!(response.header("location"), Some("/notes/1"));
/// assert_eq!(response.header("content-length"), Some("5")); // Of the server's making.
/// assert_eq!(response.finish().outcome, Outcome::Completed); // In process only.
/// ```
#[derive(Clone)]
pub struct Response(pub(crate) Box<Whole>);

#[derive(Clone)]
pub(crate) struct Whole {
    pub(crate) head: Head,
    pub(crate) interims: Vec<Head>,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) inside: Option<Inside>,
}

/// What the server alone can see of an exchange.
#[derive(Clone)]
pub(crate) struct Inside {
    pub(crate) finish: Option<Finish>,
    pub(crate) error: Option<Arc<AppError>>,
    pub(crate) records: Vec<Record>,
}

impl Response {
    /// The final head.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.head.status
    }

    /// The fields, those included by which the server delimits the body and dates the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.head.headers
    }

    /// The first field of this name, as text.
    ///
    /// # Panics
    /// If its value is not ASCII.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.0.head.headers.get(name)?;
        Some(value.to_str().unwrap_or_else(|_| panic!("{name} is not ASCII: {value:?}")))
    }

    /// The body; of an exchange, what was not read from it before.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0.body).unwrap_or_else(|error| panic!("the body is no text: {error}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not, or not of this type.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        let body = self.0.body.escape_ascii();
        serde_json::from_slice(&self.0.body).unwrap_or_else(|error| panic!("{error}, in {body}"))
    }

    /// The trailers, if any came.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.0.trailers.as_ref()
    }

    /// The interim heads that came ahead of the answer.
    pub fn interim(&self) -> &[Head] {
        &self.0.interims
    }

    /// The error that the application returned; `None` if it returned a response, or panicked.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn error(&self) -> Option<&AppError> {
        self.inside("the application's error").error.as_deref()
    }

    /// What was reported of this exchange.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn reports(&self) -> &[Record] {
        &self.inside("what is reported").records
    }

    /// What the hooks were told of the end (spec E12).
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn finish(&self) -> Finish {
        let finish = self.inside("the outcome of an exchange").finish;
        finish.expect("an exchange whose answer was read is over")
    }

    #[track_caller]
    fn inside(&self, what: &str) -> &Inside {
        seen(what, self.0.inside.as_ref())
    }

    /// Panics if the application broke the contract, and the server mended it.
    #[track_caller]
    pub(crate) fn demand_clean(&self) {
        let records = self.0.inside.iter().flat_map(|inside| &inside.records);
        let breaches: Vec<_> = records.filter(|record| record.is_breach()).map(ToString::to_string).collect();
        if !breaches.is_empty() {
            panic!("the answer broke the contract: {}", breaches.join("; "));
        }
    }
}

/// The message for those who ask from outside for what only the inside knows.
pub(crate) fn unseen(what: &str) -> String {
    format!("{what} cannot be seen on a live server; Client::is_live tells which target it is")
}

/// What only the inside knows, for a test in process. Who asks for it on a live target is told so, at their own line: a
/// closure of `unwrap_or_else` would name this one.
#[track_caller]
pub(crate) fn seen<'i, T>(what: &str, inside: Option<&'i T>) -> &'i T {
    match inside {
        Some(inside) => inside,
        None => panic!("{}", unseen(what)),
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.0.body[..self.0.body.len().min(200)];
        f.debug_struct("Response")
            .field("status", &self.0.head.status)
            .field("headers", &self.0.head.headers)
            .field("body", &format_args!("\"{}\"", body.escape_ascii()))
            .field("body_bytes", &self.0.body.len())
            .field("trailers", &self.0.trailers)
            .finish_non_exhaustive()
    }
}

//! One call on its way to a handler: where arguments are taken from.

use std::{mem, str::FromStr};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header, request};
use varvel::{AsyncBody, ReadBody, Scope};
use varvel_toolkit::{FailureLog, HttpError, router::PathParams};

use crate::{Extract, Session, context::Context};

/// A request that has found its route, as [extractors](Extract) see it.
pub struct Call<'c> {
    pub(crate) received: &'c mut Received,
    pub(crate) context: &'c Context,
}

/// What was received, as far as no argument has taken it.
pub(crate) struct Received {
    pub(crate) head: request::Parts,
    pub(crate) body: Incoming,
    pub(crate) content: Bytes,
    /// Once an argument has taken it, where failures are reported.
    pub(crate) scope: Result<Scope, FailureLog>,
    pub(crate) session: Option<Session>,
    /// The next field of the path.
    field: usize,
}

/// The body, until it is read or given away.
pub(crate) enum Incoming {
    Blocking(ReadBody),
    Polled(AsyncBody),
    Gone,
}

impl Received {
    pub(crate) fn new<B>(request: Request<B>, scope: Scope, context: &Context) -> Self
    where
        Incoming: From<B>,
    {
        let (head, body) = request.into_parts();
        let session = context.session_of_page(&head.headers, &scope);
        Self { head, body: body.into(), content: Bytes::new(), scope: Ok(scope), session, field: 0 }
    }

    /// Where failures are reported.
    pub(crate) fn log(&self) -> FailureLog {
        match &self.scope {
            Ok(scope) => FailureLog::of(scope),
            Err(log) => log.clone(),
        }
    }
}

impl Call<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.received.head.method
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.received.head.uri
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.received.head.headers
    }

    /// The first field of this name in the head, if there is one and it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.received.head.headers.get(name)?.to_str().ok()
    }

    /// The content of the request: all of it for an extractor that [reads](Extract::READS), else nothing.
    pub fn content(&self) -> &Bytes {
        &self.received.content
    }

    /// Everything else the server knows; `None` once an argument has taken it, which is always the last.
    pub fn scope(&self) -> Option<&Scope> {
        self.received.scope.as_ref().ok()
    }

    /// Another argument, for extractors that are made from others.
    ///
    /// # Errors
    /// Those of that argument.
    pub fn take<F, T: Extract<F>>(&mut self) -> Result<T, HttpError> {
        T::extract(self)
    }

    /// The next field of the path, as another type.
    pub(crate) fn next_field<T: FromStr>(&mut self) -> Result<T, HttpError> {
        let params = self.scope().map(PathParams::of);
        let value =
            params.and_then(|params| params.iter().nth(self.received.field)).map(|(_, text)| text.parse());
        self.received.field += 1;
        match value {
            Some(Ok(value)) => Ok(value),
            // If the field does not parse, nothing exists at this path.
            Some(Err(_)) => Err(HttpError::not_found()),
            None => Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR)
                .caused_by("the handler takes more fields than its path has")),
        }
    }

    pub(crate) fn session(&mut self) -> Result<Session, HttpError> {
        if let Some(session) = &self.received.session {
            return Ok(session.clone());
        }
        let failed = |cause: &'static str| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(cause);
        let scope = self.scope().ok_or_else(|| failed("the scope is gone"))?;
        let session = self.context.session(&self.received.head.headers, scope);
        self.received.session = session;
        self.received.session.clone().ok_or_else(|| failed("sessions need `app.secret(...)`"))
    }

    /// Takes the scope away.
    pub(crate) fn take_scope(&mut self) -> Option<Scope> {
        let log = self.scope().map(FailureLog::of)?;
        mem::replace(&mut self.received.scope, Err(log)).ok()
    }

    /// Takes the head away, except for what errors are answered and reported with, and what hooks see.
    pub(crate) fn take_head(&mut self) -> request::Parts {
        let mut left = Request::new(()).into_parts().0;
        left.method = self.received.head.method.clone();
        left.uri = self.received.head.uri.clone();
        if self.context.hooks.see_requests {
            left.headers = self.received.head.headers.clone();
        } else {
            for accept in self.received.head.headers.get_all(header::ACCEPT) {
                left.headers.append(header::ACCEPT, accept.clone());
            }
        }
        mem::replace(&mut self.received.head, left)
    }
}

impl Incoming {
    pub(crate) fn take(&mut self) -> Self {
        mem::replace(self, Self::Gone)
    }
}

impl From<ReadBody> for Incoming {
    fn from(body: ReadBody) -> Self {
        Self::Blocking(body)
    }
}

impl From<AsyncBody> for Incoming {
    fn from(body: AsyncBody) -> Self {
        Self::Polled(body)
    }
}

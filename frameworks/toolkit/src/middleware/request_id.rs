//! A number for each request, by which its lines in the logs of several programs are found.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use http::{HeaderName, HeaderValue, Request, Response};
use varvel::{Body, Scope};

use crate::{Form, Middleware};

/// Gives each request an id: in the scope as [`RequestId`], and in the answer as `X-Request-Id`.
///
/// An id that comes with the request is kept if it is [trusted](Self::trusting), as behind a proxy that makes them, and
/// if it is one: up to 64 letters, digits and `-`, `_`, `.`, `:`, `+`, `/`, `=`. So nobody can forge a line of a log.
///
/// A failure that the server answers passes by without it, so put this around [`CatchFailures`](super::CatchFailures).
///
/// ```
/// use varvel::{AppResult, Scope, sync_fn};
/// use varvel_toolkit::{Middleware, middleware::{RequestId, RequestIds}, respond};
///
/// let app = RequestIds::new().around(sync_fn(|_, scope: Scope| -> AppResult {
///     let id = scope.get::<RequestId>().map(RequestId::as_str).unwrap_or_default();
///     Ok(respond::text(format!("you are {id}\n")))
/// }));
/// # use varvel::App;
/// # let response = app.call(http::Request::new(varvel::ReadBody::empty()), Scope::for_test()).unwrap();
/// # assert_eq!(response.headers()["x-request-id"].len(), 32);
/// ```
#[derive(Debug)]
pub struct RequestIds {
    header: HeaderName,
    trusting: bool,
    /// Ids begin with it: random, so that those of two programs differ.
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Makes an id for every request, whatever comes with it.
    pub fn new() -> Self {
        Self {
            header: HeaderName::from_static("x-request-id"),
            trusting: false,
            prefix: random(),
            next: AtomicU64::new(1),
        }
    }

    /// Keeps the id that comes with a request.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        self.trusting = true;
        self
    }

    /// The field in which ids come and go.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = name;
        self
    }

    fn make(&self) -> RequestId {
        // A number each, told apart from those of others by what is random; unique, but no secret.
        let number = self.next.fetch_add(1, Relaxed);
        let mut id = RequestId { text: [0; LONGEST], len: 32 };
        for (place, half) in [(0, self.prefix), (16, number)] {
            for digit in 0..16 {
                let nibble = (half >> (60 - 4 * digit)) & 0xf;
                id.text[place + digit] = b"0123456789abcdef"[nibble as usize];
            }
        }
        id
    }
}

/// What the standard library has of randomness: the keys of its hash maps.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

/// A clone makes ids of its own, so workers with an application each have no counter to share.
impl Clone for RequestIds {
    fn clone(&self) -> Self {
        Self { trusting: self.trusting, ..Self::new().header(self.header.clone()) }
    }
}

const LONGEST: usize = 64;

/// The id of a request, in its scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Visible ASCII. In place, since it is copied into the scope and for the answer.
    text: [u8; LONGEST],
    len: u8,
}

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    fn given(value: &HeaderValue) -> Option<Self> {
        let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
        let bytes = value.as_bytes();
        if bytes.is_empty() || bytes.len() > LONGEST || !bytes.iter().all(is_harmless) {
            return None;
        }
        let mut id = Self { text: [0; LONGEST], len: bytes.len() as u8 };
        id.text[..bytes.len()].copy_from_slice(bytes);
        Some(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl Middleware for RequestIds {
    type Note = RequestId;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<RequestId, Response<Body<F::Out>>> {
        let given = request.headers().get(&self.header).filter(|_| self.trusting);
        let id = given.and_then(RequestId::given).unwrap_or_else(|| self.make());
        scope.insert(id);
        Ok(id)
    }

    fn response<F: Form>(
        &self,
        id: RequestId,
        mut response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        if let Ok(value) = HeaderValue::from_bytes(id.as_bytes()) {
            response.headers_mut().insert(self.header.clone(), value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use varvel::{AsyncBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    fn in_each_form(ids: &RequestIds, check: impl Fn(&Client)) {
        let id = |scope: &Scope| scope.get::<RequestId>().unwrap().to_string();
        let sync = sync_fn(move |_, scope| Ok(respond::text(id(&scope))));
        check(&Client::sync(ids.clone().around(sync)));
        let polled = app_fn(move |_, scope| async move { Ok(Response::new(AsyncBody::from(id(&scope)))) });
        check(&Client::new(ids.clone().around(polled)));
    }

    #[test]
    fn the_application_and_the_client_see_the_same_id_and_each_request_another() {
        let ids = RequestIds::new();
        let seen = std::cell::RefCell::new(HashSet::new());
        in_each_form(&ids, |client| {
            for _ in 0..3 {
                let response = client.get("/").send();
                let id = response.header("x-request-id").unwrap().to_owned();
                assert_eq!(response.text(), id);
                assert_eq!(id.len(), 32);
                assert!(seen.borrow_mut().insert(id));
            }
        });
    }

    #[test]
    fn one_that_comes_along_is_kept_if_it_is_trusted_and_harmless() {
        let header = HeaderName::from_static("x-trace");
        let ids = RequestIds::new().header(header).trusting();
        let too_long = "x".repeat(65);
        in_each_form(&ids, |client| {
            let id = |given: &str| client.get("/").header("x-trace", given).send().text().to_owned();
            assert_eq!(id("a1b2-C3_4.5:6+7/8="), "a1b2-C3_4.5:6+7/8=");
            assert_eq!(id(&"x".repeat(64)), "x".repeat(64));
            for refused in ["a b", "a\"b", "", &too_long] {
                assert_ne!(id(refused), refused);
            }
        });
        in_each_form(&RequestIds::new(), |client| {
            assert_ne!(client.get("/").header("x-request-id", "mine").send().text(), "mine");
        });
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| RequestIds::new().around(inner));
        varvel_lint::middleware_sync(|inner| RequestIds::new().around(inner));
    }
}

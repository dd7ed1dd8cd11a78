//! Fields that tell browsers to be careful.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use varvel::{Body, Scope};

use crate::{Form, Middleware};

/// Adds to each answer the fields that make browsers careful, where the application has not set them itself.
///
/// | field | value | keeps others from |
/// |---|---|---|
/// | `X-Content-Type-Options` | `nosniff` | having an upload run as what it is not |
/// | `X-Frame-Options` | `DENY` | showing a page in a frame and having users click in it |
/// | `Referrer-Policy` | `strict-origin-when-cross-origin` | seeing paths and queries |
/// | `Cross-Origin-Opener-Policy` | `same-origin` | holding on to a window that they opened |
/// | `Cross-Origin-Resource-Policy` | `same-origin` | including what is not meant for them |
///
/// Strict-Transport-Security is yours to ask for with [`hsts`](Self::hsts), since it binds a host for longer than a mistake
/// should; so is a Content-Security-Policy, which nobody can guess, with [`set`](Self::set).
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderValue, header};
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::SecurityHeaders, respond};
///
/// let app = SecurityHeaders::new()
///     .hsts(Duration::from_secs(365 * 24 * 3600))
///     .set(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"))
///     .set(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"))
///     .without(&header::REFERRER_POLICY)
///     .around(sync_fn(|_, _| Ok(respond::html("<h1>Hello</h1>"))));
/// # use varvel::{App, ReadBody, Scope};
/// # let response = app.call(http::Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
/// # assert_eq!(response.headers()["x-frame-options"], "SAMEORIGIN");
/// # assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
/// # assert!(!response.headers().contains_key("referrer-policy"));
/// ```
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    fields: HeaderMap,
}

impl SecurityHeaders {
    /// Those of the table above.
    pub fn new() -> Self {
        let fields = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        Self {
            fields: fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
        }
    }

    /// Adds a field, or gives one another value.
    #[must_use]
    pub fn set(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.insert(name, value);
        self
    }

    /// Leaves a field out.
    #[must_use]
    pub fn without(mut self, name: &HeaderName) -> Self {
        self.fields.remove(name);
        self
    }

    /// Has browsers use nothing but TLS with this host for so long. Over plain HTTP they take no notice of it, so it is sent
    /// always, also behind a proxy that speaks TLS (RFC 6797 section 8.1). For subdomains and preloading
    /// [`set`](Self::set) the field itself.
    #[must_use]
    pub fn hsts(self, max_age: std::time::Duration) -> Self {
        let value = HeaderValue::try_from(format!("max-age={}", max_age.as_secs()));
        self.set(header::STRICT_TRANSPORT_SECURITY, value.expect("digits are fit for a field"))
    }
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for SecurityHeaders {
    type Note = ();

    fn request<F: Form>(
        &self,
        _request: &mut Request<Body<F::In>>,
        _scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        Ok(())
    }

    fn response<F: Form>(&self, _note: (), mut response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        let headers = response.headers_mut();
        headers.reserve(self.fields.len());
        for (name, value) in &self.fields {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use varvel::sync_fn;
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    #[test]
    fn what_the_application_sets_itself_stays() {
        let client = Client::sync(SecurityHeaders::new().around(sync_fn(|_, _| {
            let mut response = respond::html("<p>");
            let same_origin = HeaderValue::from_static("SAMEORIGIN");
            response.headers_mut().insert(header::X_FRAME_OPTIONS, same_origin);
            Ok(response)
        })));
        let response = client.get("/").send();
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("strict-transport-security"), None);
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| SecurityHeaders::new().around(inner));
        varvel_lint::middleware_sync(|inner| SecurityHeaders::new().around(inner));
    }
}

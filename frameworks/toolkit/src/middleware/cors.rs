//! Cross-origin requests (the Fetch standard, section 3.2).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use varvel::{Body, Scope};

use super::vary::vary_by;
use crate::{Accept, Form, HttpError, Middleware, origin, respond};

/// Tells browsers which pages of other origins may read the answers.
///
/// Preflight requests are answered without a call: those of an origin that may not with 403, all others with 204 and what
/// is allowed; the browser compares that with what it was going to do. OPTIONS that is no preflight is the application's.
/// The fields of the standard that an application sets itself are overwritten. Requests out of a public into a private
/// network are never allowed: no `Access-Control-Allow-Private-Network` is sent.
///
/// It protects nothing by itself: requests that are not from browsers, and simple ones that are, reach the application
/// whatever it says. An [error](varvel::AppError) that passes through has no fields, and then a page is told nothing but
/// that something failed, so put this around [`CatchFailures`](super::CatchFailures).
///
/// ```
/// use http::{Method, header};
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::Cors, respond};
///
/// let app = Cors::of(["https://app.example"])
///     .methods([Method::PUT, Method::DELETE])
///     .headers([header::CONTENT_TYPE])
///     .credentials()
///     .around(sync_fn(|_, _| Ok(respond::text("read me"))));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/").header("origin", "https://app.example").send();
/// # assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// `None`: any.
    origins: Option<Vec<String>>,
    /// Beside GET, HEAD and POST, which need no leave.
    methods: Vec<Method>,
    headers: Headers,
    exposed: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
enum Headers {
    Listed(Option<HeaderValue>),
    Any,
}

impl Cors {
    /// Pages of these origins, such as `https://app.example`.
    ///
    /// # Panics
    /// For what is no origin: without a scheme, with a path, with letters beyond ASCII, `null`, which is anybody, or with a
    /// `*`; any origin is [`any`](Self::any).
    pub fn of<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self {
            origins: Some(origins.into_iter().map(|origin| origin::serialize(origin.as_ref())).collect()),
            methods: Vec::new(),
            headers: Headers::Listed(None),
            exposed: None,
            credentials: false,
            max_age: None,
        }
    }

    /// Pages of any origin: for what is public anyway.
    pub fn any() -> Self {
        Self { origins: None, ..Self::of::<&str>([]) }
    }

    /// Methods beside GET, HEAD and POST.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods.extend(methods);
        self
    }

    /// Request fields beside those that need no leave. `Content-Type` needs it for JSON, and `Authorization` always.
    #[must_use]
    pub fn headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.headers = Headers::Listed(list(names));
        self
    }

    /// Any request fields.
    #[must_use]
    pub fn any_header(mut self) -> Self {
        self.headers = Headers::Any;
        self
    }

    /// Response fields that pages may read, beside the few that they always may.
    #[must_use]
    pub fn expose(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.exposed = list(names);
        self
    }

    /// Requests with cookies or other credentials.
    ///
    /// # Panics
    /// For [`any`](Self::any) origin: then every page could do in its users' names whatever they can.
    #[must_use]
    pub fn credentials(mut self) -> Self {
        assert!(self.origins.is_some(), "credentials are not for pages of any origin");
        self.credentials = true;
        self
    }

    /// How long a browser may remember the answer to a preflight. Without it: five seconds.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(HeaderValue::from(max_age.as_secs()));
        self
    }

    /// What a page of this origin is told: `None` if it may not. What is for any page is told always: a cache may have it
    /// from a request without an origin.
    fn allow(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match (&self.origins, origin) {
            (None, _) => Some(HeaderValue::from_static("*")),
            (Some(origins), Some(origin)) => {
                let allowed = origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
                allowed.then(|| origin.clone())
            }
            (Some(_), None) => None,
        }
    }

    /// Tells who may, and that others may be told something else.
    fn tell(&self, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
        if self.origins.is_some() {
            vary_by(headers, &header::ORIGIN);
        }
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        let Some(origin) = allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn preflight<F: Form>(&self, asked: &HeaderMap, origin: &HeaderValue) -> Response<Body<F::Out>> {
        let allowed = self.allow(Some(origin));
        let mut response = if allowed.is_some() {
            respond::empty(StatusCode::NO_CONTENT)
        } else {
            let error = HttpError::new(StatusCode::FORBIDDEN);
            error.with_detail("Pages of this origin may not.").respond(&Accept::of(asked))
        };
        let is_allowed = allowed.is_some();
        let headers = response.headers_mut();
        self.tell(headers, allowed);
        if let Headers::Any = self.headers {
            vary_by(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS);
        }
        if !is_allowed {
            return response;
        }
        if let Some(methods) = joined(self.methods.iter().map(Method::as_str)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        let names = match &self.headers {
            Headers::Listed(names) => names.as_ref(),
            // Not `*`, which leaves out Authorization, and with credentials is no wildcard.
            Headers::Any => asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
        };
        if let Some(names) = names {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if let Some(max_age) = &self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        response
    }
}

impl Middleware for Cors {
    /// The origin that asked.
    type Note = Option<HeaderValue>;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        _scope: &mut Scope,
    ) -> Result<Self::Note, Response<Body<F::Out>>> {
        let origin = request.headers().get(header::ORIGIN);
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match origin {
            Some(origin) if is_preflight => Err(self.preflight::<F>(request.headers(), origin)),
            origin => Ok(origin.cloned()),
        }
    }

    fn response<F: Form>(
        &self,
        origin: Self::Note,
        mut response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        let allowed = self.allow(origin.as_ref());
        let exposed = self.exposed.as_ref().filter(|_| allowed.is_some());
        let headers = response.headers_mut();
        self.tell(headers, allowed);
        if let Some(names) = exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
        }
        response
    }
}

fn list(names: impl IntoIterator<Item = HeaderName>) -> Option<HeaderValue> {
    let names: Vec<_> = names.into_iter().collect();
    joined(names.iter().map(HeaderName::as_str))
}

fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<HeaderValue> {
    let names: Vec<_> = names.collect();
    HeaderValue::try_from(names.join(", ")).ok().filter(|_| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use varvel::{app_fn, sync_fn};
    use varvel_test::{Client, Response};

    use super::*;

    const APP: &str = "https://app.example";

    fn in_each_form(cors: &Cors, check: impl Fn(&Client)) {
        check(&Client::sync(cors.clone().around(sync_fn(|_, _| Ok(respond::text("hello"))))));
        check(&Client::new(cors.clone().around(app_fn(|_, _| async { Ok(respond::text("hello")) }))));
    }

    fn preflight(client: &Client, origin: &str) -> Response {
        let request = client.options("/").header("origin", origin);
        request
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization,x-own")
            .header("access-control-request-private-network", "true")
            .send()
    }

    fn vary(response: &Response) -> Vec<&str> {
        response.headers().get_all("vary").iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn a_page_that_may_is_told_so_and_others_are_not() {
        let cors = Cors::of([APP]).credentials().expose([header::ETAG, header::LINK]);
        in_each_form(&cors, |client| {
            let may = client.get("/").header("origin", APP).send();
            assert_eq!(may.header("access-control-allow-origin"), Some(APP));
            assert_eq!(may.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(may.header("access-control-expose-headers"), Some("etag, link"));
            assert!(vary(&may).contains(&"origin"));
            for origin in
                ["https://evil.example", "https://app.example.evil.example", "null", "HTTPS://app.example"]
            {
                let not = client.get("/").header("origin", origin).send();
                assert_eq!(not.text(), "hello", "it is the browser that keeps it from the page");
                assert_eq!(not.header("access-control-allow-origin"), None, "{origin}");
                assert_eq!(not.header("access-control-allow-credentials"), None);
                assert_eq!(not.header("access-control-expose-headers"), None);
                assert!(vary(&not).contains(&"origin"));
            }
            // Else a cache would give this answer to a page that may.
            assert!(vary(&client.get("/").send()).contains(&"origin"));
        });
    }

    #[test]
    fn what_is_public_is_the_same_for_all() {
        in_each_form(&Cors::any(), |client| {
            let response = client.get("/").header("origin", "https://anybody.example").send();
            assert_eq!(response.header("access-control-allow-origin"), Some("*"));
            assert!(!vary(&response).contains(&"origin"));
            // A cache may give what it had for a navigation to a page that fetches it.
            let navigated = client.get("/").send();
            assert_eq!(navigated.header("access-control-allow-origin"), Some("*"));
        });
    }

    #[test]
    fn an_origin_is_that_of_the_browser_however_it_is_written() {
        in_each_form(&Cors::of(["HTTPS://App.Example"]), |client| {
            let may = client.get("/").header("origin", APP).send();
            assert_eq!(may.header("access-control-allow-origin"), Some(APP));
        });
    }

    #[test]
    fn what_no_browser_ever_sends_is_told_when_the_program_starts() {
        for wrong in ["*", "", "app.example", "https://app.example/", "https://*.app.example", "null"] {
            let made = std::panic::catch_unwind(|| Cors::of([wrong]));
            assert!(made.is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_preflight_is_answered_without_a_call() {
        let cors = Cors::of([APP])
            .methods([Method::PUT, Method::PATCH])
            .headers([header::CONTENT_TYPE, HeaderName::from_static("x-own")])
            .max_age(Duration::from_secs(600));
        in_each_form(&cors, |client| {
            let response = preflight(client, APP);
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            assert_eq!(response.header("access-control-allow-origin"), Some(APP));
            assert_eq!(response.header("access-control-allow-methods"), Some("PUT, PATCH"));
            assert_eq!(response.header("access-control-allow-headers"), Some("content-type, x-own"));
            assert_eq!(response.header("access-control-max-age"), Some("600"));
            assert_eq!(response.header("access-control-allow-credentials"), None);
            assert_eq!(response.header("access-control-allow-private-network"), None);
            let refused = preflight(client, "https://evil.example");
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            assert_eq!(refused.header("access-control-allow-origin"), None);
            assert_eq!(refused.header("access-control-allow-methods"), None);
            assert!(vary(&refused).contains(&"origin"));
        });
    }

    #[test]
    fn any_field_is_what_was_asked_for_and_depends_on_it() {
        in_each_form(&Cors::any().any_header(), |client| {
            let response = preflight(client, APP);
            assert_eq!(response.header("access-control-allow-headers"), Some("authorization,x-own"));
            assert_eq!(vary(&response), ["access-control-request-headers"]);
        });
    }

    #[test]
    fn options_that_is_no_preflight_is_the_applications() {
        in_each_form(&Cors::of([APP]), |client| {
            assert_eq!(client.options("/").header("origin", APP).send().text(), "hello");
            let without_origin = client.options("/").header("access-control-request-method", "PUT");
            assert_eq!(without_origin.send().text(), "hello");
        });
    }

    #[test]
    #[should_panic = "credentials are not for pages of any origin"]
    fn credentials_are_not_for_everybody() {
        let _ = Cors::any().credentials();
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| Cors::of([APP]).around(inner));
        varvel_lint::middleware_sync(|inner| Cors::of([APP]).around(inner));
    }
}

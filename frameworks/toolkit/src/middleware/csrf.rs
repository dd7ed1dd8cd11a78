//! Requests that other sites have a browser send.

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use varvel::{Body, Scope};

use crate::{Accept, Form, HttpError, Middleware, origin};

/// Refuses, with 403, what a browser sends at the behest of another site (cross-site request forgery): its user's
/// cookies come along, the user's will does not. No tokens are needed for that, as browsers say where a request comes
/// from:
///
/// | the request | |
/// |---|---|
/// | is GET, HEAD, OPTIONS or TRACE, and no upgrade | passes: it must not change anything |
/// | has `Sec-Fetch-Site: same-origin` or `none` | passes: from here, or from the user |
/// | has another `Sec-Fetch-Site` | is refused, also if it comes from a subdomain |
/// | has no such field, and an `Origin` other than the host it is for | is refused |
/// | has no such field, and an `Origin` without encryption, while its own connection [has it](varvel::ConnInfo::is_secure) | is refused |
/// | has neither | passes: it is from no browser, or one of before 2020 |
///
/// Upgrades count, since a WebSocket is a GET that other sites may open. Where other origins are to be let in, they
/// are named.
///
/// Where a request comes from is held against the host that it names, and anybody can have a name lead to your address (DNS
/// rebinding). What trusts whoever reaches it, such as a program on the user's own machine, must look at the name as well.
///
/// Behind a proxy `Host` must be what the browser has sent, or [`Forwarded`](super::Forwarded) must
/// [know it](super::Forwarded::trust_host). Over plain HTTP a page of the same host may be forged on its way;
/// [`SecurityHeaders::hsts`](super::SecurityHeaders::hsts) is against that.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::Csrf, respond};
///
/// let app = Csrf::new()
///     .trust("https://accounts.example.com")
///     .around(sync_fn(|_, _| Ok(respond::text("done"))));
/// # let client = varvel_test::Client::sync(app);
/// # let post = |site| client.post("/").header("sec-fetch-site", site).send().status();
/// # assert_eq!(post("same-origin"), 200);
/// # assert_eq!(post("cross-site"), 403);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Csrf {
    trusted: Vec<String>,
}

impl Csrf {
    /// Lets nothing in from other origins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in what comes from this origin, too: `https://example.com`, with a port if it is an unusual one.
    ///
    /// # Panics
    /// For what is no origin: without a scheme, with a path, with a `*`, with letters beyond ASCII, or `null`.
    #[must_use]
    pub fn trust(mut self, origin: impl AsRef<str>) -> Self {
        self.trusted.push(origin::serialize(origin.as_ref()));
        self
    }

    fn lets_in(&self, method: &Method, headers: &HeaderMap, scope: &Scope) -> bool {
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        if is_safe && !headers.contains_key(header::UPGRADE) {
            return true;
        }
        let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default());
        let is_trusted = origin.is_some_and(|origin| self.trusted.iter().any(|known| known == origin));
        let is_own = match headers.get("sec-fetch-site") {
            Some(site) => site == "same-origin" || site == "none",
            None => origin.is_none_or(|origin| origin::is_own(origin, scope)),
        };
        is_own || is_trusted
    }
}

impl Middleware for Csrf {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        if self.lets_in(request.method(), request.headers(), scope) {
            return Ok(());
        }
        let error = HttpError::new(StatusCode::FORBIDDEN)
            .with_code("cross_origin")
            .with_detail("The request comes from another site.");
        Err(error.respond(&Accept::of(request.headers())))
    }

    fn response<F: Form>(&self, _note: (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

#[cfg(test)]
mod tests {
    use varvel::{app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::{middleware::Forwarded, respond};

    #[test]
    fn only_what_comes_from_here_or_from_no_browser_gets_in() {
        let csrf = Csrf::new().trust("https://other.example").trust("http://third.example:81");
        let clients = [
            Client::sync(csrf.clone().around(sync_fn(|_, _| Ok(respond::text("in"))))),
            Client::new(csrf.around(app_fn(|_, _| async { Ok(respond::text("in")) }))),
        ];
        type Fields = &'static [(&'static str, &'static str)];
        let table: &[(&str, Fields, bool)] = &[
            ("GET", &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], true),
            ("HEAD", &[("sec-fetch-site", "cross-site")], true),
            ("OPTIONS", &[("origin", "https://evil.example")], true),
            ("POST", &[], true),
            ("POST", &[("sec-fetch-site", "same-origin")], true),
            ("POST", &[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            ("POST", &[("sec-fetch-site", "none")], true),
            ("POST", &[("sec-fetch-site", "cross-site")], false),
            ("POST", &[("sec-fetch-site", "same-site")], false),
            ("POST", &[("sec-fetch-site", "")], false),
            ("PUT", &[("sec-fetch-site", "cross-site")], false),
            ("DELETE", &[("sec-fetch-site", "cross-site")], false),
            ("PURGE", &[("sec-fetch-site", "cross-site")], false),
            // The browser's word on the site counts more than an origin that looks right.
            ("POST", &[("sec-fetch-site", "cross-site"), ("origin", "http://here.example")], false),
            // From browsers that say no more than the origin.
            ("POST", &[("origin", "http://here.example")], true),
            ("POST", &[("origin", "https://here.example")], true),
            ("POST", &[("origin", "https://HERE.example")], true),
            ("POST", &[("origin", "http://here.example:8080")], false),
            ("POST", &[("origin", "http://here.example.evil.example")], false),
            ("POST", &[("origin", "http://evil.example")], false),
            ("POST", &[("origin", "null")], false),
            ("POST", &[("origin", "")], false),
            ("POST", &[("origin", "here.example")], false),
            // Trusted, exactly.
            ("POST", &[("sec-fetch-site", "cross-site"), ("origin", "https://other.example")], true),
            ("POST", &[("origin", "https://other.example")], true),
            ("POST", &[("origin", "http://other.example")], false),
            ("POST", &[("origin", "https://sub.other.example")], false),
            ("POST", &[("origin", "http://third.example:81")], true),
            ("POST", &[("origin", "http://third.example")], false),
        ];
        for client in &clients {
            for (method, fields, gets_in) in table {
                let request = client.request(*method, "/").header("host", "here.example");
                let request =
                    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                let expected = if *gets_in { StatusCode::OK } else { StatusCode::FORBIDDEN };
                assert_eq!(request.send().status(), expected, "{method} {fields:?}");
            }
        }
    }

    #[test]
    fn the_host_is_what_a_trusted_proxy_says() {
        let app = Csrf::new().around(sync_fn(|_, _| Ok(respond::text("in"))));
        let proxies = Forwarded::x_forwarded(["127.0.0.0/8", "::1"]).unwrap().trust_host();
        let client = Client::sync(proxies.around(app));
        let post = |origin| {
            let request = client.post("/").header("host", "inner.example:8000").header("origin", origin);
            request
                .header("x-forwarded-for", "192.0.2.1")
                .header("x-forwarded-host", "here.example")
                .send()
                .status()
        };
        assert_eq!(post("https://here.example"), 200);
        assert_eq!(post("https://inner.example:8000"), 403);
    }

    #[test]
    fn a_page_that_came_without_encryption_is_not_of_a_site_that_has_it() {
        let app = Csrf::new().around(sync_fn(|_, _| Ok(respond::text("in"))));
        let client = Client::sync(Forwarded::x_forwarded(["127.0.0.0/8", "::1"]).unwrap().around(app));
        let post = |scheme, origin| {
            let request =
                client.post("/").header("host", "here.example").header("x-forwarded-for", "192.0.2.1");
            request.header("x-forwarded-proto", scheme).header("origin", origin).send().status()
        };
        assert_eq!(post("https", "http://here.example"), 403);
        assert_eq!(post("https", "https://here.example"), 200);
        assert_eq!(post("http", "http://here.example"), 200);
    }

    #[test]
    fn other_sites_open_no_tunnels() {
        let client = Client::sync(Csrf::new().around(sync_fn(|_, _| Ok(respond::text("in")))));
        let ask = |site| {
            let request = client.get("/chat").header("connection", "upgrade").header("upgrade", "websocket");
            request.header("sec-fetch-site", site).send().status()
        };
        assert_eq!(ask("same-origin"), 200);
        assert_eq!(ask("cross-site"), 403);
    }

    #[test]
    fn what_is_no_origin_cannot_be_trusted() {
        for origin in
            ["", "example.com", "https://", "https://example.com/", "https://user@example.com", "null"]
        {
            assert!(std::panic::catch_unwind(|| Csrf::new().trust(origin)).is_err(), "{origin}");
        }
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| Csrf::new().around(inner));
        varvel_lint::middleware_sync(|inner| Csrf::new().around(inner));
    }
}

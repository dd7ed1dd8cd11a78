//! One of two URLs that differ by a slash at their end.

use http::{Request, Response, StatusCode};
use varvel::{Body, Scope};

use crate::{Form, Middleware, respond};

/// Redirects from URLs with a slash at the end to those without, or the other way round, so that each resource has one URL.
/// With 308, so method and body stay what they are. The root, and that of a mount, stays as it is.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::TrailingSlash, respond};
///
/// let app = TrailingSlash::Remove.around(sync_fn(|_, _| Ok(respond::text("here"))));
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.get("/a/?b=c").send().header("location"), Some("/a?b=c"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailingSlash {
    /// `/users/` is `/users`.
    Remove,
    /// `/users` is `/users/`; but what looks like a file, with a dot in its last segment, stays as it is.
    Add,
}

impl Middleware for TrailingSlash {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        let uri = request.uri();
        let local = scope.local_path(uri);
        let wanted = match self {
            Self::Remove if local.ends_with('/') && local.bytes().any(|byte| byte != b'/') => {
                uri.path().trim_end_matches('/').to_owned()
            }
            Self::Add if !local.is_empty() && !local.ends_with('/') => {
                let last = local.rsplit('/').next().unwrap_or_default();
                if last.contains('.') {
                    return Ok(());
                }
                format!("{}/", uri.path())
            }
            _ => return Ok(()),
        };
        // Two slashes, or a backslash for one, would begin the name of another host.
        let path = wanted.trim_start_matches(['/', '\\']);
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        Err(respond::redirect(StatusCode::PERMANENT_REDIRECT, &format!("/{path}{query}")))
    }

    fn response<F: Form>(&self, (): (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

#[cfg(test)]
mod tests {
    use varvel::{app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;

    fn in_each_form(slash: TrailingSlash, check: impl Fn(&Client)) {
        check(&Client::sync(slash.around(sync_fn(|_, _| Ok(respond::text("here"))))));
        check(&Client::new(slash.around(app_fn(|_, _| async { Ok(respond::text("here")) }))));
    }

    fn leads_to(client: &Client, path: &str) -> Option<String> {
        let response = client.post(path).send();
        let location = response.header("location").map(str::to_owned);
        assert_eq!(response.status().as_u16(), if location.is_some() { 308 } else { 200 }, "{path}");
        location
    }

    #[test]
    fn there_is_one_url_and_the_other_leads_to_it() {
        in_each_form(TrailingSlash::Remove, |client| {
            for (path, location) in [
                ("/", None),
                ("/users", None),
                ("/users/", Some("/users")),
                ("/users///?page=2&sort=a/", Some("/users?page=2&sort=a/")),
                ("/a%2Fb/", Some("/a%2Fb")),
                ("//evil.example/", Some("/evil.example")),
            ] {
                assert_eq!(leads_to(client, path).as_deref(), location, "{path}");
            }
        });
        in_each_form(TrailingSlash::Add, |client| {
            for (path, location) in [
                ("/", None),
                ("/users/", None),
                ("/users?page=2", Some("/users/?page=2")),
                ("/logo.svg", None),
                ("/v1.2/users", Some("/v1.2/users/")),
                ("//evil", Some("/evil/")),
            ] {
                assert_eq!(leads_to(client, path).as_deref(), location, "{path}");
            }
        });
    }

    #[test]
    fn it_keeps_to_the_contract() {
        let prepare = |head: &mut http::request::Parts| head.uri = "/".parse().unwrap();
        varvel_lint::middleware_with(prepare, |inner| TrailingSlash::Remove.around(inner));
        varvel_lint::middleware_sync_with(prepare, |inner| TrailingSlash::Remove.around(inner));
    }
}

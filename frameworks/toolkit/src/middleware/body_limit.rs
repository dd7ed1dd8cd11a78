//! A bound on request bodies.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use varvel::{Body, BodyError, BodyErrorKind, Scope};

use crate::{Accept, Form, HttpError, Middleware, Transform};

/// Bounds how long the body of a request may be: 413 without a call where the length is declared, and where it is not,
/// [`BodyErrorKind::TooLarge`] to whoever reads beyond the bound, which `?` turns into 413.
///
/// Servers have a bound of their own (`body_bytes_max`); this one is for the part of an application that wants less.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::BodyLimit, respond};
///
/// let app = BodyLimit::new(1024).around(sync_fn(|request: http::Request<varvel::ReadBody>, _| {
///     Ok(respond::text(request.into_body().collect(usize::MAX)?))
/// }));
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.post("/").body(vec![b'x'; 1024]).send().status(), 200);
/// # assert_eq!(client.post("/").body(vec![b'x'; 1025]).send().status(), 413);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    bytes: u64,
}

impl BodyLimit {
    /// At most so many bytes of data.
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl Middleware for BodyLimit {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        _scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        match F::request_len(request.body()) {
            Some(len) if len <= self.bytes => {}
            Some(_) => {
                let error = HttpError::new(StatusCode::PAYLOAD_TOO_LARGE);
                return Err(error.respond(&Accept::of(request.headers())));
            }
            None => {
                let body = std::mem::take(request.body_mut());
                *request.body_mut() = F::transform_request(body, Counted { left: self.bytes });
            }
        }
        Ok(())
    }

    fn response<F: Form>(&self, (): (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

struct Counted {
    left: u64,
}

impl Transform for Counted {
    fn data(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        let left = self.left.checked_sub(data.len() as u64);
        self.left = left.ok_or(BodyError::new(BodyErrorKind::TooLarge))?;
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use varvel::{AsyncBody, ReadBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    fn in_each_form(check: impl Fn(&Client)) {
        let sync = sync_fn(|request: Request<ReadBody>, _| {
            Ok(respond::text(request.into_body().collect(usize::MAX)?))
        });
        check(&Client::sync(BodyLimit::new(10).around(sync)));
        let polled = app_fn(|request: Request<AsyncBody>, _| async {
            Ok(respond::text(request.into_body().collect(usize::MAX).await?))
        });
        check(&Client::new(BodyLimit::new(10).around(polled)));
    }

    #[test]
    fn a_declared_length_is_refused_before_the_call() {
        in_each_form(|client| {
            assert_eq!(client.post("/").body("0123456789").send().text(), "0123456789");
            // Nothing of it was sent, and it is answered.
            let refused = client.post("/").streaming_exactly(11).start().response();
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert!(refused.error().is_none(), "not called");
        });
    }

    #[test]
    fn an_undeclared_one_breaks_off_where_it_is_too_long() {
        in_each_form(|client| {
            let mut exchange = client.post("/").streaming().start();
            exchange.send_data("01234");
            exchange.send_data("56789");
            exchange.end_data();
            assert_eq!(exchange.response().text(), "0123456789");
            let mut exchange = client.post("/").streaming().start();
            exchange.send_data("01234");
            exchange.send_data("567890");
            assert_eq!(exchange.response().status(), StatusCode::PAYLOAD_TOO_LARGE);
        });
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| BodyLimit::new(1 << 20).around(inner));
        varvel_lint::middleware_sync(|inner| BodyLimit::new(1 << 20).around(inner));
    }
}

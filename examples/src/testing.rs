//! Applications called without a server.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use varvel::{App, AppError, AsyncApp, BodyError, FrameSink, ReadBody, Scope, bridge::BlockOn};

/// Keeps what is pushed.
#[derive(Default)]
struct Kept {
    data: BytesMut,
    trailers: Option<HeaderMap>,
}

impl FrameSink for Kept {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.data.extend_from_slice(&chunk);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        Ok(())
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.trailers = Some(trailers);
        Ok(())
    }
}

/// The answer of a sync application with its whole body; trailers are joined to the header fields.
pub(crate) fn call_sync(app: &impl App, request: Request<ReadBody>) -> Result<Response<Bytes>, AppError> {
    let response = app.call(request, Scope::for_test())?;
    let (mut head, body) = response.into_parts();
    let mut kept = Kept::default();
    body.write_to(&mut kept)?;
    head.headers.extend(kept.trailers.unwrap_or_default());
    Ok(Response::from_parts(head, kept.data.freeze()))
}

/// The same of an async application.
pub(crate) fn call(app: impl AsyncApp, request: Request<ReadBody>) -> Result<Response<Bytes>, AppError> {
    call_sync(&BlockOn::new(app), request)
}

/// A GET.
pub(crate) fn get(target: &str) -> Request<ReadBody> {
    request("GET", target, "")
}

/// Any request, its body of known length.
pub(crate) fn request(method: &str, target: &str, body: &'static str) -> Request<ReadBody> {
    Request::builder().method(method).uri(target).body(ReadBody::from(body)).unwrap()
}

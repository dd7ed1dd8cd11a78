//! The future of a middleware that changes answers.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;

use crate::{AsyncAppResult, AsyncBody};

/// Changes the answer of an inner application: all that most middleware needs.
///
/// An error of the inner application goes through as it is (spec M6), and dropping the future drops the inner call with
/// it (spec M5). Where the closure replaces the body, Content-Length is its concern (spec M4).
///
/// A closure that captures nothing, as here, goes by a function pointer, so that the middleware can name its future
/// without more; one that captures goes into a `Box<dyn FnOnce(...) -> ...>`, with `Send` if it is to be mobile.
///
/// ```
/// use http::{HeaderValue, Request, header};
/// use varvel::{AsyncApp, AsyncBody, MapResponse, Scope, map_response};
///
/// struct NoStore<A>(A);
///
/// impl<A: AsyncApp> AsyncApp for NoStore<A> {
///     type Future = MapResponse<A::Future>;
///
///     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
///         map_response(self.0.call(request, scope), |mut response| {
///             response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
///             response
///         })
///     }
/// }
/// # let app = NoStore(varvel::app_fn(|_, _| async { Ok(http::Response::new(AsyncBody::empty())) }));
/// # let app = varvel::bridge::BlockOn::new(app);
/// # let response = varvel::App::call(&app, Request::new(varvel::ReadBody::empty()), Scope::for_test()).unwrap();
/// # assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
/// ```
pub fn map_response<Fut, F>(call: Fut, map: F) -> MapResponse<Fut, F>
where
    Fut: Future<Output = AsyncAppResult>,
    F: FnOnce(Response<AsyncBody>) -> Response<AsyncBody>,
{
    MapResponse { call: Box::pin(call), map: Some(map) }
}

/// What [`map_response`] makes: `Send` exactly when the inner future and the closure are (spec M7).
///
/// It keeps the inner future in one allocation of its own.
#[must_use = "futures do nothing unless polled"]
pub struct MapResponse<Fut, F = fn(Response<AsyncBody>) -> Response<AsyncBody>> {
    call: Pin<Box<Fut>>,
    /// Taken by the answer.
    map: Option<F>,
}

impl<Fut, F> Future for MapResponse<Fut, F>
where
    Fut: Future<Output = AsyncAppResult>,
    F: FnOnce(Response<AsyncBody>) -> Response<AsyncBody>,
{
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let answer = match self.call.as_mut().poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        let map = self.map.take().expect("not polled again after its answer (spec B12)");
        Poll::Ready(answer.map(map))
    }
}

/// The closure is never pinned.
impl<Fut, F> Unpin for MapResponse<Fut, F> {}

impl<Fut, F> fmt::Debug for MapResponse<Fut, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapResponse")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Ready, pending, ready},
        rc::Rc,
        task::Waker,
    };

    use http::StatusCode;

    use super::*;
    use crate::{AppError, FailKind};

    fn teapot(mut response: Response<AsyncBody>) -> Response<AsyncBody> {
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    }

    fn answer_of(call: impl Future<Output = AsyncAppResult>) -> AsyncAppResult {
        let mut call = Box::pin(map_response(call, teapot));
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn an_answer_is_changed_and_an_error_is_not() {
        let response = answer_of(ready(Ok(Response::new(AsyncBody::empty())))).unwrap();
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        let error = answer_of(ready(Err(AppError::unavailable("later")))).unwrap_err();
        assert_eq!(error.kind(), FailKind::Unavailable);
    }

    #[test]
    fn dropping_it_drops_the_inner_call() {
        let held = Rc::new(());
        let inner = Rc::clone(&held);
        let mut call = map_response(
            async move {
                let _inner = inner;
                pending().await
            },
            teapot,
        );
        assert!(Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(Rc::strong_count(&held), 2);
        drop(call);
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn it_is_send_where_the_inner_future_is_and_exists_where_it_is_not() {
        fn is_send<T: Send>(_: T) {}
        fn is_a_future<T: Future>(_: T) {}
        let whole: Ready<AsyncAppResult> = ready(Ok(Response::new(AsyncBody::empty())));
        is_send(map_response(whole, teapot));
        let local = Rc::new(());
        is_a_future(map_response(
            async move {
                drop(local);
                Ok(Response::new(AsyncBody::empty()))
            },
            teapot,
        ));
    }
}

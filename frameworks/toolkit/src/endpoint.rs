//! Where requests end up: an application of either form, which answers in both.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request};
use varvel::{
    App, AppFn, AppFuture, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Boxed, DynApp, DynAsyncApp,
    ReadBody, Scope, SyncFn,
    bridge::{BlockOn, Inline, Offloaded, OffloadedCall},
};

use crate::{
    Routes,
    files::Files,
    prefetch::{self, prefetch},
};

/// An application of either form behind a pointer, which is an [`App`] and an [`AsyncApp`]: so one program has sync and
/// async handlers side by side, on every server.
///
/// | made by | called by a sync server | called by an event loop |
/// |---|---|---|
/// | [`blocking`](Self::blocking) | on the thread | on the worker's blocking pool |
/// | [`inline`](Self::inline) | on the thread | on the loop, as it promises not to block |
/// | [`polled`](Self::polled) | polled on the thread, which sleeps while it waits | polled on the loop |
/// | [`both`](Self::both) | in its sync form | in its async form |
///
/// The functions of [`sync_fn`](varvel::sync_fn) and [`app_fn`](varvel::app_fn), [`Files`] and [`Routes`] become one by `into()`.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{App, AsyncBody, ReadBody, Scope, WriteBody, app_fn, sync_fn};
/// use varvel_toolkit::Endpoint;
///
/// let endpoints: [Endpoint; 2] = [
///     sync_fn(|_, _| Ok(Response::new(WriteBody::from("from a thread")))).into(),
///     app_fn(|_, _| async { Ok(Response::new(AsyncBody::from("from a loop"))) }).into(),
/// ];
/// for endpoint in &endpoints {
///     let response = App::call(endpoint, Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
///     assert!(response.body().exact_len() > Some(10));
/// }
/// ```
#[derive(Clone)]
pub struct Endpoint(Kind);

#[derive(Clone)]
enum Kind {
    /// With how much content is there before a thread is taken on an event loop.
    Blocking(Arc<DynApp>, Offloaded<Arc<DynApp>>, Buffered),
    Inline(Arc<DynApp>, Inline<Arc<DynApp>>),
    Polled(BlockOn<Arc<DynAsyncApp>>, Arc<DynAsyncApp>),
    Both(Arc<DynApp>, Arc<DynAsyncApp>),
}

#[derive(Clone, Copy)]
struct Buffered {
    bytes: usize,
    /// Whether the content of a request with these fields is waited for.
    is_wanted: fn(&HeaderMap) -> bool,
}

impl Endpoint {
    /// A sync application, which may block.
    pub fn blocking(app: impl App + Send + Sync + 'static) -> Self {
        let app: Arc<DynApp> = Arc::new(app);
        let buffered = Buffered { bytes: 0, is_wanted: |_| true };
        Self(Kind::Blocking(Arc::clone(&app), Offloaded::new(app), buffered))
    }

    /// On an event loop, waits until all content of a request is there, or this many bytes of it, before a call takes a thread of
    /// the pool. So clients that send slowly do not keep threads from others.
    ///
    /// For an application that wants its content whole, and one byte more than it accepts: what is too long is then
    /// refused by a thread that has not to wait. Only for [`blocking`](Self::blocking); the others take no thread.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use varvel::{ReadBody, sync_fn};
    /// use varvel_toolkit::Endpoint;
    ///
    /// let endpoint = Endpoint::blocking(sync_fn(|request: Request<ReadBody>, _| {
    ///     let content = request.into_body().collect(64 * 1024)?; // beyond it 413
    ///     Ok(Response::new(format!("{} bytes", content.len()).into()))
    /// }))
    /// .buffered(64 * 1024 + 1);
    /// # let client = varvel_test::Client::new(endpoint);
    /// # assert_eq!(client.post("/").body("four").send().text(), "4 bytes");
    /// ```
    #[must_use]
    pub fn buffered(self, bytes: usize) -> Self {
        self.buffered_if(bytes, |_| true)
    }

    /// As [`buffered`](Self::buffered), but only where the header fields of the request say so: content that the call will refuse
    /// for its type, without reading it, need not come first.
    #[must_use]
    pub fn buffered_if(mut self, bytes: usize, is_wanted: fn(&HeaderMap) -> bool) -> Self {
        if let Kind::Blocking(.., buffered) = &mut self.0 {
            *buffered = Buffered { bytes, is_wanted };
        }
        self
    }

    /// A sync application whose author promises that it does not block, which spares event loops the way to the pool and
    /// back; see [`Inline`].
    pub fn inline(app: impl App + Send + Sync + 'static) -> Self {
        let app: Arc<DynApp> = Arc::new(app);
        Self(Kind::Inline(Arc::clone(&app), Inline::new(app)))
    }

    /// An async application. Its future is boxed for each call, so it must be `Send`.
    pub fn polled<A>(app: A) -> Self
    where
        A: AsyncApp + Send + Sync + 'static,
        A::Future: Send + 'static,
    {
        let app: Arc<DynAsyncApp> = Arc::new(Boxed(app));
        Self(Kind::Polled(BlockOn::new(Arc::clone(&app)), app))
    }

    /// An application of both forms, as those of frameworks are. What it does at start and stop as the factory that it may
    /// be is not done: who mounts it is the factory.
    pub fn both<A>(app: A) -> Self
    where
        A: App + AsyncApp + Send + Sync + 'static,
        A::Future: Send + 'static,
    {
        let app = Arc::new(app);
        Self(Kind::Both(Arc::clone(&app) as _, Arc::new(Boxed(app))))
    }
}

impl<F> From<SyncFn<F>> for Endpoint
where
    SyncFn<F>: App + Send + Sync + 'static,
{
    fn from(function: SyncFn<F>) -> Self {
        Self::blocking(function)
    }
}

impl<F> From<AppFn<F>> for Endpoint
where
    AppFn<F>: AsyncApp<Future: Send + 'static> + Send + Sync + 'static,
{
    fn from(function: AppFn<F>) -> Self {
        Self::polled(function)
    }
}

impl From<Files> for Endpoint {
    fn from(files: Files) -> Self {
        Self::both(files)
    }
}

impl From<Routes> for Endpoint {
    fn from(routes: Routes) -> Self {
        Self::both(routes)
    }
}

impl App for Endpoint {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        match &self.0 {
            Kind::Blocking(app, ..) | Kind::Inline(app, _) | Kind::Both(app, _) => app.call(request, scope),
            Kind::Polled(app, _) => app.call(request, scope),
        }
    }
}

impl AsyncApp for Endpoint {
    type Future = EndpointCall;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> EndpointCall {
        EndpointCall(match &self.0 {
            Kind::Blocking(_, app, Buffered { bytes: bytes @ 1.., is_wanted }) => {
                let (app, bytes) = (app.clone(), *bytes);
                let (head, body) = request.into_parts();
                let (is_coming, body) = prefetch::is_coming(body);
                if !is_coming || !is_wanted(&head.headers) {
                    return EndpointCall(Call::OfThread(app.call(Request::from_parts(head, body), scope)));
                }
                Call::OfLoop(Box::pin(async move {
                    let body = prefetch(body, bytes).await;
                    app.call(Request::from_parts(head, body), scope).await
                }))
            }
            Kind::Blocking(_, app, _) => Call::OfThread(app.call(request, scope)),
            Kind::Inline(_, app) => Call::OfThread(app.call(request, scope)),
            Kind::Polled(_, app) | Kind::Both(_, app) => Call::OfLoop(app.call(request, scope)),
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Blocking(..) => "Endpoint::blocking",
            Kind::Inline(..) => "Endpoint::inline",
            Kind::Polled(..) => "Endpoint::polled",
            Kind::Both(..) => "Endpoint::both",
        })
    }
}

/// The answer of an [`Endpoint`] on an event loop.
#[must_use = "futures do nothing unless polled"]
pub struct EndpointCall(Call);

enum Call {
    OfLoop(AppFuture),
    OfThread(OffloadedCall),
}

impl Future for EndpointCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        match &mut self.0 {
            Call::OfLoop(call) => call.as_mut().poll(cx),
            Call::OfThread(call) => Pin::new(call).poll(cx),
        }
    }
}

impl fmt::Debug for EndpointCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointCall")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use bytes::Bytes;
    use http::Response;
    use varvel::{Caps, WriteBody, app_fn, sync_fn};
    use varvel_test::{Client, Setup};

    use super::*;

    /// They answer with what they were sent, and whether this happens on the thread that made them.
    fn endpoints() -> [Endpoint; 3] {
        let home = thread::current().id();
        let answer = move |body: Bytes| {
            let place = if thread::current().id() == home { "home" } else { "away" };
            format!("{}{place}", body.escape_ascii())
        };
        let sync = move |request: Request<ReadBody>, _: Scope| {
            Ok(Response::new(WriteBody::from(answer(request.into_body().collect(100)?))))
        };
        [
            Endpoint::blocking(sync_fn(sync)),
            Endpoint::inline(sync_fn(sync)),
            Endpoint::polled(app_fn(move |request: Request<AsyncBody>, _| async move {
                Ok(Response::new(AsyncBody::from(answer(request.into_body().collect(100).await?))))
            })),
        ]
    }

    #[test]
    fn each_answers_in_both_forms() {
        for endpoint in endpoints() {
            for client in [Client::sync(endpoint.clone()), Client::new(endpoint.clone())] {
                let text = client.post("/").body("ping ").send().text().to_owned();
                assert!(text.starts_with("ping "), "{endpoint:?}: {text}");
            }
        }
    }

    #[test]
    fn only_what_may_block_leaves_the_event_loop() {
        let places = endpoints().map(|endpoint| Client::new(endpoint).get("/").send().text().to_owned());
        assert_eq!(places, ["away", "home", "home"]);
    }

    #[test]
    fn without_a_pool_what_blocks_is_refused_and_the_rest_goes_on() {
        let statuses = endpoints().map(|endpoint| {
            let client = Setup::new().without(Caps::OFFLOAD).app(endpoint);
            client.get("/").send().status().as_u16()
        });
        assert_eq!(statuses, [503, 200, 200]);
    }

    #[test]
    fn what_is_of_both_forms_is_called_in_that_of_its_server() {
        struct Dual;

        impl App for Dual {
            fn call(&self, _request: Request<ReadBody>, _scope: Scope) -> AppResult {
                Ok(Response::new(WriteBody::from("sync")))
            }
        }

        impl AsyncApp for Dual {
            type Future = std::future::Ready<AsyncAppResult>;

            fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
                std::future::ready(Ok(Response::new(AsyncBody::from("async"))))
            }
        }

        let endpoint = Endpoint::both(Dual);
        assert_eq!(Client::sync(endpoint.clone()).get("/").send().text(), "sync");
        assert_eq!(Client::new(endpoint).get("/").send().text(), "async");
    }

    #[test]
    fn functions_know_their_form() {
        let sync: Endpoint = sync_fn(|_, _| Ok(Response::new(WriteBody::empty()))).into();
        let polled: Endpoint = app_fn(|_, _| async { Ok(Response::new(AsyncBody::empty())) }).into();
        assert_eq!(format!("{sync:?} {polled:?}"), "Endpoint::blocking Endpoint::polled");
    }
}

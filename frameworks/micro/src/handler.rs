//! Functions as handlers, sync and async ones told apart by what they return.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use http::{HeaderMap, Request, request};
use varvel::{
    AppError, AppResult, Async, AsyncAppResult, AsyncBody, Body, BodyParts, Push, ReadBody, Scope, app_fn,
    map_answer, sync_fn,
};
use varvel_toolkit::{Blocking, Endpoint, FailureLog, Form, HttpError, Polled, caught};

use crate::{
    Asked, Call, Extract, Needs, Respond, Session,
    call::{Incoming, Received},
    context::Context,
    hooks::{Answer, Side},
};

/// A function on a route: it takes up to eight arguments, each an [`Extract`], and returns something that can [`Respond`].
///
/// A function that returns a future of that is an async handler: it is polled and may wait, but must not block. Any other is
/// a sync handler: it may block, since it gets a thread, on event loops one of a pool. No name or attribute is needed to tell
/// them apart, as no response is a future; `Kind` is always inferred.
///
/// In a closure the types of the arguments have to be written out. Share values with handlers as [`State`](crate::State), or
/// capture them; an async closure that owns what it captures is
/// `move |id: i64| { let shared = shared.clone(); async move { ... } }`.
#[diagnostic::on_unimplemented(
    message = "this function is not a handler",
    label = "not a function that takes arguments made from a request and returns a response",
    note = "a handler takes up to eight owned arguments, whose types a closure must write out: fields of the path \
            (`String`, `i64`, ...), `Query<T>`, `Form<T>`, `Json<T>`, `State<T>`, `Session`, `HeaderMap`, and last \
            `Request<ReadBody>`, or `Request<AsyncBody>` if it is async",
    note = "an async handler takes `Multipart` and `WebSocketUpgrade`, a sync one `Multipart<Blocking>` and \
            `WebSocketUpgrade<Blocking>`",
    note = "it returns text, `Html`, `Template(name, values)`, `Json(value)`, `StatusCode`, `Redirect`, \
            `Result<response, HttpError>`, or a `Send` future of one of these",
    note = "it must be `Send + Sync + 'static`: share values in an `Arc`, or as `State<T>`"
)]
pub trait Handler<Kind>: Send + Sync + 'static {
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
    #[doc(hidden)]
    fn endpoint(self: Arc<Self>, surroundings: &Surroundings) -> Endpoint;
}

#[doc(hidden)]
pub struct Surroundings(pub(crate) Arc<Context>);

/// The two kinds of handlers. These types are never named; they let one method accept both kinds.
pub mod kind {
    use std::marker::PhantomData;

    /// A sync handler with these arguments.
    #[derive(Debug)]
    pub struct Sync<Args>(PhantomData<Args>);
    /// An async handler with these arguments.
    #[derive(Debug)]
    pub struct Async<Args>(PhantomData<Args>);
}

/// The arguments of a handler, all of them.
pub(crate) trait Arguments<F>: Sized {
    /// Whether one of them is made from the content.
    const READS: bool;
    fn check(headers: &HeaderMap) -> Result<(), HttpError>;
    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError>;
}

/// What answers, a handler or a mounted application, with what all of its group share.
pub(crate) struct Bound<H> {
    pub(crate) handler: H,
    pub(crate) context: Arc<Context>,
}

pub(crate) fn call_blocking<A, R>(
    context: &Arc<Context>,
    request: Request<ReadBody>,
    scope: Scope,
    handler: impl FnOnce(A) -> R,
) -> AppResult
where
    A: Arguments<Blocking>,
    R: Respond<Push>,
{
    let mut received = Received::new(request, scope, context);
    let work = || {
        let mut call = Call { received: &mut received, context };
        context.before::<Blocking>(&mut call).unwrap_or_else(|| {
            if A::READS {
                if let Incoming::Blocking(body) = call.received.body.take() {
                    let body = unless_refused::<Blocking, A>(body, call.headers())?;
                    call.received.content = body.collect(context.content_bytes_max)?;
                }
            }
            handler(A::extract(&mut call)?).respond()
        })
    };
    let answer = run(context, work).unwrap_or_else(Err);
    let is_deferred = answer.as_ref().is_ok_and(|response| response.body().is_deferred());
    if !is_deferred {
        return finish::<Blocking>(context, answer, &received.head, received.session.as_ref(), &|| {
            received.log()
        });
    }
    // It is finished when it is there (spec M9), and until then keeps what that takes.
    let (context, log) = (Arc::clone(context), received.log());
    let Received { head, session, .. } = received;
    map_answer(answer, move |answer| {
        finish::<Blocking>(&context, answer, &head, session.as_ref(), &|| log.clone())
    })
}

/// What was received is there before the future is, as arguments of an async function would stand in it a second time.
pub(crate) fn call_polled<H, A, Fut>(
    bound: Arc<Bound<H>>,
    request: Request<AsyncBody>,
    scope: Scope,
    handle: impl FnOnce(&H, A) -> Fut,
) -> impl Future<Output = AsyncAppResult>
where
    A: Arguments<Polled>,
    Fut: Future<Output: Respond<Async>>,
{
    let mut received = Received::new(request, scope, &bound.context);
    async move {
        let Bound { handler, context } = &*bound;
        let answer = {
            let mut work = pin!(async {
                let mut call = Call { received: &mut received, context };
                if let Some(answer) = context.before::<Polled>(&mut call) {
                    return answer;
                }
                if A::READS {
                    read::<A>(&mut call).await?;
                }
                handle(handler, A::extract(&mut call)?).await.respond()
            });
            let poll = |cx: &mut TaskContext<'_>| {
                let polled = run(context, || work.as_mut().poll(cx));
                polled.unwrap_or_else(|panicked| Poll::Ready(Err(panicked)))
            };
            poll_fn(poll).await
        };
        finish::<Polled>(context, answer, &received.head, received.session.as_ref(), &|| received.log())
    }
}

/// Runs what an application does for a call. Where hooks have a say in how failures are answered, a panic is one of them.
fn run<T>(context: &Context, work: impl FnOnce() -> T) -> Result<T, AppError> {
    if context.hooks.shape_failures() { caught(work) } else { Ok(work()) }
}

fn finish<F: Side>(
    context: &Context,
    answer: Answer<F>,
    head: &request::Parts,
    session: Option<&Session>,
    log: &dyn Fn() -> FailureLog,
) -> Answer<F> {
    let request::Parts { method, uri, headers, .. } = head;
    let route = context.route.as_deref();
    context.finish::<F>(answer, &Asked { method, uri, headers, route, session, log })
}

/// Waits for the content.
async fn read<A: Arguments<Polled>>(call: &mut Call<'_>) -> Result<(), AppError> {
    let Incoming::Polled(body) = call.received.body.take() else { return Ok(()) };
    let content = unless_refused::<Polled, A>(body, call.headers())?.collect(call.context.content_bytes_max);
    call.received.content = content.await?;
    Ok(())
}

/// A body that is to be read, unless its head says that it is not worth waiting for. What has come already needs no waiting.
fn unless_refused<F: Form, A: Arguments<F>>(
    body: Body<F::In>,
    headers: &HeaderMap,
) -> Result<Body<F::In>, HttpError> {
    let parts = body.into_parts();
    if let BodyParts::Stream(_) = parts {
        A::check(headers)?;
    }
    Ok(parts.into())
}

macro_rules! handlers {
    ($($arg:ident)*) => {
        #[allow(unused_variables, reason = "for functions without arguments")]
        impl<Side, $($arg: Extract<Side>),*> Arguments<Side> for ($($arg,)*) {
            const READS: bool = false $(|| $arg::READS)*;

            fn check(headers: &HeaderMap) -> Result<(), HttpError> {
                $($arg::check(headers)?;)*
                Ok(())
            }

            fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
                Ok(($($arg::extract(call)?,)*))
            }
        }

        #[allow(unused_variables, non_snake_case, reason = "an argument is named after its type")]
        impl<H, R, $($arg),*> Handler<kind::Sync<($($arg,)*)>> for H
        where
            H: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: Respond<Push> + 'static,
            $($arg: Extract<Blocking> + 'static,)*
        {
            fn needs(needs: &mut Needs) {
                $($arg::needs(needs);)*
                needs.reads = <($($arg,)*) as Arguments<Blocking>>::READS;
            }

            fn endpoint(self: Arc<Self>, surroundings: &Surroundings) -> Endpoint {
                let context = Arc::clone(&surroundings.0);
                // Content that is wanted whole is there before an event loop takes a thread for the call.
                let is_wanted = |headers: &HeaderMap| {
                    <($($arg,)*) as Arguments<Blocking>>::check(headers).is_ok()
                };
                let reads = <($($arg,)*) as Arguments<Blocking>>::READS;
                let buffered = if reads { context.content_bytes_max.saturating_add(1) } else { 0 };
                Endpoint::blocking(sync_fn(move |request, scope| {
                    call_blocking(&context, request, scope, |($($arg,)*): ($($arg,)*)| self($($arg),*))
                }))
                .buffered_if(buffered, is_wanted)
            }
        }

        #[allow(unused_variables, non_snake_case, reason = "an argument is named after its type")]
        impl<H, Fut, $($arg),*> Handler<kind::Async<($($arg,)*)>> for H
        where
            H: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: Respond<Async>> + Send + 'static,
            $($arg: Extract<Polled> + Send + 'static,)*
        {
            fn needs(needs: &mut Needs) {
                $($arg::needs(needs);)*
                needs.reads = <($($arg,)*) as Arguments<Polled>>::READS;
            }

            fn endpoint(self: Arc<Self>, surroundings: &Surroundings) -> Endpoint {
                let bound = Arc::new(Bound { handler: self, context: Arc::clone(&surroundings.0) });
                Endpoint::polled(app_fn(move |request, scope| {
                    let handle = |handler: &Arc<H>, ($($arg,)*): ($($arg,)*)| handler($($arg),*);
                    call_polled(Arc::clone(&bound), request, scope, handle)
                }))
            }
        }
    };
}

handlers! {}
handlers! { A }
handlers! { A B }
handlers! { A B C }
handlers! { A B C D }
handlers! { A B C D E }
handlers! { A B C D E G }
handlers! { A B C D E G I }
handlers! { A B C D E G I J }

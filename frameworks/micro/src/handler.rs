//! Functions as handlers, sync and async ones told apart by what they return.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use http::{Request, request};
use varvel::{
    AppError, AppResult, Async, AsyncAppResult, AsyncBody, Push, ReadBody, Scope, app_fn, map_answer, sync_fn,
};
use varvel_toolkit::{Blocking, Endpoint, FailureLog, HttpError, Polled, caught};

use crate::{
    Call, Extract, Needs, Respond, Session,
    call::Incoming,
    context::{Asked, Context},
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
    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError>;
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
    let mut call = Call::new(request, scope, context);
    let log = context.log(call.scope());
    let work = || {
        context.before::<Blocking>(&mut call).unwrap_or_else(|| {
            if A::READS {
                if let Incoming::Blocking(body) = call.body.take() {
                    call.content = body.collect(context.content_bytes_max)?;
                }
            }
            handler(A::extract(&mut call)?).respond()
        })
    };
    let answer = run(log.as_ref(), work).unwrap_or_else(Err);
    let is_deferred = answer.as_ref().is_ok_and(|response| response.body().is_deferred());
    if !is_deferred {
        let asked = asked(&call.head, call.session.as_ref(), log.as_ref());
        return context.finish::<Blocking>(answer, &asked);
    }
    // It is finished when it is there (spec M9), and until then keeps what that takes.
    let (context, Call { head, session, .. }) = (Arc::clone(context), call);
    map_answer(answer, move |answer| {
        context.finish::<Blocking>(answer, &asked(&head, session.as_ref(), log.as_ref()))
    })
}

pub(crate) async fn call_polled<A, Fut>(
    context: Arc<Context>,
    request: Request<AsyncBody>,
    scope: Scope,
    handler: impl FnOnce(A) -> Fut,
) -> AsyncAppResult
where
    A: Arguments<Polled>,
    Fut: Future<Output: Respond<Async>>,
{
    let mut call = Call::new(request, scope, &context);
    let log = context.log(call.scope());
    let answer = {
        let mut work = pin!(async {
            match context.before::<Polled>(&mut call) {
                Some(answer) => answer,
                None => handler(arguments(&mut call).await?).await.respond(),
            }
        });
        let poll = |cx: &mut TaskContext<'_>| {
            let polled = run(log.as_ref(), || work.as_mut().poll(cx));
            polled.unwrap_or_else(|panicked| Poll::Ready(Err(panicked)))
        };
        poll_fn(poll).await
    };
    context.finish::<Polled>(answer, &asked(&call.head, call.session.as_ref(), log.as_ref()))
}

fn asked<'r>(
    head: &'r request::Parts,
    session: Option<&'r Session>,
    log: Option<&'r FailureLog>,
) -> Asked<'r> {
    Asked { method: &head.method, uri: &head.uri, headers: &head.headers, session, log }
}

/// Runs what an application does for a call. Where hooks have a say in how failures are answered, a panic is one of them.
fn run<T>(log: Option<&FailureLog>, work: impl FnOnce() -> T) -> Result<T, AppError> {
    match log {
        None => Ok(work()),
        Some(_) => caught(work),
    }
}

async fn arguments<A: Arguments<Polled>>(call: &mut Call<'_>) -> Result<A, AppError> {
    if A::READS {
        if let Incoming::Polled(body) = call.body.take() {
            call.content = body.collect(call.context.content_bytes_max).await?;
        }
    }
    Ok(A::extract(call)?)
}

macro_rules! handlers {
    ($($arg:ident)*) => {
        #[allow(unused_variables, reason = "for functions without arguments")]
        impl<Side, $($arg: Extract<Side>),*> Arguments<Side> for ($($arg,)*) {
            const READS: bool = false $(|| $arg::READS)*;

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
                let reads = <($($arg,)*) as Arguments<Blocking>>::READS;
                let buffered = if reads { context.content_bytes_max.saturating_add(1) } else { 0 };
                Endpoint::blocking(sync_fn(move |request, scope| {
                    call_blocking(&context, request, scope, |($($arg,)*): ($($arg,)*)| self($($arg),*))
                }))
                .buffered(buffered)
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
                let context = Arc::clone(&surroundings.0);
                Endpoint::polled(app_fn(move |request, scope| {
                    let handler = Arc::clone(&self);
                    let handler = move |($($arg,)*): ($($arg,)*)| handler($($arg),*);
                    call_polled(Arc::clone(&context), request, scope, handler)
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

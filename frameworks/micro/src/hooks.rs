//! Hooks: functions that are called before and after the handlers of a group, and for errors.

use std::{cell::Cell, fmt, marker::PhantomData, ops::Deref, sync::Arc};

use http::{Method, Response, StatusCode, Uri, response};
use varvel::{AppError, Async, AsyncBody, Body, Mode, Push, WriteBody};
use varvel_toolkit::{Accept, Blocking, Form, HttpError, Polled};

use crate::{Asked, Call, Extract, Needs, Respond};

/// The hooks of a group and of all groups around it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<Arc<dyn Before>>,
    pub(crate) after: Vec<Arc<After>>,
    /// Whether some of those look at the request, whose head is to be kept for them.
    pub(crate) see_requests: bool,
    /// The first that fits is taken.
    pub(crate) errors: Vec<(Option<StatusCode>, Arc<dyn OnError>)>,
}

pub(crate) type After = dyn Fn(&Asked<'_>, &mut response::Parts) + Send + Sync;

impl Hooks {
    /// These, and those of a group inside.
    pub(crate) fn and(&self, inner: &Self) -> Self {
        let mut all = self.clone();
        all.before.extend(inner.before.iter().cloned());
        // The innermost comes first on the way out; `after` is called from the end.
        all.after.extend(inner.after.iter().cloned());
        all.see_requests |= inner.see_requests;
        all.errors = inner.errors.iter().chain(&self.errors).cloned().collect();
        all
    }

    /// Whether any of them has a say in how a failure is answered; if not, that is left to the server.
    pub(crate) fn shape_failures(&self) -> bool {
        !self.errors.is_empty() || !self.after.is_empty()
    }

    pub(crate) fn for_error(&self, status: StatusCode) -> Option<&dyn OnError> {
        let of = |wanted| self.errors.iter().find(move |(known, _)| *known == wanted);
        of(Some(status)).or_else(|| of(None)).map(|(_, hook)| &**hook)
    }
}

/// One of the two forms, where they differ.
pub(crate) trait Side: Form {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>>;
    fn on_error(hook: &dyn OnError, failure: &Failure<'_>) -> Option<Answer<Self>>;
}

pub(crate) type Answer<F> = Result<Response<Body<<F as Form>::Out>>, AppError>;

impl Side for Blocking {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>> {
        hook.blocking(call)
    }

    fn on_error(hook: &dyn OnError, failure: &Failure<'_>) -> Option<Answer<Self>> {
        hook.blocking(failure)
    }
}

impl Side for Polled {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>> {
        hook.polled(call)
    }

    fn on_error(hook: &dyn OnError, failure: &Failure<'_>) -> Option<Answer<Self>> {
        hook.polled(failure)
    }
}

/// A `before` hook with its type erased.
pub(crate) trait Before: Send + Sync {
    fn blocking(&self, call: &mut Call<'_>) -> Option<Result<Response<WriteBody>, AppError>>;
    fn polled(&self, call: &mut Call<'_>) -> Option<Result<Response<AsyncBody>, AppError>>;
}

/// What an [error hook](crate::App::error) is told: the [`HttpError`], to which it dereferences, and what was asked.
pub struct Failure<'c> {
    error: &'c HttpError,
    asked: &'c Asked<'c>,
    /// Whether the response may depend on what the client accepts.
    pub(crate) varies: Cell<bool>,
}

impl<'c> Failure<'c> {
    pub(crate) fn new(error: &'c HttpError, asked: &'c Asked<'c>) -> Self {
        Self { error, asked, varies: Cell::new(false) }
    }

    /// The method of the request.
    pub fn method(&self) -> &Method {
        self.asked.method
    }

    /// The URI of the request.
    pub fn uri(&self) -> &Uri {
        self.asked.uri
    }

    /// What the client accepts. Caches are told of it by Vary.
    pub fn accept(&self) -> Accept {
        self.varies.set(true);
        Accept::of(self.asked.headers)
    }

    /// Whether the client likes HTML better than JSON, as browsers do that open a page; one that likes both the same does not.
    pub fn prefers_html(&self) -> bool {
        const HTML: &str = "text/html";
        self.accept().best(&["application/json", "application/problem+json", HTML]) == Some(HTML)
    }
}

impl Deref for Failure<'_> {
    type Target = HttpError;

    fn deref(&self) -> &HttpError {
        self.error
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {:?}", self.method(), self.uri(), self.error)
    }
}

/// An error hook with its type erased; it returns nothing to leave the problem details as they are.
pub(crate) trait OnError: Send + Sync {
    fn blocking(&self, failure: &Failure<'_>) -> Option<Result<Response<WriteBody>, AppError>>;
    fn polled(&self, failure: &Failure<'_>) -> Option<Result<Response<AsyncBody>, AppError>>;
}

impl<H, R> OnError for H
where
    H: Fn(&Failure<'_>) -> R + Send + Sync,
    R: Respond<Push> + Respond<Async>,
{
    fn blocking(&self, failure: &Failure<'_>) -> Option<Result<Response<WriteBody>, AppError>> {
        Respond::<Push>::respond_if_any(self(failure))
    }

    fn polled(&self, failure: &Failure<'_>) -> Option<Result<Response<AsyncBody>, AppError>> {
        Respond::<Async>::respond_if_any(self(failure))
    }
}

/// What a `before` hook can return: `()`; `Option<R>`, where `Some` is a response in place of the handler's; or a `Result` of
/// these, whose error is answered like a handler's.
#[diagnostic::on_unimplemented(
    message = "a `before` hook cannot return `{Self}`",
    note = "it returns `()`, `Option<response>` (`Some` replaces the handler's response), or a `Result` of these"
)]
pub trait Verdict<M: Mode> {
    /// The response in place of the handler's, if there is to be one.
    fn verdict(self) -> Option<Result<Response<Body<M>>, AppError>>;
}

impl<M: Mode> Verdict<M> for () {
    fn verdict(self) -> Option<Result<Response<Body<M>>, AppError>> {
        None
    }
}

impl<M: Mode, R: Respond<M>> Verdict<M> for Option<R> {
    fn verdict(self) -> Option<Result<Response<Body<M>>, AppError>> {
        self.map(R::respond)
    }
}

impl<M: Mode, V: Verdict<M>, E: Into<AppError>> Verdict<M> for Result<V, E> {
    fn verdict(self) -> Option<Result<Response<Body<M>>, AppError>> {
        match self {
            Ok(verdict) => verdict.verdict(),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// A function that can be a [`before`](crate::App::before) hook: it takes arguments made from the head, and returns a
/// [`Verdict`].
#[diagnostic::on_unimplemented(
    message = "this function cannot be a `before` hook",
    label = "not a function that takes arguments made from the head and returns `()`, `Option<response>` or a `Result`",
    note = "it takes owned arguments, as handlers do, whose types a closure must write out: `|session: Session| ...`"
)]
pub trait BeforeFn<Args>: Send + Sync + 'static {
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
    #[doc(hidden)]
    fn erased(self) -> ErasedBefore;
}

#[doc(hidden)]
pub struct ErasedBefore(pub(crate) Arc<dyn Before>);

/// Has the arguments in its type, so that there is one implementation for each function.
struct Typed<H, Args>(H, PhantomData<fn(Args)>);

macro_rules! before {
    ($($arg:ident)*) => {
        impl<H, V, $($arg),*> BeforeFn<($($arg,)*)> for H
        where
            H: Fn($($arg),*) -> V + Send + Sync + 'static,
            V: Verdict<Push> + Verdict<Async>,
            $($arg: Extract<Blocking> + Extract<Polled> + 'static,)*
        {
            #[allow(unused_variables, reason = "for functions without arguments")]
            fn needs(needs: &mut Needs) {
                $(<$arg as Extract<Blocking>>::needs(needs);)*
                needs.reads = false $(|| <$arg as Extract<Blocking>>::READS)*;
            }

            fn erased(self) -> ErasedBefore {
                ErasedBefore(Arc::new(Typed::<H, ($($arg,)*)>(self, PhantomData)))
            }
        }

        impl<H, V, $($arg),*> Before for Typed<H, ($($arg,)*)>
        where
            H: Fn($($arg),*) -> V + Send + Sync + 'static,
            V: Verdict<Push> + Verdict<Async>,
            $($arg: Extract<Blocking> + Extract<Polled> + 'static,)*
        {
            #[allow(unused_variables, non_snake_case, reason = "an argument is named after its type")]
            fn blocking(&self, call: &mut Call<'_>) -> Option<Result<Response<WriteBody>, AppError>> {
                $(let $arg = match <$arg as Extract<Blocking>>::extract(call) {
                    Ok(value) => value,
                    Err(error) => return Some(Err(error.into())),
                };)*
                Verdict::<Push>::verdict((self.0)($($arg),*))
            }

            #[allow(unused_variables, non_snake_case, reason = "an argument is named after its type")]
            fn polled(&self, call: &mut Call<'_>) -> Option<Result<Response<AsyncBody>, AppError>> {
                $(let $arg = match <$arg as Extract<Polled>>::extract(call) {
                    Ok(value) => value,
                    Err(error) => return Some(Err(error.into())),
                };)*
                Verdict::<Async>::verdict((self.0)($($arg),*))
            }
        }
    };
}

before! {}
before! { A }
before! { A B }
before! { A B C }
before! { A B C D }

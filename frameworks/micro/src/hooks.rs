//! The functions around the handlers of a group: before them, behind them, and for errors.

use std::{marker::PhantomData, sync::Arc};

use http::{Response, StatusCode, response};
use varvel::{AppError, AsyncBody, Body, WriteBody};
use varvel_toolkit::{Blocking, Form, HttpError, Polled};

use crate::{Call, Extract, Needs, Respond};

/// The hooks of one group, then those of all groups around it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<Arc<dyn Before>>,
    pub(crate) after: Vec<Arc<After>>,
    pub(crate) errors: Vec<(Option<StatusCode>, Arc<dyn OnError>)>,
}

pub(crate) type After = dyn Fn(&mut response::Parts) + Send + Sync;

impl Hooks {
    /// Those of a group inside of the one whose hooks these are.
    pub(crate) fn and(&self, inner: &Self) -> Self {
        let mut all = self.clone();
        all.before.extend(inner.before.iter().cloned());
        // What is inside has the first word on an answer; `after` is called from the end.
        all.after.extend(inner.after.iter().cloned());
        all.errors = inner.errors.iter().chain(&self.errors).cloned().collect();
        all
    }

    /// Whether anybody here has a say in what a failure is answered with; if not, that is left to the server.
    pub(crate) fn shape_failures(&self) -> bool {
        !self.errors.is_empty() || !self.after.is_empty()
    }

    pub(crate) fn for_error(&self, status: StatusCode) -> Option<&dyn OnError> {
        let of = |wanted| self.errors.iter().find(move |(known, _)| *known == wanted);
        of(Some(status)).or_else(|| of(None)).map(|(_, hook)| &**hook)
    }
}

/// One of the two forms, with what is not the same in both.
pub(crate) trait Side: Form {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>>;
    fn on_error(hook: &dyn OnError, error: &HttpError) -> Answer<Self>;
}

pub(crate) type Answer<F> = Result<Response<Body<<F as Form>::Out>>, AppError>;

impl Side for Blocking {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>> {
        hook.blocking(call)
    }

    fn on_error(hook: &dyn OnError, error: &HttpError) -> Answer<Self> {
        hook.blocking(error)
    }
}

impl Side for Polled {
    fn before(hook: &dyn Before, call: &mut Call<'_>) -> Option<Answer<Self>> {
        hook.polled(call)
    }

    fn on_error(hook: &dyn OnError, error: &HttpError) -> Answer<Self> {
        hook.polled(error)
    }
}

/// A function that is called before the handler, with its type forgotten.
pub(crate) trait Before: Send + Sync {
    fn blocking(&self, call: &mut Call<'_>) -> Option<Result<Response<WriteBody>, AppError>>;
    fn polled(&self, call: &mut Call<'_>) -> Option<Result<Response<AsyncBody>, AppError>>;
}

/// A function that makes an answer of an error, with its type forgotten.
pub(crate) trait OnError: Send + Sync {
    fn blocking(&self, error: &HttpError) -> Result<Response<WriteBody>, AppError>;
    fn polled(&self, error: &HttpError) -> Result<Response<AsyncBody>, AppError>;
}

impl<H, R> OnError for H
where
    H: Fn(&HttpError) -> R + Send + Sync,
    R: Respond<Blocking> + Respond<Polled>,
{
    fn blocking(&self, error: &HttpError) -> Result<Response<WriteBody>, AppError> {
        Respond::<Blocking>::respond(self(error))
    }

    fn polled(&self, error: &HttpError) -> Result<Response<AsyncBody>, AppError> {
        Respond::<Polled>::respond(self(error))
    }
}

/// What a function before the handlers can return: `()`, `Option<R>` with an answer in place of the handler's, or
/// `Result<_, E>` of these.
#[diagnostic::on_unimplemented(
    message = "a function before the handlers cannot return `{Self}`",
    note = "it returns `()`, `Option<answer>` (`Some` in place of the handler's answer), or a `Result` of these"
)]
pub trait Verdict<F: Form> {
    /// The answer in place of the handler's, if there is to be one.
    fn verdict(self) -> Option<Result<Response<Body<F::Out>>, AppError>>;
}

impl<F: Form> Verdict<F> for () {
    fn verdict(self) -> Option<Answer<F>> {
        None
    }
}

impl<F: Form, R: Respond<F>> Verdict<F> for Option<R> {
    fn verdict(self) -> Option<Answer<F>> {
        self.map(R::respond)
    }
}

impl<F: Form, V: Verdict<F>, E: Into<AppError>> Verdict<F> for Result<V, E> {
    fn verdict(self) -> Option<Answer<F>> {
        match self {
            Ok(verdict) => verdict.verdict(),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// A function that can be called before the handlers: of arguments that are made of the head, with a [`Verdict`].
#[diagnostic::on_unimplemented(
    message = "this function cannot be called before the handlers",
    label = "not a function of arguments that are made of the head, returning `()`, `Option<answer>` or a `Result`",
    note = "its arguments are owned, as those of handlers, and the types of a closure's are written out: \
            `|session: Session| ...`"
)]
pub trait BeforeFn<Args>: Send + Sync + 'static {
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
    #[doc(hidden)]
    fn erased(self) -> ErasedBefore;
}

#[doc(hidden)]
pub struct ErasedBefore(pub(crate) Arc<dyn Before>);

/// With the arguments in its type, so that one function has one.
struct Typed<H, Args>(H, PhantomData<fn(Args)>);

macro_rules! before {
    ($($arg:ident)*) => {
        impl<H, V, $($arg),*> BeforeFn<($($arg,)*)> for H
        where
            H: Fn($($arg),*) -> V + Send + Sync + 'static,
            V: Verdict<Blocking> + Verdict<Polled>,
            $($arg: Extract<Blocking> + Extract<Polled> + 'static,)*
        {
            #[allow(unused_variables, reason = "of a function without arguments")]
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
            V: Verdict<Blocking> + Verdict<Polled>,
            $($arg: Extract<Blocking> + Extract<Polled> + 'static,)*
        {
            #[allow(unused_variables, non_snake_case, reason = "an argument is named as its type")]
            fn blocking(&self, call: &mut Call<'_>) -> Option<Result<Response<WriteBody>, AppError>> {
                $(let $arg = match <$arg as Extract<Blocking>>::extract(call) {
                    Ok(value) => value,
                    Err(error) => return Some(Err(error.into())),
                };)*
                Verdict::<Blocking>::verdict((self.0)($($arg),*))
            }

            #[allow(unused_variables, non_snake_case, reason = "an argument is named as its type")]
            fn polled(&self, call: &mut Call<'_>) -> Option<Result<Response<AsyncBody>, AppError>> {
                $(let $arg = match <$arg as Extract<Polled>>::extract(call) {
                    Ok(value) => value,
                    Err(error) => return Some(Err(error.into())),
                };)*
                Verdict::<Polled>::verdict((self.0)($($arg),*))
            }
        }
    };
}

before! {}
before! { A }
before! { A B }
before! { A B C }
before! { A B C D }

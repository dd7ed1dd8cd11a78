//! What stands around the handlers of a group: hooks, errors, and what is shared.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    error::Error,
    sync::Arc,
};

use http::{HeaderMap, Response, StatusCode, response};
use varvel::{AppError, AsyncBody, Body, BodyErrorKind, Event, FailKind, Report, Scope, Watch, WriteBody};
#[cfg(feature = "templates")]
use varvel_toolkit::templates::Templates;
use varvel_toolkit::{
    Accept, Blocking, Form, HttpError, Polled,
    cookies::{Cookies, Keys},
    multipart,
    router::Template,
};

use crate::{Call, Extract, Needs, Respond, Session};

pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;
pub(crate) type Names = HashMap<String, Template>;

/// All that a call needs beside its handler; made once for each group, when the application is called first.
pub(crate) struct Context {
    pub(crate) hooks: Hooks,
    pub(crate) states: Arc<States>,
    pub(crate) names: Arc<Names>,
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) content_bytes_max: usize,
    pub(crate) multipart: multipart::Limits,
    #[cfg(feature = "templates")]
    pub(crate) templates: Option<Templates>,
}

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

    fn for_error(&self, status: StatusCode) -> Option<&dyn OnError> {
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
struct Typed<H, Args>(H, std::marker::PhantomData<fn(Args)>);

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
                ErasedBefore(Arc::new(Typed::<H, ($($arg,)*)>(self, std::marker::PhantomData)))
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

impl Context {
    /// The answer in place of the handler's, if a hook has one.
    pub(crate) fn before<F: Side>(&self, call: &mut Call<'_>) -> Option<Answer<F>> {
        self.hooks.before.iter().find_map(|hook| F::before(&**hook, call))
    }

    /// Whoever is told of a failure that a hook answers in place of the server.
    pub(crate) fn watch(&self, scope: Option<&Scope>) -> Option<Watch> {
        self.hooks.for_error(StatusCode::INTERNAL_SERVER_ERROR)?;
        scope.map(Scope::watch)
    }

    /// What is remembered of a browser, if there is a secret to know it by.
    pub(crate) fn session(&self, headers: &HeaderMap, scope: &Scope) -> Option<Session> {
        self.keys.as_ref().map(|keys| Session::new(Cookies::of(headers, scope), Arc::clone(keys)))
    }

    /// Makes an answer of what a call came to.
    pub(crate) fn finish<F: Side>(
        &self,
        answer: Answer<F>,
        session: Option<&Session>,
        watch: Option<&Watch>,
        accept: &Accept,
    ) -> Answer<F> {
        let answer = self.render::<F>(answer, session);
        let answer = answer
            .or_else(|failure| self.render::<F>(self.answer_for::<F>(failure, watch, accept), session))?;
        let (mut head, body) = answer.into_parts();
        if let Some(session) = session {
            session.write_to(&mut head.headers)?;
        }
        self.hooks.after.iter().rev().for_each(|hook| hook(&mut head));
        Ok(Response::from_parts(head, body))
    }

    fn answer_for<F: Side>(&self, failure: AppError, watch: Option<&Watch>, accept: &Accept) -> Answer<F> {
        let made;
        let error = match (HttpError::of(&failure), failure.kind()) {
            (Some(error), _) => error,
            (None, FailKind::Body(BodyErrorKind::TooLarge)) => {
                made = HttpError::new(StatusCode::PAYLOAD_TOO_LARGE);
                &made
            }
            (None, FailKind::Internal) => {
                made = HttpError::new(StatusCode::INTERNAL_SERVER_ERROR);
                &made
            }
            _ => return Err(failure),
        };
        let status = error.status();
        match self.hooks.for_error(status) {
            Some(hook) => {
                let mut answer = F::on_error(hook, error)?;
                if answer.status() == StatusCode::OK {
                    *answer.status_mut() = status;
                }
                for (name, value) in error.headers() {
                    answer.headers_mut().append(name, value.clone());
                }
                if let (StatusCode::INTERNAL_SERVER_ERROR, Some(watch)) = (status, watch) {
                    let cause = failure.source().map(|source| source as &(dyn Error + 'static));
                    let event = Event::AppFailed { kind: failure.kind(), error: cause };
                    watch.report(&Report::new(event));
                }
                Ok(answer)
            }
            // The server's to answer and to report.
            None if status == StatusCode::INTERNAL_SERVER_ERROR => Err(failure),
            None => Ok(error.respond(accept)),
        }
    }
}

#[cfg(not(feature = "templates"))]
impl Context {
    pub(crate) fn session_of_page(&self, _headers: &HeaderMap, _scope: &Scope) -> Option<Session> {
        None
    }

    fn render<F: Side>(&self, answer: Answer<F>, _session: Option<&Session>) -> Answer<F> {
        answer
    }
}

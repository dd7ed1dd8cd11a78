//! What all calls of a group share, and how their responses are finished.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use varvel::{AppError, Scope};
#[cfg(feature = "templates")]
use varvel_toolkit::templates::Templates;
use varvel_toolkit::{Accept, HttpError, cookies::Cookies, multipart, router::Template};

use crate::{
    Asked, Call, Session,
    hooks::{Answer, Failure, Hooks, Side},
    session::Seal,
};

pub(crate) type States = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;
pub(crate) type Names = HashMap<String, Template>;

/// All that a call needs besides its handler; made once for each route, on the first call of the application.
#[derive(Clone)]
pub(crate) struct Context {
    /// The path of the route.
    pub(crate) route: Option<Box<str>>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) states: Arc<States>,
    pub(crate) names: Arc<Names>,
    pub(crate) seal: Option<Arc<Seal>>,
    pub(crate) content_bytes_max: usize,
    pub(crate) multipart: multipart::Limits,
    #[cfg(feature = "templates")]
    pub(crate) templates: Option<Templates>,
}

impl Context {
    /// The response in place of the handler's, if a hook has one.
    pub(crate) fn before<F: Side>(&self, call: &mut Call<'_>) -> Option<Answer<F>> {
        self.hooks.before.iter().find_map(|hook| F::before(&**hook, call))
    }

    /// The browser's session, if there is a secret.
    pub(crate) fn session(&self, headers: &HeaderMap, scope: &Scope) -> Option<Session> {
        self.seal.as_ref().map(|seal| Session::new(Cookies::of(headers, scope), Arc::clone(seal)))
    }

    /// Makes the response from the outcome of a call.
    pub(crate) fn finish<F: Side>(&self, outcome: Answer<F>, asked: &Asked<'_>) -> Answer<F> {
        let completed = self.complete::<F>(outcome, asked.session).or_else(|failure| {
            let answer = self.answer_for::<F>(failure, asked);
            self.complete::<F>(answer, asked.session)
        });
        let (mut head, body) = completed?.into_parts();
        self.hooks.after.iter().rev().for_each(|hook| hook(asked, &mut head));
        Ok(Response::from_parts(head, body))
    }

    /// Renders the template, which may change the session, and then adds the session.
    fn complete<F: Side>(&self, outcome: Answer<F>, session: Option<&Session>) -> Answer<F> {
        let mut answer = self.render::<F>(outcome, session)?;
        if let Some(session) = session {
            session.write_to(answer.headers_mut())?;
        }
        Ok(answer)
    }

    fn answer_for<F: Side>(&self, failure: AppError, asked: &Asked<'_>) -> Answer<F> {
        let made;
        let (error, is_servers) = match HttpError::of(&failure) {
            Some(error) => (error, error.status() == StatusCode::INTERNAL_SERVER_ERROR),
            None => match HttpError::of_kind(failure.kind()) {
                Some(error) => {
                    made = error;
                    (&made, made.status().is_server_error())
                }
                None => return Err(failure),
            },
        };
        if is_servers && !self.hooks.shape_failures() {
            return Err(failure);
        }
        if is_servers || error.is_reported() {
            // First, since the hook may fail as well.
            asked.report(&failure);
        }
        let status = error.status();
        let hook = self.hooks.for_error(status);
        let failure = Failure::new(error, asked);
        let Some(answer) = hook.and_then(|hook| F::on_error(hook, &failure)) else {
            return Ok(error.respond(&Accept::of(asked.headers)));
        };
        let mut answer = answer?;
        if answer.status() == StatusCode::OK {
            *answer.status_mut() = status;
        }
        for (name, value) in error.headers() {
            answer.headers_mut().append(name, value.clone());
        }
        if failure.varies.get() {
            answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        }
        Ok(answer)
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

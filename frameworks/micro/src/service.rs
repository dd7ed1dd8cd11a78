//! The assembled application: it finds what answers a request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use http::{HeaderValue, Method, Request, StatusCode, header};
use varvel::{App as SyncApp, AppFuture, AppResult, AsyncApp, AsyncAppResult, AsyncBody, ReadBody, Scope};
use varvel_toolkit::{Blocking, Endpoint, EndpointCall, FailureLog, HttpError, Polled, Router, respond};

use crate::{
    App, Asked,
    context::Context,
    hooks::{Answer, Side},
    mount::Mounted,
};

pub(crate) struct Service {
    pub(crate) router: Router<Target>,
    /// That of the application itself, for paths without a route.
    pub(crate) context: Arc<Context>,
}

/// What a path leads to.
pub(crate) enum Target {
    /// Handlers, and the context of the first of them for other methods.
    Methods(Vec<(Method, Endpoint)>, Arc<Context>),
    Mount(Mounted),
}

/// What answers.
enum Found<'s> {
    Handler(&'s Endpoint),
    Mount(&'s Mounted),
}

impl Service {
    /// Finds what answers, and puts the fields of the path into the scope; or answers.
    fn find<F: Side, B>(&self, request: &Request<B>, scope: &mut Scope) -> Result<Found<'_>, Answer<F>> {
        let uri = request.uri();
        let begin = scope.mount(uri).len();
        let Some(found) = self.router.find(scope.local_path(uri)) else {
            // `OPTIONS *` asks for the server and not for a path of it (RFC 9110 section 9.3.7).
            if *request.method() == Method::OPTIONS && uri.path() == "*" {
                return Err(options::<F, B>(None, &self.context, request, scope));
            }
            return Err(refused::<F, B>(&self.context, HttpError::not_found(), request, scope));
        };
        let target = match found.value() {
            Target::Methods(methods, context) => match handler_of(methods, request.method()) {
                Some(endpoint) => Found::Handler(endpoint),
                None => return Err(not_for::<F, B>(methods, context, request, scope)),
            },
            Target::Mount(mounted) => {
                if scope.descend(uri, found.taken()).is_err() {
                    return Err(refused::<F, B>(&self.context, HttpError::not_found(), request, scope));
                }
                Found::Mount(mounted)
            }
        };
        if let Some(params) = found.into_params(uri, begin) {
            params.insert_into(scope);
        }
        Ok(target)
    }
}

fn handler_of<'m>(methods: &'m [(Method, Endpoint)], method: &Method) -> Option<&'m Endpoint> {
    let of = |method: &Method| methods.iter().find(|(known, _)| known == method);
    // HEAD is answered like GET; the server leaves the body out (spec H1).
    let found = of(method).or_else(|| of(&Method::GET).filter(|_| *method == Method::HEAD));
    found.map(|(_, endpoint)| endpoint)
}

/// The response to a method for which the path has no handler: 405, or for OPTIONS the methods that it has.
fn not_for<F: Side, B>(
    methods: &[(Method, Endpoint)],
    context: &Context,
    request: &Request<B>,
    scope: &Scope,
) -> Answer<F> {
    let allow = allowed(methods);
    if *request.method() == Method::OPTIONS {
        return options::<F, B>(Some(allow), context, request, scope);
    }
    let error = HttpError::new(StatusCode::METHOD_NOT_ALLOWED).with_header(header::ALLOW, allow);
    refused::<F, B>(context, error, request, scope)
}

/// The methods of a path, including HEAD and OPTIONS, which need no handlers.
fn allowed(methods: &[(Method, Endpoint)]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    if names.contains(&"GET") && !names.contains(&"HEAD") {
        names.push("HEAD");
    }
    if !names.contains(&"OPTIONS") {
        names.push("OPTIONS");
    }
    HeaderValue::try_from(names.join(", ")).expect("methods are tokens")
}

fn options<F: Side, B>(
    allow: Option<HeaderValue>,
    context: &Context,
    request: &Request<B>,
    scope: &Scope,
) -> Answer<F> {
    let mut response = respond::empty(StatusCode::NO_CONTENT);
    response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    answered::<F, B>(context, Ok(response), request, scope)
}

fn refused<F: Side, B>(
    context: &Context,
    error: HttpError,
    request: &Request<B>,
    scope: &Scope,
) -> Answer<F> {
    answered::<F, B>(context, Err(error.into()), request, scope)
}

/// The response to a request for which no handler is called.
fn answered<F: Side, B>(
    context: &Context,
    outcome: Answer<F>,
    request: &Request<B>,
    scope: &Scope,
) -> Answer<F> {
    let headers = request.headers();
    let session = context.session_of_page(headers, scope);
    let (method, uri, route) = (request.method(), request.uri(), context.route.as_deref());
    let (session, log) = (session.as_ref(), || FailureLog::of(scope));
    context.finish::<F>(outcome, &Asked { method, uri, headers, route, session, log: &log })
}

impl SyncApp for App {
    fn call(&self, request: Request<ReadBody>, mut scope: Scope) -> AppResult {
        match self.service().find::<Blocking, _>(&request, &mut scope) {
            Ok(Found::Handler(endpoint)) => SyncApp::call(endpoint, request, scope),
            Ok(Found::Mount(mounted)) => mounted.call_blocking(request, scope),
            Err(answer) => answer,
        }
    }
}

impl AsyncApp for App {
    type Future = AppCall;

    fn call(&self, request: Request<AsyncBody>, mut scope: Scope) -> AppCall {
        AppCall(match self.service().find::<Polled, _>(&request, &mut scope) {
            Ok(Found::Handler(endpoint)) => Step::Handler(AsyncApp::call(endpoint, request, scope)),
            Ok(Found::Mount(mounted)) => Step::Mount(mounted.call_polled(request, scope)),
            Err(answer) => Step::Answered(Some(answer)),
        })
    }
}

/// The future of a call of [`App`].
#[must_use = "futures do nothing unless polled"]
pub struct AppCall(Step);

enum Step {
    Handler(EndpointCall),
    Mount(AppFuture),
    /// Without a handler.
    Answered(Option<AsyncAppResult>),
}

impl Future for AppCall {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<AsyncAppResult> {
        match &mut self.0 {
            Step::Handler(call) => Pin::new(call).poll(cx),
            Step::Mount(call) => call.as_mut().poll(cx),
            Step::Answered(answer) => {
                Poll::Ready(answer.take().expect("not polled again after its answer (spec B12)"))
            }
        }
    }
}

impl fmt::Debug for AppCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppCall")
    }
}

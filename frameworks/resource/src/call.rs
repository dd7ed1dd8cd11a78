//! A call from its request to its response, in either form.
//!
//! Most of it is the same in both: it looks at heads, and waits only for middleware and hooks that do, which a thread waits
//! for, too. What differs is how a responder is called. Where application and responder are of different forms, the rest of
//! the call, from the hooks on, is carried over by the contract's bridges. A panic of what the application does is a failure like
//! any other, for which nothing is paid where nothing panics.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request as HttpRequest, StatusCode, header};
use varvel::{
    App, AppError, AppFuture, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, ReadBody, Scope, Worker,
    bridge::{BlockOn, Offloaded},
    map_answer,
};
use varvel_toolkit::{Blocking, Endpoint, FailureLog, Form, HttpError, Polled, caught, prefetch};

use crate::{
    Request, RequestHead, Response, ResponseHead, Result,
    app::{Core, Target},
    awaited::awaited,
    errors,
    hook::Hooks,
    responder::{AsyncCall, Call, Responder, SyncCall},
};

/// What a request leads to.
enum Next<'c> {
    /// The response is complete.
    Nothing,
    Responder(&'c Responder),
    /// An application, below a mount of so many bytes.
    Mount(&'c Endpoint, usize),
}

pub(crate) fn blocking(core: &Arc<Core>, request: HttpRequest<ReadBody>, scope: Scope) -> AppResult {
    let (mut req, mut resp) = begin::<Blocking>(core, request, scope);
    let outcome = match core.prepare_blocking(&mut req.head, &mut resp.head, req.scope.worker()) {
        Ok(Next::Nothing) => Ok(()),
        Ok(Next::Responder(Responder { hooks, call: Call::Sync(call) })) => {
            let outcome = respond_blocking(hooks, &**call, &mut req, &mut resp);
            if outcome.is_ok() && resp.is_deferred() {
                return later(core, hooks, req.head, resp, FailureLog::of(&req.scope));
            }
            outcome
        }
        Ok(Next::Responder(Responder { hooks, call: Call::Async(call) })) => {
            let (request, scope, rest) = Rest::of(core, hooks, call, req, resp);
            return BlockOn::new(rest).call(request, scope);
        }
        Ok(Next::Mount(endpoint, taken)) => {
            let log = FailureLog::of(&req.scope);
            let outcome = descend::<Blocking>(&req.head, req.body, req.scope, taken)
                .and_then(|(request, scope)| caught(|| App::call(endpoint, request, scope))?)
                .map(|answer| resp.replace(answer));
            if outcome.is_ok() && resp.is_deferred() {
                return later(core, &Hooks::default(), req.head, resp, log);
            }
            core.conclude_blocking(outcome, &mut req.head, &mut resp.head, log.worker(), || log.clone())?;
            return Ok(resp.finish(&req.head));
        }
        Err(failure) => Err(failure),
    };
    let scope = &req.scope;
    core.conclude_blocking(outcome, &mut req.head, &mut resp.head, scope.worker(), || FailureLog::of(scope))?;
    Ok(resp.finish(&req.head))
}

/// Request and response are large. They are in a box, so that futures are small and nothing is copied from one to the next.
pub(crate) fn polled(core: &Arc<Core>, request: HttpRequest<AsyncBody>, scope: Scope) -> AppFuture {
    let mut exchange = Box::new(begin::<Polled>(core, request, scope));
    let (req, resp) = &mut *exchange;
    if core.middleware.is_empty() {
        if let Ok(Next::Responder(Responder { hooks, call: Call::Async(call) })) =
            core.route(&mut req.head, &mut resp.head)
        {
            if hooks.are_none() {
                return Arc::clone(call).call_alone(exchange);
            }
        }
        // Whatever else it is, the way there is the smaller part of what it costs.
    }
    let core = Arc::clone(core);
    Box::pin(async move {
        let (req, resp) = &mut *exchange;
        let outcome = match core.prepare(&mut req.head, &mut resp.head).await {
            Ok(Next::Nothing) => Ok(()),
            Ok(Next::Responder(Responder { hooks, call: Call::Async(call) })) => {
                respond_polled(hooks, &**call, req, resp).await
            }
            Ok(Next::Responder(Responder { hooks, call: Call::Sync(call) })) => {
                let (req, resp) = *exchange;
                return Box::pin(respond_offloaded(&core, hooks, call, req, resp)).await;
            }
            Ok(Next::Mount(endpoint, taken)) => {
                let (req, resp) = *exchange;
                return Box::pin(respond_mounted(&core, endpoint, taken, req, resp)).await;
            }
            Err(failure) => Err(failure),
        };
        core.conclude(outcome, &mut req.head, &mut resp.head, || FailureLog::of(&req.scope)).await?;
        Ok(resp.finish(&req.head))
    })
}

fn begin<F: Form>(
    core: &Arc<Core>,
    request: HttpRequest<Body<F::In>>,
    scope: Scope,
) -> (Request<F>, Response<F>) {
    let (parts, body) = request.into_parts();
    let head = RequestHead::new(parts, &scope, Arc::clone(core));
    let resp = ResponseHead::new(Arc::clone(core));
    (Request::new(head, body, scope), Response::new(resp))
}

impl Core {
    /// Everything before the hooks: middleware, and the way to the responder.
    async fn prepare(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result<Next<'_>> {
        for component in &self.middleware {
            component.process_request(req, resp).await?;
            if resp.is_complete {
                return Ok(Next::Nothing);
            }
        }
        let Some((target, taken)) = self.find(req, resp)? else { return Ok(Next::Nothing) };
        if let Target::Resource(_) = target {
            for component in &self.middleware {
                component.process_resource(req, resp).await?;
                if resp.is_complete {
                    return Ok(Next::Nothing);
                }
            }
        }
        next(target, taken, req, resp)
    }

    /// [`prepare`](Self::prepare), where the thread may block.
    fn prepare_blocking(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        worker: &Worker,
    ) -> Result<Next<'_>> {
        if !self.middleware.is_empty() {
            return worker.block_on(self.prepare(req, resp));
        }
        self.route(req, resp)
    }

    /// [`prepare`](Self::prepare), where there is no middleware.
    fn route(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result<Next<'_>> {
        match self.find(req, resp)? {
            Some((target, taken)) => next(target, taken, req, resp),
            None => Ok(Next::Nothing),
        }
    }

    /// What a path leads to, and how many bytes of it, unless the response is complete.
    fn find(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result<Option<(&Target, usize)>> {
        let Some(found) = self.router.find(req.path()) else {
            // `OPTIONS *` asks for the server and not for a path of it (RFC 9110 section 9.3.7).
            if *req.method() == Method::OPTIONS && req.path() == "*" {
                resp.status = StatusCode::NO_CONTENT;
                return Ok(None);
            }
            return Err(errors::not_found().into());
        };
        let (target, taken, index) = (found.value(), found.taken(), found.index());
        req.params = found.into_params(&req.parts.uri, req.mount);
        req.route = Some(index);
        Ok(Some((target, taken)))
    }

    /// Everything behind the responder and its hooks: errors and middleware. The answer is what is in the response then.
    async fn conclude(
        &self,
        outcome: Result,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        log: impl Fn() -> FailureLog,
    ) -> Result {
        let mut succeeded = outcome.is_ok();
        let mut outcome = self.settle(outcome, req, resp, &log);
        for component in self.middleware.iter().rev() {
            if let Err(failure) = component.process_response(req, resp, succeeded).await {
                succeeded = false;
                outcome = outcome.and(self.settle(Err(failure), req, resp, &log));
            }
        }
        outcome
    }

    /// [`conclude`](Self::conclude), where the thread may block.
    fn conclude_blocking(
        &self,
        outcome: Result,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        worker: &Worker,
        log: impl Fn() -> FailureLog,
    ) -> Result {
        if !self.middleware.is_empty() {
            return worker.block_on(self.conclude(outcome, req, resp, log));
        }
        self.settle(outcome, req, resp, log)
    }

    /// [`conclude`](Self::conclude), where there is no middleware.
    fn settle(
        &self,
        outcome: Result,
        req: &RequestHead,
        resp: &mut ResponseHead,
        log: impl Fn() -> FailureLog,
    ) -> Result {
        let report = |req: &RequestHead, failure: &AppError| log().failed(req.method(), req.uri(), failure);
        outcome.or_else(|failure| self.answer_for(failure, req, resp, &report))
    }
}

/// The end of a call in which nothing is around the responder.
pub(crate) fn conclude_alone(
    outcome: Result,
    req: &Request<Polled>,
    resp: &mut Response<Polled>,
) -> AsyncAppResult {
    req.core.settle(outcome, &req.head, &mut resp.head, || FailureLog::of(&req.scope))?;
    Ok(resp.finish(&req.head))
}

/// What a target does about a request.
fn next<'t>(
    target: &'t Target,
    taken: usize,
    req: &RequestHead,
    resp: &mut ResponseHead,
) -> Result<Next<'t>> {
    let methods = match target {
        Target::Resource(methods) | Target::Sink(methods) => methods,
        Target::Mount(mount) => return Ok(Next::Mount(&mount.endpoint, taken)),
    };
    match methods.find(req) {
        Some(responder) => Ok(Next::Responder(responder)),
        None if *req.method() == Method::OPTIONS => {
            resp.status = StatusCode::NO_CONTENT;
            resp.headers.insert(header::ALLOW, methods.allow.clone());
            Ok(Next::Nothing)
        }
        None => {
            let refusal = HttpError::new(StatusCode::METHOD_NOT_ALLOWED);
            Err(refusal.with_header(header::ALLOW, methods.allow.clone()).into())
        }
    }
}

fn respond_blocking(
    hooks: &Hooks,
    call: &SyncCall,
    req: &mut Request<Blocking>,
    resp: &mut Response<Blocking>,
) -> Result {
    if hooks.are_none() {
        return caught(|| call(req, resp))?;
    }
    if req.scope.worker().block_on(before(hooks, &mut req.head, &mut resp.head))? {
        caught(|| call(req, resp))??;
        if !resp.is_deferred() {
            req.scope.worker().block_on(after(hooks, &mut req.head, &mut resp.head))?;
        }
    }
    Ok(())
}

/// The rest of a call whose answer is deferred, to be done once that has arrived (spec M9).
#[cold]
fn later(
    core: &Arc<Core>,
    hooks: &Hooks,
    mut req: RequestHead,
    mut resp: Response<Blocking>,
    log: FailureLog,
) -> AppResult {
    let (core, hooks) = (Arc::clone(core), hooks.clone());
    map_answer(Ok(resp.take_placeholder()), move |answer| {
        let outcome = answer.and_then(|answer| {
            resp.replace(answer);
            log.worker().block_on(after(&hooks, &mut req, &mut resp.head))
        });
        core.conclude_blocking(outcome, &mut req, &mut resp.head, log.worker(), || log.clone())?;
        Ok(resp.finish(&req))
    })
}

async fn respond_polled(
    hooks: &Hooks,
    call: &dyn AsyncCall,
    req: &mut Request<Polled>,
    resp: &mut Response<Polled>,
) -> Result {
    if hooks.are_none() {
        return awaited(|| call.call(req, resp)).await;
    }
    if before(hooks, &mut req.head, &mut resp.head).await? {
        awaited(|| call.call(req, resp)).await?;
        after(hooks, &mut req.head, &mut resp.head).await?;
    }
    Ok(())
}

async fn respond_mounted(
    core: &Core,
    endpoint: &Endpoint,
    taken: usize,
    req: Request<Polled>,
    mut resp: Response<Polled>,
) -> AsyncAppResult {
    let Request { mut head, body, scope, .. } = req;
    let log = FailureLog::of(&scope);
    let outcome = match descend::<Polled>(&head, body, scope, taken) {
        Ok((request, scope)) => {
            let answer = awaited(|| AsyncApp::call(endpoint, request, scope)).await;
            answer.map(|answer| resp.replace(answer))
        }
        Err(failure) => Err(failure),
    };
    core.conclude(outcome, &mut head, &mut resp.head, || log.clone()).await?;
    Ok(resp.finish(&head))
}

async fn respond_offloaded(
    core: &Arc<Core>,
    hooks: &Hooks,
    call: &Arc<SyncCall>,
    mut req: Request<Polled>,
    resp: Response<Polled>,
) -> AsyncAppResult {
    let log = FailureLog::of(&req.scope);
    if req.head.has_media() {
        // A responder that asks for it wants all of it: so clients that send slowly keep no thread from others. One byte
        // more than is accepted refuses the rest without waiting for it.
        req.body = prefetch(req.body, core.settings.media_bytes_max.saturating_add(1)).await;
    }
    let (request, scope, rest) = Rest::of(core, hooks, call, req, resp);
    let rest = Arc::new(rest);
    let outcome = Offloaded::new(Arc::clone(&rest)).call(request, scope).await;
    match (outcome, rest.take_heads()) {
        // The call was not made, as the pool is full.
        (Err(failure), Some((mut req, mut resp))) => {
            core.conclude(Err(failure), &mut req, &mut resp, || log.clone()).await?;
            Ok(Response::<Polled>::new(resp).finish(&req))
        }
        (outcome, _) => outcome,
    }
}

/// Whether the responder is to come.
async fn before(hooks: &Hooks, req: &mut RequestHead, resp: &mut ResponseHead) -> Result<bool> {
    for hook in &hooks.before {
        hook.call(req, resp).await?;
        if resp.is_complete {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn after(hooks: &Hooks, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
    for hook in &hooks.after {
        hook.call(req, resp).await?;
    }
    Ok(())
}

/// The request for an application below a mount. The head stays, for `process_response`.
fn descend<F: Form>(
    head: &RequestHead,
    body: Body<F::In>,
    mut scope: Scope,
    taken: usize,
) -> Result<(HttpRequest<Body<F::In>>, Scope)> {
    scope.descend(head.uri(), taken).map_err(|_| errors::not_found())?;
    if let Some(params) = head.params.clone() {
        params.insert_into(&mut scope);
    }
    Ok((HttpRequest::from_parts(head.parts.clone(), body), scope))
}

/// The rest of a call whose responder is of the other form.
struct Rest<C: ?Sized> {
    core: Arc<Core>,
    hooks: Hooks,
    call: Arc<C>,
    /// Taken by the one call that there is.
    heads: Mutex<Option<(RequestHead, ResponseHead)>>,
}

impl<C: ?Sized> Rest<C> {
    fn of<F: Form>(
        core: &Arc<Core>,
        hooks: &Hooks,
        call: &Arc<C>,
        req: Request<F>,
        resp: Response<F>,
    ) -> (HttpRequest<Body<F::In>>, Scope, Self) {
        let Request { head, body, scope, .. } = req;
        let mut request = HttpRequest::new(body);
        // What the bridges look at.
        *request.method_mut() = head.method().clone();
        *request.version_mut() = head.version();
        let heads = Mutex::new(Some((head, resp.head)));
        let rest = Self { core: Arc::clone(core), hooks: hooks.clone(), call: Arc::clone(call), heads };
        (request, scope, rest)
    }

    /// The heads, unless the call was made.
    fn take_heads(&self) -> Option<(RequestHead, ResponseHead)> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn resume<F: Form>(&self, body: Body<F::In>, scope: Scope) -> Result<(Request<F>, Response<F>)> {
        let (req, resp) = self.take_heads().ok_or_else(|| AppError::internal("a call was made twice"))?;
        Ok((Request::new(req, body, scope), Response::new(resp)))
    }
}

impl App for Rest<SyncCall> {
    fn call(&self, request: HttpRequest<ReadBody>, scope: Scope) -> AppResult {
        let (mut req, mut resp) = self.resume::<Blocking>(request.into_body(), scope)?;
        let outcome = respond_blocking(&self.hooks, &*self.call, &mut req, &mut resp);
        if outcome.is_ok() && resp.is_deferred() {
            return later(&self.core, &self.hooks, req.head, resp, FailureLog::of(&req.scope));
        }
        let (core, scope) = (&self.core, &req.scope);
        core.conclude_blocking(outcome, &mut req.head, &mut resp.head, scope.worker(), || {
            FailureLog::of(scope)
        })?;
        Ok(resp.finish(&req.head))
    }
}

impl AsyncApp for Rest<dyn AsyncCall> {
    type Future = AppFuture;

    fn call(&self, request: HttpRequest<AsyncBody>, scope: Scope) -> AppFuture {
        let resumed = self.resume::<Polled>(request.into_body(), scope);
        let (core, hooks, call) = (Arc::clone(&self.core), self.hooks.clone(), Arc::clone(&self.call));
        Box::pin(async move {
            let (mut req, mut resp) = resumed?;
            let outcome = respond_polled(&hooks, &*call, &mut req, &mut resp).await;
            core.conclude(outcome, &mut req.head, &mut resp.head, || FailureLog::of(&req.scope)).await?;
            Ok(resp.finish(&req.head))
        })
    }
}

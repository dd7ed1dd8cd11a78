//! The lint: a middleware around one application, or around the factory of one.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, request};
use varvel::{App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Caps, OnDisconnect, ReadBody, Scope};

use crate::{
    Cancelling, Findings, answer,
    breach::Mode,
    incoming, passage,
    record::{CallGuard, Core, Place, Record, Settings, resume},
    request as check_request, rules as r,
    serving::StandIn,
};

/// Watches an application and what is above it, and says which rule is broken. See the [front page](crate).
///
/// It wraps an [`App`], an [`AsyncApp`], or the factory of either, and is the same again. By itself it is the most patient
/// of middlewares: it hands on the very scope it was given and every frame, and keeps chapter M.
pub struct Lint<A> {
    pub(crate) inner: A,
    pub(crate) core: Arc<Core>,
    /// Held while the application of a watched factory lives.
    pub(crate) life: Option<Arc<()>>,
}

impl<A> Lint<A> {
    /// Watches an application, or the factory of one. A breach panics, until told otherwise.
    pub fn new(inner: A) -> Self {
        Self::with_findings(inner, Place::Alone, Findings::new())
    }

    pub(crate) fn with_findings(inner: A, place: Place, findings: Findings) -> Self {
        let settings = Settings {
            findings,
            poll_limit: None,
            serving: false,
            masked: Caps::NONE,
            place,
            below_middleware: false,
            policy: None,
        };
        Self { inner, core: Core::new(settings, None), life: None }
    }

    /// A breach panics, with all that is to say about it. For tests, and the default.
    ///
    /// On a server the panic is contained like any other of the application: it becomes a 500 and a report. A test that
    /// runs one asks the [`findings`](Self::findings) at its end. In a thread that panics already a breach is reported
    /// instead.
    #[must_use]
    pub fn panic(self) -> Self {
        self.in_mode(Mode::Panic)
    }

    /// The first breach of each rule goes to the server's reporter as [`Event::Contract`](varvel::Event::Contract), and
    /// nothing else happens. For production.
    #[must_use]
    pub fn log_once(self) -> Self {
        self.in_mode(Mode::LogOnce)
    }

    /// Breaches are counted, and nothing else happens; see [`findings`](Self::findings). For production.
    #[must_use]
    pub fn count(self) -> Self {
        self.in_mode(Mode::Count)
    }

    /// What was found, in any mode. Clones of this lint, and those that it makes as a factory, share one list and one mode.
    pub fn findings(&self) -> Findings {
        self.core.settings.findings.clone()
    }

    /// Adds what is found to this list, and takes its mode: one list for several applications.
    #[must_use]
    pub fn sharing(self, findings: &Findings) -> Self {
        let findings = findings.clone();
        self.with(|settings| settings.findings = findings)
    }

    /// How long a poll may take (spec A1), instead of 100 ms, or of a second in panic mode, since tests run unoptimised builds
    /// that print backtraces. In panic mode, on Linux, the time in which the thread was ready to run but had no processor does
    /// not count.
    #[must_use]
    pub fn poll_limit(self, limit: Duration) -> Self {
        self.with(|settings| settings.poll_limit = Some(limit))
    }

    /// There is middleware between the server and this lint, which may take tokens, rewrite URIs and replace bodies: what
    /// only a server owes is not looked at.
    #[must_use]
    pub fn below_middleware(self) -> Self {
        self.with(|settings| settings.below_middleware = true)
    }

    /// Puts an exchange and a worker of the lint's own in front of the server's, so that interim heads, jobs and tasks are
    /// watched as well. The application is then given another scope: entries that others put into it stay behind.
    #[must_use]
    pub fn serving(self) -> Self {
        self.with(|settings| settings.serving = true)
    }

    /// Hides capabilities from the application (spec A10); implies [`serving`](Self::serving).
    ///
    /// In a call everything hidden is absent as on a server without it, but for `FULL_DUPLEX`, `HALF_CLOSE` and
    /// `FILE_ZEROCOPY`, which are only not advertised. `build` sees it hidden if a factory is wrapped.
    #[must_use]
    pub fn without(self, caps: Caps) -> Self {
        self.with(|settings| {
            settings.masked |= caps;
            settings.serving = true;
        })
    }

    /// Drops calls where they wait: one at its first pending poll, the next at its second, and so on (spec A6). Each is
    /// then made again, so that the client has its answer all the same; see [`Cancelling`].
    #[must_use]
    pub fn cancelling(self) -> Lint<Cancelling<A>> {
        let Self { inner, core, life } = self;
        Lint { inner: Cancelling::new(inner, &core.settings), core, life }
    }

    fn in_mode(self, mode: Mode) -> Self {
        self.core.settings.findings.set_mode(mode);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.core.settings.clone();
        change(&mut settings);
        self.core = Core::new(settings, None);
        self
    }

    /// What comes before the inner call.
    fn begin(
        &self,
        head: &request::Parts,
        exact_len: Option<u64>,
        mut scope: Scope,
        is_async: bool,
    ) -> (CallGuard, Scope) {
        let record = Record::begin(&self.core, head, &scope, is_async);
        // Made first, so that a breach that panics ends the call in the books, too.
        let guard = CallGuard { record, inside: false };
        let record = &guard.record;
        if record.is_outermost() {
            record.check_arrival(&scope);
            scope = check_request::check(record, head, exact_len, scope);
        }
        let Settings { place, serving, .. } = self.core.settings;
        if place == Place::Inside {
            passage::check_entry(record, &head.uri, &mut scope);
        }
        if serving {
            scope = StandIn::new(scope, &head.uri, record).scope(&head.uri);
        }
        if let Some(passage) = record.passage.as_ref().filter(|_| place == Place::Outside) {
            passage.seal(&mut scope);
        }
        (guard, scope)
    }
}

impl<A: App> App for Lint<A> {
    fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        let (head, body) = request.into_parts();
        let (mut guard, scope) = self.begin(&head, body.exact_len(), scope, false);
        let body = incoming::watch_sync(body, &head, &guard.record);
        guard.inside = true;
        let result = self.inner.call(Request::from_parts(head, body), scope);
        guard.inside = false;
        if let Some(passage) = guard.inner_passage() {
            passage.call_over();
        }
        answer::watch_sync(result, &guard.record)
    }
}

impl<A: AsyncApp> AsyncApp for Lint<A> {
    type Future = LintCall<A::Future>;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> Self::Future {
        let (head, body) = request.into_parts();
        let (mut guard, scope) = self.begin(&head, body.exact_len(), scope, true);
        let body = incoming::watch_async(body, &head, &guard.record);
        guard.inside = true;
        let record = Arc::clone(&guard.record);
        let call = record.timed(r::A1_CALL, || self.inner.call(Request::from_parts(head, body), scope));
        guard.inside = false;
        LintCall { call: Some(Box::pin(call)), guard }
    }
}

/// The call of an async application that is watched.
pub struct LintCall<F> {
    /// Taken by its end.
    call: Option<Pin<Box<F>>>,
    guard: CallGuard,
}

impl<F: Future<Output = AsyncAppResult>> Future for LintCall<F> {
    type Output = AsyncAppResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AsyncAppResult> {
        let Self { call, guard } = &mut *self;
        let record = Arc::clone(&guard.record);
        let Some(inner) = call else {
            record.breach(r::B12_FUTURE, || "it was polled again".to_owned());
            return Poll::Pending;
        };
        record.check_thread();
        guard.inside = true;
        let polled = record.timed(r::A1_POLL, || inner.as_mut().poll(cx));
        guard.inside = false;
        if let Some(passage) = guard.inner_passage() {
            passage.polled(polled.is_pending());
        }
        match polled {
            Poll::Pending => {
                if !guard.is_inside() {
                    passage::check_wait(&record);
                }
                Poll::Pending
            }
            Poll::Ready(result) => {
                *call = None;
                if let Some(passage) = guard.inner_passage() {
                    passage.call_over();
                }
                Poll::Ready(answer::watch_async(result, &record))
            }
        }
    }
}

impl<F> Drop for LintCall<F> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        let guard = &self.guard;
        let dropped = guard.record.watch_drop((!guard.inside).then_some("the pending call"), || drop(call));
        if let Some(passage) = guard.inner_passage() {
            passage.call_over();
        }
        if dropped.is_err() {
            return resume(dropped);
        }
        if !guard.is_inside() && !guard.inside {
            passage::check_drop(&guard.record, r::M5_FUTURE);
        }
        let record = &guard.record;
        let finishes =
            record.core.settings.policy.is_some_and(|policy| policy.on_disconnect == OnDisconnect::Finish);
        if finishes && !guard.inside && record.is_outermost() && !record.worker.is_stopping() {
            record.breach(r::E10_FUTURE, || "it was dropped while it was pending".to_owned());
        }
    }
}

impl CallGuard {
    pub(crate) fn is_inside(&self) -> bool {
        self.record.core.settings.place == Place::Inside
    }

    /// The way to the outer lint, if this is the inner one.
    fn inner_passage(&self) -> Option<&passage::Passage> {
        self.record.passage.as_deref().filter(|_| self.is_inside())
    }
}

/// A lint of its own for each worker, with the same findings.
impl<A: Clone> Clone for Lint<A> {
    fn clone(&self) -> Self {
        let core = Core::new(self.core.settings.clone(), self.core.built.clone());
        Self { inner: self.inner.clone(), core, life: self.life.clone() }
    }
}

impl<A> fmt::Debug for Lint<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lint").field("findings", &self.core.settings.findings).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for LintCall<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LintCall")
    }
}

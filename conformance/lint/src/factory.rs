//! The lint around a factory: the order of builds and teardowns, and what the making of a factory costs.

use std::{fs, thread};

use varvel::{AppFactory, AsyncAppFactory, BoxError, Policy, StartError, Worker};

use crate::{
    Lint,
    record::{Built, Core, Settings},
    rules as r,
    serving::StandInWorker,
};

impl<F> Lint<F> {
    /// Watches a factory, and its making as well (spec A9), on Linux.
    ///
    /// Descriptors and threads of the process are counted before and after. Because other threads may open something at
    /// the same moment, a factory that seems to do so is made up to three times; only what happens each time is laid at
    /// its door.
    ///
    /// ```
    /// use http::Response;
    /// use varvel::{WriteBody, sync_factory_fn, sync_fn};
    /// use varvel_lint::Lint;
    ///
    /// let factory = Lint::factory(|| {
    ///     sync_factory_fn(|_worker| Ok(sync_fn(|_, _| Ok(Response::new(WriteBody::empty())))))
    /// });
    /// # let _ = factory;
    /// ```
    pub fn factory(make: impl Fn() -> F) -> Self {
        let mut grown = [true, true];
        let mut made = Vec::new();
        // The earlier ones are kept meanwhile: what they close would hide what the next one opens.
        while made.len() < 3 && (made.is_empty() || grown != [false, false]) {
            let before = footprint();
            made.push(make());
            let after = footprint();
            for (grown, (before, after)) in grown.iter_mut().zip(before.into_iter().zip(after)) {
                *grown &= after > before;
            }
        }
        let factory = made.pop().expect("it was made at least once");
        drop(made);
        let lint = Self::new(factory);
        for (rule, _) in [r::A9_DESCRIPTORS, r::A9_THREADS].into_iter().zip(grown).filter(|(_, grown)| *grown)
        {
            lint.core.breach(rule, None, || "there are more behind its making than before".to_owned());
        }
        lint
    }

    fn built<A>(&self, app: A, policy: Policy, worker: &Worker) -> Lint<A> {
        let life = self.core.was_built(worker);
        let built = Built { thread: thread::current().id(), info: worker.info().clone() };
        let settings = Settings { policy: Some(policy), ..self.core.settings.clone() };
        Lint { inner: app, core: Core::new(settings, Some(built)), life: Some(life) }
    }

    /// What the inner factory gets to see of the worker.
    fn shown(&self, worker: &Worker, is_async: bool) -> Worker {
        match self.core.settings.serving {
            true => StandInWorker::worker(worker, &self.core, is_async),
            false => worker.clone(),
        }
    }
}

/// How many descriptors that are not files, and how many threads, the process has; nothing where that cannot be told.
fn footprint() -> [usize; 2] {
    let descriptors = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    [targets.filter(|target| !target.has_root()).count(), threads.count()]
}

impl<F: AppFactory> AppFactory for Lint<F> {
    type App = Lint<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let app = self.inner.build(&self.shown(worker, false))?;
        Ok(self.built(app, self.inner.policy(), worker))
    }

    fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        app.core.check_rest(worker);
        self.inner.teardown(app.inner, &self.shown(worker, false))
    }
}

impl<F: AsyncAppFactory> AsyncAppFactory for Lint<F> {
    type App = Lint<F::App>;

    fn policy(&self) -> Policy {
        self.inner.policy()
    }

    async fn build(&self, worker: &Worker) -> Result<Self::App, StartError> {
        let app = self.inner.build(&self.shown(worker, true)).await?;
        Ok(self.built(app, self.inner.policy(), worker))
    }

    async fn teardown(&self, app: Self::App, worker: &Worker) -> Result<(), BoxError> {
        app.core.check_rest(worker);
        self.inner.teardown(app.inner, &self.shown(worker, true)).await
    }
}

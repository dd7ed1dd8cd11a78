//! What a program may do at the turning points of its processes.

use std::process::ExitStatus;

/// Called by the supervisor, or in a worker, at the moments that their names say; all do nothing by default.
///
/// Those of the supervisor must return soon: meanwhile no signal is obeyed and no worker replaced. None of them may start a
/// thread in the supervisor's process, for it could fork no more then.
#[expect(unused_variables, reason = "the names are for who implements them")]
pub trait Hooks {
    /// The supervisor has started, and no worker has.
    fn on_starting(&mut self) {}

    /// All workers serve, for the first time.
    fn when_ready(&mut self) {}

    /// A worker is about to be forked. What is allocated here, or before, is shared by all workers until one writes to it.
    fn before_fork(&mut self, worker: &WorkerProcess) {}

    /// In the new worker, before its server starts.
    fn after_fork(&mut self, worker: &WorkerProcess) {}

    /// A worker serves.
    fn worker_ready(&mut self, worker: &WorkerProcess) {}

    /// In a worker that hangs, on a thread of its own, before it aborts: the last chance to say where it was.
    fn worker_abort(&mut self) {}

    /// A worker has ended, for whatever reason.
    fn worker_exit(&mut self, worker: &WorkerProcess, status: ExitStatus) {}

    /// SIGHUP came: new workers are about to be forked.
    fn on_reload(&mut self) {}

    /// The supervisor ends; no worker is left.
    fn on_exit(&mut self) {}
}

impl<H: Hooks + ?Sized> Hooks for Box<H> {
    fn on_starting(&mut self) {
        (**self).on_starting();
    }

    fn when_ready(&mut self) {
        (**self).when_ready();
    }

    fn before_fork(&mut self, worker: &WorkerProcess) {
        (**self).before_fork(worker);
    }

    fn after_fork(&mut self, worker: &WorkerProcess) {
        (**self).after_fork(worker);
    }

    fn worker_ready(&mut self, worker: &WorkerProcess) {
        (**self).worker_ready(worker);
    }

    fn worker_abort(&mut self) {
        (**self).worker_abort();
    }

    fn worker_exit(&mut self, worker: &WorkerProcess, status: ExitStatus) {
        (**self).worker_exit(worker, status);
    }

    fn on_reload(&mut self) {
        (**self).on_reload();
    }

    fn on_exit(&mut self) {
        (**self).on_exit();
    }
}

/// Several, one after the other.
#[derive(Default)]
pub(crate) struct AllHooks(pub(crate) Vec<Box<dyn Hooks + Send>>);

impl AllHooks {
    pub(crate) fn call(&mut self, mut hook: impl FnMut(&mut dyn Hooks)) {
        self.0.iter_mut().for_each(|hooks| hook(&mut **hooks));
    }
}

/// A worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerProcess {
    /// Which of the workers it is, from 0. Whoever replaces it has the same place.
    pub place: usize,
    /// How often there was a reload before it was forked, plus 1.
    pub generation: u32,
    /// Its process, once there is one.
    pub pid: Option<u32>,
}

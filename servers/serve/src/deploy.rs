//! What can be run, and which bridge it needs on which server.

use varvel::{
    App, AppFactory, AsyncApp, AsyncAppFactory, Launch, Served, Server, Shared,
    bridge::{BlockOn, Inline, Offloaded},
};
use varvel_evented::Evented;
use varvel_threaded::Threaded;

use crate::{Config, Error, ServerKind};

/// What [`run`](crate::run) takes: a program that any of the servers can run.
///
/// `Kind` only tells the implementations apart and is always inferred; see [`kind`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a Varvel server can run",
    label = "neither an application nor a factory of one",
    note = "make an application of a function with `varvel::app_fn` (async) or `varvel::sync_fn`, or implement \
            `varvel::AsyncApp` or `varvel::App`",
    note = "an application must be `Clone + Send + Sync + 'static`: wrap one that is not `Clone` in an `Arc`, build one \
            that is not `Send` with `varvel::factory_fn` inside `varvel_serve::EventedOnly`"
)]
pub trait Deploy<Kind> {
    /// Runs on the server that `config` names, which is not the pre-fork server, until `launch.control` stops it.
    ///
    /// # Errors
    /// If the server fails, or cannot run this.
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error>;
}

/// What sorts of program there are. Nobody needs to name these types: they let one function take all sorts.
pub mod kind {
    /// An async application, of which each worker gets a clone.
    #[derive(Debug)]
    pub enum Async {}
    /// A sync application, of which each worker gets a clone.
    #[derive(Debug)]
    pub enum Sync {}
    /// A factory of async applications.
    #[derive(Debug)]
    pub enum AsyncFactory {}
    /// A factory of sync applications.
    #[derive(Debug)]
    pub enum SyncFactory {}
    /// An application of both forms: [`Both`](super::Both).
    #[derive(Debug)]
    pub enum Both {}
    /// A program with a form of its own for each server: [`PerServer`](super::PerServer).
    #[derive(Debug)]
    pub struct Forms<T, E>(std::marker::PhantomData<(T, E)>);
    /// A factory of applications that stay on their event loop: [`EventedOnly`](super::EventedOnly).
    #[derive(Debug)]
    pub enum Local {}
}

impl<A> Deploy<kind::Async> for A
where
    A: AsyncApp<Future: 'static> + Clone + Send + Sync + 'static,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        Deploy::<kind::AsyncFactory>::deploy(Shared(self), config, launch)
    }
}

impl<A> Deploy<kind::Sync> for A
where
    A: App + Clone + Send + Sync + 'static,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        Deploy::<kind::SyncFactory>::deploy(Shared(self), config, launch)
    }
}

impl<F> Deploy<kind::AsyncFactory> for F
where
    F: AsyncAppFactory<App: AsyncApp<Future: 'static> + Send + Sync + 'static> + Send + Sync + 'static,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        match config.server {
            ServerKind::Threaded => on_threads(BlockOn::new(self), config, launch),
            ServerKind::Evented => on_loops(self, config, launch),
            ServerKind::Prefork => Err(NESTED),
        }
    }
}

impl<F> Deploy<kind::SyncFactory> for F
where
    F: AppFactory<App: App + Send + Sync + 'static> + Send + Sync + 'static,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        match config.server {
            ServerKind::Threaded => on_threads(self, config, launch),
            ServerKind::Evented if config.inline => on_loops(Inline::new(self), config, launch),
            ServerKind::Evented => on_loops(Offloaded::new(self), config, launch),
            ServerKind::Prefork => Err(NESTED),
        }
    }
}

/// What a worker process cannot run.
const NESTED: Error = Error::Unsuitable {
    server: ServerKind::Prefork,
    why: "a worker process runs the threaded or the evented server",
};

fn on_threads<F>(factory: F, config: &Config, launch: Launch) -> Result<Served, Error>
where
    F: AppFactory<App: App + Send + Sync + 'static> + Send + Sync + 'static,
{
    Ok(Threaded::new(config.settings.clone()).serve(factory, launch)?)
}

fn on_loops<F>(factory: F, config: &Config, launch: Launch) -> Result<Served, Error>
where
    F: AsyncAppFactory<App: AsyncApp<Future: 'static> + 'static> + Send + Sync + 'static,
{
    Ok(Evented::new(config.settings.clone()).serve(factory, launch)?)
}

/// A program that has a form of its own for each server: usually a sync one for threads and an async one for loops, so
/// that no bridge stands between.
///
/// Either may be whatever [`Deploy`] takes.
#[derive(Clone, Copy, Debug)]
pub struct PerServer<T, E> {
    /// What the threaded server runs.
    pub threaded: T,
    /// What the evented server runs.
    pub evented: E,
}

impl<T, E, ThreadedKind, EventedKind> Deploy<kind::Forms<ThreadedKind, EventedKind>> for PerServer<T, E>
where
    T: Deploy<ThreadedKind>,
    E: Deploy<EventedKind>,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        match config.server {
            ServerKind::Threaded => self.threaded.deploy(config, launch),
            ServerKind::Evented => self.evented.deploy(config, launch),
            ServerKind::Prefork => Err(NESTED),
        }
    }
}

/// An application that is both sync and async, as those of frameworks are: called as a sync one on threads, as an async one
/// on event loops, and without a bridge on either. Which of its two forms is meant nobody could infer.
///
/// It holds a factory of both forms. Applications of frameworks are their own factories, which run what is to be done at start
/// and stop; any other application that is `Clone` is made one by [`Shared`].
///
/// ```no_run
/// use std::future::{Ready, ready};
/// use http::{Request, Response};
/// use varvel::{App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, ReadBody, Scope, Shared};
///
/// #[derive(Clone)]
/// struct Hello;
///
/// impl App for Hello {
///     fn call(&self, _request: Request<ReadBody>, _scope: Scope) -> AppResult {
///         Ok(Response::new("hello\n".into()))
///     }
/// }
///
/// impl AsyncApp for Hello {
///     type Future = Ready<AsyncAppResult>;
///
///     fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
///         ready(Ok(Response::new("hello\n".into())))
///     }
/// }
///
/// varvel_serve::run(varvel_serve::Both(Shared(Hello)));
/// ```
///
/// A function that makes one returns [`BothForms`].
#[derive(Clone, Copy, Debug)]
pub struct Both<F>(
    /// The factory.
    pub F,
);

impl<F: BothForms> Deploy<kind::Both> for Both<F> {
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        match config.server {
            ServerKind::Threaded => on_threads(self.0, config, launch),
            ServerKind::Evented => on_loops(self.0, config, launch),
            ServerKind::Prefork => Err(NESTED),
        }
    }
}

/// A factory of both forms, which is what [`Both`] holds, in one word: so that a function can return an application with its
/// middleware around it, and nobody has to write down the type of that.
///
/// Whatever is one implements it.
///
/// ```no_run
/// use http::{Request, Response};
/// use varvel::{App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, ReadBody, Scope, Shared};
/// use varvel_serve::{Both, BothForms};
///
/// # #[derive(Clone)]
/// # struct Hello;
/// # impl App for Hello {
/// #     fn call(&self, _request: Request<ReadBody>, _scope: Scope) -> AppResult {
/// #         Ok(Response::new("hello\n".into()))
/// #     }
/// # }
/// # impl AsyncApp for Hello {
/// #     type Future = std::future::Ready<AsyncAppResult>;
/// #     fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
/// #         std::future::ready(Ok(Response::new("hello\n".into())))
/// #     }
/// # }
/// /// Or, with a framework and the toolkit: RequestIds::new().around(AccessLog::to_stderr().around(app)).
/// fn site() -> impl BothForms {
///     Shared(Hello)
/// }
///
/// fn main() -> std::process::ExitCode {
///     varvel_serve::run(Both(site()))
/// }
/// ```
pub trait BothForms:
    AppFactory<App: App + Send + Sync + 'static>
    + AsyncAppFactory<App: AsyncApp<Future: 'static> + 'static>
    + Send
    + Sync
    + 'static
{
}

impl<F> BothForms for F where
    F: AppFactory<App: App + Send + Sync + 'static>
        + AsyncAppFactory<App: AsyncApp<Future: 'static> + 'static>
        + Send
        + Sync
        + 'static
{
}

/// The factory of an application that cannot leave the thread it was built on, such as one that shares an `Rc` among
/// its calls. It runs on event loops; `--server threaded` is an error.
#[derive(Clone, Copy, Debug)]
pub struct EventedOnly<F>(
    /// The factory.
    pub F,
);

impl<F> Deploy<kind::Local> for EventedOnly<F>
where
    F: AsyncAppFactory<App: AsyncApp<Future: 'static> + 'static> + Send + Sync + 'static,
{
    fn deploy(self, config: &Config, launch: Launch) -> Result<Served, Error> {
        match config.server {
            ServerKind::Evented => on_loops(self.0, config, launch),
            server => Err(Error::Unsuitable { server, why: "its application cannot be shared by threads" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc, sync::Arc};

    use http::{Request, Response};
    use varvel::{
        AppError, AppResult, AsyncAppResult, AsyncBody, Boxed, DynApp, DynAsyncApp, ReadBody, Scope,
        StartError, Worker, WriteBody, app_fn, factory_fn, sync_factory_fn, sync_fn,
    };

    use super::*;

    async fn hello(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
        Ok(Response::new(AsyncBody::from_static(b"hello")))
    }

    fn sync_hello(_request: Request<ReadBody>, _scope: Scope) -> AppResult {
        Ok(Response::new(WriteBody::from_static(b"hello")))
    }

    /// Compiles if the kind can be inferred; the threads of `launch` are never started.
    fn runs<K>(_: impl Deploy<K>) {}

    #[test]
    fn every_sort_of_program_is_taken_without_a_word_about_its_kind() {
        runs(app_fn(hello));
        runs(app_fn(|_, _| async { Err(AppError::abort()) }));
        runs(sync_fn(sync_hello));
        runs(sync_fn(|_, _| Err(AppError::abort())));
        runs(Arc::new(Boxed(app_fn(hello))) as Arc<DynAsyncApp>);
        runs(Arc::new(sync_fn(sync_hello)) as Arc<DynApp>);

        runs(Shared(app_fn(hello)));
        runs(Shared(Arc::new(sync_fn(sync_hello))));
        runs(sync_factory_fn(|_worker| Ok(sync_fn(sync_hello))));
        runs(factory_fn(|_worker| async { Ok(app_fn(hello)) }));

        runs(PerServer { threaded: sync_fn(sync_hello), evented: app_fn(hello) });
        runs(PerServer {
            threaded: sync_factory_fn(|_worker| Ok(sync_fn(sync_hello))),
            evented: factory_fn(|_worker| async { Ok(app_fn(hello)) }),
        });

        /// An application of both forms, and its own factory.
        #[derive(Clone)]
        struct Dual;

        impl App for Dual {
            fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
                sync_hello(request, scope)
            }
        }

        impl AsyncApp for Dual {
            type Future = std::future::Ready<AsyncAppResult>;

            fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
                std::future::ready(Err(AppError::abort()))
            }
        }

        impl AppFactory for Dual {
            type App = Self;

            fn build(&self, _worker: &Worker) -> Result<Self, StartError> {
                Ok(Self)
            }
        }

        impl AsyncAppFactory for Dual {
            type App = Self;

            async fn build(&self, _worker: &Worker) -> Result<Self, StartError> {
                Ok(Self)
            }
        }

        runs(Both(Dual));
        runs(Both(Shared(Dual)));
        fn returned() -> impl BothForms {
            Shared(Dual)
        }
        runs(Both(returned()));
    }

    #[test]
    fn an_application_that_is_not_send_runs_on_loops_alone() {
        let factory = || {
            EventedOnly(factory_fn(|_worker| async {
                let calls = Rc::new(Cell::new(0));
                Ok(app_fn(move |_, _| {
                    calls.set(calls.get() + 1);
                    hello(Request::default(), Scope::for_test())
                }))
            }))
        };
        let config = Config::new(ServerKind::Threaded);
        let error = factory().deploy(&config, Launch::new(Vec::new())).unwrap_err();
        assert!(matches!(error, Error::Unsuitable { server: ServerKind::Threaded, .. }), "{error}");
    }
}

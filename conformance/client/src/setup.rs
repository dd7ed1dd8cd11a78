//! What an in-process client is made with.

use std::{net::Ipv4Addr, rc::Rc, sync::Arc, time::Duration};

use varvel::{
    Address, App, AppFactory, AsyncApp, AsyncAppFactory, Caps, ConnInfo, Driver, Limits, Policy, Shared,
    StartError, WorkerInfo,
};

use crate::{
    Client,
    server::{Server, sync::OnThread},
};

/// What an in-process client is made with, where the defaults do not fit.
///
/// ```
/// use http::Response;
/// use varvel::{AsyncBody, Caps, app_fn};
/// use varvel_test::Setup;
///
/// let app = app_fn(|_, scope| async move {
///     let interim = scope.interim(http::StatusCode::EARLY_HINTS, &http::HeaderMap::new());
///     Ok(Response::new(AsyncBody::full(format!("{interim:?}"))))
/// });
/// let client = Setup::new().without(Caps::INTERIM).app(app);
/// assert_eq!(client.get("/").send().text(), "Err(Unsupported)");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a setup makes no client by itself"]
pub struct Setup {
    caps: Caps,
    limits: Limits,
    policy: Option<Policy>,
    connection: ConnInfo,
    patience: Duration,
    answer_bytes_max: u64,
}

/// How many bytes of an answer are collected, unless a setup says otherwise.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// All that the in-process server can do. The others hang on sockets, but for half-closed clients, whom the usual servers
/// take for gone: [`Setup::with`] adds that.
const CAPS: Caps = Caps::INTERIM
    .with(Caps::UPGRADE)
    .with(Caps::CONNECT)
    .with(Caps::TRAILERS_IN)
    .with(Caps::TRAILERS_OUT)
    .with(Caps::FULL_DUPLEX)
    .with(Caps::DISCONNECT_WATCH)
    .with(Caps::OFFLOAD)
    .with(Caps::SPAWN)
    .with(Caps::DEFER);

impl Default for Setup {
    fn default() -> Self {
        Self {
            caps: CAPS,
            limits: Limits::default(),
            policy: None,
            connection: ConnInfo::new(0, loopback(50_000), loopback(80)),
            patience: Duration::from_secs(5),
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

impl Setup {
    /// The defaults: every capability that needs no socket, no bounds on bodies, connections over the loopback.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes capabilities away, whose absence has a form of its own (spec X2).
    pub fn without(mut self, caps: Caps) -> Self {
        self.caps = self.caps.without(caps);
        self
    }

    /// Adds [`Caps::HALF_CLOSE`], the one that the in-process server has and does not offer.
    ///
    /// # Panics
    /// If it cannot do what is asked for.
    #[track_caller]
    pub fn with(mut self, caps: Caps) -> Self {
        let possible = CAPS | Caps::HALF_CLOSE;
        assert!(possible.contains(caps), "the in-process server can {possible:?}");
        self.caps |= caps;
        self
    }

    /// Sets the bounds that the application is told of. `body_bytes_max` and `write_high_water` are kept; what the test
    /// sends is not held back, see [`Exchange::unread`](crate::Exchange::unread).
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what the application asks of its server, in place of what its factory says. Calls of sync applications run to
    /// their end under any policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets what the application is told of its connections: addresses and encryption. Each has a number of its own.
    pub fn connection(mut self, connection: ConnInfo) -> Self {
        self.connection = connection;
        self
    }

    /// How long, in real time, the client waits for threads other than the test's own. Default: 5 s. Only a test that fails
    /// waits so long.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many bytes of an answer [`send`](crate::RequestBuilder::send) and its like collect, those of a tunnel included;
    /// more is a [failure](crate::FailureKind::TooLarge). Default: 64 MiB, on live targets too. [`Exchange::read`] and
    /// [`Exchange::frame`] are not bound by it.
    ///
    /// [`Exchange::read`]: crate::Exchange::read
    /// [`Exchange::frame`]: crate::Exchange::frame
    pub fn answer_bytes_max(mut self, bytes: u64) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// A client of an async application, which need not be `Send`.
    pub fn app<A>(self, app: A) -> Client
    where
        A: AsyncApp + 'static,
        A::Future: 'static,
    {
        self.factory(Shared(Rc::new(app)))
            .unwrap_or_else(|never| unreachable!("it is built already: {never}"))
    }

    /// A client of a sync application.
    pub fn sync<A: App + Send + Sync + 'static>(self, app: A) -> Client {
        let factory = Shared(Arc::new(app));
        self.sync_factory(factory).unwrap_or_else(|never| unreachable!("it is built already: {never}"))
    }

    /// A client of what this factory builds.
    ///
    /// # Errors
    /// If it cannot.
    ///
    /// # Panics
    /// If the build panics, or waits for something that does not come.
    pub fn factory<F>(self, factory: F) -> Result<Client, StartError>
    where
        F: AsyncAppFactory + 'static,
        F::App: 'static,
        <F::App as AsyncApp>::Future: 'static,
    {
        self.start(factory, Driver::Evented)
    }

    /// A client of what this factory of sync applications builds.
    ///
    /// # Errors
    /// If it cannot.
    ///
    /// # Panics
    /// If the build panics.
    pub fn sync_factory<F>(self, factory: F) -> Result<Client, StartError>
    where
        F: AppFactory + 'static,
        F::App: App + Send + Sync + 'static,
    {
        let patience = self.patience;
        self.start(OnThread::new(factory, patience), Driver::Blocking)
    }

    fn start<F>(self, factory: F, driver: Driver) -> Result<Client, StartError>
    where
        F: AsyncAppFactory + 'static,
        F::App: 'static,
        <F::App as AsyncApp>::Future: 'static,
    {
        let mut info = WorkerInfo::new("varvel-test", driver);
        info.caps = self.caps;
        info.limits = self.limits;
        let mut policy = self.policy.unwrap_or_else(|| factory.policy());
        if driver == Driver::Blocking {
            // A sync call goes on whoever has left, so its answer is sent to whoever may still read it.
            policy = policy.answer_half_closed();
        }
        Server::start(factory, policy, info, self.connection, self.patience, self.answer_bytes_max)
            .map(Client::in_process)
    }
}

fn loopback(port: u16) -> Address {
    Address::Ip((Ipv4Addr::LOCALHOST, port).into())
}

//! Clients of an application in this process, or of a live server.

use std::{fmt, rc::Rc, time::Duration};

use http::{Method, uri::Authority};
use varvel::{App, AppFactory, AsyncApp, AsyncAppFactory, BoxError, StartError, Worker};

use crate::{
    Exchange, Failure, FailureKind, Record, RequestBuilder, Setup,
    live::Address,
    request::Draft,
    response::unseen,
    server::{InProcess, Server},
    setup::ANSWER_BYTES_MAX,
};

/// Sends requests to an application in this process, or to a live server. Each request has a connection of its own.
///
/// ```
/// use http::Response;
/// use varvel::{AsyncBody, app_fn};
/// use varvel_test::Client;
///
/// let client = Client::new(app_fn(|request, _| async move {
///     Ok(Response::new(AsyncBody::full(format!("{} {}", request.method(), request.uri()))))
/// }));
/// assert_eq!(client.get("/a?b").send().text(), "GET /a?b");
/// assert_eq!(client.request("PURGE", "/cache").send().text(), "PURGE /cache");
/// assert!(client.reports().is_empty());
/// ```
///
/// Dropping a client of an application cuts off what still runs, as at the deadline of a stop, and tears the application
/// down; [`close`](Self::close) does the same and tells how the teardown went.
pub struct Client(Target);

enum Target {
    InProcess(Rc<Server>),
    Live(Address),
}

impl Client {
    /// Of an async application, which need not be `Send`. What is built for each worker goes to
    /// [`factory`](Self::factory), and what needs other settings to [`Setup`].
    pub fn new<A>(app: A) -> Self
    where
        A: AsyncApp + 'static,
        A::Future: 'static,
    {
        Setup::new().app(app)
    }

    /// Of a sync application. Its calls run on threads of their own, but only while the test waits for them.
    pub fn sync<A: App + Send + Sync + 'static>(app: A) -> Self {
        Setup::new().sync(app)
    }

    /// Of what this factory builds, which is torn down in the end.
    ///
    /// # Errors
    /// If it cannot.
    ///
    /// # Panics
    /// If the build panics, or waits for something that does not come.
    pub fn factory<F>(factory: F) -> Result<Self, StartError>
    where
        F: AsyncAppFactory + 'static,
        F::App: 'static,
        <F::App as AsyncApp>::Future: 'static,
    {
        Setup::new().factory(factory)
    }

    /// Of what this factory of sync applications builds.
    ///
    /// # Errors
    /// If it cannot.
    ///
    /// # Panics
    /// If the build panics.
    pub fn sync_factory<F>(factory: F) -> Result<Self, StartError>
    where
        F: AppFactory + 'static,
        F::App: App + Send + Sync + 'static,
    {
        Setup::new().sync_factory(factory)
    }

    /// Of a live server, such as `http://127.0.0.1:8000`. The same test runs there, but for what only the inside of a server
    /// knows: its reports, outcomes and stages. Methods that tell of those panic, and say so.
    ///
    /// # Panics
    /// If it is not the address of a server that speaks HTTP without TLS.
    #[track_caller]
    pub fn at(url: &str) -> Self {
        Self(Target::Live(Address::parse(url).unwrap_or_else(|why| panic!("{url:?} is no target: {why}"))))
    }

    pub(crate) fn in_process(server: Rc<Server>) -> Self {
        Self(Target::InProcess(server))
    }

    /// Whether the target is a live server.
    pub fn is_live(&self) -> bool {
        matches!(self.0, Target::Live(_))
    }

    /// A GET. The target is sent as it is: a path with a query, or an absolute form such as `http://host/path`.
    ///
    /// # Panics
    /// If it is no request target, as for all requests.
    #[track_caller]
    pub fn get(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::GET, target)
    }

    /// A HEAD.
    #[track_caller]
    pub fn head(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::HEAD, target)
    }

    /// A POST.
    #[track_caller]
    pub fn post(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::POST, target)
    }

    /// A PUT.
    #[track_caller]
    pub fn put(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::PUT, target)
    }

    /// A PATCH.
    #[track_caller]
    pub fn patch(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::PATCH, target)
    }

    /// A DELETE.
    #[track_caller]
    pub fn delete(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::DELETE, target)
    }

    /// An OPTIONS.
    #[track_caller]
    pub fn options(&self, target: &str) -> RequestBuilder<'_> {
        self.request(Method::OPTIONS, target)
    }

    /// The method CONNECT, to this authority, such as `example.com:443`; see [`RequestBuilder::tunnel`]. It opens no
    /// connection to a server: [`at`](Self::at) names one, and each request connects by itself.
    #[track_caller]
    pub fn connect(&self, authority: &str) -> RequestBuilder<'_> {
        self.request(Method::CONNECT, authority)
    }

    /// A request with any method, such as `"PURGE"`.
    ///
    /// # Panics
    /// If it is no method, or the target no target.
    #[track_caller]
    pub fn request<M>(&self, method: M, target: &str) -> RequestBuilder<'_>
    where
        M: TryInto<Method, Error: fmt::Debug>,
    {
        RequestBuilder::new(self, method.try_into().expect("a method"), target)
    }

    /// Moves the clock: every timer that is due by then wakes, in order, and what it wakes runs. Meanwhile response bodies
    /// are polled ahead of their readers, as far as a server may ([`Exchange::stall`]). On a live target, whose clock is the
    /// system's, this sleeps.
    pub fn advance(&self, duration: Duration) {
        match &self.0 {
            Target::InProcess(server) => server.advance(duration),
            Target::Live(_) => std::thread::sleep(duration),
        }
    }

    /// In how long the next timer is due.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn next_timer(&self) -> Option<Duration> {
        self.server("its timers").next_timer()
    }

    /// Lets spawned tasks go on, and whatever else was woken, and counts the tasks that still run then.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn tasks(&self) -> usize {
        self.server("its tasks").tasks()
    }

    /// Asks the server to stop: the stopping signal is raised, and new connections are refused. What runs goes on until
    /// [`close`](Self::close), which is the deadline.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn stop(&self) {
        self.server("how it stops").stop();
    }

    /// Ends: cuts off what still runs, with the outcome that it was stopped, and tears the application down. Does nothing to
    /// a live server.
    ///
    /// # Errors
    /// That of the teardown.
    pub fn close(self) -> Result<(), BoxError> {
        match &self.0 {
            Target::InProcess(server) => server.close(),
            Target::Live(_) => Ok(()),
        }
    }

    /// Everything that was reported so far.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn reports(&self) -> Vec<Record> {
        self.server("what it reports").records()
    }

    /// The worker that the application runs on, to call parts of it that need one.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn worker(&self) -> &Worker {
        self.server("its worker").worker()
    }

    #[track_caller]
    fn server(&self, what: &str) -> &Server {
        match &self.0 {
            Target::InProcess(server) => server,
            Target::Live(_) => panic!("{}", unseen(what)),
        }
    }

    /// Whom requests are addressed to, unless they say otherwise.
    pub(crate) fn authority(&self) -> Authority {
        match &self.0 {
            Target::InProcess(_) => Authority::from_static("localhost"),
            Target::Live(address) => address.authority(),
        }
    }

    /// Opens a connection, and sends a head on it.
    pub(crate) fn exchange(&self, draft: Draft, open: bool) -> Result<Exchange, Failure> {
        let length = draft.length;
        match &self.0 {
            Target::InProcess(server) if server.is_stopping() => {
                Err(Failure::new(FailureKind::Refused, "the server is stopping"))
            }
            Target::InProcess(server) => {
                let line = InProcess::new(Rc::clone(server), server.begin(draft));
                Ok(Exchange::new(Box::new(line), open, length, server.answer_bytes_max()))
            }
            Target::Live(address) => {
                Ok(Exchange::new(Box::new(address.connect(draft)?), open, length, ANSWER_BYTES_MAX))
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Target::InProcess(server) = &self.0 {
            // A failed teardown is for those who close.
            let _ = server.close();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::InProcess(server) => f.debug_tuple("Client").field(server.worker()).finish(),
            Target::Live(address) => f.debug_tuple("Client").field(address).finish(),
        }
    }
}

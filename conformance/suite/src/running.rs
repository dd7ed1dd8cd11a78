//! A server under test that runs.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use varvel::{Control, Launch, Listener, ServeError, Served};

use crate::{
    Failure, Recorder, Subject, Tuning,
    client::LIMIT,
    probe::{Following, Link, Plan, Probe, Recording},
};

/// How a check wants its server: settings, and what the probe's factory does.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server's settings.
    pub tuning: Tuning,
    /// What the probe's factory asks for and does.
    pub plan: Plan,
    /// How many listeners it is given. Default: 1.
    pub listeners: usize,
    /// Whether starting it waits until it is ready. Default: it does.
    pub wait_ready: bool,
    /// Whether it was asked to stop before it was started. Default: no.
    pub stopped: bool,
    /// Whether it has a monitor, of whose hearing there are events. Default: no.
    pub monitored: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            tuning: Tuning::default(),
            plan: Plan::default(),
            listeners: 1,
            wait_ready: true,
            stopped: false,
            monitored: false,
        }
    }
}

impl From<Tuning> for Setup {
    fn from(tuning: Tuning) -> Self {
        Self { tuning, ..Self::default() }
    }
}

impl From<Plan> for Setup {
    fn from(plan: Plan) -> Self {
        Self { plan, ..Self::default() }
    }
}

/// A server with the probe on it, on a thread of its own. Dropping it opens all gates and stops it.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    control: Control,
    recorder: Recorder,
    ended: Mutex<mpsc::Receiver<Ended>>,
    over: bool,
    /// How long anything that must happen may take.
    limit: Duration,
}

/// How a server returned; `Err` if it panicked.
pub type Ended = Result<Result<Served, ServeError>, String>;

impl Running {
    /// Starts it on loopback.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn start(subject: &Arc<dyn Subject>, setup: Setup) -> Result<Self, Failure> {
        Self::start_within(LIMIT, subject, setup)
    }

    /// The same for a server that is given another time than [`LIMIT`].
    pub(crate) fn start_within(
        limit: Duration,
        subject: &Arc<dyn Subject>,
        setup: Setup,
    ) -> Result<Self, Failure> {
        Self::try_start(limit, subject, &setup)
            .map_err(|error| Failure::new("loopback sockets for a test", error.to_string()))?
            .ready(setup.wait_ready)
    }

    fn try_start(limit: Duration, subject: &Arc<dyn Subject>, setup: &Setup) -> io::Result<Self> {
        let recorder = Recorder::start()?.with_limit(limit);
        let link = Arc::new(Link::new(recorder.path().to_owned()));
        let sockets: Vec<TcpListener> =
            (0..setup.listeners).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
        let addresses = sockets.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let control = Control::new();
        if setup.stopped {
            control.stop(Duration::ZERO);
        }
        let mut launch = Launch::new(sockets.into_iter().map(Listener::from).collect())
            .with_control(control.clone())
            .with_reporter(Arc::new(Recording(Arc::clone(&link))));
        if setup.monitored {
            launch = launch.with_monitor(Arc::new(Following::new(Arc::clone(&link))));
        }
        let probe = Probe::new(link, setup.plan.clone());

        let (end, ended) = mpsc::channel();
        let (subject, tuning, serving) = (Arc::clone(subject), setup.tuning.clone(), control.clone());
        thread::Builder::new().name("server under test".to_owned()).spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| subject.serve(probe, launch, &tuning)));
            let result = result.map_err(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
            });
            // Whoever waits for readiness waits no longer.
            serving.announce_end();
            // Nobody listens if the check is over.
            let _ = end.send(result);
        })?;
        Ok(Self { addresses, control, recorder, ended: Mutex::new(ended), over: false, limit })
    }

    /// Waits for readiness, if that is wanted.
    fn ready(mut self, wait: bool) -> Result<Self, Failure> {
        if !wait {
            return Ok(self);
        }
        if self.wait_ready()? {
            // From now on it opens no descriptor by itself, and what its builds told is known.
            self.settle();
            return Ok(self);
        }
        let ended = self.ended()?;
        Err(Failure::new("the server becomes ready", format!("it returned {ended:?}")))
    }

    /// Waits until the server is ready; `false` if it ended before that.
    ///
    /// # Errors
    /// If it does neither in time.
    pub fn wait_ready(&self) -> Result<bool, Failure> {
        let ready = self.ready_within(self.limit);
        ready.ok_or_else(|| Failure::new("the server becomes ready or ends", "neither"))
    }

    /// Whether it became ready, or ended before that, if either happens within `limit`.
    pub fn ready_within(&self, limit: Duration) -> Option<bool> {
        let (sender, receiver) = mpsc::channel();
        let control = self.control.clone();
        // [`Control::wait_ready`] has no limit of its own; the thread ends with the server at the latest.
        thread::spawn(move || sender.send(control.wait_ready()));
        receiver.recv_timeout(limit).ok()
    }

    /// Where its first listener is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where its listeners are.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// By which it is stopped.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What happens inside.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Waits until it has returned, and until everything that happened before is recorded.
    ///
    /// # Errors
    /// If it does not return in time.
    pub fn ended(&mut self) -> Result<Ended, Failure> {
        let ended = self.await_end(self.limit);
        // If it has not returned by now it is not waited for again.
        self.over = true;
        let ended = ended.ok_or_else(|| Failure::new("the server returns", "it goes on"))?;
        self.settle();
        Ok(ended)
    }

    /// How it ended, if it does within `limit`. Says so once.
    pub fn await_end(&self, limit: Duration) -> Option<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(limit).ok()
    }

    /// Sees that everything that has happened so far is recorded.
    pub fn settle(&self) {
        self.recorder.settle();
    }

    /// Whether it has called the probe for a request with this key.
    pub(crate) fn has_called(&self, key: &str) -> bool {
        self.settle();
        !self.recorder.events(|event| event.kind() == "call" && event.key() == key).is_empty()
    }

    /// Stops it and waits until it has returned.
    ///
    /// # Errors
    /// If it does not return in time.
    pub fn stop(&mut self, grace: Duration) -> Result<Ended, Failure> {
        self.control.stop(grace);
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop(Duration::ZERO);
        self.recorder.open_all();
        if !self.over {
            // A server that does not stop has failed its checks; its thread is left behind.
            let _ = self.await_end(self.limit);
        }
    }
}

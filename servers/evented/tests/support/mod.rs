//! A server on a thread of its own, and a client of raw sockets.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use varvel::{AsyncAppFactory, Control, Launch, Monitor, Report, Reporter, ServeError, Served, Server};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;

pub(crate) struct Running {
    address: SocketAddr,
    pub(crate) control: Control,
    served: JoinHandle<Result<Served, ServeError>>,
    pub(crate) reports: mpsc::Receiver<String>,
}

/// The reporter panics at a report with this text: it is the one thing of others that a loop runs uncontained.
pub(crate) const DEADLY: &str = "a deadly report";

struct Forward(mpsc::Sender<String>);

impl Reporter for Forward {
    fn report(&self, report: &Report<'_>) {
        let report = report.to_string();
        let is_deadly = report.contains(DEADLY);
        // Late reports of a test that has seen enough reach nobody.
        let _ = self.0.send(report);
        assert!(!is_deadly, "the reporter panics");
    }
}

/// A monitor of one that has more connections than all others, who do not come for any.
#[derive(Default)]
pub(crate) struct Ahead {
    pub(crate) asked: AtomicUsize,
}

impl Monitor for Ahead {
    fn is_ahead(&self, _connections: usize) -> bool {
        self.asked.fetch_add(1, SeqCst);
        true
    }
}

/// Starts a server of one loop, with settings to be changed.
pub(crate) fn start<F>(tune: impl FnOnce(&mut Settings), factory: F) -> Running
where
    F: AsyncAppFactory + Send + Sync + 'static,
    Evented: Server<F>,
{
    let running = launch(tune, factory);
    assert!(running.control.wait_ready());
    running
}

/// The same with somebody who follows its work.
pub(crate) fn start_followed<F>(
    tune: impl FnOnce(&mut Settings),
    factory: F,
    monitor: Arc<dyn Monitor>,
) -> Running
where
    F: AsyncAppFactory + Send + Sync + 'static,
    Evented: Server<F>,
{
    let running = launch_with(tune, factory, |launch| launch.with_monitor(monitor));
    assert!(running.control.wait_ready());
    running
}

/// The same without waiting until it is ready.
pub(crate) fn launch<F>(tune: impl FnOnce(&mut Settings), factory: F) -> Running
where
    F: AsyncAppFactory + Send + Sync + 'static,
    Evented: Server<F>,
{
    launch_with(tune, factory, |launch| launch)
}

fn launch_with<F>(tune: impl FnOnce(&mut Settings), factory: F, add: impl FnOnce(Launch) -> Launch) -> Running
where
    F: AsyncAppFactory + Send + Sync + 'static,
    Evented: Server<F>,
{
    let mut settings = Settings::default();
    settings.loops = Some(1);
    tune(&mut settings);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let control = Control::new();
    let (sender, reports) = mpsc::channel();
    let launch = Launch::new(vec![listener.into()])
        .with_control(control.clone())
        .with_reporter(Arc::new(Forward(sender)));
    let launch = add(launch);
    let served = thread::spawn(move || Evented::new(settings).serve(factory, launch));
    Running { address, control, served, reports }
}

impl Running {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Waits for a report with this text.
    pub(crate) fn expect_report(&self, text: &str) {
        while !self.reports.recv_timeout(Duration::from_secs(10)).unwrap().contains(text) {}
    }

    /// Stops it, and tells how it ended.
    pub(crate) fn stop(self, grace: Duration) -> Result<Served, ServeError> {
        self.control.stop(grace);
        self.served.join().unwrap()
    }
}

/// The body of the answer to a GET, on a connection that stays open.
pub(crate) fn get(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    read_line(stream)
}

/// Reads an answer whose body is one line.
pub(crate) fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = String::new();
    loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((_, body)) = answer.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
            return Ok(body.trim_end().to_owned());
        }
    }
}

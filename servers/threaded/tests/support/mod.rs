//! A server on a thread, and a client that speaks bytes.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use varvel::{App, AppFactory, Control, Launch, Monitor, Report, Reporter, ServeError, Served, Server};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

/// Longer than anything takes that works, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    pub(crate) reports: Arc<Reports>,
    thread: Option<JoinHandle<Result<Served, ServeError>>>,
}

/// Keeps the text of every report.
#[derive(Default)]
pub(crate) struct Reports(Mutex<Vec<String>>);

impl Reporter for Reports {
    fn report(&self, report: &Report<'_>) {
        self.0.lock().unwrap().push(report.to_string());
    }
}

impl Reports {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
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

/// Settings with so many threads.
pub(crate) fn threads(threads: u32) -> Settings {
    let mut settings = Settings::default();
    settings.threads = threads;
    settings
}

pub(crate) fn start<F>(settings: Settings, factory: F) -> Running
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    start_followed(settings, factory, None)
}

/// The same with somebody who follows its work.
pub(crate) fn start_followed<F>(settings: Settings, factory: F, monitor: Option<Arc<dyn Monitor>>) -> Running
where
    F: AppFactory + Send + Sync + 'static,
    F::App: App + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let control = Control::new();
    let reports = Arc::new(Reports::default());
    let mut launch = Launch::new(vec![listener.into()])
        .with_control(control.clone())
        .with_reporter(Arc::clone(&reports) as _);
    launch.monitor = monitor;
    let thread = std::thread::spawn(move || Threaded::new(settings).serve(factory, launch));
    assert!(control.wait_ready(), "the server has started");
    Running { address, control, reports, thread: Some(thread) }
}

impl Running {
    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    /// A whole exchange on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut client = self.connect();
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.read_to_end()
    }

    pub(crate) fn stop(mut self, grace: Duration) -> Served {
        self.control.stop(grace);
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }

    pub(crate) fn try_get(&mut self, path: &str) -> io::Result<()> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    /// Reads one answer with a `content-length`: its status and body.
    pub(crate) fn answer(&mut self) -> (u16, String) {
        let (status, body) = self.answer_bytes();
        (status, String::from_utf8(body).unwrap())
    }

    pub(crate) fn answer_bytes(&mut self) -> (u16, Vec<u8>) {
        self.read_answer().unwrap().expect("an answer")
    }

    /// `None` if the connection was closed before the first byte of an answer.
    pub(crate) fn try_answer(&mut self) -> io::Result<Option<(u16, String)>> {
        Ok(self.read_answer()?.map(|(status, body)| (status, String::from_utf8(body).unwrap())))
    }

    fn read_answer(&mut self) -> io::Result<Option<(u16, Vec<u8>)>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte)? {
                0 if head.is_empty() => return Ok(None),
                0 => panic!("a head was cut: {}", head.escape_ascii()),
                _ => head.push(byte[0]),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let status = head[9..12].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).expect("the whole body");
        Ok(Some((status, body)))
    }

    pub(crate) fn read_to_end(&mut self) -> String {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).unwrap();
        String::from_utf8(all).unwrap()
    }
}

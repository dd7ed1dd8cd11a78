//! Clients that ask without pause and account for every answer.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::running::PATIENCE;

/// How many of the clients keep their connection, and how many make one for each request.
const KEEPING: u64 = 6;
const CLOSING: u64 = 2;

/// How many clients ask at the same time.
pub(crate) const CLIENTS: u64 = KEEPING + CLOSING;

/// Clients at work.
pub(crate) struct Clients {
    ledger: Arc<Ledger>,
    threads: Vec<JoinHandle<()>>,
}

/// What they have seen.
#[derive(Default)]
pub(crate) struct Ledger {
    enough: AtomicBool,
    next: AtomicU64,
    answered: AtomicU64,
    /// Asked once more, for the server had closed a kept connection before it said anything (RFC 9112 section 9.3.1).
    repeated: AtomicU64,
    failures: Mutex<Vec<String>>,
    /// Answers of each process.
    by_process: Mutex<BTreeMap<u32, u64>>,
}

/// How a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection was closed in good order before a byte of an answer came.
    Closed,
    /// Anything else.
    Lost(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed without an answer"),
            Self::Lost(how) => f.write_str(how),
        }
    }
}

impl Clients {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let ledger = Arc::new(Ledger::default());
        let ask = |number| {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.ask_without_pause(address, number < KEEPING))
        };
        let threads = (0..CLIENTS).map(ask).collect();
        Self { ledger, threads }
    }

    /// Waits until so many more have been answered.
    pub(crate) fn go_on(&self, count: u64) {
        let enough = self.ledger.answered.load(SeqCst) + count;
        let until = Instant::now() + PATIENCE;
        while self.ledger.answered.load(SeqCst) < enough {
            assert!(Instant::now() < until, "nobody answers: {:?}", self.failures());
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.ledger.failures.lock().unwrap().clone()
    }

    /// How many processes have answered.
    pub(crate) fn processes(&self) -> usize {
        self.ledger.by_process.lock().unwrap().len()
    }

    /// Ends them; what they have seen.
    pub(crate) fn end(self) -> Arc<Ledger> {
        self.ledger.enough.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.ledger
    }

    /// Ends them; each of their requests must have been answered.
    pub(crate) fn end_without_loss(self) -> Arc<Ledger> {
        let ledger = self.end();
        let failures = ledger.failures.lock().unwrap().clone();
        assert_eq!(ledger.failed(), 0, "of {}: {failures:#?}", ledger.asked());
        ledger
    }
}

impl Ledger {
    /// How many requests were sent, the repeated ones twice.
    pub(crate) fn asked(&self) -> u64 {
        let failed = self.failures.lock().unwrap().len() as u64;
        self.answered.load(SeqCst) + self.repeated.load(SeqCst) + failed
    }

    pub(crate) fn repeats(&self) -> u64 {
        self.repeated.load(SeqCst)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.lock().unwrap().len() as u64
    }

    fn ask_without_pause(&self, address: SocketAddr, keeps: bool) {
        let mut connection = None;
        while !self.enough.load(SeqCst) {
            let id = self.next.fetch_add(1, SeqCst);
            match self.ask_insistently(address, &mut connection, id, keeps) {
                Ok(pid) => {
                    self.answered.fetch_add(1, SeqCst);
                    self.by_process.lock().unwrap().entry(pid).and_modify(|count| *count += 1).or_insert(1);
                }
                Err(failure) => {
                    self.failures.lock().unwrap().push(format!("{id}: {failure}"));
                    // Whoever was refused would be again at once.
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Asks, and once more on a connection of its own if one that was kept turns out to be closed.
    fn ask_insistently(
        &self,
        address: SocketAddr,
        kept: &mut Option<Connection>,
        id: u64,
        keeps: bool,
    ) -> Result<u32, Failure> {
        if let Some(connection) = kept.take() {
            match self.ask(connection, kept, id, keeps) {
                Err(Failure::Closed) => _ = self.repeated.fetch_add(1, SeqCst),
                answer => return answer,
            }
        }
        self.ask(Connection::to(address)?, kept, id, keeps)
    }

    fn ask(
        &self,
        mut connection: Connection,
        kept: &mut Option<Connection>,
        id: u64,
        keeps: bool,
    ) -> Result<u32, Failure> {
        let answer = connection.ask(&format!("/id/{id}"), keeps)?;
        let pid = answer.body.strip_prefix(&format!("{id} ")).and_then(|pid| pid.parse().ok());
        let pid = pid.ok_or_else(|| Failure::Lost(format!("another's answer: {answer:?}")))?;
        if keeps && !answer.closes {
            *kept = Some(connection);
        } else {
            connection.expect_end()?;
        }
        Ok(pid)
    }
}

/// A connection to a server, and what has arrived on it and was not looked at.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    answers: u64,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: String,
    /// The server will close the connection.
    closes: bool,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Result<Self, Failure> {
        let lost = |error| Failure::Lost(format!("connect: {error}"));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(lost)?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Ok(Self { stream, unread: Vec::new(), answers: 0 })
    }

    pub(crate) fn ask(&mut self, path: &str, keep: bool) -> Result<Answer, Failure> {
        self.send(path, keep)?;
        self.answer()
    }

    pub(crate) fn send(&mut self, path: &str, keep: bool) -> Result<(), Failure> {
        let close = if keep { "" } else { "Connection: close\r\n" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{close}\r\n");
        self.stream.write_all(request.as_bytes()).map_err(|error| Failure::Lost(format!("write: {error}")))
    }

    pub(crate) fn answer(&mut self) -> Result<Answer, Failure> {
        let head = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.unread.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.read_more()?;
        };
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            return Err(Failure::Lost(head));
        }
        let length: usize =
            head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
        while self.unread.len() < length {
            // Some of the answer has come, so this is no connection that nobody has answered on.
            self.read_more().map_err(|failure| Failure::Lost(format!("{failure} within {head:?}")))?;
        }
        let body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        self.answers += 1;
        Ok(Answer { body, closes: head.contains("connection: close") })
    }

    /// Nothing may follow.
    fn expect_end(&mut self) -> Result<(), Failure> {
        match self.read_more() {
            Err(Failure::Closed) if self.unread.is_empty() => Ok(()),
            Ok(()) | Err(Failure::Closed) => {
                Err(Failure::Lost(format!("answered twice: {}", self.unread.escape_ascii())))
            }
            Err(failure) => Err(failure),
        }
    }

    fn read_more(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) if self.unread.is_empty() => Err(Failure::Closed),
            Ok(0) => {
                Err(Failure::Lost(format!("closed behind {:?}", self.unread.escape_ascii().to_string())))
            }
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => Err(Failure::Lost(format!("read behind {} answers: {error}", self.answers))),
        }
    }
}

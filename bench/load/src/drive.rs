//! Keeping connections busy, and counting.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{ask, ask_at_length, connect},
    clocks::Clocks,
    latency::{Histogram, Latency},
    loops::loops,
    neighbour::{Manner, Neighbour},
    request::{Numbers, Request},
};

/// What to do, as options of the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Load {
    /// Where the server listens.
    pub to: SocketAddr,

    /// How many connections.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,

    /// How many of them have a request under way at a time; they take turns [default: all].
    #[arg(long)]
    pub active: Option<usize>,

    /// How many requests go out together on a connection.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,

    /// What to ask.
    #[command(flatten)]
    pub request: Request,

    /// How many bytes the body of the answer must have; otherwise nothing is measured.
    #[arg(long, value_name = "BYTES")]
    pub expect: Option<usize>,

    /// How long to measure.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,

    /// How long to load the server before that.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2)]
    pub warm_up: f64,

    /// Once all connections are open, tell so, and begin when standard input ends: that way many clients begin together.
    #[arg(long)]
    pub together: bool,

    /// A further connection that misbehaves.
    #[arg(long, value_name = "MANNER")]
    pub neighbour: Option<Manner>,

    /// Processes of the server, whose processor time is to be told.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub watch: Vec<i32>,

    /// Processors on which others disturb [default: all].
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub processors: Vec<usize>,

    /// Tell how the server's event loops shared the connections.
    #[arg(long)]
    pub by_loop: bool,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measured {
    /// Answers that came in time.
    pub requests: u64,
    /// How long the measurement took.
    pub seconds: f64,
    /// Seconds of processor time of the server's processes.
    pub server_cpu: f64,
    /// Of the client.
    pub client_cpu: f64,
    /// Of all others.
    pub others_cpu: f64,
    /// In microseconds, of a batch if the depth is more than one.
    pub latency: Latency,
    /// Connections that the server ended without an answer; they were opened anew.
    pub errors: u64,
    /// What each event loop had, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<Share>,
}

/// What an event loop of the server had.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Share {
    /// Connections.
    pub connections: u64,
    /// Requests on them.
    pub requests: u64,
}

/// The misbehaving one.
const NEIGHBOUR: Token = Token(usize::MAX);

/// Runs the whole measurement.
pub fn drive(load: &Load) -> io::Result<Measured> {
    let request = load.request.bytes(load.to);
    let (answer_len, body_len) = ask_at_length(&mut connect(load.to, 0)?, &request)?;
    if load.expect.is_some_and(|expected| expected != body_len) {
        return Err(io::Error::other(format!("an answer of {body_len} bytes is not what was asked for")));
    }
    let batch = request.repeat(load.depth);
    let mut driver = Driver {
        poll: Poll::new()?,
        to: load.to,
        close: load.request.close,
        numbers: Numbers::of(&batch),
        batch,
        answers_len: answer_len * load.depth,
        connections: Vec::with_capacity(load.connections),
        idle: VecDeque::with_capacity(load.connections),
        latencies: Histogram::default(),
        batches: 0,
        errors: 0,
    };
    for _ in 0..load.connections {
        driver.open()?;
    }
    if load.together {
        println!("{}", load.connections);
        io::copy(&mut io::stdin(), &mut io::sink())?;
    }
    let mut neighbour = match load.neighbour {
        None => None,
        Some(manner) => Some(Neighbour::new(manner, load.to, driver.poll.registry(), NEIGHBOUR)?),
    };
    for _ in 0..load.active.unwrap_or(load.connections).min(load.connections) {
        driver.next(Instant::now());
    }

    driver.run(Duration::from_secs_f64(load.warm_up), neighbour.as_mut())?;
    let clocks = Clocks::new(&load.watch, &load.processors)?;
    driver.reset();
    let before = clocks.read()?;
    driver.run(Duration::from_secs_f64(load.seconds), neighbour.as_mut())?;
    let spent = clocks.read()?.since(&before);

    let loops = if load.by_loop { driver.shares(&load.watch)? } else { Vec::new() };
    Ok(Measured {
        requests: driver.batches * load.depth as u64,
        seconds: spent.seconds,
        server_cpu: spent.server,
        client_cpu: spent.client,
        others_cpu: spent.others,
        latency: driver.latencies.latency(),
        errors: driver.errors,
        loops,
    })
}

struct Driver {
    poll: Poll,
    to: SocketAddr,
    close: bool,
    batch: Vec<u8>,
    numbers: Numbers,
    answers_len: usize,
    connections: Vec<Connection>,
    /// Those without a request under way, who has waited longest first.
    idle: VecDeque<usize>,
    latencies: Histogram,
    batches: u64,
    errors: u64,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the batch that are sent, and of its answers that are there.
    sent: usize,
    received: usize,
    since: Instant,
    batches: u64,
}

/// How many connections share an address: well below the ports that a pair of addresses has.
const PER_SOURCE: usize = 10_000;

impl Driver {
    /// Opens another connection, which says hello once: that way no more of them come than the server accepts.
    fn open(&mut self) -> io::Result<()> {
        let key = self.connections.len();
        let mut stream = connect(self.to, (key / PER_SOURCE) as u32)?;
        ask(&mut stream, &Request::hello().bytes(self.to))?;
        stream.set_nonblocking(true)?;
        let stream = self.register(TcpStream::from_std(stream), key)?;
        let sent = self.batch.len();
        self.connections.push(Connection { stream, sent, received: 0, since: Instant::now(), batches: 0 });
        self.idle.push_back(key);
        Ok(())
    }

    fn register(&self, mut stream: TcpStream, key: usize) -> io::Result<TcpStream> {
        self.poll.registry().register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn reset(&mut self) {
        self.latencies.clear();
        (self.batches, self.errors) = (0, 0);
        self.connections.iter_mut().for_each(|connection| connection.batches = 0);
    }

    fn shares(&self, server: &[i32]) -> io::Result<Vec<Share>> {
        let loops = server.iter().map(|pid| loops(*pid, self.to.port())).collect::<io::Result<Vec<_>>>()?;
        let mut shares = vec![Share::default(); loops.iter().map(Vec::len).sum()];
        for connection in &self.connections {
            let port = connection.stream.local_addr()?.port();
            if let Some(index) = loops.iter().flatten().position(|ports| ports.contains(&port)) {
                shares[index].connections += 1;
                shares[index].requests += connection.batches;
            }
        }
        Ok(shares)
    }

    fn run(&mut self, time: Duration, mut neighbour: Option<&mut Neighbour>) -> io::Result<()> {
        let (mut events, mut input) = (Events::with_capacity(1024), vec![0; 64 * 1024]);
        let end = Instant::now() + time;
        loop {
            let at_once = neighbour.as_ref().is_some_and(|neighbour| neighbour.is_ready());
            let wait = if at_once { Duration::ZERO } else { Duration::from_millis(20) };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            // Once for all that is ready: a clock is not free, and nobody could have come sooner.
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    NEIGHBOUR => neighbour.iter_mut().for_each(|neighbour| neighbour.wake(event)),
                    Token(key) => self.serve(key, now, &mut input)?,
                }
            }
            if let Some(neighbour) = &mut neighbour {
                neighbour.turn(&mut input, self.poll.registry(), NEIGHBOUR)?;
            }
            if now >= end {
                return Ok(());
            }
        }
    }

    fn serve(&mut self, key: usize, now: Instant, input: &mut [u8]) -> io::Result<()> {
        let connection = &mut self.connections[key];
        // Both, as a server that sends a body back may wait for the one before the other.
        let outcomes = [connection.send(&self.batch), connection.receive(input, self.close)];
        let whole = connection.received == self.answers_len;
        if connection.received > self.answers_len {
            return Err(io::Error::other("the server's answers differ in length, or nobody asked for them"));
        }
        let is_pause = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected);
        let ended =
            outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(|error| !is_pause(error.kind())));
        // Who asked for the connection to be closed has to see that it is.
        if whole && (ended || !self.close) {
            self.batches += 1;
            connection.batches += 1;
            self.latencies.add(now - connection.since);
        } else if ended {
            self.errors += 1;
        } else {
            return Ok(());
        }
        if ended {
            // The old one closes only here, so that its port is not chosen again at once.
            let stream = self.register(TcpStream::connect(self.to)?, key)?;
            self.connections[key].stream = stream;
        }
        let connection = &mut self.connections[key];
        (connection.sent, connection.received) = (self.batch.len(), 0);
        self.idle.push_back(key);
        self.next(now);
        Ok(())
    }

    /// Sends a batch on the connection that has been idle longest.
    fn next(&mut self, now: Instant) {
        let Some(key) = self.idle.pop_front() else { return };
        let connection = &mut self.connections[key];
        (connection.sent, connection.since) = (0, now);
        self.numbers.renew(&mut self.batch);
        // One that has just been opened anew tells when it is connected, and one that is broken when it is read.
        let _ = connection.send(&self.batch);
    }
}

impl Connection {
    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        while self.sent < batch.len() {
            self.sent += self.stream.write(&batch[self.sent..])?;
        }
        Ok(())
    }

    /// Counts what has come. A short read has emptied the socket, but the end may have come with it.
    fn receive(&mut self, input: &mut [u8], to_the_end: bool) -> io::Result<()> {
        loop {
            let len = self.stream.read(input)?;
            self.received += len;
            if len == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if len < input.len() && !to_the_end {
                return Ok(());
            }
        }
    }
}

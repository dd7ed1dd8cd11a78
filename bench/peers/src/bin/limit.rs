//! What the kernel allows: an epoll loop that reads and writes as a server has to, and does nothing else.
//!
//! A yardstick and not a server. It takes for granted that requests are well-formed and that those for `/` arrive whole,
//! counts blank lines instead of parsing, and answers from bytes that are ready. Nobody who reads what a request says can
//! be cheaper with the same system calls.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
    time::{Duration, Instant},
};

use memchr::memmem::Finder;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use varvel_bench_peers::{CHUNK, HELLO, Options, number};

/// The same fields as other servers send, in the same number of bytes.
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Sat, 21 Nov 2026 00:00:00 GMT\r\ncontent-length: ";

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 00:00:00 GMT\r\ntransfer-encoding: chunked\r\n\r\n";

const LAST_CHUNK: &str = "0\r\n\r\n";

/// Chunks that are sent at a time: a longer call keeps the client waiting for what would be there already.
const STREAM_SLICES: usize = 16;

/// More requests than a read can bring.
const BATCH_MAX: usize = 4096;

const LISTENER: Token = Token(usize::MAX);

fn main() {
    Options::from_command_line().on_each_thread(|listener| {
        Loop::new(listener).and_then(Loop::run).expect("epoll works");
    });
}

struct Loop {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    /// Who waits until when. All wait equally long, so the first is due first.
    waiting: VecDeque<(Instant, usize)>,
    answers: Answers,
    input: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of a body that are still to come, and to go back.
    body_left: usize,
    unsent: Unsent,
    /// Whether epoll tells when there is room to send, which most connections never need.
    asked_for_room: bool,
}

enum Unsent {
    Nothing,
    /// From a position on.
    Bytes(Vec<u8>, usize),
    /// So many chunks, from a position in the whole answer on.
    Stream(usize, usize),
}

/// Answers as ready bytes.
struct Answers {
    blank_line: Finder<'static>,
    hellos: Vec<u8>,
    hello_len: usize,
    closing: Vec<u8>,
    ok: Vec<u8>,
    /// The same one over and over, so that it stays in the processor's cache.
    chunk: Vec<u8>,
}

impl Loop {
    fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        let (poll, mut listener) = (Poll::new()?, TcpListener::from_std(listener));
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Slab::new(),
            waiting: VecDeque::new(),
            answers: Answers::new(),
            input: vec![0; 128 * 1024],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let next = self.waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, next) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    Token(key) => self.serve(key),
                }
            }
            if !self.waiting.is_empty() {
                self.answer_those_who_waited();
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let _ = stream.set_nodelay(true);
            let entry = self.connections.vacant_entry();
            if self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE).is_ok() {
                entry.insert(Connection {
                    stream,
                    body_left: 0,
                    unsent: Unsent::Nothing,
                    asked_for_room: false,
                });
            }
        }
    }

    fn serve(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let outcome = connection.flush(&self.answers).and_then(|()| {
            // A short read has emptied the socket: epoll tells when there is more.
            while connection.read(&mut self.input, &self.answers)? {}
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(Pause::UntilReady) => self.ask_for_room(key),
            Err(Pause::For(time)) => self.waiting.push_back((Instant::now() + time, key)),
            Err(Pause::Forever) => drop(self.connections.remove(key)),
        }
    }

    fn ask_for_room(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !matches!(connection.unsent, Unsent::Nothing) && !connection.asked_for_room {
            let both = Interest::READABLE | Interest::WRITABLE;
            connection.asked_for_room =
                self.poll.registry().reregister(&mut connection.stream, Token(key), both).is_ok();
        }
    }

    fn answer_those_who_waited(&mut self) {
        let now = Instant::now();
        while let Some((_, key)) = self.waiting.pop_front_if(|(due, _)| *due <= now) {
            if let Some(connection) = self.connections.get_mut(key) {
                // Two bytes always fit.
                let _ = connection.send(&self.answers.ok, &[]);
            }
        }
    }
}

/// Why a connection has nothing more to do now.
enum Pause {
    UntilReady,
    For(Duration),
    Forever,
}

impl From<io::Error> for Pause {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::WouldBlock { Self::UntilReady } else { Self::Forever }
    }
}

impl Connection {
    /// Reads once and answers it; whether there may be more to read.
    fn read(&mut self, input: &mut [u8], answers: &Answers) -> Result<bool, Pause> {
        let len = self.stream.read(input)?;
        let (got, more) = (&input[..len], len == input.len());
        if got.is_empty() {
            return Err(Pause::Forever);
        }
        if self.body_left > 0 {
            self.body_left = self.body_left.saturating_sub(len);
            return self.send(got, &[]).map(|()| more);
        }
        if got.starts_with(b"GET / ") {
            if got.ends_with(b"close\r\n\r\n") {
                self.send(&answers.closing, &[])?;
                return Err(Pause::Forever);
            }
            let count = answers.blank_line.find_iter(got).count().min(BATCH_MAX);
            return self.send(&answers.hellos[..count * answers.hello_len], &[]).map(|()| more);
        }
        let Some(head_len) = answers.blank_line.find(got).map(|at| at + 4) else { return Ok(more) };
        let (head, body) = got.split_at(head_len);
        let head = String::from_utf8_lossy(head);
        let query = head.split(' ').nth(1).and_then(|path| path.split_once('?')).map(|(_, query)| query);
        if head.starts_with("GET /wait") {
            return Err(Pause::For(Duration::from_millis(number(query))));
        }
        if head.starts_with("GET /stream") {
            self.unsent = Unsent::Stream(number(query) as usize, 0);
            return self.flush(answers).map(|()| more);
        }
        let field = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
        let body_len: usize = field.and_then(|length| length.parse().ok()).unwrap_or(0);
        self.body_left = body_len.saturating_sub(body.len());
        self.send(format!("{HEAD}{body_len}\r\n\r\n").as_bytes(), body).map(|()| more)
    }

    fn send(&mut self, head: &[u8], body: &[u8]) -> Result<(), Pause> {
        let sent = if body.is_empty() {
            self.stream.write(head)
        } else {
            self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
        };
        let sent = match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            other => other?,
        };
        if sent < head.len() + body.len() {
            let mut rest = head[sent.min(head.len())..].to_vec();
            rest.extend_from_slice(&body[sent.saturating_sub(head.len())..]);
            self.unsent = Unsent::Bytes(rest, 0);
            return self.flush_bytes();
        }
        Ok(())
    }

    /// Nothing more is read before everything is sent.
    fn flush(&mut self, answers: &Answers) -> Result<(), Pause> {
        match &mut self.unsent {
            Unsent::Nothing => Ok(()),
            Unsent::Bytes(..) => self.flush_bytes(),
            Unsent::Stream(chunks, sent) => {
                let len = STREAM_HEAD.len() + *chunks * answers.chunk.len() + LAST_CHUNK.len();
                while *sent < len {
                    let mut slices = vec![IoSlice::new(&answers.chunk); *chunks + 2];
                    slices[0] = IoSlice::new(STREAM_HEAD.as_bytes());
                    slices[*chunks + 1] = IoSlice::new(LAST_CHUNK.as_bytes());
                    let mut slices = &mut slices[..];
                    IoSlice::advance_slices(&mut slices, *sent);
                    let some = slices.len().min(STREAM_SLICES);
                    *sent += self.stream.write_vectored(&slices[..some])?;
                }
                self.unsent = Unsent::Nothing;
                Ok(())
            }
        }
    }

    fn flush_bytes(&mut self) -> Result<(), Pause> {
        if let Unsent::Bytes(bytes, sent) = &mut self.unsent {
            while *sent < bytes.len() {
                *sent += self.stream.write(&bytes[*sent..])?;
            }
            self.unsent = Unsent::Nothing;
        }
        Ok(())
    }
}

impl Answers {
    fn new() -> Self {
        let hello = format!("{HEAD}{}\r\n\r\n{HELLO}", HELLO.len());
        Self {
            blank_line: Finder::new(b"\r\n\r\n"),
            hellos: hello.repeat(BATCH_MAX).into(),
            hello_len: hello.len(),
            closing: format!("{HEAD}{}\r\nconnection: close\r\n\r\n{HELLO}", HELLO.len()).into(),
            ok: format!("{HEAD}2\r\n\r\nok").into(),
            chunk: [format!("{:x}\r\n", CHUNK.len()).as_bytes(), &CHUNK, b"\r\n"].concat(),
        }
    }
}

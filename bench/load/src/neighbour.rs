//! A connection that behaves badly, beside the ordinary ones.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};

use crate::answer::connect;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// Sends requests without end and reads the answers as fast as they come.
    Pipelines,
    /// Sends a body without end and reads what comes back.
    Uploads,
    /// Sends requests without end and never reads.
    NeverReads,
}

/// How much is written and read in a turn, so that this process stays fair itself.
const TURN_BYTES: usize = 64 * 1024;

/// The connection, which opens anew when the server has closed it.
#[derive(Debug)]
pub struct Neighbour {
    manner: Manner,
    to: SocketAddr,
    stream: TcpStream,
    /// What is sent over and over again, and where in it the next byte is.
    pattern: Vec<u8>,
    at: usize,
    writable: bool,
    readable: bool,
}

impl Neighbour {
    /// Connects.
    pub fn new(manner: Manner, to: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let request = format!("GET / HTTP/1.1\r\nHost: {to}\r\n\r\n");
        let pattern = match manner {
            Manner::Pipelines | Manner::NeverReads => request.repeat(TURN_BYTES / request.len()).into_bytes(),
            Manner::Uploads => vec![b'x'; TURN_BYTES],
        };
        let mut stream = connect(to, 0)?;
        if manner == Manner::Uploads {
            let head = format!("POST /echo HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\n\r\n", 1u64 << 40);
            stream.write_all(head.as_bytes())?;
        }
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { manner, to, stream, pattern, at: 0, writable: true, readable: false })
    }

    /// Takes note of what epoll says.
    pub fn wake(&mut self, event: &Event) {
        self.writable |= event.is_writable();
        self.readable |= event.is_readable() && self.manner != Manner::NeverReads;
    }

    /// Whether it could go on at once.
    pub fn is_ready(&self) -> bool {
        self.writable || self.readable
    }

    /// Writes once and reads once.
    pub fn turn(&mut self, input: &mut [u8], registry: &Registry, token: Token) -> io::Result<()> {
        let outcome = self.write().and_then(|()| self.read(input));
        if outcome.is_err() {
            *self = Self::new(self.manner, self.to, registry, token)?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if self.writable {
            match self.stream.write(&self.pattern[self.at..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                written => self.at = (self.at + written?) % self.pattern.len(),
            }
        }
        Ok(())
    }

    fn read(&mut self, input: &mut [u8]) -> io::Result<()> {
        if self.readable {
            match self.stream.read(&mut input[..TURN_BYTES]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

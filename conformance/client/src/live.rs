//! A live server: HTTP/1.1 over a socket of the standard library. What it reads it reads strictly; a lenient client would
//! repair what a test is to find.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Version, header, uri::Authority};
use varvel::Frame;

use crate::{
    Failure, FailureKind, Head,
    line::{Line, Wait},
    request::{Draft, Expectation},
    setup::ANSWER_BYTES_MAX,
};

mod wire;

use wire::{Framing, Parsed};

/// Where a live server is.
#[derive(Debug)]
pub(crate) struct Address {
    authority: Authority,
    sockets: Vec<SocketAddr>,
}

/// How long something that must come may take. Generous, for machines that run tests are busy; only a test that fails waits
/// so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing comes where a test looks whether there is nothing.
const SILENCE: Duration = Duration::from_millis(100);

/// How long a write may wait before it is looked whether the server waits for its answer to be read.
const WRITE: Duration = Duration::from_millis(10);

/// How long a request body waits for 100, which a server may not know.
const HOLD: Duration = Duration::from_secs(1);

impl Wait {
    fn limit(self) -> Duration {
        match self {
            Self::Patiently => PATIENCE,
            Self::Not => SILENCE,
        }
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err("only http:// is spoken here".to_owned());
        };
        let authority: Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|error| format!("{error}"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(80);
        let sockets = (host, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
        Ok(Self { authority, sockets })
    }

    pub(crate) fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// Opens a connection, and sends a request's head on it.
    pub(crate) fn connect(&self, draft: Draft) -> Result<Connection, Failure> {
        let mut refusals = Vec::new();
        for socket in &self.sockets {
            let stream = TcpStream::connect_timeout(socket, PATIENCE).and_then(|stream| {
                // Each piece that is sent on its own shall travel on its own.
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE))?;
                Ok(stream)
            });
            match stream {
                Ok(stream) => return Ok(Connection::open(stream, draft)),
                Err(error) => refusals.push(format!("by {socket}: {error}")),
            }
        }
        Err(Failure::new(FailureKind::Refused, refusals.join(", ")))
    }
}

/// One connection, with its one exchange.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Received, and not read yet.
    buffer: BytesMut,
    end: Option<ReadEnd>,
    method: Method,
    version: Version,
    asks_for_upgrade: bool,
    chunked_request: bool,
    /// The request body, which waits for 100 (RFC 9110 section 10.1.1).
    held: Option<Vec<u8>>,
    interims: Vec<Head>,
    head: Option<Head>,
    framing: Framing,
    failure: Option<Failure>,
    /// Why nothing more is sent. What follows a piece that was sent in part would not be what the test means.
    unsent: Option<io::Error>,
}

/// How the server ended the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ReadEnd {
    Closed,
    Reset,
}

/// What an attempt to receive brought.
enum Received {
    Some,
    End(ReadEnd),
    Nothing,
}

impl Connection {
    fn open(stream: TcpStream, draft: Draft) -> Self {
        let mut connection = Self {
            stream,
            buffer: BytesMut::new(),
            end: None,
            asks_for_upgrade: draft.headers.contains_key(header::UPGRADE),
            chunked_request: draft.has_body && draft.length.is_none(),
            held: None,
            version: draft.version,
            interims: Vec::new(),
            head: None,
            framing: Framing::None,
            failure: None,
            unsent: None,
            method: draft.method.clone(),
        };
        connection.put(&wire::request_head(&draft));
        connection.held = (draft.expectation == Expectation::Continue).then(Vec::new);
        connection
    }

    /// Sends as much as the server takes. One that has answered and closed takes nothing more; what it answered tells.
    fn put(&mut self, bytes: &[u8]) {
        match &mut self.held {
            Some(held) => held.extend_from_slice(bytes),
            // What came in place of the rest is for the reader to tell.
            None => drop(self.transmit(bytes)),
        }
    }

    /// Sends all of it. Meanwhile the answer is read: a server that answers as it reads takes nothing more until somebody
    /// does. After an error nothing is sent any more.
    fn transmit(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            if let Some(error) = &self.unsent {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            match self.stream.write(bytes) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    deadline = Instant::now() + PATIENCE;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && Instant::now() < deadline => self.read_ahead(),
                Err(error) if is_timeout(&error) => {
                    let why = format!("the server took nothing for {PATIENCE:?}");
                    self.unsent = Some(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(error) => self.unsent = Some(error),
            }
        }
        Ok(())
    }

    /// Reads what is there.
    fn read_ahead(&mut self) {
        while (self.buffer.len() as u64) < ANSWER_BYTES_MAX
            && matches!(self.receive(Instant::now()), Received::Some)
        {}
    }

    /// That the request was not sent whole, if that is so: behind another message.
    fn unsent(&self) -> String {
        let why = self.unsent.as_ref();
        why.map(|error| format!("; the request was not sent whole: {error}")).unwrap_or_default()
    }

    /// Sends what was held back, or what will be.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.put(&held);
        }
    }

    fn receive(&mut self, deadline: Instant) -> Received {
        if let Some(end) = self.end {
            return Received::End(end);
        }
        let mut piece = [0; 16 * 1024];
        loop {
            // The system takes a time-out of zero for none.
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut piece));
            let end = match read {
                Ok(0) => ReadEnd::Closed,
                Ok(read) => {
                    self.buffer.extend_from_slice(&piece[..read]);
                    return Received::Some;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => {
                    if Instant::now() >= deadline {
                        return Received::Nothing;
                    }
                    continue;
                }
                Err(_) => ReadEnd::Reset,
            };
            self.end = Some(end);
            return Received::End(end);
        }
    }

    /// Receives until there is what `parse` looks for.
    fn look<T>(
        &mut self,
        limit: Duration,
        mut parse: impl FnMut(&mut Self) -> Result<Parsed<T>, String>,
        at_end: impl FnOnce(&Self, ReadEnd) -> Result<T, Failure>,
    ) -> Poll<Result<T, Failure>> {
        if let Some(failure) = &self.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        let deadline = Instant::now() + limit;
        let result = loop {
            match parse(self) {
                Ok(Parsed::Whole(value)) => break Ok(value),
                Err(why) => break Err(Failure::new(FailureKind::Malformed, why)),
                Ok(Parsed::Part) => {}
            }
            match self.receive(deadline) {
                Received::Some => {}
                Received::Nothing => return Poll::Pending,
                Received::End(end) => break at_end(self, end),
            }
        };
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        Poll::Ready(result)
    }

    fn read_head(&mut self) -> Result<Parsed<Head>, String> {
        loop {
            let Parsed::Whole(head) = wire::head(&mut self.buffer)? else { return Ok(Parsed::Part) };
            let is_interim = head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS;
            if !is_interim {
                let asked = (&self.method, self.version, self.asks_for_upgrade);
                self.framing = wire::framing(&head, asked)?;
                self.head = Some(head.clone());
                // A server that answers without having asked for the body does not want it.
                self.held = self.held.take().map(|_| Vec::new());
                return Ok(Parsed::Whole(head));
            }
            if self.version < Version::HTTP_11 {
                return Err("HTTP/1.0 has no interim heads".to_owned());
            }
            if head.status == StatusCode::CONTINUE {
                self.release();
            }
            self.interims.push(head);
        }
    }

    fn look_for_head(&mut self, limit: Duration) -> Poll<Result<Head, Failure>> {
        self.look(limit, Self::read_head, |this, end| {
            let nothing = this.buffer.is_empty();
            let kind = if nothing { FailureKind::NoAnswer } else { FailureKind::BrokenOff };
            Err(Failure::new(kind, format!("{} in place of a head{}", how(end), this.unsent())))
        })
    }

    fn read_frame(&mut self) -> Result<Parsed<Option<Frame>>, String> {
        let frame = wire::frame(&mut self.framing, &mut self.buffer)?;
        if matches!(frame, Parsed::Whole(None)) && !self.buffer.is_empty() {
            return Err(format!("more behind the answer: {}", self.buffer.escape_ascii()));
        }
        Ok(frame)
    }
}

impl Line for Connection {
    fn poll_head(&mut self, wait: Wait) -> Poll<Result<Head, Failure>> {
        if let Some(head) = &self.head {
            return Poll::Ready(Ok(head.clone()));
        }
        if self.held.is_some() {
            if let Poll::Ready(found) = self.look_for_head(HOLD) {
                return Poll::Ready(found);
            }
            self.release();
        }
        self.look_for_head(wait.limit())
    }

    fn interims(&mut self) -> Vec<Head> {
        let _ = self.poll_head(Wait::Not);
        self.interims.clone()
    }

    fn poll_frame(&mut self, wait: Wait) -> Poll<Option<Result<Frame, Failure>>> {
        let found = self.look(wait.limit(), Self::read_frame, |this, end| match (this.framing, end) {
            (Framing::Close, ReadEnd::Closed) => Ok(None),
            _ => {
                let why = format!("{} before its end{}", how(end), this.unsent());
                Err(Failure::new(FailureKind::BrokenOff, why))
            }
        });
        found.map(Result::transpose)
    }

    fn why_pending(&self) -> Failure {
        let what = if self.head.is_some() { "nothing more of it" } else { "no head" };
        Failure::new(FailureKind::Pending, format!("{what} came within {PATIENCE:?}{}", self.unsent()))
    }

    fn send(&mut self, data: Bytes) {
        if self.chunked_request {
            self.put(&wire::chunk(&data));
        } else {
            self.put(&data);
        }
    }

    fn end_body(&mut self, trailers: Option<HeaderMap>) {
        if self.chunked_request {
            self.put(&wire::last_chunk(&trailers.unwrap_or_default()));
        }
    }

    fn end_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn disconnect(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let kind = if self.head.is_some() { FailureKind::BrokenOff } else { FailureKind::NoAnswer };
        self.failure.get_or_insert_with(|| Failure::new(kind, "the client has left"));
    }

    fn is_tunnel(&self) -> bool {
        self.framing == Framing::Tunnel
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.transmit(bytes)
    }

    fn poll_read(&mut self, buffer: &mut [u8], wait: Wait) -> Poll<io::Result<usize>> {
        let deadline = Instant::now() + wait.limit();
        if self.buffer.is_empty() {
            match self.receive(deadline) {
                Received::Some => {}
                Received::Nothing => return Poll::Pending,
                Received::End(ReadEnd::Closed) => return Poll::Ready(Ok(0)),
                Received::End(ReadEnd::Reset) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        let taken = self.buffer.split_to(buffer.len().min(self.buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Poll::Ready(Ok(taken.len()))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn how(end: ReadEnd) -> &'static str {
    match end {
        ReadEnd::Closed => "the server closed",
        ReadEnd::Reset => "the server reset",
    }
}

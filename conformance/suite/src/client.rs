//! A scripted client on a raw socket. It is no HTTP library: most clauses are about bytes, their order, and how a
//! connection ends, which a library would tidy up.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    Failure, Framing, Head, Response,
    message::{chunk_size, field},
    transcript::{Direction, Transcript},
};

/// How long anything that must happen may take. Generous, since machines that run tests are busy; nothing waits for it
/// to pass unless a check fails.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How long nothing must happen, where a clause says that nothing may. The only wait that passes in full.
pub const SILENCE: Duration = Duration::from_millis(150);

/// How much of one message is read, in bytes: more than any check asks for. A stream without end is given up there, or
/// when its time is over, whichever comes first.
pub(crate) const MESSAGE_MAX: usize = 64 << 20;

/// One connection to the server under test.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What was received and not read yet.
    buffer: Vec<u8>,
    end: Option<End>,
    /// How long anything that must happen may take.
    limit: Duration,
    transcript: Transcript,
    /// All that was received, if that is asked for.
    received: Option<Vec<u8>>,
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: the end of the stream (FIN).
    Closed,
    /// By a reset (RST): the client may have lost what was under way.
    Reset,
}

/// What is left to a message: it has one deadline and one size, in however many pieces it comes.
#[derive(Debug)]
struct Patience {
    deadline: Instant,
    /// How many bytes may come yet.
    room: usize,
    came: usize,
}

impl Patience {
    fn new(limit: Duration, room: usize) -> Self {
        Self { deadline: Instant::now() + limit, room, came: 0 }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, transcript: Transcript) -> Result<Self, Failure> {
        Self::connect_within(LIMIT, address, transcript)
    }

    /// The same for a server that is given another time than [`LIMIT`].
    pub(crate) fn connect_within(
        limit: Duration,
        address: SocketAddr,
        transcript: Transcript,
    ) -> Result<Self, Failure> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.map_err(|error| Failure::new("a socket", error.to_string()))?;
        Self::connect_with(socket, limit, address, transcript)
    }

    /// Connects a socket that was made before.
    pub(crate) fn connect_with(
        socket: Socket,
        limit: Duration,
        address: SocketAddr,
        transcript: Transcript,
    ) -> Result<Self, Failure> {
        let refused = |error: io::Error| Failure::new("the connection is accepted", error.to_string());
        socket.connect_timeout(&address.into(), limit).map_err(refused)?;
        let stream = TcpStream::from(socket);
        // Each piece that is sent on its own shall travel on its own.
        stream.set_nodelay(true).map_err(refused)?;
        stream.set_write_timeout(Some(limit)).map_err(refused)?;
        Ok(Self { stream, buffer: Vec::new(), end: None, limit, transcript, received: None })
    }

    /// Keeps all that is received from now on.
    pub(crate) fn keep_received(&mut self) {
        self.received.get_or_insert_default();
    }

    /// All that was received since then, and how the server ended the connection if it did.
    pub(crate) fn received(&self) -> (&[u8], Option<End>) {
        (self.received.as_deref().unwrap_or_default(), self.end)
    }

    /// This end's address, as the server must see it.
    ///
    /// # Errors
    /// If the socket has none any more.
    pub fn local_address(&self) -> Result<SocketAddr, Failure> {
        self.stream.local_addr().map_err(|error| Failure::new("a connected socket", error.to_string()))
    }

    /// Makes the buffers of this end's socket small, so that a client that does not read is felt soon.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn small_buffers(&mut self) -> Result<(), Failure> {
        let socket = SockRef::from(&self.stream);
        let set = socket.set_recv_buffer_size(4096).and_then(|()| socket.set_send_buffer_size(4096));
        set.map_err(|error| Failure::new("small socket buffers", error.to_string()))
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// If the server does not take it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let bytes = bytes.as_ref();
        self.transcript.add(Direction::Sent, bytes);
        self.stream.write_all(bytes).map_err(|error| {
            Failure::new(format!("the server takes {} bytes", bytes.len()), error.to_string())
        })
    }

    /// Sends as much of it as the server takes, which may have answered and closed before the end.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.transcript.add(Direction::Sent, bytes.as_ref());
        let sent = self.stream.write_all(bytes.as_ref()).is_ok();
        if !sent {
            self.transcript.remark("the server did not take all of it");
        }
        sent
    }

    /// Sends this over and over until the server has taken nothing for `stalled`, or `most` bytes went out; returns how
    /// many did.
    ///
    /// # Errors
    /// If the connection ends meanwhile.
    pub fn send_until_stalled(
        &mut self,
        piece: impl AsRef<[u8]>,
        most: usize,
        stalled: Duration,
    ) -> Result<usize, Failure> {
        let piece = piece.as_ref();
        let mut sent = 0;
        let broken = |error: io::Error| Failure::new("the connection stays open", error.to_string());
        self.stream.set_write_timeout(Some(stalled)).map_err(broken)?;
        while sent < most {
            let rest = &piece[sent % piece.len()..];
            match self.stream.write(&rest[..rest.len().min(most - sent)]) {
                Ok(taken) => sent += taken,
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(broken(error)),
            }
        }
        self.stream.set_write_timeout(Some(self.limit)).map_err(broken)?;
        self.transcript.remark(&format!("sent {sent} bytes in pieces of {}", piece.len()));
        Ok(sent)
    }

    /// Sends each piece in a segment of its own.
    ///
    /// # Errors
    /// If the server does not take it.
    pub fn send_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Failure> {
        for piece in pieces {
            self.send(piece)?;
            // A chance for the server to see the piece alone; nothing depends on its taking it.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Reads the answer to a GET, or to whatever else has an ordinary answer.
    ///
    /// # Errors
    /// If none arrives, or one that breaks the grammar.
    pub fn response(&mut self) -> Result<Response, Failure> {
        self.response_to("GET")
    }

    /// Reads the answer to a request with this method, on which it depends whether there is a body.
    ///
    /// # Errors
    /// If none arrives, or one that breaks the grammar.
    pub fn response_to(&mut self, method: &str) -> Result<Response, Failure> {
        let mut interim = Vec::new();
        let mut patience = self.patience();
        let head = loop {
            let head = self.head_within(&mut patience)?;
            match head.status {
                100 | 102..=199 => {
                    framing(&head, method)?;
                    interim.push(head);
                }
                _ => break head,
            }
        };
        let framing = framing(&head, method)?;
        let (body, trailers) = self.body(framing)?;
        Ok(Response { interim, head, framing, body, trailers })
    }

    /// Reads a body that is delimited so, and its trailers.
    pub(crate) fn body(&mut self, framing: Framing) -> Result<(Bytes, Vec<(String, Bytes)>), Failure> {
        let mut patience = self.patience();
        let body = match framing {
            Framing::None => Bytes::new(),
            Framing::Length(length) => self.exactly_within(sane(length)?, &mut patience)?,
            Framing::Chunked => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk_within(&mut patience)? {
                    body.extend(chunk);
                }
                return Ok((body.into(), self.trailers_within(&mut patience)?));
            }
            Framing::Close => {
                let (body, end) = self.rest()?;
                if end == End::Reset {
                    return Err(Failure::new("a body that ends with an orderly close", "a reset"));
                }
                body
            }
        };
        Ok((body, Vec::new()))
    }

    /// Reads one head, interim or final.
    ///
    /// # Errors
    /// If none arrives, or one that breaks the grammar.
    pub fn head(&mut self) -> Result<Head, Failure> {
        self.head_within(&mut self.patience())
    }

    fn head_within(&mut self, patience: &mut Patience) -> Result<Head, Failure> {
        let mut text = Vec::new();
        loop {
            let line = self.line("a response head", patience)?;
            if line == b"\r\n" {
                break;
            }
            text.extend(line);
        }
        Head::parse(&text).map_err(|expected| Failure::new(expected, "a response that breaks the grammar"))
    }

    /// Reads one chunk; `None` is the last one, behind which are the [trailers](Self::trailers).
    ///
    /// # Errors
    /// If none arrives, or one that breaks the grammar.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.chunk_within(&mut self.patience())
    }

    fn chunk_within(&mut self, patience: &mut Patience) -> Result<Option<Bytes>, Failure> {
        let line = self.line("a chunk", patience)?;
        let size = line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| "a line that ends in CRLF".to_owned())
            .and_then(chunk_size);
        let size = size.map_err(|expected| Failure::new(expected, line.escape_ascii().to_string()))?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly_within(sane(size)?, patience)?;
        let end = self.exactly_within(2, patience)?;
        if end != "\r\n" {
            return Err(Failure::new("CRLF behind the data of a chunk", end.escape_ascii().to_string()));
        }
        Ok(Some(chunk))
    }

    /// Reads what follows the last chunk.
    ///
    /// # Errors
    /// If its end does not arrive, or it breaks the grammar.
    pub fn trailers(&mut self) -> Result<Vec<(String, Bytes)>, Failure> {
        self.trailers_within(&mut self.patience())
    }

    fn trailers_within(&mut self, patience: &mut Patience) -> Result<Vec<(String, Bytes)>, Failure> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line("the end of a chunked body", patience)?;
            match line.strip_suffix(b"\r\n") {
                Some(b"") => return Ok(trailers),
                line => {
                    let read = line.ok_or_else(|| "a line that ends in CRLF".to_owned()).and_then(field);
                    trailers.push(read.map_err(|expected| Failure::new(expected, "something else"))?);
                }
            }
        }
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// If they do not arrive.
    pub fn exactly(&mut self, count: usize) -> Result<Bytes, Failure> {
        // Whoever asks for more than a message holds is given it.
        self.exactly_within(count, &mut Patience::new(self.limit, count.max(MESSAGE_MAX)))
    }

    fn exactly_within(&mut self, count: usize, patience: &mut Patience) -> Result<Bytes, Failure> {
        while self.buffer.len() < count {
            if !self.fill(patience)? {
                let seen = self.describe_end(format!("{} of them", self.buffer.len()), patience);
                return Err(self.unless_it_came(Failure::new(format!("{count} bytes"), seen)));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads all that comes until the server ends the connection, and how it does.
    ///
    /// # Errors
    /// If it does not.
    pub fn rest(&mut self) -> Result<(Bytes, End), Failure> {
        let mut patience = self.patience();
        while self.fill(&mut patience)? {}
        match self.end {
            Some(end) => Ok((std::mem::take(&mut self.buffer).into(), end)),
            None => {
                let seen = format!("it is open after {} more bytes and {:?}", self.buffer.len(), self.limit);
                Err(Failure::new(AN_END, seen).by_waiting())
            }
        }
    }

    /// Expects that the server ends the connection without another byte.
    ///
    /// # Errors
    /// If there is one, or no end.
    pub fn closed(&mut self) -> Result<End, Failure> {
        let (rest, end) = self.rest()?;
        if rest.is_empty() {
            return Ok(end);
        }
        Err(Failure::new("the end of the connection, without another byte", rest.escape_ascii().to_string()))
    }

    /// Waits for a byte, which is not read yet, or for the end of the connection; whether it is the latter.
    ///
    /// # Errors
    /// If neither comes.
    pub(crate) fn is_over(&mut self) -> Result<bool, Failure> {
        let mut patience = self.patience();
        if self.buffer.is_empty() && !self.fill(&mut patience)? && self.end.is_none() {
            return Err(Failure::new(AN_ANSWER, "neither").by_waiting());
        }
        Ok(self.buffer.is_empty())
    }

    /// Whether it has ended, and all that came was read.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some() && self.buffer.is_empty()
    }

    /// Whether the server has reset it.
    pub(crate) fn is_reset(&self) -> bool {
        self.end == Some(End::Reset)
    }

    /// Whether it is open, and all that came was read.
    pub(crate) fn is_idle(&self) -> bool {
        self.end.is_none() && self.buffer.is_empty()
    }

    /// Expects that for a [while](SILENCE) the server neither sends a byte nor ends the connection.
    ///
    /// # Errors
    /// If it does.
    pub fn silent(&mut self) -> Result<(), Failure> {
        let mut patience = Patience::new(SILENCE, MESSAGE_MAX);
        let more = self.buffer.is_empty() && self.fill(&mut patience)?;
        if self.end.is_none() && !more && self.buffer.is_empty() {
            return Ok(());
        }
        let seen = self.describe_end(self.buffer.escape_ascii().to_string(), &patience);
        Err(Failure::new("not a byte for now, and an open connection", seen))
    }

    /// Ends this side's sending (FIN) and goes on reading.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn half_close(&mut self) -> Result<(), Failure> {
        self.transcript.remark("the client ends its sending side");
        let shut = self.stream.shutdown(Shutdown::Write);
        shut.map_err(|error| Failure::new("an open connection", error.to_string()))
    }

    /// Closes the connection in order. What was received and not read turns it into a reset, as with any socket.
    pub fn close(self) {
        self.transcript.remark("the client closes");
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.transcript.remark("the client resets");
        // Without lingering the system discards what is unsent and sends RST.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads through the next LF; a missing CR is the caller's to find.
    fn line(&mut self, of: &str, patience: &mut Patience) -> Result<Vec<u8>, Failure> {
        /// Longer than any line that a server under test has reason to send.
        const LINE_MAX: usize = 256 * 1024;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.drain(..=searched + at).collect());
            }
            searched = self.buffer.len();
            if searched > LINE_MAX || !self.fill(patience)? {
                let seen = match searched {
                    0 => "nothing".to_owned(),
                    _ => self.buffer[..searched.min(200)].escape_ascii().to_string(),
                };
                let failure = Failure::new(of, self.describe_end(seen, patience));
                return Err(if searched > LINE_MAX { failure } else { self.unless_it_came(failure) });
            }
        }
    }

    /// How long anything that begins now may take, and how much may come of it.
    fn patience(&self) -> Patience {
        Patience::new(self.limit, MESSAGE_MAX)
    }

    /// A failure since no more came: by waiting, unless it is the end of the connection that tells.
    fn unless_it_came(&self, failure: Failure) -> Failure {
        if self.end.is_none() { failure.by_waiting() } else { failure }
    }

    fn describe_end(&self, seen: String, patience: &Patience) -> String {
        match self.end {
            None if patience.is_over() && patience.came > 0 => {
                format!(
                    "{seen}, {} bytes into what may take {:?}, on an open connection",
                    patience.came, self.limit
                )
            }
            None => format!("{seen}, on an open connection"),
            Some(End::Closed) => format!("{seen}, then the connection was closed"),
            Some(End::Reset) => format!("{seen}, then the connection was reset"),
        }
    }

    /// Receives more; `false` at the end of the connection or when the deadline has passed. More than may come is an
    /// error.
    fn fill(&mut self, patience: &mut Patience) -> Result<bool, Failure> {
        let deadline = patience.deadline;
        // What comes in time is read however late it is looked for; what comes on and on is not.
        if self.end.is_some() || patience.came > 0 && patience.is_over() {
            return Ok(false);
        }
        if patience.came >= patience.room {
            let expected = format!("a message of no more than {} bytes", patience.room);
            return Err(Failure::new(expected, "it goes on"));
        }
        let mut piece = [0; 16 * 1024];
        loop {
            // The system rounds a time-out of zero to for ever.
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let set = self.stream.set_read_timeout(Some(left));
            set.map_err(|error| Failure::new("a connected socket", error.to_string()))?;
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    self.transcript.remark("the server closed");
                    self.end = Some(End::Closed);
                    return Ok(false);
                }
                Ok(count) => {
                    patience.came += count;
                    self.transcript.add(Direction::Received, &piece[..count]);
                    self.buffer.extend_from_slice(&piece[..count]);
                    if let Some(received) = &mut self.received {
                        received.extend_from_slice(&piece[..count]);
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    if Instant::now() >= deadline {
                        return Ok(false);
                    }
                }
                Err(_) => {
                    self.transcript.remark("the server reset");
                    self.end = Some(End::Reset);
                    return Ok(false);
                }
            }
        }
    }
}

/// What a client waits for that must be told something, and one that reads to the end.
pub(crate) const AN_ANSWER: &str = "an answer, or the end of the connection";
pub(crate) const AN_END: &str = "the server ends the connection";

/// A length that a message may have.
fn sane(length: u64) -> Result<usize, Failure> {
    let sane = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_MAX);
    sane.ok_or_else(|| Failure::new(format!("a length of no more than {MESSAGE_MAX}"), length.to_string()))
}

fn framing(head: &Head, method: &str) -> Result<Framing, Failure> {
    let seen = || format!("status {} with {:?}", head.status, head.fields);
    head.framing(method).map_err(|expected| Failure::new(expected, seen()))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A client, and the other end of its connection.
    fn connected() -> (Client, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = Client::connect(listener.local_addr().unwrap(), Transcript::new(1)).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// A client of a server that sends this and closes.
    fn sent(bytes: &'static [u8]) -> Client {
        let (client, mut server) = connected();
        server.write_all(bytes).unwrap();
        client
    }

    #[test]
    fn the_ways_to_end_a_connection_are_told_apart() {
        let (mut client, server) = connected();
        drop(server);
        assert_eq!(client.closed(), Ok(End::Closed));

        let (mut client, server) = connected();
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(client.closed(), Ok(End::Reset));

        let (client, mut server) = connected();
        client.reset();
        assert_eq!(server.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);

        let (mut client, mut server) = connected();
        client.half_close().unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        server.write_all(b"late").unwrap();
        drop(server);
        assert_eq!(client.rest(), Ok((Bytes::from("late"), End::Closed)));
    }

    #[test]
    fn silence_is_neither_a_byte_nor_an_end() {
        let (mut client, mut server) = connected();
        assert_eq!(client.silent(), Ok(()));
        server.write_all(b"x").unwrap();
        assert!(client.silent().is_err());
        // What broke the silence is not lost.
        assert_eq!(client.exactly(1), Ok(Bytes::from("x")));
        drop(server);
        assert!(client.silent().is_err());
    }

    #[test]
    fn interim_heads_chunks_and_trailers_belong_to_one_response() {
        let mut client = sent(
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
              5;ext=x\r\nhello\r\n1\r\n!\r\n0\r\nX-T: t\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        );
        let response = client.response().unwrap();
        assert_eq!(response.interim.len(), 1);
        assert_eq!((response.status(), response.text().as_str()), (200, "hello!"));
        assert_eq!(response.trailers, [("X-T".to_owned(), Bytes::from("t"))]);
        assert_eq!(client.response().unwrap().status(), 204);
        assert_eq!(client.closed(), Ok(End::Closed));
    }

    #[test]
    fn a_body_cut_short_is_no_response() {
        for cut in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        ] {
            assert!(sent(cut).response().is_err(), "{}", cut.escape_ascii());
        }
        // Delimited by the close, it is complete unless the close is a reset.
        assert_eq!(sent(b"HTTP/1.1 200 OK\r\n\r\nhell").response().unwrap().body, "hell");
    }

    #[test]
    fn an_answer_without_end_is_given_up() {
        for (begin, again) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            ("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
            ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\n\r\n", "x"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n"),
        ] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let (address, limit) = (listener.local_addr().unwrap(), Duration::from_millis(300));
            let mut client = Client::connect_within(limit, address, Transcript::new(1)).unwrap();
            let mut server = listener.accept().unwrap().0;
            // A piece now and then, each of which is in time by itself.
            let sending = thread::spawn(move || {
                let mut sent = server.write_all(begin.as_bytes());
                while sent.is_ok() {
                    sent = server.write_all(again.as_bytes());
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let failure = client.response().unwrap_err();
            assert!(failure.nothing_came(), "{again:?}: {failure}");
            client.reset();
            sending.join().unwrap();
        }
    }

    #[test]
    fn an_answer_of_any_size_is_not_kept() {
        let mut client = sent(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
        assert!(client.response().unwrap_err().expected.contains("a length of no more than"));

        let (mut client, mut server) = connected();
        client.buffer = b"x".to_vec();
        server.write_all(&[b'x'; 100]).unwrap();
        let mut patience = Patience::new(LIMIT, 50);
        let failure = client.exactly_within(1000, &mut patience).unwrap_err();
        assert_eq!(failure.expected, "a message of no more than 50 bytes");
    }

    #[test]
    fn a_server_that_does_not_read_stalls_the_client() {
        let (mut client, server) = connected();
        client.small_buffers().unwrap();
        let sent = client.send_until_stalled([b'x'; 4096], 1 << 30, Duration::from_millis(50)).unwrap();
        assert!(sent < 1 << 30, "{sent}");
        let reading = thread::spawn(move || {
            let mut server = server;
            io::copy(&mut server, &mut io::sink())
        });
        client.send("more").unwrap();
        client.close();
        assert_eq!(reading.join().unwrap().unwrap(), sent as u64 + 4);
    }
}

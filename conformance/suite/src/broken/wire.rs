//! The socket of one connection, with a thread for each direction.
//!
//! ```text
//!   client  -- reader thread -->  inbox, at most `read_ahead` bytes  -- taken by -->  connection, request body, tunnel
//!   client  <-- writer thread --  outbox                             <-- put by  --  connection, sink, tunnel
//! ```
//!
//! The threads make everything else simple: a client that leaves is noticed while the application computes, a wait for
//! bytes can be ended by anyone, and no write holds up who made it. They own the socket, which therefore closes when
//! both have ended, whoever still has a handle to the wire.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;

use super::{Fault, settings::Settings};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(buffer),
            Self::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).write(bytes),
            Self::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn shutdown(&self, how: Shutdown) {
        // Fails only if the peer was quicker.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    fn options(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }
}

/// Why bytes did not come, or did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// The client has ended its sending side.
    Ended,
    /// The client has reset the connection, or takes nothing any more.
    Gone,
    /// Not in time.
    TimedOut,
    /// This server has given the connection up.
    Killed,
    /// The exchange that asks is over.
    Stale,
    /// A line is longer than allowed; so much of it is there.
    TooLong,
    /// A line has CR without LF, LF without CR, or NUL.
    BadLine,
}

/// One connection's bytes on their way, and what is known of the client.
pub(super) struct Wire {
    /// The threads own it.
    socket: Weak<Socket>,
    state: Mutex<State>,
    /// Told of every change.
    changed: Condvar,
    high_water: usize,
    write_timeout: Duration,
    fault: Option<Fault>,
}

struct State {
    inbox: BytesMut,
    /// How large the inbox may grow.
    read_ahead: usize,
    /// Why nothing more will come.
    input_end: Option<Stuck>,
    /// What comes is thrown away.
    discarding: bool,
    /// Which exchange may take from the inbox.
    taker: u64,
    outbox: VecDeque<Piece>,
    /// Bytes in the outbox.
    unsent: usize,
    /// The sending side closes once the outbox is empty.
    closing: bool,
    /// The client takes nothing any more.
    output_failed: bool,
    /// When the transport last took something, or had last taken everything.
    progress: Instant,
    /// Bytes of content handed to the transport since the exchange began.
    content_sent: u64,
    /// This server has given up.
    killed: bool,
    /// It is told so when the client is gone.
    watchers: Vec<Waker>,
    /// Somebody wants a waiting tunnel to look around.
    alert: bool,
    /// No further request is wanted.
    stopping: bool,
}

struct Piece {
    bytes: Bytes,
    /// Whether it counts as content of an answer, as against heads and framing.
    content: bool,
}

/// The two threads of a wire.
pub(super) struct WireThreads([JoinHandle<()>; 2]);

/// How late a fault notices that a client has left.
const LATE: Duration = Duration::from_secs(3);

/// How often a writer that the client holds up looks whether it is still wanted.
const WRITER_LOOKS_UP: Duration = Duration::from_millis(100);

impl Wire {
    /// Takes charge of a socket.
    pub(super) fn start(socket: Socket, settings: &Settings) -> io::Result<(Arc<Self>, WireThreads)> {
        socket.options().set_write_timeout(Some(WRITER_LOOKS_UP))?;
        if let Socket::Tcp(stream) = &socket {
            stream.set_nodelay(true)?;
        }
        let socket = Arc::new(socket);
        let wire = Arc::new(Self {
            socket: Arc::downgrade(&socket),
            state: Mutex::new(State {
                inbox: BytesMut::new(),
                read_ahead: settings.tuning.read_ahead as usize,
                input_end: None,
                discarding: false,
                taker: 0,
                outbox: VecDeque::new(),
                unsent: 0,
                closing: false,
                output_failed: false,
                progress: Instant::now(),
                content_sent: 0,
                killed: false,
                watchers: Vec::new(),
                alert: false,
                stopping: false,
            }),
            changed: Condvar::new(),
            high_water: settings.tuning.write_high_water as usize,
            write_timeout: settings.tuning.write_timeout,
            fault: settings.fault,
        });
        let (reading, writing) = (Arc::clone(&wire), Arc::clone(&wire));
        let reader_socket = Arc::clone(&socket);
        let reader =
            thread::Builder::new().name("reader".into()).spawn(move || reading.read(&reader_socket))?;
        let writer = thread::Builder::new().name("writer".into()).spawn(move || writing.write(&socket))?;
        Ok((wire, WireThreads([reader, writer])))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or for the time; `false` if that has come.
    fn wait<'s>(
        &self,
        state: MutexGuard<'s, State>,
        until: Option<Instant>,
    ) -> (MutexGuard<'s, State>, bool) {
        let Some(until) = until else {
            return (self.changed.wait(state).unwrap_or_else(PoisonError::into_inner), true);
        };
        let left = until.saturating_duration_since(Instant::now());
        let (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        (state, Instant::now() < until)
    }

    // The reader thread.

    fn read(&self, socket: &Socket) {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let mut state = self.lock();
            while state.inbox.len() >= state.read_ahead && !state.killed && !state.discarding {
                state = self.wait(state, None).0;
            }
            let room = if state.discarding { buffer.len() } else { state.read_ahead - state.inbox.len() };
            drop(state);
            let room = room.min(buffer.len());
            let end = match socket.read(&mut buffer[..room]) {
                Ok(0) => Some(Stuck::Ended),
                Ok(read) => {
                    let mut state = self.lock();
                    if !state.discarding {
                        state.inbox.extend_from_slice(&buffer[..read]);
                    }
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
                Err(_) => Some(Stuck::Gone),
            };
            if end.is_some() {
                if self.has(Fault::NoticesDisconnectLate) {
                    thread::sleep(LATE);
                }
                self.lock().input_end = end;
            }
            self.changed.notify_all();
            if end.is_some() {
                return self.tell_watchers();
            }
        }
    }

    // The writer thread.

    fn write(&self, socket: &Socket) {
        loop {
            let mut state = self.lock();
            while state.outbox.is_empty() && !state.closing && !state.killed {
                state = self.wait(state, None).0;
            }
            if state.killed {
                return;
            }
            let Some(piece) = state.outbox.front() else {
                drop(state);
                return socket.shutdown(Shutdown::Write);
            };
            let bytes = piece.bytes.clone();
            drop(state);
            match socket.write(&bytes) {
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) if self.has(Fault::IgnoresFailedWrites) => self.written(bytes.len()),
                Err(_) => {
                    let mut state = self.lock();
                    state.output_failed = true;
                    state.outbox.clear();
                    state.unsent = 0;
                    drop(state);
                    self.changed.notify_all();
                    return self.tell_watchers();
                }
            }
        }
    }

    fn written(&self, count: usize) {
        let mut state = self.lock();
        state.progress = Instant::now();
        state.unsent -= count;
        if let Some(piece) = state.outbox.front_mut() {
            piece.bytes.advance(count);
            let (content, empty) = (piece.content, piece.bytes.is_empty());
            if content || self.has(Fault::HookCountsFraming) {
                state.content_sent += count as u64;
            }
            if empty {
                state.outbox.pop_front();
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn tell_watchers(&self) {
        let watchers = std::mem::take(&mut self.lock().watchers);
        if self.has(Fault::DisconnectWakesNobody) {
            return;
        }
        for watcher in watchers {
            watcher.wake();
        }
    }

    // Taking from the inbox.

    /// Lets exchange `number` take from the inbox, and nobody else from now on.
    pub(super) fn give_to(&self, number: u64) {
        let mut state = self.lock();
        state.taker = number;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the first byte of a request; `false` if there will be none.
    pub(super) fn wait_for_request(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if state.killed {
                return false;
            }
            let ended = state.input_end.is_some() && state.taker > 1 && self.has(Fault::AnswersOneBeforeEnd);
            if !state.inbox.is_empty() && !ended {
                return true;
            }
            if state.stopping || state.input_end.is_some() {
                return false;
            }
            let (next, in_time) = self.wait(state, Some(until));
            if !in_time && next.inbox.is_empty() && !self.has(Fault::NoIdleTimeout) {
                return false;
            }
            state = next;
        }
    }

    /// Takes a line with its end, at most `max` bytes, and appends it to `line`.
    pub(super) fn take_line(
        &self,
        taker: u64,
        line: &mut Vec<u8>,
        max: usize,
        until: Option<Instant>,
    ) -> Result<(), Stuck> {
        self.take_line_if(taker, line, max, until, |_, _| true)
    }

    /// The same for a line of which each byte must fit behind those that came before it.
    pub(super) fn take_line_if(
        &self,
        taker: u64,
        line: &mut Vec<u8>,
        max: usize,
        mut until: Option<Instant>,
        fits: impl Fn(&[u8], u8) -> bool,
    ) -> Result<(), Stuck> {
        let begin = line.len();
        loop {
            if self.has(Fault::RenewsHeadTimeout) {
                until = Some(Instant::now() + Duration::from_secs(5));
            }
            let mut state = self.available(taker, until)?;
            while let Some(byte) = state.inbox.first().copied() {
                if line.len() - begin == max {
                    return Err(Stuck::TooLong);
                }
                let after_cr = line[begin..].last() == Some(&b'\r');
                let good = match byte {
                    b'\n' => after_cr || self.has(Fault::TakesBareLf),
                    0 => self.has(Fault::SkipsNul),
                    _ => !after_cr || self.has(Fault::TakesBareCr),
                };
                if !good || !fits(&line[begin..], byte) {
                    return Err(Stuck::BadLine);
                }
                state.inbox.advance(1);
                if byte != 0 {
                    line.push(byte);
                }
                if byte == b'\n' {
                    drop(state);
                    self.changed.notify_all();
                    return Ok(());
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Takes what there is, at least one byte and at most `max`.
    pub(super) fn take(&self, taker: u64, max: u64, until: Option<Instant>) -> Result<Bytes, Stuck> {
        let mut state = self.available(taker, until)?;
        let count = usize::try_from(max).unwrap_or(usize::MAX).min(state.inbox.len());
        let taken = Bytes::copy_from_slice(&state.inbox[..count]);
        state.inbox.advance(count);
        drop(state);
        self.changed.notify_all();
        Ok(taken)
    }

    fn available(&self, taker: u64, until: Option<Instant>) -> Result<MutexGuard<'_, State>, Stuck> {
        let mut state = self.lock();
        let mut in_time = true;
        loop {
            if state.killed {
                return Err(Stuck::Killed);
            }
            if state.taker != taker && !self.has(Fault::StaleBodyReads) {
                return Err(Stuck::Stale);
            }
            if !state.inbox.is_empty() {
                return Ok(state);
            }
            if let Some(end) = state.input_end {
                return Err(end);
            }
            if state.stopping && self.has(Fault::StopCutsHalfHeads) {
                return Err(Stuck::Ended);
            }
            if !in_time {
                return Err(Stuck::TimedOut);
            }
            (state, in_time) = self.wait(state, until);
        }
    }

    /// Whether nothing of what the client may have sent is here.
    pub(super) fn inbox_is_empty(&self) -> bool {
        self.lock().inbox.is_empty()
    }

    /// Takes everything that comes out of the client's hands, wanted or not.
    pub(super) fn read_without_bound(&self) {
        self.lock().read_ahead = usize::MAX;
        self.changed.notify_all();
    }

    // Putting into the outbox.

    /// Puts bytes into the outbox, however full it is.
    pub(super) fn put(&self, bytes: Bytes, content: bool) -> Result<(), Stuck> {
        let mut state = self.lock();
        self.writable(&state)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if state.unsent == 0 {
            state.progress = Instant::now();
        }
        state.unsent += bytes.len();
        state.outbox.push_back(Piece { bytes, content });
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether more can be put into the outbox.
    fn writable(&self, state: &State) -> Result<(), Stuck> {
        self.sendable(state)?;
        if state.closing { Err(Stuck::Gone) } else { Ok(()) }
    }

    /// Whether what is in the outbox can still arrive.
    fn sendable(&self, state: &State) -> Result<(), Stuck> {
        if state.killed {
            return Err(Stuck::Killed);
        }
        let gone = state.output_failed || state.input_end == Some(Stuck::Gone);
        if gone && !self.has(Fault::IgnoresFailedWrites) { Err(Stuck::Gone) } else { Ok(()) }
    }

    /// Waits while more than the high-water mark is unsent.
    pub(super) fn wait_for_room(&self) -> Result<(), Stuck> {
        if self.has(Fault::AcceptsWithoutBound) || self.has(Fault::AnswersAheadWithoutBound) {
            return Ok(());
        }
        self.wait_until_unsent(self.high_water)
    }

    /// Waits until everything was handed to the transport.
    pub(super) fn flush(&self) -> Result<(), Stuck> {
        self.wait_until_unsent(0)
    }

    fn wait_until_unsent(&self, bytes: usize) -> Result<(), Stuck> {
        let mut state = self.lock();
        loop {
            self.sendable(&state)?;
            if state.unsent <= bytes {
                return Ok(());
            }
            let until = state.progress + self.write_timeout;
            if Instant::now() >= until && !self.has(Fault::NoWriteTimeout) {
                return Err(Stuck::TimedOut);
            }
            let until = until.max(Instant::now() + WRITER_LOOKS_UP);
            state = self.wait(state, Some(until)).0;
        }
    }

    /// How many bytes of content the transport has taken since [`count_anew`](Self::count_anew).
    pub(super) fn content_sent(&self) -> u64 {
        self.lock().content_sent
    }

    /// Begins to count content.
    pub(super) fn count_anew(&self) {
        self.lock().content_sent = 0;
    }

    // What is known of the client.

    /// Whether the transport has refused a write.
    pub(super) fn was_refused(&self) -> bool {
        self.lock().output_failed
    }

    /// Whether the client is gone; `end_counts` if the end of its sending side means that.
    pub(super) fn is_gone(&self, end_counts: bool) -> bool {
        Self::gone(&self.lock(), end_counts)
    }

    fn gone(state: &State, end_counts: bool) -> bool {
        state.killed
            || state.output_failed
            || state.input_end == Some(Stuck::Gone)
            || (end_counts && state.input_end == Some(Stuck::Ended))
    }

    /// Wakes when the client is gone.
    pub(super) fn poll_gone(&self, end_counts: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        // Whoever asks too late to be woken must not find out either.
        if Self::gone(&state, end_counts) && !self.has(Fault::DisconnectWakesNobody) {
            return Poll::Ready(());
        }
        if !state.watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
            state.watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    // The end.

    /// Says that a stop was asked for: a wait for the next request is over.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// Gives the connection up, with a reset if the client is to know that something is missing.
    pub(super) fn kill(&self, reset: bool) {
        let mut state = self.lock();
        state.killed = true;
        drop(state);
        if let Some(socket) = self.socket.upgrade() {
            if reset {
                // The close that follows then sends a reset; where it cannot, it is a close.
                let _ = socket.options().set_linger(Some(Duration::ZERO));
            }
            // Ends the reader's wait, and sends nothing.
            socket.shutdown(Shutdown::Read);
        }
        self.changed.notify_all();
        self.tell_watchers();
    }

    /// Closes in order: what is unsent is sent, and what the client still sends is read, lest the answer be lost in the
    /// reset that unread bytes cause.
    pub(super) fn close(&self, linger: Duration) {
        let _ = self.flush();
        let until = Instant::now() + linger;
        let mut state = self.lock();
        state.closing = true;
        state.discarding = true;
        state.inbox.clear();
        self.changed.notify_all();
        while state.input_end.is_none() && !state.killed && !state.output_failed {
            let (next, in_time) = self.wait(state, Some(until));
            state = next;
            if !in_time {
                break;
            }
        }
        drop(state);
        if let Some(socket) = self.socket.upgrade() {
            socket.shutdown(Shutdown::Both);
        }
    }

    // What tunnels need.

    /// Takes what there is.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let count = buffer.len().min(state.inbox.len());
        if state.killed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if count > 0 {
            state.inbox.copy_to_slice(&mut buffer[..count]);
            drop(state);
            self.changed.notify_all();
            return Ok(count);
        }
        match state.input_end {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Stuck::Ended) => Ok(0),
            Some(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Puts what fits.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.lock();
        self.writable(&state).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let mut room = self.high_water.saturating_sub(state.unsent);
        drop(state);
        if self.has(Fault::TunnelWritesWithoutBound) {
            room = usize::MAX;
        }
        let count = room.min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.put(Bytes::copy_from_slice(&bytes[..count]), true) {
            Ok(()) => Ok(count),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the sending side once everything is sent.
    pub(super) fn close_write(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Waits until one of the wanted things may be possible, somebody gave the alert, or the time is over.
    pub(super) fn wait_for_either(
        &self,
        readable: bool,
        writable: bool,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        let mut in_time = true;
        loop {
            if state.killed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let can_read = readable && (!state.inbox.is_empty() || state.input_end.is_some());
            let can_write = writable && (state.unsent < self.high_water || self.writable(&state).is_err());
            if std::mem::take(&mut state.alert) || can_read || can_write || !in_time {
                return Ok(());
            }
            (state, in_time) = self.wait(state, until);
        }
    }
}

/// A waker that makes a waiting tunnel look around.
impl Wake for Wire {
    fn wake(self: Arc<Self>) {
        self.lock().alert = true;
        self.changed.notify_all();
    }
}

impl WireThreads {
    /// Waits until the socket is closed.
    pub(super) fn join(self) {
        for thread in self.0 {
            // A panic in there is one of this server's own, and was printed.
            let _ = thread.join();
        }
    }
}

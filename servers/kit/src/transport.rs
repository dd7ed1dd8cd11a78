//! A connection to one client: TCP or Unix socket behind one type.
//!
//! Sockets are non-blocking from the moment they are accepted, and every transfer here returns
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock) rather than wait. An evented server waits in its poller; a
//! blocking one calls [`Transport::wait`] and tries again.
//!
//! Bytes move by `recv` and `send`, not by `read` and `write`: that spares the kernel its file layer (3 to 4 % of
//! a small exchange), and `MSG_NOSIGNAL` makes a client that left an error instead of a SIGPIPE. `sendfile` has no
//! such flag; there the Rust runtime, which ignores SIGPIPE before `main`, is relied upon.
//!
//! # Closing without losing the answer
//!
//! Closing a socket whose receive buffer still holds bytes makes the kernel send a reset, and a reset may destroy
//! a response that is on its way (RFC 9112 section 9.6). So a connection ends in one of three ways:
//!
//! | situation | way |
//! |---|---|
//! | the client has nothing more to say | drop |
//! | the client may still be sending (refused head, unread body) | lingering close: [`shutdown_write`], then [`discard`] until the client closes or a deadline passes, then drop |
//! | the client must not take what it got for complete | [`reset`] |
//!
//! [`shutdown_write`]: Transport::shutdown_write
//! [`discard`]: Transport::discard
//! [`reset`]: Transport::reset

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use varvel::Address;

/// One accepted connection. Dropping it closes the socket.
#[derive(Debug)]
pub enum Transport {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix stream socket.
    Unix(UnixStream),
}

/// What [`Transport::peek`] found without taking anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Connected, nothing to read.
    Quiet,
    /// Bytes are waiting. Whether the client left *behind* them cannot be told until they are read.
    Talking,
    /// The client finished its side (FIN). It may have gone, or may still be reading.
    Finished,
    /// The connection is broken: reset, timed out.
    Gone,
}

/// What to [wait](Transport::wait) for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, an end or an error to be read.
    Readable,
    /// Room to write.
    Writable,
    /// Either of them.
    Both,
}

/// What [`Transport::discard`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// The client closed too, or the connection broke: drop the transport.
    Finished,
    /// Nothing left for now, the client has not closed: wait until readable.
    Pending,
    /// The byte budget is used up and the client is still sending: drop the transport.
    TooMuch,
}

impl Transport {
    /// Receives into `buffer`. `Ok(0)` is the client's FIN, or an empty `buffer`.
    ///
    /// A count smaller than the buffer means that the kernel had no more: calling again just to see
    /// `WouldBlock` can be spared.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::net::recv(self, &mut *buffer, RecvFlags::empty()))?.0)
    }

    /// Receives into the unused capacity of `buffer` and appends what came; no zeroing beforehand.
    ///
    /// The buffer never grows. With no spare capacity the answer is `Ok(0)`, which must not be taken for a FIN:
    /// reserve first.
    #[inline]
    pub fn read_spare(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            match rustix::net::recv(self, rustix::buffer::spare_capacity(buffer), RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                result => return Ok(result?.0),
            }
        }
    }

    /// Sends from `bytes`; the count says how many were taken.
    ///
    /// A count smaller than `bytes` means that the socket's buffer is full: wait until writable.
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::net::send(self, bytes, SendFlags::NOSIGNAL))?)
    }

    /// Sends from `slices` in order, in one system call; at most 1,024 slices (the kernel's `IOV_MAX`).
    ///
    /// With `more_follows` the kernel may hold back a last partial packet, to fill it with what is sent next; whoever
    /// says so must write again, [`push`](Self::push) or close (otherwise the rest leaves after 200 ms).
    #[inline]
    pub fn write_vectored(&self, slices: &[IoSlice<'_>], more_follows: bool) -> io::Result<usize> {
        let flags = if more_follows { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        let mut no_control = SendAncillaryBuffer::default();
        Ok(retry_on_intr(|| rustix::net::sendmsg(self, slices, &mut no_control, flags))?)
    }

    /// Has the kernel send what it holds back, as nothing follows after all.
    pub fn push(&self) -> io::Result<()> {
        match self {
            // Set already; setting it again sends what waits (tcp(7)).
            Self::Tcp(stream) => stream.set_nodelay(true),
            // Holds nothing back.
            Self::Unix(_) => Ok(()),
        }
    }

    /// Sends up to `count` bytes of `file` from `offset` and moves `offset` on by the number sent.
    ///
    /// `Ok(0)` means that the file has no byte at `offset`. The file's own position is neither used nor moved,
    /// so one descriptor may serve many connections at once (spec B13). Files that the kernel cannot send by
    /// itself (some of procfs, FUSE) are read and sent in pieces.
    ///
    /// An error for which [`is_disconnect`] holds is the connection's, any other is the file's.
    pub fn send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        match retry_on_intr(|| rustix::fs::sendfile(self, file, Some(offset), count)) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.send_file_by_copy(file, offset, count)
            }
            result => Ok(result?),
        }
    }

    fn send_file_by_copy(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let mut sent = 0;
        while sent < count {
            let wanted = piece.len().min(count - sent);
            let read = file.read_at(&mut piece[..wanted], *offset)?;
            if read == 0 {
                break;
            }
            match self.write(&piece[..read]) {
                Ok(n) => {
                    *offset += n as u64;
                    sent += n;
                    if n < read {
                        break;
                    }
                }
                Err(_) if sent > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Looks at the receiving side without taking anything, also on a blocking socket without waiting.
    ///
    /// This is how a server that is busy writing or waiting for its application learns that the client left
    /// (spec E8, E9).
    pub fn peek(&self) -> PeerState {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match retry_on_intr(|| rustix::net::recv(self, &mut byte, flags)) {
            // The system tells of a reset once; afterwards it looks like an end.
            Ok((0, _)) if self.is_hung_up() => PeerState::Gone,
            Ok((0, _)) => PeerState::Finished,
            Ok(_) => PeerState::Talking,
            Err(Errno::AGAIN) => PeerState::Quiet,
            Err(_) => PeerState::Gone,
        }
    }

    /// Whether neither direction is left.
    fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(self, PollFlags::empty())];
        let now = Timespec::default();
        retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now))).is_err()
            || polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Sends FIN after what was written; reading goes on.
    ///
    /// First half of a lingering close, and the half-close of tunnels (spec U5).
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self, Shutdown::Write)?)
    }

    /// Ends both directions, whoever else still holds the connection.
    pub fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self, Shutdown::Both)?)
    }

    /// Reads and throws away what the client still sends: second half of a lingering close.
    ///
    /// `budget` counts down with the bytes thrown away, over as many calls as it takes; together with a deadline
    /// kept by the caller it bounds what a client can make us do after the last response. `scratch` must not be
    /// empty; its contents are overwritten.
    pub fn discard(&self, scratch: &mut [u8], budget: &mut u64) -> Discarded {
        loop {
            match self.read(scratch) {
                Ok(0) => return Discarded::Finished,
                Ok(n) => {
                    *budget = budget.saturating_sub(n as u64);
                    if *budget == 0 {
                        return Discarded::TooMuch;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Discarded::Pending,
                Err(_) => return Discarded::Finished,
            }
        }
    }

    /// Closes so that the client sees an error and not an end.
    ///
    /// Over TCP what is unsent is forgotten and a reset goes out (`SO_LINGER` of zero); spec B10 needs it where a
    /// response is delimited by close. A Unix socket knows no reset; its client sees the end of the stream.
    pub fn reset(self) {
        self.reset_when_closed();
    }

    /// The same for who has not the last hold of it: the reset goes out when it is dropped.
    pub fn reset_when_closed(&self) {
        // Should it fail, the drop still closes, which is all that can be done.
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }

    /// Waits until the connection is ready for `interest`, or broken, or `timeout` passed (`None`: for ever).
    ///
    /// `true` means: try now. `false` means that the time is over.
    pub fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<bool> {
        let wanted = match interest {
            Interest::Readable => PollFlags::IN,
            Interest::Writable => PollFlags::OUT,
            Interest::Both => PollFlags::IN | PollFlags::OUT,
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match rustix::event::poll(&mut [PollFd::new(self, wanted)], left.as_ref()) {
                Err(Errno::INTR) => continue,
                result => return Ok(result? > 0),
            }
        }
    }

    /// Who is at the other end. Fails when the connection is broken already.
    ///
    /// An IPv4 client of a dual-stack socket has its IPv4 address here, not the mapped one.
    pub fn peer_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => Ok(ip_address(stream.peer_addr()?)),
            Self::Unix(_) => Ok(Address::Unnamed),
        }
    }

    /// The address that the client reached. [`Listener::local_addr_of`](crate::listener::Listener::local_addr_of)
    /// usually knows without asking the system.
    pub fn local_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => Ok(ip_address(stream.local_addr()?)),
            Self::Unix(stream) => Ok(unix_address(&stream.local_addr()?)),
        }
    }
}

/// Whether `error` says that the client, or the way to it, is gone: no failure of ours or of the application
/// (spec E5), and nothing to report.
pub fn is_disconnect(error: &io::Error) -> bool {
    use ErrorKind::*;
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionReset
            | ConnectionAborted
            | NotConnected
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}

/// With `::ffff:192.0.2.1` as `192.0.2.1`: what an IPv4 client looks like must not depend on how we listened.
pub(crate) fn ip_address(addr: SocketAddr) -> Address {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => Address::Ip(SocketAddr::new(ip, addr.port())),
        // Kept whole: `fe80::1%2` means nothing without its scope.
        IpAddr::V6(_) => Address::Ip(addr),
    }
}

pub(crate) fn unix_address(addr: &UnixAddr) -> Address {
    match addr.as_pathname() {
        Some(path) => Address::Unix(Arc::new(path.to_owned())),
        None => Address::Unnamed,
    }
}

impl AsFd for Transport {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Transport {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread;

    use super::*;
    use crate::testing::{scratch_file, tcp_pair, unix_pair};

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn reads_into_spare_capacity_without_growing_the_buffer() {
        let (ours, mut client) = tcp_pair();
        client.write_all(b"hello world").unwrap();
        assert!(ours.wait(Interest::Readable, PATIENCE).unwrap());
        let mut buffer = Vec::with_capacity(8);
        buffer.extend_from_slice(b"> ");
        let capacity = buffer.capacity();
        assert_eq!(ours.read_spare(&mut buffer).unwrap(), capacity - 2);
        assert_eq!(buffer, b"> hello world"[..capacity]);
        assert_eq!(buffer.capacity(), capacity);
    }

    #[test]
    fn nothing_to_read_and_no_room_to_write_are_would_block() {
        for (ours, _client) in [tcp_pair(), unix_pair()] {
            assert_eq!(ours.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let block = vec![0; 1 << 20];
            let full = loop {
                if let Err(error) = ours.write(&block) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::WouldBlock);
            assert!(!ours.wait(Interest::Both, Some(Duration::from_millis(1))).unwrap());
        }
    }

    #[test]
    fn peek_tells_quiet_talking_and_finished_apart_and_takes_nothing() {
        for (ours, mut client) in [tcp_pair(), unix_pair()] {
            assert_eq!(ours.peek(), PeerState::Quiet);
            client.write_all(b"x").unwrap();
            assert!(ours.wait(Interest::Readable, PATIENCE).unwrap());
            assert_eq!(ours.peek(), PeerState::Talking);
            client.finish();
            assert_eq!(ours.peek(), PeerState::Talking, "the byte hides the end");
            assert_eq!(ours.read(&mut [0; 8]).unwrap(), 1);
            assert!(ours.wait(Interest::Readable, PATIENCE).unwrap());
            assert_eq!(ours.peek(), PeerState::Finished);
        }
    }

    #[test]
    fn a_reset_is_seen_by_the_other_side_as_an_error() {
        let (ours, mut client) = tcp_pair();
        ours.write(b"half an answ").unwrap();
        ours.reset();
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(is_disconnect(&error));
    }

    #[test]
    fn a_client_that_reset_is_gone() {
        let (ours, client) = tcp_pair();
        client.into_transport().reset();
        assert!(ours.wait(Interest::Readable, PATIENCE).unwrap());
        assert_eq!(ours.peek(), PeerState::Gone);
        assert_eq!(ours.peek(), PeerState::Gone, "also when asked again");
    }

    #[test]
    fn writing_to_a_client_that_left_is_a_disconnect_and_no_signal() {
        let (ours, client) = unix_pair();
        drop(client);
        assert!(is_disconnect(&ours.write(b"anyone?").unwrap_err()));
        assert!(is_disconnect(&ours.write_vectored(&[IoSlice::new(b"anyone?")], false).unwrap_err()));
    }

    #[test]
    fn files_are_sent_from_the_given_offset_whatever_their_own_position() {
        for (ours, mut client) in [tcp_pair(), unix_pair()] {
            let file = scratch_file(b"0123456789");
            let mut offset = 3;
            assert_eq!(ours.send_file(&file, &mut offset, 4).unwrap(), 4);
            assert_eq!(offset, 7);
            assert_eq!(ours.send_file_by_copy(&file, &mut offset, 100).unwrap(), 3);
            assert_eq!(ours.send_file(&file, &mut offset, 100).unwrap(), 0, "the file ends here");
            drop(ours);
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap();
            assert_eq!(got, "3456789");
        }
    }

    #[test]
    fn copying_a_file_to_a_slow_client_neither_skips_nor_repeats() {
        let (ours, mut client) = unix_pair();
        let content = Arc::new((0..1_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let file = scratch_file(&content);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        let mut offset = 0;
        while offset < content.len() as u64 {
            match ours.send_file_by_copy(&file, &mut offset, usize::MAX) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(ours.wait(Interest::Writable, PATIENCE).unwrap());
        }
        drop(ours);
        assert!(reader.join().unwrap() == *content);
    }

    #[test]
    fn a_lingering_close_delivers_the_answer_to_a_client_that_still_sends() {
        let (ours, mut client) = tcp_pair();
        client.write_all(&[b'x'; 100_000]).unwrap();
        let server = thread::spawn(move || {
            ours.write(b"413 go away").unwrap();
            ours.shutdown_write().unwrap();
            let mut budget = 1 << 20;
            while ours.discard(&mut [0; 4096], &mut budget) == Discarded::Pending {
                assert!(ours.wait(Interest::Readable, PATIENCE).unwrap());
            }
        });
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "413 go away");
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn discarding_stops_at_the_budget() {
        let (ours, mut client) = unix_pair();
        client.write_all(&[b'x'; 1000]).unwrap();
        let mut budget = 500;
        assert_eq!(ours.discard(&mut [0; 64], &mut budget), Discarded::TooMuch);
        let mut budget = 5000;
        assert_eq!(ours.discard(&mut [0; 64], &mut budget), Discarded::Pending);
        drop(client);
        assert_eq!(ours.discard(&mut [0; 64], &mut budget), Discarded::Finished);
    }

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_has_its_ipv4_address() {
        let addr = |text: &str| ip_address(text.parse().unwrap()).to_string();
        assert_eq!(addr("[::ffff:192.0.2.1]:5"), "192.0.2.1:5");
        assert_eq!(addr("192.0.2.1:5"), "192.0.2.1:5");
        assert_eq!(addr("[fe80::1%2]:5"), "[fe80::1%2]:5");
    }
}

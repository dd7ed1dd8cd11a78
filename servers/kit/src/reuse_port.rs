//! Leaving a port that several processes share (`SO_REUSEPORT`) without losing a client.
//!
//! Every socket of such a group has a queue of its own. By the first packet of a connection, the SYN, Linux decides which
//! socket it is for, and there it stays: when that socket closes, clients in its queue are reset, and so are those whose
//! handshake is only half done, although others listen at the address. (With `net.ipv4.tcp_migrate_req=1`, since Linux
//! 5.14, they move to another socket of the group; it is off by default, and belongs to the administrator.)
//!
//! ```text
//!   client                    this socket                                 another of the group
//!     |------- SYN ------------> half open                                       |
//!     |<------ SYN ACK ----------  |                                             |
//!     |------- ACK ------------> in the queue --accept--> served                 |
//!     |                            |                                             |
//!     |                    leave: no SYN is taken                                |
//!     |------- SYN ------------x   |  what is half open has time to finish       |
//!     |                    stop:   accept until the queue is empty, close        |
//!     |------- the SYN again, after a second ----------------------------------->| served
//! ```
//!
//! The SYN is dropped by a filter of the socket's own, which needs no privilege. It costs its client a second, once, and
//! only where its SYN falls into the short time between [`leave`](Membership::leave) and the close.
//!
//! # What does less
//!
//! - `listen(fd, 0)` takes in a connection still, and drops the last packet of a handshake as well as the first.
//! - Turning `SO_REUSEPORT` off again takes no socket out of its group, and the one that joined last even gets every
//!   client then. `shutdown` resets the queue as `close` does.
//! - A program that chooses sockets by their number (`SO_ATTACH_REUSEPORT_CBPF`) would cost no client a second. But the
//!   numbers change whenever a process comes or goes, nobody can ask for his own, and the program outlives who attached it.
//!   The extended kind has none of that and needs a capability.
//!
//! A restart by which nobody waits even for a second passes the listening socket on instead (`fd:3`): there is one queue
//! then, which does not close.

use std::{
    collections::HashSet,
    fs, io,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use socket2::{SockFilter, SockRef};

/// How long to wait at most for handshakes that are half done. A client repeats its SYN after a second (RFC 6298 section
/// 2), and by then the socket should be closed: one that was dropped is then not dropped again.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_millis(900);

/// Until packets that were under way in the kernel ahead of the filter have arrived.
const SETTLING_TIME: Duration = Duration::from_millis(20);

/// Between two looks at the handshakes.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A place in a group of sockets that share a port, which its server can give up.
///
/// It keeps the socket open, so it must not outlive the server that accepts from it.
#[derive(Debug)]
pub struct Membership {
    socket: TcpListener,
}

impl Membership {
    pub(crate) fn of(socket: &TcpListener) -> io::Result<Self> {
        Ok(Self { socket: socket.try_clone()? })
    }

    /// Leaves the groups: when this returns, no further client comes to these sockets, and their server can stop.
    ///
    /// Meanwhile, which is some 20 ms and 900 ms at most, the server has to go on as usual.
    pub fn leave(memberships: Vec<Self>) {
        if !memberships.is_empty() && !connections_migrate() {
            turn_clients_away(&memberships);
        }
    }
}

/// Has clients go to others from now on, and waits until those who were on their way have arrived.
fn turn_clients_away(memberships: &[Membership]) {
    for membership in memberships {
        // Where the system has no such filters there is nothing better, and most clients do not notice.
        let _ = SockRef::from(&membership.socket).attach_filter(&NO_SYN);
    }
    let until = Instant::now() + HANDSHAKE_TIME_MAX;
    thread::sleep(SETTLING_TIME);
    let ports = memberships.iter().filter_map(|membership| membership.socket.local_addr().ok());
    let ports: Vec<u16> = ports.map(|addr| addr.port()).collect();
    // Others of the group go on, so handshakes that begin later are theirs.
    let mut half_open = handshakes(&ports);
    while half_open.as_ref().is_none_or(|half_open| !half_open.is_empty()) && Instant::now() < until {
        thread::sleep(LOOK_AGAIN);
        if let (Some(half_open), Some(now)) = (&mut half_open, handshakes(&ports)) {
            half_open.retain(|handshake| now.contains(handshake));
        }
    }
}

/// Takes all but segments with SYN and without ACK. Connections inherit it, to which it does nothing.
const NO_SYN: [SockFilter; 5] = {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Of the flags in the head of a segment, which begins what the filter sees.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
};

/// Whether the kernel itself gives what waits at a closing socket to others of the group.
fn connections_migrate() -> bool {
    fs::read("/proc/sys/net/ipv4/tcp_migrate_req").is_ok_and(|value| value.trim_ascii() != b"0")
}

/// The handshakes at these ports that are half done, as text that tells them apart; `None` if they cannot be seen.
fn handshakes(ports: &[u16]) -> Option<HashSet<String>> {
    let [ipv4, ipv6] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(fs::read_to_string);
    let mut found = half_open(&ipv4.ok()?, ports);
    // A machine without IPv6 has no such table.
    found.extend(half_open(&ipv6.unwrap_or_default(), ports));
    Some(found)
}

fn half_open(table: &str, ports: &[u16]) -> HashSet<String> {
    /// TCP_SYN_RECV of the kernel.
    const HALF_OPEN: &str = "03";
    let handshake = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == HALF_OPEN && ports.contains(&port)).then(|| format!("{local} {remote}"))
    };
    table.lines().filter_map(handshake).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{SocketAddr, TcpStream},
    };

    use rustix::event::{PollFd, PollFlags, poll};
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::listener::{BindOptions, Listener};

    fn member(addr: &str) -> Listener {
        let options = BindOptions { reuse_port: true, ..BindOptions::default() };
        Listener::bind(&addr.parse().unwrap(), &options).unwrap()
    }

    /// Connects as if from a network where a SYN that is not answered at once is lost.
    fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&addr, Duration::from_millis(300))
    }

    fn leave(listener: &Listener) {
        turn_clients_away(&[listener.membership().unwrap().unwrap()]);
    }

    #[test]
    fn who_waits_in_the_queue_of_a_socket_that_leaves_is_served_and_nobody_joins() {
        for addr in ["127.0.0.1:0", "[::1]:0", ":0"] {
            if addr.starts_with('[') && TcpListener::bind("[::1]:0").is_err() {
                continue;
            }
            let listener = member(addr);
            let mut addr = listener.socket_addr().unwrap();
            if addr.ip().is_unspecified() {
                addr.set_ip([127, 0, 0, 1].into());
            }
            let mut waiting = connect(addr).unwrap();
            leave(&listener);
            assert_eq!(connect(addr).unwrap_err().kind(), ErrorKind::TimedOut);
            let mut wait = [PollFd::new(&listener, PollFlags::IN)];
            poll(&mut wait, None).unwrap();
            let (transport, _) = listener.accept().unwrap();
            drop(listener);
            waiting.write_all(b"ping").unwrap();
            let mut wait = [PollFd::new(&transport, PollFlags::IN)];
            poll(&mut wait, None).unwrap();
            let mut got = [0; 8];
            assert_eq!(transport.read(&mut got).unwrap(), 4);
            drop(transport);
            assert_eq!(waiting.read(&mut got).unwrap(), 0);
        }
    }

    #[test]
    fn others_of_the_group_get_every_client_afterwards() {
        let stays = member("127.0.0.1:0");
        let addr = stays.socket_addr().unwrap();
        let leaves = member(&addr.to_string());
        leave(&leaves);
        drop(leaves);
        let clients: Vec<TcpStream> = (0..64).map(|_| connect(addr).unwrap()).collect();
        for _ in &clients {
            stays.accept().unwrap();
        }
    }

    #[test]
    fn only_sockets_that_were_bound_to_share_are_members() {
        let alone = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
        assert!(alone.membership().unwrap().is_none());
        // Whoever passed it keeps it open, and nobody would take the filter off again.
        use std::os::fd::AsRawFd;
        let shared = member("127.0.0.1:0");
        let passed = format!("fd:{}", shared.as_raw_fd());
        let adopted = Listener::bind(&passed.parse().unwrap(), &BindOptions::default()).unwrap();
        assert!(adopted.membership().unwrap().is_none());
    }

    #[test]
    fn a_client_that_has_not_completed_its_handshake_is_seen() {
        let listener = member("127.0.0.1:0");
        let addr = listener.socket_addr().unwrap();
        assert_eq!(handshakes(&[addr.port()]).unwrap().len(), 0);
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // As if the answer to its SYN were on its way for long.
        client.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
        client.set_nonblocking(true).unwrap();
        client.connect(&addr.into()).unwrap_err();
        while handshakes(&[addr.port()]).unwrap().len() != 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn half_open_handshakes_at_a_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:1F90 0100007F:C350 03 00000000:00000000 01:00000063 00000000     0
   2: 0100007F:1F91 0100007F:C351 03 00000000:00000000 01:00000063 00000000     0
   3: 0100007F:1F90 0100007F:C352 01 00000000:00000000 00:00000000 00000000     0
";
        let found = half_open(table, &[8080]);
        assert_eq!(found, HashSet::from(["0100007F:1F90 0100007F:C350".to_owned()]));
        assert!(half_open("", &[8080]).is_empty());
    }
}

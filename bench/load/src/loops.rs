//! How a server's event loops share the connections, as the kernel knows it: whose sockets are in which epoll instance.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

/// The connections of each loop of a process to a port, by the ports of the other end.
pub fn loops(pid: i32, port: u16) -> io::Result<Vec<BTreeSet<u16>>> {
    let sockets = sockets(port)?;
    // An instance that a process has under several descriptors is one.
    let mut loops = BTreeSet::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors come and go.
        let Ok(text) = fs::read_to_string(descriptor?.path()) else { continue };
        let inodes = text.lines().filter_map(inode);
        let ports: BTreeSet<_> = inodes.filter_map(|inode| sockets.get(&inode)).copied().collect();
        if !ports.is_empty() {
            loops.insert(ports);
        }
    }
    Ok(loops.into_iter().collect())
}

/// Of a file that an epoll instance watches, as in `tfd: 9 events: 19 data: 0 pos:0 ino:7f9f3 sdev:8`.
fn inode(line: &str) -> Option<u64> {
    let inode = line.strip_prefix("tfd:")?.split_once("ino:")?.1.split_whitespace().next()?;
    u64::from_str_radix(inode, 16).ok()
}

/// The port of the other end of each connection to this port, by the socket's inode.
fn sockets(port: u16) -> io::Result<BTreeMap<u64, u16>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let socket = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port_of = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
        let (own, other) = (port_of(fields.get(1)?)?, port_of(fields.get(2)?)?);
        Some((own, fields.get(9)?.parse().ok()?, other))
    };
    let own = table.lines().filter_map(socket).filter(|(own, ..)| *own == port);
    Ok(own.map(|(_, inode, other)| (inode, other)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use mio::{Interest, Poll, Token, net};

    use super::*;

    #[test]
    fn a_connection_is_in_the_instance_that_watches_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ports = Vec::new();
        let polls: Vec<_> = (0..2)
            .map(|_| {
                let client = TcpStream::connect(address).unwrap();
                ports.push(client.local_addr().unwrap().port());
                let mut accepted = net::TcpStream::from_std(listener.accept().unwrap().0);
                let poll = Poll::new().unwrap();
                poll.registry().register(&mut accepted, Token(0), Interest::READABLE).unwrap();
                (poll, accepted, client)
            })
            .collect();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut expected: Vec<_> = ports.into_iter().map(|port| BTreeSet::from([port])).collect();
        expected.sort();
        assert_eq!(loops(own, address.port()).unwrap(), expected);
        drop(polls);
    }
}

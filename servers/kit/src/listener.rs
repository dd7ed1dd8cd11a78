//! A listening socket: made from a [`BindAddress`], asked for connections.
//!
//! ```
//! # use varvel_server_kit::listener::{AcceptError, BindOptions, Listener};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind(&"127.0.0.1:0".parse()?, &BindOptions::default())?;
//! println!("listening at {}", listener.address());
//! match listener.accept() {
//!     Ok((transport, peer)) => { /* serve it */ }
//!     Err(AcceptError::NoneWaiting) => { /* wait until the listener is readable */ }
//!     Err(AcceptError::ConnectionGone(_)) => { /* the next one, at once */ }
//!     Err(AcceptError::Exhausted(_)) => { /* wait ACCEPT_PAUSE, not for readiness */ }
//!     Err(AcceptError::Broken(_)) => { /* report and stop */ }
//! }
//! # Ok(()) }
//! ```

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use varvel::Address;

pub use crate::bind_address::{BindAddress, BindAddressError};
use crate::inherited_fd;
use crate::reuse_port::Membership;
use crate::transport::{Transport, ip_address, unix_address};

/// How long to leave the listener alone after [`AcceptError::Exhausted`].
///
/// The connection that could not be accepted stays in the queue, so the listener stays readable: who tried again
/// at once would spin until a descriptor is free.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a worker that is [ahead](varvel::Monitor::is_ahead) leaves the listener to others, who wake as it does: so short
/// that nobody notices if they do not come.
pub const COURTESY_PAUSE: Duration = Duration::from_millis(1);

/// How much the kernel takes of what a client is not ready to receive yet (`TCP_NOTSENT_LOWAT`), in bytes.
///
/// By itself it would take megabytes for each connection, and would not tell of room again before a third of that has
/// gone: a client that reads slowly but steadily would look like one that does not read at all.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// How to listen, beside where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Connections that the kernel accepts in advance. Default 2,048, as gunicorn.
    ///
    /// When the queue is full the kernel drops the client's SYN, which it repeats after a whole second: a burst
    /// that does not fit shows as 1 s latency. A waiting connection costs memory only while it waits, so the
    /// queue may be long. The kernel cuts the number at `net.core.somaxconn` (4,096 since Linux 5.4).
    pub backlog: u32,
    /// `SO_REUSEPORT`: several processes of one user listen at one TCP address, and the kernel spreads connections
    /// over them. Default off.
    ///
    /// It spreads them by chance, not by load, and another process can join in unnoticed. Before such a socket is closed
    /// it has to [leave](crate::reuse_port), or clients that wait at it are reset.
    pub reuse_port: bool,
    /// Permission bits of a Unix socket's file, such as `0o660`. Default: what the umask leaves.
    pub unix_mode: Option<u32>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { backlog: 2048, reuse_port: false, unix_mode: None }
    }
}

/// A socket that listens, never blocks, and hands out connections that never block.
///
/// Threads may share one by reference and all accept from it.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    address: BindAddress,
    /// The local address of every connection; `None` if that depends on the connection.
    local: Option<Address>,
    /// We have bound it to share its port.
    reuse_port: bool,
    /// Declared last: the file goes after the socket is closed.
    file: Option<SocketFile>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why there is no Listener.
#[derive(Debug)]
pub struct BindError {
    address: BindAddress,
    source: io::Error,
    advice: &'static str,
}

/// Why [`Listener::accept`] gave no connection, by what to do about it.
#[derive(Debug)]
pub enum AcceptError {
    /// Nobody is waiting: wait until the listener is readable.
    NoneWaiting,
    /// This connection died in the queue, or the network refused it: try the next one at once.
    ConnectionGone(io::Error),
    /// Out of descriptors or memory: try again after [`ACCEPT_PAUSE`].
    Exhausted(io::Error),
    /// The listening socket is unusable: stop.
    Broken(io::Error),
}

impl Listener {
    /// Listens at `address`.
    ///
    /// A Unix socket file without a server behind it is replaced; one that is served, and any other file, is
    /// left alone and is an error. The file is removed when the listener is dropped by the process that made it.
    pub fn bind(address: &BindAddress, options: &BindOptions) -> Result<Self, BindError> {
        let result = match address {
            BindAddress::Tcp(addr) => bind_tcp(*addr, true, options),
            BindAddress::TcpEverywhere(port) => bind_everywhere(*port, options),
            BindAddress::TcpNamed { host, port } => bind_named(host, *port, options),
            BindAddress::Unix(path) => bind_unix(path, options),
            BindAddress::Fd(fd) => inherited_fd::duplicate(*fd).and_then(adopt),
        };
        result.map_err(|source| BindError {
            advice: advice(address, &source),
            address: address.clone(),
            source,
        })
    }

    /// Takes over a socket that listens already: what a server does with the listeners of its
    /// [`Launch`](varvel::Launch). The file of a Unix socket stays when this is dropped.
    pub fn new(listener: varvel::Listener) -> io::Result<Self> {
        match listener {
            varvel::Listener::Tcp(listener) => Self::from_tcp(listener),
            varvel::Listener::Unix(listener) => Self::from_unix(listener),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Takes over a socket that listens already from a process that gives it up: unlike one that was only lent (`fd:3`), it
    /// is as if we had bound it, and if its port is shared, we are to leave it in the end.
    ///
    /// # Errors
    /// If it is no such socket.
    pub fn inherit(fd: OwnedFd) -> io::Result<Self> {
        let listener = adopt(fd)?;
        let is_tcp = listener.socket_addr().is_some();
        let reuse_port = is_tcp && sockopt::socket_reuseport(&listener)?;
        Ok(Self { reuse_port, ..listener })
    }

    /// Whether the file of a Unix socket is removed when this is dropped.
    pub fn owns_file(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_ours)
    }

    /// From now on the file of a Unix socket is ours, and removed when this is dropped.
    ///
    /// # Errors
    /// If there is no such file any more.
    pub fn take_file(&mut self) -> io::Result<()> {
        if let BindAddress::Unix(path) = &self.address {
            self.file = Some(SocketFile::made_at(path)?);
        }
        Ok(())
    }

    /// From now on the file of a Unix socket is somebody else's.
    pub fn give_up_file(&mut self) {
        if let Some(file) = &mut self.file {
            file.owner = 0;
        }
    }

    /// What a [`Launch`](varvel::Launch) takes, and the file to keep until the server has returned.
    pub fn into_parts(self) -> (varvel::Listener, Option<SocketFile>) {
        let listener = match self.socket {
            ListeningSocket::Tcp(listener) => listener.into(),
            ListeningSocket::Unix(listener) => listener.into(),
        };
        (listener, self.file)
    }

    fn from_tcp(listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        // Linux passes these on to accepted sockets, which saves system calls per connection.
        sockopt::set_tcp_nodelay(&listener, true)?;
        SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        let local = (!addr.ip().is_unspecified()).then(|| ip_address(addr));
        Ok(Self {
            socket: ListeningSocket::Tcp(listener),
            address: BindAddress::Tcp(addr),
            local,
            reuse_port: false,
            file: None,
        })
    }

    fn from_unix(listener: UnixListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let address = BindAddress::Unix(addr.as_pathname().map(Path::to_owned).unwrap_or_default());
        listener.set_nonblocking(true)?;
        let local = Some(unix_address(&addr));
        Ok(Self { socket: ListeningSocket::Unix(listener), address, local, reuse_port: false, file: None })
    }

    /// The next connection and where it comes from. Takes one system call: the connection is non-blocking,
    /// closed on exec and, over TCP, without Nagle's delay from the start.
    pub fn accept(&self) -> Result<(Transport, Address), AcceptError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            return match rustix::net::acceptfrom_with(self, flags) {
                Ok((fd, addr)) => match &self.socket {
                    ListeningSocket::Unix(_) => Ok((Transport::Unix(fd.into()), Address::Unnamed)),
                    ListeningSocket::Tcp(_) => match addr.map(SocketAddr::try_from) {
                        Some(Ok(addr)) => Ok((Transport::Tcp(fd.into()), ip_address(addr))),
                        _ => Err(AcceptError::ConnectionGone(ErrorKind::NotConnected.into())),
                    },
                },
                Err(Errno::INTR) => continue,
                Err(errno) => Err(AcceptError::from(errno)),
            };
        }
    }

    /// Where this listens: for TCP always [`BindAddress::Tcp`], with the port that the system chose for port 0.
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// The address at which the client of an accepted connection reached us. Asks the system only if this listens
    /// at every address.
    pub fn local_addr_of(&self, transport: &Transport) -> io::Result<Address> {
        match &self.local {
            Some(local) => Ok(local.clone()),
            None => transport.local_addr(),
        }
    }

    /// The place in the group of sockets that share the port, to be given up before the end. `None` if the port is not
    /// shared, or the socket is not ours alone: one that was passed in stays open when we close it, and loses nobody.
    pub fn membership(&self) -> io::Result<Option<Membership>> {
        match &self.socket {
            ListeningSocket::Tcp(listener) if self.reuse_port => Membership::of(listener).map(Some),
            _ => Ok(None),
        }
    }

    /// IP address and port; `None` for a Unix socket.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.address {
            BindAddress::Tcp(addr) => Some(addr),
            _ => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

fn bind_everywhere(port: u16, options: &BindOptions) -> io::Result<Listener> {
    match bind_tcp(SocketAddr::from(([0; 16], port)), false, options) {
        // A machine without IPv6.
        Err(error) if no_such_family(&error) => bind_tcp(SocketAddr::from(([0; 4], port)), true, options),
        result => result,
    }
}

fn no_such_family(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(Errno::AFNOSUPPORT.raw_os_error()) || errno == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}

fn bind_named(host: &str, port: u16, options: &BindOptions) -> io::Result<Listener> {
    let mut addrs: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    // `localhost` means 127.0.0.1 to nearly everybody, and resolvers differ in what they list first.
    addrs.sort_by_key(SocketAddr::is_ipv6);
    let mut failure = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        match bind_tcp(addr, true, options) {
            Err(error) => failure = error,
            bound => return bound,
        }
    }
    Err(failure)
}

fn bind_tcp(addr: SocketAddr, v6_only: bool, options: &BindOptions) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // A restart must not wait for the connections of the last run to leave TIME_WAIT. (On Linux this does not
    // let two listeners share an address.)
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if addr.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(options.backlog.try_into().unwrap_or(i32::MAX))?;
    Ok(Listener { reuse_port: options.reuse_port, ..Listener::from_tcp(socket.into())? })
}

fn bind_unix(path: &Path, options: &BindOptions) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let addr = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&addr) {
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path)?;
        socket.bind(&addr)?;
    }
    let file = SocketFile::made_at(path)?;
    // Before `listen`, so that nobody can connect while the file still has the umask's permissions.
    if let Some(mode) = options.unix_mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(options.backlog.try_into().unwrap_or(i32::MAX))?;
    Ok(Listener { file: Some(file), ..Listener::from_unix(socket.into())? })
}

/// Removes the file of a Unix socket that nobody serves any more: its server was killed and could not.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file at this path that is no socket",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full must count as alive, and must not make us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket that we made; removed on drop, if it is still that file and we are still us.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// A forked child drops its copy of the listener, too; the parent goes on using the file. 0 when it was given up.
    owner: u32,
    /// Device and inode: a successor may have put its own socket at the path.
    identity: (u64, u64),
}

impl SocketFile {
    fn made_at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: fs::canonicalize(path)?, owner: std::process::id(), identity: identity(path)? })
    }

    fn is_ours(&self) -> bool {
        self.owner == std::process::id() && identity(&self.path).is_ok_and(|now| now == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            // Nothing can be done about a failure, and the next start copes with a stale file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// A listening socket of whoever started us. Non-blocking mode belongs to the socket, not to the descriptor, so
/// the one who passed it sees it change.
fn adopt(fd: OwnedFd) -> io::Result<Listener> {
    let refused = |why| io::Error::new(ErrorKind::InvalidInput, why);
    if sockopt::socket_type(&fd).map_err(|_| refused("the descriptor is no socket"))? != SocketType::STREAM {
        return Err(refused("the descriptor is no stream socket"));
    }
    if !sockopt::socket_acceptconn(&fd)? {
        return Err(refused("the descriptor is a socket that does not listen"));
    }
    match sockopt::socket_domain(&fd)? {
        AddressFamily::INET | AddressFamily::INET6 => Listener::from_tcp(fd.into()),
        AddressFamily::UNIX => Listener::from_unix(fd.into()),
        _ => Err(refused("the descriptor is neither a TCP nor a Unix socket")),
    }
}

/// By the manual page accept(2): errors of the network that were pending on the new connection are reported by
/// accept itself and must be treated like "try again", or a passing trouble on one route ends the server.
impl From<Errno> for AcceptError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::NoneWaiting,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Self::Exhausted(errno.into()),
            Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK => Self::Broken(errno.into()),
            _ => Self::ConnectionGone(errno.into()),
        }
    }
}

fn advice(address: &BindAddress, error: &io::Error) -> &'static str {
    match (address, error.kind()) {
        (BindAddress::Unix(_), ErrorKind::AddrInUse) => {
            "another process serves there; stop it or choose another path"
        }
        (BindAddress::Unix(_), ErrorKind::AlreadyExists) => "remove it or choose another path",
        (BindAddress::Unix(_), ErrorKind::NotFound) => "make the folder first",
        (BindAddress::Unix(_), ErrorKind::PermissionDenied) => {
            "this user must be allowed to write to the folder"
        }
        (BindAddress::Unix(_), ErrorKind::InvalidInput) => "a socket path has at most 107 bytes",
        (BindAddress::Fd(_), _) => {
            "whoever starts this process has to pass a listening socket under this number"
        }
        (_, ErrorKind::AddrInUse) => "another process listens there; stop it or choose another port",
        (_, ErrorKind::PermissionDenied) => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher one or grant it"
        }
        (_, ErrorKind::AddrNotAvailable) => "no interface of this machine has this address",
        (BindAddress::TcpNamed { .. }, _) => "give an IP address if the name cannot be looked up here",
        _ => "see the system's message",
    }
}

impl BindError {
    /// The system's part of the error.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}; {}", self.address, self.source, self.advice)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneWaiting => f.write_str("no connection is waiting"),
            Self::ConnectionGone(error) => write!(f, "a connection was gone before it was accepted: {error}"),
            Self::Exhausted(error) => write!(f, "no resources to accept a connection: {error}"),
            Self::Broken(error) => write!(f, "the listening socket is unusable: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::testing::scratch_path;
    use crate::transport::Interest;

    fn bind(text: &str) -> Listener {
        Listener::bind(&text.parse().unwrap(), &BindOptions::default())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn bind_error(address: &BindAddress) -> String {
        Listener::bind(address, &BindOptions::default()).unwrap_err().to_string()
    }

    /// The connection that is on its way.
    fn accept(listener: &Listener) -> (Transport, Address) {
        let mut wait = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut wait, None).unwrap();
        listener.accept().unwrap()
    }

    fn machine_has_ipv6() -> bool {
        TcpListener::bind("[::1]:0").is_ok()
    }

    #[test]
    fn tcp_connections_arrive_non_blocking_and_without_delay() {
        let listener = bind("127.0.0.1:0");
        assert!(matches!(listener.accept(), Err(AcceptError::NoneWaiting)));
        let client = TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
        let (transport, peer) = accept(&listener);
        assert_eq!(peer.ip(), client.local_addr().ok());
        assert_eq!(listener.local_addr_of(&transport).unwrap(), transport.local_addr().unwrap());
        assert_eq!(transport.local_addr().unwrap().ip(), listener.socket_addr());
        assert!(sockopt::tcp_nodelay(&transport).unwrap());
        assert_eq!(transport.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let flags = rustix::io::fcntl_getfd(&transport).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn an_address_in_use_is_an_error_with_advice() {
        let listener = bind("127.0.0.1:0");
        let error = bind_error(listener.address());
        assert!(error.contains(&listener.address().to_string()), "{error}");
        assert!(error.contains("another process listens there"), "{error}");
    }

    #[test]
    fn with_reuse_port_two_listeners_share_an_address() {
        let options = BindOptions { reuse_port: true, ..BindOptions::default() };
        let first = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options).unwrap();
        Listener::bind(first.address(), &options).unwrap();
        assert!(Listener::bind(first.address(), &BindOptions::default()).is_err());
    }

    #[test]
    fn everywhere_means_ipv4_and_ipv6() {
        let listener = bind(":0");
        let port = listener.socket_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (transport, peer) = accept(&listener);
        assert!(peer.ip().unwrap().is_ipv4(), "{peer}");
        let reached = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(listener.local_addr_of(&transport).unwrap().ip(), Some(reached));
        if machine_has_ipv6() {
            let _client = TcpStream::connect(("::1", port)).unwrap();
            assert!(accept(&listener).1.ip().unwrap().is_ipv6());
        }
    }

    #[test]
    fn every_ipv6_address_does_not_mean_ipv4() {
        if machine_has_ipv6() {
            let listener = bind("[::]:0");
            let port = listener.socket_addr().unwrap().port();
            assert!(sockopt::ipv6_v6only(&listener).unwrap());
            TcpListener::bind(("0.0.0.0", port)).expect("the IPv4 side of the port is free");
        }
    }

    #[test]
    fn localhost_is_the_ipv4_loopback_address() {
        assert!(bind("localhost:0").socket_addr().unwrap().ip().is_loopback());
        assert!(bind("localhost:0").socket_addr().unwrap().is_ipv4());
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_advice() {
        let error = bind_error(&"192.0.2.1:0".parse().unwrap());
        assert!(error.contains("no interface of this machine"), "{error}");
    }

    #[test]
    fn unix_sockets_serve_have_their_mode_and_vanish() {
        let path = scratch_path();
        let options = BindOptions { unix_mode: Some(0o600), ..BindOptions::default() };
        let listener = Listener::bind(&BindAddress::Unix(path.clone()), &options).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listener.address().to_string(), format!("unix:{}", path.display()));

        let mut client = UnixStream::connect(&path).unwrap();
        let (transport, peer) = accept(&listener);
        assert_eq!(peer, Address::Unnamed);
        let local = Address::Unix(path.clone().into());
        assert_eq!(listener.local_addr_of(&transport).unwrap(), local);
        assert_eq!(transport.local_addr().unwrap(), local);
        client.write_all(b"ping").unwrap();
        assert!(transport.wait(Interest::Readable, None).unwrap());
        let mut got = [0; 8];
        assert_eq!(transport.read(&mut got).unwrap(), 4);
        drop(transport);
        assert_eq!(client.read(&mut got).unwrap(), 0);

        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_goes_through_a_launch_and_keeps_its_file() {
        let path = scratch_path();
        let (listener, file) = bind(&format!("unix:{}", path.display())).into_parts();
        let listener = Listener::new(listener).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(accept(&listener).1, Address::Unnamed);
        drop(listener);
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());

        let (listener, file) = bind("127.0.0.1:0").into_parts();
        assert!(file.is_none());
        let listener = Listener::new(listener).unwrap();
        let _client = TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
        assert!(sockopt::tcp_nodelay(accept(&listener).0).unwrap());
    }

    #[test]
    fn a_stale_socket_file_is_replaced() {
        let path = scratch_path();
        // std leaves the file behind, as a killed server does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&format!("unix:{}", path.display()));
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_served_socket_file_is_left_alone() {
        let path = scratch_path();
        let listener = bind(&format!("unix:{}", path.display()));
        let error = bind_error(listener.address());
        assert!(error.contains("another process serves there"), "{error}");
        UnixStream::connect(&path).expect("the first one goes on");
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let path = scratch_path();
        fs::write(&path, "precious").unwrap();
        let error = bind_error(&BindAddress::Unix(path.clone()));
        assert!(error.contains("no socket") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_socket_file_of_a_successor_is_left_alone() {
        let path = scratch_path();
        let first = bind(&format!("unix:{}", path.display()));
        fs::remove_file(&path).unwrap();
        let second = bind(&format!("unix:{}", path.display()));
        drop(first);
        UnixStream::connect(&path).expect("the second one still serves");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_forked_child_does_not_remove_the_file() {
        let path = scratch_path();
        let _socket = UnixListener::bind(&path).unwrap();
        let file = SocketFile::made_at(&path).unwrap();
        // What the copy in a child looks like to itself.
        drop(SocketFile { owner: file.owner + 1, path: file.path.clone(), identity: file.identity });
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_missing_and_a_path_that_is_too_long_come_with_advice() {
        let error = bind_error(&BindAddress::Unix(scratch_path().join("app.sock")));
        assert!(error.contains("make the folder first"), "{error}");
        let error = bind_error(&BindAddress::Unix(format!("/{}", "x".repeat(200)).into()));
        assert!(error.contains("at most 107 bytes"), "{error}");
    }

    #[test]
    fn passed_descriptors_are_served_and_stay_open() {
        let passed = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = bind(&format!("fd:{}", passed.as_raw_fd()));
        assert_eq!(listener.socket_addr(), passed.local_addr().ok());
        let _client = TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
        let (transport, _) = accept(&listener);
        assert!(sockopt::tcp_nodelay(&transport).unwrap());
        drop(listener);
        TcpStream::connect(passed.local_addr().unwrap()).expect("clients queue while we restart");
    }

    #[test]
    fn descriptors_that_cannot_be_served_are_refused() {
        let file = fs::File::open("/dev/null").unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        for (fd, why) in [
            (file.as_raw_fd(), "no socket"),
            (stream.as_raw_fd(), "does not listen"),
            (RawFd::MAX, "has to pass a listening socket"),
        ] {
            let error = bind_error(&BindAddress::Fd(fd));
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn accept_errors_are_told_apart_by_what_to_do() {
        let class = |errno| match AcceptError::from(errno) {
            AcceptError::NoneWaiting => "wait",
            AcceptError::ConnectionGone(_) => "next",
            AcceptError::Exhausted(_) => "pause",
            AcceptError::Broken(_) => "stop",
        };
        assert_eq!(class(Errno::AGAIN), "wait");
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::NETDOWN, Errno::HOSTUNREACH, Errno::PERM] {
            assert_eq!(class(errno), "next", "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(class(errno), "pause", "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(class(errno), "stop", "{errno}");
        }
    }
}

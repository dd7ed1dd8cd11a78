//! What the tests of several files share.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::transport::Transport;

/// The far end of a connection under test; blocking.
pub(crate) struct Client(Transport);

impl Client {
    /// Sends FIN.
    pub(crate) fn finish(&self) {
        self.0.shutdown_write().unwrap();
    }

    pub(crate) fn into_transport(self) -> Transport {
        self.0
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn tcp_pair() -> (Transport, Client) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Transport::Tcp(ours), Client(Transport::Tcp(client)))
}

pub(crate) fn unix_pair() -> (Transport, Client) {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Transport::Unix(ours), Client(Transport::Unix(client)))
}

/// A path nobody else uses, in a folder that is removed by nobody: keep what is put there small.
pub(crate) fn scratch_path() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("varvel-kit-{}-{count}", std::process::id()))
}

/// A file with this content, which ceases to exist with its descriptor.
pub(crate) fn scratch_file(content: &[u8]) -> File {
    let path = scratch_path();
    std::fs::write(&path, content).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// Numbers that look random and are the same in every run.
pub(crate) struct XorShift(pub(crate) u64);

impl XorShift {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

//! The client's end of a connection that was taken over.

use std::{
    fmt,
    io::{self, Read, Write},
    task::Poll,
};

use varvel::Finish;

use crate::{
    Failure, Head, Stage,
    line::{Line, Wait},
    response::seen,
    server::InProcess,
};

/// The client's end of an accepted upgrade or CONNECT; the other end is with the application. Dropping it closes the
/// connection.
///
/// It reads and writes like a non-blocking socket, so that a WebSocket library can be put on it: where there is nothing to
/// come, a read fails with [`io::ErrorKind::WouldBlock`].
///
/// ```
/// use http::Response;
/// use varvel::app_fn;
/// use varvel_test::Client;
///
/// let client = Client::new(app_fn(|_, mut scope| async move {
///     let upgrade = scope.take_upgrade().ok_or(std::fmt::Error)?;
///     Ok(upgrade.accept(Response::new(()), |mut io| async move {
///         let _ = io.write_all(b"welcome").await;
///     }))
/// }));
/// let mut tunnel = client.get("/").upgrade("chat");
/// assert_eq!(tunnel.receive_to_end(), b"welcome");
/// ```
pub struct Tunnel {
    line: Box<dyn Line>,
    head: Head,
    /// How many bytes are collected.
    bytes_max: u64,
}

impl Tunnel {
    pub(crate) fn new(line: Box<dyn Line>, head: Head, bytes_max: u64) -> Self {
        Self { line, head, bytes_max }
    }

    /// The head by which the application accepted.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Sends all of it.
    ///
    /// # Panics
    /// If the connection is closed.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).unwrap_or_else(|error| panic!("the tunnel takes no more: {error}"));
    }

    /// Waits for so many bytes.
    ///
    /// # Panics
    /// If they do not come.
    #[track_caller]
    pub fn receive(&mut self, bytes: usize) -> Vec<u8> {
        let mut received = vec![0; bytes];
        let mut length = 0;
        while length < bytes {
            length += match self.receive_some(&mut received[length..]) {
                0 => panic!("the tunnel ended after {:?}", received[..length].escape_ascii().to_string()),
                read => read,
            };
        }
        received
    }

    /// Waits for everything up to the end of the application's sending side.
    ///
    /// # Panics
    /// If that does not come, or more than [is collected](crate::Setup::answer_bytes_max).
    #[track_caller]
    pub fn receive_to_end(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.receive_some(&mut piece) {
                0 => return received,
                read => received.extend_from_slice(&piece[..read]),
            }
            if received.len() as u64 > self.bytes_max {
                panic!("{}", Failure::too_large(self.bytes_max));
            }
        }
    }

    #[track_caller]
    fn receive_some(&mut self, buffer: &mut [u8]) -> usize {
        match self.line.poll_read(buffer, Wait::Patiently) {
            Poll::Ready(Ok(read)) => read,
            Poll::Ready(Err(error)) => panic!("the tunnel failed: {error}"),
            Poll::Pending => panic!("{}", self.line.why_pending()),
        }
    }

    /// Looks for bytes; 0 is the end of the application's sending side.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.line.poll_read(buffer, Wait::Not)
    }

    /// Ends the sending side, and leaves the other open (spec U5).
    pub fn end_sending(&mut self) {
        self.line.end_sending();
        self.line.run();
    }

    /// Closes the connection, and looks at what becomes of the continuation.
    pub fn disconnect(&mut self) {
        self.line.disconnect();
        self.line.run();
    }

    /// [`Stage::Tunnel`] while the continuation runs, then [`Stage::Over`].
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn stage(&self) -> Stage {
        self.inside("how far a server is").stage()
    }

    /// What the hooks were told of the end; `None` before it (spec E12).
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn finish(&self) -> Option<Finish> {
        self.inside("the outcome of a tunnel").finish()
    }

    #[track_caller]
    fn inside(&self, what: &str) -> &InProcess {
        seen(what, self.line.inside())
    }
}

impl Read for Tunnel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.line.poll_read(buffer, Wait::Not) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Tunnel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)?;
        self.line.run();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("head", &self.head).finish_non_exhaustive()
    }
}

//! What every peer shares: its command line, its allocator, its listeners, and what it answers.
//!
//! The paths are those of `varvel_examples::bench_target`: `/` says hello, `/echo` gives the request's body back,
//! `/wait?ms=N` answers after a while, and `/stream?n=N` sends N chunks of 16 KiB of no declared length. Each peer is
//! written as its documentation suggests, set up for speed where that is a matter of one option.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

// The same for all, ours included: allocators differ more than some servers do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The answer to `/`.
pub const HELLO: &str = "Hello, World!";

/// A chunk of `/stream`.
pub static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// The command line of a peer: `PEER ADDRESS THREADS`.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where to listen.
    pub bind: SocketAddr,
    /// How many loops or workers.
    pub threads: usize,
}

impl Options {
    /// Ends the program if it was not called rightly.
    pub fn from_command_line() -> Self {
        let mut words = std::env::args().skip(1);
        let bind = words.next().and_then(|word| word.parse().ok());
        let threads = words.next().and_then(|word| word.parse().ok());
        let (Some(bind), Some(threads)) = (bind, threads) else {
            eprintln!("Usage: PEER ADDRESS THREADS, such as 127.0.0.1:8000 1");
            std::process::exit(2)
        };
        Self { bind, threads }
    }

    /// A listener of its own for each thread: the kernel spreads the connections over them.
    pub fn listener(&self) -> TcpListener {
        let open = || {
            let socket = Socket::new(Domain::for_address(self.bind), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&self.bind.into())?;
            socket.listen(4096)?;
            Ok::<_, std::io::Error>(socket.into())
        };
        open().unwrap_or_else(|error| panic!("cannot listen at {}: {error}", self.bind))
    }

    /// Calls `run` on as many threads as were asked for.
    pub fn on_each_thread(self, run: impl Fn(TcpListener) + Copy + Send + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(move || run(self.listener()));
            }
        });
    }

    /// The same with a tokio run-time on each thread, which is tokio's fastest form for a server.
    pub fn on_each_tokio<F: Future<Output = ()>>(
        self,
        serve: impl Fn(tokio::net::TcpListener) -> F + Copy + Send + Sync,
    ) {
        self.on_each_thread(|listener| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a run-time").block_on(async {
                serve(tokio::net::TcpListener::from_std(listener).expect("a listener")).await;
            });
        });
    }
}

/// The number in a query such as `ms=100`.
pub fn number(query: Option<&str>) -> u64 {
    query.and_then(|query| query.split_once('=')).and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

//! Measures the ways of [`varvel_bench_contract`] beside each other and prints nanoseconds of an exchange, as JSON.

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use varvel::bridge::Inline;
use varvel_bench_contract::{Bare, Contract, OnLoops, OnThreads, Way, Wire};

// As in the servers that are measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often each is measured; the least counts, as nothing makes a processor faster than it is.
const ROUNDS: usize = 200;

/// How many requests there are in a round.
const REQUESTS: usize = 5000;

fn main() {
    let mut bare = Timed::new(Bare);
    let mut contract = Timed::new(Contract::new(OnLoops));
    let mut inline = Timed::new(Contract::new(Inline::new(OnThreads)));
    // One after the other in each round, so that a slower time of the machine meets all.
    for _ in 0..ROUNDS {
        bare.round();
        contract.round();
        inline.round();
    }
    let [bare, contract, inline] = [bare.least, contract.least, inline.least];
    println!("{{\"bare\":{bare:.1},\"contract\":{contract:.1},\"inline\":{inline:.1}}}");
}

struct Timed<W> {
    way: W,
    wire: Wire,
    out: Vec<u8>,
    least: f64,
}

impl<W: Way> Timed<W> {
    fn new(way: W) -> Self {
        Self { way, wire: Wire::default(), out: Vec::new(), least: f64::INFINITY }
    }

    fn round(&mut self) {
        let request = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n");
        let since = Instant::now();
        for _ in 0..REQUESTS {
            self.out.clear();
            self.wire.serve(black_box(request.clone()), &mut self.way, &mut self.out);
            black_box(&self.out);
        }
        self.least = self.least.min(since.elapsed().as_secs_f64() * 1e9 / REQUESTS as f64);
    }
}

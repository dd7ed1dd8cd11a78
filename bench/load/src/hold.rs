//! Holding connections that say nothing.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::{
    answer::{ask, connect},
    request::Request,
};

/// What to hold, as options of the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Hold {
    /// Where the server listens.
    pub to: SocketAddr,

    /// How many connections.
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
}

/// How many are asked again in the end.
const SAMPLE: usize = 100;

/// How many connections share an address: well below the ports that a pair of addresses has.
const PER_SOURCE: usize = 10_000;

/// Opens the connections, each with a request that is answered, and tells on `progress` how many there are: now and then,
/// and at the end. Then waits until `release` ends, asks on some of them again, and tells how many of a hundred answered.
pub fn hold(what: &Hold, release: &mut impl Read, progress: &mut impl Write) -> io::Result<()> {
    let hello = Request::hello().bytes(what.to);
    let mut held: Vec<TcpStream> = Vec::with_capacity(what.connections);
    while held.len() < what.connections {
        let mut stream = connect(what.to, (held.len() / PER_SOURCE) as u32)?;
        ask(&mut stream, &hello)?;
        held.push(stream);
        if held.len().is_multiple_of(500) || held.len() == what.connections {
            writeln!(progress, "{}", held.len())?;
        }
    }
    io::copy(release, &mut io::sink())?;
    let sample = held.iter_mut().step_by(what.connections.div_ceil(SAMPLE));
    let asked = sample.len();
    let alive = sample.filter_map(|stream| ask(stream, &hello).ok()).count();
    writeln!(progress, "{}", 100 * alive / asked.max(1))
}

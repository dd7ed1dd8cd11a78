//! Holding connections that say nothing.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
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

/// How many are being opened at a time: each waits for an answer.
const OPENERS: usize = 8;

/// Opens the connections, each with a request that is answered, and tells on `progress` how many there are: now and then,
/// and at the end. Then waits until `release` ends, asks on some of them again, and tells how many of a hundred answered.
pub fn hold(what: &Hold, release: &mut impl Read, progress: &mut impl Write) -> io::Result<()> {
    let hello = Request::hello().bytes(what.to);
    let open = |index: usize| {
        let mut stream = connect(what.to, (index / PER_SOURCE) as u32)?;
        ask(&mut stream, &hello)?;
        Ok::<_, io::Error>(stream)
    };
    let mut held: Vec<TcpStream> = Vec::with_capacity(what.connections);
    thread::scope(|scope| {
        let (opened, streams) = mpsc::channel();
        for opener in 0..OPENERS {
            let (opened, mut own) = (opened.clone(), (opener..what.connections).step_by(OPENERS));
            // Who is no longer heard has no reason to go on.
            scope.spawn(move || own.all(|index| opened.send(open(index)).is_ok()));
        }
        drop(opened);
        for stream in streams {
            held.push(stream?);
            if held.len().is_multiple_of(500) || held.len() == what.connections {
                writeln!(progress, "{}", held.len())?;
            }
        }
        Ok::<_, io::Error>(())
    })?;
    io::copy(release, &mut io::sink())?;
    let sample = held.iter_mut().step_by(what.connections.div_ceil(SAMPLE));
    let asked = sample.len();
    let alive = sample.filter_map(|stream| ask(stream, &hello).ok()).count();
    writeln!(progress, "{}", 100 * alive / asked.max(1))
}

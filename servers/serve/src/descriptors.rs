//! The limit on open files (`RLIMIT_NOFILE`): raised to what the connections need, as far as it may be.
//!
//! A process begins with a soft limit, often of 1,024, and may raise it up to a hard one. The low one only protects
//! programs that use `select`, so a server raises it, but not to more than it needs: there are systems whose hard limit is
//! a thousand million, and programs that it may start which close every descriptor there could be.
//!
//! Where the hard limit is too low, the server serves fewer connections at a time. Otherwise it would take connections
//! until no descriptor is left, and then the application could open nothing any more.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is left to everything that is no connection: the application's files and sockets above all, listeners, pollers.
const OTHERS: u64 = 1024;

/// A limit that is too low.
#[derive(Debug)]
pub(crate) struct Shortage {
    limit: u64,
    asked: u32,
    /// How many there can be.
    pub(crate) connections: u32,
}

/// Raises the limit for as many connections as this, or as far as it goes for any number; tells if that is too little.
pub(crate) fn provide(connections: Option<u32>) -> Option<Shortage> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = wanted(current, maximum, connections);
    // Refused at worst; then the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit, maximum });
    let limit = getrlimit(Resource::Nofile).current?;
    let asked = connections?;
    let connections = room(limit);
    (connections < asked).then_some(Shortage { limit, asked, connections })
}

/// The limit to ask for; `None` is none.
fn wanted(current: Option<u64>, maximum: Option<u64>, connections: Option<u32>) -> Option<u64> {
    let Some(connections) = connections else { return maximum };
    let needed = u64::from(connections) + OTHERS;
    Some(current?.max(needed).min(maximum.unwrap_or(u64::MAX)))
}

/// How many connections a limit has room for.
fn room(limit: u64) -> u32 {
    let room = limit - OTHERS.min(limit / 4);
    u32::try_from(room).unwrap_or(u32::MAX)
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, asked, connections } = self;
        write!(
            f,
            "this process may open {limit} files, too few for --max-connections {asked}: it serves {connections} at a \
             time, and others wait in the backlog. Raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd), or lower \
             --max-connections"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_needed_and_never_lowered() {
        let wanted = |current, maximum, connections| wanted(Some(current), maximum, connections);
        assert_eq!(wanted(1024, Some(1 << 30), Some(65_536)), Some(65_536 + OTHERS));
        assert_eq!(wanted(1024, None, Some(65_536)), Some(65_536 + OTHERS));
        assert_eq!(wanted(1024, Some(4096), Some(65_536)), Some(4096));
        assert_eq!(wanted(1 << 20, Some(1 << 30), Some(100)), Some(1 << 20));
        assert_eq!(wanted(1024, Some(4096), None), Some(4096));
        assert_eq!(wanted(1024, None, None), None);
        assert_eq!(super::wanted(None, None, Some(100)), None);
    }

    #[test]
    fn connections_leave_something_to_others() {
        for (limit, connections) in [(65_536 + OTHERS, 65_536), (4096, 3072), (1024, 768), (100, 75), (1, 1)]
        {
            assert_eq!(room(limit), connections, "{limit}");
        }
        assert_eq!(room(u64::MAX), u32::MAX);
    }
}

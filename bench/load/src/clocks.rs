//! What is spent while the load lasts: by the server, by this process, and by everybody else.

use std::{fs, io, time::Instant};

use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};

/// Reads all clocks at once.
#[derive(Debug)]
pub struct Clocks {
    server: Vec<ClockId>,
}

/// What they show, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    server: f64,
    client: f64,
    machine: f64,
}

/// The difference of two readings, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// On the wall.
    pub seconds: f64,
    /// Processor time of all threads of the server's processes.
    pub server: f64,
    /// Processor time of this process.
    pub client: f64,
    /// Processor time of all others, and what the host of a virtual machine took.
    pub others: f64,
}

impl Clocks {
    /// For a server of these processes.
    pub fn new(server: &[i32]) -> io::Result<Self> {
        let clock = |pid: &i32| Ok(clock_getcpuclockid(Pid::from_raw(*pid))?);
        Ok(Self { server: server.iter().map(clock).collect::<io::Result<_>>()? })
    }

    /// Now.
    pub fn read(&self) -> io::Result<Reading> {
        let server = self.server.iter().map(|clock| seconds(*clock)).sum::<io::Result<f64>>()?;
        let client = seconds(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        Ok(Reading { at: Instant::now(), server, client, machine: machine()? })
    }
}

impl Reading {
    /// Since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Spent {
        let server = self.server - earlier.server;
        let client = self.client - earlier.client;
        let others = (self.machine - earlier.machine - server - client).max(0.0);
        Spent { seconds: (self.at - earlier.at).as_secs_f64(), server, client, others }
    }
}

fn seconds(clock: ClockId) -> io::Result<f64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// All time of all processors that was not idle. In ticks of mostly 10 ms, so good enough to tell a disturbance.
fn machine() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: f64 = ticks
        .take(8)
        .enumerate()
        .filter(|(column, _)| !matches!(column, 3 | 4))
        .filter_map(|(_, ticks)| ticks.parse::<f64>().ok())
        .sum();
    Ok(busy / sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as f64)
}

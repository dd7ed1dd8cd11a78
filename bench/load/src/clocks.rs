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
    processors: Vec<usize>,
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
    /// For a server of these processes, where what others do on these processors disturbs; on all if none are named.
    pub fn new(server: &[i32], processors: &[usize]) -> io::Result<Self> {
        let clock = |pid: &i32| Ok(clock_getcpuclockid(Pid::from_raw(*pid))?);
        let server = server.iter().map(clock).collect::<io::Result<_>>()?;
        Ok(Self { server, processors: processors.to_vec() })
    }

    /// Now.
    pub fn read(&self) -> io::Result<Reading> {
        let server = self.server.iter().map(|clock| seconds(*clock)).sum::<io::Result<f64>>()?;
        let client = seconds(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        Ok(Reading { at: Instant::now(), server, client, machine: machine(&self.processors)? })
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

/// All time of these processors, or of all, that was not idle. In ticks of mostly 10 ms, so good enough to tell a
/// disturbance.
fn machine(processors: &[usize]) -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let all = if processors.is_empty() { vec!["cpu".into()] } else { Vec::new() };
    let names: Vec<String> = processors.iter().map(|number| format!("cpu{number}")).chain(all).collect();
    let ticks: f64 = stat.lines().filter_map(|line| busy_ticks(line, &names)).sum();
    Ok(ticks / sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as f64)
}

/// Of a line with a processor's name and its ticks of user, nice, system, idle, iowait, irq, softirq and steal time.
fn busy_ticks(line: &str, names: &[String]) -> Option<f64> {
    let mut columns = line.split_whitespace();
    let name = columns.next()?;
    names.iter().find(|wanted| *wanted == name)?;
    let ticks: Vec<f64> = columns.take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Some(ticks.iter().sum::<f64>() - idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_spent() {
        let line = "cpu1 1 20 300 9999 9999 4000 50000 600000 7 7";
        assert_eq!(busy_ticks(line, &["cpu0".into(), "cpu1".into()]), Some(654_321.0));
        assert_eq!(busy_ticks(line, &["cpu".into()]), None);
    }
}

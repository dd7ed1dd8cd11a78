//! The machine: which processors do what, and what it says of itself.

use std::{fs, io, process::Command};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// Share of a processor that others may take before a measurement counts as disturbed. Ticks of 10 ms make some noise in
/// it.
pub(crate) const DISTURBED: f64 = 0.1;

/// Processors for the server and for the client.
#[derive(Clone, Debug)]
pub(crate) struct Processors {
    /// The server's.
    pub(crate) server: Vec<usize>,
    /// The client's.
    pub(crate) client: Vec<usize>,
}

impl Processors {
    /// One for each, which are not two halves of the same core if that can be helped.
    pub(crate) fn one_each() -> io::Result<Self> {
        let allowed = allowed()?;
        let [server, second, ..] = allowed[..] else {
            return Err(io::Error::other(
                "a benchmark needs two processors: one for the server, one for the client",
            ));
        };
        let siblings = siblings(server);
        let client = allowed.iter().copied().find(|other| !siblings.contains(other)).unwrap_or(second);
        Ok(Self { server: vec![server], client: vec![client] })
    }

    /// Two for the server. The client has a third, or shares the two.
    pub(crate) fn two_for_server() -> io::Result<Self> {
        let Self { server, client } = Self::one_each()?;
        let both = vec![server[0], client[0]];
        let third = allowed()?.into_iter().find(|other| !both.contains(other));
        Ok(Self { client: third.map_or_else(|| both.clone(), |third| vec![third]), server: both })
    }
}

fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|processor| set.is_set(*processor).unwrap_or(false)).collect())
}

/// The processors of the same core, as in `0,4` or `0-1`.
fn siblings(processor: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Calls `start` so that what it starts runs on these processors alone, from its first instruction.
pub(crate) fn on<T>(processors: &[usize], start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (me, before) = (Pid::from_raw(0), sched_getaffinity(Pid::from_raw(0))?);
    let mut wanted = CpuSet::new();
    processors.iter().try_for_each(|processor| wanted.set(*processor))?;
    sched_setaffinity(me, &wanted)?;
    let started = start();
    sched_setaffinity(me, &before)?;
    started
}

/// One line about the machine and the tools.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let processors = allowed().map_or(0, |allowed| allowed.len());
    let memory = meminfo("MemTotal").unwrap_or(0) as f64 / f64::from(1 << 30);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default();
    let compiler = Command::new("rustc").arg("--version").output();
    let compiler =
        compiler.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let compiler = compiler.split(' ').nth(1).unwrap_or("of unknown version");
    format!(
        "{processors} processors ({}), {memory:.0} GiB of memory, Linux {}, Rust {compiler}",
        model.map_or("unknown", |(_, model)| model),
        kernel.trim(),
    )
}

/// A figure of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(name: &str) -> io::Result<u64> {
    kib_field(&fs::read_to_string("/proc/meminfo")?, name)
}

/// Memory that the kernel uses for itself, in bytes: connections are in it, but what waits in their buffers only in part.
pub(crate) fn kernel_memory() -> io::Result<u64> {
    Ok(meminfo("Slab")? + meminfo("KernelStack")?)
}

/// Memory in the buffers of all TCP sockets, in bytes.
pub(crate) fn socket_buffers() -> io::Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let line = sockets.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.split_once(" mem ")?.1.trim().parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/net/sockstat does not tell memory of TCP"))?;
    Ok(pages * sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096).unsigned_abs())
}

/// How many more files may be open on the whole machine.
pub(crate) fn files_left() -> io::Result<u64> {
    let files = fs::read_to_string("/proc/sys/fs/file-nr")?;
    let numbers: Vec<u64> = files.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [open, _, max] => Ok(max.saturating_sub(open)),
        _ => Err(io::Error::other("/proc/sys/fs/file-nr does not tell how many files are open")),
    }
}

/// Memory of a process that is in use now, in bytes.
pub(crate) fn resident(pid: i32) -> io::Result<u64> {
    kib_field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS")
}

fn kib_field(text: &str, name: &str) -> io::Result<u64> {
    let field = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = field.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("/proc does not tell {name}")))
}

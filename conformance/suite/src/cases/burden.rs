//! What a server costs: memory, descriptors, processor time. Read where Linux tells; elsewhere the checks do not apply.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{Case, Failure};

/// The processes that a server runs in, of which this one is always counted as one: the clients are in it too.
#[derive(Debug)]
pub(super) struct Processes(BTreeSet<u64>);

impl Processes {
    /// Those of the check's own server, which is ready.
    pub(super) fn of(case: &Case<'_>) -> Result<Self, Failure> {
        case.only_if(fs::exists("/proc/self/smaps_rollup").unwrap_or(false), "memory is told by Linux only")?;
        let own = u64::from(std::process::id());
        let workers = case.events("built").into_iter().filter_map(|built| built.number("pid"));
        Ok(Self(workers.chain([own]).collect()))
    }

    /// Whether there is no other than this.
    pub(super) fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// Bytes of memory in use, without what the system keeps in the buffers of sockets.
    pub(super) fn memory(&self) -> Result<u64, Failure> {
        let of = |pid: &u64| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(unreadable)?;
            let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
            let kibibytes: Option<u64> = rss.split_whitespace().next().and_then(|number| number.parse().ok());
            kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| Failure::new("Rss in kB", rollup))
        };
        self.0.iter().map(of).sum()
    }

    /// Open descriptors.
    pub(super) fn descriptors(&self) -> Result<usize, Failure> {
        let of = |pid: &u64| Ok(fs::read_dir(format!("/proc/{pid}/fd")).map_err(unreadable)?.count());
        self.0.iter().map(of).sum()
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::new("what /proc says of a process of the server", error.to_string())
}

/// The processor time that this process has used so far.
pub(super) fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Raises the limit of descriptors as far as this process may, and says how many more it can open.
pub(super) fn descriptors_left() -> Result<usize, Failure> {
    let limit = getrlimit(Resource::Nofile);
    // If that is refused, the limit as it is will do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    let open = fs::read_dir("/proc/self/fd").map_err(unreadable)?.count();
    Ok(most.saturating_sub(open))
}

/// Holds all descriptors that this process can have, until it is dropped.
#[derive(Debug)]
pub(super) struct Exhausted {
    limit: Rlimit,
    _held: Vec<File>,
}

impl Exhausted {
    pub(super) fn begin() -> Result<Self, Failure> {
        let open = fs::read_dir("/proc/self/fd").map_err(unreadable)?;
        let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let highest = numbers.max().unwrap_or(0);
        let limit = getrlimit(Resource::Nofile);
        let lowered = Rlimit { current: Some(highest + 1), maximum: limit.maximum };
        setrlimit(Resource::Nofile, lowered)
            .map_err(|error| Failure::new("a lower limit of descriptors", error.to_string()))?;
        let mut held = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            held.push(file);
        }
        Ok(Self { limit, _held: held })
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        // It was the limit before.
        let _ = setrlimit(Resource::Nofile, self.limit);
    }
}

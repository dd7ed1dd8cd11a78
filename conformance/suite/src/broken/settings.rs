//! How the reference server is set.

use varvel::{Caps, Driver, Limits, ProcessModel, WorkerInfo};

use super::Fault;
use crate::Tuning;

/// What a reference server can do, what it does wrong, and its bounds.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) caps: Caps,
    pub(super) fault: Option<Fault>,
    pub(super) tuning: Tuning,
}

impl Settings {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// What the worker says of itself.
    pub(super) fn worker_info(&self, concurrency: u32, index: u32) -> WorkerInfo {
        let mut info = WorkerInfo::new("varvel-reference", Driver::Blocking);
        info.caps = self.caps;
        info.concurrency = Some(concurrency);
        info.index = index;
        info.workers = self.tuning.workers.max(1);
        let mut limits = Limits::default();
        limits.head_bytes_max = self.tuning.head_bytes_max.into();
        limits.header_count_max = self.tuning.header_count_max;
        limits.body_bytes_max = self.tuning.body_bytes_max;
        limits.read_ahead = self.tuning.read_ahead;
        limits.write_high_water = self.tuning.write_high_water;
        if self.has(Fault::OverstatesLimits) {
            limits.head_bytes_max *= 10;
            limits.header_count_max *= 10;
        }
        if self.has(Fault::OverstatesWorkers) {
            info.workers += 3;
        }
        if self.has(Fault::PretendsToFork) {
            info.process = ProcessModel::Forked;
        }
        if self.has(Fault::StatesNoVersion) {
            info.spec = (0, 0);
        }
        info.limits = limits;
        info
    }
}

//! Signs of life for a service manager that waits for them (`WatchdogSec=` of systemd): given while the server gets on, and
//! not by a process that merely exists. (With worker processes it is their supervisor that gives them.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use varvel::{Monitor, PROGRESS_INTERVAL};
use varvel_server_kit::service_manager::ServiceManager;

/// How long a worker may say nothing: twice as long as it should take, for a machine that is busy.
const SILENCE_MAX: Duration = PROGRESS_INTERVAL.saturating_mul(2);

/// When each worker got on last.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<HashMap<u32, Instant>>);

impl Pulse {
    /// Gives signs of life from now on, as often as they are due.
    pub(crate) fn follow(self: Arc<Self>, service_manager: Arc<ServiceManager>) {
        let Some(interval) = service_manager.alive_interval() else { return };
        thread::spawn(move || {
            loop {
                if self.beats(Instant::now()) {
                    service_manager.alive();
                }
                thread::sleep(interval);
            }
        });
    }

    /// Whether all workers get on.
    fn beats(&self, now: Instant) -> bool {
        let workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.values().all(|last| now.saturating_duration_since(*last) <= SILENCE_MAX)
    }
}

impl Monitor for Pulse {
    fn progress(&self, worker: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_hangs_is_enough() {
        let pulse = Pulse::default();
        let start = Instant::now();
        assert!(pulse.beats(start + SILENCE_MAX * 2), "nobody has begun yet");
        pulse.progress(0);
        pulse.progress(1);
        let now = Instant::now();
        assert!(pulse.beats(now));
        let later = now + SILENCE_MAX + Duration::from_millis(1);
        pulse.0.lock().unwrap().insert(0, later);
        assert!(!pulse.beats(later));
        pulse.0.lock().unwrap().insert(1, later);
        assert!(pulse.beats(later));
    }
}

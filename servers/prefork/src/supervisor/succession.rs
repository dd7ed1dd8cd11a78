//! The supervisor and the one that takes its place: see `upgrade.rs` for what passes between them.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
use varvel_server_kit::pid_file::PidFile;

use super::{Running, Supervisor, number};
use crate::{
    init::{self, Init},
    post_mortem,
    upgrade::Successor,
};

/// How long a successor may take beyond the time that its workers have to start: it says itself what kept them.
const SUCCESSION_MARGIN: Duration = Duration::from_secs(5);

impl Running {
    /// Takes the place of the predecessor.
    pub(super) fn succeed(&mut self) {
        if let Some(Err(error)) = self.pid_file.as_ref().map(PidFile::write) {
            self.error(&format!("the PID file still names the process before this one: {error}"));
        }
        self.supervisor.sockets.succeed();
    }

    /// Starts the program anew, to take the place of this one.
    pub(super) fn upgrade(&mut self, now: Instant) {
        let problem = match (&self.supervisor.relaunch, &self.successor) {
            (None, _) => "this program does not know how it was started",
            (_, Some(_)) => "the one that was started before is still on its way, or has not ended yet",
            _ if self.crew.is_stopping() => "this one is stopping",
            _ if !self.crew.was_complete() => "not all workers of this one serve yet",
            (Some(relaunch), None) => {
                let Supervisor { sockets, settings, .. } = &self.supervisor;
                let time = settings.worker_start_timeout.saturating_add(SUCCESSION_MARGIN);
                let until = now.checked_add(time);
                return match relaunch.start(&sockets.to_pass_on(), &sockets.heritage, until) {
                    Ok(successor) => {
                        let pid = number(successor.pid);
                        self.info(&format!(
                            "SIGUSR2: the program is started anew (pid {pid}); it takes over when all its workers serve"
                        ));
                        self.supervisor.service_manager.reloading("the program is started anew");
                        self.successor = Some(successor);
                    }
                    Err(error) => {
                        self.error(&format!(
                            "SIGUSR2: the program cannot be started anew: {error}; this one goes on"
                        ));
                    }
                };
            }
        };
        self.warn(&format!("SIGUSR2: no new program is started: {problem}"));
    }

    /// Who serves in place of this process.
    pub(super) fn replaced_by(&self) -> Option<Pid> {
        self.successor.as_ref().filter(|successor| successor.is_serving()).map(|serving| serving.newest)
    }

    /// By when the successor has to serve.
    pub(super) fn succession_deadline(&self) -> Option<Instant> {
        self.successor.as_ref().and_then(Successor::deadline)
    }

    /// Has it take over when it serves, and ends it when its time is up.
    pub(super) fn follow_successor(&mut self, now: Instant) {
        let Some(successor) = &mut self.successor else { return };
        let pid = number(successor.pid);
        if successor.listen() {
            self.supervisor.sockets.give_up_files();
            self.supervisor.service_manager.handed_over(pid);
            self.info(&format!(
                "pid {pid} serves in place of this process, which finishes what it has begun"
            ));
            self.stop(false, now);
        } else if successor.deadline().is_some_and(|deadline| deadline <= now) {
            let _ = kill_process(successor.pid, Signal::KILL);
            successor.dismiss();
            self.error(&format!(
                "the new program (pid {pid}) does not serve after all this time, and is killed"
            ));
        }
    }

    /// Takes note of the end of a process that is no worker.
    pub(super) fn note_end_of_others(&mut self, pid: Pid, status: ExitStatus) {
        match &mut self.successor {
            Some(successor) if successor.is_serving() => {
                // It may have a successor of its own by now.
                successor.listen();
                self.newest_ended = (successor.newest == pid).then_some(status).or(self.newest_ended);
            }
            // Even if it has served for a moment.
            Some(successor) if successor.pid == pid => self.successor_ended(status),
            _ => {}
        }
    }

    /// The successor has ended, and has not taken over.
    fn successor_ended(&mut self, status: ExitStatus) {
        let Some(successor) = self.successor.take() else { return };
        if !self.crew.is_stopping() {
            let (pid, how) = (number(successor.pid), post_mortem::ending(status, None));
            self.error(&format!("the new program (pid {pid}) {how} before it served; this one goes on"));
            self.supervisor.service_manager.ready(&self.summary());
        }
    }

    /// What becomes of process 1, when another serves in its place.
    pub(super) fn into_init(self) -> Option<Init> {
        let successor = self.successor.filter(|successor| successor.is_serving() && getpid().is_init())?;
        Some(Init { signals: self.signals, successor, ended: self.newest_ended })
    }

    /// What is left to say to a process that finishes what it has begun, while another serves.
    pub(super) fn obey_with_successor(&mut self, signal: i32, newest: Pid, now: Instant) {
        let is_init = getpid().is_init();
        if is_init {
            init::forward(signal, newest);
        }
        match signal {
            SIGINT | SIGQUIT => self.crew.stop_quickly(now),
            SIGUSR1 => self.reopen_logs(),
            SIGHUP | SIGTTIN | SIGTTOU | SIGUSR2 if !is_init => {
                self.warn(&format!(
                    "this process ends; pid {} serves in its place, and is to be told",
                    number(newest)
                ));
            }
            _ => {}
        }
    }
}

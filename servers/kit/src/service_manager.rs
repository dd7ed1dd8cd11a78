//! What a service manager such as systemd passes to a program, and what it likes to be told: sockets that it listens at
//! (`LISTEN_FDS`), and messages to a socket of its own (`NOTIFY_SOCKET`). Both are conventions about environment variables;
//! no library takes part.
//!
//! ```ini
//! [Service]
//! Type=notify
//! ExecStart=/usr/local/bin/shop --server prefork --bind :8000
//! ExecReload=/bin/kill -HUP $MAINPID
//! WatchdogSec=10s
//! ```
//!
//! `Type=notify` matters to a program that is replaced while it serves: a manager that is told nothing takes the end of the
//! process that it has started for the end of the service.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt, net::UnixDatagram},
    path::PathBuf,
    process,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use socket2::{SockAddr, SockRef};

use crate::listener::BindAddress;

/// The first descriptor that is passed, by convention.
const FIRST_PASSED: i32 = 3;

/// Whoever started this process and looks after it. The default is nobody.
#[derive(Debug, Default)]
pub struct ServiceManager {
    /// Where it is told what happens.
    notified: Option<(UnixDatagram, SockAddr)>,
    /// How long it waits for a sign of life.
    watchdog: Option<Duration>,
    /// How many listening sockets it has passed.
    sockets: i32,
}

/// Which variables name the process that the ones beside them are for.
const ADDRESSEES: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

impl ServiceManager {
    /// As the environment says. What is for another process does not count, unless that is the `predecessor`, in whose
    /// place this one is about to serve.
    pub fn from_environment(predecessor: Option<u32>) -> Self {
        Self::from_variables(predecessor, &|name| env::var_os(name))
    }

    fn from_variables(predecessor: Option<u32>, variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let number = |name| variable(name)?.into_string().ok()?.parse::<u64>().ok();
        let ours = |name| number(name).is_some_and(|pid| is_ours(pid, predecessor));
        let watchdog =
            number("WATCHDOG_USEC").filter(|_| variable("WATCHDOG_PID").is_none() || ours("WATCHDOG_PID"));
        let sockets = number("LISTEN_FDS").filter(|_| ours("LISTEN_PID"));
        Self {
            notified: variable("NOTIFY_SOCKET").and_then(|name| notified(name).ok()),
            watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros),
            sockets: sockets.and_then(|count| i32::try_from(count).ok()).unwrap_or(0),
        }
    }

    /// The listening sockets that it has passed: `fd:3` and so on. Empty if there are none.
    pub fn sockets(&self) -> Vec<BindAddress> {
        let end = FIRST_PASSED.saturating_add(self.sockets);
        (FIRST_PASSED..end).map(BindAddress::Fd).collect()
    }

    /// The environment of a process that shall serve in place of this one, where it has to differ: what is for this process
    /// is for that one, too, which [knows](Self::from_environment) this one as its predecessor.
    pub fn environment_of_successor(predecessor: Option<u32>) -> Vec<(&'static str, String)> {
        let ours = |name: &&str| {
            let pid = env::var(name).ok().and_then(|pid| pid.parse().ok());
            pid.is_some_and(|pid| is_ours(pid, predecessor))
        };
        ADDRESSEES.into_iter().filter(ours).map(|name| (name, process::id().to_string())).collect()
    }

    /// Everything serves; again, after a reload.
    pub fn ready(&self, status: &str) {
        self.notify(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins; [`ready`](Self::ready) ends it.
    pub fn reloading(&self, status: &str) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS={status}"));
    }

    /// The end begins.
    pub fn stopping(&self, status: &str) {
        self.notify(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// What goes on, for people.
    pub fn status(&self, status: &str) {
        self.notify(&format!("STATUS={status}"));
    }

    /// From now on the service is another process, which serves already. Only now does the manager listen to that.
    pub fn handed_over(&self, successor: u32) {
        self.notify(&format!("READY=1\nMAINPID={successor}\nSTATUS=process {successor} serves"));
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.notify("WATCHDOG=1");
    }

    /// How often a sign of life is due: twice in the time after which it would be missed.
    pub fn alive_interval(&self) -> Option<Duration> {
        self.notified.as_ref()?;
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// A manager that cannot take a message now is not waited for, and what it misses is no reason not to serve.
    fn notify(&self, message: &str) {
        if let Some((socket, manager)) = &self.notified {
            let _ = SockRef::from(socket).send_to(message.as_bytes(), manager);
        }
    }
}

fn is_ours(pid: u64, predecessor: Option<u32>) -> bool {
    pid == u64::from(process::id()) || predecessor.is_some_and(|predecessor| pid == u64::from(predecessor))
}

/// A socket to send from, and the address that a path, or an abstract name with `@` for its first byte, stands for.
fn notified(name: OsString) -> io::Result<(UnixDatagram, SockAddr)> {
    let mut bytes = name.into_vec();
    match bytes.first_mut() {
        Some(first @ b'@') => *first = 0,
        Some(b'/') => {}
        _ => return Err(io::ErrorKind::Unsupported.into()),
    }
    let address = SockAddr::unix(PathBuf::from(OsString::from_vec(bytes)))?;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_path;

    fn manager(predecessor: Option<u32>, variables: &[(&str, &str)]) -> ServiceManager {
        ServiceManager::from_variables(predecessor, &|name| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(OsString::from(value))
        })
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let path = scratch_path();
        let abstract_name = format!("@varvel-kit-{}", process::id());
        for name in [path.to_str().unwrap(), &abstract_name] {
            let bound = SockAddr::unix(name.replace('@', "\0")).unwrap();
            let socket = UnixDatagram::unbound().unwrap();
            SockRef::from(&socket).bind(&bound).unwrap();
            let manager = manager(None, &[("NOTIFY_SOCKET", name)]);
            manager.ready("2 workers");
            assert_eq!(received(&socket), "READY=1\nSTATUS=2 workers");
            manager.reloading("reload");
            let message = received(&socket);
            let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            let micros: u64 = micros.strip_suffix("\nSTATUS=reload").unwrap().parse().unwrap();
            assert!(micros > 0, "{message}");
            manager.handed_over(17);
            assert_eq!(received(&socket), "READY=1\nMAINPID=17\nSTATUS=process 17 serves");
            manager.stopping("end");
            assert_eq!(received(&socket), "STOPPING=1\nSTATUS=end");
            manager.alive();
            assert_eq!(received(&socket), "WATCHDOG=1");
        }
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_manager_that_is_not_there_is_not_missed() {
        for variables in [&[][..], &[("NOTIFY_SOCKET", "/nowhere/at/all")], &[("NOTIFY_SOCKET", "vsock:2:1")]]
        {
            manager(None, variables).ready("all");
        }
    }

    #[test]
    fn sockets_and_watchdog_are_for_the_process_that_is_named() {
        let us = process::id().to_string();
        let fds = |pid: &str, count: &str, predecessor| {
            manager(predecessor, &[("LISTEN_PID", pid), ("LISTEN_FDS", count)]).sockets()
        };
        assert_eq!(fds(&us, "2", None), [BindAddress::Fd(3), BindAddress::Fd(4)]);
        assert_eq!(fds("1", "2", None), []);
        assert_eq!(fds("1", "1", Some(1)), [BindAddress::Fd(3)]);
        assert_eq!(fds(&us, "-1", None), []);
        let interval = |pid: &str, socket: &str| {
            let variables = [("WATCHDOG_PID", pid), ("WATCHDOG_USEC", "3000000"), ("NOTIFY_SOCKET", socket)];
            manager(None, &variables).alive_interval()
        };
        assert_eq!(interval(&us, "@nobody"), Some(Duration::from_millis(1500)));
        assert_eq!(interval("1", "@nobody"), None);
        assert_eq!(interval(&us, ""), None);
    }
}

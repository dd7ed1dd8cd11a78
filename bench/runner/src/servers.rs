//! The servers, and how each is started.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::machine;

/// How a server's applications are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// No server at all: what the kernel allows.
    Yardstick,
    /// As futures.
    Async,
    /// As functions that may block.
    Sync,
}

/// A server that can be measured.
#[derive(Debug)]
pub(crate) struct Server {
    /// As results call it.
    pub(crate) name: &'static str,
    /// How applications are written for it.
    pub(crate) style: Style,
    /// Workloads that it has no way to answer.
    pub(crate) cannot: &'static [&'static str],
    /// Its crate, whose version is told; ours and the yardstick have none.
    pub(crate) package: Option<&'static str>,
}

/// The yardstick, to which all others are compared.
pub(crate) const LIMIT: &str = "limit";

/// Ours, by their options.
pub(crate) const EVENTED: &str = "varvel evented";
/// The other one.
pub(crate) const THREADED: &str = "varvel threaded";

/// The evented one with a sync application, called on the loop.
pub(crate) const INLINE: &str = "varvel evented, inline";
/// The same, called on a pool.
pub(crate) const OFFLOADED: &str = "varvel evented, pool";

/// The evented one with an application of varvel-resource.
pub(crate) const RESOURCE: &str = "varvel evented, resource";

/// All, in the order of tables and charts.
pub(crate) static SERVERS: [Server; 9] = [
    Server { name: LIMIT, style: Style::Yardstick, cannot: &[], package: None },
    Server { name: EVENTED, style: Style::Async, cannot: &[], package: None },
    Server { name: "hyper", style: Style::Async, cannot: &[], package: Some("hyper") },
    Server { name: "axum", style: Style::Async, cannot: &[], package: Some("axum") },
    Server { name: "actix-web", style: Style::Async, cannot: &[], package: Some("actix-web") },
    Server {
        name: "may_minihttp",
        style: Style::Async,
        cannot: &["stream", "close"],
        package: Some("may_minihttp"),
    },
    Server { name: THREADED, style: Style::Sync, cannot: &[], package: None },
    Server { name: "tiny_http", style: Style::Sync, cannot: &[], package: Some("tiny_http") },
    Server { name: "rouille", style: Style::Sync, cannot: &[], package: Some("rouille") },
];

/// An async application, and a sync one through either bridge, all on the evented server.
pub(crate) static FORMS: [Server; 3] = [
    Server { name: EVENTED, style: Style::Async, cannot: &[], package: None },
    Server { name: INLINE, style: Style::Sync, cannot: &[], package: None },
    Server { name: OFFLOADED, style: Style::Sync, cannot: &[], package: None },
];

/// The same hello on the bare contract, and through a framework.
pub(crate) static HELLOS: [Server; 2] = [
    Server { name: EVENTED, style: Style::Async, cannot: &[], package: None },
    Server { name: RESOURCE, style: Style::Async, cannot: &[], package: None },
];

impl Server {
    /// By its name, for which the part after a space is enough.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let is_meant =
            |server: &&Self| server.name == name || server.name.strip_prefix("varvel ") == Some(name);
        SERVERS.iter().find(is_meant).ok_or_else(|| {
            let names: Vec<_> =
                SERVERS.iter().map(|server| server.name.trim_start_matches("varvel ")).collect();
            format!("no such server; there are {}", names.join(", "))
        })
    }

    fn command(&self, programs: &Programs, address: SocketAddr, threads: usize) -> Command {
        let serve = |program: &Path, server| {
            let mut command = Command::new(program);
            // Idle connections are to stay open while they are counted, however many. All else is as it comes.
            command.args(["--keep-alive-timeout", "1h", "--max-connections", "2000000"]);
            command.args(["--server", server, "--bind", &address.to_string()]);
            command
        };
        let ours = |server| serve(&programs.bench_target, server);
        let other = |name| serve(&programs.bench_target.with_file_name(name), "evented");
        let sync_on_loop = || {
            let mut command = other("bench-target-sync");
            command.args(["--loops", "1"]);
            command
        };
        match self.name {
            INLINE => {
                let mut command = sync_on_loop();
                command.arg("--inline");
                command
            }
            OFFLOADED => {
                let mut command = sync_on_loop();
                command.args(["--offload-threads", &threads.to_string()]);
                command
            }
            EVENTED | RESOURCE => {
                let mut command =
                    if self.name == RESOURCE { other("bench-target-resource") } else { ours("evented") };
                command.args(["--loops", &threads.to_string()]);
                command
            }
            THREADED => ours("threaded"),
            peer => {
                let mut command = Command::new(programs.folder.join(peer));
                command.args([address.to_string(), threads.to_string()]);
                command
            }
        }
    }
}

/// The peers' versions, as locked.
pub(crate) fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let version = |package: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        rest.split_once('"').map(|(version, _)| format!("{package} {version}"))
    };
    let versions: Vec<_> = SERVERS.iter().filter_map(|server| server.package.and_then(version)).collect();
    versions.join(", ")
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// Peers and the load client.
    pub(crate) folder: PathBuf,
    /// Our servers.
    pub(crate) bench_target: PathBuf,
}

impl Programs {
    /// The load client.
    pub(crate) fn load(&self) -> PathBuf {
        self.folder.join("load")
    }

    /// Beside this program, and where the option says.
    pub(crate) fn find(bench_target: &Path) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new(".")).to_path_buf();
        Ok(Self { folder, bench_target: bench_target.to_path_buf() })
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Nobody needs longer to start.
const START_MAX: Duration = Duration::from_secs(10);

impl Running {
    /// Starts it on these processors, and waits until it accepts.
    pub(crate) fn start(
        server: &Server,
        programs: &Programs,
        processors: &[usize],
        threads: usize,
    ) -> io::Result<Self> {
        let address = free_address()?;
        let mut command = server.command(programs, address, threads);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = machine::on(processors, || command.spawn());
        let failed = |error: String| io::Error::other(format!("this did not start: {command:?}: {error}"));
        let mut running = Self { process: process.map_err(|error| failed(error.to_string()))?, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = running.process.try_wait()? {
                return Err(failed(status.to_string()));
            }
            if started.elapsed() > START_MAX {
                return Err(failed("it does not accept connections".into()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(running)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One that nobody listens at just now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

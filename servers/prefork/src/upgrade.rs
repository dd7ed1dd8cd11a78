//! A new program in place of this one, and no moment in which nobody listens (SIGUSR2).
//!
//! ```text
//!   this supervisor                              its successor
//!        |------- starts the program again ------->|  the same arguments; what there is to take over stands in an
//!        |        listening sockets                |  environment variable
//!        |                                         |
//!        |  both accept                            |  forks its workers
//!        |                                         |
//!        |<------ all of them serve ---------------|  takes over the files of Unix sockets and the PID file
//!        |                                         |
//!        |  its workers finish what they have      |
//!      status 0                                    |
//! ```
//!
//! Until the successor says that all its workers serve, nothing has happened: if it ends, or does not get so far in time,
//! this supervisor goes on as before.
//!
//! The variable stays in the environment of whatever the successor starts, where it must mean nothing: so it names the process
//! that has set it, and is believed only by a child of that.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{self, Read, Write as _},
    net::{SocketAddr, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
            net::UnixStream,
            process::CommandExt,
        },
    },
    path::{Path, PathBuf, absolute},
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Instant,
};

use rustix::{
    net::sockopt,
    process::{Pid, getppid},
};
use varvel_server_kit::{
    listener::{BindAddress, Listener as Socket},
    service_manager::ServiceManager,
};

use crate::passed_fds::{Passed, take};

/// What the process that has started this one as its successor passes on; by default nothing.
#[derive(Debug, Default)]
pub struct Heritage {
    predecessor: Option<u32>,
    ready: Option<UnixStream>,
    init: Option<UnixStream>,
    sockets: Vec<Heirloom>,
}

/// A listening socket from the predecessor.
#[derive(Debug)]
pub(crate) struct Heirloom {
    /// The address that it was asked to listen at, as text.
    asked: String,
    pub(crate) socket: Socket,
    /// Its file is ours, once we serve.
    pub(crate) with_file: bool,
}

impl Heritage {
    /// The environment variable that tells what there is to take over. Its lines:
    ///
    /// ```text
    ///   parent 4711                    who passes it on; for nobody but its children
    ///   ready 9                        where to say that all workers serve
    ///   init 10                        the same, to a process 1 that passes signals on
    ///   socket 5 file unix:/run/a      a listening socket, with the duty to remove its file
    ///   socket 6 - :8000               one without
    /// ```
    pub const VARIABLE: &str = "VARVEL_UPGRADE";

    /// What there is for this process. Only the first call finds anything.
    ///
    /// To be called before this process opens files: what it does not take over, it closes.
    pub fn claim() -> Self {
        static CLAIMED: AtomicBool = AtomicBool::new(false);
        let text = env::var(Self::VARIABLE).unwrap_or_default();
        let parent = getppid().map(|parent| parent.as_raw_nonzero().get().to_string());
        if text.is_empty() || parent.as_deref() != parent_in(&text) || CLAIMED.swap(true, Relaxed) {
            return Self::default();
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut heritage =
            Self { predecessor: parent_in(text).and_then(|pid| pid.parse().ok()), ..Self::default() };
        for line in text.lines() {
            match *line.splitn(4, ' ').collect::<Vec<_>>() {
                ["ready", fd] => heritage.ready = take(fd).map(UnixStream::from),
                ["init", fd] => heritage.init = take(fd).map(UnixStream::from),
                ["socket", fd, file, asked] => {
                    let socket = take(fd).and_then(|fd| Socket::inherit(fd).ok());
                    let (asked, with_file) = (asked.to_owned(), file == "file");
                    heritage.sockets.extend(socket.map(|socket| Heirloom { asked, socket, with_file }));
                }
                _ => {}
            }
        }
        heritage
    }

    /// The process that has started this one to serve in its place.
    pub fn predecessor(&self) -> Option<u32> {
        self.predecessor
    }

    /// A socket that listens at this address already.
    pub(crate) fn take(&mut self, address: &BindAddress) -> Option<Heirloom> {
        let asked = address.to_string();
        let same = self.sockets.iter().position(|heirloom| heirloom.asked == asked);
        let index =
            same.or_else(|| self.sockets.iter().position(|heirloom| is_at(&heirloom.socket, address)))?;
        Some(self.sockets.remove(index))
    }

    /// Those that nobody wanted, and whose port has to be left before they close. Others, such as those that were lent to
    /// the predecessor, close here.
    pub(crate) fn take_rest(&mut self) -> Vec<Socket> {
        let was_bound = |heirloom: &Heirloom| !heirloom.asked.starts_with("fd:");
        self.sockets.drain(..).filter(was_bound).map(|heirloom| heirloom.socket).collect()
    }

    /// Says that all workers serve. A predecessor that is gone needs not know.
    pub(crate) fn announce(&mut self) {
        let message = format!("{}\n", process::id());
        // First to who has to know by the time that the predecessor ends.
        for mut stream in self.init.iter().chain(&self.ready) {
            let _ = stream.write_all(message.as_bytes());
        }
        self.ready = None;
    }

    /// Whether there was a predecessor, and it has not been told yet that it can go.
    pub(crate) fn is_pending(&self) -> bool {
        self.ready.is_some()
    }
}

fn parent_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("parent "))
}

/// Whether it listens where the address says, by whatever name.
fn is_at(socket: &Socket, address: &BindAddress) -> bool {
    let takes_both = || sockopt::ipv6_v6only(socket).is_ok_and(|only| !only);
    match (address, socket.address()) {
        (BindAddress::Tcp(asked), BindAddress::Tcp(addr)) => {
            asked == addr && (addr.is_ipv4() || !takes_both())
        }
        (BindAddress::TcpEverywhere(port), BindAddress::Tcp(addr)) => {
            *addr == SocketAddr::from(([0; 16], *port)) && takes_both()
        }
        (BindAddress::TcpNamed { host, port }, BindAddress::Tcp(addr)) => {
            let mut addrs = (host.as_str(), *port).to_socket_addrs().into_iter().flatten();
            addrs.any(|asked| asked == *addr)
        }
        (BindAddress::Unix(asked), BindAddress::Unix(path)) => absolute(asked).ok() == absolute(path).ok(),
        _ => false,
    }
}

/// How this program was started, so that it can be started again.
///
/// A program that can be replaced while it serves begins like this:
///
/// ```no_run
/// # use varvel_prefork::{Heritage, Relaunch, Sockets, Supervisor};
/// # use varvel_server_kit::settings::Settings;
/// # let settings = Settings::default();
/// let heritage = Heritage::claim();
/// let sockets = Sockets::inherit(&settings.bind, &settings.bind_options(), heritage)?;
/// let supervisor = Supervisor::new(settings, sockets)?.with_relaunch(Relaunch::of_this_process()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Relaunch {
    /// As it was called.
    name: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    /// The file that runs, should its name lead nowhere.
    executable: PathBuf,
}

impl Relaunch {
    /// As this process was. To be called at its start, before it changes its folder.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let executable = env::current_exe().unwrap_or_default();
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| executable.clone().into());
        Ok(Self { name, arguments: arguments.collect(), directory: directory()?, executable })
    }

    /// The file that this name leads to now, as a shell would find it: a link may lead elsewhere since.
    fn program(&self) -> PathBuf {
        if self.name.as_bytes().contains(&b'/') {
            return self.directory.join(&self.name);
        }
        let paths = env::var_os("PATH").unwrap_or_default();
        let mut candidates =
            env::split_paths(&paths).map(|folder| self.directory.join(folder).join(&self.name));
        candidates.find(|path| is_executable(path)).unwrap_or_else(|| self.executable.clone())
    }

    /// Starts the program again, with these sockets, each with the address that it was asked to listen at. It has `until`
    /// then to get all its workers to serve.
    pub(crate) fn start(
        &self,
        sockets: &[(&Socket, &BindAddress)],
        heritage: &Heritage,
        until: Option<Instant>,
    ) -> io::Result<Successor> {
        let (messages, ready) = UnixStream::pair()?;
        messages.set_nonblocking(true)?;
        // Those who come later tell process 1, too, or it would not know whom to pass its signals on to.
        let init = match &heritage.init {
            Some(init) => Some(init.try_clone()?),
            None if process::id() == 1 => Some(ready.try_clone()?),
            None => None,
        };
        let mut passed = Passed::default();
        let mut text = format!("parent {}\nready {}\n", process::id(), passed.add(ready.as_fd())?);
        if let Some(init) = &init {
            let _ = writeln!(text, "init {}", passed.add(init.as_fd())?);
        }
        for (socket, asked) in sockets {
            let file = if socket.owns_file() { "file" } else { "-" };
            let _ = writeln!(text, "socket {} {file} {asked}", passed.add(socket.as_fd())?);
        }
        let child = Command::new(self.program())
            .arg0(&self.name)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env(Heritage::VARIABLE, text)
            .envs(ServiceManager::environment_of_successor(heritage.predecessor))
            .spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Successor { pid, newest: pid, messages, unread: Vec::new(), stage: Stage::Starting { until } })
    }
}

/// The folder of this process, by the name that the shell had for it: if that is a link to the release in use, it may lead
/// to the next one by the time that it matters.
fn directory() -> io::Result<PathBuf> {
    let real = env::current_dir()?;
    let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let named = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    let same = |path: &PathBuf| matches!((identity(path), identity(&real)), (Ok(a), Ok(b)) if a == b);
    Ok(named.filter(same).unwrap_or(real))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The process that shall serve in place of this one, or does.
#[derive(Debug)]
pub(crate) struct Successor {
    /// The one that this process has started.
    pub(crate) pid: Pid,
    /// The one that serves now: that one, or its successor's successor.
    pub(crate) newest: Pid,
    messages: UnixStream,
    unread: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting {
        until: Option<Instant>,
    },
    /// Told to end.
    Dismissed,
    Serving,
}

impl Successor {
    /// By when it has to serve.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Starting { until } => until,
            _ => None,
        }
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting { .. })
    }

    /// Whether it has taken over.
    pub(crate) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    pub(crate) fn dismiss(&mut self) {
        self.stage = Stage::Dismissed;
    }

    /// Takes note of who serves. `true` if it has taken over just now.
    pub(crate) fn listen(&mut self) -> bool {
        let mut chunk = [0; 256];
        while let Ok(count @ 1..) = self.messages.read(&mut chunk) {
            self.unread.extend_from_slice(&chunk[..count]);
        }
        let before = self.is_serving();
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let pid = std::str::from_utf8(&line[..end]).ok().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(Pid::from_raw).filter(|_| self.stage != Stage::Dismissed) {
                self.newest = pid;
                self.stage = Stage::Serving;
            }
        }
        !before && self.is_serving()
    }
}

/// Readable when there is something to listen to; and for ever, once nobody is left to say anything.
impl AsFd for Successor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.messages.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use varvel_server_kit::listener::BindOptions;

    use super::*;

    fn bound(text: &str) -> Socket {
        Socket::bind(&text.parse().unwrap(), &BindOptions::default()).unwrap()
    }

    #[test]
    fn a_socket_is_known_by_what_was_asked_for_and_by_where_it_is() {
        let heirloom =
            |text: &str| Heirloom { asked: text.to_owned(), socket: bound(text), with_file: false };
        let mut heritage =
            Heritage { sockets: ["127.0.0.1:0", "127.0.0.1:0"].map(heirloom).into(), ..Heritage::default() };
        let second = heritage.sockets[1].socket.address().clone();
        assert!(heritage.take(&"[::1]:0".parse().unwrap()).is_none());
        let port = second.to_string().rsplit_once(':').unwrap().1.to_owned();
        assert!(
            heritage.take(&format!(":{port}").parse().unwrap()).is_none(),
            "it does not listen everywhere"
        );
        let taken = heritage.take(&format!("localhost:{port}").parse().unwrap()).unwrap();
        assert_eq!(*taken.socket.address(), second);
        assert!(heritage.take(&"127.0.0.1:0".parse().unwrap()).is_some());
        assert!(heritage.take(&"127.0.0.1:0".parse().unwrap()).is_none());
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let relaunch = |name: &str| Relaunch {
            name: name.into(),
            arguments: Vec::new(),
            directory: "/srv/shop".into(),
            executable: "/proc/old".into(),
        };
        assert_eq!(relaunch("bin/shop").program(), Path::new("/srv/shop/bin/shop"));
        assert_eq!(relaunch("/opt/shop").program(), Path::new("/opt/shop"));
        assert_eq!(relaunch("a name that nothing has").program(), Path::new("/proc/old"));
        let sh = relaunch("sh").program();
        assert!(sh.is_absolute() && sh.ends_with("sh") && is_executable(&sh), "{}", sh.display());
    }
}

//! Servers that fork.
//!
//! A fork must find a process of one thread (spec L3), which a test never is. So each of these servers gets a process of its
//! own, for which the program is started once more.
//!
//! ```text
//!    Subject  ---- listeners, settings, the probe's plan ---->  server's process  --fork-->  workers, with the probe
//!      | |    <--- it catches signals, is ready, has ended ---        ^                               |
//!      | +-------- SIGTERM at a stop, SIGQUIT at its deadline --------+                               |
//!    Recorder <------------------------------- events ------------------------------------------------+
//! ```

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, mpsc},
    task::{Wake, Waker},
    thread,
    time::Instant,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};
use varvel::{Control, Launch, Listener, Reporter, ServeError, Served, StartError};

use crate::{Probe, Skip, Subject, Tuning, run, silence_planned_panics};

/// A server under test that forks its workers.
pub trait Forking: Send + Sync + 'static {
    /// Its name in the report.
    fn name(&self) -> String;

    /// Serves the probe with these settings, in a process without other threads, until a signal stops it: SIGTERM for an end
    /// without a deadline, SIGQUIT for one at once, also behind the other. In a worker it does not return.
    ///
    /// # Errors
    /// Those of the server.
    fn serve(&self, probe: Probe, start: Start, tuning: &Tuning) -> Result<Served, ServeError>;

    /// What this server is known not to do yet; see [`Subject::skips`].
    fn skips(&self) -> &[Skip] {
        &[]
    }
}

/// What a server that forks is started with.
#[non_exhaustive]
pub struct Start {
    /// The bound, listening sockets.
    pub listeners: Vec<Listener>,
    /// Who takes the reports of supervisor and workers.
    pub reporter: Arc<dyn Reporter>,
    /// Who wants to know how it gets on.
    pub observer: Observer,
}

/// Who has started the server's process. All clones are the same.
#[derive(Clone, Debug)]
pub struct Observer(Arc<UnixStream>);

impl Observer {
    /// From now on signals stop the server, and do not kill it.
    pub fn catches_signals(&self) {
        self.tell(&json!(CATCHES_SIGNALS));
    }

    /// All workers serve.
    pub fn is_ready(&self) {
        self.tell(&json!(IS_READY));
    }

    fn tell(&self, what: &Value) {
        // Nobody listens if the test was killed.
        let _ = (&*self.0).write_all(format!("{what}\n").as_bytes());
    }
}

const CATCHES_SIGNALS: &str = "catches signals";
const IS_READY: &str = "is ready";

/// The first argument of a program that is started once more; the name of a server follows.
const ARGUMENT: &str = "serve-the-probe";

/// The `main` of a test with `harness = false` that checks servers that fork.
pub fn run_forking(servers: Vec<Arc<dyn Forking>>) -> ExitCode {
    if let Some(status) = serve_apart(&servers) {
        return status;
    }
    run(servers.into_iter().map(|server| Arc::new(Apart(server)) as Arc<dyn Subject>).collect())
}

/// To be called first thing by programs that check servers that fork: serves, if this process was started for that, and says
/// how it is to end then.
pub fn serve_apart(servers: &[Arc<dyn Forking>]) -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let name = arguments.next().unwrap_or_default();
    silence_planned_panics();
    let served = match servers.iter().find(|server| server.name() == name) {
        Some(server) => serve(&**server),
        None => Err(io::Error::other(format!("there is no server {name:?}"))),
    };
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Does what the process that started this one asks for.
fn serve(server: &dyn Forking) -> io::Result<()> {
    // A test that is killed must leave nothing behind.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::QUIT))?;
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (order, listeners) = receive(&channel)?;
    let (probe, recording) = Probe::received(&order["probe"]).ok_or(io::ErrorKind::InvalidData)?;
    let mut tuning = Tuning::default();
    for setting in order["tuning"].as_array().into_iter().flatten() {
        let text = |nth: usize| setting[nth].as_str().unwrap_or_default();
        tuning.set(text(0), text(1)).map_err(io::Error::other)?;
    }
    let observer = Observer(Arc::new(channel));
    let start = Start { listeners, reporter: Arc::new(recording), observer: observer.clone() };
    let served = server.serve(probe, start, &tuning);
    observer.tell(&outcome_to_json(&served));
    Ok(())
}

/// A server that forks, as a subject: each time it serves in a process of its own.
pub struct Apart(pub Arc<dyn Forking>);

impl Subject for Apart {
    fn name(&self) -> String {
        self.0.name()
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let Launch { listeners, control, .. } = launch;
        let (child, channel) = self
            .start(&probe, listeners, tuning)
            .map_err(ServeError::io("start a process for the server"))?;
        Watched { child, control }.watch(channel)
    }

    fn skips(&self) -> &[Skip] {
        self.0.skips()
    }
}

impl Apart {
    fn start(
        &self,
        probe: &Probe,
        listeners: Vec<Listener>,
        tuning: &Tuning,
    ) -> io::Result<(Child, UnixStream)> {
        let (here, there) = UnixStream::pair()?;
        let child = Command::new(env::current_exe()?)
            .args([ARGUMENT, &self.name()])
            .stdin(Stdio::from(OwnedFd::from(there)))
            .spawn()?;
        send(&here, &json!({ "probe": probe.to_send(), "tuning": tuning.changes() }), &listeners)?;
        Ok((child, here))
    }
}

/// The process of a server, as the test sees it.
struct Watched {
    child: Child,
    control: Control,
}

/// What there is to react to.
enum Heard {
    Told(Value),
    StopAsked,
    /// The process is gone.
    Nothing,
}

impl Watched {
    /// Stops the process when it is to stop, and returns how the server in it has ended.
    fn watch(mut self, channel: UnixStream) -> Result<Served, ServeError> {
        let (sender, heard) = mpsc::channel();
        self.control.on_stop(Waker::from(Arc::new(Asked(sender.clone()))));
        thread::spawn(move || {
            for line in BufReader::new(channel).lines().map_while(Result::ok) {
                let _ = sender.send(Heard::Told(serde_json::from_str(&line).unwrap_or_default()));
            }
            let _ = sender.send(Heard::Nothing);
        });
        let (mut catches_signals, mut sent) = (false, None);
        let outcome = loop {
            let deadline = self.control.stop_deadline().filter(|_| catches_signals);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wanted = left.map(|left| if left.is_zero() { Signal::QUIT } else { Signal::TERM });
            if let Some(signal) = wanted.filter(|_| wanted != sent && sent != Some(Signal::QUIT)) {
                // One that has gone by itself has stopped.
                let _ = kill_process(Pid::from_child(&self.child), signal);
                sent = Some(signal);
            }
            let next = match left.filter(|left| !left.is_zero()) {
                Some(left) => heard.recv_timeout(left).ok(),
                None => Some(heard.recv().unwrap_or(Heard::Nothing)),
            };
            match next {
                Some(Heard::Told(what)) if what == CATCHES_SIGNALS => catches_signals = true,
                Some(Heard::Told(what)) if what == IS_READY => self.control.announce_ready(),
                Some(Heard::Told(what)) => break outcome_from_json(&what),
                Some(Heard::Nothing) => break None,
                Some(Heard::StopAsked) | None => {}
            }
        };
        let status = self.child.wait().map_err(ServeError::io("wait for the server's process"))?;
        outcome.unwrap_or_else(|| panic!("the server's process ended without a word: {status}"))
    }
}

/// Wakes whoever watches when a stop is asked for.
struct Asked(mpsc::Sender<Heard>);

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(Heard::StopAsked);
    }
}

fn outcome_to_json(outcome: &Result<Served, ServeError>) -> Value {
    match outcome {
        Ok(Served { cut, .. }) => json!({ "cut": cut }),
        Err(ServeError::Start(error)) => {
            json!({ "start": error.source().map(ToString::to_string), "may_retry": error.may_retry() })
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn outcome_from_json(json: &Value) -> Option<Result<Served, ServeError>> {
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    if let Some(cut) = json["cut"].as_u64() {
        return Some(Ok(Served::new(cut)));
    }
    let start = text("start").map(|reason| match json["may_retry"] == true {
        true => StartError::retry(reason).into(),
        false => StartError::new(reason).into(),
    });
    let other = || Some(ServeError::io("serve")(io::Error::other(text("error")?)));
    start.or_else(other).map(Err)
}

/// More listeners than any check has.
const LISTENERS_MAX: usize = 16;

/// Sends a line, and sockets with it.
fn send(channel: &UnixStream, what: &Value, listeners: &[Listener]) -> io::Result<()> {
    let line = format!("{what}\n");
    let sockets: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !with.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("too many listeners"));
    }
    let sent = sendmsg(channel, &[IoSlice::new(line.as_bytes())], &mut with, SendFlags::empty())?;
    (&*channel).write_all(&line.as_bytes()[sent..])
}

/// Receives what [`send`] has sent.
fn receive(mut channel: &UnixStream) -> io::Result<(Value, Vec<Listener>)> {
    let mut line = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut line)], &mut with, flags)?;
    line.truncate(received.bytes);
    let mut listeners = Vec::new();
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            listeners.extend(sockets.map(TcpListener::from).map(Listener::from));
        }
    }
    while line.last().is_some_and(|last| *last != b'\n') {
        let mut more = [0; 4096];
        let length = channel.read(&mut more)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&more[..length]);
    }
    Ok((serde_json::from_slice(&line)?, listeners))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_arrives_as_it_was_told() {
        let arrived = |outcome| outcome_from_json(&outcome_to_json(&outcome)).expect("an outcome");
        assert!(matches!(arrived(Ok(Served::new(7))), Ok(Served { cut: 7, .. })));
        for (error, may_retry) in [(StartError::new("why"), false), (StartError::retry("why"), true)] {
            let Err(ServeError::Start(error)) = arrived(Err(error.into())) else {
                panic!("it did not start")
            };
            assert_eq!(error.may_retry(), may_retry);
            assert_eq!(error.source().expect("the reason").to_string(), "why");
        }
        let refused = arrived(Err(ServeError::io("listen")(io::Error::other("refused"))));
        assert!(
            matches!(&refused, Err(error @ ServeError::Io { .. }) if error.to_string().ends_with("refused"))
        );
    }

    #[test]
    fn long_orders_arrive_with_their_sockets() {
        let (here, there) = UnixStream::pair().unwrap();
        let sockets: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let order = json!("x".repeat(20_000));
        send(&here, &order, &sockets.into_iter().map(Listener::from).collect::<Vec<_>>()).unwrap();
        let (received, listeners) = receive(&there).unwrap();
        assert_eq!(received, order);
        let arrived: Vec<_> = listeners
            .iter()
            .map(|listener| match listener {
                Listener::Tcp(socket) => socket.local_addr().unwrap(),
                other => panic!("not TCP: {other:?}"),
            })
            .collect();
        assert_eq!(arrived, addresses);
    }
}

//! Several processes at one address, and restarts that no client notices.
//!
//! Each case starts real processes: this binary again, which is then the program [`served`] and nothing else.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::{Child, ChildStderr, ChildStdin, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use http::Response;
use libtest_mimic::{Arguments, Trial};
use rustix::{
    io::FdFlags,
    process::{Pid, Signal, kill_process},
};
use varvel::{AsyncBody, app_fn};
use varvel_serve::Program;

const CHILD: &str = "TEST_RESTARTS_CHILD";

const SERVERS: [&str; 2] = ["evented", "threaded"];

type Case = fn(&str);

/// Functions and their names.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => { &[$((stringify!($case), $case as Case)),+] };
}

/// Only a failing test ever waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        return served();
    }
    let cases: &[(&str, Case)] = cases![
        a_second_process_serves_beside_the_first,
        a_process_that_leaves_others_loses_no_connection,
        a_restart_on_a_passed_socket_loses_no_connection,
        a_request_that_arrives_behind_the_stop_on_a_new_connection_is_answered,
    ];
    let trials = cases.iter().flat_map(|(name, case)| {
        SERVERS.map(|server| {
            Trial::test(format!("{name}::{server}"), move || {
                case(server);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A program that says who answers. It ends with whoever started it.
fn served() -> ExitCode {
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    Program::new(app_fn(|_, _| async { Ok(Response::new(AsyncBody::full(std::process::id().to_string()))) }))
        .run()
}

/// A process that serves; killed if a test fails.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: SocketAddr,
    /// The process lives as long as this.
    _stdin: ChildStdin,
}

impl Running {
    fn start(server: &str, bind: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(CHILD, "1")
            .args(["--server", server, "--threads", "2", "--bind", bind])
            .args(options)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut running =
            Self { _stdin: child.stdin.take().unwrap(), child, stderr, address: ([0; 4], 0).into() };
        let mut line = String::new();
        running.stderr.read_line(&mut line).unwrap();
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once(','));
        running.address = address.unwrap_or_else(|| panic!("{line}")).0.parse().unwrap();
        running
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Has it stop, and waits until it has.
    fn stop(mut self) {
        self.terminate();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("stopped; every exchange was finished\n"), "{said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| format!("connect: {e}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// The answer to one request, the only one of its connection: the id of a process.
fn ask(mut stream: TcpStream) -> Result<u32, String> {
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).map_err(|e| format!("write: {e}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| format!("read: {e} after {answer:?}"))?;
    let id = answer.split_once("\r\n\r\n").and_then(|(_, body)| body.parse().ok());
    id.ok_or_else(|| format!("answer: {answer:?}"))
}

/// Clients that connect without pause.
struct Clients {
    enough: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(address: SocketAddr) -> Self {
        let mut clients = Self {
            enough: Arc::default(),
            answers: Arc::default(),
            failures: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..8 {
            // A network is between most clients and their server.
            let distance = Duration::from_millis(number % 4);
            let (enough, answers) = (Arc::clone(&clients.enough), Arc::clone(&clients.answers));
            let failures = Arc::clone(&clients.failures);
            clients.threads.push(thread::spawn(move || {
                while !enough.load(SeqCst) {
                    let stream = connect(address).inspect(|_| thread::sleep(distance));
                    match stream.and_then(ask) {
                        Ok(_) => _ = answers.fetch_add(1, SeqCst),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            }));
        }
        clients
    }

    /// Waits until so many more have tried.
    fn go_on(&self, count: usize) {
        let tried = || self.answers.load(SeqCst) + self.failures.lock().unwrap().len();
        let enough = tried() + count;
        while tried() < enough {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends them; every connection they ever tried must have been answered.
    fn end(self) {
        self.enough.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failures = self.failures.lock().unwrap();
        let answers = self.answers.load(SeqCst);
        assert!(
            failures.is_empty(),
            "{} of {} were not answered: {failures:#?}",
            failures.len(),
            answers + failures.len()
        );
    }
}

fn a_second_process_serves_beside_the_first(server: &str) {
    let first = Running::start(server, "127.0.0.1:0", &["--reuse-port"]);
    let second = Running::start(server, &first.address.to_string(), &["--reuse-port"]);
    for running in [&first, &second] {
        while connect(first.address).and_then(ask).unwrap() != running.child.id() {}
    }
    first.stop();
    second.stop();
}

fn a_process_that_leaves_others_loses_no_connection(server: &str) {
    let stays = Running::start(server, "127.0.0.1:0", &["--reuse-port"]);
    let clients = Clients::start(stays.address);
    for _ in 0..3 {
        let leaves = Running::start(server, &stays.address.to_string(), &["--reuse-port"]);
        clients.go_on(200);
        leaves.stop();
    }
    clients.end();
    stays.stop();
}

fn a_restart_on_a_passed_socket_loses_no_connection(server: &str) {
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::io::fcntl_setfd(&passed, FdFlags::empty()).unwrap();
    let bind = format!("fd:{}", passed.as_raw_fd());
    let mut running = Running::start(server, &bind, &[]);
    let clients = Clients::start(running.address);
    for _ in 0..10 {
        let next = Running::start(server, &bind, &[]);
        clients.go_on(200);
        mem::replace(&mut running, next).stop();
    }
    clients.end();
    running.stop();
}

fn a_request_that_arrives_behind_the_stop_on_a_new_connection_is_answered(server: &str) {
    let running = Running::start(server, "127.0.0.1:0", &[]);
    let stream = connect(running.address).unwrap();
    running.terminate();
    // Others are refused from the moment when everybody who came before was let in.
    while TcpStream::connect(running.address).is_ok() {}
    assert_eq!(ask(stream), Ok(running.child.id()));
    running.stop();
}

//! Several processes at one address, and restarts that no client notices.

use std::{
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::io::FdFlags;

use crate::running::{Running, ask, connect};

pub(crate) fn a_second_process_serves_beside_the_first(server: &str) {
    let first = Running::start(server, "127.0.0.1:0", &["--reuse-port"]);
    let second = Running::start(server, &first.address.to_string(), &["--reuse-port"]);
    for running in [&first, &second] {
        while connect(first.address).and_then(ask).unwrap() != running.id() {}
    }
    first.stop();
    second.stop();
}

pub(crate) fn a_process_that_leaves_others_loses_no_connection(server: &str) {
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

pub(crate) fn a_restart_on_a_passed_socket_loses_no_connection(server: &str) {
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

pub(crate) fn a_request_that_arrives_behind_the_stop_on_a_new_connection_is_answered(server: &str) {
    let running = Running::start(server, "127.0.0.1:0", &[]);
    let stream = connect(running.address).unwrap();
    running.terminate();
    // Others are refused from the moment when everybody who came before was let in.
    while TcpStream::connect(running.address).is_ok() {}
    assert_eq!(ask(stream), Ok(running.id()));
    running.stop();
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

//! Clients, each of whose requests has to be answered.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use crate::program::{PATIENCE, wait_until};

/// The answer to the only request of a connection.
pub(crate) fn ask(address: SocketAddr, path: &str) -> Result<String, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| format!("connect: {e}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask_on(stream, path)
}

pub(crate) fn ask_on(mut stream: impl Read + Write, path: &str) -> Result<String, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| format!("write: {e}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| format!("read: {e} after {answer:?}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(format!("answer: {answer:?}")),
    }
}

/// Several that ask without pause.
pub(crate) struct Clients {
    enough: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (enough, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let failures = Arc::<Mutex<Vec<String>>>::default();
        let threads = (0..4).map(|_| {
            let (enough, answers, failures) = (enough.clone(), answers.clone(), failures.clone());
            thread::spawn(move || {
                while !enough.load(SeqCst) {
                    match ask(address, "/") {
                        Ok(_) => _ = answers.fetch_add(1, SeqCst),
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { enough, answers, failures, threads }
    }

    /// Waits until so many more have tried.
    pub(crate) fn go_on(&self, count: usize) {
        let tried = || self.answers.load(SeqCst) + self.failures.lock().unwrap().len();
        let enough = tried() + count;
        wait_until("clients go on", || tried() >= enough);
    }

    /// Ends them. Whatever they asked must have been answered; returns how often that was.
    pub(crate) fn end(self) -> usize {
        self.enough.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let (failures, answers) = (self.failures.lock().unwrap(), self.answers.load(SeqCst));
        assert!(failures.is_empty(), "{} were not answered beside {answers}: {failures:#?}", failures.len());
        answers
    }
}

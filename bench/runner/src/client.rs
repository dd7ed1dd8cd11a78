//! The load client, as other processes.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use varvel_bench_load::drive::Measured;

use crate::{
    machine,
    servers::{Programs, Running},
};

/// No client that is well is silent for longer, beyond the time in which it measures.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that loads a server, until it is done or dropped.
#[derive(Debug)]
pub(crate) struct Driving {
    client: Client,
    patience: Duration,
}

impl Driving {
    /// Loads a server for so many seconds, as the options of `load drive` say.
    pub(crate) fn start(
        programs: &Programs,
        processors: &[usize],
        server: &Running,
        seconds: f64,
        options: &str,
    ) -> io::Result<Self> {
        let mut command = Command::new(programs.load());
        command.args(["drive", &server.address.to_string(), "--watch", &server.pid().to_string()]);
        command.args(["--seconds", &seconds.to_string()]).args(options.split_whitespace());
        let patience = PATIENCE + Duration::from_secs_f64(seconds);
        Ok(Self { client: Client::start(command, processors)?, patience })
    }

    /// Has clients with the option `--together` begin when the last of them is ready.
    pub(crate) fn begin_together(clients: &mut [Self]) -> io::Result<()> {
        for each in &mut *clients {
            each.client.line(each.patience)?;
        }
        clients.iter_mut().for_each(|each| each.client.release());
        Ok(())
    }

    /// Waits until it is done.
    pub(crate) fn finish(mut self) -> io::Result<Measured> {
        Ok(serde_json::from_str(&self.client.line(self.patience)?)?)
    }
}

/// Clients that hold idle connections until they are released or dropped.
#[derive(Debug)]
pub(crate) struct Crowd(Vec<Holding>);

#[derive(Debug)]
struct Holding {
    client: Client,
    wanted: usize,
    open: usize,
}

impl Crowd {
    /// Begins to open connections, shared by the servers.
    pub(crate) fn start(
        programs: &Programs,
        processors: &[usize],
        servers: &[Running],
        connections: usize,
    ) -> io::Result<Self> {
        let part =
            |index: usize| connections * (index + 1) / servers.len() - connections * index / servers.len();
        let hold = |(index, server): (usize, &Running)| {
            let wanted = part(index);
            let mut command = Command::new(programs.load());
            command.args(["hold", &server.address.to_string(), "--connections", &wanted.to_string()]);
            Ok(Holding { client: Client::start(command, processors)?, wanted, open: 0 })
        };
        servers.iter().enumerate().map(hold).collect::<io::Result<_>>().map(Self)
    }

    /// Waits until all are open. `watch` is told every now and then how many there are, and may give up.
    pub(crate) fn gather(&mut self, mut watch: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        let (mut open, mut since) = (0, Instant::now());
        while self.0.iter().any(|each| each.open < each.wanted) {
            thread::sleep(STEP);
            for each in &mut self.0 {
                while let Some(line) = each.client.next_line()? {
                    each.open = line.trim().parse().map_err(io::Error::other)?;
                }
            }
            let before = std::mem::replace(&mut open, self.0.iter().map(|each| each.open).sum());
            if open > before {
                since = Instant::now();
            } else if since.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("there are no more than {open} connections")));
            }
            watch(open)?;
        }
        Ok(())
    }

    /// Ends it; how many of a hundred connections still answered, where fewest did.
    pub(crate) fn release(mut self) -> io::Result<usize> {
        let mut alive = 100;
        for each in &mut self.0 {
            each.client.release();
            let percent = each.client.line(PATIENCE)?.trim().parse().map_err(io::Error::other)?;
            alive = alive.min(percent);
        }
        Ok(alive)
    }
}

/// A process, and what it prints.
#[derive(Debug)]
struct Client {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    fn start(mut command: Command, processors: &[usize]) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = machine::on(processors, || command.spawn())?;
        let (tell, lines) = channel();
        if let Some(output) = process.stdout.take() {
            // So that waiting for a line has an end. The thread has one with the process.
            thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
            });
        }
        Ok(Self { input: process.stdin.take(), process, lines })
    }

    /// The next line.
    fn line(&mut self, patience: Duration) -> io::Result<String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                Err(io::Error::other(format!("the load client was silent for {} s", patience.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.failure()),
        }
    }

    /// The same if it is there.
    fn next_line(&mut self) -> io::Result<Option<String>> {
        match self.lines.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.failure()),
        }
    }

    /// What it said when it ended.
    fn failure(&mut self) -> io::Error {
        let _ = self.process.kill();
        let mut said = String::new();
        if let Some(mut errors) = self.process.stderr.take() {
            let _ = errors.read_to_string(&mut said);
        }
        io::Error::other(said.trim().to_owned())
    }

    /// Ends its standard input, for which it may wait.
    fn release(&mut self) {
        self.input = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

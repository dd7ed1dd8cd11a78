//! A server that runs already and is known by its URL alone.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use varvel_conformance::{
    Acquaintance, Entry, Finding, Mark, Measure, Outcome, Report,
    corpus::{Delivery, Target, Vector},
};
use varvel_spec::{Clause, ids};

use crate::{arguments::Run, progress::Progress, runner::run_all};

/// How many vectors run at the same time. Few: the server may have as few threads.
const JOBS: u16 = 4;

/// How often a server may leave a plain request unanswered before it is taken for dead, and the time between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// What is left out of a safe run: longer than this it is a flood.
const SAFE_BYTES_MAX: usize = 16 * 1024;

/// Runs the vectors among `entries` against the server at `url`.
pub(crate) fn check(url: &str, run: &Run, entries: &[Entry], complete: bool) -> Result<Report, String> {
    let address = resolve(url)?;
    let is_local = address.ip().is_loopback();
    if !is_local && !run.i_have_consent {
        return Err(format!(
            "{address} is not a loopback address. Half of what is sent are attacks; if whoever runs that server agrees, \
             say so by --i-have-consent"
        ));
    }
    let vectors: Vec<Entry> = entries.iter().filter(|entry| entry.vector().is_some()).copied().collect();
    if vectors.is_empty() {
        return Err(
            "by URL only vectors can be run, and none is selected; checks look into a server, see --server"
                .to_owned(),
        );
    }
    let safe = run.safe || !is_local && !run.full;
    let known = Acquaintance::make(address, run.timeout, !safe)
        .map_err(|failure| format!("no HTTP server answers GET / at {address}: {}", failure.brief()))?;

    let began = Instant::now();
    let server = Server::new(address, &known, run, safe);
    let progress = Progress::new(url, vectors.len());
    let findings =
        run_all(&vectors, run.jobs.unwrap_or(JOBS).into(), &progress, |entry| server.find(entry, &progress));
    let cut_short = server.gone.into_inner();
    Ok(Report {
        server: known.server.clone(),
        complete,
        remarks: remarks(&known, run, safe),
        cut_short,
        alone: alone(url, run),
        took: began.elapsed(),
        ..Report::of(url, Measure::Http, findings)
    })
}

/// The command that runs one vector in the same way, up to its id.
fn alone(url: &str, run: &Run) -> String {
    let options = [
        (run.no_app, " --no-app"),
        (run.safe, " --safe"),
        (run.full, " --full"),
        (run.i_have_consent, " --i-have-consent"),
    ];
    let given: String =
        options.into_iter().filter(|(is_given, _)| *is_given).map(|(_, option)| option).collect();
    format!("varvel-conformance run --url {url}{given} --check")
}

/// The address in `http://HOST[:PORT][/]`.
fn resolve(url: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{url:?} is no URL of the form http://HOST:PORT");
    if url.starts_with("https:") {
        return Err("TLS is not spoken; point --url at a listener without it".to_owned());
    }
    let authority = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut addresses = with_port.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
    addresses.next().ok_or_else(|| format!("{authority} has no address"))
}

fn remarks(known: &Acquaintance, run: &Run, safe: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    if !run.no_app && !known.describes {
        remarks.push(
            "GET / is not answered with a description of the request: judged as by --no-app, by what goes over the wire \
             alone. conformance/suite/ROUTES.md tells what to serve"
                .to_owned(),
        );
    }
    if !known.reads_bodies {
        remarks.push("it answers before it has read the body: faults of bodies are left out".to_owned());
    }
    if !known.keeps_alive {
        remarks
            .push("it closes the connection behind each answer: what needs it open is left out".to_owned());
    }
    if safe {
        remarks.push(
            "a safe run: smuggling, pipelining and floods are left out; --full includes them".to_owned(),
        );
        return remarks;
    }
    if known.keeps_alive && !known.pipelines {
        remarks
            .push("it does not answer two requests that arrive together: pipelining is left out".to_owned());
    }
    if !known.answers_ahead_of_noise {
        remarks.push(
            "a good request loses its answer if bytes that are no request arrive right behind it; this is told here, and \
             refusals are not delivered behind good requests"
                .to_owned(),
        );
    }
    if !known.answers_ahead_of_more {
        remarks.push(
            "a request with `Connection: close` loses its answer if another arrives right behind it; this is told here, \
             and the last request of a connection is not delivered ahead of others"
                .to_owned(),
        );
    }
    remarks
}

/// The server, while it lives.
struct Server {
    address: SocketAddr,
    target: Target,
    known: Acquaintance,
    safe: bool,
    asking: Mutex<()>,
    /// What is told when it is there no more.
    gone: OnceLock<String>,
}

impl Server {
    fn new(address: SocketAddr, known: &Acquaintance, run: &Run, safe: bool) -> Self {
        let mut target = Target::new(address).with_limit(run.timeout);
        if run.no_app || !known.describes {
            target = target.without_routes();
        }
        if safe || !known.pipelines {
            target = target.without_delivery(Delivery::Behind).without_delivery(Delivery::Ahead);
        }
        Self { address, target, known: known.clone(), safe, asking: Mutex::default(), gone: OnceLock::new() }
    }

    fn find(&self, entry: Entry, progress: &Progress) -> Finding {
        let began = Instant::now();
        let left =
            |mark, reason: String| Finding { entry, mark, reason, failure: None, took: Duration::ZERO };
        let Some(vector) = entry.vector() else {
            return left(Mark::LeftOut, "needs a server of the contract".to_owned());
        };
        if self.gone.get().is_some() {
            return left(Mark::NotRun, "the server is gone".to_owned());
        }
        if let Some(reason) = self.leaves_out(vector) {
            return left(Mark::LeftOut, reason.to_owned());
        }
        match self.target_of(vector).examine(vector) {
            Outcome::Failed { failure, transcript } => {
                self.see_whether_it_lives(progress);
                let mark = entry.blame(Measure::Http, &failure);
                Finding {
                    failure: Some((failure, transcript)),
                    took: began.elapsed(),
                    ..left(mark, String::new())
                }
            }
            Outcome::DoesNotApply(reason) => left(Mark::LeftOut, reason),
            Outcome::Passed => Finding { took: began.elapsed(), ..left(Mark::Passed, String::new()) },
            Outcome::NotStarted { .. } | Outcome::NotRun => {
                left(Mark::NotRun, "it was not started".to_owned())
            }
        }
    }

    /// What is known to go wrong with any vector in some delivery is not held against each of them.
    fn target_of(&self, vector: &Vector) -> Target {
        let mut target = self.target;
        if vector.may_be_refused() && !self.known.answers_ahead_of_noise {
            target = target.without_delivery(Delivery::Behind);
        }
        if !vector.needs_persistence() && !self.known.answers_ahead_of_more {
            target = target.without_delivery(Delivery::Ahead);
        }
        target
    }

    /// Why a vector is not run, if it is not.
    fn leaves_out(&self, vector: &Vector) -> Option<&'static str> {
        if self.known.describes && vector.routes().any(|route| !self.known.routes.contains(&route)) {
            return Some("asks for a route that the server does not serve");
        }
        if !self.known.reads_bodies && vector.needs_a_reader() {
            return Some("the server answers before it has read the body");
        }
        if !self.known.keeps_alive && vector.needs_persistence() {
            return Some("the server closes the connection behind each answer");
        }
        self.safe.then(|| unsafe_because(vector)).flatten()
    }

    /// After a failure: a server that accepts no connections, or answers nothing any more, is not asked further.
    fn see_whether_it_lives(&self, progress: &Progress) {
        // One at a time, or a server that is merely slow would be asked from all sides.
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if self.gone.get().is_some() || self.target.still_serves().is_ok() {
                return;
            }
            // A supervisor may be starting another one.
            thread::sleep(PAUSE);
        }
        let running = progress.running().join(", ");
        let _ = self.gone.set(format!(
            "the server at {} answers no plain request any more; these vectors were being run when it ceased: {running}",
            self.address
        ));
    }
}

/// The clauses about where a message ends. A shared front end may disagree with the server about that, and then take what
/// is behind for the request of somebody else.
const FRAMING: &[&Clause] = &[ids::H8, ids::H13, ids::H16, ids::H17, ids::H20, ids::B2, ids::B3];

/// Why a safe run leaves out a vector, if it does.
fn unsafe_because(vector: &Vector) -> Option<&'static str> {
    let is_doubtful = vector.may_be_refused() || vector.needs_a_reader();
    let is_about_framing = vector.clauses.iter().any(|clause| FRAMING.contains(clause));
    if vector.group == "smuggling" || is_doubtful && is_about_framing {
        return Some("where the request ends may be in doubt behind a shared front end; --full runs it");
    }
    if vector.answers() > 1 {
        return Some("sends several requests on a connection; --full runs it");
    }
    (vector.bytes_sent() > SAFE_BYTES_MAX).then_some("sends much; --full runs it")
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn a_url_is_host_and_port_and_no_more() {
        for (url, address) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://127.0.0.1:8000/", "127.0.0.1:8000"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(resolve(url).map(|address| address.to_string()), Ok(address.to_owned()), "{url}");
        }
        for url in
            ["", "http://", "localhost:80", "ftp://localhost", "http://localhost/path", "http://a@localhost"]
        {
            assert!(resolve(url).is_err(), "{url}");
        }
    }
}

//! A server that runs already and is known by its URL alone.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use varvel_conformance::{
    Acquaintance, Entry, Finding, Mark, Measure, Outcome, Report,
    corpus::{Delivery, Target, Vector},
};

use crate::{arguments::Run, progress::Progress, runner::run_all};

/// How many vectors run at the same time. Few: the server may have as few threads.
const JOBS: u16 = 4;

/// How often in a row a server may leave a plain request unanswered before it is taken for dead.
const SILENCES: u32 = 3;

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
    let known = Acquaintance::make(address, run.timeout)
        .map_err(|failure| format!("no HTTP server answers GET / at {address}: {}", failure.brief()))?;

    let began = Instant::now();
    let server = Server::new(address, &known, run, is_local);
    let progress = Progress::new(url, vectors.len());
    let findings =
        run_all(&vectors, run.jobs.unwrap_or(JOBS).into(), &progress, |entry| server.find(entry, &progress));
    let cut_short = server.gone.into_inner();
    Ok(Report {
        server: known.server.clone(),
        complete,
        remarks: remarks(&known, run, server.safe),
        cut_short,
        alone: format!("varvel-conformance run --url {url} --check"),
        took: began.elapsed(),
        ..Report::of(url, Measure::Http, findings)
    })
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
    } else if !known.pipelines {
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
    if safe {
        remarks.push(
            "a safe run: smuggling, pipelining and floods are left out; --full includes them".to_owned(),
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
    silences: Mutex<u32>,
    /// What is told when it is there no more.
    gone: OnceLock<String>,
}

impl Server {
    fn new(address: SocketAddr, known: &Acquaintance, run: &Run, is_local: bool) -> Self {
        let safe = run.safe || !is_local && !run.full;
        let mut target = Target::new(address).with_limit(run.timeout);
        if run.no_app || !known.describes {
            target = target.without_routes();
        }
        if safe || !known.pipelines {
            target = target.without_delivery(Delivery::Behind).without_delivery(Delivery::Ahead);
        }
        Self { address, target, known: known.clone(), safe, silences: Mutex::new(0), gone: OnceLock::new() }
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
            _ => Finding { took: began.elapsed(), ..left(Mark::Passed, String::new()) },
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
        if self.safe && (vector.clauses.contains(&varvel_spec::ids::H8) || vector.group == "smuggling") {
            return Some("could be taken for two requests behind a shared front end; --full runs it");
        }
        if self.safe && vector.bytes_sent() > SAFE_BYTES_MAX {
            return Some("sends much; --full runs it");
        }
        None
    }

    /// After a failure: a server that accepts no connections, or answers nothing any more, is not asked further.
    fn see_whether_it_lives(&self, progress: &Progress) {
        let mut silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        match self.target.still_serves() {
            Ok(()) => *silences = 0,
            Err(failure) => {
                *silences += 1;
                if *silences >= SILENCES {
                    let running = progress.running().join(", ");
                    let _ = self.gone.set(format!(
                        "the server at {} answers no plain request any more ({}); these vectors were being run when it \
                         ceased: {running}",
                        self.address,
                        failure.brief()
                    ));
                }
            }
        }
    }
}

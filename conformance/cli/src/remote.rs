//! A server that runs already and is known by its URL alone.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use varvel_conformance::{
    Acquaintance, Entry, Evidence, Finding, Mark, Measure, Outcome, Report,
    corpus::{Delivery, Target, Vector},
};
use varvel_spec::{Clause, ids};

use crate::{
    arguments::{Run, TIMEOUT},
    progress::Progress,
    runner::run_all,
};

/// How many vectors run at the same time. Few: the server may have as few threads.
const JOBS: u16 = 4;

/// How often a server may leave a plain request unanswered before it is taken for dead, and the time between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// What is left out of a safe run: longer than this it is a flood.
const SAFE_BYTES_MAX: usize = 16 * 1024;

/// Runs the vectors among `entries` against the server at `url`.
pub(crate) fn check(url: &str, run: &Run, entries: &[Entry], complete: bool) -> Result<Report, String> {
    let addresses = resolve(url)?;
    let vectors: Vec<Entry> = entries.iter().filter(|entry| entry.vector().is_some()).copied().collect();
    if vectors.is_empty() {
        return Err(
            "by URL only vectors can be run, and none is selected; checks look into a server, see --server"
                .to_owned(),
        );
    }
    let (address, safe, known) = reach(&addresses, run)?;

    let began = Instant::now();
    let server = Server::new(address, &known, run, safe);
    let progress = Progress::new(url, vectors.len());
    let findings = run_all(&vectors, jobs(run), &progress, |entry| server.find(entry));
    let mut remarks = remarks(&known, run, safe);
    let disturbed = server.disturbed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !disturbed.is_empty() {
        remarks.push(format!(
            "failed beside others and passed alone, as of a server that serves one connection at a time, or that another \
             of them ended: {}",
            disturbed.join(", ")
        ));
    }
    let cut_short = server.gone.into_inner();
    Ok(Report {
        server: known.server.clone(),
        complete,
        remarks,
        cut_short,
        command: command(url, run),
        took: began.elapsed(),
        ..Report::of(url, Measure::Http, findings)
    })
}

fn jobs(run: &Run) -> usize {
    run.jobs.unwrap_or(JOBS).into()
}

/// The command that makes such a run, without what chooses vectors.
fn command(url: &str, run: &Run) -> String {
    let options = [
        (run.no_app, " --no-app"),
        (run.safe, " --safe"),
        (run.full, " --full"),
        (run.i_have_consent, " --i-have-consent"),
    ];
    let given: String =
        options.into_iter().filter(|(is_given, _)| *is_given).map(|(_, option)| option).collect();
    let timeout = match run.timeout {
        TIMEOUT => String::new(),
        other => format!(" --timeout {}", other.as_secs_f64()),
    };
    format!("varvel-conformance run --url {url}{given}{timeout}")
}

/// The first of these addresses at which an HTTP server answers, whether a run there is a safe one, and what is known about
/// that server. Nothing is sent to an address that is not loopback unless that is permitted.
fn reach(addresses: &[SocketAddr], run: &Run) -> Result<(SocketAddr, bool, Acquaintance), String> {
    let permitted = |address: &&SocketAddr| address.ip().is_loopback() || run.i_have_consent;
    let mut problems = Vec::new();
    for address in addresses.iter().filter(permitted) {
        let safe = run.safe || !address.ip().is_loopback() && !run.full;
        match meet(*address, run.timeout, safe) {
            Ok(known) => return Ok((*address, safe, known)),
            Err(problem) => problems.push(problem),
        }
    }
    let foreign = addresses.iter().find(|address| !permitted(address));
    problems.extend(foreign.map(|address| {
        format!(
            "{address} is not a loopback address. Half of what is sent are attacks; if whoever runs that server agrees, \
             say so by --i-have-consent"
        )
    }));
    Err(problems.join("; "))
}

/// Makes the acquaintance of a server.
fn meet(address: SocketAddr, limit: Duration, safe: bool) -> Result<Acquaintance, String> {
    let nobody = |why: String| format!("no HTTP server answers at {address}: {why}");
    // Said here in the words of the system's error, for whoever forgot to start it.
    TcpStream::connect_timeout(&address, limit).map_err(|error| nobody(error.kind().to_string()))?;
    Acquaintance::make(address, limit, !safe).map_err(|failure| nobody(failure.brief()))
}

/// The addresses of the host in `http://HOST[:PORT][/]`, of which there is at least one.
fn resolve(url: &str) -> Result<Vec<SocketAddr>, String> {
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
    let addresses = with_port.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
    Some(addresses.collect())
        .filter(|addresses: &Vec<_>| !addresses.is_empty())
        .ok_or_else(|| format!("{authority} has no address"))
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
    jobs: usize,
    /// Read by vectors that run beside others, written by one that runs alone.
    turn: RwLock<()>,
    /// The vectors that were begun and have no finding yet.
    in_flight: Mutex<Vec<Entry>>,
    /// The ids of those that failed beside others and passed alone.
    disturbed: Mutex<Vec<String>>,
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
        Self {
            address,
            target,
            known: known.clone(),
            safe,
            jobs: jobs(run),
            turn: RwLock::default(),
            in_flight: Mutex::default(),
            disturbed: Mutex::default(),
            gone: OnceLock::new(),
        }
    }

    fn find(&self, entry: Entry) -> Finding {
        let Some(vector) = entry.vector() else {
            return Finding::of(entry, Mark::LeftOut).because("needs a server of the contract");
        };
        if let Some(reason) = self.leaves_out(vector) {
            return Finding::of(entry, Mark::LeftOut).because(reason);
        }
        let began = Instant::now();
        let beside_others = self.turn.read().unwrap_or_else(PoisonError::into_inner);
        if self.gone.get().is_some() {
            return Finding::of(entry, Mark::NotRun).because("the server is gone");
        }
        self.in_flight().push(entry);
        let outcome = self.target_of(vector).examine(vector);
        let finding = match outcome {
            Outcome::Failed { .. } => {
                drop(beside_others);
                self.find_alone(entry, vector, outcome)
            }
            outcome => finding(entry, outcome),
        };
        self.in_flight().retain(|other| *other != entry);
        Finding { took: began.elapsed(), ..finding }
    }

    /// After a failure beside others, who may be to blame for it: the same again while nothing else runs. Whoever kills the
    /// server is found so if somebody starts it again; if nobody does, nothing is held against those that ran together.
    fn find_alone(&self, entry: Entry, vector: &Vector, beside_others: Outcome) -> Finding {
        let _alone = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        let ceased = "the server ceased while this vector and others were being run";
        if self.gone.get().is_some() {
            return Finding::of(entry, Mark::NotRun).because(ceased);
        }
        let suspects = self.in_flight().clone();
        self.see_whether_it_lives(&suspects);
        match self.gone.get() {
            Some(_) if suspects.len() > 1 => return Finding::of(entry, Mark::NotRun).because(ceased),
            Some(_) => return finding(entry, beside_others),
            None if self.jobs == 1 => return finding(entry, beside_others),
            None => {}
        }
        let outcome = self.target_of(vector).examine(vector);
        match outcome {
            Outcome::Failed { .. } => self.see_whether_it_lives(&[entry]),
            _ => self.disturbed.lock().unwrap_or_else(PoisonError::into_inner).push(entry.id()),
        }
        finding(entry, outcome)
    }

    fn in_flight(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A server that accepts no connections, or answers nothing any more, is not asked further; these may be to blame.
    fn see_whether_it_lives(&self, suspects: &[Entry]) {
        for _ in 0..TRIES {
            if self.target.still_serves().is_ok() {
                return;
            }
            // A supervisor may be starting another one.
            thread::sleep(PAUSE);
        }
        let suspects: Vec<String> = suspects.iter().map(|entry| entry.id()).collect();
        let _ = self.gone.set(format!(
            "the server at {} answers no plain request any more; being run when it ceased: {}",
            self.address,
            suspects.join(", ")
        ));
    }
}

/// How the outcome of a vector counts for a foreign server.
fn finding(entry: Entry, outcome: Outcome) -> Finding {
    match outcome {
        Outcome::Passed => Finding::of(entry, Mark::Passed),
        Outcome::DoesNotApply(reason) => Finding::of(entry, Mark::LeftOut).because(reason),
        Outcome::NotStarted { .. } | Outcome::NotRun => {
            Finding::of(entry, Mark::NotRun).because("it was not started")
        }
        Outcome::Failed { failure, transcript } => {
            let mark = entry.blame(Measure::Http, &failure);
            Finding { evidence: Some(Evidence { failure, transcript }), ..Finding::of(entry, mark) }
        }
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
            let resolved = resolve(url).map(|addresses| addresses[0].to_string());
            assert_eq!(resolved, Ok(address.to_owned()), "{url}");
        }
        for url in
            ["", "http://", "localhost:80", "ftp://localhost", "http://localhost/path", "http://a@localhost"]
        {
            assert!(resolve(url).is_err(), "{url}");
        }
    }
}

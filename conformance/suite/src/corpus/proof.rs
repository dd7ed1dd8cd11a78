//! Whether the corpus can be trusted: that each line of each vector is looked at, but for those behind a choice of
//! answers, and that no vector is met by all of four servers which are wrong in a general way.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use http::{Method, Request, Version};
use varvel::{
    Address, App, AppFactory, AppResult, ConnInfo, Exchange, FinishHook, Launch, Listener, ReadBody, Scope,
    ServeError, Served, Server, Worker,
};

use super::{
    Delivery, Examined, Target, Vector,
    expected::{After, Answer, Call, Expected, Fact, Seen},
    vector::Step,
    vectors,
};
use crate::{
    LIMIT, Outcome, Plan, Probe, Running, Setup, Subject, Suite, Tuning,
    broken::Reference,
    client::{AN_ANSWER, AN_END},
};

/// Whether a vector, delivered whole, comes out well.
fn is_met(vector: &Vector, running: &Running, limit: Duration) -> bool {
    examined(vector, running, limit) == Outcome::Passed
}

fn examined(vector: &Vector, running: &Running, limit: Duration) -> Outcome {
    let target = whole(running.address()).with_limit(limit);
    Examined { target, running: Some(running) }.examine(vector)
}

/// A target for vectors that are delivered whole.
fn whole(address: SocketAddr) -> Target {
    let others = Delivery::ALL.into_iter().filter(|delivery| *delivery != Delivery::Whole);
    others.fold(Target::new(address), Target::without_delivery)
}

/// Judges all vectors, some at a time, and gathers what is said of them.
fn all(judge: impl Fn(&Vector) -> Vec<String> + Sync) -> Vec<String> {
    let (next, said) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(vector) = vectors().get(next.fetch_add(1, Ordering::Relaxed)) {
                    let words = judge(vector);
                    said.lock().unwrap_or_else(PoisonError::into_inner).extend(words);
                }
            });
        }
    });
    said.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Those that the reference server does not meet, as its own test says (`tests/corpus.rs`).
const NOT_MET: [&str; 2] = ["timeouts/body-in-drops", "smuggling/behind-a-connect-that-is-refused"];

#[test]
fn every_line_of_every_vector_is_looked_at() {
    crate::silence_planned_panics();
    let suite = Suite::new(Arc::new(Reference::new()));
    let unseen = all(|vector| {
        let running = suite.routes(vector).unwrap();
        let id = vector.id();
        match (is_met(vector, &running, LIMIT), NOT_MET.contains(&&*id)) {
            (true, false) => {}
            (false, true) => return Vec::new(),
            (true, true) => return vec![format!("{id} is met, and stands in NOT_MET")],
            (false, false) => return vec![format!("{id} is not met as it is")],
        }
        let unfound = |(what, wrong): &(String, Vector)| {
            how_found(what, wrong, &running).err().map(|why| format!("{id}: {what}: {why}"))
        };
        falsified(vector).iter().filter_map(unfound).collect()
    });
    assert!(unseen.is_empty(), "{} lines could say anything:\n{}", unseen.len(), unseen.join("\n"));
}

/// Sees that a falsehood is found by what came: a server that is late, as any is on a machine that is busy, proves
/// nothing. Only that something comes where nothing does is found by waiting for it.
fn how_found(what: &str, wrong: &Vector, running: &Running) -> Result<(), String> {
    let awaited = AWAITED.iter().find(|(end, _)| what.ends_with(end)).map(|(_, awaited)| *awaited);
    // What is not to come is not waited for very long; but deadlines that are set must have time to pass.
    let patience = Duration::from_millis(if wrong.settings.is_empty() { 400 } else { 1500 });
    let limits = if awaited.is_some() { vec![patience, LIMIT] } else { vec![LIMIT] };
    let mut why = String::new();
    for limit in limits {
        match examined(wrong, running, limit) {
            Outcome::Failed { failure, .. } if !failure.nothing_came() => return Ok(()),
            Outcome::Failed { failure, .. } => {
                if awaited.is_some_and(|awaited| failure.expected.contains(awaited)) {
                    return Ok(());
                }
                why = format!("found by waiting alone: {}", failure.brief());
            }
            Outcome::Passed => return Err("it passes".to_owned()),
            other => return Err(format!("{other:?}")),
        }
    }
    Err(why)
}

const ANSWER: &str = "an answer instead of silence";
const END: &str = "an end of what stays";
const BODY: &str = "with which there would be a body";

/// The falsehoods that are found by waiting, and what is waited for then. Which body follows the head of an answer is told
/// by the method.
const AWAITED: [(&str, &str); 3] = [(ANSWER, AN_ANSWER), (END, AN_END), (BODY, "")];

/// The vector with one of its lines turned into something wrong, for each of its lines.
fn falsified(vector: &Vector) -> Vec<(String, Vector)> {
    let mut all = Vec::new();
    for (at, step) in vector.script.iter().enumerate() {
        let Step::Expect(expected) = step else { continue };
        for (what, wrong) in falsehoods(expected) {
            let mut vector = vector.clone();
            vector.script[at] = Step::Expect(Box::new(wrong));
            all.push((format!("answer {at}, {what}"), vector));
        }
    }
    all
}

fn falsehoods(expected: &Expected) -> Vec<(String, Expected)> {
    let mut all = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut Expected)| {
        let mut wrong = expected.clone();
        change(&mut wrong);
        all.push((what, wrong));
    };
    if !expected.any_of.contains(&Answer::Nothing) {
        let what = if expected.is_open() { ANSWER } else { "another answer" };
        add(what.into(), &|wrong| {
            let is_interim = wrong.is_interim();
            wrong.any_of = vec![match is_interim {
                true => Answer::Interim(198),
                false => Answer::Final(298, After::Unsaid),
            }];
        });
    }
    if let [Answer::Final(status, after)] = expected.any_of[..] {
        let opposite = match after {
            After::Unsaid => None,
            After::Keep => Some(After::Close),
            After::Close | After::Broken => Some(After::Keep),
        };
        if let Some(opposite) = opposite {
            let what = if opposite == After::Close { END } else { "a connection that stays" };
            add(what.into(), &|wrong| wrong.any_of = vec![Answer::Final(status, opposite)]);
        }
    }
    // The rest is about the first of several alternatives, and the server may have taken another.
    if expected.any_of.len() > 1 {
        return all;
    }
    for at in 0..expected.fields.len() {
        add(format!("field {}", expected.fields[at].0), &|wrong| wrong.fields[at].1[0].push(b'~'));
        add(format!("field {} again", expected.fields[at].0), &|wrong| {
            wrong.fields[at].1.push(b"~".to_vec())
        });
    }
    for name in &expected.present {
        add(format!("+{name}"), &|wrong| wrong.absent.push(name.clone()));
    }
    for name in &expected.absent {
        add(format!("-{name}"), &|wrong| wrong.present.push(name.clone()));
    }
    if expected.body.is_some() {
        add("body".into(), &|wrong| wrong.body.iter_mut().for_each(|body| body.push(b'~')));
    }
    if expected.trailers.is_some() {
        add("trailers".into(), &|wrong| {
            wrong.trailers.iter_mut().for_each(|trailers| trailers.push(("x-false".into(), b"~".to_vec())));
        });
    }
    match &expected.seen {
        None => {}
        Some(Seen::NotCalled) => add("not called".into(), &|wrong| {
            let (method, version) = ("GET".to_owned(), "1.1".to_owned());
            wrong.seen =
                Some(Seen::Called(Call { method, target: b"/".to_vec(), version, facts: Vec::new() }));
        }),
        Some(Seen::Called(call)) => {
            let what = if call.method == "HEAD" { BODY } else { "" };
            add(format!("called {what}").trim_end().into(), &|wrong| wrong.seen = Some(Seen::NotCalled));
            for (what, call) in false_calls(call) {
                add(what, &|wrong| wrong.seen = Some(Seen::Called(call.clone())));
            }
        }
    }
    all
}

fn false_calls(call: &Call) -> Vec<(String, Call)> {
    let wrong = |what: &str, change: &dyn Fn(&mut Call)| {
        let mut wrong = call.clone();
        change(&mut wrong);
        (what.to_owned(), wrong)
    };
    let what = if call.method == "HEAD" { BODY } else { "" };
    let mut all = vec![
        wrong(format!("method {what}").trim_end(), &|call| call.method.push('~')),
        wrong("target", &|call| call.target.push(b'~')),
        wrong("version", &|call| call.version.push('~')),
    ];
    for at in 0..call.facts.len() {
        all.push(wrong(&format!("{:?}", call.facts[at]), &|call| call.facts[at] = opposite(&call.facts[at])));
    }
    all
}

fn opposite(fact: &Fact) -> Fact {
    let longer = |bytes: &[u8]| [bytes, b"~"].concat();
    let more = |values: &[Vec<u8>]| values.iter().map(|value| longer(value)).collect();
    match fact {
        Fact::Field(name, values) => Fact::Field(name.clone(), more(values)),
        Fact::NoField(name) => Fact::Field(name.clone(), vec![Vec::new()]),
        Fact::Path(path) => Fact::Path(longer(path)),
        Fact::Query(query) => Fact::Query(Some(longer(query.as_deref().unwrap_or_default()))),
        Fact::Authority(authority) => Fact::Authority(Some(longer(authority.as_deref().unwrap_or_default()))),
        Fact::Body(body) => Fact::Body(longer(body)),
        Fact::BodyFails("Disconnected") => Fact::BodyFails("Malformed"),
        Fact::BodyFails(_) => Fact::BodyFails("Disconnected"),
        Fact::Trailer(name, values) => Fact::Trailer(name.clone(), more(values)),
        Fact::NoTrailer(name) => Fact::Trailer(name.clone(), vec![Vec::new()]),
    }
}

#[test]
fn no_vector_is_met_by_every_server_that_is_wrong_in_general() {
    crate::silence_planned_panics();
    // The silent one last: each of its vectors takes all of the time that there is.
    let wrong = [Wrong::Obliging, Wrong::Refusing, Wrong::Tidying, Wrong::Silent].map(|wrong| {
        let plan = Plan { routes: true, ..Plan::default() };
        Running::start(&(Arc::new(wrong) as Arc<dyn Subject>), Setup::from(plan)).unwrap()
    });
    let met_by_all = all(|vector| {
        // What does not come fails it, as it should.
        let limit = Duration::from_millis(if vector.settings.is_empty() { 250 } else { 1500 });
        let is_met = wrong.iter().all(|running| is_met(vector, running, limit));
        is_met.then(|| vector.id()).into_iter().collect()
    });
    assert!(met_by_all.is_empty(), "{met_by_all:?}");
}

#[test]
fn the_answers_of_the_routes_tell_as_much_as_the_recorder() {
    crate::silence_planned_panics();
    let suite = Suite::new(Arc::new(Reference::new()));
    let unlike = all(|vector| {
        if !vector.settings.is_empty() {
            return Vec::new();
        }
        let running = suite.routes(vector).unwrap();
        let by_answers = whole(running.address()).examine(vector) == Outcome::Passed;
        (by_answers != is_met(vector, &running, LIMIT)).then(|| vector.id()).into_iter().collect()
    });
    assert!(unlike.is_empty(), "{unlike:?}");
}

#[test]
fn what_servers_send_is_compared_to_the_byte() {
    let listen = |subject: Arc<dyn Subject>| {
        let vector = vectors().iter().find(|vector| vector.id() == "request_line/plain").unwrap();
        Suite::new(subject).listen(vector, Delivery::Whole).unwrap()
    };
    let sent = listen(Arc::new(Reference::new()));
    assert!(sent.starts_with(r"HTTP/1.1 200 OK\r\n") && sent.ends_with("* open\n"), "{sent}");
    assert_eq!(sent, listen(Arc::new(Reference::new())));
    let other = listen(Arc::new(Wrong::Tidying));
    let different = sent.bytes().zip(other.bytes()).filter(|(one, other)| one != other).count();
    // The method in both answers: `GET` and `get`.
    assert_eq!((sent.len(), different), (other.len(), 6), "{other}");
}

/// A server that does one thing to whatever comes. Plain requests it answers well, so that it fails for the vectors.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// Calls the application for anything, and answers 200.
    Obliging,
    /// Refuses everything with 400.
    Refusing,
    /// Does not answer.
    Silent,
    /// Is right but for what the application sees: repeated fields in one, the path decoded, the method in lower case.
    Tidying,
}

impl Subject for Wrong {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        if let Self::Tidying = self {
            return Server::serve(Reference::new().with_tuning(tuning.clone()), Tidying(probe), launch);
        }
        let Some(Listener::Tcp(listener)) = launch.listeners.into_iter().next() else {
            panic!("a listener for TCP")
        };
        listener.set_nonblocking(true).map_err(ServeError::io("listen"))?;
        let worker = Scope::for_test().worker().clone();
        let app = Arc::new(AppFactory::build(&probe, &worker).unwrap());
        launch.control.announce_ready();
        while launch.control.stop_deadline().is_none() {
            let Ok((stream, peer)) = listener.accept() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let (wrong, app, worker) = (*self, Arc::clone(&app), worker.clone());
            let conn = ConnInfo::new(1, Address::Ip(peer), Address::Ip(peer));
            thread::spawn(move || {
                wrong.converse(stream, &|method: &str, target: &str, number| {
                    let exchange = Arc::new(Given { worker: worker.clone(), conn: conn.clone() });
                    let scope =
                        Scope::new(exchange, number, target.to_owned().into(), std::time::Instant::now());
                    let mut request = Request::new(ReadBody::empty());
                    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or_default();
                    *request.uri_mut() = target.parse().unwrap_or_default();
                    *request.version_mut() = Version::HTTP_11;
                    let _ = App::call(&*app, request, scope);
                })
            });
        }
        Ok(Served::new(0))
    }
}

impl Wrong {
    fn converse(self, mut stream: TcpStream, call: &dyn Fn(&str, &str, u64)) {
        // The listener does not block, and in some systems its connections inherit that.
        let _ = stream.set_nonblocking(false);
        let (mut number, mut piece) = (0, [0; 65536]);
        while let Ok(1..) = stream.peek(&mut piece) {
            let Ok(count) = stream.read(&mut piece) else { return };
            let text = String::from_utf8_lossy(&piece[..count]).into_owned();
            number += 1;
            let mut words = text.split_ascii_whitespace();
            let (method, target) = (words.next().unwrap_or("GET"), words.next().unwrap_or("/"));
            let is_good = target.starts_with("/good-") || target == "/after";
            let answer = match self {
                _ if is_good => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Self::Obliging => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Self::Refusing => "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                Self::Silent | Self::Tidying => continue,
            };
            if is_good || matches!(self, Self::Obliging) {
                call(method, target, number);
            }
            if stream.write_all(answer.as_bytes()).is_err() || matches!(self, Self::Refusing) && !is_good {
                return;
            }
        }
        if let Self::Silent = self {
            // Nor does it close, for longer than anybody waits here.
            thread::sleep(Duration::from_secs(3));
        }
    }
}

/// A connection for scopes, and nothing else.
struct Given {
    worker: Worker,
    conn: ConnInfo,
}

impl Exchange for Given {
    fn worker(&self) -> &Worker {
        &self.worker
    }

    fn conn(&self) -> &ConnInfo {
        &self.conn
    }

    fn is_disconnected(&self, _: u64) -> bool {
        false
    }

    fn poll_disconnected(&self, _: u64, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn on_finish(&self, _: u64, _: FinishHook) {}
}

/// Tidies requests up on their way to the probe.
struct Tidying(Probe);

struct TidyingApp(<Probe as AppFactory>::App);

impl AppFactory for Tidying {
    type App = TidyingApp;

    fn build(&self, worker: &Worker) -> Result<TidyingApp, varvel::StartError> {
        AppFactory::build(&self.0, worker).map(TidyingApp)
    }

    fn teardown(&self, app: TidyingApp, worker: &Worker) -> Result<(), varvel::BoxError> {
        AppFactory::teardown(&self.0, app.0, worker)
    }
}

impl App for TidyingApp {
    fn call(&self, mut request: Request<ReadBody>, scope: Scope) -> AppResult {
        let lower = request.method().as_str().to_ascii_lowercase();
        *request.method_mut() = Method::from_bytes(lower.as_bytes()).unwrap_or_default();
        let decoded = request.uri().to_string().replace("%2F", "/").replace("%2f", "/").replace("%2e", ".");
        *request.uri_mut() = decoded.parse().unwrap_or_default();
        let mut merged = http::HeaderMap::new();
        for name in request.headers().keys() {
            let values: Vec<_> =
                request.headers().get_all(name).iter().map(|value| value.as_bytes()).collect();
            let value = http::HeaderValue::from_bytes(values.join(&b", "[..]).trim_ascii());
            merged.extend(value.ok().map(|value| (name.clone(), value)));
        }
        *request.headers_mut() = merged;
        App::call(&self.0, request, scope)
    }
}

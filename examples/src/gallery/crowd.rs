//! Many clients at once. A browser opens only a few connections to a server; here one thread opens as many as wanted,
//! over the loopback interface, to the server that it runs in.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::{Request, StatusCode};
use serde_json::json;
use varvel::{AppError, AsyncAppResult, AsyncBody, Scope, app_fn};
use varvel_toolkit::{
    HttpError, Query, respond,
    routes::{Methods, post},
};

use super::handover::handover;

/// The largest crowd.
const LARGEST: u64 = 1000;

/// How long one client of the crowd waits for its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The crowds of the process: one at a time, so that nobody can make the gallery attack itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowds(Arc<AtomicBool>);

impl Crowds {
    /// POST `?n=N`.
    pub(super) fn methods(&self) -> Methods {
        let crowds = self.clone();
        post(app_fn(move |request: Request<AsyncBody>, scope| {
            let crowds = crowds.clone();
            async move {
                let size = Query::of(request.uri()).parse("n")?.unwrap_or(50);
                crowds.run(scope, size).await
            }
        }))
    }

    /// Lets so many clients ask for an answer that takes a second, and tells how long each waited.
    async fn run(&self, scope: Scope, size: u64) -> AsyncAppResult {
        let Some(address) = scope.conn().local.ip() else {
            return Err(refused(StatusCode::NOT_IMPLEMENTED, "A crowd comes over TCP only.").into());
        };
        let Some(turn) = Turn::take(&self.0) else {
            return Err(refused(StatusCode::CONFLICT, "One crowd at a time.").into());
        };
        let (giver, taker) = handover();
        let run = move || {
            giver.give(crowd(address, size.min(LARGEST)));
            drop(turn);
        };
        // A thread of its own: it must not take one from the requests that it makes.
        if thread::Builder::new().name("gallery-crowd".into()).spawn(run).is_err() {
            return Err(refused(StatusCode::SERVICE_UNAVAILABLE, "There is no thread left.").into());
        }
        match taker.await {
            Some(outcome) => Ok(respond::json(&json!({
                "total_millis": millis(&outcome.total),
                "millis": outcome.waits.iter().map(millis).collect::<Vec<_>>(),
                "failed": outcome.failed,
            }))?),
            None => Err(AppError::internal("the thread of the crowd was lost")),
        }
    }
}

fn refused(status: StatusCode, why: &'static str) -> HttpError {
    HttpError::new(status).with_detail(why)
}

fn millis(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The right to be the one crowd; given back when dropped.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Option<Self> {
        (!taken.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

struct Outcome {
    total: Duration,
    /// How long each answer took.
    waits: Vec<Duration>,
    /// How many clients got none.
    failed: usize,
}

fn crowd(address: SocketAddr, size: u64) -> Outcome {
    let start = Instant::now();
    let clients = (0..size).map(|_| ask(address)).collect::<Vec<_>>();
    let waits = clients.into_iter().map(|client| client.and_then(Client::wait)).collect::<Vec<_>>();
    let failed = waits.iter().filter(|wait| wait.is_err()).count();
    Outcome { total: start.elapsed(), waits: waits.into_iter().flatten().collect(), failed }
}

struct Client {
    stream: TcpStream,
    asked: Instant,
}

fn ask(address: SocketAddr) -> io::Result<Client> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let asked = Instant::now();
    write!(stream, "GET /slow?ms=1000 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(Client { stream, asked })
}

impl Client {
    fn wait(mut self) -> io::Result<Duration> {
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            Ok(self.asked.elapsed())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

//! Answers that come piece by piece.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use serde_json::json;
use varvel::{AsyncAppResult, AsyncBody, Scope, Worker, app_fn};
use varvel_toolkit::{
    Query,
    routes::{Methods, get},
};

use super::pause::{Woken, pause};
use crate::digest::digest;

/// How many clients take part in something. All clones count the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers(Arc<AtomicUsize>);

/// One of them, until it is dropped with the body that it belongs to: a client that leaves is seen to leave.
#[derive(Debug)]
pub(super) struct Watching(Watchers);

impl Watchers {
    /// The clock, for all who watch it.
    pub(super) fn methods(&self) -> Methods {
        let watchers = self.clone();
        get(app_fn(move |_request, scope: Scope| {
            std::future::ready(Ok(events(scope.worker(), watchers.join())))
        }))
    }

    fn join(&self) -> Watching {
        self.0.fetch_add(1, Ordering::Relaxed);
        Watching(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A clock: an event each second, until the client leaves or the server stops.
fn events(worker: &Worker, watching: Watching) -> Response<AsyncBody> {
    let worker = worker.clone();
    let body = AsyncBody::generate(|mut frames| async move {
        let index = worker.info().index + 1;
        let mut next = worker.now();
        for line in 1_u64.. {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let tick = json!({
                "line": line,
                "unix_millis": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
                "watchers": watching.0.count(),
                "worker": index,
            });
            frames.data(format!("data: {tick}\n\n")).await;
            next += Duration::from_secs(1);
            if pause(&worker, next).await == Woken::Stopping {
                break;
            }
        }
        frames.data("event: goodbye\ndata: the server stops\n\n").await;
        Ok(())
    });
    of_type("text/event-stream", body)
}

/// As many lines as are wanted, a tenth of a second apart.
pub(super) async fn lines(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let count: u64 = Query::of(request.uri()).parse("n")?.unwrap_or(10);
    let worker = scope.worker().clone();
    let body = AsyncBody::generate(move |mut frames| async move {
        for line in 1..=count {
            frames.data(format!("line {line} of {count}\n")).await;
            let next = worker.now() + Duration::from_millis(100);
            if line < count && pause(&worker, next).await == Woken::Stopping {
                frames.data("the server stops\n").await;
                break;
            }
        }
        Ok(())
    });
    Ok(of_type("text/plain; charset=utf-8", body))
}

/// A stream whose digest is only known at its end, and is sent there (spec B5).
pub(super) async fn with_trailers(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    const NAME: HeaderName = HeaderName::from_static("x-body-sha256");
    const LINES: [&str; 3] =
        ["The digest of these lines\n", "is known when they are over,\n", "and sent then.\n"];
    let body = AsyncBody::generate(|mut frames| async move {
        for line in LINES {
            frames.data(line).await;
        }
        let digest = digest(AsyncBody::full(LINES.concat())).await?;
        let value = HeaderValue::try_from(digest.sha256).map_err(varvel::BodyError::failed)?;
        frames.trailers(HeaderMap::from_iter([(NAME, value)])).await;
        Ok(())
    });
    let mut response = of_type("text/plain; charset=utf-8", body);
    response.headers_mut().insert(header::TRAILER, HeaderValue::from(NAME));
    Ok(response)
}

fn of_type(media_type: &'static str, body: AsyncBody) -> Response<AsyncBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

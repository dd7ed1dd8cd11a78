//! Requests that are answered by other requests.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;
use varvel::{AsyncAppResult, AsyncBody, Scope, Worker, app_fn};
use varvel_toolkit::{
    respond,
    router::PathParams,
    routes::{Methods, get},
};

use super::{
    LONGEST_WAIT,
    handover::{Giver, handover},
    pause::pause,
};

/// Who waits for a letter of which name, on all workers of the process.
#[derive(Debug, Default)]
pub(super) struct Letterbox(Mutex<HashMap<String, Vec<Giver<Bytes>>>>);

/// GET of a letter waits until it is posted.
pub(super) fn methods(letterbox: &Arc<Letterbox>) -> Methods {
    let [reader, poster] = [(); 2].map(|()| Arc::clone(letterbox));
    get(app_fn(move |_request, scope| await_letter(Arc::clone(&reader), scope)))
        .post(app_fn(move |request, scope| post_letter(Arc::clone(&poster), request, scope)))
}

async fn await_letter(letterbox: Arc<Letterbox>, scope: Scope) -> AsyncAppResult {
    let name: String = PathParams::of(&scope).parse("name")?;
    let patience = scope.worker().now() + LONGEST_WAIT;
    Ok(match letterbox.read(&name, scope.worker(), patience).await {
        Some(letter) => respond::text(letter),
        None => respond::empty(StatusCode::NO_CONTENT),
    })
}

async fn post_letter(letterbox: Arc<Letterbox>, request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let name: String = PathParams::of(&scope).parse("name")?;
    let letter = request.into_body().collect(4096).await?;
    Ok(respond::json(&json!({ "readers": letterbox.post(&name, &letter) }))?)
}

impl Letterbox {
    /// Waits for a letter; `None` when the patience or the server ends. A client that leaves drops this future, and is
    /// forgotten by the next one that comes (spec A6, E8).
    async fn read(&self, name: &str, worker: &Worker, patience: Instant) -> Option<Bytes> {
        let (giver, mut letter) = handover();
        self.register(name, giver);
        let mut end = pin!(pause(worker, patience));
        poll_fn(|cx| match Pin::new(&mut letter).poll(cx) {
            Poll::Ready(letter) => Poll::Ready(letter),
            Poll::Pending => end.as_mut().poll(cx).map(|_| None),
        })
        .await
    }

    fn register(&self, name: &str, reader: Giver<Bytes>) {
        let mut waiting = self.lock();
        waiting.retain(|_, readers| readers.iter().any(Giver::is_wanted));
        waiting.entry(name.to_owned()).or_default().push(reader);
    }

    /// Gives a letter to all who wait for it, and says how many those are.
    fn post(&self, name: &str, letter: &Bytes) -> usize {
        let readers = self.lock().remove(name).unwrap_or_default();
        let readers = readers.into_iter().filter(Giver::is_wanted);
        readers.map(|reader| reader.give(letter.clone())).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Giver<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

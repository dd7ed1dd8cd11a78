//! Changes as server-sent events.
//!
//! ```text
//! event: replaced
//! id: 30
//! data: {"note":12,"revision":30}
//! ```
//!
//! The id of an event is the number of its change, so a browser that was cut off goes on where it was: it says the id as
//! Last-Event-ID, and the journal has what came behind. It goes on at another worker just as well.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use serde_json::json;
use varvel::{AsyncBody, Event as Log, Level, Report, Scope, Worker};
use varvel_toolkit::{
    Accept, HttpError,
    background::offload,
    events::{self, Event, Events},
};

use super::{
    journal::Change,
    store::{Result, Store},
};

/// How often a stream looks whether there is something new, which is one system call.
pub const PACE: Duration = Duration::from_millis(100);

/// Answers with all changes from now on, or behind the last that the client knows.
///
/// The stream costs memory alone while nothing happens, but a thread on a server of threads; it ends when the server stops.
///
/// # Errors
/// 406 if the client takes no events.
pub async fn events(store: &Store, headers: &HeaderMap, scope: &Scope) -> Result<Response<AsyncBody>> {
    if !Accept::of(headers).accepts("text/event-stream") {
        return Err(HttpError::new(StatusCode::NOT_ACCEPTABLE)
            .with_detail("Events are text/event-stream.")
            .into());
    }
    let (store, worker) = (store.clone(), scope.worker().clone());
    let last = offload(&worker, {
        let store = store.clone();
        move || store.last_change()
    })
    .await??;
    // Of an id that is none of ours nothing can be made.
    let known = events::last_id(headers).and_then(|id| id.parse().ok()).filter(|known| *known <= last);
    let seen = known.unwrap_or(last);
    Ok(events::respond(scope, |mut events| async move {
        if let Err(error) = follow(&store, &worker, seen, &mut events).await {
            // The head is sent; the client will come back.
            let message = format!("a stream of events ends: {error}");
            worker.report(&Report::new(Log::Log { level: Level::Error, message: &message }));
        }
    }))
}

/// Sends changes for as long as somebody listens.
async fn follow(store: &Store, worker: &Worker, mut seen: u64, events: &mut Events) -> Result<()> {
    loop {
        if store.is_behind(seen)? {
            let store = store.clone();
            for change in offload(worker, move || store.changes_after(seen)).await?? {
                events.send(&event(change)).await;
                seen = change.number;
            }
        } else {
            worker.sleep(PACE).await;
        }
    }
}

fn event(Change { number, what, note }: Change) -> Event {
    Event::new(json!({ "note": note, "revision": number }).to_string())
        .name(what.word())
        .id(number.to_string())
}

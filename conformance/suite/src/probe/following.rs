//! What the server under test tells its monitor, as events.
//!
//! | event | fields |
//! |---|---|
//! | `progress`, `connection-opened`, `connection-closed` | |
//! | `exchange-began` | `ticket`, `connection`, `exchange` |
//! | `exchange-polling` | `ticket`, unless it belongs to no exchange |
//! | `exchange-ended` | `ticket`; `outcome`, `status` and `bytes`, as those of `finish`; `micros` |
//! | `refused` | `status` |
//!
//! All have `pid` and `worker`, and those of an exchange the `key` of its request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use varvel::{Finish, Monitor, RequestId, Ticket};

use super::{Link, context::key_of};

/// Passes on what a monitor is told.
#[derive(Debug)]
pub(crate) struct Following {
    link: Arc<Link>,
    tickets: AtomicU32,
    /// Of the exchanges that have begun.
    keys: Mutex<HashMap<u32, String>>,
}

impl Following {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, tickets: AtomicU32::new(1), keys: Mutex::default() }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<u32, String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emit(&self, kind: &str, worker: u32, fields: Value) {
        let mut event = json!({ "event": kind, "pid": std::process::id(), "worker": worker });
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.link.emit(event);
    }
}

impl Monitor for Following {
    fn progress(&self, worker: u32) {
        self.emit("progress", worker, json!({}));
    }

    fn connection_opened(&self, worker: u32) {
        self.emit("connection-opened", worker, json!({}));
    }

    fn connection_closed(&self, worker: u32) {
        self.emit("connection-closed", worker, json!({}));
    }

    fn exchange_began(&self, worker: u32, request: RequestId<'_>) -> Ticket {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let key = key_of(&String::from_utf8_lossy(request.target)).to_owned();
        let (connection, exchange) = (request.connection, request.exchange);
        let fields = json!({ "ticket": ticket, "key": key, "connection": connection, "exchange": exchange });
        self.keys().insert(ticket, key);
        self.emit("exchange-began", worker, fields);
        Ticket(ticket)
    }

    fn polling(&self, worker: u32, exchange: Option<Ticket>) {
        let ticket = exchange.map(|Ticket(ticket)| ticket);
        let key = ticket.and_then(|ticket| self.keys().get(&ticket).cloned());
        self.emit("exchange-polling", worker, json!({ "ticket": ticket, "key": key }));
    }

    fn exchange_ended(&self, worker: u32, Ticket(ticket): Ticket, finish: &Finish, duration: Duration) {
        let key = self.keys().get(&ticket).cloned();
        let fields = json!({
            "ticket": ticket,
            "key": key,
            "outcome": format!("{:?}", finish.outcome),
            "status": finish.status.map(|status| status.as_u16()),
            "bytes": finish.bytes,
            "micros": u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        });
        self.emit("exchange-ended", worker, fields);
    }

    fn refused(&self, worker: u32, status: StatusCode) {
        self.emit("refused", worker, json!({ "status": status.as_u16() }));
    }
}

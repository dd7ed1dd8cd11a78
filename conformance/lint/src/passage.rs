//! One exchange on its way through a middleware, seen from both sides of it (chapter M).
//!
//! ```text
//!   outer lint  --- scope with a seal --->  middleware  --- the same scope --->  inner lint
//!        ^                                                                           |
//!        +---------------------- what the inner side has done so far ----------------+
//! ```

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{StatusCode, Uri, request};
use varvel::{AppError, BodyError, BodyErrorKind, FailKind, Scope};

use crate::{Rule, record::Record, rules as r};

/// What the inner side of a middleware has done, for the outer side to compare.
pub(crate) struct Passage {
    connection: u64,
    number: u64,
    mount: String,
    crossing: Mutex<Crossing>,
}

/// The entry in the scope by which an inner lint finds what its outer one left: the last of them, for what stands in
/// between may be such a pair again.
#[derive(Default)]
struct Seals(Vec<Arc<Passage>>);

#[derive(Default)]
struct Crossing {
    /// The middleware's own call is over.
    closed: bool,
    /// The inner call has begun and neither completed nor been dropped.
    call_alive: bool,
    /// The same of its body.
    body_alive: bool,
    /// The inner side was pending when it was last polled.
    waiting: bool,
    /// The inner body has produced data since the outer one last did.
    held: bool,
    /// How much data the inner and the outer body have produced.
    bytes: [u64; 2],
    /// By how much the outer one was behind while the inner one waited; counts if all in all they are equal.
    behind: u64,
    /// The inner writer has flushed, and the outer sink was not flushed since.
    flush_due: bool,
    error: Option<(FailKind, Vec<String>)>,
    answer: Option<(StatusCode, Shape)>,
    /// The outer answer is a placeholder.
    deferred: bool,
    /// The inner application broke a rule about lengths itself.
    wrong_length: bool,
    trailers: bool,
    failed: Option<BodyErrorKind>,
}

/// What kind of body an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In memory, or nothing.
    Whole,
    File,
    Stream,
    Tunnel,
    Deferred,
}

impl Passage {
    pub(crate) fn new(head: &request::Parts, scope: &Scope) -> Arc<Self> {
        Arc::new(Self {
            connection: scope.conn().id,
            number: scope.number(),
            mount: scope.mount(&head.uri).to_owned(),
            crossing: Mutex::default(),
        })
    }

    /// What the outer lint left in this scope.
    pub(crate) fn of(scope: &Scope) -> Option<Arc<Self>> {
        scope.get::<Seals>()?.0.last().map(Arc::clone)
    }

    /// Leaves it for the inner lint.
    pub(crate) fn seal(self: &Arc<Self>, scope: &mut Scope) {
        let mut seals = scope.remove::<Seals>().unwrap_or_default();
        seals.0.push(Arc::clone(self));
        scope.insert(seals);
    }

    /// Whether the inner side is to blame for a length.
    pub(crate) fn has_wrong_length(&self) -> bool {
        let crossing = self.lock();
        crossing.wrong_length || crossing.answer.is_none()
    }

    /// The inner side is polled; `pending` is what came of it.
    pub(crate) fn polled(&self, pending: bool) {
        self.lock().waiting = pending;
    }

    /// The inner side has produced data.
    pub(crate) fn produced(&self, bytes: u64) {
        let mut crossing = self.lock();
        crossing.held = true;
        crossing.bytes[0] += bytes;
    }

    pub(crate) fn produced_trailers(&self) {
        self.lock().trailers = true;
    }

    pub(crate) fn failed(&self, error: &BodyError) {
        self.lock().failed = Some(error.kind());
    }

    pub(crate) fn blame_length(&self) {
        self.lock().wrong_length = true;
    }

    /// The outer call is over.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    pub(crate) fn call_began(&self) {
        self.lock().call_alive = true;
    }

    pub(crate) fn call_over(&self) {
        self.lock().call_alive = false;
    }

    pub(crate) fn body_over(&self) {
        self.lock().body_alive = false;
    }

    /// The inner call has answered.
    pub(crate) fn answered(&self, status: StatusCode, shape: Shape) {
        let mut crossing = self.lock();
        if matches!(crossing.answer, Some((_, Shape::Deferred))) {
            // The reply to a placeholder comes when the middleware's call may be over.
            return;
        }
        crossing.answer = Some((status, shape));
        crossing.body_alive = shape == Shape::Stream;
        crossing.waiting = false;
    }

    /// The inner call has failed.
    pub(crate) fn call_failed(&self, error: &AppError) {
        self.lock().error = Some((error.kind(), chain(error)));
    }

    /// The outer side has produced data.
    pub(crate) fn passed_on(&self, bytes: u64) {
        let mut crossing = self.lock();
        crossing.held = false;
        crossing.bytes[1] += bytes;
    }

    /// The outer sink was flushed.
    pub(crate) fn flushed(&self) {
        self.lock().flush_due = false;
    }

    pub(crate) fn flush_begins(&self) {
        self.lock().flush_due = true;
    }

    fn lock(&self) -> MutexGuard<'_, Crossing> {
        self.crossing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The texts of an error's causes, outermost first.
fn chain(error: &AppError) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source().map(|source| source as &(dyn Error + 'static));
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

/// What the inner lint looks at when it is called.
pub(crate) fn check_entry(record: &Record, uri: &Uri, scope: &mut Scope) {
    let Some(passage) = &record.passage else {
        return record.breach(r::M1_LOST, || "the scope has lost the entry of the outer lint".to_owned());
    };
    if let Some(Seals(seals)) = scope.get_mut() {
        seals.pop();
    }
    let is_of_another = (passage.connection, passage.number) != (scope.conn().id, scope.number());
    let is_over = {
        let crossing = passage.lock();
        // Behind a placeholder of the middleware's own the inner call may be made later.
        crossing.closed && !crossing.deferred
    };
    if is_of_another || is_over {
        record.breach(r::M1_MOVED, || {
            let Passage { connection, number, .. } = &**passage;
            format!(
                "it has the entries of exchange {number} of connection {connection}, which is another or over"
            )
        });
    }
    let (mount, local) = (scope.mount(uri), scope.local_path(uri));
    if !mount.starts_with(&passage.mount) {
        record.breach(r::M8_LOST, || {
            format!("the mount was {:?} outside and is {mount:?} inside", passage.mount)
        });
    }
    if !mount.is_empty() && !local.is_empty() && !local.starts_with('/') {
        record.breach(r::M8_BOUNDARY, || format!("mount {mount:?}, local path {local:?}"));
    }
    passage.call_began();
}

/// What the outer lint looks at when the middleware's call has answered.
pub(crate) fn check_answer(record: &Record, passage: &Passage, status: StatusCode, shape: Shape) {
    let (inner, is_reply) = {
        let mut crossing = passage.lock();
        let is_reply = std::mem::replace(&mut crossing.deferred, shape == Shape::Deferred);
        (crossing.answer, is_reply)
    };
    let is_here = !is_reply && shape != Shape::Deferred;
    let Some((inner_status, inner_shape)) = inner.filter(|_| is_here) else { return };
    if inner_shape == Shape::Tunnel && shape != Shape::Tunnel && status == inner_status {
        record.breach(r::M3_TUNNEL, || format!("the inner answer has a tunnel, the outer one a {shape:?}"));
    }
    if inner_shape == Shape::Deferred && shape == Shape::Stream {
        record.breach(r::M3_DEFERRAL, || {
            "the inner answer is a placeholder, the outer one a stream".to_owned()
        });
    }
}

/// What the outer lint looks at when the middleware's call has failed.
pub(crate) fn check_error(record: &Record, passage: &Passage, error: &AppError) {
    let Some((kind, texts)) = passage.lock().error.clone() else { return };
    if error.kind() != kind {
        record.breach(r::M6_KIND, || format!("{kind:?} inside, {:?} outside", error.kind()));
        return;
    }
    let outside = chain(error);
    if texts.iter().any(|text| !outside.contains(text)) {
        record.breach(r::M6_SOURCE, || format!("caused inside by {texts:?}, outside by {outside:?}"));
    }
}

/// What the outer lint looks at when the middleware waits.
pub(crate) fn check_wait(record: &Record) {
    let held = record.passage.as_ref().is_some_and(|passage| {
        let mut crossing = passage.lock();
        let [inside, outside] = crossing.bytes;
        if crossing.waiting {
            crossing.behind = crossing.behind.max(inside.saturating_sub(outside));
        }
        crossing.waiting && crossing.held
    });
    if held {
        record.breach(r::M2_HELD, || {
            "the inner body has produced data and waits; none came through".to_owned()
        });
    }
}

/// What the inner lint looks at when its writer's flush has returned.
pub(crate) fn check_flush(record: &Record, passage: &Passage) {
    let (held, flush_due) = {
        let mut crossing = passage.lock();
        let [inside, outside] = crossing.bytes;
        crossing.behind = crossing.behind.max(inside.saturating_sub(outside));
        (crossing.held, crossing.flush_due)
    };
    if held || flush_due {
        record.breach(r::M2_FLUSH, || match held {
            true => "data written before it did not come through".to_owned(),
            false => "the outer sink was not flushed".to_owned(),
        });
    }
}

/// What the outer lint looks at when the middleware's stream has ended well.
pub(crate) fn check_end(record: &Record, passage: &Passage, trailers: bool) {
    let (inner_trailers, failed, behind) = {
        let crossing = passage.lock();
        let [inside, outside] = crossing.bytes;
        (crossing.trailers, crossing.failed, if inside == outside { crossing.behind } else { 0 })
    };
    if behind > 0 {
        record.breach(r::M2_HELD, || format!("{behind} bytes were kept while the inner body was waiting"));
    }
    if inner_trailers && !trailers {
        record.breach(r::M3_TRAILERS, || {
            "the inner body ended with trailers, the outer one without".to_owned()
        });
    }
    if let Some(kind) = failed.filter(|kind| *kind != BodyErrorKind::Disconnected) {
        record.breach(r::B10_SWALLOWED, || format!("the inner body failed with {kind:?}"));
    }
}

/// What the outer lint looks at when it has dropped the middleware's future or body.
pub(crate) fn check_drop(record: &Record, rule: &'static Rule) {
    let alive = record.passage.as_ref().is_some_and(|passage| {
        let crossing = passage.lock();
        crossing.call_alive || crossing.body_alive
    });
    if alive {
        record.breach(rule, || "what is inside still lives".to_owned());
    }
}

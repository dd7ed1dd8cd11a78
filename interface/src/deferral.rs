//! Deferral: a sync application gives its thread back and answers later, from any thread.
//!
//! A thousand requests that wait for a broker's reply then need no thousand threads.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::Response;

use crate::{AppError, AppResult, BodyParts, Watch, WriteBody};

/// The right to answer later, once. From [`Scope::take_deferral`](crate::Scope::take_deferral).
///
/// ```
/// use http::Response;
/// use varvel::{WriteBody, sync_fn};
///
/// let app = sync_fn(|_request, mut scope| {
///     let Some(deferral) = scope.take_deferral() else {
///         return Ok(Response::new(WriteBody::from_static(b"this server cannot wait")));
///     };
///     let (placeholder, reply) = deferral.defer();
///     std::thread::spawn(move || {
///         // ... wait for the broker ...
///         let _ = reply.send(Response::new(WriteBody::from_static(b"done")));
///     });
///     Ok(placeholder)
/// });
/// # let _ = app;
/// ```
#[derive(Debug)]
pub struct Deferral {
    watch: Watch,
}

impl Deferral {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch }
    }

    /// Splits into the placeholder, which the call must return, and the reply, which may go anywhere.
    pub fn defer(self) -> (Response<WriteBody>, Reply) {
        let slot = Arc::new(Slot(Mutex::new(State::Unclaimed(None))));
        let placeholder =
            Response::new(WriteBody::from(BodyParts::Deferred(Answer(Some(Arc::clone(&slot))))));
        (placeholder, Reply { slot: Some(slot), watch: self.watch })
    }
}

/// Answers a deferred request, from any thread. Dropped unanswered, it answers 500 (spec W5).
pub struct Reply {
    /// Taken by the answer.
    slot: Option<Arc<Slot>>,
    watch: Watch,
}

impl Reply {
    /// Sends the response.
    ///
    /// # Errors
    /// If nobody waits for it any more: the client left, or the placeholder was never returned.
    pub fn send(self, response: Response<WriteBody>) -> Result<(), ReplyError> {
        self.answer(Ok(response))
    }

    /// Fails the request, with the meaning of the error (spec E1-E3).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn fail(self, error: AppError) -> Result<(), ReplyError> {
        self.answer(Err(error))
    }

    /// Whether the client is known to have left, so that the work can be spared.
    pub fn is_disconnected(&self) -> bool {
        self.watch.is_disconnected()
    }

    /// The exchange that waits, to be told of the client's leaving.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    fn answer(mut self, answer: AppResult) -> Result<(), ReplyError> {
        match self.slot.take() {
            Some(slot) if slot.fill(answer) => Ok(()),
            _ => Err(ReplyError(())),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.fill(Err(AppError::internal("a deferred reply was dropped unanswered")));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.watch).finish()
    }
}

/// A reply that reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyError(());

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody waits for this reply any more")
    }
}

impl Error for ReplyError {}

/// The answer to come, as the server finds it in the placeholder's body.
pub struct Answer(Option<Arc<Slot>>);

impl Answer {
    /// Has `deliver` called once with the answer: at once if it is there, else on the thread that sends it, which is told
    /// by what `deliver` returns whether somebody still waits for the answer (spec W5).
    pub fn on_reply(mut self, deliver: impl FnOnce(AppResult) -> bool + Send + 'static) {
        let Some(slot) = self.0.take() else { return };
        let mut state = slot.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Unclaimed(None) => *state = State::Claimed(Box::new(deliver)),
            State::Unclaimed(Some(answer)) => {
                drop(state);
                deliver(answer);
            }
            State::Claimed(_) | State::Over => {}
        }
    }
}

/// A placeholder that somebody threw away instead of returning it.
impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            let before = std::mem::replace(&mut *slot.lock(), State::Over);
            drop(before);
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

struct Slot(Mutex<State>);

enum State {
    /// The server does not wait yet; the answer may be there already.
    Unclaimed(Option<AppResult>),
    /// The server waits.
    Claimed(Box<dyn FnOnce(AppResult) -> bool + Send>),
    /// Answered, or nobody waits any more.
    Over,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the answer in; `false` if nobody waits for it.
    fn fill(&self, answer: AppResult) -> bool {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Unclaimed(_) => *state = State::Unclaimed(Some(answer)),
            State::Claimed(deliver) => {
                drop(state);
                return deliver(answer);
            }
            State::Over => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{FailKind, Scope};

    fn defer() -> (Answer, Reply) {
        let (placeholder, reply) = Deferral::new(Scope::for_test().watch()).defer();
        match placeholder.into_body().into_parts() {
            BodyParts::Deferred(answer) => (answer, reply),
            _ => panic!("the placeholder of a deferral is deferred"),
        }
    }

    fn status(answer: AppResult) -> Result<u16, FailKind> {
        answer.map(|response| response.status().as_u16()).map_err(|error| error.kind())
    }

    #[test]
    fn an_answer_arrives_whoever_is_first() {
        let (sender, receiver) = mpsc::channel();
        let accepted = || Response::builder().status(202).body(WriteBody::empty()).unwrap();

        let (answer, reply) = defer();
        reply.send(accepted()).unwrap();
        let first = sender.clone();
        answer.on_reply(move |answer| first.send(status(answer)).is_ok());

        let (answer, reply) = defer();
        answer.on_reply(move |answer| sender.send(status(answer)).is_ok());
        reply.send(accepted()).unwrap();

        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Ok(202), Ok(202)]);
    }

    #[test]
    fn an_answer_arrives_once_when_both_come_at_the_same_time() {
        for _ in 0..10 {
            let (sender, receiver) = mpsc::channel();
            let (answer, reply) = defer();
            std::thread::scope(|scope| {
                scope.spawn(move || reply.send(Response::new(WriteBody::empty())).unwrap());
                answer.on_reply(move |answer| sender.send(status(answer)).is_ok());
            });
            assert_eq!(receiver.iter().collect::<Vec<_>>(), [Ok(200)]);
        }
    }

    #[test]
    fn a_reply_dropped_unanswered_is_an_internal_error() {
        let (sender, receiver) = mpsc::channel();
        let (answer, reply) = defer();
        answer.on_reply(move |answer| sender.send(status(answer)).is_ok());
        drop(reply);
        assert_eq!(receiver.recv(), Ok(Err(FailKind::Internal)));
    }

    #[test]
    fn a_reply_that_the_server_does_not_want_any_more_is_told_so() {
        let (answer, reply) = defer();
        answer.on_reply(|_| false);
        assert_eq!(reply.send(Response::new(WriteBody::empty())), Err(ReplyError(())));
    }

    #[test]
    fn a_reply_to_a_discarded_placeholder_is_told_so() {
        let (answer, reply) = defer();
        drop(answer);
        assert_eq!(reply.send(Response::new(WriteBody::empty())), Err(ReplyError(())));
    }
}

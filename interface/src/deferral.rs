//! Deferral: a sync application gives its thread back and answers later, from any thread.
//!
//! A thousand requests that wait for a broker's reply then need no thousand threads.

use std::{
    any::Any,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
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
        let placeholder = Response::new(WriteBody::from(BodyParts::Deferred(Answer::new(Arc::clone(&slot)))));
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
pub struct Answer {
    /// Taken by whoever waits for the reply.
    slot: Option<Arc<Slot>>,
    /// What middleware does to it on its way, innermost first.
    maps: Vec<Map>,
}

type Map = Box<dyn FnOnce(AppResult) -> AppResult + Send>;

impl Answer {
    fn new(slot: Arc<Slot>) -> Self {
        Self { slot: Some(slot), maps: Vec::new() }
    }

    /// Has `map` change the answer once it is there, behind what was asked for before, so that of several middlewares the
    /// innermost comes first (spec M9). [`map_answer`] does the same to an answer of either sort.
    ///
    /// It runs on the thread that sends the reply; if it panics, the call has failed.
    #[must_use]
    pub fn map(mut self, map: impl FnOnce(AppResult) -> AppResult + Send + 'static) -> Self {
        self.maps.push(Box::new(map));
        self
    }

    /// Has `deliver` called once with the answer: at once if it is there, else on the thread that sends it, which is told
    /// by what `deliver` returns whether somebody still waits for the answer (spec W5).
    pub fn on_reply(mut self, deliver: impl FnOnce(AppResult) -> bool + Send + 'static) {
        let Some(slot) = self.slot.take() else { return };
        let maps = std::mem::take(&mut self.maps);
        let deliver = move |answer| deliver(maps.into_iter().fold(answer, mapped));
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

/// A panic must not keep the answer from whoever waits for it, nor go on through the thread that replies.
fn mapped(answer: AppResult, map: Map) -> AppResult {
    map_answer(answer, |answer| {
        catch_unwind(AssertUnwindSafe(|| map(answer))).unwrap_or_else(|panic| Err(panicked(&*panic)))
    })
}

fn panicked(panic: &(dyn Any + Send)) -> AppError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    AppError::internal(format!("what was to change a deferred answer panicked: {text}"))
}

/// A placeholder that somebody threw away instead of returning it.
impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
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

/// Changes the answer of an inner sync application: at once if it is one, and a deferred one when it comes (spec M9).
///
/// The sibling of [`map_response`](crate::map_response) for sync middleware, but for errors, which the closure sees as
/// well: what it does not handle it gives back as it is (spec M6), best with `?`. Where it replaces the body,
/// Content-Length is its concern (spec M4). An answer that is there costs nothing beside the closure, a deferred one an
/// allocation.
///
/// ```
/// use http::{HeaderValue, Request, header};
/// use varvel::{App, AppResult, ReadBody, Scope, map_answer};
///
/// struct NoStore<A>(A);
///
/// impl<A: App> App for NoStore<A> {
///     fn call(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
///         map_answer(self.0.call(request, scope), |answer| {
///             let mut response = answer?;
///             response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
///             Ok(response)
///         })
///     }
/// }
/// # let app = NoStore(varvel::sync_fn(|_, _| Ok(http::Response::new(varvel::WriteBody::empty()))));
/// # let response = app.call(Request::new(ReadBody::empty()), Scope::for_test()).unwrap();
/// # assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
/// ```
///
/// # Errors
/// As the closure.
pub fn map_answer(answer: AppResult, map: impl FnOnce(AppResult) -> AppResult + Send + 'static) -> AppResult {
    match answer {
        Ok(response) if response.body().is_deferred() => Ok(response.map(|body| match body.into_parts() {
            BodyParts::Deferred(answer) => WriteBody::from(BodyParts::Deferred(answer.map(map))),
            other => other.into(),
        })),
        answer => map(answer),
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

    /// Adds a letter to a field.
    fn spell(letter: &'static str) -> impl FnOnce(AppResult) -> AppResult + Send {
        move |answer| {
            let mut response = answer?;
            response.headers_mut().append("letter", http::HeaderValue::from_static(letter));
            Ok(response)
        }
    }

    fn letters(answer: AppResult) -> Result<Vec<http::HeaderValue>, FailKind> {
        answer
            .map(|it| it.headers().get_all("letter").iter().cloned().collect())
            .map_err(|error| error.kind())
    }

    #[test]
    fn an_answer_is_changed_now_or_later_by_the_innermost_first() {
        let now = map_answer(map_answer(Ok(Response::new(WriteBody::empty())), spell("a")), spell("b"));
        assert_eq!(letters(now).unwrap(), ["a", "b"]);
        for overtakes in [false, true] {
            let (sender, receiver) = mpsc::channel();
            let (placeholder, reply) = Deferral::new(Scope::for_test().watch()).defer();
            let mut reply = Some(reply);
            let mut send = || reply.take().map(|reply| reply.send(Response::new(WriteBody::empty())));
            if overtakes {
                send();
            }
            let later = map_answer(map_answer(Ok(placeholder), spell("a")), spell("b"));
            let BodyParts::Deferred(answer) = later.unwrap().into_body().into_parts() else {
                panic!("a placeholder stays one");
            };
            answer.on_reply(move |answer| sender.send(letters(answer)).is_ok());
            send();
            assert_eq!(receiver.recv().unwrap().unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn who_changes_answers_sees_failures_too_and_may_answer_them() {
        let (sender, receiver) = mpsc::channel();
        let (answer, reply) = defer();
        let first = sender.clone();
        answer.map(spell("a")).on_reply(move |answer| first.send(letters(answer)).is_ok());
        reply.fail(AppError::unavailable("later")).unwrap();
        assert_eq!(receiver.recv().unwrap(), Err(FailKind::Unavailable));

        let (answer, reply) = defer();
        let answered = answer.map(|_failed| Ok(Response::new(WriteBody::empty()))).map(spell("b"));
        answered.on_reply(move |answer| sender.send(letters(answer)).is_ok());
        drop(reply);
        assert_eq!(receiver.recv().unwrap().unwrap(), ["b"]);
    }

    #[test]
    fn a_reply_that_is_deferred_itself_is_changed_when_it_comes() {
        let (sender, receiver) = mpsc::channel();
        let (answer, reply) = defer();
        let (placeholder, last) = Deferral::new(Scope::for_test().watch()).defer();
        answer.map(spell("a")).on_reply(move |answer| {
            let BodyParts::Deferred(answer) = answer.unwrap().into_body().into_parts() else {
                panic!("a placeholder stays one");
            };
            answer.on_reply(move |answer| sender.send(letters(answer)).is_ok());
            true
        });
        reply.send(placeholder).unwrap();
        last.send(Response::new(WriteBody::empty())).unwrap();
        assert_eq!(receiver.recv().unwrap().unwrap(), ["a"]);
    }

    #[test]
    fn a_panic_over_an_answer_fails_the_call_and_not_the_thread_that_replies() {
        let (sender, receiver) = mpsc::channel();
        let (answer, reply) = defer();
        let answer = answer.map(|_| panic!("a mistake")).map(spell("a"));
        answer.on_reply(move |answer| sender.send(answer.unwrap_err().to_string()).is_ok());
        reply.send(Response::new(WriteBody::empty())).unwrap();
        let error = receiver.recv().unwrap();
        assert!(error.ends_with("a mistake"), "{error}");
    }

    #[test]
    fn a_reply_to_a_discarded_placeholder_is_told_so() {
        let (answer, reply) = defer();
        drop(answer);
        assert_eq!(reply.send(Response::new(WriteBody::empty())), Err(ReplyError(())));
    }
}

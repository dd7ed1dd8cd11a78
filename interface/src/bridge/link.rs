//! The link between an event loop and the pool thread that runs a sync call for it.
//!
//! ```text
//!        event loop                          |          pool thread
//!   request body, polled when wanted  --- request --->  ReadBody::next_frame blocks
//!   OffloadedCall                     <--- answer ----  App::call returns
//!   the response body                 <--- frames ----  the writer's sink blocks beyond the high-water mark
//! ```
//!
//! The loop's side never blocks; the thread's side waits on the condition variable. Whichever side ends first says so,
//! and the other stops waiting.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, response};

use super::origin::{Origin, Panic};
use crate::{AppError, AsyncBody, BodyError, BodyErrorKind, Frame, FrameRead, FrameSink, Phase, PollBody};

/// What the thread answers: the head, and the body unless that comes through the link.
pub(super) type Answer = Result<(response::Parts, LinkedBody), AppError>;

/// A response body as it crosses.
pub(super) enum LinkedBody {
    /// It needs no thread.
    Whole(AsyncBody),
    /// Its frames follow through the link, this many bytes if that is known.
    Frames(Option<u64>),
}

pub(super) struct Link {
    origin: Origin,
    state: Mutex<State>,
    /// Tells the thread of every change that it may wait for.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The loop's task, when it waits.
    task: Option<Waker>,
    /// A thread waits: telling nobody would be a system call, too.
    thread_waits: bool,
    /// The loop's side is gone: nobody takes what the thread makes, and nobody brings what it wants.
    abandoned: bool,
    request: Request,
    answer: Option<Result<Answer, Panic>>,
    frames: VecDeque<Frame>,
    /// What `frames` hold together, as [`cost`] counts.
    buffered: u64,
    /// The loop has come back for more and found nothing.
    drained: bool,
    end: Option<Result<Result<(), BodyError>, Panic>>,
}

/// The next frame of the request body.
#[derive(Default)]
enum Request {
    #[default]
    Unwanted,
    /// The thread waits for it.
    Wanted,
    Here(Result<Option<Frame>, BodyError>),
}

impl Link {
    pub(super) fn new(origin: Origin) -> Arc<Self> {
        Arc::new(Self { origin, state: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so what it guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while condition(&state) {
            state.thread_waits = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Has the thread look again, if it waits.
    fn tell_thread(&self, mut state: MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.thread_waits);
        drop(state);
        if waits {
            self.changed.notify_all();
        }
    }

    /// Changes something for the loop to see, and wakes it.
    fn tell_loop(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Hands the answer over, from whatever thread has it; `false` if nobody waits for it any more.
    pub(super) fn answer(&self, answer: Result<Answer, Panic>) -> bool {
        let mut left = Some(answer);
        self.tell_loop(|state| {
            if !state.abandoned {
                state.answer = left.take();
            }
        });
        if let Some(Err(panic)) = &left {
            self.origin.report(Phase::Call, panic);
        }
        left.is_none()
    }

    /// Whether somebody waits for the answer, or for more of it.
    pub(super) fn is_awaited(&self) -> bool {
        !self.lock().abandoned
    }

    /// Says how the response body ended.
    pub(super) fn end(&self, end: Result<Result<(), BodyError>, Panic>) {
        let mut left = Some(end);
        self.tell_loop(|state| {
            if !state.abandoned {
                state.end = left.take();
            }
        });
        if let Some(Err(panic)) = left {
            self.origin.report(Phase::Body, &panic);
        }
    }
}

/// The loop's side: polls the request body for the thread, and whatever the thread makes.
pub(super) struct LoopSide {
    link: Arc<Link>,
    request: Option<Pin<Box<dyn PollBody + Send>>>,
}

impl LoopSide {
    pub(super) fn new(link: Arc<Link>, request: Option<Pin<Box<dyn PollBody + Send>>>) -> Self {
        Self { link, request }
    }

    /// Polls for the answer. Unwinds with the application's panic, if that is what came of it.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.link.lock();
        if let Some(answer) = state.answer.take() {
            drop(state);
            return Poll::Ready(answer.unwrap_or_else(|panic| resume_unwind(panic)));
        }
        state.task = Some(cx.waker().clone());
        if let Request::Wanted = state.request {
            drop(state);
            self.bring_request(cx);
        }
        Poll::Pending
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut state = self.link.lock();
        if let Some(frame) = state.frames.pop_front() {
            state.buffered -= cost(&frame);
            self.link.tell_thread(state);
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(end) = state.end.take() {
            drop(state);
            let end = end.unwrap_or_else(|panic| resume_unwind(panic));
            return Poll::Ready(end.err().map(Err));
        }
        state.drained = true;
        state.task = Some(cx.waker().clone());
        let is_wanted = matches!(state.request, Request::Wanted);
        self.link.tell_thread(state);
        if is_wanted {
            self.bring_request(cx);
        }
        Poll::Pending
    }

    /// Polls the request body for the thread, which waits for it.
    fn bring_request(&mut self, cx: &mut Context<'_>) {
        let frame = match &mut self.request {
            None => Ok(None),
            Some(body) => match body.as_mut().poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(frame) => frame.transpose(),
            },
        };
        if let Ok(None) | Err(_) = frame {
            self.request = None;
        }
        let mut state = self.link.lock();
        state.request = Request::Here(frame);
        self.link.tell_thread(state);
    }

    /// The response body whose frames come through the link.
    pub(super) fn into_body(self, exact_len: Option<u64>) -> AsyncBody {
        AsyncBody::from_poll(LinkedFrames { side: self, left: exact_len })
    }
}

impl Drop for LoopSide {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.abandoned = true;
        // Dropped outside the lock: values of the application may do anything in their drop.
        let left = (state.answer.take(), std::mem::take(&mut state.frames), state.end.take());
        self.link.tell_thread(state);
        if let (Some(Err(panic)), ..) = &left {
            self.link.origin.report(Phase::Call, panic);
        }
        if let (.., Some(Err(panic))) = &left {
            self.link.origin.report(Phase::Body, panic);
        }
        drop(left);
    }
}

struct LinkedFrames {
    side: LoopSide,
    left: Option<u64>,
}

impl PollBody for LinkedFrames {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = self.side.poll_response(cx);
        if let (Poll::Ready(Some(Ok(Frame::Data(data)))), Some(left)) = (&frame, &mut self.left) {
            *left = left.saturating_sub(data.len() as u64);
        }
        frame
    }

    fn exact_len(&self) -> Option<u64> {
        self.left
    }
}

/// The request body as the thread reads it.
pub(super) struct LinkedRequest {
    pub(super) link: Arc<Link>,
    /// What it declared, less what was read.
    pub(super) left: Option<u64>,
    pub(super) over: bool,
}

impl FrameRead for LinkedRequest {
    fn next_frame(&mut self) -> Result<Option<Frame>, BodyError> {
        if self.over {
            return Ok(None);
        }
        self.link.tell_loop(|state| state.request = Request::Wanted);
        let mut state =
            self.link.wait_while(|state| matches!(state.request, Request::Wanted) && !state.abandoned);
        let frame = match std::mem::take(&mut state.request) {
            Request::Here(frame) => frame,
            Request::Wanted | Request::Unwanted => Err(BodyError::new(BodyErrorKind::Disconnected)),
        };
        match &frame {
            Ok(None) | Err(_) => self.over = true,
            Ok(Some(Frame::Data(data))) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            }
            Ok(Some(Frame::Trailers(_))) => {}
        }
        frame
    }

    fn exact_len(&self) -> Option<u64> {
        self.left
    }
}

/// What a frame counts towards the high-water mark. Without data it still takes a place in the queue, which an endless
/// row of such frames would let grow without bound.
fn cost(frame: &Frame) -> u64 {
    const COST_MIN: u64 = 64;
    match frame {
        Frame::Data(data) => COST_MIN.max(data.len() as u64),
        Frame::Trailers(_) => COST_MIN,
    }
}

/// Where the thread's writer pushes its frames.
pub(super) struct LinkedSink<'a> {
    link: &'a Link,
    /// The head, and how many bytes follow if that is known, until it is handed over.
    head: Option<(response::Parts, Option<u64>)>,
    high_water: u64,
}

impl<'a> LinkedSink<'a> {
    pub(super) fn new(link: &'a Link, head: response::Parts, exact_len: Option<u64>) -> Self {
        // What waits here waits beside what the server holds already (spec B8).
        let high_water = link.origin().worker.info().limits.write_high_water / 4;
        Self { link, head: Some((head, exact_len)), high_water }
    }

    /// Hands the head over, if that was not done yet.
    fn begin(&mut self) {
        if let Some((head, exact_len)) = self.head.take() {
            self.link.answer(Ok(Ok((head, LinkedBody::Frames(exact_len)))));
        }
    }

    /// Says how the writer has ended; `false` if nobody waits for its answer any more.
    pub(super) fn end(mut self, end: Result<Result<(), BodyError>, Panic>) -> bool {
        match end {
            // Ahead of the head it is the call that has failed, as far as anybody can tell.
            Ok(Err(error)) if self.head.is_some() => self.link.answer(Ok(Err(AppError::from(error)))),
            Err(panic) if self.head.is_some() => self.link.answer(Err(panic)),
            end => {
                self.begin();
                self.link.end(end);
                self.link.is_awaited()
            }
        }
    }

    fn push(&mut self, frame: Frame) -> Result<(), BodyError> {
        self.begin();
        let cost = cost(&frame);
        let high_water = self.high_water;
        // A frame larger than the mark goes through when nothing else waits.
        drop(self.link.wait_while(|state| {
            !state.abandoned && state.buffered > 0 && state.buffered + cost > high_water
        }));
        let mut taken = false;
        self.link.tell_loop(|state| {
            if !state.abandoned {
                state.frames.push_back(frame);
                state.buffered += cost;
                state.drained = false;
                taken = true;
            }
        });
        if taken { Ok(()) } else { Err(BodyError::new(BodyErrorKind::Disconnected)) }
    }
}

impl FrameSink for LinkedSink<'_> {
    fn data(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        self.push(Frame::Data(chunk))
    }

    /// Returns once the loop has taken every frame and been told that there are no more for now. Whatever it then still
    /// holds it writes before it sleeps, for its body is pending (spec B9): nothing is left for the thread to do, though
    /// the last bytes may leave a moment after this returned.
    fn flush(&mut self) -> Result<(), BodyError> {
        self.begin();
        let state =
            self.link.wait_while(|state| !(state.abandoned || state.frames.is_empty() && state.drained));
        if state.abandoned { Err(BodyError::new(BodyErrorKind::Disconnected)) } else { Ok(()) }
    }

    fn trailers(&mut self, trailers: HeaderMap) -> Result<(), BodyError> {
        self.push(Frame::Trailers(trailers))
    }
}

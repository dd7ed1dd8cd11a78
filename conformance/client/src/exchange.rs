//! An exchange that the test conducts step by step.

use std::{
    fmt,
    panic::{Location, resume_unwind},
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use varvel::{Finish, Frame};

use crate::{
    Failure, Head, Record, Response, Tunnel,
    line::{Line, Wait},
    response::{Inside, Whole, seen},
    server::InProcess,
};

/// An exchange under way: the request is sent and the answer read piece by piece. Dropping it closes the connection.
///
/// Methods named `poll_` say [`Poll::Pending`] when there is nothing to come for now. The others expect something and
/// panic without it, saying what the application waits for.
///
/// In process, the body is produced as it is read: the application is asked for a frame when the test asks for one, or
/// for as much as a server may hold while the test [moves the clock](crate::Client::advance).
///
/// ```
/// use http::Response;
/// use varvel::{AsyncBody, Outcome, app_fn};
/// use varvel_test::{Client, Stage};
///
/// let client = Client::new(app_fn(|request, _| async { Ok(Response::new(request.into_body())) }));
/// let mut exchange = client.post("/echo").streaming_exactly(8).start();
/// exchange.send_data("half");
/// assert_eq!(exchange.read(4), "half");
/// exchange.disconnect();
/// assert_eq!(exchange.stage(), Stage::Over);
/// assert_eq!(exchange.finish().unwrap().outcome, Outcome::Disconnected);
/// ```
pub struct Exchange {
    pub(crate) line: Box<dyn Line>,
    /// How much of the request body may still be sent; none if it is not the exchange's to send, or has ended.
    body: OpenBody,
    head: Option<Head>,
    /// Of a frame that was read in part.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    /// How many bytes of the answer are collected.
    bytes_max: u64,
}

enum OpenBody {
    Chunked,
    Left(u64),
    Ended,
}

/// How far the server is with an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The call has not begun.
    Waiting,
    /// The application's future is pending.
    Calling,
    /// The head is sent; the response body lives.
    Answering,
    /// The continuation of an upgrade runs.
    Tunnel,
    /// Over: what the application made for it is dropped.
    Over,
}

impl Exchange {
    pub(crate) fn new(line: Box<dyn Line>, open: bool, length: Option<u64>, bytes_max: u64) -> Self {
        let body = match (open, length) {
            (false, _) => OpenBody::Ended,
            (true, None) => OpenBody::Chunked,
            (true, Some(length)) => OpenBody::Left(length),
        };
        Self { line, body, head: None, rest: Bytes::new(), trailers: None, bytes_max }
    }

    /// Sends a piece of the request body, in process as a frame of its own.
    ///
    /// # Panics
    /// If the body was not left to the exchange, has ended, or is longer than declared.
    #[track_caller]
    pub fn send_data(&mut self, data: impl Into<Bytes>) {
        let data = data.into();
        match &mut self.body {
            OpenBody::Ended => panic!("there is no open request body: see RequestBuilder::streaming"),
            OpenBody::Chunked => {}
            OpenBody::Left(left) => {
                let after = left.checked_sub(data.len() as u64);
                *left = after.unwrap_or_else(|| panic!("{} bytes, where {left} are left", data.len()));
            }
        }
        if !data.is_empty() {
            self.line.send(data);
        }
        self.line.run();
    }

    /// Ends the request body.
    ///
    /// # Panics
    /// As [`send_data`](Self::send_data), and if it is shorter than declared.
    #[track_caller]
    pub fn end_data(&mut self) {
        self.end_body(None);
    }

    /// Ends the request body with trailers.
    ///
    /// # Panics
    /// As [`end_data`](Self::end_data), and if it is not chunked.
    #[track_caller]
    pub fn send_trailers(&mut self, trailers: HeaderMap) {
        assert!(matches!(self.body, OpenBody::Chunked), "only an open chunked body has trailers");
        self.end_body(Some(trailers));
    }

    #[track_caller]
    fn end_body(&mut self, trailers: Option<HeaderMap>) {
        match std::mem::replace(&mut self.body, OpenBody::Ended) {
            OpenBody::Ended => panic!("there is no open request body: see RequestBuilder::streaming"),
            OpenBody::Left(left @ 1..) => {
                panic!("{left} bytes are missing; end_sending cuts a body short")
            }
            _ => self.line.end_body(trailers),
        }
        self.line.run();
    }

    /// Looks for the final head.
    ///
    /// # Errors
    /// If there will be none.
    pub fn poll_head(&mut self) -> Poll<Result<&Head, Failure>> {
        self.look_for_head(Wait::Not)
    }

    /// Waits for the final head.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn head(&mut self) -> &Head {
        if let Err(failure) = self.wait_for_head() {
            self.fail(&failure);
        }
        self.head.as_ref().expect("the head was found just now")
    }

    /// The status, as of [`head`](Self::head).
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn status(&mut self) -> StatusCode {
        self.head().status
    }

    /// The interim heads that have come so far.
    pub fn interim(&mut self) -> Vec<Head> {
        self.line.interims()
    }

    /// Looks for the next frame of the answer; `None` at its end. On a live target the frames are chunks, or what arrives
    /// in one piece.
    ///
    /// # Errors
    /// If there is no answer, or it breaks off.
    pub fn poll_frame(&mut self) -> Poll<Option<Result<Frame, Failure>>> {
        self.look_for_frame(Wait::Not)
    }

    /// Waits for the next frame of the answer; `None` at its end.
    ///
    /// # Panics
    /// If it does not come, or the answer breaks off.
    #[track_caller]
    pub fn frame(&mut self) -> Option<Frame> {
        match self.try_frame() {
            Ok(frame) => frame,
            Err(failure) => self.fail(&failure),
        }
    }

    fn try_frame(&mut self) -> Result<Option<Frame>, Failure> {
        match self.look_for_frame(Wait::Patiently) {
            Poll::Ready(frame) => frame.transpose(),
            Poll::Pending => Err(self.line.why_pending()),
        }
    }

    /// Waits for so many bytes of the answer.
    ///
    /// # Panics
    /// If they do not come.
    #[track_caller]
    pub fn read(&mut self, bytes: usize) -> Bytes {
        let mut read = BytesMut::new();
        while read.len() < bytes {
            match self.frame() {
                Some(Frame::Data(mut data)) => {
                    let taken = data.split_to(data.len().min(bytes - read.len()));
                    self.rest = data;
                    read.extend_from_slice(&taken);
                }
                Some(_) => {}
                None => panic!("the answer ended after {:?}, {bytes} bytes were expected", read.freeze()),
            }
        }
        read.freeze()
    }

    /// Waits for the rest of the answer.
    ///
    /// # Panics
    /// As [`RequestBuilder::send`](crate::RequestBuilder::send).
    #[track_caller]
    pub fn response(mut self) -> Response {
        match self.collect() {
            Ok(response) => {
                self.rethrow();
                response.demand_clean();
                response
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// Waits for the rest of the answer, whatever it is.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub fn try_response(mut self) -> Result<Response, Failure> {
        self.collect()
    }

    fn collect(&mut self) -> Result<Response, Failure> {
        self.wait_for_head()?;
        let mut body = BytesMut::new();
        while let Some(frame) = self.try_frame()? {
            if let Frame::Data(data) = frame {
                if (body.len() + data.len()) as u64 > self.bytes_max {
                    return Err(Failure::too_large(self.bytes_max));
                }
                body.extend_from_slice(&data);
            }
        }
        let inside = self.line.inside().map(|inside| Inside {
            finish: inside.finish(),
            error: inside.error(),
            records: inside.records(),
        });
        Ok(Response(Box::new(Whole {
            head: self.head.take().expect("the head was found above"),
            interims: self.line.interims(),
            body: body.freeze(),
            trailers: self.trailers.take(),
            inside,
        })))
    }

    /// Takes the connection over, of an upgrade that the application accepts.
    ///
    /// # Errors
    /// The answer of one that does not.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn into_tunnel(mut self) -> Result<Tunnel, Response> {
        let head = self.head().clone();
        if self.line.is_tunnel() {
            return Ok(Tunnel::new(self.line, head, self.bytes_max));
        }
        Err(self.response())
    }

    /// Reads nothing more for now: the server goes on until it holds as much as it may (spec B8). Returns how many bytes
    /// that are.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn stall(&mut self) -> u64 {
        self.inside("what a server holds back").stall()
    }

    /// How many bytes of the request body the application has not read.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn unread(&self) -> u64 {
        self.inside("what an application has not read").unread()
    }

    /// Ends the sending side of the connection. Inside the request body that cuts it short (spec B2); behind it, it counts
    /// as a disconnect for async calls that are pending (spec E13).
    pub fn end_sending(&mut self) {
        self.body = OpenBody::Ended;
        self.line.end_sending();
        self.line.run();
    }

    /// Closes the connection, and looks at what becomes of the exchange.
    pub fn disconnect(&mut self) {
        self.body = OpenBody::Ended;
        self.line.disconnect();
        self.line.run();
    }

    /// How far the server is: [`Stage::Over`] says that the application's future and body are dropped.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn stage(&self) -> Stage {
        self.inside("how far a server is").stage()
    }

    /// What the hooks were told of the end; `None` before it (spec E12).
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn finish(&self) -> Option<Finish> {
        self.inside("the outcome of an exchange").finish()
    }

    /// What was reported of this exchange so far.
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn reports(&self) -> Vec<Record> {
        self.inside("what is reported").records()
    }

    /// Polls the application once, be it woken or not: the call, or then the response body. Of an exchange that was
    /// [started unpolled](crate::RequestBuilder::start_unpolled), this is all that polls it, as long as the test uses
    /// nothing else that lets the server run.
    ///
    /// ```
    /// use http::Response;
    /// use varvel::{AsyncBody, app_fn};
    /// use varvel_test::{Client, Stage};
    ///
    /// let client = Client::new(app_fn(|_, _| async { Ok(Response::new(AsyncBody::from("hello"))) }));
    /// let mut exchange = client.get("/").start_unpolled();
    /// assert_eq!(exchange.stage(), Stage::Waiting);
    /// assert_eq!(exchange.step(), Stage::Answering);
    /// exchange.disconnect(); // Or let go of it anywhere else.
    /// assert_eq!(exchange.stage(), Stage::Over);
    /// ```
    ///
    /// # Panics
    /// On a live target.
    #[track_caller]
    pub fn step(&mut self) -> Stage {
        let inside = self.inside("a single poll");
        inside.step();
        inside.stage()
    }

    /// Fails the test: with the application's panic, if there is one to blame.
    #[track_caller]
    fn fail(&self, failure: &Failure) -> ! {
        self.rethrow();
        panic!("{failure}")
    }

    /// Goes on with the panic of an application that panicked. It was printed when it began, and is not printed again.
    #[track_caller]
    fn rethrow(&self) {
        if let Some(panic) = self.line.inside().and_then(InProcess::take_panic) {
            eprintln!("{}: the application panicked in this exchange, as told above", Location::caller());
            resume_unwind(panic);
        }
    }

    #[track_caller]
    fn inside(&self, what: &str) -> &InProcess {
        seen(what, self.line.inside())
    }

    fn look_for_head(&mut self, wait: Wait) -> Poll<Result<&Head, Failure>> {
        if self.head.is_none() {
            match self.line.poll_head(wait) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Ready(Ok(head)) => self.head = Some(head),
            }
        }
        Poll::Ready(Ok(self.head.as_ref().expect("it was found above")))
    }

    fn wait_for_head(&mut self) -> Result<(), Failure> {
        match self.look_for_head(Wait::Patiently) {
            Poll::Ready(found) => found.map(|_| ()),
            Poll::Pending => Err(self.line.why_pending()),
        }
    }

    fn look_for_frame(&mut self, wait: Wait) -> Poll<Option<Result<Frame, Failure>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::Data(std::mem::take(&mut self.rest)))));
        }
        match self.look_for_head(wait) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(failure)) => return Poll::Ready(Some(Err(failure))),
            Poll::Pending => return Poll::Pending,
        }
        let frame = self.line.poll_frame(wait);
        if let Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) = &frame {
            self.trailers = Some(trailers.clone());
        }
        frame
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.line.inside().map(InProcess::stage);
        f.debug_struct("Exchange").field("head", &self.head).field("stage", &stage).finish_non_exhaustive()
    }
}

//! What happens on an open WebSocket, for both forms: tungstenite's frames, and around them time, the stop and the end.
//!
//! ```text
//!   Open --client's Close--------------------> Closing --both Closes are through, or time is up--> Closed
//!     |---close(), the server stops----------/   |
//!     |---the client's fault, told in a Close---/
//!     \---the connection failed-----------------------------------------------------------------> Closed
//! ```

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    thread,
    time::Duration,
};

use tungstenite::{
    Message as Received, WebSocket as Frames,
    protocol::{Role, WebSocketConfig},
};
use varvel::{Timer, Worker};

use super::{
    Close, Error, Message, Text,
    link::{Line, Link, Sleeper},
};

/// The bounds of a connection, as [`Handshake`](super::Handshake) sets them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) message_bytes_max: usize,
    pub(super) frame_bytes_max: usize,
    /// After how long a silence the client is pinged, and how long it may stay silent then.
    pub(super) ping: Option<(Duration, Duration)>,
    pub(super) close_timeout: Duration,
}

pub(super) struct Connection<L: Link> {
    frames: Frames<Line<L>>,
    limits: Limits,
    stage: Stage,
    /// What the client's Close said.
    closed_with: Option<Close>,
    /// Read while sending, for the next to receive.
    ahead: Option<Message>,
    /// Something was sent since the application received last, so it may never do so.
    deaf: bool,
    /// Frames are waiting for room.
    unflushed: bool,
    /// A Pong is among them: until it is out nothing is read, or a client that sends Pings and reads nothing would fill our
    /// memory.
    pong_waits: bool,
    watchdog: Option<Watchdog>,
    /// Runs from the stop on: until then messages are still sent.
    stopping: Option<Timer>,
}

enum Stage {
    Open,
    Closing {
        until: Timer,
        /// The client's fault, to be told when it has been told; the client's Close is not waited for.
        fault: Option<Error>,
    },
    Closed,
}

impl<L: Link> Connection<L> {
    pub(super) fn new(link: L, limits: Limits) -> Self {
        let worker = link.worker().clone();
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.frame_bytes_max))
            // It is allocated for each connection from the start, and most are idle.
            .read_buffer_size(4 * 1024)
            // Frames go to the server at once, which collects them; so at most one of ours waits here.
            .write_buffer_size(0);
        Self {
            frames: Frames::from_raw_socket(Line::new(link), Role::Server, Some(config)),
            watchdog: limits.ping.map(|times| Watchdog::new(times, &worker)),
            limits,
            stage: Stage::Open,
            closed_with: None,
            ahead: None,
            deaf: false,
            unflushed: false,
            pong_waits: false,
            stopping: None,
        }
    }

    pub(super) fn closed_with(&self) -> Option<&Close> {
        self.closed_with.as_ref()
    }

    pub(super) fn worker(&self) -> &Worker {
        self.frames.get_ref().link.worker()
    }

    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.frames.get_mut().turn(cx);
        self.deaf = false;
        if let Some(message) = self.ahead.take() {
            return Poll::Ready(Ok(Some(message)));
        }
        if let Stage::Open = self.stage {
            if self.worker().poll_stopping(cx).is_ready() {
                self.start_close(&Close::to_send(Close::GOING_AWAY, ""));
            } else if let Some(message) = ready!(self.poll_open(cx, Self::read)) {
                return Poll::Ready(Ok(Some(message)));
            }
        }
        self.poll_closing(cx).map_ok(|()| None)
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Error>> {
        self.frames.get_mut().turn(cx);
        if let (Stage::Open, true, None) = (&self.stage, self.deaf, &self.ahead) {
            // Somebody who only sends is told of a Close all the same, and the client's Pings are answered.
            self.ahead = self.read_or_close();
        }
        if let Stage::Open = self.stage {
            self.poll_stop_sending(cx);
        }
        if let Stage::Open = self.stage {
            if ready!(self.poll_open(cx, |open| open.write(message))).is_some() {
                self.deaf = true;
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_closing(cx))?;
        Poll::Ready(Err(Error::Closed))
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, close: &Close) -> Poll<Result<(), Error>> {
        self.frames.get_mut().turn(cx);
        if let Stage::Open = self.stage {
            self.start_close(close);
        }
        self.poll_closing(cx)
    }

    /// Does a step of an open connection: `Some` when it is done, `None` when the connection is no longer open.
    fn poll_open<T>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut Self) -> Result<Option<T>, tungstenite::Error>,
    ) -> Poll<Option<T>> {
        match step(self) {
            Ok(done) => Poll::Ready(done),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                match self.poll_watchdog(cx) {
                    Ok(()) => Poll::Pending,
                    Err(error) => {
                        self.fail(error);
                        Poll::Ready(None)
                    }
                }
            }
            Err(error) => {
                self.fail(error.into());
                Poll::Ready(None)
            }
        }
    }

    /// The next message; `None` if a Close comes first.
    fn read(&mut self) -> Result<Option<Message>, tungstenite::Error> {
        if self.pong_waits {
            self.flush()?;
        } else if self.unflushed {
            // Messages wait for room, and reading goes on without them.
            self.flush().or_else(unless_blocked)?;
        }
        loop {
            match self.frames.read()? {
                Received::Text(text) => return Ok(Some(Message::Text(Text(text)))),
                Received::Binary(bytes) => return Ok(Some(Message::Binary(bytes))),
                Received::Ping(_) => {
                    self.pong_waits = true;
                    self.flush()?;
                }
                Received::Pong(_) | Received::Frame(_) => {}
                Received::Close(frame) => {
                    self.closed_with = Some(Close::received(frame));
                    self.begin_closing(None);
                    return Ok(None);
                }
            }
        }
    }

    /// What is there already, if it is a message.
    fn read_or_close(&mut self) -> Option<Message> {
        match self.read() {
            Ok(message) => message,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => {
                self.fail(error.into());
                None
            }
        }
    }

    /// Writes the message, behind everything that waits.
    fn write(&mut self, message: &mut Option<Message>) -> Result<Option<()>, tungstenite::Error> {
        self.flush()?;
        if let Some(message) = message.take() {
            self.unflushed = true;
            self.frames.write(message.into())?;
            self.flush()?;
        }
        Ok(Some(()))
    }

    fn flush(&mut self) -> Result<(), tungstenite::Error> {
        self.unflushed = true;
        self.frames.flush()?;
        (self.unflushed, self.pong_waits) = (false, false);
        Ok(())
    }

    /// Closes if the stop is so long ago that nothing is being answered any more.
    fn poll_stop_sending(&mut self, cx: &mut Context<'_>) {
        if self.stopping.is_none() && self.worker().is_stopping() {
            self.stopping = Some(self.worker().sleep(self.limits.close_timeout));
        }
        if let Some(timer) = &mut self.stopping {
            if Pin::new(timer).poll(cx).is_ready() {
                self.start_close(&Close::to_send(Close::GOING_AWAY, ""));
            }
        }
    }

    /// Pings a client that is silent.
    fn poll_watchdog(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let Some(watchdog) = &mut self.watchdog else { return Ok(()) };
        while Pin::new(&mut watchdog.timer).poll(cx).is_ready() {
            let line = self.frames.get_mut();
            let worker = line.link.worker().clone();
            match (line.take_alive(), watchdog.pinged) {
                (true, _) => watchdog.rearm(false, &worker),
                (false, true) => return Err(Error::TimedOut),
                (false, false) => {
                    watchdog.rearm(true, &worker);
                    self.unflushed = true;
                    self.frames.write(Received::Ping(bytes::Bytes::new())).or_else(unless_blocked)?;
                    self.frames.flush().or_else(unless_blocked)?;
                }
            }
        }
        Ok(())
    }

    /// Ends it for another reason than a Close, of which the client is told if it was its fault.
    fn fail(&mut self, error: Error) {
        if let Some(close) = error.close() {
            let _ = self.frames.close(Some(close.frame()));
        }
        self.begin_closing(Some(error));
    }

    /// Sends our Close.
    fn start_close(&mut self, close: &Close) {
        // Whatever goes wrong here goes wrong again when it is flushed.
        let _ = self.frames.close(Some(close.frame()));
        self.begin_closing(None);
    }

    fn begin_closing(&mut self, fault: Option<Error>) {
        self.watchdog = None;
        self.stopping = None;
        self.stage = Stage::Closing { until: self.worker().sleep(self.limits.close_timeout), fault };
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Stage::Closing { until, fault } = &mut self.stage else { return Poll::Ready(Ok(())) };
        let lost = matches!(fault, Some(error) if error.close().is_none());
        let over = lost
            || loop {
                match self.frames.flush() {
                    Ok(()) if fault.is_some() => break true,
                    Ok(()) => {}
                    Err(error) => break unless_blocked(error).is_err(),
                }
                match self.frames.read() {
                    Ok(Received::Close(frame)) => self.closed_with = Some(Close::received(frame)),
                    // What comes before the client's Close comes too late.
                    Ok(_) => {}
                    Err(error) => break unless_blocked(error).is_err(),
                }
            };
        if !over {
            ready!(Pin::new(until).poll(cx));
        }
        let outcome = match fault.take() {
            Some(error) => Err(error),
            None if over => Ok(()),
            None => Err(Error::TimedOut),
        };
        self.stage = Stage::Closed;
        // The client is to see the end also if the application keeps the socket; if this must wait, dropping it does.
        let _ = self.frames.get_mut().link.poll_close(cx);
        Poll::Ready(outcome)
    }
}

impl Connection<Sleeper> {
    /// Polls until it is done, and sleeps in between.
    pub(super) fn wait<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Result<T, Error> {
        let waker = self.frames.get_ref().link.waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = poll(self, &mut cx) {
                return result;
            }
            if let Err(error) = self.frames.get_mut().link.sleep() {
                self.stage = Stage::Closed;
                return Err(error.into());
            }
        }
    }
}

impl<L: Link> Drop for Connection<L> {
    fn drop(&mut self) {
        let Stage::Open = self.stage else { return };
        let code = if thread::panicking() {
            Close::INTERNAL_ERROR
        } else if self.worker().is_stopping() {
            Close::GOING_AWAY
        } else {
            Close::NORMAL
        };
        // As far as there is room; nobody waits for it.
        self.frames.get_mut().turn(&Context::from_waker(Waker::noop()));
        let _ = self.frames.close(Some(Close::to_send(code, "").frame()));
    }
}

/// Looks from time to time whether the client gave a sign of life.
struct Watchdog {
    interval: Duration,
    patience: Duration,
    timer: Timer,
    /// The client was pinged, and this is its last chance.
    pinged: bool,
}

impl Watchdog {
    fn new((interval, patience): (Duration, Duration), worker: &Worker) -> Self {
        Self { interval, patience, timer: worker.sleep(interval), pinged: false }
    }

    fn rearm(&mut self, pinged: bool, worker: &Worker) {
        self.pinged = pinged;
        self.timer = worker.sleep(if pinged { self.patience } else { self.interval });
    }
}

fn unless_blocked(error: tungstenite::Error) -> Result<(), tungstenite::Error> {
    match error {
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        error => Err(error),
    }
}

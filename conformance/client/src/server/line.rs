//! The client's end of an exchange with the in-process server.

use std::{any::Any, cell::RefCell, io, rc::Rc, sync::Arc, task::Poll};

use bytes::Bytes;
use http::HeaderMap;
use varvel::{AppError, Caps, Finish, Frame};

use super::{
    Server, answer,
    call::{Call, End},
};
use crate::{
    Failure, FailureKind, Head, Record, Stage,
    line::{Line, Wait},
};

/// The client leaves when it is dropped.
pub(crate) struct InProcess {
    server: Rc<Server>,
    call: Rc<RefCell<Call>>,
}

impl InProcess {
    pub(crate) fn new(server: Rc<Server>, call: Rc<RefCell<Call>>) -> Self {
        Self { server, call }
    }

    fn settle(&self, wait: Wait, done: impl Fn(&Call) -> bool) -> bool {
        self.server.settle(wait, || done(&self.call.borrow()))
    }
}

impl Line for InProcess {
    fn poll_head(&mut self, wait: Wait) -> Poll<Result<Head, Failure>> {
        if !self.settle(wait, |call| call.head.is_some() || call.finish.is_some()) {
            return Poll::Pending;
        }
        let call = self.call.borrow();
        Poll::Ready(match (&call.head, &call.end) {
            (Some(head), _) => Ok(head.clone()),
            (None, Some(End::Silence(why) | End::BrokenOff(why))) => {
                Err(Failure::new(FailureKind::NoAnswer, why.clone()))
            }
            (None, _) => Err(Failure::new(FailureKind::NoAnswer, "the exchange is over")),
        })
    }

    fn interims(&mut self) -> Vec<Head> {
        self.call.borrow_mut().interims(&self.server).to_vec()
    }

    fn poll_frame(&mut self, wait: Wait) -> Poll<Option<Result<Frame, Failure>>> {
        let mut call = self.call.borrow_mut();
        if call.outbox.is_empty() && call.end.is_none() {
            call.want(1);
        }
        drop(call);
        let there = |call: &Call| !call.outbox.is_empty() || call.end.is_some() || call.finish.is_some();
        if !self.settle(wait, there) {
            return Poll::Pending;
        }
        let mut call = self.call.borrow_mut();
        if let Some(frame) = call.take_frame() {
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(match &call.end {
            Some(End::Complete) | None => None,
            Some(End::BrokenOff(why)) => Some(Err(Failure::new(FailureKind::BrokenOff, why.clone()))),
            Some(End::Silence(why)) => Some(Err(Failure::new(FailureKind::NoAnswer, why.clone()))),
        })
    }

    fn why_pending(&self) -> Failure {
        Failure::new(FailureKind::Pending, self.server.describe_wait(&self.call.borrow()))
    }

    fn send(&mut self, data: Bytes) {
        if let Some(incoming) = &self.call.borrow().incoming {
            incoming.push(Frame::Data(data));
        }
    }

    fn end_body(&mut self, trailers: Option<HeaderMap>) {
        if let Some(incoming) = &self.call.borrow().incoming {
            let delivered = self.server.has(Caps::TRAILERS_IN);
            let mut trailers = trailers.filter(|_| delivered).unwrap_or_default();
            answer::remove_from_trailers(&mut trailers);
            if !trailers.is_empty() {
                incoming.push(Frame::Trailers(trailers));
            }
            incoming.end(Ok(()));
        }
    }

    fn end_sending(&mut self) {
        self.call.borrow_mut().end_sending();
    }

    fn disconnect(&mut self) {
        self.call.borrow_mut().disconnect(&self.server);
    }

    fn is_tunnel(&self) -> bool {
        self.call.borrow().pipe.is_some()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let call = self.call.borrow();
        match &call.pipe {
            Some(pipe) if call.finish.is_none() => pipe.push(bytes),
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(())
    }

    fn poll_read(&mut self, buffer: &mut [u8], wait: Wait) -> Poll<io::Result<usize>> {
        let Some(pipe) = self.call.borrow().pipe.clone() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if !self.server.settle(wait, || pipe.is_readable()) {
            return Poll::Pending;
        }
        let read = pipe.pull(buffer);
        self.server.turn();
        read.map_or(Poll::Pending, |read| Poll::Ready(Ok(read)))
    }

    fn run(&mut self) {
        self.server.turn();
    }

    fn inside(&self) -> Option<&InProcess> {
        Some(self)
    }
}

/// What only an in-process server can tell of an exchange.
impl InProcess {
    pub(crate) fn stage(&self) -> Stage {
        self.call.borrow().stage()
    }

    pub(crate) fn finish(&self) -> Option<Finish> {
        self.call.borrow().finish
    }

    pub(crate) fn error(&self) -> Option<Arc<AppError>> {
        self.call.borrow().error.clone()
    }

    /// The first panic of the application in this exchange, once.
    pub(crate) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.call.borrow_mut().panic.take()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let id = self.call.borrow().id;
        self.server.records().into_iter().filter(|record| record.connection == Some(id)).collect()
    }

    pub(crate) fn unread(&self) -> u64 {
        self.call.borrow().incoming.as_ref().map_or(0, |incoming| incoming.unread())
    }

    pub(crate) fn step(&self) {
        let mut call = self.call.borrow_mut();
        call.task.take_woken();
        call.go(&self.server, true);
    }

    pub(crate) fn stall(&self) -> u64 {
        self.call.borrow_mut().want(self.server.room());
        self.server.turn();
        self.call.borrow().unsent()
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.disconnect();
        self.server.turn();
    }
}

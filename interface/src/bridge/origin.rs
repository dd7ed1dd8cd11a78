//! The request that is being answered, for reports of what the server does not get to see.

use std::any::Any;

use bytes::Bytes;
use http::{Method, request::Parts};

use crate::{Event, Phase, Report, RequestId, Scope, Worker};

/// What a panic left behind.
pub(super) type Panic = Box<dyn Any + Send>;

pub(super) struct Origin {
    pub(super) worker: Worker,
    connection: u64,
    number: u64,
    pub(super) method: Method,
    target: Bytes,
}

impl Origin {
    #[inline]
    pub(super) fn of(head: &Parts, scope: &Scope) -> Self {
        Self {
            worker: scope.worker().clone(),
            connection: scope.conn().id,
            number: scope.number(),
            method: head.method.clone(),
            target: scope.target(),
        }
    }

    /// Reports a panic that nobody else will.
    pub(super) fn report(&self, during: Phase, panic: &Panic) {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let request = RequestId::new(self.connection, self.number, Some(&self.method), &self.target);
        let message = message.unwrap_or("a panic without a message");
        self.worker.report(&Report::of(request, Event::Panicked { during, message }));
    }
}

//! Futures of an application, whose panics are failures.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use varvel::AppError;
use varvel_toolkit::caught;

use crate::Result;

/// Makes a future, which is on the heap, and polls it, each as [`caught`] runs a function.
pub(crate) fn awaited<F: Unpin>(make: impl FnOnce() -> F) -> Awaited<F> {
    match caught(make) {
        Ok(future) => Awaited::Future(future),
        Err(panicked) => Awaited::Panicked(Some(panicked)),
    }
}

pub(crate) enum Awaited<F> {
    Future(F),
    /// Before there was a future.
    Panicked(Option<AppError>),
}

impl<F: Future<Output = Result<T>> + Unpin, T> Future for Awaited<F> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut *self {
            Self::Future(future) => {
                let polled = caught(|| Pin::new(future).poll(cx));
                polled.unwrap_or_else(|panicked| Poll::Ready(Err(panicked)))
            }
            Self::Panicked(panicked) => Poll::Ready(Err(panicked.take().expect("it is polled once"))),
        }
    }
}

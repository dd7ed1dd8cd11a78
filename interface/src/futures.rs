//! The traits of the `futures` crates for what streams.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use crate::{AsyncBody, AsyncIo, BodyError, Frame};

impl Stream for AsyncBody {
    type Item = Result<Frame, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_frame(self.get_mut(), cx)
    }
}

impl AsyncRead for AsyncIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(self.get_mut(), cx, buffer)
    }
}

impl AsyncWrite for AsyncIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_close(self.get_mut(), cx)
    }
}

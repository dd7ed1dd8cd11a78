//! What the head of one request leaves for the next.

use std::mem;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::Authority;

use crate::error::Refusal;
use crate::host::parse_authority;
use crate::request_head::RequestHead;
use crate::section_memo::SectionMemo;

/// What the head of one request leaves for the next that is read on the same thread, of whichever connection. It changes
/// nothing but the time that reading takes.
#[derive(Debug, Default)]
pub struct Spare {
    /// The next request's fields are put into it, so that a map need not be allocated. Its own are thrown away.
    pub headers: HeaderMap,
    /// A head to be filled.
    head: Option<Box<RequestHead>>,
    /// Header sections that clients have repeated.
    pub(crate) sections: SectionMemo,
    /// The last Host. Most requests to a server have the same, which need not be parsed again. It keeps the piece of
    /// input that it was read in.
    host: Option<Authority>,
}

impl Spare {
    /// Takes back a head of which everything that is still needed was taken.
    pub fn recycle(&mut self, mut head: Box<RequestHead>) {
        // Whatever a caller has put there is of that request, and nothing overwrites it.
        head.request.extensions_mut().clear();
        self.head = Some(head);
    }

    /// A head to be filled, with the map to be filled in it.
    #[inline]
    pub(crate) fn head(&mut self) -> Box<RequestHead> {
        let mut head = self.head.take().unwrap_or_default();
        mem::swap(head.request.headers_mut(), &mut self.headers);
        head
    }

    /// The authority in a Host field, which is a part of `input`.
    pub(crate) fn authority(&mut self, input: &Bytes, host: &[u8]) -> Result<Authority, Refusal> {
        match &self.host {
            Some(last) if last.as_str().as_bytes() == host => Ok(last.clone()),
            _ => {
                let host = parse_authority(input.slice_ref(host)).ok_or(Refusal::HostInvalid)?;
                self.host = Some(host.clone());
                Ok(host)
            }
        }
    }
}

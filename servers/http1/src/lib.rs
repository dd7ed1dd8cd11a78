//! The server role of HTTP/1.1 (RFC 9112) without IO: bytes to requests, responses to bytes.
//!
//! A [`Connection`] is given the bytes a peer has sent, and hands out request heads and pieces of bodies. It
//! is told what the response is, and writes the text of HTTP around it. It knows where each message ends,
//! when the connection may be used again, what is refused and with which status, and until when to wait.
//!
//! What it leaves out is left to the caller:
//!
//! - **Sockets, threads, wake-ups.** Nothing here reads or writes.
//! - **The clock.** `now` is an argument, and the next [`Deadline`] is an answer.
//! - **Buffers.** The caller keeps what was read and not consumed yet; heads and bodies come out as slices of
//!   it. Bodies of responses never pass through here at all, so they can be gathered by `writev` or sent from
//!   a file.
//! - **TLS, HTTP/2, HTTP/0.9, the client role.**
//! - **Transfer codings other than `chunked`.** A request that uses one gets 501, as RFC 9112 section 6.1 has
//!   it.
//!
//! ```text
//!                     +----------------- Connection -----------------+
//!                     |                                              |
//!   bytes read,       |  receiving                                   |     RequestHead
//!   `input`     ----> |    Head ---------> Body --------> Complete   | --> BodyEvent
//!                     |     | receive_head  | receive_body     |     |     Refusal, BodyFault
//!                     |     |               |                  |     |
//!                     |     +---> Broken <--+                  |     |
//!                     |           a fault is final             |     |
//!                     |                          next_exchange +---> | --> After: on, or close
//!                     |  sending                               |     |     for a CloseReason
//!                     |                                        |     |
//!   bytes to write,   |    Idle -> Head -> Body ----------> Complete | <-- status, fields, lengths
//!   `out`       <---- |             |       |      send_end          |
//!                     |   send_interim    send_data                  |
//!                     |   send_head                                  |
//!                     +----------------------------------------------+
//! ```
//!
//! # Serving a connection
//!
//! This server answers every request with the length of its body. Its transport is a slice of bytes, and a
//! `Vec` takes what it writes.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use http::{HeaderMap, StatusCode};
//! use varvel_http1::{After, BodyEvent, BodyLength, Config, Connection, Refusal, Spare};
//!
//! /// Serves what a peer sent before it closed its side. Gives what is sent back.
//! fn serve(mut input: Bytes) -> Vec<u8> {
//!     let now = Instant::now(); // A server asks the clock whenever it wakes up.
//!     let date = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
//!     let mut connection = Connection::new(Arc::new(Config::default()), now);
//!     let mut spare = Spare::default();
//!     let mut out = Vec::new();
//!     loop {
//!         let head = match connection.receive_head(&mut input, &mut spare, now) {
//!             Ok(Some(head)) => head,
//!             Ok(None) => return out, // A server reads more, or hears that there is no more.
//!             Err(refusal) => {
//!                 connection.send_refusal(refusal, date, &mut out);
//!                 return out;
//!             }
//!         };
//!
//!         connection.send_continue(&mut out); // A server writes this before it reads the body.
//!         let mut length = 0;
//!         loop {
//!             match connection.receive_body(&mut input, now) {
//!                 Ok(BodyEvent::Data(data)) => length += data.len(),
//!                 Ok(BodyEvent::End(_trailers)) => break,
//!                 Ok(BodyEvent::NeedMore) => return out, // As above.
//!                 Err(fault) => {
//!                     connection.send_refusal(Refusal::from(fault), date, &mut out);
//!                     return out;
//!                 }
//!             }
//!         }
//!
//!         let answer = format!("{} sent {length} bytes\n", head.request.method());
//!         let known = BodyLength::Known(answer.len() as u64);
//!         connection.send_head(StatusCode::OK, &HeaderMap::new(), known, date, &mut out).unwrap();
//!         let frame = connection.send_data(answer.len() as u64, &mut out);
//!         out.extend_from_slice(&answer.as_bytes()[..frame.take as usize]);
//!         out.extend_from_slice(frame.suffix);
//!         connection.send_end(None, &mut out).unwrap();
//!
//!         match connection.next_exchange(&mut input, now) {
//!             After::KeepAlive => {
//!                 // The map goes round: the next request needs no allocation for its fields.
//!                 spare.headers = head.request.into_parts().0.headers;
//!             }
//!             After::Discard => return out, // A server reads more, and asks again.
//!             After::Close(_reason) => return out,
//!         }
//!     }
//! }
//!
//! let requests = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\n";
//! let responses = String::from_utf8(serve(Bytes::from(requests))).unwrap();
//! assert!(responses.starts_with("HTTP/1.1 200 OK\r\n"));
//! assert!(responses.contains("\r\n\r\nPOST sent 5 bytes\nHTTP/1.1 400 Bad Request\r\n"));
//! assert!(responses.ends_with("\r\n\r\nHost is missing (RFC 9112 section 3.2)\n"));
//! ```
//!
//! # Strictness
//!
//! Where two recipients could disagree about a message, it is refused, also where the RFC would allow to
//! repair it: lines that end in LF alone, repeated Content-Length, folded fields, white space around chunk
//! sizes, and so on. Every [`Refusal`] names the section it stands on. The verdict on some bytes never
//! depends on the pieces in which they arrive.
//!
//! # Where to read
//!
//! In the order of the modules below: the methods, the state table they move, then heads and bodies on their
//! way in, responses on their way out, time, and the lists of limits and errors.

#![forbid(unsafe_code)]

// The methods, and the table they move.
mod connection;
mod state;

// In: heads, by parser and by scanner, what is in them, and what is remembered of them.
mod request_head;

mod field_lines;
mod head_scanner;
mod host;
mod known_fields;
mod section_memo;
mod spare;
mod target;

// In: where bodies end, and their pieces.
mod framing;
mod request_body;

mod chunked;
mod trailers;

// Out.
mod response_head;

// What it all rests on.
mod deadlines;
mod grammar;

mod limits;
mod timeouts;

mod close_reason;
mod error;

pub use close_reason::CloseReason;
pub use connection::{After, Config, Connection, DataFrame, Eof, SentEnd};
pub use deadlines::{Deadline, DeadlineKind, Expired};
pub use error::{BodyFault, BodyFaultKind, HeadRefused, InterimRefused, Refusal, ShortBody};
pub use framing::{BodyLength, RequestFraming, ResponseFraming};
pub use limits::Limits;
pub use request_body::BodyEvent;
pub use request_head::{RequestHead, UpgradeRequest};
pub use response_head::{RemovedFields, SentHead};
pub use spare::Spare;
pub use timeouts::Timeouts;

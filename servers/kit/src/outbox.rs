//! What is still to be written on a connection, in order: text, shared bytes and files.
//!
//! ```text
//!             references:   | Bytes, at 210 |          | File, at 216 |
//!                                   |                         |
//!   text: [ head, chunk size ...... ^ CRLF, next head ....... ^ CRLF ...... ]
//!              ^ text_written                                              ^ text.len()
//!
//!   on the wire:  text up to 210, the Bytes, text 210..216, the file, the rest of the text
//! ```
//!
//! All text (heads, chunk sizes, small bodies) lies in one buffer. Whatever is too big to copy is referred to,
//! together with the place in the text where it belongs. A small response is thus one append and one `send`; a
//! large one goes out head and body in one `sendmsg` without having been copied.
//!
//! # Memory
//!
//! A drained outbox holds no memory, so that idle connections cost none, and filling one allocates nothing:
//! each thread keeps one spare text buffer, which an empty outbox takes with its first bytes and gives back when
//! they are written, and likewise a spare queue of references. Only a client that reads slower than we write makes a
//! connection keep a buffer of its own, and that about as large as what it is owed.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::transport::{Transport, is_disconnect};

/// Shared bytes shorter than this are copied into the text: below a page, copying costs less than the longer
/// slice list and the reference count.
pub const COPY_BYTES_MAX: usize = 4 * 1024;

/// Slices handed to the kernel in one call. More bring little, and the array lies on the stack.
const SLICES_MAX: usize = 64;

/// After about so many bytes [`Outbox::write_to`] pauses, so that a client that reads as fast as we write (a file
/// over loopback, say) cannot keep an event loop to itself.
pub const WRITE_BUDGET: u64 = 1024 * 1024;

/// A text buffer that grew beyond this is not kept as the thread's spare.
const SPARE_CAPACITY_MAX: usize = 256 * 1024;

/// A queue of references that grew beyond this is not kept either.
const SPARE_REFERENCES_MAX: usize = 256;

/// Buffers smaller than this are not worth tidying up.
const TIDY_CAPACITY_MIN: usize = 16 * 1024;

thread_local! {
    static SPARE_TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE_REFERENCES: Cell<Option<Box<References>>> = const { Cell::new(None) };
}

/// The bytes of one connection that its client has not been sent yet.
#[derive(Default)]
pub struct Outbox {
    /// Text not written yet, after `text_written` bytes that are. Has no capacity while the outbox is empty.
    text: Vec<u8>,
    text_written: usize,
    /// What is referred to rather than copied, if anything is. Most connections never need it.
    references: Option<Box<References>>,
}

/// What is referred to rather than copied, in the order of writing.
#[derive(Default)]
struct References {
    queue: VecDeque<Reference>,
    /// Sum of the lengths.
    len: u64,
}

struct Reference {
    /// Index in `Outbox::text` before which this is written. Never decreases along the queue.
    at: usize,
    content: Content,
}

enum Content {
    /// Never empty.
    Bytes(Bytes),
    /// `left` is never 0.
    File { file: Arc<File>, offset: u64, left: u64 },
}

/// How far [`Outbox::write_to`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All is written, the outbox is empty.
    Drained,
    /// The socket takes no more now: go on when it is writable.
    Blocked,
    /// [`WRITE_BUDGET`] is used up: see to other connections, then go on. No readiness event will come.
    Paused,
}

/// Why an outbox could not be written. What is left of it cannot be sent any more: reset the connection, so that
/// the client does not take what it got for complete (spec B10).
#[derive(Debug)]
pub enum WriteError {
    /// The connection broke or the client left; see [`is_disconnect`].
    Transport(io::Error),
    /// A file could not be read.
    File(io::Error),
    /// A file ended `missing` bytes before the promised length (spec B14).
    FileShort {
        /// Bytes that were promised and are not there.
        missing: u64,
    },
}

impl Outbox {
    /// An empty outbox, without memory.
    pub const fn new() -> Self {
        Self { text: Vec::new(), text_written: 0, references: None }
    }

    /// Bytes still to be written, files included. What falls between two calls of [`write_to`](Self::write_to)
    /// is what was written: a server renews its write deadline by it.
    #[inline]
    pub fn len(&self) -> u64 {
        (self.text.len() - self.text_written) as u64
            + self.references.as_ref().map_or(0, |references| references.len)
    }

    /// Whether everything is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.text.len() == self.text_written && self.first().is_none()
    }

    /// Appends a copy of `text`.
    #[inline]
    pub fn push_text(&mut self, text: &[u8]) {
        self.text_mut().extend_from_slice(text);
    }

    /// The text buffer, for encoders that append to a `Vec`: heads and chunk sizes are written in place.
    ///
    /// Only append: what the buffer holds already is not the caller's. And ask for it only if there is something to append: an
    /// outbox that stays empty keeps the thread's buffer until something was written through it.
    #[inline]
    pub fn text_mut(&mut self) -> &mut Vec<u8> {
        if self.text.capacity() == 0 {
            self.text = SPARE_TEXT.take();
        }
        &mut self.text
    }

    /// Appends `bytes`: by reference, or copied when shorter than [`COPY_BYTES_MAX`].
    pub fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BYTES_MAX {
            self.push_text(&bytes);
        } else {
            self.refer(bytes.len() as u64, Content::Bytes(bytes));
        }
    }

    /// Appends `len` bytes of `file` from `offset`. The file is not touched before its turn comes, and its own
    /// position is never used.
    pub fn push_file(&mut self, file: Arc<File>, offset: u64, len: u64) {
        if len > 0 {
            self.refer(len, Content::File { file, offset, left: len });
        }
    }

    fn refer(&mut self, len: u64, content: Content) {
        let references = self.references.get_or_insert_with(|| SPARE_REFERENCES.take().unwrap_or_default());
        references.queue.push_back(Reference { at: self.text.len(), content });
        references.len += len;
    }

    fn references_len(&self) -> usize {
        self.references.as_ref().map_or(0, |references| references.queue.len())
    }

    /// What is referred to next.
    fn first(&self) -> Option<&Reference> {
        self.references.as_ref()?.queue.front()
    }

    /// The same, with the length of all.
    fn first_content(&mut self) -> Option<(&mut Content, &mut u64)> {
        let References { queue, len } = &mut **self.references.as_mut()?;
        Some((&mut queue.front_mut()?.content, len))
    }

    fn drop_first(&mut self) {
        if let Some(references) = &mut self.references {
            references.queue.pop_front();
        }
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        if let Some(references) = self.references.take() {
            keep_references_as_spare(references);
        }
        self.text_written = 0;
        keep_as_spare(mem::take(&mut self.text));
    }

    /// Writes as much as `transport` takes.
    pub fn write_to(&mut self, transport: &Transport) -> Result<Progress, WriteError> {
        self.write(transport, false)
    }

    /// The same where more is about to be pushed. A last partial packet may wait for it: a stream that is written piece by
    /// piece would otherwise end each with a small packet, which costs the system, and the client, as much as a full one.
    ///
    /// If nothing more comes after all, [`Transport::push`] is needed.
    pub fn write_more_to(&mut self, transport: &Transport) -> Result<Progress, WriteError> {
        self.write(transport, true)
    }

    fn write(&mut self, transport: &Transport, more_follows: bool) -> Result<Progress, WriteError> {
        let mut budget = WRITE_BUDGET;
        loop {
            let step = match self.first() {
                None if self.text.len() == self.text_written => {
                    self.clear();
                    return Ok(Progress::Drained);
                }
                None if !more_follows => self.write_text(transport)?,
                Some(Reference { at, content: Content::File { .. } }) if *at == self.text_written => {
                    self.write_file(transport, budget)?
                }
                _ => self.write_slices(transport, more_follows)?,
            };
            if step.blocked {
                self.tidy();
                return Ok(Progress::Blocked);
            }
            budget = budget.saturating_sub(step.written);
            if budget == 0 && !self.is_empty() {
                self.tidy();
                return Ok(Progress::Paused);
            }
        }
    }

    /// The usual case: nothing but text.
    fn write_text(&mut self, transport: &Transport) -> Result<Step, WriteError> {
        let rest = &self.text[self.text_written..];
        let step = Step::of(transport.write(rest), rest.len())?;
        self.text_written += step.written as usize;
        Ok(step)
    }

    /// Text and bytes up to the next file or the end, in one call.
    fn write_slices(&mut self, transport: &Transport, more_follows: bool) -> Result<Step, WriteError> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut offered, mut text_taken) = (0, 0, self.text_written);
        let mut references = self.references.iter().flat_map(|references| &references.queue);
        while count + 2 <= SLICES_MAX {
            let next = references.next();
            let text = &self.text[text_taken..next.map_or(self.text.len(), |next| next.at)];
            if !text.is_empty() {
                slices[count] = IoSlice::new(text);
                (count, offered, text_taken) = (count + 1, offered + text.len(), text_taken + text.len());
            }
            match next.map(|next| &next.content) {
                Some(Content::Bytes(bytes)) => {
                    slices[count] = IoSlice::new(bytes);
                    (count, offered) = (count + 1, offered + bytes.len());
                }
                Some(Content::File { .. }) | None => break,
            }
        }
        let more_follows = more_follows || offered as u64 != self.len();
        let step = Step::of(transport.write_vectored(&slices[..count], more_follows), offered)?;
        self.advance(step.written as usize);
        Ok(step)
    }

    /// Takes `written` bytes of text and shared bytes off the front.
    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let text_end = self.first().map_or(self.text.len(), |first| first.at);
            let text = written.min(text_end - self.text_written);
            self.text_written += text;
            written -= text;
            if written == 0 {
                return;
            }
            let Some((Content::Bytes(bytes), len)) = self.first_content() else {
                unreachable!("only text and bytes are offered to be written together")
            };
            let taken = written.min(bytes.len());
            bytes.advance(taken);
            *len -= taken as u64;
            if bytes.is_empty() {
                self.drop_first();
            }
            written -= taken;
        }
    }

    /// The file at the front.
    fn write_file(&mut self, transport: &Transport, budget: u64) -> Result<Step, WriteError> {
        let Some((Content::File { file, offset, left }, len)) = self.first_content() else {
            unreachable!("called when a file is at the front")
        };
        let count = (*left).min(budget);
        let written = match transport.send_file(file, offset, count as usize) {
            Ok(0) => return Err(WriteError::FileShort { missing: *left }),
            Ok(written) => written as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Step { written: 0, blocked: true });
            }
            Err(error) if is_disconnect(&error) => return Err(WriteError::Transport(error)),
            Err(error) => return Err(WriteError::File(error)),
        };
        *left -= written;
        *len -= written;
        if *left == 0 {
            self.drop_first();
        }
        // A short count does not prove a full socket here: the file may have ended, which the next try finds out.
        Ok(Step { written, blocked: false })
    }

    /// Moves the rest of the text to a buffer of its own size when most of this one is idle: the buffer of a
    /// stream that never drains must not grow for ever, and who waits for a slow client must not hold a large one.
    fn tidy(&mut self) {
        let rest = &self.text[self.text_written..];
        if self.text.capacity() >= TIDY_CAPACITY_MIN && rest.len() < self.text.capacity() / 4 {
            let own = rest.to_vec();
            keep_as_spare(mem::replace(&mut self.text, own));
            for reference in self.references.iter_mut().flat_map(|references| &mut references.queue) {
                reference.at -= self.text_written;
            }
            self.text_written = 0;
        }
    }
}

fn keep_as_spare(mut text: Vec<u8>) {
    if (1..=SPARE_CAPACITY_MAX).contains(&text.capacity()) {
        text.clear();
        SPARE_TEXT.set(text);
    }
}

fn keep_references_as_spare(mut references: Box<References>) {
    if references.queue.capacity() <= SPARE_REFERENCES_MAX {
        references.queue.clear();
        references.len = 0;
        SPARE_REFERENCES.set(Some(references));
    }
}

/// The outcome of one system call.
struct Step {
    written: u64,
    blocked: bool,
}

impl Step {
    /// A short count means that the socket's buffer is full, and that an event will follow when it is not: the
    /// second call that would only say `WouldBlock` is spared.
    fn of(result: io::Result<usize>, offered: usize) -> Result<Self, WriteError> {
        match result {
            Ok(written) => Ok(Self { written: written as u64, blocked: written < offered }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Self { written: 0, blocked: true }),
            Err(error) => Err(WriteError::Transport(error)),
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("text", &(self.text.len() - self.text_written))
            .field("references", &self.references_len())
            .field("len", &self.len())
            .finish()
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "the connection failed while writing: {error}"),
            Self::File(error) => write!(f, "the file being sent could not be read: {error}"),
            Self::FileShort { missing } => write!(f, "the file being sent ended {missing} bytes early"),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(error) | Self::File(error) => Some(error),
            Self::FileShort { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::testing::{Client, XorShift, scratch_file, tcp_pair, unix_pair};
    use crate::transport::Interest;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    /// Writes until drained, waiting as a server would.
    fn drain(outbox: &mut Outbox, transport: &Transport) -> Result<(), WriteError> {
        drain_by(Outbox::write_to, outbox, transport)
    }

    fn drain_by(
        write: fn(&mut Outbox, &Transport) -> Result<Progress, WriteError>,
        outbox: &mut Outbox,
        transport: &Transport,
    ) -> Result<(), WriteError> {
        loop {
            match write(outbox, transport)? {
                Progress::Drained => return Ok(()),
                Progress::Blocked => assert!(transport.wait(Interest::Writable, PATIENCE).unwrap()),
                Progress::Paused => {}
            }
        }
    }

    fn read_all(mut client: Client) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        })
    }

    #[test]
    fn a_small_response_is_written_and_leaves_no_memory_behind() {
        let (ours, mut client) = tcp_pair();
        let mut outbox = Outbox::new();
        outbox.push_text(b"HTTP/1.1 200 OK\r\n\r\n");
        outbox.push_bytes(Bytes::from_static(b"hello"));
        assert_eq!(outbox.len(), 24);
        assert_eq!(outbox.write_to(&ours).unwrap(), Progress::Drained);
        assert!(outbox.is_empty());
        assert_eq!((outbox.len(), outbox.text.capacity(), outbox.references.is_none()), (0, 0, true));
        let mut got = [0; 24];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"HTTP/1.1 200 OK\r\n\r\nhello");
    }

    #[test]
    fn the_next_response_on_the_thread_reuses_the_buffer() {
        let (ours, _client) = tcp_pair();
        let mut outbox = Outbox::new();
        outbox.push_text(&[b'x'; 3000]);
        let buffer = outbox.text.as_ptr();
        assert_eq!(outbox.write_to(&ours).unwrap(), Progress::Drained);
        let mut another = Outbox::new();
        another.push_text(b"y");
        assert_eq!(another.text.as_ptr(), buffer);
    }

    #[test]
    fn an_empty_outbox_is_drained_and_empty_parts_are_none() {
        let (ours, _client) = tcp_pair();
        let mut outbox = Outbox::new();
        outbox.push_text(b"");
        outbox.push_bytes(Bytes::new());
        outbox.push_file(Arc::new(scratch_file(b"")), 0, 0);
        assert!(outbox.is_empty());
        assert_eq!(outbox.write_to(&ours).unwrap(), Progress::Drained);
    }

    #[test]
    fn large_bytes_are_referred_to_and_small_ones_copied() {
        let mut outbox = Outbox::new();
        outbox.push_bytes(Bytes::from(vec![b'a'; COPY_BYTES_MAX - 1]));
        assert_eq!((outbox.references_len(), outbox.text.len()), (0, COPY_BYTES_MAX - 1));
        outbox.push_bytes(Bytes::from(vec![b'b'; COPY_BYTES_MAX]));
        assert_eq!((outbox.references_len(), outbox.text.len()), (1, COPY_BYTES_MAX - 1));
        assert_eq!(outbox.len(), 2 * COPY_BYTES_MAX as u64 - 1);
    }

    /// Everything in every order, through sockets whose buffers fill up, comes out as it was put in.
    #[test]
    fn random_mixtures_arrive_byte_for_byte() {
        let mut random = XorShift(0x5eed);
        let pattern = (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
        let file = Arc::new(scratch_file(&pattern));
        let shared = Bytes::from(pattern.clone());
        for round in 0..12 {
            let (ours, client) = if round % 2 == 0 { unix_pair() } else { tcp_pair() };
            rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4096 << (round % 5)).unwrap();
            let reader = read_all(client);
            let mut expected = Vec::new();
            let mut outbox = Outbox::new();
            for _ in 0..200 {
                let start = random.below(1_000_000) as usize;
                let len = match random.below(4) {
                    0 => random.below(40_000),
                    _ => random.below(6_000),
                } as usize;
                expected.extend_from_slice(&pattern[start..start + len]);
                match random.below(3) {
                    0 => outbox.push_text(&pattern[start..start + len]),
                    1 => outbox.push_bytes(shared.slice(start..start + len)),
                    _ => outbox.push_file(file.clone(), start as u64, len as u64),
                }
            }
            assert_eq!(outbox.len(), expected.len() as u64);
            if round % 3 == 0 {
                drain_by(Outbox::write_more_to, &mut outbox, &ours).unwrap();
                ours.push().unwrap();
            } else {
                drain(&mut outbox, &ours).unwrap();
            }
            drop(ours);
            assert!(reader.join().unwrap() == expected, "round {round}");
        }
    }

    /// An endless stream of small chunks to a client that is always a little behind.
    #[test]
    fn the_buffer_of_a_stream_that_never_drains_stays_small() {
        let (ours, mut client) = unix_pair();
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap();
        let chunk = [b'c'; 1000];
        let mut outbox = Outbox::new();
        let mut buffer = vec![0; 50_000];
        let mut received = 0;
        for _ in 0..2000 {
            while outbox.len() < 50_000 {
                outbox.push_text(&chunk);
            }
            assert_eq!(outbox.write_to(&ours).unwrap(), Progress::Blocked);
            received += client.read(&mut buffer).unwrap();
        }
        assert!(received > 1_000_000, "the stream moved: {received}");
        assert!(outbox.text.capacity() <= 256 * 1024, "{}", outbox.text.capacity());
    }

    #[test]
    fn a_slow_client_keeps_no_more_memory_than_it_is_owed() {
        let (ours, mut client) = unix_pair();
        let mut outbox = Outbox::new();
        outbox.push_text(&vec![b'x'; 100_000]);
        // What is left after the head went out: a large body and little text.
        while outbox.write_to(&ours).unwrap() == Progress::Drained {
            outbox.push_text(&vec![b'x'; 100_000]);
            outbox.push_bytes(Bytes::from(vec![b'y'; 1_000_000]));
            outbox.push_text(b"\r\n");
        }
        while outbox.text.len() - outbox.text_written > 2 {
            let _ = client.read(&mut [0; 10_000]).unwrap();
            assert_eq!(outbox.write_to(&ours).unwrap(), Progress::Blocked);
        }
        assert_eq!((outbox.text.capacity(), outbox.references_len()), (2, 1));
    }

    #[test]
    fn a_fast_reader_does_not_keep_the_writer_to_itself() {
        let (ours, mut client) = unix_pair();
        let file = Arc::new(scratch_file(&[]));
        let len = 64 * WRITE_BUDGET;
        file.set_len(len).unwrap();
        let reader = thread::spawn(move || io::copy(&mut client, &mut io::sink()).unwrap());
        let mut outbox = Outbox::new();
        outbox.push_file(file, 0, len);
        let mut left = outbox.len();
        while !outbox.is_empty() {
            if outbox.write_to(&ours).unwrap() == Progress::Blocked {
                assert!(ours.wait(Interest::Writable, PATIENCE).unwrap());
            }
            assert!(left - outbox.len() <= WRITE_BUDGET);
            left = outbox.len();
        }
        drop(ours);
        assert_eq!(reader.join().unwrap(), len);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_after_what_there_is() {
        let (ours, client) = tcp_pair();
        let reader = read_all(client);
        let mut outbox = Outbox::new();
        outbox.push_text(b"head;");
        outbox.push_file(Arc::new(scratch_file(b"12345")), 2, 10);
        outbox.push_text(b"never");
        match drain(&mut outbox, &ours) {
            Err(WriteError::FileShort { missing: 7 }) => {}
            other => panic!("{other:?}"),
        }
        drop(ours);
        assert_eq!(reader.join().unwrap(), b"head;345");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_mistaken_for_a_disconnect() {
        let (ours, _client) = tcp_pair();
        let folder = Arc::new(File::open("/").unwrap());
        let mut outbox = Outbox::new();
        outbox.push_file(folder, 0, 10);
        assert!(matches!(outbox.write_to(&ours), Err(WriteError::File(_))));
    }

    #[test]
    fn a_client_that_left_is_a_transport_error_for_each_kind_of_content() {
        let file = Arc::new(scratch_file(b"12345"));
        for kind in 0..3 {
            let (ours, client) = unix_pair();
            drop(client);
            let mut outbox = Outbox::new();
            match kind {
                0 => outbox.push_text(b"text"),
                1 => outbox.push_bytes(Bytes::from(vec![0; 10_000])),
                _ => outbox.push_file(file.clone(), 0, 5),
            }
            match outbox.write_to(&ours) {
                Err(WriteError::Transport(error)) => assert!(is_disconnect(&error), "{error}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut outbox = Outbox::new();
        outbox.push_text(b"text");
        outbox.push_bytes(Bytes::from(vec![0; 10_000]));
        outbox.clear();
        assert!(outbox.is_empty());
        assert_eq!(outbox.len(), 0);
    }
}

//! Which chunks of an answer still wait in an outbox: what tells content from framing when the rest cannot be sent.
//!
//! Like an outbox it takes its memory from a spare one of the thread, so that a stream costs no allocation for it.

use std::{cell::Cell, collections::VecDeque, mem};

thread_local! {
    static SPARE: Cell<VecDeque<u64>> = const { Cell::new(VecDeque::new()) };
}

/// Room for more chunks than this is not kept as the thread's spare.
const SPARE_CHUNKS_MAX: usize = 1024;

/// The latest chunks of a chunked answer, as long as they may be unsent. It stays empty for any other answer, which has no
/// framing behind its head.
#[derive(Debug, Default)]
pub struct WaitingChunks {
    /// How much content each has.
    sizes: VecDeque<u64>,
    /// What all of them take on the wire.
    bytes: u64,
    /// What comes behind the last of them: the end of the body.
    end_bytes: u64,
}

impl WaitingChunks {
    /// Notes a chunk that was put into an outbox, in which so many bytes are `unsent` now.
    pub fn push(&mut self, size: u64, unsent: u64) {
        if self.sizes.capacity() == 0 {
            self.sizes = SPARE.take();
        }
        self.sizes.push_back(size);
        self.bytes += on_the_wire(size);
        while let Some(&oldest) = self.sizes.front() {
            let others = self.bytes - on_the_wire(oldest);
            if others < unsent {
                break;
            }
            self.sizes.pop_front();
            self.bytes = others;
        }
    }

    /// Notes the end of the body, which takes so many bytes.
    pub fn end(&mut self, bytes: u64) {
        self.end_bytes = bytes;
    }

    /// Forgets all, for another answer.
    pub fn clear(&mut self) {
        (self.bytes, self.end_bytes) = (0, 0);
        if self.sizes.capacity() > 0 {
            let mut sizes = mem::take(&mut self.sizes);
            sizes.clear();
            if sizes.capacity() <= SPARE_CHUNKS_MAX {
                // Not where the thread ends.
                let _ = SPARE.try_with(|spare| spare.set(sizes));
            }
        }
    }

    /// How much of an answer's `content` is in the last so many bytes of it, which are `unsent`.
    pub fn content(&self, content: u64, unsent: u64) -> u64 {
        if self.sizes.is_empty() {
            return content.min(unsent);
        }
        let mut unsent = unsent.saturating_sub(self.end_bytes);
        let mut found = 0;
        for &size in self.sizes.iter().rev() {
            found += size.min(unsent.saturating_sub(CRLF));
            unsent = unsent.saturating_sub(on_the_wire(size));
        }
        found
    }
}

impl Drop for WaitingChunks {
    fn drop(&mut self) {
        self.clear();
    }
}

const CRLF: u64 = 2;

/// A line with the size in hexadecimal digits, the content, and the end of its line.
fn on_the_wire(size: u64) -> u64 {
    u64::from(size.max(1).ilog2() / 4 + 1) + CRLF + size + CRLF
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends chunks of these sizes with the end of the body behind them, and looks what is told of each number of bytes that
    /// were sent.
    fn check(sizes: &[u64]) {
        let mut wire = Vec::new();
        for size in sizes {
            let framing = |text: &str| text.bytes().map(|_| 0).collect::<Vec<u64>>();
            wire.extend(framing(&format!("{size:x}\r\n")));
            wire.extend((0..*size).map(|_| 1));
            wire.extend(framing("\r\n"));
        }
        let end = "0\r\n\r\n".len();
        wire.extend(vec![0; end]);
        let content: u64 = sizes.iter().sum();
        let mut chunks = WaitingChunks::default();
        let mut pushed = 0;
        for size in sizes {
            pushed += on_the_wire(*size);
            chunks.push(*size, pushed);
        }
        chunks.end(end as u64);
        for sent in 0..=wire.len() {
            let unsent: u64 = wire[sent..].iter().sum();
            assert_eq!(chunks.content(content, (wire.len() - sent) as u64), unsent, "{sizes:?}, {sent} sent");
        }
    }

    #[test]
    fn content_is_told_from_framing_wherever_an_answer_is_cut() {
        check(&[1]);
        check(&[1, 1, 1, 1, 1, 1]);
        check(&[15, 16, 17, 255, 256, 257]);
        check(&[4097, 3, 70]);
    }

    #[test]
    fn without_chunks_all_behind_the_head_is_content() {
        let chunks = WaitingChunks::default();
        assert_eq!(chunks.content(100, 30), 30);
        assert_eq!(chunks.content(100, 130), 100, "the rest is of the head");
    }

    #[test]
    fn what_was_sent_is_forgotten() {
        let mut chunks = WaitingChunks::default();
        for _ in 0..1000 {
            chunks.push(10, 3 * on_the_wire(10));
        }
        assert_eq!(chunks.sizes.len(), 3);
        chunks.push(10, 1);
        assert_eq!(chunks.sizes.len(), 1);
    }
}

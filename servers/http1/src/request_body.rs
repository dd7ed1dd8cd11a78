//! The body of a request, piece by piece.

use bytes::{Buf, Bytes};
use http::HeaderMap;

use crate::chunked::ChunkLines;
use crate::error::{BodyFault, Refusal};
use crate::framing::RequestFraming;
use crate::head_scanner::{HeadScanner, ScanLimits};
use crate::limits::Limits;
use crate::trailers;

/// A piece of a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// Everything in `input` was used, up to an unfinished trailer section: read from the transport and call
    /// again.
    NeedMore,
    /// Bytes of the body, never none: a slice of `input`.
    Data(Bytes),
    /// The body has ended, with the trailers if a chunked one had any. Asked again, it is still so, without
    /// the trailers.
    End(Option<HeaderMap>),
}

/// Reads one body out of the input.
#[derive(Debug)]
pub(crate) struct BodyReader {
    /// Bytes to come, of the body if its length is declared, of the chunk otherwise. On a chunk-size line,
    /// the size as far as it was read.
    remaining: u64,
    /// Bytes of the body that have come.
    received: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Length,
    ChunkLine(ChunkLines),
    ChunkData(ChunkLines),
    Trailers(HeadScanner),
    Ended,
}

impl BodyReader {
    pub(crate) fn new(framing: RequestFraming) -> BodyReader {
        let (stage, remaining) = match framing {
            RequestFraming::None | RequestFraming::Length(0) => (Stage::Ended, 0),
            RequestFraming::Length(length) => (Stage::Length, length),
            RequestFraming::Chunked => (Stage::ChunkLine(ChunkLines::START), 0),
        };
        BodyReader { remaining, received: 0, stage }
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Bytes of the body certainly still to come.
    pub(crate) fn remaining(&self) -> u64 {
        if matches!(self.stage, Stage::ChunkLine(_)) { 0 } else { self.remaining }
    }

    pub(crate) fn read(&mut self, input: &mut Bytes, limits: &Limits) -> Result<BodyEvent, BodyFault> {
        loop {
            match &mut self.stage {
                Stage::Ended => return Ok(BodyEvent::End(None)),
                Stage::Trailers(scanner) => {
                    let bounds = ScanLimits {
                        request_line_bytes: u32::MAX,
                        bytes: limits.trailer_bytes_max,
                        fields: limits.trailer_count_max,
                    };
                    let Some(length) = scanner.scan(input, &bounds).map_err(trailer_fault)? else {
                        return Ok(BodyEvent::NeedMore);
                    };
                    self.stage = Stage::Ended;
                    return Ok(BodyEvent::End(trailers::parse(&input.split_to(length))?));
                }
                _ if input.is_empty() => return Ok(BodyEvent::NeedMore),
                Stage::ChunkLine(lines) => {
                    let (taken, ended) = lines.read(input, &mut self.remaining, limits)?;
                    input.advance(taken);
                    if !ended {
                        continue;
                    }
                    let size = self.remaining;
                    if limits.body_bytes_max.is_some_and(|max| size > max.saturating_sub(self.received)) {
                        return Err(BodyFault::TooLarge);
                    }
                    self.stage = match size {
                        0 => Stage::Trailers(HeadScanner::TRAILERS),
                        _ => Stage::ChunkData(*lines),
                    };
                }
                Stage::Length | Stage::ChunkData(_) => return Ok(BodyEvent::Data(self.take_data(input))),
            }
        }
    }

    fn take_data(&mut self, input: &mut Bytes) -> Bytes {
        let length = self.remaining.min(input.len() as u64);
        self.remaining -= length;
        self.received = self.received.saturating_add(length);
        if self.remaining == 0 {
            self.stage = match self.stage {
                Stage::ChunkData(lines) => Stage::ChunkLine(lines),
                _ => Stage::Ended,
            };
        }
        input.split_to(length as usize)
    }
}

fn trailer_fault(refusal: Refusal) -> BodyFault {
    match refusal {
        Refusal::HeadTooLarge | Refusal::TooManyFields => BodyFault::TrailersTooLarge,
        _ => BodyFault::TrailerInvalid,
    }
}

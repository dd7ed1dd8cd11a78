//! Chapter B: bodies, how they flow, wait and end.

mod answers;
mod files;
mod requests;
mod waits;

use varvel::Caps;
use varvel_spec::ids;

use super::hostile;
use crate::{Check, broken::Fault::*};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::B1, "chunks-split-anywhere", requests::chunks_split_anywhere, &[DeliversChunkSizes]),
    Check::new(ids::B1, "end-stays-the-end", requests::end_stays_the_end, &[EndTurnsIntoError]),
    Check::new(
        ids::B2,
        "length-cut-at-every-byte",
        requests::length_cut_at_every_byte,
        &[CutBodyLooksComplete],
    ),
    Check::new(
        ids::B2,
        "chunks-cut-at-every-byte",
        requests::chunks_cut_at_every_byte,
        &[CutBodyLooksComplete],
    ),
    Check::new(ids::B2, "reset-at-every-byte", requests::reset_at_every_byte, &[ResetBodyLooksComplete]),
    Check::new(
        ids::B3,
        "broken-chunks-are-malformed",
        requests::broken_chunks_are_malformed,
        &[IgnoresChunkEnd, TakesOddChunkSizes, TakesSignedLength],
    ),
    Check::new(
        ids::B3,
        "endless-lines-are-malformed",
        requests::endless_lines_are_malformed,
        &[NoChunkLineLimit, NoTrailerLimit],
    ),
    Check::new(
        ids::B3,
        "beyond-the-limit",
        requests::beyond_the_limit,
        &[NoBodyLimit, AllFaultsAreMalformed],
    ),
    Check::new(ids::B3, "declared-beyond-the-limit", requests::declared_beyond_the_limit, &[NoBodyLimit]),
    Check::new(
        ids::B3,
        "without-progress",
        requests::without_progress,
        &[NoBodyTimeout, AllFaultsAreMalformed],
    ),
    Check::new(
        ids::B4,
        "trailers-come-last",
        requests::trailers_come_last,
        &[DropsRequestTrailers, TrailersComeFirst],
    )
    .needs(Caps::TRAILERS_IN),
    Check::new(ids::B5, "trailers-if-asked-for", answers::trailers_if_asked_for, &[DropsResponseTrailers])
        .needs(Caps::TRAILERS_OUT),
    Check::new(ids::B5, "no-trailers-otherwise", answers::no_trailers_otherwise, &[TrailersUnasked]),
    Check::new(ids::B6, "empty-frames-mean-nothing", answers::empty_frames_mean_nothing, &[EmptyFrameEnds]),
    Check::new(ids::B7, "stalled-application", waits::stalled_application, &[ReadsAheadWithoutBound]),
    Check::new(ids::B8, "stalled-client", waits::stalled_client, &[AcceptsWithoutBound]),
    Check::new(ids::B8, "answers-left-unread", hostile::answers_left_unread, &[AnswersAheadWithoutBound]),
    Check::new(ids::B9, "each-frame-arrives", answers::each_frame_arrives, &[HoldsFramesBack]),
    Check::new(ids::B9, "head-ahead-of-any-frame", answers::head_ahead_of_any_frame, &[HoldsHeadBack]),
    Check::new(ids::B10, "no-last-chunk", answers::no_last_chunk, &[FailedAnswerLooksComplete]),
    Check::new(ids::B10, "short-of-its-length", answers::short_of_its_length, &[FailedAnswerLooksComplete]),
    Check::new(
        ids::B10,
        "reset-where-the-close-is-the-end",
        answers::reset_where_the_close_is_the_end,
        &[ClosesFailedAnswerInOrder],
    ),
    Check::new(
        ids::B11,
        "dropped-once-however-it-ends",
        answers::dropped_once_however_it_ends,
        &[KeepsUnusedBody],
    ),
    Check::new(
        ids::B11,
        "dropped-when-the-client-leaves",
        answers::dropped_when_the_client_leaves,
        &[IgnoresFailedWrites],
    ),
    Check::new(ids::B12, "not-asked-behind-the-end", answers::not_asked_behind_the_end, &[PollsAfterEnd]),
    Check::new(
        ids::B13,
        "regions-of-one-file-at-once",
        files::regions_of_one_file_at_once,
        &[IgnoresFileOffset, IgnoresFileLength, UsesFilePosition],
    ),
    Check::new(ids::B14, "file-that-shrank", files::file_that_shrank, &[PadsShortFiles]),
    Check::new(ids::B15, "body-outlives-its-call", waits::body_outlives_its_call, &[BodyEndsWithCall]),
    Check::new(ids::B15, "echo-in-constant-memory", waits::echo_in_constant_memory, &[AcceptsWithoutBound]),
    Check::new(ids::B16, "frame-by-frame-both-ways", waits::frame_by_frame_both_ways, &[HoldsFramesBack])
        .needs(Caps::FULL_DUPLEX),
    Check::new(ids::B17, "trailers-are-no-fields", requests::trailers_are_no_fields, &[MergesTrailers]),
    Check::new(
        ids::B18,
        "fields-that-are-no-trailers",
        answers::fields_that_are_no_trailers,
        &[SendsAnyTrailer, RemovesTrailersSilently],
    )
    .needs(Caps::TRAILERS_OUT),
];

/// The field of a chunked request.
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// A chunk as the grammar has it.
fn chunk(data: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

//! Chapter H: what the server does about HTTP so that no application has to.

mod answers;
mod grammar;
mod interim;
mod persistence;

use varvel::Caps;
use varvel_spec::ids;

use crate::{Case, Check, Client, Verdict, broken::Fault::*, ensure, expect_eq};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::H1, "same-head-no-body", answers::same_head_no_body, &[HeadSendsBody, HeadSaysEmpty]),
    Check::new(ids::H1, "body-not-run", answers::body_of_head_not_run, &[HeadRunsBody]),
    Check::new(
        ids::H2,
        "no-body-no-framing",
        answers::no_body_no_framing,
        &[BodilessStatusSendsBody, LengthWithNoContent],
    ),
    Check::new(ids::H2, "body-not-run", answers::body_of_bodiless_not_run, &[BodilessStatusRunsBody]),
    Check::new(
        ids::H3,
        "every-version-and-body",
        answers::every_version_and_body,
        &[ChunkedOn10, ChunksEverything, EmptyWithoutLength],
    ),
    Check::new(ids::H4, "excess-is-cut", answers::excess_is_cut, &[SendsExcess, CutsSilently]),
    Check::new(
        ids::H4,
        "shortage-breaks-off",
        answers::shortage_breaks_off,
        &[ShortAnswerKeepsConnection, ShortGoesUnreported],
    ),
    Check::new(ids::H4, "no-number-is-removed", answers::no_number_is_removed, &[SendsOddLength]),
    Check::new(
        ids::H5,
        "connection-fields-removed",
        answers::connection_fields_removed,
        &[SendsConnectionFields, RemovesSilently],
    ),
    Check::new(
        ids::H5,
        "upgrade-required-names-protocols",
        answers::upgrade_required_names_protocols,
        &[UpgradeRequiredIsBare],
    ),
    Check::new(ids::H6, "added-once", answers::date_added_once, &[NoDate]),
    Check::new(ids::H6, "applications-own-stays", answers::date_of_the_application_stays, &[ReplacesDate]),
    Check::new(
        ids::H7,
        "every-version-and-option",
        persistence::every_version_and_option,
        &[
            IgnoresClose,
            OptionsAreCaseSensitive,
            ReadsFirstOptionOnly,
            ClosesUnannounced,
            NeverKeepsAlive,
            Keeps10Alive,
            Keeps10AliveSilently,
        ],
    ),
    Check::new(ids::H7, "nothing-behind-close", persistence::nothing_behind_close, &[IgnoresClose]),
    Check::new(
        ids::H8,
        "ambiguous-lengths",
        grammar::ambiguous_lengths,
        &[TakesBothFramings, TakesEqualLengths, TakesLastLength, TakesSignedLength, WrapsLength],
    ),
    Check::new(
        ids::H8,
        "ambiguous-codings",
        grammar::ambiguous_codings,
        &[TakesChunkedTwice, TakesChunksOn10, IgnoresOddTransferEncoding],
    ),
    Check::new(
        ids::H8,
        "folds-and-spaces",
        grammar::folds_and_spaces,
        &[TakesFolding, TakesSpaceBeforeColon],
    ),
    Check::new(ids::H8, "bad-chunks", grammar::bad_chunks, &[IgnoresChunkEnd]),
    Check::new(
        ids::H9,
        "at-the-first-pull",
        interim::continue_at_the_first_pull,
        &[ContinuesBeforePull, NeverContinues],
    ),
    Check::new(
        ids::H9,
        "not-to-1.0-nor-without-body",
        interim::no_continue_where_none_is_due,
        &[ContinuesOn10, ContinuesWithoutBody],
    ),
    Check::new(
        ids::H9,
        "not-behind-the-final-head",
        interim::no_continue_behind_the_final_head,
        &[ContinuesAfterHead],
    ),
    Check::new(
        ids::H10,
        "closes-without-the-body",
        interim::closes_without_the_body,
        &[WaitsForUnsentBody, ClosesUnannounced],
    ),
    Check::new(
        ids::H11,
        "on-demand-and-once",
        interim::continue_on_demand,
        &[IgnoresForcedContinue, ContinuesTwice],
    )
    .needs(Caps::INTERIM),
    Check::new(
        ids::H11,
        "nothing-where-none-is-expected",
        interim::continue_unexpected,
        &[ContinuesUnasked, ContinuesTwice],
    )
    .needs(Caps::INTERIM),
    Check::new(
        ids::H12,
        "ahead-of-the-final-head",
        interim::interim_ahead,
        &[HoldsInterimBack, SwallowsInterim],
    )
    .needs(Caps::INTERIM),
    Check::new(
        ids::H12,
        "refused-where-impossible",
        interim::interim_refused,
        &[InterimTo10, AcceptsLateInterim],
    )
    .needs(Caps::INTERIM),
    Check::new(
        ids::H13,
        "unread-is-no-request",
        persistence::unread_is_no_request,
        &[UnreadBodyIsNextRequest],
    ),
    Check::new(ids::H14, "bytes-as-given", answers::bytes_as_given, &[AltersContent]),
    Check::new(
        ids::H15,
        "fields-as-given",
        answers::fields_as_given,
        &[MergesAnswerFields, MasksAnswerBytes],
    ),
    Check::new(ids::H16, "bad-line-ends", grammar::bad_line_ends, &[TakesBareLf, TakesBareCr, SkipsNul]),
    Check::new(ids::H16, "bad-line-ends-in-bodies", grammar::bad_line_ends_in_bodies, &[TakesBareLf]),
    Check::new(ids::H16, "empty-line-ahead", grammar::empty_line_ahead, &[RefusesLeadingEmptyLine]),
    Check::new(
        ids::H17,
        "malformed-fields",
        grammar::malformed_fields,
        &[SkipsBadNames, SkipsLinesWithoutColon, ReplacesControls, SkipsSpaceBeforeFields],
    ),
    Check::new(
        ids::H18,
        "foreign-and-malformed",
        grammar::foreign_and_malformed_versions,
        &[TakesAnyVersion, ForeignVersionIs400],
    ),
    Check::new(ids::H19, "unknown-expectations", grammar::unknown_expectations, &[IgnoresExpectations]),
    Check::new(ids::H19, "in-any-case", grammar::expectation_in_any_case, &[ExpectIsCaseSensitive]),
    Check::new(
        ids::H20,
        "coding-ahead-of-chunked",
        grammar::coding_ahead_of_chunked,
        &[InnerCodingIs400, IgnoresInnerCodings],
    ),
    Check::new(
        ids::H21,
        "replaced-and-reported",
        answers::odd_statuses,
        &[SendsAnyStatus, CorrectsStatusSilently],
    ),
    Check::new(ids::H23, "client-that-sends-on", persistence::client_that_sends_on, &[CutsOffSenders]),
];

/// Sees that a connection is still good for another request, and in step.
fn next_is_answered(case: &Case<'_>, client: &mut Client) -> Verdict {
    let request = format!("GET /{}.next?body=next HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key());
    let next = client.send(request).and_then(|()| client.response());
    let next = next.map_err(|failure| failure.within("the next request on the connection"))?;
    expect_eq("the next answer:", (next.status(), next.text()), (200, "next".to_owned()))
}

/// A request that must never be taken for one.
fn smuggled(case: &Case<'_>) -> Vec<u8> {
    format!("GET /{}.smuggled?body=smuggled HTTP/1.1\r\nHost: varvel.test\r\n\r\n", case.key()).into_bytes()
}

fn no_smuggled_call(case: &Case<'_>) -> Verdict {
    let call = case.settled("call").into_iter().find(|call| call.key().ends_with(".smuggled"));
    ensure(call.is_none(), "no byte of a body is taken for a request", format_args!("{:?}", call))
}

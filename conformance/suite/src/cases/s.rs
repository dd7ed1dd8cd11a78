//! Chapter S: how, when and with what an application is called.

mod bounds;
mod calls;
mod requests;

use serde_json::Value;
use varvel_spec::ids;

use super::{hostile, refusals::with_key};
use crate::{Case, Check, Client, Failure, Response, Verdict, broken::Fault::*, ensure};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(ids::S1, "one-build-per-worker", calls::one_build_per_worker, &[BuildPerConnection]),
    Check::new(ids::S2, "stopped-under-load", calls::stopped_under_load, &[CallsAfterTeardown]),
    Check::new(ids::S3, "pipelined-in-order", calls::pipelined_in_order, &[CallsTwice, ForgetsPipelined]),
    Check::new(ids::S3, "next-call-waits", calls::next_call_waits, &[ForgetsPipelined]),
    Check::new(
        ids::S4,
        "each-reason-its-status",
        calls::each_reason_its_status,
        &[CallsForRefused, ServesAfterRefusal, RefusesAllWith400],
    ),
    Check::new(
        ids::S5,
        "method-as-sent",
        requests::method_as_sent,
        &[UppercasesMethod, RefusesUnknownMethods],
    ),
    Check::new(
        ids::S6,
        "path-and-query-as-sent",
        requests::path_and_query_as_sent,
        &[ResolvesDotSegments, MergesSlashes, DecodesPath, DropsEmptyQuery],
    ),
    Check::new(ids::S6, "fragment-refused", requests::fragment_refused, &[CutsFragment]),
    Check::new(ids::S7, "every-form-of-target", requests::every_form_of_target, &[RawTargetIsUri]),
    Check::new(ids::S8, "whose-authority", requests::whose_authority, &[AuthorityIsHost]),
    Check::new(
        ids::S9,
        "values-byte-for-byte",
        requests::values_byte_for_byte,
        &[KeepsTrailingSpace, MasksHighBytes],
    ),
    Check::new(ids::S9, "equal-names-stay-apart", requests::equal_names_stay_apart, &[MergesFields]),
    Check::new(ids::S10, "no-transfer-encoding", requests::no_transfer_encoding, &[DeliversTransferEncoding]),
    Check::new(
        ids::S10,
        "all-other-fields",
        requests::all_other_fields,
        &[RewritesHost, WithholdsUnderscores, WithholdsConnection],
    ),
    Check::new(
        ids::S11,
        "length-that-is-known",
        requests::length_that_is_known,
        &[WithholdsLength, ChunkedLengthZero],
    ),
    Check::new(
        ids::S12,
        "forged-fields-change-nothing",
        requests::forged_fields_change_nothing,
        &[TrustsForwardedFor, SwapsAddresses],
    ),
    Check::new(
        ids::S13,
        "exclusive-calls-never-overlap",
        calls::exclusive_calls_never_overlap,
        &[IgnoresExclusive],
    ),
    Check::new(ids::S13, "no-more-than-stated", calls::no_more_than_stated, &[ExceedsConcurrency]),
    Check::new(
        ids::S14,
        "others-are-served-meanwhile",
        calls::others_are_served_meanwhile,
        &[OneCallAtATime],
    ),
    Check::new(
        ids::S15,
        "beyond-the-limits",
        bounds::beyond_the_limits,
        &[NoHeadLimit, NoLineLimit, NoFieldCountLimit],
    ),
    Check::new(ids::S15, "within-the-limits", bounds::within_the_limits, &[RefusesLongHeads]),
    Check::new(ids::S16, "connections-are-bounded", bounds::connections_are_bounded, &[NoConnectionLimit]),
    Check::new(
        ids::S17,
        "running-calls-finish",
        bounds::running_calls_finish,
        &[StopCutsCalls, StopKeepsAccepting, StopLeavesIdle, KeepsListener, KeepsAliveWhileStopping],
    ),
    Check::new(ids::S17, "begun-heads-are-finished", bounds::begun_heads_are_finished, &[StopCutsHalfHeads]),
    Check::new(ids::S18, "limits-are-kept", bounds::limits_are_kept, &[OverstatesLimits]),
    Check::new(ids::S18, "workers-are-there", bounds::workers_are_there, &[OverstatesWorkers]),
    Check::new(
        ids::S19,
        "version-as-received",
        requests::version_as_received,
        &[SaysVersion11, TakesHigherMinorFor10],
    ),
    Check::new(
        ids::S20,
        "bad-hosts-refused",
        requests::bad_hosts_refused,
        &[IgnoresMissingHost, IgnoresSecondHost, IgnoresHostValue],
    ),
    Check::new(ids::S20, "good-hosts-served", requests::good_hosts_served, &[RefusesHostWithPort]),
    Check::new(ids::S21, "kept-scope-is-too-late", calls::kept_scope_is_too_late, &[StaleInterimIsSent]),
    Check::new(ids::S21, "kept-body-reads-nothing", calls::kept_body_reads_nothing, &[StaleBodyReads]),
    Check::new(ids::S22, "head-in-time", bounds::head_in_time, &[RenewsHeadTimeout, TimesFirstHeadOnly]),
    Check::new(ids::S22, "idle-in-time", bounds::idle_in_time, &[NoIdleTimeout]),
    Check::new(ids::S22, "body-in-time", bounds::body_in_time, &[NoBodyTimeout]),
    Check::new(ids::S22, "reading-in-time", bounds::reading_in_time, &[NoWriteTimeout]),
    Check::new(ids::S24, "flood-of-large-heads", hostile::flood_of_large_heads, &[NoHeadLimit]).alone(),
    Check::new(ids::S24, "flood-of-fields", hostile::flood_of_fields, &[NoFieldCountLimit]).alone(),
    Check::new(ids::S24, "flood-of-requests", hostile::flood_of_requests, &[ReadsAheadWithoutBound]),
    Check::new(
        ids::S24,
        "half-open-connections",
        hostile::half_open_connections,
        &[HalfOpenHoldsPlace, HoardsMemory, NoIdleTimeout],
    )
    .alone(),
    Check::new(ids::S24, "crowd-of-slow-readers", hostile::crowd_of_slow_readers, &[AcceptsWithoutBound])
        .alone(),
    Check::new(ids::S24, "bodies-that-never-come", hostile::bodies_that_never_come, &[DiscardHoldsPlace]),
    Check::new(ids::S24, "connect-and-leave", hostile::connect_and_leave, &[KeepsDeparted]).alone(),
    Check::new(
        ids::S24,
        "descriptors-run-out",
        hostile::descriptors_run_out,
        &[LastDescriptorIsTheEnd, SpinsWithoutDescriptors],
    )
    .alone(),
];

/// The description in an answer of the probe.
fn read_description(response: &Response) -> Result<Value, Failure> {
    let seen = || format!("status {}, {:?}", response.status(), response.text());
    serde_json::from_slice(&response.body)
        .map_err(|_| Failure::new("the probe's description of the request", seen()))
}

/// The bytes of a value in hex.
fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).filter_map(byte).collect()
}

/// A head that is too large: it may be refused and closed before all of it was sent.
fn large(case: &mut Case<'_>, what: &str, request: &str, statuses: &[u16]) -> Verdict {
    let mut client = case.connect()?;
    client.try_send(with_key(request.as_bytes(), case.key()));
    let response = client.response().map_err(|failure| failure.within(what))?;
    ensure(
        statuses.contains(&response.status()),
        format_args!("{what}: one of {statuses:?}"),
        format_args!("status {}", response.status()),
    )?;
    client.closed().map_err(|failure| failure.within(what))?;
    case.still_serves()?;
    let called = case.settled("call").into_iter().find(|call| !call.key().ends_with(".after"));
    ensure(called.is_none(), format_args!("{what}: no call"), "one")
}

/// Sends so many requests, on a connection each, that wait at a gate.
fn held_calls(case: &mut Case<'_>, gate: &str, count: u64) -> Result<Vec<Client>, Failure> {
    let request = case.get(&format!("gate={gate}&body=held"));
    let send = |_| {
        let mut client = case.connect()?;
        client.send(&request)?;
        Ok(client)
    };
    (0..count).map(send).collect()
}

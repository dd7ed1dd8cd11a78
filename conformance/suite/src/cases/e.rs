//! Chapter E: errors, panics, and clients that leave.

mod errors;
mod hooks;
mod leaving;
mod panics;

use varvel::Caps;
use varvel_spec::ids;

use crate::{Case, Check, Client, Form, Verdict, broken::Fault::*, expect_eq};

pub(crate) const CHECKS: &[Check] = &[
    Check::new(
        ids::E1,
        "500-without-detail",
        errors::error_without_detail,
        &[TellsErrorToClient, ErrorEndsConnection],
    ),
    Check::new(ids::E2, "not-a-byte", errors::not_a_byte, &[AbortIs500]),
    Check::new(
        ids::E3,
        "each-kind-its-status",
        errors::each_kind_its_status,
        &[UnavailableIs500, NoRetryAfter, BodyErrorIs500, MalformedKeepsConnection],
    ),
    Check::new(
        ids::E3,
        "errors-of-the-request-body",
        errors::errors_of_the_request_body,
        &[BodyErrorIs500, AllFaultsAreMalformed],
    ),
    Check::new(ids::E3, "trailers-too-large", errors::trailers_too_large, &[LargeTrailersAre400]),
    Check::new(ids::E4, "nothing-behind-a-failure", errors::nothing_behind_a_failure, &[SecondHead]),
    Check::new(
        ids::E5,
        "each-failure-once",
        errors::each_failure_once,
        &[ReportsTwice, ReportsNothing, ReportsWithoutRequest],
    ),
    Check::new(ids::E5, "leaving-is-no-failure", errors::leaving_is_no_failure, &[ReportsDisconnects]),
    Check::new(ids::E6, "thousand-panics", panics::thousand_panics, &[PanicKillsConnection, PanicLeaksPlace]),
    Check::new(ids::E6, "in-a-body", panics::panics_in_a_body, &[FailedAnswerLooksComplete]),
    Check::new(ids::E7, "in-a-hook", panics::panic_in_a_hook, &[HookPanicCloses, HookPanicIsLost]),
    Check::new(
        ids::E7,
        "in-a-destructor",
        panics::panic_in_a_destructor,
        &[DropPanicCloses, DropPanicIsLost],
    ),
    Check::new(ids::E7, "in-teardown", panics::panic_in_teardown, &[TeardownPanicIsLost]),
    Check::new(
        ids::E8,
        "future-is-dropped",
        leaving::future_is_dropped,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(
        ids::E8,
        "body-is-dropped",
        leaving::body_is_dropped,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E8, "within-a-second", leaving::within_a_second, &[NoticesDisconnectLate])
        .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E9, "noticed-by-writing", leaving::noticed_by_writing, &[IgnoresFailedWrites]),
    Check::new(ids::E10, "finished-all-the-same", leaving::finished_all_the_same, &[CancelsDespiteFinish])
        .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E11, "sink-refuses", leaving::sink_refuses, &[IgnoresFailedWrites]),
    Check::new(
        ids::E12,
        "truth-of-every-ending",
        hooks::truth_of_every_ending,
        &[HookNeverFires, HookKnowsNoStatus, HookCountsFraming, HookSaysCompleted],
    ),
    Check::new(ids::E12, "client-gone", hooks::hook_of_a_client_gone, &[HookSaysCompleted, HookNeverFires]),
    Check::new(
        ids::E12,
        "client-too-slow",
        hooks::hook_of_a_client_too_slow,
        &[HookSaysCompleted, HookForgetsTheCut],
    ),
    Check::new(ids::E12, "not-before-the-end", hooks::hook_not_before_the_end, &[HookFiresEarly]),
    Check::new(ids::E12, "end-of-the-tunnel", hooks::hook_at_the_end_of_a_tunnel, &[TunnelHookFiresEarly])
        .needs(Caps::UPGRADE),
    Check::new(
        ids::E12,
        "stopped",
        hooks::hook_of_a_stopped_exchange,
        &[NoHookAtDeadline, HookSaysCompleted],
    ),
    Check::new(ids::E12, "given-after-the-end", hooks::hook_given_after_the_end, &[LateHookIsLost]),
    Check::new(ids::E13, "what-waits-is-dropped", leaving::what_waits_is_dropped, &[IgnoresEndOfSending])
        .needs(Caps::DISCONNECT_WATCH)
        .lacks(Caps::HALF_CLOSE),
    Check::new(
        ids::E13,
        "answered-all-the-same",
        leaving::answered_all_the_same,
        &[IgnoresEndOfSending, NeverNoticesDisconnect],
    )
    .needs(Caps::DISCONNECT_WATCH)
    .lacks(Caps::HALF_CLOSE),
    Check::new(ids::E13, "what-is-ready-is-sent", leaving::what_is_ready_is_sent, &[DiscardsForHalfClosed]),
    Check::new(
        ids::E14,
        "all-answers-to-the-half-closed",
        leaving::all_answers_to_the_half_closed,
        &[AnswersOneBeforeEnd, SinkRefusesHalfClosed],
    )
    .needs(Caps::HALF_CLOSE),
    Check::new(ids::E15, "sync-calls-run-on", leaving::sync_calls_run_on, &[IgnoresFailedWrites]),
    Check::new(
        ids::E16,
        "who-watches-is-woken",
        leaving::who_watches_is_woken,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(
        ids::E16,
        "another-thread-is-woken",
        leaving::another_thread_is_woken,
        &[NeverNoticesDisconnect, DisconnectWakesNobody],
    )
    .needs(Caps::DISCONNECT_WATCH),
    Check::new(ids::E16, "over-counts-as-gone", leaving::over_counts_as_gone, &[FinishedLooksConnected]),
];

/// An endless stream, as far as a check is concerned.
const ENDLESS: &str = "stream&frames=1000000:65536";

/// Sees that the connection is in step and answers another request.
fn next_is_right(case: &Case<'_>, client: &mut Client) -> Verdict {
    client.send(case.get("body=next"))?;
    let next = client.response().map_err(|failure| failure.within("the next request on the connection"))?;
    expect_eq("the next answer on the connection:", (next.status(), next.text().as_str()), (200, "next"))
}

fn async_only(case: &Case<'_>) -> Verdict {
    case.only_if(case.about().form == Form::Async, "sync calls are not abandoned")
}

//! Time, moved by hand.

use std::time::Duration;

use varvel_http1::*;

use crate::peer::Peer;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

/// Seconds until the next deadline, and what it is for.
fn due(peer: &Peer) -> Option<(f64, DeadlineKind)> {
    let deadline = peer.connection.deadline()?;
    Some((deadline.at.saturating_duration_since(peer.now).as_secs_f64(), deadline.kind))
}

#[test]
fn first_head_is_due_from_the_start() {
    let mut peer = Peer::new();
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Head)));
    peer.wait(20);
    assert!(peer.try_receive("GET").unwrap().is_none());
    assert_eq!(due(&peer), Some((10.0, DeadlineKind::Head)));
}

#[test]
fn who_was_accepted_or_answered_just_before_the_stop_has_a_second_for_one_more_request() {
    let accepted = Peer::new;
    let answered = || {
        let mut peer = Peer::after(GET);
        peer.respond();
        peer.next_exchange();
        peer
    };
    for peer in [accepted as fn() -> Peer, answered] {
        let (mut asks, mut is_silent) = (peer(), peer());
        asks.connection.shutting_down();
        assert_eq!(due(&asks), Some((1.0, DeadlineKind::Parting)));
        assert!(asks.try_receive("GET").unwrap().is_none());
        assert_eq!(due(&asks).map(|due| due.1), Some(DeadlineKind::Head), "what has begun is finished");

        is_silent.connection.shutting_down();
        is_silent.wait(1);
        let expired = is_silent.connection.expire(is_silent.now);
        assert_eq!(expired, Some(Expired::Close(CloseReason::ShuttingDown)));
    }
}

#[test]
fn who_has_been_silent_for_long_is_not_waited_for_by_a_stop() {
    let mut peer = Peer::new();
    peer.wait(2);
    peer.connection.shutting_down();
    assert_eq!(due(&peer), Some((0.0, DeadlineKind::Parting)));
}

#[test]
fn later_head_is_due_from_its_first_byte() {
    let mut peer = Peer::after(GET);
    assert_eq!(due(&peer), None, "the time of the application is not the peer's");
    peer.respond();
    peer.next_exchange();
    assert_eq!(due(&peer), Some((75.0, DeadlineKind::Idle)));
    peer.wait(60);
    assert!(peer.try_receive("\r\n").unwrap().is_none());
    assert_eq!(due(&peer), Some((15.0, DeadlineKind::Idle)), "an empty line is no request");
    assert!(peer.try_receive("G").unwrap().is_none());
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Head)));
}

#[test]
fn bytes_now_and_then_do_not_renew_the_time_of_a_head() {
    let mut peer = Peer::new();
    for byte in ["G", "E", "T", " ", "/"] {
        assert!(peer.try_receive(byte).unwrap().is_none());
        peer.wait(5);
    }
    assert_eq!(due(&peer), Some((5.0, DeadlineKind::Head)));
    assert_eq!(peer.connection.expire(peer.now), None);
    peer.wait(5);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Refuse(Refusal::HeadTimeout)));
    assert_eq!(peer.connection.expire(peer.now), None);
    peer.connection.send_refusal(Refusal::HeadTimeout, b"", &mut peer.out);
    assert!(peer.take_output().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Refused(Refusal::HeadTimeout)));
    assert_eq!(peer.try_receive(" HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().map(drop), None);
}

#[test]
fn silence_is_closed_silently() {
    for used in [false, true] {
        let mut peer = Peer::new();
        if used {
            peer.receive(GET);
            peer.respond();
            peer.next_exchange();
        }
        peer.wait(75);
        assert_eq!(peer.connection.expire(peer.now), Some(Expired::Close(CloseReason::IdleTimeout)));
        assert_eq!(due(&peer), None);
        assert_eq!(peer.next_exchange(), After::Close(CloseReason::IdleTimeout));
    }
}

#[test]
fn body_is_due_only_while_it_is_wanted() {
    let mut peer = Peer::after(POST);
    peer.wait(1000);
    assert_eq!(due(&peer), None, "the application has not asked");
    assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore));
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Body)));
    peer.wait(29);
    assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore), "asking again changes nothing");
    assert_eq!(due(&peer), Some((1.0, DeadlineKind::Body)));
    peer.push(&[0; 100_000]);
    assert!(peer.body().is_ok());
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Body)), "progress renews");
    peer.wait(30);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Body(BodyFault::Timeout)));
    assert_eq!(peer.next_body(), Err(BodyFault::Timeout));
    peer.send_head(408, &[], BodyLength::Known(0), b"").unwrap();
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Body(BodyFault::Timeout)));
}

#[test]
fn body_must_keep_its_pace() {
    let mut peer = Peer::after(POST);
    let mut waited = 0;
    // A byte every ten seconds renews each time, but the allowance of 30 seconds is used up.
    while peer.connection.expire(peer.now).is_none() {
        peer.push(b"x");
        assert!(peer.body().is_ok());
        peer.wait(10);
        waited += 10;
        assert!(waited < 1000, "a slow body is held for ever");
    }
    assert_eq!(waited, 30);
}

#[test]
fn body_at_its_pace_goes_on() {
    let mut peer = Peer::after(POST);
    for _ in 0..100 {
        peer.push(&[0; 2500]);
        assert!(peer.body().is_ok());
        peer.wait(10);
        assert_eq!(peer.connection.expire(peer.now), None);
    }
}

#[test]
fn output_is_due_only_while_it_waits() {
    let mut peer = Peer::after(GET);
    peer.respond();
    peer.connection.output_progress(500, false, peer.now);
    assert_eq!(due(&peer), None);
    peer.connection.output_progress(500, true, peer.now);
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Write)));
    peer.wait(20);
    peer.connection.output_progress(0, true, peer.now);
    assert_eq!(due(&peer), Some((10.0, DeadlineKind::Write)), "nothing taken, nothing renewed");
    peer.connection.output_progress(100_000, true, peer.now);
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Write)));
    peer.wait(30);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Close(CloseReason::WriteTimeout)));
}

/// The response had a Content-Length and no text, as if it too were the answer to HEAD.
#[test]
fn timeout_of_a_head_behind_a_head_request_is_told_in_full() {
    for (start, has_text) in [("GET / HT", true), ("HEAD / HT", false)] {
        let mut peer = Peer::after("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        peer.respond();
        peer.next_exchange();
        peer.take_output();
        assert!(peer.try_receive(start).unwrap().is_none());
        peer.wait(30);
        assert_eq!(peer.connection.expire(peer.now), Some(Expired::Refuse(Refusal::HeadTimeout)));
        peer.connection.send_refusal(Refusal::HeadTimeout, b"", &mut peer.out);
        let answer = peer.take_output();
        assert_eq!(
            answer.ends_with(&format!("\r\n\r\n{}\n", Refusal::HeadTimeout)),
            has_text,
            "{start}: {answer}"
        );
    }
}

/// A server that asks for the next deadline before it has closed would find this one in the past, for ever.
#[test]
fn write_timeout_passes_once() {
    let mut peer = Peer::after(GET);
    peer.respond();
    peer.connection.output_progress(0, true, peer.now);
    peer.wait(30);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Close(CloseReason::WriteTimeout)));
    assert_eq!(due(&peer), None);
    assert_eq!(peer.connection.expire(peer.now), None);
}

/// What an application wrote before it failed is still sent, to a peer that may not take it.
#[test]
fn output_of_a_given_up_connection_is_due() {
    let mut peer = Peer::after(GET);
    peer.connection.output_progress(0, true, peer.now);
    peer.connection.abort(CloseReason::Application);
    assert_eq!(due(&peer), Some((30.0, DeadlineKind::Write)));
}

#[test]
fn output_must_be_taken_at_a_pace() {
    let mut peer = Peer::after(GET);
    peer.respond();
    peer.connection.output_progress(0, true, peer.now);
    let mut waited = 0;
    while peer.connection.expire(peer.now).is_none() {
        peer.connection.output_progress(1, true, peer.now);
        peer.wait(10);
        waited += 10;
        assert!(waited < 1000, "a slow reader is served for ever");
    }
    assert_eq!(waited, 30);
}

#[test]
fn idle_time_starts_when_the_response_was_taken() {
    let mut peer = Peer::after(GET);
    peer.respond();
    peer.next_exchange();
    peer.connection.output_progress(0, true, peer.now);
    for _ in 0..10 {
        assert_eq!(due(&peer), Some((30.0, DeadlineKind::Write)));
        peer.wait(20);
        peer.connection.output_progress(100_000, true, peer.now);
    }
    peer.connection.output_progress(1, false, peer.now);
    assert_eq!(due(&peer), Some((75.0, DeadlineKind::Idle)));
}

#[test]
fn earlier_of_two_deadlines_counts() {
    let mut peer = Peer::after(POST);
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore));
    peer.wait(10);
    peer.connection.output_progress(0, true, peer.now);
    assert_eq!(due(&peer), Some((20.0, DeadlineKind::Body)));
    peer.push(&[0; 100_000]);
    assert!(peer.body().is_ok());
    peer.wait(5);
    assert_eq!(due(&peer), Some((25.0, DeadlineKind::Write)));
}

#[test]
fn dropping_a_body_has_one_deadline_in_all() {
    let mut peer = Peer::after("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    peer.respond();
    for left in [5.0, 4.0, 3.0] {
        assert_eq!(peer.next_exchange(), After::Discard);
        assert_eq!(due(&peer), Some((left, DeadlineKind::Discard)));
        peer.push(b"x");
        peer.wait(1);
    }
    peer.wait(2);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Close(CloseReason::DiscardTimeout)));
}

#[test]
fn lingering_ends() {
    let mut peer = Peer::new();
    let refusal = peer.try_receive("\0").unwrap_err();
    peer.connection.send_refusal(refusal, b"", &mut peer.out);
    peer.next_exchange();
    peer.connection.output_progress(0, true, peer.now);
    assert_eq!(due(&peer).map(|due| due.1), Some(DeadlineKind::Write), "first the refusal has to get out");
    peer.wait(10);
    peer.connection.output_progress(9, false, peer.now);
    assert_eq!(due(&peer), Some((5.0, DeadlineKind::Linger)));
    peer.wait(5);
    assert_eq!(peer.connection.expire(peer.now), Some(Expired::Close(CloseReason::LingerTimeout)));
}

#[test]
fn endless_timeouts_are_no_deadlines() {
    let never = Duration::MAX;
    let timeouts = Timeouts {
        head_timeout: never,
        keep_alive_timeout: never,
        body_timeout: never,
        write_timeout: never,
        ..Timeouts::default()
    };
    let mut peer = Peer::with(Config { timeouts, ..Config::default() });
    assert_eq!(due(&peer), None);
    peer.receive(POST);
    assert_eq!(peer.next_body(), Ok(BodyEvent::NeedMore));
    peer.connection.output_progress(0, true, peer.now);
    assert_eq!(due(&peer), None);
    peer.wait(1 << 40);
    assert_eq!(peer.connection.expire(peer.now), None);
}

#[test]
fn paces_can_be_turned_off() {
    let timeouts = Timeouts { body_rate_min: 0, ..Timeouts::default() };
    let mut peer = Peer::with(Config { timeouts, ..Config::default() });
    peer.receive(POST);
    for _ in 0..100 {
        assert!(peer.body().is_ok());
        peer.wait(29);
        assert_eq!(peer.connection.expire(peer.now), None);
        peer.push(b"x");
    }
}

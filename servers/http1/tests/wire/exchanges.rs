//! How one exchange follows another: persistence, unread bodies, 100 Continue, ends of the connection.

use http::{HeaderMap, StatusCode};
use varvel_http1::*;

use crate::peer::Peer;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const EXPECT: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn post(length: u64) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

fn discarding(bytes: u32) -> Peer {
    let limits = Limits { discard_bytes_max: bytes, ..Limits::default() };
    Peer::with(Config { limits, ..Config::default() })
}

#[test]
fn requests_follow_each_other() {
    let mut peer = Peer::new();
    peer.push(GET.repeat(100).as_bytes());
    for _ in 0..100 {
        let head = peer.connection.receive_head(&mut peer.input, &mut Spare::default(), peer.now);
        assert!(head.unwrap().is_some());
        peer.respond();
        assert_eq!(peer.next_exchange(), After::KeepAlive);
    }
    assert!(peer.input.is_empty() && peer.connection.is_idle());
}

#[test]
fn next_request_waits_for_the_response() {
    let mut peer = Peer::after(GET);
    assert!(peer.try_receive(GET).unwrap().is_none());
    peer.send_head(200, &[], BodyLength::Known(0), b"").unwrap();
    assert!(peer.try_receive("").unwrap().is_none());
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert!(peer.try_receive("").unwrap().is_none());
    assert_eq!(peer.next_exchange(), After::KeepAlive);
    assert!(peer.try_receive("").unwrap().is_some());
}

#[test]
fn connection_is_idle_only_between_exchanges() {
    let mut peer = Peer::new();
    assert!(peer.connection.is_idle());
    assert!(peer.try_receive("\r\n\r").unwrap().is_none());
    assert!(peer.connection.is_idle(), "empty lines are nothing");
    assert!(peer.try_receive("\nGET").unwrap().is_none());
    assert!(!peer.connection.is_idle());
    peer.receive(" / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!peer.connection.is_idle());
    peer.respond();
    assert!(!peer.connection.is_idle());
    peer.next_exchange();
    assert!(peer.connection.is_idle());
}

#[test]
fn unfinished_response_ends_the_connection() {
    for begun in [false, true] {
        let mut peer = Peer::after(GET);
        if begun {
            peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
        }
        assert_eq!(peer.next_exchange(), After::Close(CloseReason::ResponseUnfinished));
        assert!(!peer.connection.should_linger());
    }
}

#[test]
fn unread_body_is_dropped_and_never_a_request() {
    let mut peer = Peer::new();
    peer.receive(&(post(GET.len() as u64) + GET + "GET /real HTTP/1.1\r\nHost: a\r\n\r\n"));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::KeepAlive);
    let head = peer.try_receive("").unwrap().unwrap();
    assert_eq!(head.request.uri(), "/real");
}

#[test]
fn unread_body_is_dropped_as_it_comes() {
    for (head, pieces) in
        [(post(10), ["01234", "56789"]), (CHUNKED.to_owned(), ["3\r\nabc\r\n", "0\r\nX: y\r\n\r\n"])]
    {
        let mut peer = Peer::after(&head);
        peer.respond();
        for piece in pieces {
            assert_eq!(peer.next_exchange(), After::Discard);
            assert_eq!(peer.connection.deadline().unwrap().kind, DeadlineKind::Discard);
            assert!(peer.try_receive("").unwrap().is_none(), "no request is read out of a body");
            peer.push(piece.as_bytes());
        }
        assert_eq!(peer.next_exchange(), After::KeepAlive);
        assert!(peer.input.is_empty() && peer.try_receive(GET).unwrap().is_some());
    }
}

#[test]
fn unread_body_known_to_be_long_is_not_dropped() {
    let mut peer = discarding(100);
    peer.receive(&post(101));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::BodyUnread));
    assert!(peer.connection.should_linger(), "the peer is sending still");

    let mut peer = discarding(100);
    peer.receive(&post(101));
    peer.push(b"x");
    assert!(peer.next_body().is_ok());
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Discard, "what was read does not count");
}

#[test]
fn unread_body_that_turns_out_long_is_given_up() {
    let mut peer = discarding(100);
    peer.receive(CHUNKED);
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Discard);
    // One byte of payload costs six bytes on the wire.
    for _ in 0..16 {
        peer.push(b"1\r\nx\r\n");
        assert_eq!(peer.next_exchange(), After::Discard);
    }
    peer.push(b"1\r\nx\r\n");
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::BodyUnread));
}

#[test]
fn unread_body_that_is_broken_ends_the_connection() {
    let mut peer = Peer::after(CHUNKED);
    peer.push(b"nonsense\r\n");
    peer.respond();
    let expected = CloseReason::Body(BodyFault::ChunkSizeInvalid);
    assert_eq!(peer.next_exchange(), After::Close(expected));
    assert_eq!(peer.next_exchange(), After::Close(expected));
}

#[test]
fn response_may_come_before_its_request_has_ended() {
    let mut peer = Peer::after(CHUNKED);
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    for word in ["ping", "pong"] {
        peer.push(format!("4\r\n{word}\r\n").as_bytes());
        assert_eq!(peer.body(), Ok(word.as_bytes().to_vec()));
        peer.data(word.as_bytes());
    }
    peer.push(b"0\r\n\r\n");
    assert_eq!(peer.next_body(), Ok(BodyEvent::End(None)));
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert!(peer.take_output().ends_with("\r\n4\r\nping\r\n4\r\npong\r\n0\r\n\r\n"));
    assert_eq!(peer.next_exchange(), After::KeepAlive);
}

#[test]
fn body_is_wanted_until_its_last_byte() {
    let mut peer = Peer::after(&post(2));
    assert!(peer.connection.wants_body());
    peer.push(b"ok");
    assert!(matches!(peer.next_body(), Ok(BodyEvent::Data(_))));
    assert!(!peer.connection.wants_body());
    assert!(!Peer::after(GET).connection.wants_body());
    assert!(!Peer::after(&post(0)).connection.wants_body());
}

#[test]
fn continue_is_sent_once_and_at_the_first_pull() {
    let mut peer = Peer::after(EXPECT);
    assert!(peer.connection.awaits_continue());
    assert!(peer.connection.send_continue(&mut peer.out));
    assert!(!peer.connection.send_continue(&mut peer.out));
    assert_eq!(peer.take_output(), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.push(b"hello");
    assert_eq!(peer.body(), Ok(b"hello".to_vec()));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::KeepAlive);
}

#[test]
fn continue_on_demand_is_the_same_one() {
    let mut peer = Peer::after(EXPECT);
    let mut interim = || peer.connection.send_interim(StatusCode::CONTINUE, &HeaderMap::new(), &mut peer.out);
    assert_eq!(interim(), Ok(()));
    assert_eq!(interim(), Ok(()));
    assert!(!peer.connection.send_continue(&mut peer.out));
    assert_eq!(peer.take_output(), "HTTP/1.1 100 Continue\r\n\r\n");

    let mut unasked = Peer::after(&post(5));
    let sent = unasked.connection.send_interim(StatusCode::CONTINUE, &HeaderMap::new(), &mut unasked.out);
    assert_eq!((sent, unasked.take_output()), (Ok(()), String::new()));
}

#[test]
fn continue_is_not_sent_to_who_did_not_wait() {
    let mut peer = Peer::after(EXPECT);
    peer.push(b"he");
    assert!(matches!(peer.next_body(), Ok(BodyEvent::Data(_))));
    assert!(!peer.connection.awaits_continue());
    assert!(!peer.connection.send_continue(&mut peer.out));
}

#[test]
fn continue_is_not_sent_behind_the_final_head() {
    let mut peer = Peer::after(EXPECT);
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    assert!(!peer.connection.send_continue(&mut peer.out));
}

#[test]
fn final_response_instead_of_continue_closes_at_once() {
    let mut peer = Peer::after(EXPECT);
    let sent = peer.send_head(413, &[], BodyLength::Known(0), b"").unwrap();
    assert!(sent.close && peer.take_output().contains("connection: close\r\n"));
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::ContinueNotSent));
    assert!(!peer.connection.should_linger(), "there is nothing to wait for");
}

#[test]
fn end_between_requests_is_clean() {
    let mut peer = Peer::new();
    assert_eq!(peer.connection.receive_eof(), Eof::Clean);
    assert_eq!(peer.connection.close_reason(), Some(CloseReason::PeerFinished));
    let mut peer = Peer::after(GET);
    peer.respond();
    peer.next_exchange();
    peer.push(b"\r\n");
    assert!(peer.try_receive("").unwrap().is_none());
    assert_eq!(peer.connection.receive_eof(), Eof::Clean);
}

#[test]
fn end_inside_a_head() {
    let mut peer = Peer::new();
    assert!(peer.try_receive("GET / HT").unwrap().is_none());
    assert_eq!(peer.connection.receive_eof(), Eof::InHead);
    assert_eq!(peer.connection.close_reason(), Some(CloseReason::HeadTruncated));
    assert!(peer.try_receive("TP/1.1\r\nHost: a\r\n\r\n").unwrap().is_none());
}

#[test]
fn end_behind_a_request_leaves_it_to_be_answered() {
    let mut peer = Peer::after(GET);
    assert_eq!(peer.connection.receive_eof(), Eof::AfterRequest);
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerFinished));
    assert!(!peer.connection.should_linger());
}

#[test]
fn end_behind_pipelined_requests_leaves_all_to_be_answered() {
    let mut peer = Peer::after(&GET.repeat(3));
    assert_eq!(peer.connection.receive_eof(), Eof::AfterRequest);
    for _ in 0..2 {
        peer.respond();
        assert_eq!(peer.next_exchange(), After::KeepAlive);
        assert!(peer.try_receive("").unwrap().is_some());
    }
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerFinished));
}

#[test]
fn end_behind_part_of_a_next_request() {
    let mut peer = Peer::after(&(GET.to_owned() + "GET /2 HT"));
    assert_eq!(peer.connection.receive_eof(), Eof::AfterRequest);
    peer.respond();
    assert_eq!(peer.next_exchange(), After::KeepAlive);
    assert!(peer.try_receive("").unwrap().is_none());
    assert_eq!(peer.connection.close_reason(), Some(CloseReason::HeadTruncated));
}

#[test]
fn end_inside_a_body_is_told_behind_what_came() {
    for (head, rest) in [(post(5), "hel"), (CHUNKED.to_owned(), "5\r\nhel")] {
        let mut peer = Peer::after(&head);
        peer.push(rest.as_bytes());
        assert_eq!(peer.connection.receive_eof(), Eof::InBody);
        assert!(matches!(peer.next_body(), Ok(BodyEvent::Data(data)) if data == "hel"));
        assert_eq!(peer.next_body(), Err(BodyFault::Truncated));
        assert_eq!(peer.next_body(), Err(BodyFault::Truncated));
        peer.respond();
        assert_eq!(peer.next_exchange(), After::Close(CloseReason::Body(BodyFault::Truncated)));
        assert!(!peer.connection.should_linger(), "the peer sends no more");
    }
}

#[test]
fn end_of_input_with_a_whole_body_in_hand() {
    let mut peer = Peer::after(&post(5));
    peer.push(b"hello");
    assert_eq!(peer.connection.receive_eof(), Eof::InBody);
    assert_eq!(peer.body(), Ok(b"hello".to_vec()));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerFinished));
}

#[test]
fn end_while_a_body_is_dropped() {
    let mut peer = Peer::after(&post(5));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Discard);
    peer.connection.receive_eof();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Body(BodyFault::Truncated)));
}

#[test]
fn broken_body_is_answered_and_closes() {
    let mut peer = Peer::after(CHUNKED);
    peer.push(b"zz\r\n");
    assert_eq!(peer.next_body(), Err(BodyFault::ChunkSizeInvalid));
    assert!(peer.send_head(400, &[], BodyLength::Known(0), b"").unwrap().close);
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Body(BodyFault::ChunkSizeInvalid)));
    assert!(peer.connection.should_linger());
    assert!(peer.try_receive(GET).unwrap().is_none());
}

#[test]
fn stopping_server_finishes_what_runs() {
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[], BodyLength::Known(0), b"").unwrap();
    peer.connection.shutting_down();
    peer.connection.send_end(None, &mut peer.out).unwrap();
    // The head did not say that this is the last answer, so the next request may be on its way.
    assert_eq!(peer.next_exchange(), After::KeepAlive);
    assert!(peer.connection.is_idle());
    peer.receive(GET);
    assert!(peer.send_head(200, &[], BodyLength::Known(0), b"").unwrap().close);
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::ShuttingDown));
}

#[test]
fn aborted_connection_does_nothing_more() {
    let mut peer = Peer::after(&post(5));
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    peer.take_output();
    peer.connection.abort(CloseReason::Application);
    assert_eq!(peer.next_body(), Err(BodyFault::Truncated));
    assert_eq!(peer.connection.send_data(5, &mut peer.out).take, 0);
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.take_output(), "", "above all no end that looks like completion");
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Application));
    assert!(!peer.connection.should_linger());
}

#[test]
fn first_reason_to_close_is_kept() {
    let mut peer = Peer::after("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer.connection.shutting_down();
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerAsked));
    peer.connection.abort(CloseReason::Transport);
    assert_eq!(peer.connection.close_reason(), Some(CloseReason::PeerAsked));
}

/// The bytes behind the last request are unread, so a close at once could cost the peer its answer.
#[test]
fn close_with_a_pipelined_request_lingers() {
    let mut peer = Peer::after(&("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned() + GET));
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerAsked));
    assert!(peer.connection.should_linger());
}

#[test]
fn close_with_an_unread_body_lingers() {
    let mut peer =
        Peer::after("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n");
    peer.respond();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::PeerAsked));
    assert!(peer.connection.should_linger());
    assert_eq!(peer.connection.deadline().unwrap().kind, DeadlineKind::Linger);
}

//! What goes over the wire: heads, framing, interim responses, trailers, refusals.

use crate::peer::{Peer, headers};
use crate::random::Random;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use varvel_http1::*;

const DATE: &[u8] = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_10: &str = "GET / HTTP/1.0\r\n\r\n";
const GET_10_KEEP_ALIVE: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const GET_TE: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n";

/// The head a server writes for this request, and what it says about it.
#[track_caller]
fn head(request: &str, status: u16, fields: &[(&str, &str)], body: BodyLength) -> (String, SentHead) {
    let mut peer = Peer::after(request);
    let sent = peer.send_head(status, fields, body, b"").unwrap();
    (peer.take_output(), sent)
}

#[test]
fn known_length_is_content_length() {
    let (text, sent) = head(GET, 200, &[("content-type", "text/plain")], BodyLength::Known(13));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\n");
    assert_eq!(sent.framing, ResponseFraming::Length(13));
    assert!(!sent.close && sent.removed.is_empty());
    let (text, _) = head(GET, 200, &[], BodyLength::Known(0));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn unknown_length_is_chunked() {
    let (text, sent) = head(GET, 200, &[], BodyLength::Unknown);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(sent.framing, ResponseFraming::Chunked);
}

#[test]
fn unknown_length_to_http10_ends_with_the_connection() {
    for request in [GET_10, GET_10_KEEP_ALIVE] {
        let (text, sent) = head(request, 200, &[], BodyLength::Unknown);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        assert_eq!((sent.framing, sent.close), (ResponseFraming::UntilClose, true));
    }
}

#[test]
fn http10_is_told_when_the_connection_stays() {
    let (text, sent) = head(GET_10_KEEP_ALIVE, 200, &[], BodyLength::Known(2));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n");
    assert!(!sent.close);
}

#[test]
fn declared_length_frames_a_stream() {
    let (text, sent) = head(GET, 200, &[("content-length", "7")], BodyLength::Unknown);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
    assert_eq!((sent.framing, sent.length_mismatch), (ResponseFraming::Length(7), None));
}

#[test]
fn declared_length_is_kept_against_a_known_one_and_reported() {
    let (text, sent) = head(GET, 200, &[("content-length", "7")], BodyLength::Known(9));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
    assert_eq!((sent.framing, sent.length_mismatch), (ResponseFraming::Length(7), Some(7)));
}

#[test]
fn declared_length_that_is_no_number_is_removed() {
    for value in ["x", "+7", "7, 7", "", "18446744073709551616"] {
        let (text, sent) = head(GET, 200, &[("content-length", value)], BodyLength::Known(9));
        assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "{value}");
        assert_eq!(sent.removed.names().collect::<Vec<_>>(), ["content-length"], "{value}");
    }
    let twice = [("content-length", "9"), ("content-length", "9")];
    let (text, sent) = head(GET, 200, &twice, BodyLength::Unknown);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert!(!sent.removed.is_empty());
}

#[test]
fn head_gets_the_head_of_get() {
    for (status, fields, body) in [
        (200, &[("etag", "x")][..], BodyLength::Known(13)),
        (200, &[], BodyLength::Known(0)),
        (200, &[], BodyLength::Unknown),
        (200, &[("content-length", "5")], BodyLength::Known(0)),
        (200, &[("content-length", "5")], BodyLength::Unknown),
        (404, &[], BodyLength::Known(9)),
        (304, &[("content-length", "5")], BodyLength::Known(0)),
        (204, &[], BodyLength::Known(0)),
    ] {
        let (of_get, _) = head(GET, status, fields, body);
        let (of_head, sent) = head(HEAD, status, fields, body);
        assert_eq!(of_head, of_get);
        assert_eq!(sent.framing, ResponseFraming::None);
        assert_eq!(sent.length_mismatch, None, "a HEAD response may declare what it does not send");
    }
}

#[test]
fn bodiless_responses_have_no_framing() {
    let (text, sent) = head(GET, 204, &[("content-length", "0")], BodyLength::Known(0));
    assert_eq!(text, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(sent.framing, ResponseFraming::None);
    assert_eq!(sent.removed.names().collect::<Vec<_>>(), ["content-length"]);

    let (text, _) = head(GET, 304, &[("content-length", "5")], BodyLength::Unknown);
    assert_eq!(text, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n");
    let (text, _) = head(GET, 304, &[], BodyLength::Known(0));
    assert_eq!(text, "HTTP/1.1 304 Not Modified\r\n\r\n");

    let (text, sent) = head(GET, 205, &[], BodyLength::Unknown);
    assert_eq!(text, "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(sent.framing, ResponseFraming::Length(0));
}

#[test]
fn bodies_that_must_not_be_sent_are_not_taken() {
    for (request, status, excess) in
        [(HEAD, 200, false), (GET, 204, true), (GET, 304, true), (GET, 205, true)]
    {
        let mut peer = Peer::after(request);
        peer.send_head(status, &[], BodyLength::Known(5), b"").unwrap();
        peer.take_output();
        let frame = peer.connection.send_data(5, &mut peer.out);
        assert_eq!((frame.take, frame.suffix, frame.excess), (0, &b""[..], excess), "{status}");
        assert!(peer.connection.send_end(None, &mut peer.out).is_ok());
        assert_eq!(peer.take_output(), "");
        assert_eq!(peer.next_exchange(), After::KeepAlive);
    }
}

#[test]
fn fields_of_the_connection_are_removed_and_named() {
    let fields = [
        ("connection", "upgrade"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x", "y"),
    ];
    let (text, sent) = head(GET, 200, &fields, BodyLength::Known(0));
    assert_eq!(text, "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n");
    let names: Vec<_> = sent.removed.names().collect();
    assert_eq!(names, ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
}

/// RFC 9110 section 15.5.22.
#[test]
fn upgrade_required_says_to_what() {
    let (text, sent) = head(GET, 426, &[("upgrade", "websocket"), ("x", "y")], BodyLength::Known(0));
    assert_eq!(
        text,
        "HTTP/1.1 426 Upgrade Required\r\nx: y\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n"
    );
    assert!(sent.removed.is_empty());
}

#[test]
fn fields_stay_separate_and_byte_exact() {
    let mut map = headers(&[("set-cookie", "a=1"), ("x", "y"), ("set-cookie", "b=2")]);
    map.insert("raw", HeaderValue::from_bytes(b"caf\xe9\t\"x\"").unwrap());
    let mut peer = Peer::after(GET);
    peer.connection.send_head(StatusCode::OK, &map, BodyLength::Known(0), b"", &mut peer.out).unwrap();
    let expected = b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx: y\r\nraw: caf\xe9\t\"x\"\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(peer.out, expected);
}

#[test]
fn date_is_added_where_missing() {
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[], BodyLength::Known(0), DATE).unwrap();
    assert_eq!(
        peer.take_output(),
        "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 0\r\n\r\n"
    );
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[("date", "Mon, 07 Nov 1994 00:00:00 GMT")], BodyLength::Known(0), DATE).unwrap();
    assert_eq!(peer.take_output().matches("date:").count(), 1);
}

#[test]
fn unknown_statuses_have_an_empty_reason() {
    let (text, _) = head(GET, 599, &[], BodyLength::Known(0));
    assert_eq!(text, "HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn close_is_announced() {
    let (text, sent) =
        head("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, &[], BodyLength::Known(0));
    assert!(text.ends_with("connection: close\r\n\r\n"), "{text}");
    assert!(sent.close);

    let mut peer = Peer::after(GET);
    peer.connection.shutting_down();
    assert!(peer.send_head(200, &[], BodyLength::Known(0), b"").unwrap().close);
    assert!(peer.take_output().contains("connection: close\r\n"));
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::ShuttingDown));
}

#[test]
fn length_counts_down_and_excess_is_cut() {
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[("content-length", "7")], BodyLength::Unknown, b"").unwrap();
    peer.take_output();
    let mut send = |len| peer.connection.send_data(len, &mut peer.out);
    assert_eq!(send(5), DataFrame { take: 5, suffix: b"", excess: false });
    assert_eq!(send(0), DataFrame { take: 0, suffix: b"", excess: false });
    assert_eq!(send(5), DataFrame { take: 2, suffix: b"", excess: true });
    assert_eq!(send(1), DataFrame { take: 0, suffix: b"", excess: true });
    assert!(peer.connection.send_end(None, &mut peer.out).is_ok());
    assert_eq!(peer.take_output(), "");
    assert_eq!(peer.next_exchange(), After::KeepAlive);
}

#[test]
fn short_response_breaks_the_connection() {
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[("content-length", "7")], BodyLength::Unknown, b"").unwrap();
    peer.connection.send_data(5, &mut peer.out);
    peer.take_output();
    assert_eq!(peer.connection.send_end(None, &mut peer.out), Err(ShortBody { missing: 2 }));
    assert_eq!(peer.take_output(), "");
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::ResponseShort));
    assert!(!peer.connection.should_linger(), "the peer is to notice");
}

#[test]
fn empty_piece_does_not_end_a_chunked_response() {
    let mut peer = Peer::after(GET);
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    peer.take_output();
    peer.data(b"one");
    peer.data(b"");
    peer.data(&[b'x'; 26]);
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.take_output(), format!("3\r\none\r\n1a\r\n{}\r\n0\r\n\r\n", "x".repeat(26)));
}

#[test]
fn response_until_close_is_sent_as_it_is() {
    let mut peer = Peer::after(GET_10);
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    peer.take_output();
    peer.data(b"one");
    peer.data(b"two");
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.take_output(), "onetwo");
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Http10));
}

#[test]
fn trailers_need_chunks_and_consent() {
    let trailers =
        headers(&[("checksum", "1"), ("content-length", "9"), ("checksum", "2"), ("connection", "close")]);
    for (request, body, end) in [
        (GET_TE, BodyLength::Unknown, "0\r\nchecksum: 1\r\nchecksum: 2\r\n\r\n"),
        (GET, BodyLength::Unknown, "0\r\n\r\n"),
        (GET_TE, BodyLength::Known(0), ""),
        ("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n", BodyLength::Unknown, ""),
        ("HEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", BodyLength::Unknown, ""),
    ] {
        let mut peer = Peer::after(request);
        let sent = peer.send_head(200, &[], body, b"").unwrap();
        peer.take_output();
        let end_of = peer.connection.send_end(Some(&trailers), &mut peer.out).unwrap();
        assert_eq!(peer.take_output(), end, "{request}");
        assert_eq!(end_of.trailers_removed, sent.framing == ResponseFraming::Chunked);
    }
}

#[test]
fn interim_responses_precede_the_final_one() {
    let mut peer = Peer::after(GET);
    let hints = headers(&[("link", "</a>; rel=preload"), ("content-length", "3"), ("connection", "close")]);
    let mut interim = |status: u16, map: &HeaderMap| {
        peer.connection.send_interim(StatusCode::from_u16(status).unwrap(), map, &mut peer.out)
    };
    assert_eq!(interim(103, &hints), Ok(()));
    assert_eq!(interim(102, &HeaderMap::new()), Ok(()));
    assert_eq!(interim(199, &HeaderMap::new()), Ok(()));
    assert_eq!(interim(101, &hints), Err(InterimRefused::NotInterim));
    assert_eq!(interim(200, &hints), Err(InterimRefused::NotInterim));
    assert_eq!(
        peer.take_output(),
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 \r\n\r\n"
    );
    peer.send_head(200, &[], BodyLength::Known(0), b"").unwrap();
    peer.take_output();
    let late = peer.connection.send_interim(StatusCode::EARLY_HINTS, &hints, &mut peer.out);
    assert_eq!(late, Err(InterimRefused::TooLate));

    let mut old = Peer::after(GET_10);
    let refused = old.connection.send_interim(StatusCode::EARLY_HINTS, &hints, &mut old.out);
    assert_eq!(refused, Err(InterimRefused::Http10));
    assert_eq!(old.take_output() + &peer.take_output(), "");
}

#[test]
fn heads_that_cannot_be_sent_leave_no_byte() {
    let mut peer = Peer::new();
    assert_eq!(peer.send_head(200, &[], BodyLength::Known(0), b""), Err(HeadRefused::NotAwaited));
    peer.receive(GET);
    for status in [100, 101, 103] {
        assert_eq!(peer.send_head(status, &[], BodyLength::Known(0), b""), Err(HeadRefused::Interim));
    }
    assert_eq!(peer.take_output(), "");
    peer.send_head(500, &[], BodyLength::Known(0), b"").unwrap();
    peer.take_output();
    assert_eq!(peer.send_head(200, &[], BodyLength::Known(0), b""), Err(HeadRefused::NotAwaited));
    assert_eq!(peer.take_output(), "");
}

#[test]
fn connect_needs_a_tunnel_for_success() {
    let mut peer = Peer::after("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    assert_eq!(peer.send_head(200, &[], BodyLength::Known(0), b""), Err(HeadRefused::ConnectNeedsAccept));
    let sent = peer.send_head(403, &[], BodyLength::Known(0), b"").unwrap();
    assert!(sent.close, "what follows may be meant for the tunnel");
}

#[test]
fn data_outside_of_a_response_is_not_taken() {
    let mut peer = Peer::after(GET);
    let frame = peer.connection.send_data(5, &mut peer.out);
    assert_eq!((frame.take, frame.excess), (0, true));
    peer.connection.send_end(None, &mut peer.out).unwrap();
    assert_eq!(peer.take_output(), "");
    peer.respond();
    let frame = peer.connection.send_data(5, &mut peer.out);
    assert_eq!((frame.take, frame.excess), (0, true));
}

#[test]
fn refusal_is_a_whole_response() {
    let mut peer = Peer::new();
    let refusal = peer.try_receive("GET / HTTP/1.1\r\n\r\n").unwrap_err();
    peer.connection.send_refusal(refusal, DATE, &mut peer.out);
    assert_eq!(
        peer.take_output(),
        "HTTP/1.1 400 Bad Request\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-type: text/plain\r\n\
         content-length: 42\r\nconnection: close\r\n\r\nHost is missing (RFC 9112 section 3.2)\n"
            .replace("42", &("Host is missing (RFC 9112 section 3.2)\n".len()).to_string())
    );
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Refused(Refusal::HostMissing)));
    assert!(peer.connection.should_linger());
    assert!(peer.try_receive(GET).unwrap().is_none(), "no request is taken any more");
}

#[test]
fn refusal_of_head_has_no_body() {
    for request in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\n", "HEAD /\0"] {
        let mut peer = Peer::new();
        let refusal = peer.try_receive(request).unwrap_err();
        peer.connection.send_refusal(refusal, b"", &mut peer.out);
        let text = peer.take_output();
        assert!(text.contains("content-length: ") && text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[test]
fn refusal_after_the_head_writes_nothing() {
    let mut peer = Peer::after("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx");
    peer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
    peer.data(b"begun");
    peer.take_output();
    let fault = peer.body().unwrap_err();
    peer.connection.send_refusal(fault.into(), b"", &mut peer.out);
    assert_eq!(peer.take_output(), "");
    assert!(matches!(peer.next_exchange(), After::Close(CloseReason::Body(BodyFault::ChunkSizeInvalid))));
    assert!(!peer.connection.should_linger(), "the response is not whole; the peer is to notice");
}

#[test]
fn every_refusal_names_a_section_and_has_a_client_or_server_error() {
    use BodyFault as F;
    let faults = [
        F::ChunkSizeInvalid,
        F::ChunkExtensionInvalid,
        F::ChunkLineTooLong,
        F::ChunkOverhead,
        F::ChunkEndInvalid,
        F::TrailerInvalid,
        F::TrailersTooLarge,
        F::TooLarge,
        F::Timeout,
        F::Truncated,
    ];
    use Refusal as R;
    let refusals = [
        R::BareLf,
        R::BareCr,
        R::LeadingBlankLines,
        R::LooksLikeTls,
        R::MethodInvalid,
        R::MethodTooLong,
        R::TargetInvalid,
        R::TargetFormUnfit,
        R::RequestLineTooLong,
        R::VersionInvalid,
        R::VersionUnsupported,
        R::HeadTooLarge,
        R::TooManyFields,
        R::FieldNameInvalid,
        R::FieldValueInvalid,
        R::FieldFolded,
        R::HostMissing,
        R::HostRepeated,
        R::HostInvalid,
        R::ContentLengthInvalid,
        R::ContentLengthRepeated,
        R::TransferEncodingWithLength,
        R::TransferEncodingInHttp10,
        R::TransferEncodingInvalid,
        R::TransferCodingUnknown,
        R::ConnectWithBody,
        R::ExpectationUnknown,
        R::BodyTooLarge,
        R::HeadTimeout,
    ];
    for refusal in refusals.into_iter().chain(faults.into_iter().map(R::Body)) {
        let status = refusal.status();
        assert!(status.is_client_error() || status.is_server_error(), "{refusal:?}");
        assert!(refusal.to_string().contains("(RFC ") && refusal.to_string().ends_with(')'), "{refusal}");
    }
}

/// What is written as chunks is read as the same bytes, whatever the pieces on either side.
#[test]
fn chunks_survive_a_round_trip() {
    let mut random = Random::new(71);
    for _ in 0..200 {
        let mut writer = Peer::after(GET_TE);
        writer.send_head(200, &[], BodyLength::Unknown, b"").unwrap();
        writer.take_output();
        let mut sent = Vec::new();
        for _ in 0..random.below(8) {
            let piece = vec![random.next() as u8; random.below(70)];
            writer.data(&piece);
            sent.extend(piece);
        }
        let trailers = headers(&[("x", "y")]);
        writer.connection.send_end(Some(&trailers), &mut writer.out).unwrap();

        let mut reader = Peer::after("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut received = Vec::new();
        let mut wire = Bytes::from(std::mem::take(&mut writer.out));
        while !wire.is_empty() {
            let piece = wire.split_to(1 + random.below(wire.len()));
            reader.push(&piece);
            loop {
                match reader.next_body().unwrap() {
                    BodyEvent::NeedMore => break,
                    BodyEvent::Data(data) => received.extend_from_slice(&data),
                    BodyEvent::End(trailers) => {
                        assert_eq!(trailers.unwrap().get(HeaderName::from_static("x")).unwrap(), "y");
                        assert!(wire.is_empty());
                        break;
                    }
                }
            }
        }
        assert_eq!(received, sent);
        assert!(!reader.connection.wants_body());
    }
}

#[test]
fn upgrade_is_accepted_with_its_fields() {
    let request =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x, websocket\r\n\r\nfirst bytes";
    let mut peer = Peer::after(request);
    let unnamed = peer.connection.accept_upgrade(&HeaderMap::new(), b"", &mut peer.out);
    assert_eq!(unnamed, Err(HeadRefused::UpgradeUnnamed));
    assert_eq!(peer.take_output(), "");

    let fields = headers(&[
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "k"),
        ("content-length", "5"),
        ("connection", "x"),
    ]);
    let sent = peer.connection.accept_upgrade(&fields, DATE, &mut peer.out).unwrap();
    assert_eq!(
        peer.take_output(),
        "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: k\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         upgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    );
    assert_eq!(sent.removed.names().collect::<Vec<_>>(), ["connection"]);
    assert_eq!(&peer.input[..], b"first bytes", "what follows belongs to the tunnel");
    assert_eq!(peer.connection.deadline(), None);
    assert!(peer.try_receive(GET).unwrap().is_none(), "no request is read out of a tunnel");
    assert_eq!(peer.next_exchange(), After::Close(CloseReason::Upgraded));
}

#[test]
fn connect_is_accepted_without_framing() {
    let mut peer = Peer::after("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    let fields = headers(&[("content-length", "5"), ("transfer-encoding", "chunked"), ("x", "y")]);
    peer.connection.accept_upgrade(&fields, b"", &mut peer.out).unwrap();
    assert_eq!(peer.take_output(), "HTTP/1.1 200 OK\r\nx: y\r\n\r\n");
}

#[test]
fn upgrade_needs_an_offer() {
    let mut peer = Peer::after(GET);
    let fields = headers(&[("upgrade", "websocket")]);
    let refused = peer.connection.accept_upgrade(&fields, b"", &mut peer.out);
    assert_eq!(refused, Err(HeadRefused::UpgradeNotOffered));
    assert_eq!(peer.take_output(), "");
    peer.respond();
    assert_eq!(peer.next_exchange(), After::KeepAlive);
}

#[test]
fn first_protocol_is_the_first_offered() {
    let offered = |value: &'static str| {
        UpgradeRequest::first_protocol(&headers(&[("upgrade", value)]))
            .map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(offered(" ,x/1 , websocket").as_deref(), Some("x/1"));
    assert_eq!(offered("websocket").as_deref(), Some("websocket"));
    assert_eq!(UpgradeRequest::first_protocol(&HeaderMap::new()), None);
    assert!(headers(&[("upgrade", "a")]).contains_key(header::UPGRADE));
}

//! Clients that repeat their fields: what is remembered of them must show in nothing but the time it takes.

use bytes::Bytes;
use varvel_http1::{After, BodyLength, Config, Limits, Refusal, RequestHead, Spare};

use crate::peer::Peer;
use crate::random::Random;
use crate::server::describe;

/// Sections that begin alike, differ in one byte, or only in where they end.
const SECTIONS: [&str; 14] = [
    "Host: a\r\n\r\n",
    "Host: b\r\n\r\n",
    "Host: a\r\nAccept: */*\r\n\r\n",
    "Host: a\r\nAccept: */*\r\nAccept: text/plain\r\nCookie: id=1\r\n\r\n",
    "Host: a\r\nAccept: */*\r\nAccept: text/plain\r\nCookie: id=2\r\n\r\n",
    "Host: a\r\naccept: */*\r\n\r\n",
    "Host: a\r\nContent-Length: 0\r\n\r\n",
    "Host: a\r\nContent-Length: 4\r\n\r\n",
    "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Host: a\r\nConnection: close\r\n\r\n",
    "Host: a\r\nConnection: upgrade\r\nUpgrade: x/1\r\n\r\n",
    "Host: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nTE: trailers\r\n\r\n",
    "Host:\r\nX-Long: 0123456789012345678901234567890123456789\r\n\r\n",
    "Accept: */*\r\n\r\n",
];

const LINES: [&str; 8] = [
    "GET / HTTP/1.1\r\n",
    "GET /path?query HTTP/1.1\r\n",
    "POST /path HTTP/1.1\r\n",
    "HEAD / HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET http://other/ HTTP/1.1\r\n",
    "CONNECT other:443 HTTP/1.1\r\n",
    "GET nowhere HTTP/1.1\r\n",
];

/// What the reader understands, in words.
fn understood(head: Result<Option<Box<RequestHead>>, Refusal>) -> String {
    match head {
        Ok(Some(head)) => describe(&head),
        Ok(None) => "nothing yet".to_owned(),
        Err(refusal) => format!("refused: {refusal:?}"),
    }
}

#[test]
fn a_repeated_section_means_what_it_meant_on_its_own() {
    let mut random = Random::new(1);
    let mut spare = Spare::default();
    for _ in 0..3_000 {
        // A connection that mostly repeats itself, and sometimes does not.
        let mut peer = Peer::new();
        let mut section = SECTIONS[random.below(SECTIONS.len())];
        for _ in 0..6 {
            if random.below(4) == 0 {
                section = SECTIONS[random.below(SECTIONS.len())];
            }
            let mut head = format!("{}{section}", LINES[random.below(LINES.len())]);
            if random.below(16) == 0 {
                head.truncate(random.below(head.len()));
            }
            peer.input = Bytes::from(head.clone());
            let heard = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now);
            let is_request = matches!(heard, Ok(Some(_)));
            assert_eq!(understood(heard), understood(Peer::new().try_receive(&head)), "{head:?}");
            if !is_request {
                break;
            }
            assert!(peer.input.is_empty(), "the head was consumed to its end");
            // The body does not matter here.
            peer.input = Bytes::from_static(b"0\r\n\r\n");
            peer.body().ok();
            peer.input = Bytes::new();
            // Also CONNECT can be answered so.
            peer.send_head(404, &[], BodyLength::Known(0), b"").expect("a response is awaited");
            peer.connection.send_end(None, &mut peer.out).expect("an empty response is whole");
            if peer.next_exchange() != After::KeepAlive {
                break;
            }
        }
    }
}

/// A longer line may be too much where the section, which is remembered, was not.
#[test]
fn a_repeated_section_is_held_to_the_limits_of_its_head() {
    const SECTION: &str = "Host: a\r\nA: b\r\n\r\n";
    let receive = |peer: &mut Peer, spare: &mut Spare, line: &str| {
        peer.push(format!("{line}{SECTION}").as_bytes());
        let received = peer.connection.receive_head(&mut peer.input, spare, peer.now);
        received.map(|head| {
            peer.respond();
            peer.next_exchange();
            head.is_some()
        })
    };
    let (fits, longer) = ("GET / HTTP/1.1\r\n", "GET /x HTTP/1.1\r\n");
    let head_bytes_max = (fits.len() + SECTION.len()) as u32;
    let request_line_bytes_max = fits.trim_end().len() as u32;
    for (limits, refusal) in [
        (Limits { head_bytes_max, ..Limits::default() }, Refusal::HeadTooLarge),
        (Limits { request_line_bytes_max, ..Limits::default() }, Refusal::RequestLineTooLong),
    ] {
        let mut spare = Spare::default();
        let mut peer = Peer::with(Config { limits, ..Config::default() });
        for _ in 0..3 {
            assert_eq!(receive(&mut peer, &mut spare, fits), Ok(true));
        }
        assert_eq!(receive(&mut peer, &mut spare, longer), Err(refusal));
    }
}

/// The map of one request is not that of the next, whatever its application does to it.
#[test]
fn what_becomes_of_one_request_does_not_show_in_the_next() {
    let mut spare = Spare::default();
    let mut peer = Peer::new();
    for _ in 0..4 {
        peer.push(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n");
        let head = peer.connection.receive_head(&mut peer.input, &mut spare, peer.now).unwrap().unwrap();
        let mut fields = head.request.into_parts().0.headers;
        assert_eq!(fields.get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.len(), 3);
        fields.insert("x", "changed".parse().unwrap());
        fields.insert("authorization", "added".parse().unwrap());
        spare.headers = fields;
        peer.respond();
        peer.next_exchange();
    }
}

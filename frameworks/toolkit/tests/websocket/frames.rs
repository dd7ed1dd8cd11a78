//! Frames, fragments, control frames and Closes: bytes in, bytes out, and then the end of the connection.

use std::io::{ErrorKind, Write};

use varvel_test::Tunnel;

use crate::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, everywhere, frame, masked, open, status};

/// What a client sends, and all that it gets until the server ends the connection.
struct Case {
    name: String,
    sent: Vec<u8>,
    expected: Vec<u8>,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// It goes on after this: a message behind it is still echoed.
    fn goes_on(&mut self, name: impl Into<String>, sent: &[Vec<u8>], expected: &[Vec<u8>]) {
        let goodbye = status(1000, "bye");
        self.0.push(Case {
            name: name.into(),
            sent: [&sent.concat()[..], &masked(FIN | TEXT, "on"), &masked(FIN | CLOSE, &goodbye)].concat(),
            expected: [&expected.concat()[..], &frame(FIN | TEXT, "on"), &frame(FIN | CLOSE, &goodbye)]
                .concat(),
        });
    }

    fn ends(&mut self, name: impl Into<String>, sent: &[Vec<u8>], expected: &[Vec<u8>]) {
        self.0.push(Case { name: name.into(), sent: sent.concat(), expected: expected.concat() });
    }

    /// It ends with a Close of this code, whatever follows.
    fn fails(&mut self, name: impl Into<String>, sent: &[Vec<u8>], code: u16) {
        self.fails_after(name, sent, &[], code);
    }

    fn fails_after(&mut self, name: impl Into<String>, sent: &[Vec<u8>], expected: &[Vec<u8>], code: u16) {
        let reason = match code {
            1002 => "protocol error",
            1007 => "not UTF-8",
            1009 => "message too big",
            _ => unreachable!("no failure has this code"),
        };
        self.ends(name, sent, &[expected.concat(), frame(FIN | CLOSE, status(code, reason))]);
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    lengths(&mut cases);
    heads(&mut cases);
    fragments(&mut cases);
    controls(&mut cases);
    closes(&mut cases);
    texts(&mut cases);
    limits(&mut cases);
    cases.0
}

/// RFC 6455 section 5.2: the three forms of the length.
fn lengths(cases: &mut Cases) {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
            let name = format!("a {kind} of {length} bytes");
            cases.goes_on(name, &[masked(FIN | opcode, &payload)], &[frame(FIN | opcode, &payload)]);
        }
    }
    // Who sends must use the fewest bytes; who receives need not check, and tungstenite does not.
    let sixteen = [&[FIN | TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0][..], b"hi"].concat();
    cases.goes_on("two bytes of length for a small one", &[sixteen], &[frame(FIN | TEXT, "hi")]);
    let long = [&[FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0][..], b"hi"].concat();
    cases.goes_on("eight bytes of length for a small one", &[long], &[frame(FIN | TEXT, "hi")]);
    let negative = vec![FIN | BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    cases.fails("a length with the highest bit", &[negative], 1009);
    let many: Vec<_> = (0..100).map(|n| format!("message {n}")).collect();
    let sent: Vec<_> = many.iter().map(|text| masked(FIN | TEXT, text)).collect();
    let expected: Vec<_> = many.iter().map(|text| frame(FIN | TEXT, text)).collect();
    cases.goes_on("a hundred messages at once", &sent, &expected);
}

/// RFC 6455 section 5.2: reserved bits and opcodes; section 5.1: masks.
fn heads(cases: &mut Cases) {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        let name = format!("reserved bits {bit:#x}");
        cases.fails(format!("{name} in a text"), &[masked(FIN | bit | TEXT, "hi")], 1002);
        cases.fails(format!("{name} in a ping"), &[masked(FIN | bit | PING, "hi")], 1002);
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let sent = [masked(FIN | TEXT, "first"), masked(FIN | opcode, "")];
        cases.fails_after(format!("opcode {opcode:#x}"), &sent, &[frame(FIN | TEXT, "first")], 1002);
    }
    cases.fails("a text without a mask", &[frame(FIN | TEXT, "hi")], 1002);
    cases.fails("a ping without a mask", &[frame(FIN | PING, "")], 1002);
    cases.fails("a Close without a mask", &[frame(FIN | CLOSE, status(1000, ""))], 1002);
    let zeros = [&[FIN | TEXT, 0x82, 0, 0, 0, 0][..], b"hi"].concat();
    cases.goes_on("a mask of zeros", &[zeros], &[frame(FIN | TEXT, "hi")]);
}

/// RFC 6455 section 5.4.
fn fragments(cases: &mut Cases) {
    let hello = [masked(TEXT, "hel"), masked(CONTINUATION, ""), masked(FIN | CONTINUATION, "lo")];
    cases.goes_on("three fragments, one of them empty", &hello, &[frame(FIN | TEXT, "hello")]);
    let single = "a text of many".bytes().map(|byte| masked(CONTINUATION, [byte]));
    let single: Vec<_> = [masked(BINARY, "")].into_iter().chain(single).chain([masked(FIN, "")]).collect();
    cases.goes_on("a fragment for each byte", &single, &[frame(FIN | BINARY, "a text of many")]);
    cases.goes_on(
        "a message of empty fragments",
        &[masked(TEXT, ""), masked(FIN, "")],
        &[frame(FIN | TEXT, "")],
    );
    let interleaved = [
        masked(TEXT, "hel"),
        masked(FIN | PING, "one"),
        masked(CONTINUATION, "l"),
        masked(FIN | PONG, "unasked"),
        masked(FIN | PING, "two"),
        masked(FIN | CONTINUATION, "o"),
    ];
    let expected = [frame(FIN | PONG, "one"), frame(FIN | PONG, "two"), frame(FIN | TEXT, "hello")];
    cases.goes_on("control frames between fragments", &interleaved, &expected);
    cases.fails("a continuation of nothing", &[masked(FIN | CONTINUATION, "hi")], 1002);
    cases.fails("an unfinished continuation of nothing", &[masked(CONTINUATION, "hi")], 1002);
    let done = [masked(FIN | TEXT, "all"), masked(FIN | CONTINUATION, "more")];
    cases.fails_after("a continuation of what is finished", &done, &[frame(FIN | TEXT, "all")], 1002);
    cases.fails("a text inside of a text", &[masked(TEXT, "hel"), masked(FIN | TEXT, "lo")], 1002);
    cases.fails("a binary inside of a text", &[masked(TEXT, "hel"), masked(BINARY, "lo")], 1002);
    let closed_inside = [masked(TEXT, "hel"), masked(FIN | CLOSE, status(1000, ""))];
    cases.ends("a Close inside of a message", &closed_inside, &[frame(FIN | CLOSE, status(1000, ""))]);
}

/// RFC 6455 section 5.5.
fn controls(cases: &mut Cases) {
    for payload in [vec![], b"hello".to_vec(), vec![0xff; 125]] {
        let name = format!("a ping of {} bytes", payload.len());
        cases.goes_on(name, &[masked(FIN | PING, &payload)], &[frame(FIN | PONG, &payload)]);
    }
    cases.goes_on("pongs that nobody asked for", &[masked(FIN | PONG, ""), masked(FIN | PONG, "hello")], &[]);
    let ten: Vec<_> = (0..10_u8).map(|n| masked(FIN | PING, [n])).collect();
    let answers: Vec<_> = (0..10_u8).map(|n| frame(FIN | PONG, [n])).collect();
    cases.goes_on("ten pings at once", &ten, &answers);
    for (name, opcode) in [("ping", PING), ("pong", PONG), ("Close", CLOSE)] {
        let long = [&status(1000, "")[..], &[b'x'; 124]].concat();
        cases.fails(format!("a {name} of 126 bytes"), &[masked(FIN | opcode, long)], 1002);
        let parts = [masked(opcode, status(1000, "")), masked(FIN | CONTINUATION, "")];
        cases.fails(format!("a {name} in fragments"), &parts, 1002);
    }
}

/// RFC 6455 sections 5.5.1 and 7.4.
fn closes(cases: &mut Cases) {
    let closed = |said: &[u8]| [frame(FIN | CLOSE, said)];
    cases.ends("a Close that says nothing", &[masked(FIN | CLOSE, "")], &closed(b""));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let said = status(code, "because");
        cases.ends(format!("a Close with {code}"), &[masked(FIN | CLOSE, &said)], &closed(&said));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let answer = closed(&status(1002, "Protocol violation"));
        let sent = [masked(FIN | CLOSE, status(code, ""))];
        cases.ends(format!("a Close with {code}, which nobody may send"), &sent, &answer);
    }
    cases.fails("a Close with half a code", &[masked(FIN | CLOSE, [3])], 1002);
    let longest = status(1000, &"x".repeat(123));
    cases.ends("the longest reason", &[masked(FIN | CLOSE, &longest)], &closed(&longest));
    let not_utf8 = [&status(1000, "")[..], &[0xce, 0xba, 0xe1, 0xbd]].concat();
    cases.fails("a reason that is not UTF-8", &[masked(FIN | CLOSE, not_utf8)], 1007);
    let said = status(1000, "");
    for (name, after) in [("a text", masked(FIN | TEXT, "hi")), ("a ping", masked(FIN | PING, "hi"))] {
        let sent = [masked(FIN | CLOSE, &said), after];
        cases.ends(format!("{name} after a Close"), &sent, &closed(&said));
    }
}

/// RFC 6455 section 8.1.
fn texts(cases: &mut Cases) {
    let kosme = "\u{1F984}κόσμε\u{FFFF}\u{10FFFF}";
    cases.goes_on(
        "a text of all lengths of UTF-8",
        &[masked(FIN | TEXT, kosme)],
        &[frame(FIN | TEXT, kosme)],
    );
    for at in 0..=kosme.len() {
        let (first, second) = kosme.as_bytes().split_at(at);
        let sent = [masked(TEXT, first), masked(FIN, second)];
        cases.goes_on(format!("a text cut at byte {at}"), &sent, &[frame(FIN | TEXT, kosme)]);
    }
    let bytewise: Vec<_> = kosme.bytes().map(|byte| masked(CONTINUATION, [byte])).collect();
    let bytewise = [&[masked(TEXT, "")][..], &bytewise, &[masked(FIN, "")]].concat();
    cases.goes_on("a text cut at every byte", &bytewise, &[frame(FIN | TEXT, kosme)]);
    for (name, bytes) in [
        ("a surrogate", &b"\xed\xa0\x80"[..]),
        ("an overlong form", b"\xc0\xaf"),
        ("a lone continuation", b"\x80"),
        ("beyond the last code point", b"\xf4\x90\x80\x80"),
        ("a byte that never occurs", b"ok\xff"),
        ("half a character", b"\xce"),
    ] {
        cases.fails(format!("{name} in a text"), &[masked(FIN | TEXT, bytes)], 1007);
        let sent = [masked(TEXT, "ok"), masked(FIN, bytes)];
        cases.fails(format!("{name} in a fragment"), &sent, 1007);
        cases.goes_on(
            format!("{name} in a binary"),
            &[masked(FIN | BINARY, bytes)],
            &[frame(FIN | BINARY, bytes)],
        );
    }
    // The message goes on, and it is over with it all the same.
    let early = [masked(TEXT, b"\xce\xba\xed\xa0\x80"), masked(CONTINUATION, "edited")];
    cases.fails("an unfinished text that cannot become valid", &early, 1007);
}

/// The limits of the echo: 70 000 bytes in a frame, 100 000 in a message.
fn limits(cases: &mut Cases) {
    let most = vec![b'*'; 70_000];
    cases.goes_on("the longest frame", &[masked(FIN | BINARY, &most)], &[frame(FIN | BINARY, &most)]);
    // Known from the head alone, so nothing of the payload is waited for.
    let head = vec![FIN | BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0x11, 0x71, 0, 0, 0, 0];
    cases.fails("a frame of a byte too much", &[head], 1009);
    let half = vec![b'*'; 50_000];
    let whole = [masked(BINARY, &half), masked(FIN, &half)];
    cases.goes_on("the longest message", &whole, &[frame(FIN | BINARY, [&half[..], &half].concat())]);
    let beyond = [masked(TEXT, &half), masked(CONTINUATION, &half), masked(CONTINUATION, "!")];
    cases.fails("a message of a byte too much", &beyond, 1009);
}

#[test]
fn every_case_in_every_delivery_everywhere() {
    let cases = cases();
    everywhere(|client| {
        for Case { name, sent, expected } in &cases {
            for piece in [sent.len(), 1, 3] {
                if sent.len() / piece > 2000 {
                    continue;
                }
                let mut tunnel = open(client);
                deliver(&mut tunnel, sent, piece);
                let got = tunnel.receive_to_end();
                let place = if client.is_live() { "live" } else { "in process" };
                assert!(
                    got == *expected,
                    "{name}, {piece} bytes at a time, {place}: {} bytes {:?}, not {} bytes {:?}",
                    got.len(),
                    got[..got.len().min(200)].escape_ascii().to_string(),
                    expected.len(),
                    expected[..expected.len().min(200)].escape_ascii().to_string(),
                );
            }
        }
    });
}

/// Sends it, as far as the server wants it.
fn deliver(tunnel: &mut Tunnel, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        match tunnel.write_all(piece) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return;
            }
            Err(error) => panic!("the tunnel takes no more: {error}"),
        }
    }
}

//! The verdict never depends on how the bytes were cut, also for bytes that nobody thought of.
//!
//! The vectors are damaged at random, a little each, and served whole, byte by byte and in random pieces. A
//! whole head takes another way through the code (one pass of the parser) than one in pieces (a scan that
//! goes on), so this compares two implementations of the same grammar.

use crate::random::Random;
use crate::server::serve;
use crate::vector::Vector;

#[test]
fn damaged_requests_are_judged_alike_in_all_pieces() {
    let mut random = Random::new(9112);
    let mut served = 0;
    let mut refused = 0;
    for vector in Vector::all("valid").into_iter().chain(Vector::all("invalid")) {
        if vector.bytes.len() > 600 {
            continue;
        }
        for _ in 0..200 {
            let bytes = damage(&vector.bytes, &mut random);
            let whole = serve(vector.config.clone(), [&bytes[..]]);
            served += whole.requests.len();
            refused += usize::from(whole.end.starts_with("refused"));

            let byte_by_byte = serve(vector.config.clone(), bytes.chunks(1));
            assert_eq!(byte_by_byte, whole, "{}", bytes.escape_ascii());
            let cut = serve(vector.config.clone(), pieces(&bytes, &mut random));
            assert_eq!(cut, whole, "{}", bytes.escape_ascii());
        }
    }
    // Neither all broken nor all unharmed, or the comparison would say little.
    assert!(served > 3000 && refused > 20_000, "{served} served, {refused} refused");
}

/// One to three small changes, with a liking for the bytes that matter.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const MATTER: &[u8] = b"\r\n\0 \t:;,=\"\\/?#*0159aAxGH\x0b\x80\xff\x16";
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = *random.pick(MATTER),
            1 => bytes.insert(at, *random.pick(MATTER)),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => {
                let end = (at + 1 + random.below(12)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

fn pieces<'a>(mut bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(1 + random.below(bytes.len().min(24)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

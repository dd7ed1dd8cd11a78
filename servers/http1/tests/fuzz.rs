//! The fuzz targets of `fuzz/`, for everybody and in seconds: over all seeds, and over a fixed number of small
//! changes to them.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "it is a crate of its own as well")]
mod fuzz;

use fuzz::{Random, Seed};

/// A head that comes whole takes another way through the code (one pass of the parser) than one in pieces (a
/// scan that goes on), so this compares two implementations of the same grammar.
#[test]
fn damaged_requests_are_judged_alike_in_all_pieces() {
    let mut random = Random::new(9112);
    for seed in seeds() {
        fuzz::differential(&seed.for_differential(0));
        for _ in 0..12 {
            let damaged = Seed { bytes: damage(&seed.bytes, &mut random), name: String::new() };
            fuzz::differential(&damaged.for_differential(random.below(256) as u8));
        }
    }
}

#[test]
fn servers_that_do_anything_with_any_bytes_stay_sound() {
    let mut random = Random::new(9110);
    for seed in seeds() {
        fuzz::cuts(&seed.for_cuts(&[]));
        for _ in 0..100 {
            let damaged = Seed { bytes: damage(&seed.bytes, &mut random), name: String::new() };
            let script: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            fuzz::cuts(&damaged.for_cuts(&script));
        }
    }
}

#[test]
fn valid_conversations_are_understood_on_both_sides() {
    for number in 1..=20_000 {
        fuzz::round_trip(&Seed::for_round_trip(number, 300));
    }
}

/// Long ones show little: what makes them long is repetition.
fn seeds() -> impl Iterator<Item = Seed> {
    fuzz::vectors().into_iter().filter(|seed| seed.bytes.len() <= 600)
}

/// One to three small changes, with a liking for the bytes that matter.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const MATTER: &[u8] = b"\r\n\0 \t:;,=\"\\/?#*0159aAxGH\x0b\x7f\x80\xff\x16";
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let byte = MATTER[random.below(MATTER.len())];
        match random.below(5) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
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

//! Whole, byte by byte, line by line, in two and in pieces: the same verdict and the same parse.

use super::Random;
use super::config::config;
use super::server::serve;

/// The first byte tightens limits, the others are sent.
pub fn differential(data: &[u8]) {
    let Some((&tightened, bytes)) = data.split_first() else { return };
    let config = config(tightened);
    let whole = serve(config.clone(), [bytes]);
    let check = |pieces: &mut dyn Iterator<Item = &[u8]>, how: &str| {
        assert_eq!(serve(config.clone(), pieces), whole, "{how}: {}", bytes.escape_ascii());
    };

    check(&mut bytes.chunks(1), "byte by byte");
    check(&mut bytes.split_inclusive(|&byte| byte == b'\n'), "line by line");
    check(&mut bytes.split_inclusive(|&byte| byte == b'\r'), "cut inside line ends");

    // The chance is that of the bytes, so that a finding can be repeated.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = Random::new(hash);
    // In two: everywhere if that is cheap, at some places otherwise.
    let step = 1 + bytes.len() / 48;
    for at in (random.below(step)..bytes.len()).step_by(step) {
        let (first, second) = bytes.split_at(at);
        check(&mut [first, second].into_iter(), &format!("cut at {at}"));
    }
    for longest in [3, 24, 200] {
        let mut rest = bytes;
        let mut pieces = std::iter::from_fn(|| {
            let length = rest.len().min(1 + random.below(longest));
            let (piece, behind) = rest.split_at(length);
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        check(&mut pieces, "in pieces");
    }
}

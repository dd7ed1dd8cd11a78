//! Every file in `testdata`, in every way its bytes can arrive.
//!
//! - whole,
//! - cut in two at every place,
//! - byte by byte,
//! - with a further request behind it, which is served behind a valid one and never looked at behind an
//!   invalid one.
//!
//! The outcome must be the same each time.

use crate::server::{Transcript, serve};
use crate::vector::Vector;

#[test]
fn valid_requests_are_understood() {
    check("valid", |transcript| {
        let mut text = transcript.requests.join("\n");
        text.push_str(&format!("\n{}\n", transcript.end));
        text
    });
}

#[test]
fn invalid_requests_are_refused() {
    check("invalid", |transcript| match transcript.requests.len() {
        0 => format!("{}\n", transcript.end),
        served => format!("after {served}\n{}\n", transcript.end),
    });
}

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";

fn check(folder: &str, render: impl Fn(&Transcript) -> String) {
    let vectors = Vector::all(folder);
    assert!(!vectors.is_empty());
    let mut faults = Vec::new();
    for vector in vectors {
        let bytes = &vector.bytes[..];
        let whole = serve(vector.config.clone(), [bytes]);
        faults.extend(vector.compare(&render(&whole)));

        let byte_by_byte = serve(vector.config.clone(), bytes.chunks(1));
        assert_eq!(byte_by_byte, whole, "{} byte by byte", vector.name());
        // Cutting a long one everywhere takes long and shows little: what makes it long is repetition.
        let step = 1 + bytes.len() / 2000;
        for at in (0..bytes.len()).step_by(step) {
            let (first, second) = bytes.split_at(at);
            let cut = serve(vector.config.clone(), [first, second]);
            assert_eq!(cut, whole, "{} cut at byte {at}", vector.name());
        }
        check_with_next(&vector, &whole);
    }
    assert!(faults.is_empty(), "{} differ:\n\n{}", faults.len(), faults.join("\n\n"));
}

fn check_with_next(vector: &Vector, whole: &Transcript) {
    let with_next = [&vector.bytes, NEXT].concat();
    let mut seen = serve(vector.config.clone(), [&with_next[..]]);
    match &whole.end[..] {
        "idle" => {
            let next = seen.requests.pop();
            assert!(next.is_some_and(|next| next.starts_with("GET /next HTTP/1.1")), "{}", vector.name());
            assert_eq!(&seen, whole, "{} with a further request", vector.name());
        }
        // Where bytes were missing, the further ones are taken for them.
        end if end.starts_with("eof:") || end.ends_with("Truncated") => {}
        _ => assert_eq!(&seen, whole, "{} with a further request", vector.name()),
    }
}

//! What the corpus covers, as data: the groups and their sizes, the grammar of RFC 9112, the faults of the past.

use std::collections::BTreeSet;

use varvel_conformance::corpus::{self, groups, vectors};

#[test]
fn the_files_keep_to_the_format() {
    assert!(corpus::mistakes().is_empty(), "{}", corpus::mistakes().join("\n"));
}

#[test]
fn names_are_unique() {
    let mut names = BTreeSet::new();
    for vector in vectors() {
        assert!(names.insert(vector.id()), "two vectors are called {}", vector.id());
    }
}

/// The groups, and how many vectors each has at least.
const GROUPS: [(&str, usize); 16] = [
    ("chunked", 70),
    ("connection", 40),
    ("content_length", 50),
    ("expect", 20),
    ("faults", 25),
    ("header_syntax", 60),
    ("host", 35),
    ("limits", 30),
    ("methods", 15),
    ("other_protocols", 25),
    ("request_line", 60),
    ("responses", 50),
    ("smuggling", 60),
    ("target", 30),
    ("timeouts", 20),
    ("transfer_encoding", 50),
];

#[test]
fn every_group_is_there_and_as_large_as_it_should_be() {
    let names: Vec<_> = groups().map(|group| group.name).collect();
    assert_eq!(names, GROUPS.map(|(name, _)| name));
    for (name, size) in GROUPS {
        let count = vectors().iter().filter(|vector| vector.group == name).count();
        assert!(count >= size, "{name} has {count} vectors of {size}");
    }
}

#[test]
fn every_group_says_what_it_is_about() {
    for group in groups() {
        assert!(group.about().len() > 80, "{}: {:?}", group.name, group.about());
    }
}

/// The rules of RFC 9112, appendix A.
const RULES: [&str; 44] = [
    "BWS",
    "HTTP-message",
    "HTTP-name",
    "HTTP-version",
    "OWS",
    "RWS",
    "Transfer-Encoding",
    "absolute-URI",
    "absolute-form",
    "absolute-path",
    "asterisk-form",
    "authority",
    "authority-form",
    "chunk",
    "chunk-data",
    "chunk-ext",
    "chunk-ext-name",
    "chunk-ext-val",
    "chunk-size",
    "chunked-body",
    "field-line",
    "field-name",
    "field-value",
    "last-chunk",
    "message-body",
    "method",
    "obs-fold",
    "obs-text",
    "origin-form",
    "port",
    "query",
    "quoted-string",
    "reason-phrase",
    "request-line",
    "request-target",
    "segment",
    "start-line",
    "status-code",
    "status-line",
    "token",
    "trailer-section",
    "transfer-coding",
    "uri-host",
    // Of RFC 9110, of which transfer-coding is made.
    "transfer-parameter",
];

#[test]
fn every_rule_of_the_grammar_is_exercised_and_none_is_made_up() {
    let named: BTreeSet<_> = vectors().iter().flat_map(|vector| &vector.rules).copied().collect();
    let known: BTreeSet<_> = RULES.into_iter().collect();
    assert_eq!(named.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "no such rules");
    assert_eq!(known.difference(&named).collect::<Vec<_>>(), Vec::<&&str>::new(), "exercised by no vector");
}

/// Faults that servers have had and that came in over the wire, as vectors name them.
const FAULTS: &[&str] = &[
    // gunicorn: lines in fields of answers; the key of an old WebSocket draft; numbers with signs, underscores and
    // prefixes; several codings; unknown ones; empty names, chunks in 1.0; NUL, CR and LF in values; white space that is
    // none of HTTP's.
    "CVE-2018-1000164",
    "gunicorn 2021",
    "gunicorn 20.1",
    "CVE-2024-1135",
    "CVE-2024-6827",
    "gunicorn 22.0",
    "gunicorn 23.0",
    "gunicorn 24",
    // waitress: LF alone; codings in lists; white space around them; Content-Length twice; a slow expression; signs and
    // prefixes; requests behind the end; chunked twice.
    "CVE-2019-16785",
    "CVE-2019-16786",
    "CVE-2019-16789",
    "CVE-2019-16792",
    "CVE-2020-5236",
    "CVE-2022-24761",
    "CVE-2024-49768",
    "waitress 2026",
    // hyper: line ends in values; bodies without framing; several codings; an overflow of sizes; a plus sign; more fields
    // than the parser had room for.
    "CVE-2017-18587",
    "CVE-2020-35863",
    "CVE-2021-21299",
    "CVE-2021-32714",
    "CVE-2021-32715",
    "RUSTSEC-2022-0022",
    // actix.
    "CVE-2021-38512",
    "actix 3",
    "actix-http 3.12",
    "actix-web 4.18",
    // tiny_http: malformed codings; a length that is allocated.
    "CVE-2020-35884",
    "tiny_http 0.12",
    // puma: lines in fields of answers and of early hints; a coding that hid a request, and what was left of it; LF alone;
    // bodies that were not closed; lenient numbers; an empty length; extensions without bound; underscores in names.
    "CVE-2020-5247",
    "CVE-2020-5249",
    "CVE-2020-11076",
    "CVE-2020-11077",
    "CVE-2021-41136",
    "CVE-2022-23634",
    "CVE-2022-24790",
    "CVE-2023-40175",
    "CVE-2024-21647",
    "CVE-2024-45614",
    // async-h1, pingora, trillium, axum, h11, Go, Kestrel, node, the crate http.
    "CVE-2020-26281",
    "CVE-2025-4366",
    "CVE-2026-2833",
    "CVE-2026-2835",
    "CVE-2024-23644",
    "CVE-2022-3212",
    "CVE-2025-43859",
    "CVE-2025-22871",
    "CVE-2022-1705",
    "CVE-2025-55315",
    "CVE-2022-32213",
    "CVE-2022-32214",
    "CVE-2022-32215",
    "CVE-2022-35256",
    "CVE-2023-30589",
    "CVE-2024-27982",
    "CVE-2025-23167",
    "CVE-2024-22019",
    "RUSTSEC-2019-0033",
];

/// Faults that no vector can show, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("CVE-2022-31015", "threads that race for a socket: no order of bytes brings it about"),
    ("CVE-2024-49769", "a loop that spins is seen in the time that it takes, not on the wire"),
    ("CVE-2019-16770", "takes many connections at once: the checks of S14 and S16"),
    ("CVE-2021-29509", "takes many connections at once: the checks of S14 and S16"),
    ("RUSTSEC-2018-0019", "unsound memory: seen by Miri and sanitizers"),
    ("RUSTSEC-2020-0046", "unsound memory: seen by Miri and sanitizers"),
    ("RUSTSEC-2020-0048", "unsound memory: seen by Miri and sanitizers"),
    ("RUSTSEC-2020-0049", "unsound memory: seen by Miri and sanitizers"),
];

#[test]
fn every_fault_of_the_past_has_a_vector_or_a_reason() {
    let named: BTreeSet<_> = vectors().iter().flat_map(|vector| &vector.history).copied().collect();
    for fault in FAULTS {
        assert!(named.contains(fault), "no vector stands for {fault}");
    }
    for (fault, reason) in NOT_SHOWN {
        assert!(!named.contains(fault), "{fault} has a vector, in spite of the reason: {reason}");
    }
}

//! The program as its users see it: arguments in, text and exit status out.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use varvel_conformance::{
    Plan, Running, Setup, Subject,
    broken::{Fault, Reference},
};

const USAGE: i32 = 2;

/// Runs the program: its exit status, standard output and standard error.
fn varvel_conformance(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_varvel-conformance")).args(arguments).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code().expect("it exits"), text(stdout), text(stderr))
}

/// A reference server with the routes, and its URL.
fn reference(reference: Reference) -> (Running, String) {
    let subject: Arc<dyn Subject> = Arc::new(reference);
    let plan = Plan { routes: true, ..Plan::default() };
    let running = Running::start(&subject, Setup::from(plan)).expect("it starts");
    let url = format!("http://{}", running.address());
    (running, url)
}

/// A port that refuses connections, for as long as the socket is kept: nobody else can be given it.
fn deaf_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a loopback port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    (socket, address)
}

/// A server that answers plain requests on so many connections, and then does this with each further one.
fn failing_server(good: usize, then: impl Fn(TcpListener) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().take(good) {
            thread::spawn(move || answer_all(stream));
        }
        then(listener);
    });
    address
}

fn answer_all(stream: std::io::Result<TcpStream>) {
    let Ok(mut stream) = stream else { return };
    while stream.read(&mut [0; 65_536]).is_ok_and(|count| count > 0) {
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

#[test]
fn a_server_that_does_as_it_must_passes_with_status_0() {
    let (_running, url) = reference(Reference::new());
    let (status, out, err) = varvel_conformance(&["run", "--url", &url, "--group", "chunked"]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains(" 0 failed"), "{out}");
    assert!(!out.contains("not answered with a description"), "the routes were not found: {out}");
}

#[test]
fn a_failure_tells_what_to_do_and_has_status_1() {
    let (_running, url) = reference(Reference::new().with_fault(Fault::IgnoresChunkEnd));
    let (status, out, _) =
        varvel_conformance(&["run", "--url", &url, "--group", "chunked", "--timeout", "4.5"]);
    assert_eq!(status, 1, "{out}");
    for told in ["FAILED chunked/", "expected: ", "seen: ", "> POST ", "corpus/chunked.txt"] {
        assert!(out.contains(told), "{told:?} is missing:\n{out}");
    }

    // The command that it gives runs this failure alone.
    let alone = out.lines().find_map(|line| line.trim().strip_prefix("alone:")).expect("a command");
    assert!(alone.contains(" --timeout 4.5 "), "as it was run: {alone}");
    let words: Vec<&str> = alone.split_whitespace().skip(1).collect();
    let (status, again, _) = varvel_conformance(&words);
    assert_eq!(status, 1, "{again}");
    assert!(again.contains(": 0 passed, 1 failed\n"), "{again}");
}

#[test]
fn json_tells_every_result_and_can_be_a_baseline() {
    let (_running, url) = reference(Reference::new().with_fault(Fault::IgnoresChunkEnd));
    let run = ["run", "--url", &url, "--group", "chunked"];
    let (status, out, _) = varvel_conformance(&[&run[..], &["--format", "json"]].concat());
    assert_eq!(status, 1, "{out}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["format"], 1);
    let run_of = &report["runs"][0];
    let results = run_of["results"].as_array().expect("results");
    let totals: u64 = run_of["totals"].as_object().expect("totals").values().filter_map(Value::as_u64).sum();
    assert_eq!(totals, results.len() as u64);
    let failed: Vec<&Value> = results.iter().filter(|result| result["verdict"] == "failed").collect();
    assert_eq!(run_of["totals"]["failed"], failed.len());
    assert!(failed.iter().all(|result| result["expected"].is_string() && result["transcript"].is_string()));

    let baseline =
        std::env::temp_dir().join(format!("varvel-conformance-baseline-{}.json", std::process::id()));
    fs::write(&baseline, &out).expect("a file");
    let path = baseline.to_str().expect("a path");
    let (status, out, _) = varvel_conformance(&[&run[..], &["--baseline", path]].concat());
    fs::remove_file(&baseline).expect("it is there");
    assert_eq!(status, 0, "what is known does not fail: {out}");
    assert!(out.contains(&format!(" {} skipped", failed.len())), "{out}");
    assert!(failed.iter().all(|result| result["known"] == false));
}

#[test]
fn junit_is_xml_and_counts_what_it_holds() {
    let (_running, url) = reference(Reference::new().with_fault(Fault::IgnoresChunkEnd));
    let (status, out, _) =
        varvel_conformance(&["run", "--url", &url, "--group", "chunked,host", "--format", "junit"]);
    assert_eq!(status, 1, "{out}");
    let document = roxmltree::Document::parse(&out).expect("XML");
    let suites: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testsuite")).collect();
    assert_eq!(suites.len(), 1 + 2, "a suite for the run and one for each group");
    for suite in suites {
        let cases = suite.children().filter(|node| node.has_tag_name("testcase"));
        let failed = cases.clone().filter(|case| case.children().any(|node| node.has_tag_name("failure")));
        assert_eq!(suite.attribute("tests"), Some(&*cases.count().to_string()));
        assert_eq!(suite.attribute("failures"), Some(&*failed.count().to_string()));
    }
    assert!(document.descendants().any(|node| node.has_tag_name("failure")), "{out}");
}

#[test]
fn a_server_that_dies_is_an_error_in_junit() {
    let address = failing_server(20, drop);
    let url = format!("http://{address}");
    let (status, out, _) = varvel_conformance(&["run", "--url", &url, "--no-app", "--format", "junit"]);
    assert_eq!(status, 1, "{out}");
    let document = roxmltree::Document::parse(&out).expect("XML");
    assert_eq!(document.root_element().attribute("errors"), Some("1"));
    let tests = document.descendants().filter(|node| node.has_tag_name("testcase")).count();
    assert_eq!(document.root_element().attribute("tests"), Some(&*tests.to_string()));
    let error = document.descendants().find(|node| node.has_tag_name("error")).expect("an error");
    let told = error.attribute("message").expect("a message");
    assert!(told.contains("answers no plain request any more"), "{told}");
    let properties: Vec<_> = document.descendants().filter(|node| node.has_tag_name("property")).collect();
    assert!(properties.iter().any(|property| property.attribute("value").is_some_and(|v| !v.is_empty())));
}

#[test]
fn markdown_has_a_row_for_each_group_and_one_for_all() {
    let (_running, url) = reference(Reference::new());
    let (status, out, _) =
        varvel_conformance(&["run", "--url", &url, "--group", "chunked,host", "--format", "markdown"]);
    assert_eq!(status, 0, "{out}");
    let rows: Vec<&str> = out.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 2 + 3, "{out}");
    let columns = rows[0].matches('|').count();
    assert!(rows.iter().all(|row| row.matches('|').count() == columns), "{out}");
}

#[test]
fn a_server_of_the_repository_is_checked_in_the_form_that_is_wanted() {
    let (status, out, err) =
        varvel_conformance(&["run", "--server", "evented", "--form", "async", "--clause", "H1"]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("evented, async") && !out.contains("offloaded"), "{out}");
    assert!(out.contains("\n  H1   HEAD ") && !out.contains("\n  H2 "), "only what was asked for: {out}");
}

#[test]
fn a_safe_run_sends_no_attacks_and_says_so() {
    let (_running, url) = reference(Reference::new());
    let (status, out, _) = varvel_conformance(&[
        "run",
        "--url",
        &url,
        "--safe",
        "--group",
        "smuggling,methods",
        "--format",
        "json",
    ]);
    assert_eq!(status, 0, "{out}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let results = report["runs"][0]["results"].as_array().expect("results");
    let (attacks, others): (Vec<&Value>, Vec<&Value>) =
        results.iter().partition(|result| result["group"] == "smuggling");
    assert!(attacks.iter().all(|result| result["verdict"] == "left_out"), "{out}");
    assert!(others.iter().any(|result| result["verdict"] == "passed"), "{out}");
    assert!(
        report["runs"][0]["remarks"][0].as_str().is_some_and(|remark| remark.contains("a safe run")),
        "{out}"
    );
}

#[test]
fn a_server_that_dies_is_told_of_with_what_was_run() {
    let address = failing_server(20, drop);
    let (status, out, _) = varvel_conformance(&["run", "--url", &format!("http://{address}"), "--no-app"]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("being run when it ceased: "), "{out}");
    assert!(out.contains(" not run"), "{out}");
}

#[test]
fn of_a_server_that_dies_nothing_is_held_against_those_that_ran_together() {
    let address = failing_server(20, drop);
    let url = format!("http://{address}");
    let (_, out, _) = varvel_conformance(&["run", "--url", &url, "--no-app", "--format", "json"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let run = &report["runs"][0];
    let suspects =
        run["cut_short"].as_str().and_then(|text| text.split_once("ceased: ")).expect("suspects").1;
    let suspects: Vec<&str> = suspects.split(", ").collect();
    let verdict = if suspects.len() > 1 { "not_run" } else { "failed" };
    for result in run["results"].as_array().expect("results") {
        if suspects.iter().any(|suspect| result["id"] == *suspect) {
            assert_eq!(result["verdict"], verdict, "{result}");
        }
    }
}

#[test]
fn what_a_companion_did_to_the_server_is_held_against_nobody_else() {
    // Whoever sends a chunked body ends the connections of all.
    let open = Mutex::new(Vec::<TcpStream>::new());
    let open: &Mutex<_> = Box::leak(Box::new(open));
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            open.lock().expect("no panic").extend(stream.try_clone());
            thread::spawn(move || {
                let mut received = [0; 65_536];
                while let Ok(count @ 1..) = stream.read(&mut received) {
                    if received[..count].windows(7).any(|bytes| bytes == b"chunked") {
                        for stream in open.lock().expect("no panic").drain(..) {
                            let _ = stream.shutdown(Shutdown::Both);
                        }
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            });
        }
    });
    let failures = |jobs: &str| {
        let url = format!("http://{address}");
        let (_, out, err) = varvel_conformance(&[
            "run",
            "--url",
            &url,
            "--no-app",
            "--group",
            "chunked,methods",
            "--jobs",
            jobs,
            "--timeout",
            "1",
            "--format",
            "json",
        ]);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        let results = report["runs"][0]["results"].as_array().expect("results").clone();
        let is_failure = |result: &Value| result["group"] == "methods" && result["expected"].is_string();
        let failures = results.into_iter().filter(is_failure);
        failures.map(|result| result["id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(failures("16"), failures("1"));
}

#[test]
fn a_server_that_hangs_fails_and_does_not_hang_the_run() {
    let address = failing_server(20, |listener| {
        // Accepted by the system, and never by anybody else.
        thread::park();
        drop(listener);
    });
    let url = format!("http://{address}");
    let (status, out, _) = varvel_conformance(&["run", "--url", &url, "--no-app", "--timeout", "0.2"]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("being run when it ceased: ") && out.contains(" not run"), "{out}");
}

#[test]
fn a_run_that_cannot_be_made_has_status_2_and_says_why() {
    let (_socket, address) = deaf_port();
    let (unused, refused) =
        (format!("http://{address}"), format!("no HTTP server answers at {address}: connection refused"));
    let cases: &[(&[&str], &str)] = &[
        (&["run", "--server", "nginx"], "there are threaded, evented, prefork"),
        (&["run", "--server", "evented", "--form", "sync"], "it has async, offloaded, inline"),
        (&["run"], "which server?"),
        (&["run", "--server", "evented", "--no-app"], "cannot be used with '--no-app'"),
        (&["run", "--server", "evented", "--full"], "cannot be used with '--full'"),
        (&["run", "--server", "evented", "--timeout", "1"], "cannot be used with '--timeout"),
        (&["run", "--url", &unused, "--form", "async"], "cannot be used with"),
        (&["run", "--url", &unused], &refused),
        (&["run", "--url", "https://127.0.0.1"], "TLS is not spoken"),
        (&["run", "--url", "127.0.0.1:80"], "no URL of the form http://HOST:PORT"),
        (&["run", "--url", "http://192.0.2.1"], "is not a loopback address"),
        (&["run", "--url", &unused, "--check", "H8/bad-chunks"], "only vectors"),
        (&["run", "--url", &unused, "--baseline", "/nowhere"], "/nowhere"),
        (&["--explain", "H99"], "nothing is called \"H99\""),
        (&["--explain", "H8/bad-chunk"], "did you mean H8/bad-chunks"),
        (&["--explain", "chunkd"], "did you mean chunked"),
        (&["--explain", "L4"], "L4 is retired"),
        (&["--list", "--check", "A5.short"], "a rule of the lint"),
        (&["--list", "--group", "H8"], "H8 is a clause; choose it by --clause"),
        (&["--list", "--group", "nix"], "chunked, "),
        (&["--list", "--clause", "H8", "--group", "L"], "nothing is all of that"),
        (&["--list", "--clause", "H1", "--check", "H8/bad-chunks"], "H8/bad-chunks is not for clause H1"),
        (&["--list", "--group", "host", "--check", "H8/bad-chunks"], "H8/bad-chunks is not for group host"),
        (&["--list", "--format", "junit"], "--format junit"),
    ];
    for (arguments, why) in cases {
        let (status, out, err) = varvel_conformance(arguments);
        assert_eq!(status, USAGE, "{arguments:?}: {out}{err}");
        assert!(err.contains(why), "{arguments:?} should say {why:?}: {err}");
        assert_eq!(out, "", "{arguments:?}");
    }
}

#[test]
fn a_clause_is_explained_with_its_text_reasons_and_checks() {
    let (status, out, _) = varvel_conformance(&["--explain", "h8"]);
    assert_eq!(status, 0);
    for told in [
        "H8 Ambiguous framing is refused",
        "A server MUST refuse",
        "https://www.rfc-editor.org/rfc/rfc9112#section-6.1",
        "Why is every ambiguity refused",
        "H8/bad-chunks",
        "conformance/suite/src/cases/h.rs",
        "content_length/",
    ] {
        assert!(out.contains(told), "{told:?} is missing:\n{out}");
    }
}

#[test]
fn a_vector_is_explained_with_its_bytes_and_what_must_come() {
    let (status, out, _) = varvel_conformance(&["--list", "--group", "chunked", "--format", "json"]);
    assert_eq!(status, 0);
    let list: Value = serde_json::from_str(&out).expect("JSON");
    let id = list["entries"][0]["id"].as_str().expect("a vector");
    let (status, out, _) = varvel_conformance(&["--explain", id]);
    assert_eq!(status, 0, "{out}");
    for told in [id, "\n> POST ", "\n< ", "corpus/chunked.txt, line ", "RFC 9112"] {
        assert!(out.contains(told), "{told:?} is missing:\n{out}");
    }
}

#[test]
fn a_rule_of_the_lint_is_explained_with_its_clause() {
    let (status, out, _) = varvel_conformance(&["--explain", "A5.short"]);
    assert_eq!(status, 0, "{out}");
    assert!(
        out.contains("Binds         the application") && out.contains("A5 A declared length is true"),
        "{out}"
    );
}

#[test]
fn the_list_can_be_narrowed() {
    let (status, all, _) = varvel_conformance(&["--list"]);
    assert_eq!(status, 0);
    assert!(all.contains("S. ") && all.contains("  H8/bad-chunks") && all.contains("\n  chunked "), "{all}");
    let (_, some, _) = varvel_conformance(&["run", "--list", "--clause", "H8", "--group", "chunked"]);
    assert!(some.contains(" chunked/") && !some.contains("S. ") && !some.contains("H8/bad-chunks"), "{some}");
}

#[test]
fn the_map_from_clauses_to_checks_is_up_to_date() {
    let (status, out, _) = varvel_conformance(&["--list", "--format", "markdown"]);
    assert_eq!(status, 0);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/checks.md");
    let written = fs::read_to_string(path).expect("spec/checks.md");
    let changed = out.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(
        out == written,
        "spec/checks.md is out of date (first change: {changed:?}); write it anew by\n    \
         cargo run -p varvel-conformance-cli -- --list --format markdown > spec/checks.md"
    );
}

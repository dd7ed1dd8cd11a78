//! The programs, on every server, over sockets.

use rustix::process::Signal;
use varvel_test::Client;

use crate::{api, directory::Directory, listener::Listener, running::Running};

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_notes-resource"), env!("CARGO_BIN_EXE_notes-micro")];

#[test]
fn on_threads() {
    check("threaded", &["--threads", "16"]);
}

#[test]
fn on_event_loops() {
    check("evented", &["--loops", "2"]);
}

#[test]
fn in_worker_processes() {
    for worker in ["evented", "threaded"] {
        check("prefork", &["--workers", "2", "--worker", worker]);
    }
}

fn check(server: &str, options: &[&str]) {
    for program in PROGRAMS {
        let directory = Directory::new();
        let options = [&["--drain-timeout", "1h"], options].concat();
        let program = Running::start_with(program, server, &options, &[("NOTES_DIR", directory.path())]);
        let client = Client::at(&format!("http://{}", program.address));
        for check in api::ALL {
            check(&client);
        }
        let listener = Listener::new(&client, None);
        program.signal(Signal::TERM);
        listener.end();
        let (status, rest) = program.end();
        assert_eq!(status.code(), Some(0), "{server}: {rest}");
        assert!(rest.contains("every exchange was finished"), "{server}: {rest}");
    }
}

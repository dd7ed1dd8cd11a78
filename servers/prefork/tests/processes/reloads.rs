//! Workers that are replaced while clients ask without pause.

use rustix::process::Signal;

use crate::{
    clients::{Clients, Connection},
    running::Running,
};

pub(crate) fn a_reload_loses_no_request(server: &str) {
    reload_under_load(server, &["workers=2"]);
}

pub(crate) fn a_reload_loses_no_request_where_each_worker_has_a_socket(server: &str) {
    reload_under_load(server, &["workers=2", "reuse-port=true"]);
}

fn reload_under_load(server: &str, settings: &[&str]) {
    let running = Running::start(server, settings);
    let clients = Clients::start(running.address);
    for _ in 0..4 {
        clients.go_on(100);
        let before = running.workers();
        running.after(|| running.signal(Signal::HUP), "reloaded: ");
        running.wait_until("the old workers gone", || running.workers().is_disjoint(&before));
    }
    clients.go_on(100);
    assert!(clients.processes() > 2);
    let ledger = clients.end_without_loss();
    let ended = running.stop();
    let [requests, lost, in_flight, processes] = ended.numbers("statistics ")[..] else { panic!() };
    assert_eq!((requests, lost, in_flight, processes), (ledger.asked() - ledger.repeats(), 0, 0, 0));
    assert_eq!(ended.numbers("cut "), [0]);
}

pub(crate) fn a_reload_whose_workers_fail_leaves_those_that_served(server: &str) {
    let failures = [
        ("refuses", "failed: the application could not be built: no such table"),
        ("hesitates", "failed: "),
        ("panics", "failed: "),
        ("exits", "exited with status 7"),
        ("refuses@1", "failed: the application could not be built: no such table"),
    ];
    failing_reloads(server, &["workers=2"], &failures);
}

pub(crate) fn a_reload_whose_workers_never_get_ready_leaves_those_that_served(server: &str) {
    // Long enough for those that shall start, on a machine that does other things as well.
    let settings = ["workers=2", "worker-start-timeout=8s"];
    let lines = failing_reloads(server, &settings, &[("dawdles", "was ended by SIGABRT")]);
    assert!(lines.iter().any(|line| line.contains(" is not ready after ")), "{lines:#?}");
}

/// Reloads that fail as their workers' mood lets them, and one that does not; what was logged.
fn failing_reloads(server: &str, settings: &[&str], failures: &[(&str, &str)]) -> Vec<String> {
    let running = Running::start(server, settings);
    let clients = Clients::start(running.address);
    let served = running.workers();
    for (mood, reason) in failures {
        running.set_mood(mood);
        let line = running.after(|| running.signal(Signal::HUP), "so the reload is given up");
        assert!(line.contains(reason), "{mood}: {line}");
        running.wait_until("those before the reload alone", || running.workers() == served);
        clients.go_on(100);
    }
    running.set_mood("");
    running.after(|| running.signal(Signal::HUP), "reloaded: ");
    running.wait_until("the old workers gone", || running.workers().is_disjoint(&served));
    clients.end_without_loss();
    let lines = running.lines();
    running.stop();
    lines
}

pub(crate) fn more_and_fewer_workers_lose_no_request(server: &str) {
    for reuse_port in ["reuse-port=false", "reuse-port=true"] {
        let running = Running::start(server, &["workers=1", reuse_port]);
        let clients = Clients::start(running.address);
        for (signal, count) in [(Signal::TTIN, 2), (Signal::TTIN, 3), (Signal::TTOU, 2), (Signal::TTOU, 1)] {
            clients.go_on(50);
            running.signal(signal);
            running.wait_whole(count);
        }
        // The last one stays.
        running.after(|| running.signal(Signal::TTOU), "SIGTTOU: 1 worker");
        clients.go_on(50);
        running.wait_whole(1);
        clients.end_without_loss();
        running.stop();
    }
}

pub(crate) fn a_worker_that_answered_enough_is_replaced_without_a_loss(server: &str) {
    let running = Running::start(server, &["workers=2", "max-requests=100", "max-requests-jitter=50"]);
    let clients = Clients::start(running.address);
    running.wait_for_more("leaves: it has answered ", 4);
    clients.end_without_loss();
    for line in running.lines().iter().filter(|line| line.contains("leaves: it has answered ")) {
        let count: u64 = line.split_ascii_whitespace().rev().nth(1).unwrap().parse().unwrap();
        assert!(count >= 100, "{line}");
    }
    running.wait_whole(2);
    running.stop();
}

pub(crate) fn a_worker_that_is_old_is_replaced_without_a_loss(server: &str) {
    let running = Running::start(server, &["workers=2", "max-lifetime=1s"]);
    let clients = Clients::start(running.address);
    running.wait_for_more(" leaves: it is ", 2);
    clients.end_without_loss();
    running.stop();
}

pub(crate) fn a_worker_that_grew_is_replaced_without_a_loss(server: &str) {
    let running = Running::start(server, &["workers=2", "max-memory=80MiB"]);
    let clients = Clients::start(running.address);
    let grown = Connection::to(running.address).unwrap().ask("/grow/1", false).unwrap().body;
    let pid = grown.trim_start_matches("1 ").to_owned();
    let line = running.wait_for(" leaves: it occupies ");
    assert!(line.contains(&format!("(pid {pid})")), "{line}");
    running.wait_until("it is gone", || !running.workers().contains(&pid.parse().unwrap()));
    running.wait_whole(2);
    clients.end_without_loss();
    running.stop();
}

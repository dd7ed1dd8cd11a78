//! Workers that die, or should.

use std::{collections::BTreeSet, fs};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    clients::{CLIENTS, Clients, Connection},
    running::{Running, until},
};

pub(crate) fn a_killed_worker_costs_what_it_was_at_and_nothing_else(server: &str) {
    let running = Running::start(server, &["workers=2"]);
    let clients = Clients::start(running.address);
    const KILLS: u64 = 4;
    for kill in 0..KILLS {
        clients.go_on(100);
        let workers = running.workers();
        let victim = *workers.iter().nth(kill as usize % 2).unwrap();
        kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
        running.wait_until("it was replaced", || !running.workers().contains(&victim));
        running.wait_whole(2);
    }
    let failed = clients.failures().len();
    clients.go_on(200);
    assert_eq!(
        clients.failures().len(),
        failed,
        "with a whole pool nothing is lost: {:#?}",
        clients.failures()
    );
    let ledger = clients.end();
    // A client has one request under way at a time.
    assert!(ledger.failed() <= KILLS * CLIENTS, "{} of {}", ledger.failed(), ledger.asked());
    let ended = running.stop();
    assert_eq!(ended.log.matches(" was ended by SIGKILL after ").count(), KILLS as usize);
    let [requests, lost, in_flight, processes] = ended.numbers("statistics ")[..] else { panic!() };
    assert_eq!((in_flight, processes), (0, 0));
    let answered = ledger.asked() - ledger.repeats() - ledger.failed();
    assert!(
        (answered..=ledger.asked()).contains(&(requests + lost)),
        "{requests} + {lost}, {answered} answered"
    );
}

pub(crate) fn a_worker_that_hangs_is_named_and_replaced(server: &str) {
    let running = Running::start(server, &["workers=2", "threads=2", "worker-timeout=2s"]);
    // The same worker's loop, or all of its threads. A loop is known for one by what goes on after a wait.
    let waited = running.file("waited");
    fs::write(&waited, "").unwrap();
    Connection::to(running.address).unwrap().ask(&until(&waited), true).unwrap();
    let mut stuck = Connection::to(running.address).unwrap();
    let pid = stuck.ask("/id/1", true).unwrap().body.trim_start_matches("1 ").to_owned();
    stuck.send("/hang/1?why", true).unwrap();
    let mut others = Vec::new();
    while server == "threaded" && others.is_empty() {
        let mut other = Connection::to(running.address).unwrap();
        if other.ask("/id/2", true).unwrap().body == format!("2 {pid}") {
            other.send("/hang/2", true).unwrap();
            others.push(other);
        }
    }
    let silent = running.wait_for("has shown no progress for ");
    assert!(silent.contains(&format!("(pid {pid})")), "{silent}");
    let told = running.wait_for("it was serving GET /hang/1?why for ");
    assert_eq!(told.contains("at which its event loop was"), server == "evented", "{told}");
    running.wait_for(&format!("(pid {pid}) was ended by SIGABRT"));
    running.wait_for(&format!("process {pid} aborts, as it was told to"));
    running.wait_for(&format!("hook worker_abort in {pid}"));
    running.wait_whole(2);
    assert!(stuck.answer().is_err());
    let clients = Clients::start(running.address);
    clients.go_on(100);
    clients.end_without_loss();
    assert_eq!(running.count("has shown no progress"), 1);
    let ended = running.stop();
    assert_eq!(ended.numbers("statistics ")[1..], [1 + others.len() as u64, 0, 0]);
}

pub(crate) fn a_worker_that_aborts_is_named_and_replaced(server: &str) {
    let running = Running::start(server, &["workers=2"]);
    assert!(Connection::to(running.address).unwrap().ask("/abort/1", true).is_err());
    running.wait_for(" was ended by SIGABRT after ");
    running.wait_for("it was serving GET /abort/1 for ");
    running.wait_whole(2);
    let clients = Clients::start(running.address);
    clients.go_on(100);
    clients.end_without_loss();
    let ended = running.stop();
    assert_eq!(ended.numbers("statistics ")[1..], [1, 0, 0]);
}

pub(crate) fn a_first_worker_that_cannot_be_built_is_the_end(server: &str) {
    for (mood, reason) in [
        ("refuses", "could not be built: no such table"),
        ("hesitates", "the database is away"),
        ("panics@1", "it panicked"),
        ("exits", "exited with status 7"),
        ("dawdles@0", "was ended by SIGABRT"),
    ] {
        let dawdles = mood.starts_with("dawdles");
        let timeout = if dawdles { "worker-start-timeout=1s" } else { "worker-start-timeout=1m" };
        let ended = Running::launch(server, &["workers=2", timeout], mood).end();
        assert_eq!(ended.status.code(), Some(1), "{mood}: {}", ended.log);
        let error = ended.log.lines().find(|line| line.starts_with("error ")).unwrap();
        assert!(error.contains(reason), "{mood}: {error}");
        assert!(!ended.log.contains("when_ready"));
    }
}

pub(crate) fn a_later_worker_that_cannot_be_built_leaves_its_place_empty(server: &str) {
    let running = Running::start(server, &["workers=2"]);
    let clients = Clients::start(running.address);
    running.set_mood("refuses");
    let kill_one = || {
        let victim = *running.workers().first().unwrap();
        kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    };
    running.after(kill_one, "its place stays empty until a reload");
    let failed = clients.failures().len();
    clients.go_on(100);
    assert_eq!((clients.failures().len(), running.workers().len()), (failed, 1));
    running.set_mood("");
    running.after(|| running.signal(Signal::HUP), "reloaded: ");
    running.wait_whole(2);
    clients.end();
    running.set_mood("refuses");
    for victim in running.workers() {
        kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    }
    let ended = running.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("; it was the last"), "{}", ended.log);
}

pub(crate) fn clients_are_not_dealt_to_a_place_that_stays_empty(server: &str) {
    let running = Running::start(server, &["workers=2", "reuse-port=true"]);
    let answering = || -> BTreeSet<String> {
        let ask = |_| Connection::to(running.address).unwrap().ask("/id/1", false).unwrap().body;
        (0..64).map(ask).collect()
    };
    assert_eq!(answering().len(), 2);
    running.set_mood("refuses");
    let kill_one = || {
        let victim = *running.workers().first().unwrap();
        kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
    };
    running.after(kill_one, "its place stays empty until a reload");
    assert_eq!(answering().len(), 1);
    running.set_mood("");
    running.after(|| running.signal(Signal::HUP), "reloaded: ");
    running.wait_whole(2);
    assert_eq!(answering().len(), 2);
    running.stop();
}

pub(crate) fn where_workers_die_young_the_pause_grows_and_the_rest_serves(server: &str) {
    let running = Running::start(server, &["workers=2"]);
    let clients = Clients::start(running.address);
    running.set_mood("dies@0");
    let first = running.wait_for("hook worker_ready");
    let first = running
        .lines()
        .into_iter()
        .find(|line| line.contains("worker_ready") && line.contains(" 0 "))
        .unwrap_or(first);
    let pid: i32 = first.rsplit_once(' ').unwrap().1.parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    for pause in ["0.1", "0.2", "0.4", "0.8", "1.6"] {
        running.wait_for(&format!("; another takes its place in {pause} s"));
        clients.go_on(20);
    }
    running.set_mood("");
    running.wait_whole(2);
    let failed = clients.failures().len();
    clients.go_on(100);
    assert_eq!(clients.failures().len(), failed);
    clients.end();
    running.stop();
}

pub(crate) fn a_process_that_a_worker_forked_confuses_nobody(server: &str) {
    let running = Running::start(server, &["workers=1"]);
    let child = Connection::to(running.address).unwrap().ask("/spawn/1", false).unwrap().body;
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    // It has the worker's end of everything.
    let worker = *running.workers().first().unwrap();
    kill_process(Pid::from_raw(worker as i32).unwrap(), Signal::KILL).unwrap();
    running.wait_for(" was ended by SIGKILL after ");
    running.wait_until("it was replaced", || !running.workers().contains(&worker));
    running.wait_whole(1);
    let clients = Clients::start(running.address);
    clients.go_on(100);
    clients.end_without_loss();
    running.stop();
    kill_process(child, Signal::KILL).expect("the worker's processes are its own");
}

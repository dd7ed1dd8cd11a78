//! What a program hangs into its processes, and services that are no HTTP servers.

use rustix::process::Signal;

use crate::{program::BALLAST, running::Running};

pub(crate) fn hooks_are_called_in_order_each_in_its_process(server: &str) {
    let running = Running::start(server, &["workers=1"]);
    let supervisor = running.id();
    let first = *running.workers().first().unwrap();
    running.after(|| running.signal(Signal::HUP), "reloaded: ");
    running.wait_until("the old worker gone", || running.workers().len() == 1);
    let second = *running.workers().first().unwrap();
    let ended = running.stop();
    let said = ended.log.lines().filter_map(|line| line.strip_prefix("hook "));
    // What different processes say in the same moment has no order.
    let (mut of_workers, mut of_supervisor) = (Vec::new(), Vec::new());
    for line in said {
        let of_supervisor_too = line.contains(&format!(" in {supervisor}"));
        if of_supervisor_too { of_supervisor.push(line) } else { of_workers.push(line) }
    }
    let of_workers_too = [first, second].map(|pid| format!("after_fork in {pid} 0 {pid}"));
    assert_eq!(of_workers, of_workers_too);
    let of_supervisor_too = [
        format!("on_starting in {supervisor}"),
        format!("before_fork in {supervisor} 0 0"),
        format!("worker_ready in {supervisor} 0 {first}"),
        format!("when_ready in {supervisor}"),
        format!("on_reload in {supervisor}"),
        format!("before_fork in {supervisor} 0 0"),
        format!("worker_ready in {supervisor} 0 {second}"),
        format!("worker_exit in {supervisor} 0 {first}"),
        format!("worker_exit in {supervisor} 0 {second}"),
        format!("on_exit in {supervisor}"),
    ];
    assert_eq!(of_supervisor, of_supervisor_too);
}

pub(crate) fn a_daemon_that_is_no_server_is_stopped_and_watched(_: &str) {
    let running = Running::start("daemon", &["workers=2", "worker-timeout=2s"]);
    let hung = running.workers();
    running.set_mood("dawdles@1");
    let silent = running.wait_for("has shown no progress for ");
    assert!(silent.contains("worker 1 "), "{silent}");
    running.wait_for("varvel-signals");
    running.set_mood("");
    running.wait_until("one was replaced", || running.workers().difference(&hung).count() == 1);
    running.wait_whole(2);
    let ended = running.stop();
    assert!(ended.log.contains("was ended by SIGABRT after "), "{}", ended.log);
    assert!(!ended.log.contains("worker 0 "), "{}", ended.log);
}

pub(crate) fn memory_of_before_the_fork_is_shared(_: &str) {
    let running = Running::start("ballast", &["workers=2"]);
    for line in [running.wait_for("shared "), running.wait_for_more("shared ", 1)] {
        let shared: usize = line.trim_start_matches("shared ").parse().unwrap();
        assert!(shared >= BALLAST, "{line}");
    }
    running.stop();
}

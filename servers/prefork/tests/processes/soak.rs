//! Long runs, for machines with time: `TEST_PROCESSES_SOAK=1 cargo test --release -p varvel-prefork --test processes soak`.

use std::{
    env,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::{clients::Clients, running::Running};

/// Those that are only run if the environment asks for them.
pub(crate) fn trials() -> Vec<Trial> {
    let asked = env::var_os("TEST_PROCESSES_SOAK").is_some();
    let soak = |name: &str, case: fn(&str), server: &'static str| {
        let run = move || {
            case(server);
            Ok(())
        };
        Trial::test(format!("soak::{name}::{server}"), run).with_ignored_flag(!asked)
    };
    ["evented", "threaded"]
        .into_iter()
        .flat_map(|server| {
            [
                soak("a_million_requests_over_many_replacements_lose_none", replacements, server),
                soak("a_minute_of_random_kills_leaves_a_whole_pool", kills, server),
            ]
        })
        .collect()
}

fn replacements(server: &str) {
    const REQUESTS: u64 = 1_000_000;
    const ROUNDS: u64 = 50;
    let settings = ["workers=2", "max-requests=3000", "max-requests-jitter=1000", "drain-timeout=1m"];
    let mut running = Running::start(server, &settings);
    let clients = Clients::start(running.address);
    for round in 0..ROUNDS {
        if round % 10 == 5 {
            running.upgrade();
        }
        running.signal(Signal::TTIN);
        running.wait_for_more("SIGTTIN: 3 workers", round as usize);
        clients.go_on(REQUESTS / ROUNDS / 2);
        running.after(|| running.signal(Signal::HUP), "reloaded: ");
        running.signal(Signal::TTOU);
        running.wait_for_more("SIGTTOU: 2 workers", round as usize);
        clients.go_on(REQUESTS / ROUNDS / 2);
    }
    let processes = clients.processes();
    let ledger = clients.end_without_loss();
    let recycled = running.count("leaves: it has answered");
    let ended = running.stop();
    // Of the supervisors one after the other.
    let (mut requests, mut supervisors) = (0, 0);
    for line in ended.log.lines().filter_map(|line| line.strip_prefix("statistics ")) {
        let numbers: Vec<u64> = line.split_ascii_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[1..3], [0, 0], "lost, in flight");
        requests += numbers[0];
        supervisors += 1;
    }
    assert_eq!((requests, supervisors), (ledger.asked() - ledger.repeats(), 6));
    assert_eq!(ended.log.lines().filter(|line| *line == "cut 0").count(), supervisors);
    println!(
        "{server}: {requests} requests, none lost; {} repeated on closed connections; {processes} processes answered, \
         {recycled} were recycled",
        ledger.repeats(),
    );
}

fn kills(server: &str) {
    const TIME: Duration = Duration::from_secs(60);
    /// On a machine that does other things as well; some hundredths of a second are usual.
    const LONGEST: Duration = Duration::from_secs(5);
    let running = Running::start(server, &["workers=4"]);
    let clients = Clients::start(running.address);
    let start = Instant::now();
    let (mut kills, mut chance, mut longest) = (0, 12345_usize, Duration::ZERO);
    while start.elapsed() < TIME {
        clients.go_on(1000);
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let workers = running.workers();
        let victim = *workers.iter().nth((chance >> 33) % workers.len()).unwrap();
        let _ = kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL);
        kills += 1;
        let killed = Instant::now();
        running.wait_until("it is gone", || !running.workers().contains(&victim));
        running.wait_whole(4);
        longest = longest.max(killed.elapsed());
    }
    assert!(longest < LONGEST, "{longest:?}");
    let ledger = clients.end();
    let ended = running.stop();
    let [requests, lost, in_flight, _] = ended.numbers("statistics ")[..] else { panic!() };
    assert_eq!(in_flight, 0);
    let answered = ledger.asked() - ledger.repeats() - ledger.failed();
    assert!(
        (answered..=ledger.asked()).contains(&(requests + lost)),
        "{requests} + {lost}, {answered} answered"
    );
    println!(
        "{server}: {kills} kills, {answered} answered, {} failed, {requests} + {lost} counted; whole again after {longest:?}",
        ledger.failed(),
    );
}

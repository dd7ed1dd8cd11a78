//! A supervisor and its workers as their operators and clients meet them.
//!
//! Each case starts real processes: this binary again, which is then the program of `program.rs` and nothing else.

mod balance;
mod clients;
mod deaths;
mod program;
mod reloads;
mod running;
mod services;
mod soak;
mod stops;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

/// With this in its environment the binary is the program under test.
const CHILD: &str = "TEST_PROCESSES_CHILD";

type Case = fn(&str);

/// Functions and their names.
macro_rules! cases {
    ($($module:ident::$case:ident),+ $(,)?) => { &[$((stringify!($case), $module::$case as Case)),+] };
}

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        return program::run();
    }
    let of_each_server: &[(&str, Case)] = cases![
        reloads::a_reload_loses_no_request,
        reloads::a_reload_loses_no_request_where_each_worker_has_a_socket,
        reloads::more_and_fewer_workers_lose_no_request,
        reloads::a_worker_that_answered_enough_is_replaced_without_a_loss,
        reloads::a_worker_that_is_old_is_replaced_without_a_loss,
        reloads::a_worker_that_grew_is_replaced_without_a_loss,
        deaths::a_killed_worker_costs_what_it_was_at_and_nothing_else,
        deaths::a_worker_that_hangs_is_named_and_replaced,
        deaths::a_worker_that_aborts_is_named_and_replaced,
        stops::a_stop_lets_requests_finish,
        stops::a_stop_cuts_what_takes_longer_than_it_may,
        stops::a_quick_stop_waits_for_nobody,
        balance::connections_that_come_at_once_are_shared_out_evenly,
    ];
    let once: &[(&str, Case)] = cases![
        reloads::a_reload_whose_workers_fail_leaves_those_that_served,
        reloads::a_reload_whose_workers_never_get_ready_leaves_those_that_served,
        deaths::a_first_worker_that_cannot_be_built_is_the_end,
        deaths::a_later_worker_that_cannot_be_built_leaves_its_place_empty,
        deaths::clients_are_not_dealt_to_a_place_that_stays_empty,
        deaths::where_workers_die_young_the_pause_grows_and_the_rest_serves,
        deaths::a_process_that_a_worker_forked_confuses_nobody,
        stops::workers_that_ignore_the_stop_are_killed,
        stops::workers_end_when_their_supervisor_is_killed,
        balance::where_one_hangs_the_others_take_its_part,
        services::hooks_are_called_in_order_each_in_its_process,
        services::a_daemon_that_is_no_server_is_stopped_and_watched,
        services::memory_of_before_the_fork_is_shared,
    ];
    let mut trials = Vec::new();
    for (name, case) in of_each_server {
        for server in ["evented", "threaded"] {
            trials.push(trial(format!("{name}::{server}"), *case, server));
        }
    }
    trials.extend(once.iter().map(|(name, case)| trial((*name).to_owned(), *case, "evented")));
    trials.push(trial(
        "balance::who_has_no_thread_left_leaves_clients_to_who_has".to_owned(),
        balance::who_has_no_thread_left_leaves_clients_to_who_has,
        "threaded",
    ));
    trials.extend(soak::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: String, case: Case, server: &'static str) -> Trial {
    Trial::test(name, move || {
        case(server);
        Ok(())
    })
}

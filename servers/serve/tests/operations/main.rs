//! What operators do to programs that run: replace them, move their log files away, start them under a service manager or
//! as the first process of a container.
//!
//! Each case starts real processes: this binary again, which is then the program [`served`] and nothing else.

mod clients;
mod container;
mod identity;
mod logs;
mod manager;
mod pid_file;
mod program;
mod upgrade;

use std::{env, fs, path::Path, process::ExitCode, thread, time::Duration};

use http::{Request, Response};
use libtest_mimic::{Arguments, Trial};
use varvel::{AppResult, ReadBody, Scope, StartError, Worker, WriteBody, sync_factory_fn, sync_fn};
use varvel_serve::Program;

const CHILD: &str = "TEST_OPERATIONS_CHILD";

const BROKEN: &str = "TEST_OPERATIONS_BROKEN";

const SERVERS: [&str; 3] = ["threaded", "evented", "prefork"];

/// Cases and their names; with `each` they are for every server.
macro_rules! trials {
    ($($module:ident::$case:ident),+ $(,)?) => { vec![$(trial(stringify!($module::$case), $module::$case)),+] };
    (each $($module:ident::$case:ident),+ $(,)?) => { [$(SERVERS.map(|server| {
        trial(&format!("{}::{server}", stringify!($module::$case)), move || $module::$case(server))
    })),+].into_iter().flatten() };
}

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        return served();
    }
    let mut trials = trials![
        upgrade::no_request_is_lost,
        upgrade::no_request_is_lost_with_a_socket_for_each_worker,
        upgrade::what_was_begun_is_finished,
        upgrade::a_program_that_ends_changes_nothing,
        upgrade::a_program_that_never_serves_changes_nothing,
        upgrade::a_stop_meanwhile_is_one_of_both,
        upgrade::files_are_handed_over,
        upgrade::addresses_may_differ,
        upgrade::fewer_workers_lose_no_client,
        upgrade::the_variable_means_nothing_to_others,
        manager::everything_is_told,
        manager::passed_sockets_survive_an_upgrade,
        identity::workers_are_whom_they_are_told_to_be,
        identity::workers_end_with_their_supervisor,
        identity::who_is_unknown_does_not_start,
        container::signals_reach_whoever_serves,
        container::the_status_is_that_of_whoever_served_last,
        container::orphans_are_taken_in,
    ];
    trials.extend(trials![each
        pid_file::it_names_the_process_while_that_lives,
        pid_file::a_second_process_does_not_start,
        logs::no_line_is_lost_when_files_are_moved_away,
        manager::passed_sockets_are_found,
        manager::start_and_stop_are_told,
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, case: impl FnOnce() + Send + 'static) -> Trial {
    // What is not allowed here is left out, and shown as left out.
    let possible = match name {
        _ if name.starts_with("identity::workers") => rustix::process::geteuid().is_root(),
        _ if name.starts_with("container::") => container::are_possible(),
        _ => true,
    };
    Trial::test(name, move || {
        case();
        Ok(())
    })
    .with_ignored_flag(!possible)
}

/// A program that does what a path says, unless its application is told that it cannot be built.
fn served() -> ExitCode {
    let build = |_: &Worker| match env::var_os(BROKEN) {
        Some(_) => Err(StartError::new("it is broken")),
        None => Ok(sync_fn(answer)),
    };
    Program::new(sync_factory_fn(build)).run()
}

fn answer(request: Request<ReadBody>, _scope: Scope) -> AppResult {
    let text = match request.uri().path() {
        "/supervisor" => std::os::unix::process::parent_id().to_string(),
        "/status" => fs::read_to_string("/proc/self/status")?,
        "/orphan" => {
            let left = std::process::Command::new("sh").args(["-c", "sleep 0.01 & exit 3"]).status()?;
            left.code().unwrap_or_default().to_string()
        }
        // Says that it has begun, and goes on when it may.
        path if path.starts_with("/hold/") => {
            let path = Path::new(path.trim_start_matches("/hold"));
            fs::write(path.join("held"), "")?;
            while !path.join("go on").exists() {
                thread::sleep(Duration::from_millis(2));
            }
            "held".to_owned()
        }
        _ => std::process::id().to_string(),
    };
    Ok(Response::new(WriteBody::full(text)))
}

//! Programs as their operators meet them: started, restarted, short of something.
//!
//! Each case starts real processes: this binary again, which is then the program [`served`] and nothing else.

mod descriptors;
mod restarts;
mod running;

use std::{env, io::Read, process::ExitCode, thread};

use http::Response;
use libtest_mimic::{Arguments, Trial};
use varvel::{AsyncBody, app_fn};
use varvel_serve::Program;

const CHILD: &str = "TEST_PROCESSES_CHILD";

const SERVERS: [&str; 2] = ["evented", "threaded"];

type Case = fn(&str);

/// Functions and their names.
macro_rules! cases {
    ($($module:ident::$case:ident),+ $(,)?) => { &[$((stringify!($case), $module::$case as Case)),+] };
}

fn main() -> ExitCode {
    if env::var_os(CHILD).is_some() {
        return served();
    }
    let cases: &[(&str, Case)] = cases![
        restarts::a_second_process_serves_beside_the_first,
        restarts::a_process_that_leaves_others_loses_no_connection,
        restarts::a_restart_on_a_passed_socket_loses_no_connection,
        restarts::a_request_that_arrives_behind_the_stop_on_a_new_connection_is_answered,
        descriptors::a_low_soft_limit_does_not_bound_the_connections,
        descriptors::a_low_hard_limit_is_told_and_clients_beyond_it_wait,
    ];
    let trials = cases.iter().flat_map(|(name, case)| {
        SERVERS.map(|server| {
            Trial::test(format!("{name}::{server}"), move || {
                case(server);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A program that says who answers. It ends with whoever started it.
fn served() -> ExitCode {
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    Program::new(app_fn(|_, _| async { Ok(Response::new(AsyncBody::full(std::process::id().to_string()))) }))
        .run()
}

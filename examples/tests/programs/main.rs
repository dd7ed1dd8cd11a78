//! The programs as their users meet them: started, spoken to over sockets, stopped by signals.

mod bench_target;
mod command_line;
mod gallery;
mod probe;
mod running;
mod stopping;
mod wire;

/// Every server that there is; each program must behave alike on all of them.
const SERVERS: [&str; 2] = ["threaded", "evented"];

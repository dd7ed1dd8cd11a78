//! The notes service: one API on two frameworks, called in process in both forms, served by every server, and asked at random.

mod api;
mod directory;
mod in_process;
mod listener;
mod on_servers;
mod random;

#[path = "../programs/running.rs"]
#[expect(dead_code, reason = "the tests of the other programs use the rest")]
mod running;

//! A process of its own, because the limit on descriptors is the process's.

use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use varvel_server_kit::listener::{AcceptError, BindOptions, Listener};

#[test]
fn a_server_out_of_descriptors_is_told_to_pause_and_can_go_on_later() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &BindOptions::default()).unwrap();
    let _client = TcpStream::connect(listener.socket_addr().unwrap()).unwrap();
    let mut wait = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut wait, None).unwrap();

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
    let starved = listener.accept();
    setrlimit(Resource::Nofile, before).unwrap();

    assert!(matches!(starved, Err(AcceptError::Exhausted(_))), "{starved:?}");
    listener.accept().expect("the connection has waited in the queue");
}

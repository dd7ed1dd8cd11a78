//! Under a service manager: what it passes, and what it is told.

use std::{
    net::TcpListener,
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process::Stdio,
};

use rustix::process::{Signal, kill_process};

use crate::{
    clients::{Clients, ask, ask_on},
    program::{Folder, PATIENCE, Start},
};

/// Has the program find its process named, as a manager does between fork and exec.
const NAMED: &str = "LISTEN_PID=$$ WATCHDOG_PID=$$; export LISTEN_PID WATCHDOG_PID";

pub(crate) fn passed_sockets_are_found(server: &str) {
    let folder = Folder::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = folder.path("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let running = start_with([&tcp, &unix], &folder, server).run();
    assert_eq!(running.address, address);
    assert!(ask(address, "/").is_ok());
    assert!(ask_on(UnixStream::connect(&path).unwrap(), "/").is_ok());
    let serving = running.pid();
    running.stop(serving);
    assert!(path.exists(), "it was lent");

    // What is asked for on the command line is meant.
    let running = start_with([&tcp, &unix], &folder, server).options(&["--bind", "127.0.0.1:0"]).run();
    assert_ne!(running.address, address);
    let serving = running.pid();
    running.stop(serving);
}

pub(crate) fn passed_sockets_survive_an_upgrade() {
    let folder = Folder::new();
    let sockets = ["127.0.0.1:0"; 2].map(|address| TcpListener::bind(address).unwrap());
    let address = sockets[0].local_addr().unwrap();
    let mut running = start_with([&sockets[0], &sockets[1]], &folder, "prefork").run();
    drop(sockets);
    let clients = Clients::start(address);
    let mut serving = running.pid();
    for _ in 0..2 {
        clients.go_on(100);
        serving = running.upgrade(serving);
        assert_eq!(ask(address, "/supervisor"), Ok(serving.to_string()));
    }
    clients.end();
    running.stop(serving);
}

/// As a manager starts it, with these two from descriptor 3 on.
fn start_with(sockets: [&dyn AsFd; 2], folder: &Folder, server: &str) -> Start {
    let script = format!("{NAMED}; exec \"$@\" 3<&0 4<&1 </dev/null >/dev/null");
    let [input, output] = sockets.map(|socket| Stdio::from(socket.as_fd().try_clone_to_owned().unwrap()));
    let start = Start::under(&["sh", "-c", &script, "sh"], folder, server);
    start.variable("LISTEN_FDS", "2").streams(input, output)
}

pub(crate) fn start_and_stop_are_told(server: &str) {
    let folder = Folder::new();
    let told = UnixDatagram::bind(folder.path("notify")).unwrap();
    let running = notifying(&folder, server).run();
    assert!(news(&told).starts_with("READY=1\nSTATUS="));
    for _ in 0..2 {
        assert_eq!(next(&told), "WATCHDOG=1");
    }
    let serving = running.pid();
    running.stop(serving);
    assert!(news(&told).starts_with("STOPPING=1\nSTATUS="));
}

/// As a manager starts it that wants to be told.
fn notifying(folder: &Folder, server: &str) -> Start {
    let script = format!("{NAMED}; exec \"$@\"");
    Start::under(&["sh", "-c", &script, "sh"], folder, server)
        .variable("NOTIFY_SOCKET", &folder.text("notify"))
        .variable("WATCHDOG_USEC", "200000")
        .options(&["--bind", "127.0.0.1:0"])
}

pub(crate) fn everything_is_told() {
    let folder = Folder::new();
    let told = UnixDatagram::bind(folder.path("notify")).unwrap();
    let mut running = notifying(&folder, "prefork").run();
    let sign_of_life = || while next(&told) != "WATCHDOG=1" {};
    assert_eq!(news(&told), "READY=1\nSTATUS=2 workers serve");
    sign_of_life();
    running.send(Signal::HUP);
    assert!(news(&told).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(news(&told), "READY=1\nSTATUS=2 workers serve");
    running.send(Signal::TTIN);
    assert_eq!(news(&told), "STATUS=3 workers serve");

    folder.install_script("exit 7");
    running.send(Signal::USR2);
    assert!(news(&told).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(news(&told), "READY=1\nSTATUS=3 workers serve");
    folder.install_program();
    let serving = running.upgrade(running.pid());
    assert!(news(&told).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let mut messages = [news(&told), news(&told)];
    messages.sort();
    let handover = format!("READY=1\nMAINPID={serving}\nSTATUS=process {serving} serves");
    assert_eq!(messages, [handover, "READY=1\nSTATUS=2 workers serve".to_owned()]);
    running.wait();
    // The old process is gone without a word, so this is the new one's.
    sign_of_life();
    sign_of_life();
    kill_process(serving, Signal::TERM).unwrap();
    assert!(news(&told).starts_with("STOPPING=1\nSTATUS="));
    running.wait_for_all();
}

/// The next message that is no sign of life: those come at any time.
fn news(told: &UnixDatagram) -> String {
    loop {
        match next(told) {
            message if message == "WATCHDOG=1" => {}
            message => return message,
        }
    }
}

fn next(told: &UnixDatagram) -> String {
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 256];
    let length = told.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

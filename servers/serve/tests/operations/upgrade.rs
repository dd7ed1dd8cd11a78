//! A new program takes over while clients come and go (SIGUSR2).

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    thread,
};

use rustix::process::Signal;

use crate::{
    BROKEN,
    clients::{Clients, ask, ask_on},
    program::{Folder, Start, address, pid_in, wait_until},
};

pub(crate) fn no_request_is_lost() {
    upgrade_among_clients(&[]);
}

pub(crate) fn no_request_is_lost_with_a_socket_for_each_worker() {
    upgrade_among_clients(&["--reuse-port"]);
}

/// From one program to the next, and from that to one more.
fn upgrade_among_clients(options: &[&str]) {
    let folder = Folder::new();
    let mut running =
        Start::new(&folder, "prefork").options(&["--bind", "127.0.0.1:0"]).options(options).run();
    let clients = Clients::start(running.address);
    let mut serving = running.pid();
    for round in 0..3 {
        clients.go_on(200);
        let before = serving;
        serving = running.upgrade(before);
        assert_ne!(serving, before);
        if round == 0 {
            assert_eq!(running.wait().code(), Some(0));
        }
        assert_eq!(ask(running.address, "/supervisor"), Ok(serving.to_string()));
        clients.go_on(200);
    }
    clients.end();
    running.stop(serving);
}

pub(crate) fn what_was_begun_is_finished() {
    let folder = Folder::new();
    let mut running = Start::new(&folder, "prefork").options(&["--bind", "127.0.0.1:0"]).run();
    let address = running.address;
    let path = format!("/hold{}", folder.text(""));
    let held = thread::spawn(move || ask(address, &path));
    wait_until("the request has begun", || folder.path("held").exists());
    running.send(Signal::USR2);
    running.expect(" serves in place of this process");
    let old = running.pid().to_string();
    wait_until("others serve", || ask(address, "/supervisor").unwrap() != old);
    fs::write(folder.path("go on"), "").unwrap();
    assert_eq!(held.join().unwrap(), Ok("held".to_owned()));
    running.expect(" stopped; every exchange was finished");
    assert_eq!(running.wait().code(), Some(0));
}

pub(crate) fn a_program_that_ends_changes_nothing() {
    let folder = Folder::new();
    let mut running = Start::new(&folder, "prefork").options(&["--bind", "127.0.0.1:0"]).run();
    let clients = Clients::start(running.address);
    // The last finds its address in use, for nothing was passed on to it.
    let alone =
        format!("unset VARVEL_UPGRADE; {}", exec(&format!("--server prefork --bind {}", running.address)));
    for (script, how) in [
        ("exit 7", "exited with status 7"),
        ("kill -9 $$", "was ended by SIGKILL"),
        (&alone, "exited with status 1"),
    ] {
        folder.install_script(script);
        running.send(Signal::USR2);
        running.expect(&format!("{how} before it served; this one goes on"));
        assert_eq!(ask(running.address, "/supervisor"), Ok(running.pid().to_string()));
    }
    fs::remove_file(folder.path("program")).unwrap();
    running.send(Signal::USR2);
    running.expect("SIGUSR2: the program cannot be started anew: ");
    clients.go_on(100);
    folder.install_program();
    let serving = running.upgrade(running.pid());
    clients.end();
    running.stop(serving);
}

pub(crate) fn a_program_that_never_serves_changes_nothing() {
    let folder = Folder::new();
    let options = ["--bind", "127.0.0.1:0", "--worker-start-timeout", "1s"];
    let mut running = Start::new(&folder, "prefork").options(&options).run();
    let clients = Clients::start(running.address);
    folder.install_script("exec sleep 1000");
    running.send(Signal::USR2);
    running.expect("the program is started anew");
    running.send(Signal::USR2);
    running.expect("SIGUSR2: no new program is started: the one that was started before is still on its way");
    running.send(Signal::TTIN);
    running.expect("the number of workers stays: the program is being replaced");
    running.send(Signal::HUP);
    running.expect("reloaded: the new workers serve");
    running.expect("does not serve after all this time, and is killed");
    running.expect("was ended by SIGKILL before it served; this one goes on");
    clients.go_on(100);
    clients.end();
    let serving = running.pid();
    running.stop(serving);
}

pub(crate) fn a_stop_meanwhile_is_one_of_both() {
    let folder = Folder::new();
    let mut running = Start::new(&folder, "prefork").options(&["--bind", "127.0.0.1:0"]).run();
    folder.install_script(
        "trap 'echo it was told >&2; exit' TERM; echo it is there >&2; while :; do sleep 0.01; done",
    );
    running.send(Signal::USR2);
    running.expect("it is there");
    running.send(Signal::TERM);
    assert_eq!(running.wait().code(), Some(0));
    running.expect("it was told");
    running.wait_for_all();
}

pub(crate) fn files_are_handed_over() {
    let folder = Folder::new();
    let (socket, pid_file) = (folder.path("socket"), folder.path("pid"));
    let bind = format!("127.0.0.1:0,unix:{}", folder.text("socket"));
    let options = ["--bind", &*bind, "--pid-file", &folder.text("pid")];
    let mut running = Start::new(&folder, "prefork").options(&options).run();
    let by_socket = || ask_on(UnixStream::connect(&socket).unwrap(), "/supervisor").unwrap();
    assert_eq!(pid_in(&pid_file), Some(running.pid()));

    // It gets as far as it can without serving.
    folder.install_script(&format!("{BROKEN}=1 {}", exec("\"$@\"")));
    running.send(Signal::USR2);
    running.expect("it is broken");
    running.expect("before it served; this one goes on");
    assert_eq!(by_socket(), running.pid().to_string());
    assert_eq!(pid_in(&pid_file), Some(running.pid()));

    folder.install_program();
    let serving = running.upgrade(running.pid());
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(by_socket(), serving.to_string());
    assert_eq!(pid_in(&pid_file), Some(serving));
    let last = running.upgrade(serving);
    assert_eq!(by_socket(), last.to_string());
    running.stop(last);
    assert!(!socket.exists() && !pid_file.exists());
}

pub(crate) fn addresses_may_differ() {
    let folder = Folder::new();
    let mut running = Start::new(&folder, "prefork").options(&["--bind", "127.0.0.1:0,127.0.0.1:0"]).run();
    let stays = running.address;
    let goes = address(&running.expect(" listening on "));
    assert!(ask(goes, "/").is_ok());
    folder.install_script(&exec(&format!("--server prefork --workers 1 --bind {stays},localhost:0")));
    running.send(Signal::USR2);
    assert_eq!(address(&running.expect(" listening on ")), stays);
    let comes = address(&running.expect(" listening on "));
    let serving = running.handover();
    for address in [stays, comes] {
        assert_eq!(ask(address, "/supervisor"), Ok(serving.to_string()));
    }
    assert!(TcpStream::connect(goes).is_err());
    running.stop(serving);
}

pub(crate) fn fewer_workers_lose_no_client() {
    let folder = Folder::new();
    let options = ["--bind", "127.0.0.1:0", "--reuse-port", "--workers", "4"];
    let mut running = Start::new(&folder, "prefork").options(&options).run();
    let clients = Clients::start(running.address);
    folder.install_script(&exec("--server prefork --bind 127.0.0.1:0 --reuse-port --workers 2"));
    running.send(Signal::USR2);
    let serving = running.handover();
    clients.go_on(500);
    clients.end();
    running.stop(serving);
}

/// What a script says to become the program of these tests, with these options.
fn exec(options: &str) -> String {
    format!("exec {} {options}", env::current_exe().unwrap().display())
}

pub(crate) fn the_variable_means_nothing_to_others() {
    let folder = Folder::new();
    let script = "exec \"$@\" 3<&0 </dev/null";
    // As its successor finds it, and as a process that a worker of that has started.
    for (parent, is_for_it) in [(std::process::id(), true), (1, false)] {
        let passed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = passed.local_addr().unwrap();
        let running = Start::under(&["sh", "-c", script, "sh"], &folder, "prefork")
            .variable("VARVEL_UPGRADE", &format!("parent {parent}\nsocket 3 - 127.0.0.1:0\n"))
            .streams(Stdio::from(OwnedFd::from(passed)), Stdio::null())
            .options(&["--bind", "127.0.0.1:0"])
            .run();
        assert_eq!(running.address == address, is_for_it);
        assert!(!running.said.iter().any(|line| line.contains("warning")), "{:?}", running.said);
        assert_eq!(ask(running.address, "/supervisor"), Ok(running.pid().to_string()));
        let serving = running.pid();
        running.stop(serving);
    }
}

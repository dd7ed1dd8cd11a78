//! Where an application is tried out.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use varvel::{Control, Launch};
use varvel_lint::Lint;
use varvel_micro::App;
use varvel_serve::{Both, Config, Deploy, ServerKind};
use varvel_test::Client;

/// In process in both forms, under the eyes of the lint.
pub(crate) fn in_process(app: impl Fn() -> App, test: impl Fn(&Client)) {
    test(&Client::sync(Lint::new(app())));
    test(&Client::new(Lint::new(app())));
}

/// In process, and on each of the servers.
pub(crate) fn everywhere(app: impl Fn() -> App, test: impl Fn(&Client)) {
    in_process(&app, &test);
    on_servers(app, test);
}

/// On each of the servers, by a socket.
pub(crate) fn on_servers(app: impl Fn() -> App, test: impl Fn(&Client)) {
    for server in [ServerKind::Threaded, ServerKind::Evented] {
        on(&Config::new(server), app(), |_, client| test(client));
    }
}

/// On one server, by a socket.
pub(crate) fn on(config: &Config, app: App, test: impl Fn(SocketAddr, &Client)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::at(&format!("http://{address}"));
    let control = Control::new();
    let launch = Launch::new(vec![listener.into()]).with_control(control.clone());
    thread::scope(|scope| {
        let stop = Stop(&control);
        let serving = scope.spawn(move || Both(app).deploy(config, launch));
        assert!(control.wait_ready(), "{:?} does not start", config.server);
        test(address, &client);
        drop(stop);
        serving.join().unwrap().unwrap();
    });
}

/// Stops a server, also if the test panics.
struct Stop<'c>(&'c Control);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop(Duration::ZERO);
    }
}

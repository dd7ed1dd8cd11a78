//! One application on each server.

use std::time::Duration;

use varvel::Control;
use varvel_micro::App;
use varvel_serve::{Both, Config, ServerKind, serve};

#[test]
fn every_server_takes_it() {
    let mut app = App::new();
    app.get("/", || "sync");
    app.get("/later", async || "async");
    for server in [ServerKind::Threaded, ServerKind::Evented] {
        let mut config = Config::new(server);
        config.settings.bind = vec!["127.0.0.1:0".parse().unwrap()];
        let control = Control::new();
        control.stop(Duration::ZERO);
        assert_eq!(serve(Both(app.clone()), &config, control).unwrap().cut, 0);
    }
}

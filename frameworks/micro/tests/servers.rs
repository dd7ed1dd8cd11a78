//! One application on each server.

mod support;

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use varvel_micro::{App, Bytes, State};
use varvel_serve::{Config, ServerKind};

#[derive(Default)]
struct Workers {
    started: AtomicUsize,
    ended: AtomicUsize,
}

struct Greeting(String);

#[test]
fn every_worker_of_every_server_starts_up_and_shuts_down() {
    let workers = Arc::new(Workers::default());
    let started = Arc::clone(&workers);
    let mut app = App::new();
    app.state(Arc::clone(&workers));
    app.startup(move |worker| {
        started.started.fetch_add(1, Ordering::Relaxed);
        Ok(Greeting(format!("hello from {}", worker.info().server)))
    });
    app.shutdown(|workers: &Arc<Workers>, _worker| {
        workers.ended.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    app.get("/", |greeting: State<Greeting>| greeting.0.clone());
    app.get("/later", async |greeting: State<Greeting>| greeting.0.clone());

    support::on_servers(
        || app.clone(),
        |client| {
            for path in ["/", "/later"] {
                let response = client.get(path).send();
                assert!(response.text().starts_with("hello from varvel-"), "{}", response.text());
            }
        },
    );
    let (started, ended) = (workers.started.load(Ordering::Relaxed), workers.ended.load(Ordering::Relaxed));
    assert!(started >= 2 && ended == started, "{started} started, {ended} ended");
}

#[test]
fn clients_who_send_half_of_their_content_keep_no_thread_from_others() {
    let mut app = App::new();
    app.post("/", |content: Bytes| format!("{} bytes", content.len()));
    app.get("/", || "hello");
    let mut config = Config::new(ServerKind::Evented);
    config.settings.loops = Some(1);
    config.settings.offload_threads = 1;
    support::on(&config, app, |address, client| {
        let mut slow: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in &mut slow {
            stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").unwrap();
        }
        // The loop has seen those before, as it reads connections in the order in which they come.
        for _ in 0..3 {
            assert_eq!(client.get("/").send().text(), "hello");
            assert_eq!(client.post("/").body("whole").send().text(), "5 bytes");
        }
    });
}

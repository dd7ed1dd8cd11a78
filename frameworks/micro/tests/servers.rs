//! One application on each server.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use varvel_micro::{App, State};

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

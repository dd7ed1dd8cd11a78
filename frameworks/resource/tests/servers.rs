//! One application on each server.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use varvel::{BoxError, Control, Launch, StartError, Worker};
use varvel_resource::{
    App, AsyncRequest, AsyncResponse, Middleware, Request, Resource, Responders, Response, Result,
};
use varvel_serve::{Both, Config, Deploy, ServerKind};
use varvel_test::Client;
use varvel_toolkit::websocket::Handshake;

/// Answers in one form to GET, and in the other to POST.
struct Forms;

impl Resource for Forms {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post).put(Self::on_put).websocket(Self::on_websocket)
    }
}

impl Forms {
    fn on_get(&self, _: &mut Request, resp: &mut Response) -> Result {
        resp.set_text("sync");
        Ok(())
    }

    async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        req.scope().worker().sleep(Duration::from_millis(1)).await;
        resp.set_text("async");
        Ok(())
    }

    fn on_put(&self, req: &mut Request, resp: &mut Response) -> Result {
        let names: Vec<String> = req.media()?;
        resp.set_text(names.join(" and "));
        Ok(())
    }

    async fn on_websocket(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        resp.accept_websocket(req, &Handshake::new(), |mut socket| async move {
            let _ = socket.send("open").await;
        })
    }
}

/// Which workers were started up, and which shut down.
#[derive(Clone, Default)]
struct Life {
    begun: Arc<Mutex<Vec<u32>>>,
    ended: Arc<Mutex<Vec<u32>>>,
}

impl Middleware for Life {
    fn process_startup(&self, worker: &Worker) -> Result<(), StartError> {
        self.begun.lock().unwrap().push(worker.info().index);
        Ok(())
    }

    fn process_shutdown(&self, worker: &Worker) -> Result<(), BoxError> {
        self.ended.lock().unwrap().push(worker.info().index);
        Ok(())
    }
}

fn sorted(workers: &Mutex<Vec<u32>>) -> Vec<u32> {
    let mut workers = workers.lock().unwrap().clone();
    workers.sort_unstable();
    workers
}

fn serves(server: ServerKind, workers: &[u32]) {
    let life = Life::default();
    let mut app = App::new();
    app.add_middleware(life.clone());
    app.add_route("/", Forms).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::at(&format!("http://{}", listener.local_addr().unwrap()));
    let mut config = Config::new(server);
    config.settings.loops = Some(2);
    let control = Control::new();
    let launch = Launch::new(vec![listener.into()]).with_control(control.clone());
    let serving = thread::spawn(move || Both(app).deploy(&config, launch).map(|served| served.cut));
    assert!(control.wait_ready());
    assert_eq!(sorted(&life.begun), workers);

    assert_eq!(client.get("/").send().text(), "sync");
    assert_eq!(client.post("/").send().text(), "async");
    let request = client.get("/").header("sec-websocket-version", "13");
    let mut tunnel = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").upgrade("websocket");
    assert_eq!(tunnel.receive(6), b"\x81\x04open");
    drop(tunnel);

    assert!(life.ended.lock().unwrap().is_empty());
    control.stop(Duration::from_secs(30));
    assert_eq!(serving.join().unwrap().unwrap(), 0);
    assert_eq!((sorted(&life.begun), sorted(&life.ended)), (workers.to_vec(), workers.to_vec()));
}

#[test]
fn clients_who_send_half_of_their_content_keep_no_thread_from_others() {
    let mut app = App::new();
    app.add_route("/", Forms).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::at(&format!("http://{address}"));
    let mut config = Config::new(ServerKind::Evented);
    config.settings.loops = Some(1);
    config.settings.offload_threads = 1;
    let control = Control::new();
    let launch = Launch::new(vec![listener.into()]).with_control(control.clone());
    let serving = thread::spawn(move || Both(app).deploy(&config, launch).map(drop));
    assert!(control.wait_ready());

    let mut slow: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n[\"Ada\"").unwrap();
    }
    for _ in 0..3 {
        assert_eq!(client.get("/").send().text(), "sync");
        assert_eq!(client.put("/").json(&["Ada", "Bo"]).send().text(), "Ada and Bo");
    }

    control.stop(Duration::ZERO);
    serving.join().unwrap().unwrap();
}

#[test]
fn threads_serve_it_and_start_it_up_and_shut_it_down() {
    serves(ServerKind::Threaded, &[0]);
}

#[test]
fn each_event_loop_serves_it_and_starts_it_up_and_shuts_it_down() {
    serves(ServerKind::Evented, &[0, 1]);
}

#[test]
fn what_was_started_up_is_shut_down_where_a_later_start_up_fails() {
    struct Fails;

    impl Middleware for Fails {
        fn process_startup(&self, _: &Worker) -> Result<(), StartError> {
            Err(StartError::new("there is no database"))
        }
    }

    let (first, last) = (Life::default(), Life::default());
    let mut app = App::new();
    app.add_middleware(first.clone()).add_middleware(Fails).add_middleware(last.clone());
    for refused in [Client::factory(app.clone()), Client::sync_factory(app)] {
        let refusal = refused.err().unwrap().to_string();
        assert!(refusal.ends_with("there is no database"), "{refusal}");
    }
    assert_eq!((sorted(&first.begun).len(), sorted(&first.ended).len()), (2, 2));
    assert_eq!((sorted(&last.begun).len(), sorted(&last.ended).len()), (0, 0));
}

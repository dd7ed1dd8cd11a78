//! What is particular to event loops: applications that stay on their thread, several loops, and the death of one.

use std::{
    cell::Cell,
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Wake, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use http::Response;
use varvel::{
    AsyncAppFactory, AsyncBody, Control, Event, Launch, Phase, Report, Reporter, Scope, ServeError, Served,
    Server, app_fn, async_factory_fn,
};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;

/// A server of so many loops on a thread of its own.
struct Running {
    address: SocketAddr,
    control: Control,
    served: JoinHandle<Result<Served, ServeError>>,
    reports: mpsc::Receiver<String>,
}

struct Forward(mpsc::SyncSender<String>);

impl Reporter for Forward {
    fn report(&self, report: &Report<'_>) {
        if let Event::Panicked { during: Phase::Background, message } = report.event {
            self.0.send(message.to_owned()).unwrap();
        }
    }
}

fn start<F>(loops: u32, factory: F) -> Running
where
    F: AsyncAppFactory + Send + Sync + 'static,
    Evented: Server<F>,
{
    let mut settings = Settings::default();
    settings.loops = Some(loops);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let control = Control::new();
    let (sender, reports) = mpsc::sync_channel(16);
    let launch = Launch::new(vec![listener.into()])
        .with_control(control.clone())
        .with_reporter(Arc::new(Forward(sender)));
    let served = thread::spawn(move || Evented::new(settings).serve(factory, launch));
    assert!(control.wait_ready());
    Running { address, control, served, reports }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn stop(self) {
        self.control.stop(Duration::from_secs(10));
        assert_eq!(self.served.join().unwrap().unwrap().cut, 0);
    }
}

/// The body of the answer to a GET, on a connection that stays open.
fn get(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let mut answer = String::new();
    loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((_, body)) = answer.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
            return Ok(body.trim_end().to_owned());
        }
    }
}

#[test]
fn an_application_may_stay_on_its_thread() {
    let server = start(
        1,
        async_factory_fn(|_| async {
            let calls = Rc::new(Cell::new(0));
            Ok(app_fn(move |_, scope: Scope| {
                let calls = Rc::clone(&calls);
                async move {
                    scope.worker().sleep(Duration::from_millis(1)).await;
                    calls.set(calls.get() + 1);
                    Ok(Response::new(AsyncBody::full(format!("{}\n", calls.get()))))
                }
            }))
        }),
    );
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "1");
    assert_eq!(get(&mut client, "/").unwrap(), "2");
    server.stop();
}

#[test]
fn connections_are_shared_out_evenly() {
    let server = start(
        2,
        async_factory_fn(|worker| async move {
            let index = worker.info().index;
            Ok(app_fn(move |_, _| async move { Ok(Response::new(AsyncBody::full(format!("{index}\n")))) }))
        }),
    );
    let mut clients: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    let indices = clients.iter_mut().map(|client| get(client, "/").unwrap());
    let on_first = indices.filter(|index| index == "0").count();
    assert!((30..=34).contains(&on_first), "{on_first} of 64 connections are on the first loop");
    drop(clients);
    server.stop();
}

#[test]
fn a_loop_that_dies_is_replaced() {
    /// The one thing of an application's that a loop runs uncontained.
    struct Deadly;
    impl Wake for Deadly {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }
    let builds = Arc::new(AtomicUsize::new(0));
    let server = start(
        1,
        async_factory_fn(move |_| {
            let build = builds.fetch_add(1, SeqCst) + 1;
            async move {
                Ok(app_fn(move |request: http::Request<AsyncBody>, scope: Scope| async move {
                    if request.uri().path() == "/die" {
                        let mut timer = scope.worker().sleep(Duration::from_millis(1));
                        let waker = Waker::from(Arc::new(Deadly));
                        let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(&waker));
                        std::mem::forget(timer);
                        return std::future::pending().await;
                    }
                    Ok(Response::new(AsyncBody::full(format!("{build}\n"))))
                }))
            }
        }),
    );
    let mut client = server.connect();
    assert_eq!(get(&mut client, "/").unwrap(), "1");
    get(&mut client, "/die").unwrap_err();
    assert_eq!(server.reports.recv_timeout(Duration::from_secs(10)).unwrap(), "a waker that panics");
    assert_eq!(get(&mut server.connect(), "/").unwrap(), "2");
    server.stop();
}

//! The program that is counted: a server with an application that does next to nothing.
//!
//! It is told which server, prints its port, and serves until its standard input ends: no signal stops it, because those
//! do not get through to a program under valgrind.

use std::{
    env,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use varvel::{
    App, AppResult, AsyncApp, AsyncAppResult, AsyncBody, Body, Control, Launch, Mode, ReadBody, Scope,
    Server, Shared, WriteBody,
    bridge::{BlockOn, Inline, Offloaded},
};
use varvel_bench_contract::{self as contract, Bare, Contract, Way, Wire};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

fn main() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    println!("{}", listener.local_addr().expect("a bound socket").port());
    let control = Control::new();
    let server = env::args().nth(1).unwrap_or_default();
    match server.as_str() {
        "bare" => return without_server(&listener, Bare),
        "contract" => return without_server(&listener, Contract::new(contract::OnLoops)),
        "contract-inline" => {
            return without_server(&listener, Contract::new(Inline::new(contract::OnThreads)));
        }
        _ => {}
    }
    let launch = Launch::new(vec![listener.into()]).with_control(control.clone());
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        control.stop(Duration::ZERO);
    });
    let mut settings = Settings::default();
    settings.loops = Some(1);
    let evented = Evented::new(settings.clone());
    let threaded = Threaded::new(settings);
    let served = match server.as_str() {
        "evented" => evented.serve(Shared(OnLoops), launch),
        "evented-inline" => evented.serve(Inline::new(Shared(OnThreads)), launch),
        "evented-offloaded" => evented.serve(Offloaded::new(Shared(OnThreads)), launch),
        "threaded" => threaded.serve(Shared(OnThreads), launch),
        "threaded-block-on" => threaded.serve(BlockOn::new(Shared(OnLoops)), launch),
        _ => panic!("no such server: {server}"),
    };
    served.expect("it served");
}

/// Answers the requests of one connection after the other, which arrive whole: what remains of a server without its loop.
fn without_server(listener: &TcpListener, mut way: impl Way) {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let (mut wire, mut input, mut out) = (Wire::default(), vec![0; 64 * 1024], Vec::new());
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        while let Ok(len @ 1..) = stream.read(&mut input) {
            wire.serve(Bytes::copy_from_slice(&input[..len]), &mut way, &mut out);
            stream.write_all(&out).expect("the client reads");
            out.clear();
        }
    }
}

/// A chunk of `/stream`.
static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

const CHUNKS: usize = 64;

fn hello<M: Mode>() -> Response<Body<M>> {
    let mut response = Response::new(Body::from_static(b"Hello, World!"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[derive(Clone, Copy)]
struct OnLoops;

impl AsyncApp for OnLoops {
    type Future = std::future::Ready<AsyncAppResult>;

    fn call(&self, request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
        std::future::ready(Ok(match request.uri().path() {
            "/echo" => Response::new(request.into_body()),
            "/stream" => {
                let chunks = std::iter::repeat_n(Bytes::from_static(&CHUNK), CHUNKS);
                Response::new(AsyncBody::from_chunks(chunks))
            }
            _ => hello(),
        }))
    }
}

#[derive(Clone, Copy)]
struct OnThreads;

impl App for OnThreads {
    fn call(&self, request: Request<ReadBody>, _scope: Scope) -> AppResult {
        Ok(match request.uri().path() {
            "/echo" => Response::new(WriteBody::full(request.into_body().collect(usize::MAX)?)),
            "/stream" => Response::new(WriteBody::from_writer(|sink| {
                (0..CHUNKS).try_for_each(|_| sink.data(Bytes::from_static(&CHUNK)))
            })),
            _ => hello(),
        })
    }
}

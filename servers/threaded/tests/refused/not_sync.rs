//! Threads share one application, so it must be `Sync`.

use std::{cell::Cell, net::TcpListener};

use http::Response;
use varvel::{Launch, Server, WriteBody, sync_factory_fn, sync_fn};
use varvel_threaded::Threaded;

fn main() {
    let factory = sync_factory_fn(|_worker| {
        let calls = Cell::new(0);
        Ok(sync_fn(move |_, _| {
            calls.set(calls.get() + 1);
            Ok(Response::new(WriteBody::full(format!("call {}\n", calls.get()))))
        }))
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Threaded::default().serve(factory, Launch::new(vec![listener.into()])).unwrap();
}

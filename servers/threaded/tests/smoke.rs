mod support;
use http::Response;
use support::{start, threads};
use varvel::{Shared, WriteBody, sync_fn};
use std::{sync::Arc, time::Duration};

#[test]
fn hello() {
    let app = sync_fn(|_, _| Ok(Response::new(WriteBody::from_static(b"Hello, World!"))));
    let server = start(threads(2), Shared(Arc::new(app)));
    let mut client = server.connect();
    for _ in 0..3 {
        client.get("/");
        assert_eq!(client.answer(), (200, "Hello, World!".into()));
    }
    assert!(server.get("/").ends_with("Hello, World!"));
    let begun = std::time::Instant::now();
    assert_eq!(server.stop(Duration::from_secs(10)).cut, 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

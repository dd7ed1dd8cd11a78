//! What a request may cost: how often the server allocates for it, beside what the application does.
//!
//! Requests that are sent at once are not among those counted: who serves the next of them, and with which buffers, depends
//! on how long the last one took.

#[path = "../../evented/tests/support/counting.rs"]
mod counting;
mod support;

use std::time::Duration;

use bytes::Bytes;
use counting::{BROWSER, END, HELLO, STREAM, allocations, called, post, uncounted};
use http::{HeaderValue, Request, Response, header};
use support::{start, threads};
use varvel::{AppResult, ReadBody, Shared, WriteBody, sync_fn};

#[test]
fn a_request_costs_few_allocations() {
    uncounted(|| {
        let server = start(threads(8), Shared(sync_fn(|request, _| answer(request))));
        let mut client = server.connect().0;
        let mut allocations = |request: &str, requests| allocations(&mut client, request, requests);
        assert_eq!(
            [
                ("hello", allocations(HELLO, 1)),
                ("eleven fields of a browser", allocations(BROWSER, 1)),
                ("a body in the same read", allocations(&post(), 1)),
                ("a stream of 64 chunks", allocations(STREAM, 1)),
            ],
            [
                ("hello", 0),
                ("eleven fields of a browser", 2),
                ("a body in the same read", 2),
                ("a stream of 64 chunks", 2),
            ]
        );
        assert_eq!(server.stop(Duration::from_secs(10)).cut, 0);
    });
}

fn answer(request: Request<ReadBody>) -> AppResult {
    called();
    Ok(match request.uri().path() {
        "/echo" => Response::new(WriteBody::full(request.into_body().collect(usize::MAX)?)),
        "/stream" => Response::new(WriteBody::from_writer(|sink| {
            (0..63).try_for_each(|_| sink.data(Bytes::from_static(b"a piece\n")))?;
            sink.data(Bytes::from_static(END.as_bytes()))
        })),
        _ => uncounted(|| {
            let mut response = Response::new(WriteBody::from(END));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response
        }),
    })
}

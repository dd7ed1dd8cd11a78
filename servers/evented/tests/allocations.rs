//! What a request may cost: how often the server allocates for it, beside what the application does.

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::{iter, time::Duration};

use bytes::Bytes;
use counting::{BROWSER, END, HELLO, STREAM, allocations, called, post, uncounted};
use http::{HeaderValue, Request, Response, header};
use support::start;
use varvel::{AsyncAppResult, AsyncBody, Shared, app_fn};

#[test]
fn a_request_costs_few_allocations() {
    uncounted(|| {
        let server = start(|_| {}, Shared(app_fn(|request, _| std::future::ready(answer(request)))));
        let mut client = server.connect();
        let mut allocations = |request: &str, requests| allocations(&mut client, request, requests);
        assert_eq!(
            [
                ("hello", allocations(HELLO, 1)),
                ("sixteen at once", allocations(HELLO, 16)),
                ("eleven fields of a browser", allocations(BROWSER, 1)),
                ("a body in the same read", allocations(&post(), 1)),
                ("a stream of 64 chunks", allocations(STREAM, 1)),
            ],
            [
                // What was read.
                ("hello", 1),
                ("sixteen at once", 1),
                // And a map for them: that of the last answer has no room for so many.
                ("eleven fields of a browser", 3),
                // And to share what was read with the body.
                ("a body in the same read", 2),
                ("a stream of 64 chunks", 2),
            ]
        );
        assert_eq!(server.stop(Duration::from_secs(10)).unwrap().cut, 0);
    });
}

fn answer(request: Request<AsyncBody>) -> AsyncAppResult {
    called();
    Ok(match request.uri().path() {
        "/echo" => text(request.into_body()),
        "/stream" => text(uncounted(stream)),
        _ => text(AsyncBody::from(END)),
    })
}

fn text(body: AsyncBody) -> Response<AsyncBody> {
    uncounted(|| {
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    })
}

fn stream() -> AsyncBody {
    let pieces = iter::repeat_n(Bytes::from_static(b"a piece\n"), 63);
    AsyncBody::from_chunks(pieces.chain([Bytes::from_static(END.as_bytes())]))
}

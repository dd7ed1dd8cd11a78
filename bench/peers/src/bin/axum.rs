//! axum, with a run-time per thread rather than one with many threads, as that is faster.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::RawQuery,
    routing::{get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures_util::stream;
use varvel_bench_peers::{CHUNK, HELLO, Options, number};

fn main() {
    Options::from_command_line().on_each_tokio(|listener| async move {
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, application()).await.expect("serving does not end");
    });
}

fn application() -> Router {
    Router::new()
        .route("/", get(|| async { HELLO }))
        .route("/echo", post(|body: Body| async { body }))
        .route(
            "/wait",
            get(|RawQuery(query)| async move {
                tokio::time::sleep(Duration::from_millis(number(query.as_deref()))).await;
                "ok"
            }),
        )
        .route(
            "/stream",
            get(|RawQuery(query)| async move {
                let chunk = Ok::<_, Infallible>(Bytes::from_static(&CHUNK));
                Body::from_stream(stream::iter((0..number(query.as_deref())).map(move |_| chunk.clone())))
            }),
        )
}

//! hyper with the settings that suit a load test best.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use varvel_bench_peers::{CHUNK, HELLO, Options, number};

fn main() {
    Options::from_command_line().on_each_tokio(|listener| async move {
        let mut http = http1::Builder::new();
        http.pipeline_flush(true);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let query = number(request.uri().query());
    Ok(match request.uri().path() {
        "/" => text(HELLO),
        "/echo" => Response::new(Answer::Echo(request.into_body())),
        "/wait" => {
            tokio::time::sleep(Duration::from_millis(query)).await;
            text("ok")
        }
        _ => Response::new(Answer::Stream(query)),
    })
}

fn text(text: &'static str) -> Response<Answer> {
    let mut response = Response::new(Answer::Text(Full::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

enum Answer {
    Text(Full<Bytes>),
    Echo(Incoming),
    Stream(u64),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Text(text) => Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
            Self::Echo(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(left) => Poll::Ready(left.checked_sub(1).map(|rest| {
                *left = rest;
                Ok(Frame::data(Bytes::from_static(&CHUNK)))
            })),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::Echo(body) => body.is_end_stream(),
            Self::Stream(left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => text.size_hint(),
            Self::Echo(body) => body.size_hint(),
            Self::Stream(_) => SizeHint::new(),
        }
    }
}

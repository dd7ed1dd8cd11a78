//! actix-web.

use std::{convert::Infallible, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::KeepAlive,
    web::{self, Bytes, PayloadConfig},
};
use futures_util::stream;
use varvel_bench_peers::{CHUNK, HELLO, Options, number};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let options = Options::from_command_line();
    let application = || {
        App::new()
            .app_data(PayloadConfig::new(16 << 20))
            .route("/", web::get().to(|| async { HttpResponse::Ok().content_type("text/plain").body(HELLO) }))
            .route("/echo", web::post().to(|body: Bytes| async { body }))
            .route("/wait", web::get().to(wait))
            .route("/stream", web::get().to(send_chunks))
    };
    HttpServer::new(application)
        .tcp_nodelay(true)
        // Idle connections are to stay open while they are counted.
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(3600)))
        .backlog(4096)
        .workers(options.threads)
        .bind(options.bind)?
        .run()
        .await
}

async fn wait(request: HttpRequest) -> &'static str {
    actix_web::rt::time::sleep(Duration::from_millis(number(request.uri().query()))).await;
    "ok"
}

async fn send_chunks(request: HttpRequest) -> HttpResponse {
    let chunk = Ok::<_, Infallible>(Bytes::from_static(&CHUNK));
    let chunks = (0..number(request.uri().query())).map(move |_| chunk.clone());
    HttpResponse::Ok().streaming(stream::iter(chunks))
}

//! A page to look at: small demonstrations of what servers, contract and frameworks can do, working live in the browser.
//!
//! | address | what it shows |
//! |---|---|
//! | `/` | the page, with `style.css`, `script.js` and `icon.svg`: nothing from elsewhere |
//! | `/?self-test` | the same, which presses its buttons and says whether they did what they should |
//! | `/hello` | a short answer |
//! | `/events` | server-sent events: a line a second, and a goodbye when the server stops |
//! | `/stream?n=N` | N lines, each sent before the next exists |
//! | `/slow?ms=N` | an answer after N milliseconds |
//! | `/crowd?n=N` | POST: N requests to `/slow`, all at once, made by the gallery itself |
//! | `/upload` | POST: the length and the SHA-256 of what was sent |
//! | `/letters/NAME` | GET waits until somebody else POSTs a letter there |
//! | `/request/...` | what the application saw of the request, whatever its method |
//! | `/hints` | 103 Early Hints ahead of the answer |
//! | `/trailers` | a stream with its digest as a trailer |
//! | `/tunnel` | an upgrade to a protocol that shouts back |
//! | `/echo`, `/chat` | WebSockets: what you say comes back to you, or goes to everybody |
//! | `/resource/...` | a REST service on `varvel-resource`: `aviary.rs` |
//! | `/micro/...` | a guest book on `varvel-micro`: `guest_book.rs` |
//! | `/middleware/...` | each middleware of the toolkit, around little: `middleware.rs` |
//! | `/log` | the last lines of the access log |
//!
//! `examples/browser.py` opens the self-test in a headless Chromium, on both servers.
//!
//! It is one async application, built for each worker, and runs on any server: a table of the toolkit's [`Routes`], under
//! which the applications of the frameworks are mounted. What is kept is kept by the process, in [`Gallery`]; worker
//! processes share nothing.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use serde_json::json;
use varvel::{AsyncAppFactory, AsyncAppResult, AsyncBody, BoxError, Scope, StartError, Worker, app_fn};
use varvel_toolkit::{
    Endpoint, Middleware, Query, Routes, With,
    middleware::{AccessLog, CatchFailures, RequestIds, SecurityHeaders},
    respond,
    routes::{get, post},
};

use crate::digest::digest;

mod aviary;
mod chat;
mod crowd;
mod describe;
mod echo;
mod guest_book;
mod handover;
mod last_lines;
mod letterbox;
mod middleware;
mod page;
mod pause;
mod streams;
mod tunnel;

use aviary::Aviary;
use chat::Chat;
use crowd::Crowds;
use guest_book::GuestBook;
use last_lines::LastLines;
use letterbox::Letterbox;
use middleware::Shared;
use pause::pause;
use streams::Watchers;

/// The factory: what all workers of the process have in common.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    letterbox: Arc<Letterbox>,
    watchers: Watchers,
    crowds: Crowds,
    chat: Chat,
    aviary: Arc<Aviary>,
    guest_book: Arc<GuestBook>,
    middleware: Shared,
    log: LastLines,
}

/// The application of one worker.
pub type Site = With<RequestIds, With<AccessLog, With<SecurityHeaders, CatchFailures<Routes>>>>;

impl AsyncAppFactory for Gallery {
    type App = Site;

    async fn build(&self, worker: &Worker) -> Result<Site, StartError> {
        self.site(worker).map_err(StartError::new)
    }
}

impl Gallery {
    fn site(&self, worker: &Worker) -> Result<Site, BoxError> {
        let site = security_headers().around(CatchFailures::around(self.routes(worker)?));
        Ok(RequestIds::new().around(self.log.access_log().around(site)))
    }

    fn routes(&self, worker: &Worker) -> Result<Routes, BoxError> {
        let mut routes = Routes::builder().route("/", page::page(worker)?);
        for asset in page::ASSETS {
            routes = routes.route(asset.path, asset.methods());
        }
        let routes = routes
            .route("/hello", get(app_fn(hello)))
            .route("/events", self.watchers.methods())
            .route("/stream", get(app_fn(streams::lines)))
            .route("/slow", get(app_fn(slow)))
            .route("/crowd", self.crowds.methods())
            .route("/upload", post(app_fn(upload)))
            .route("/letters/{name:str(max=64)}", letterbox::methods(&self.letterbox))
            .mount("/request", app_fn(describe::describe))
            .route("/hints", get(app_fn(hints)))
            .route("/trailers", get(app_fn(streams::with_trailers)))
            .route("/tunnel", get(app_fn(tunnel::open)))
            .route("/echo", get(app_fn(echo::open)))
            .route("/chat", self.chat.methods())
            .mount("/resource", Endpoint::polled(aviary::app(&self.aviary)?))
            .mount(guest_book::MOUNT, Endpoint::polled(guest_book::app(&self.guest_book)?))
            .mount("/middleware", Endpoint::polled(self.middleware.routes()?))
            .route(last_lines::ADDRESS, self.log.methods())
            .mount("/", app_fn(missing));
        Ok(routes.build()?)
    }
}

/// On every answer that says nothing else: the page needs nothing from elsewhere, nobody needs to frame or sniff it, and
/// the next start may show something else.
fn security_headers() -> SecurityHeaders {
    // The other name of the same server is another origin, for what pages of other origins may do.
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' http://127.0.0.1:* http://localhost:*; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    );
    SecurityHeaders::new()
        .set(header::CONTENT_SECURITY_POLICY, POLICY)
        .set(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}

/// The longest wait that anybody can ask for, so that no address of the gallery holds a thread for long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

async fn hello(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let info = scope.worker().info();
    Ok(respond::text(format!("Hello from {}, worker {} of {}.\n", info.server, info.index + 1, info.workers)))
}

async fn slow(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let millis = Query::of(request.uri()).parse("ms")?.unwrap_or(1000);
    let wait = Duration::from_millis(millis).min(LONGEST_WAIT);
    scope.worker().sleep(wait).await;
    Ok(respond::text(format!("Worth waiting {} ms for.\n", wait.as_millis())))
}

async fn upload(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    let digest = digest(request.into_body()).await?;
    Ok(respond::json(&json!({ "bytes": digest.len, "sha256": digest.sha256 }))?)
}

async fn hints(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let mut links = HeaderMap::new();
    links.insert(header::LINK, HeaderValue::from_static("</style.css>; rel=preload; as=style"));
    let outcome = match scope.interim(StatusCode::EARLY_HINTS, &links) {
        Ok(()) => "A head with status 103 and a link to the style sheet went ahead of this page.".to_owned(),
        Err(error) => format!("No hints this time: {error}."),
    };
    // What a slow database would give a browser time for.
    pause(scope.worker(), scope.worker().now() + Duration::from_millis(300)).await;
    Ok(respond::html(include_str!("gallery/page/hinted.html").replace("{{outcome}}", &outcome)))
}

/// What no route has.
async fn missing(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    let mut response = respond::html(include_str!("gallery/page/missing.html"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

#[cfg(test)]
mod tests;

//! A page to look at: small demonstrations of what servers and contract can do, working live in the browser.
//!
//! | address | what it shows |
//! |---|---|
//! | `/` | the page, with `style.css`, `script.js` and `icon.svg`: nothing from elsewhere |
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
//!
//! It is one async application, built for each worker, and runs on any server.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;
use varvel::{AppFuture, AsyncApp, AsyncAppFactory, AsyncAppResult, AsyncBody, Scope, StartError, Worker};

use crate::{digest::digest, query};

mod crowd;
mod describe;
mod handover;
mod letterbox;
mod page;
mod pause;
mod respond;
mod streams;
mod tunnel;

use crowd::Crowds;
use letterbox::Letterbox;
use pause::pause;
use streams::Watchers;

/// The factory: what all workers of the process have in common.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    letterbox: Arc<Letterbox>,
    watchers: Watchers,
    crowds: Crowds,
}

impl AsyncAppFactory for Gallery {
    type App = Site;

    async fn build(&self, worker: &Worker) -> Result<Site, StartError> {
        Ok(Site { gallery: self.clone(), page: page::render(worker).into() })
    }
}

/// The application of one worker.
#[derive(Clone, Debug)]
pub struct Site {
    gallery: Gallery,
    page: bytes::Bytes,
}

impl AsyncApp for Site {
    type Future = AppFuture;

    fn call(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        let site = self.clone();
        Box::pin(async move {
            let mut response = site.answer(request, scope).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().extend(SECURITY);
            }
            Ok(response)
        })
    }
}

/// On every answer: the page needs nothing from elsewhere, and nobody needs to frame or sniff it.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// The longest wait that anybody can ask for, so that no address of the gallery holds a thread for long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Page,
    Asset(&'static page::Asset),
    Hello,
    Events,
    Stream,
    Slow,
    Crowd,
    Upload,
    Letter,
    Request,
    Hints,
    Trailers,
    Tunnel,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/hello" => Self::Hello,
            "/events" => Self::Events,
            "/stream" => Self::Stream,
            "/slow" => Self::Slow,
            "/crowd" => Self::Crowd,
            "/upload" => Self::Upload,
            "/request" => Self::Request,
            "/hints" => Self::Hints,
            "/trailers" => Self::Trailers,
            "/tunnel" => Self::Tunnel,
            _ if path.starts_with("/request/") => Self::Request,
            _ if letter_name(path).is_some() => Self::Letter,
            _ => Self::Asset(page::asset(path)?),
        })
    }

    /// The methods that the address has, as `Allow` lists them; `None` if it has all.
    fn methods(self) -> Option<&'static str> {
        match self {
            Self::Request => None,
            Self::Crowd | Self::Upload => Some("POST, OPTIONS"),
            Self::Letter => Some("GET, HEAD, POST, OPTIONS"),
            _ => Some("GET, HEAD, OPTIONS"),
        }
    }
}

impl Site {
    async fn answer(&self, request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
        let uri = request.uri();
        let Some(route) = Route::of(uri.path()) else {
            return Ok(respond::missing());
        };
        if let Some(methods) = route.methods() {
            if request.method() == Method::OPTIONS {
                return Ok(respond::allow(StatusCode::NO_CONTENT, methods));
            }
            if !methods.split(", ").any(|method| method == request.method().as_str()) {
                return Ok(respond::allow(StatusCode::METHOD_NOT_ALLOWED, methods));
            }
        }
        match route {
            Route::Page => Ok(respond::html(self.page.clone())),
            Route::Asset(asset) => Ok(respond::typed(asset.media_type, asset.bytes)),
            Route::Hello => Ok(hello(&scope)),
            Route::Events => Ok(streams::events(scope.worker(), self.gallery.watchers.join())),
            Route::Stream => Ok(streams::lines(scope.worker(), query::number(uri, "n").unwrap_or(10))),
            Route::Slow => Ok(slow(scope, query::number(uri, "ms").unwrap_or(1000)).await),
            Route::Crowd => Ok(self.gallery.crowds.run(scope, query::number(uri, "n").unwrap_or(50)).await),
            Route::Upload => upload(request.into_body()).await,
            Route::Letter if request.method() == Method::POST => self.post_letter(request).await,
            Route::Letter => Ok(self.await_letter(uri.path(), scope).await),
            Route::Request => describe::describe(request, scope).await,
            Route::Hints => hints(scope).await,
            Route::Trailers => Ok(streams::with_trailers()),
            Route::Tunnel => Ok(tunnel::answer(scope)),
        }
    }

    async fn await_letter(&self, path: &str, scope: Scope) -> Response<AsyncBody> {
        let name = letter_name(path).unwrap_or_default();
        let patience = scope.worker().now() + LONGEST_WAIT;
        match self.gallery.letterbox.read(name, scope.worker(), patience).await {
            Some(letter) => respond::text(letter),
            None => respond::empty(StatusCode::NO_CONTENT),
        }
    }

    async fn post_letter(&self, request: Request<AsyncBody>) -> AsyncAppResult {
        let (head, body) = request.into_parts();
        let letter = body.collect(4096).await?;
        let readers = self.gallery.letterbox.post(letter_name(head.uri.path()).unwrap_or_default(), &letter);
        Ok(respond::json(&json!({ "readers": readers })))
    }
}

/// The name in `/letters/NAME`; short and plain, so that the letterbox stays small.
fn letter_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/letters/")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && (1..=64).contains(&name.len())).then_some(name)
}

fn hello(scope: &Scope) -> Response<AsyncBody> {
    let info = scope.worker().info();
    respond::text(format!("Hello from {}, worker {} of {}.\n", info.server, info.index + 1, info.workers))
}

async fn slow(scope: Scope, millis: u64) -> Response<AsyncBody> {
    let wait = Duration::from_millis(millis).min(LONGEST_WAIT);
    scope.worker().sleep(wait).await;
    respond::text(format!("Worth waiting {} ms for.\n", wait.as_millis()))
}

async fn upload(body: AsyncBody) -> AsyncAppResult {
    let digest = digest(body).await?;
    Ok(respond::json(&json!({ "bytes": digest.len, "sha256": digest.sha256 })))
}

async fn hints(scope: Scope) -> AsyncAppResult {
    let mut links = HeaderMap::new();
    links.insert(header::LINK, HeaderValue::from_static("</style.css>; rel=preload; as=style"));
    let outcome = match scope.interim(StatusCode::EARLY_HINTS, &links) {
        Ok(()) => "A head with status 103 and a link to the style sheet went ahead of this page.".to_owned(),
        Err(error) => format!("No hints this time: {error}."),
    };
    // What a slow database would give a browser time for.
    pause(scope.worker(), scope.worker().now() + Duration::from_millis(300)).await;
    Ok(respond::html(include_str!("gallery/hinted.html").replace("{{outcome}}", &outcome)))
}

#[cfg(test)]
mod tests;

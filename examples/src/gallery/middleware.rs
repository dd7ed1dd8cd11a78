//! Each middleware of the toolkit that has something to show, around as little as shows it.
//!
//! | address below `/middleware` | around it | what it shows |
//! |---|---|---|
//! | `/cors` | [`Cors`] | pages of other origins may GET and PUT, not DELETE |
//! | `/csrf` | [`Csrf`] | POST of another site is 403 |
//! | `/compression/text?coding=C` | [`Compression`] | how much smaller the page gets |
//! | `/compression/stream?coding=C&n=N` | [`Compression`] | lines that are compressed, and not held back |
//! | `/session` | [`Sessions`] | GET counts your visits, DELETE forgets you |
//! | `/timeout` | [`Timeout`] | 503 after 300 ms, where the answer takes three seconds |
//! | `/body-limit` | [`BodyLimit`] | POST of more than a kilobyte is 413 |
//! | `/rate-limit` | [`RateLimit`] | the sixth request in ten seconds is 429 |
//! | `/forwarded` | [`Forwarded`] | who the client is behind a proxy on this machine |
//! | `/trailing-slash/...` | [`TrailingSlash`] | 308 to the address without |
//! | `/error`, `/panic` | nothing | 500 for a call that fails |
//!
//! [`CatchFailures`], [`SecurityHeaders`], [`AccessLog`] and [`RequestIds`] stand around the whole gallery.
//!
//! [`CatchFailures`]: varvel_toolkit::middleware::CatchFailures
//! [`SecurityHeaders`]: varvel_toolkit::middleware::SecurityHeaders
//! [`AccessLog`]: varvel_toolkit::middleware::AccessLog
//! [`RequestIds`]: varvel_toolkit::middleware::RequestIds

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use serde_json::json;
use varvel::{AppError, AsyncApp, AsyncAppResult, AsyncBody, Body, BoxError, Scope, app_fn};
use varvel_toolkit::{
    Endpoint, Form, Middleware, Query, Routes, accept,
    cookies::Keys,
    middleware::{
        BodyLimit, Client, Compression, Cors, Csrf, Forwarded, RateLimit, Session, Sessions, Timeout,
        TrailingSlash,
    },
    respond,
    routes::{any, get, post},
};

use super::streams;

/// What all workers share: who has asked how often, and what cookies are encrypted with.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    rate_limit: RateLimit,
    keys: Keys,
}

impl Default for Shared {
    fn default() -> Self {
        Self { rate_limit: RateLimit::new(5, Duration::from_secs(10)), keys: Keys::generate() }
    }
}

impl Shared {
    pub(super) fn routes(&self) -> Result<Routes, BoxError> {
        let sessions = Sessions::in_cookie(self.keys.clone()).cookie("gallery");
        let visits = Routes::builder().route("/", get(app_fn(visit)).delete(app_fn(leave))).build()?;
        let compressed = Routes::builder()
            .route("/text", get(app_fn(long_text)))
            .route("/stream", get(app_fn(streams::lines)))
            .build()?;
        let patience = Timeout::after(Duration::from_millis(300));
        let local = Forwarded::x_forwarded(["127.0.0.0/8", "::1"])?;
        let routes = Routes::builder()
            .route("/cors", any(around(cors(), app_fn(open_to_all))))
            // The page of another origin is to see that it was refused.
            .route("/csrf", any(around(Cors::any(), Csrf::new().around(app_fn(changed)))))
            .mount("/compression", around(OneCoding, Compression::new().around(compressed)))
            .mount("/session", around(sessions, visits))
            .route("/timeout", get(Endpoint::polled(patience.around(app_fn(late)))))
            .route("/body-limit", post(around(BodyLimit::new(1024), app_fn(measured))))
            .route("/rate-limit", get(around(self.rate_limit.clone(), app_fn(welcome))))
            .route("/forwarded", get(around(local, app_fn(who))))
            .mount("/trailing-slash", around(TrailingSlash::Remove, app_fn(here)))
            .route("/error", get(app_fn(fails)))
            .route("/panic", get(app_fn(panics)));
        Ok(routes.build()?)
    }
}

fn around<A>(middleware: impl Middleware, app: A) -> Endpoint
where
    A: AsyncApp<Future: Send + 'static> + Send + Sync + 'static,
{
    Endpoint::polled(middleware.around(app))
}

fn cors() -> Cors {
    Cors::any().methods([Method::PUT]).headers([header::CONTENT_TYPE])
}

async fn open_to_all(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.unwrap_or("nowhere");
    Ok(respond::text(format!("{} from a page of {origin}\n", request.method())))
}

async fn changed(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    Ok(respond::text("Done, as you are from here.\n"))
}

/// What the page consists of.
async fn long_text(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    let text = concat!(include_str!("page/page.html"), include_str!("page/style.css"));
    Ok(respond::text(text))
}

/// Has the client accept one coding, named in the query, of those that it does accept: pages cannot say so themselves.
struct OneCoding;

impl Middleware for OneCoding {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        _scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        let coding = Query::of(request.uri()).get("coding").unwrap_or_default().into_owned();
        let accepted = accept::encoding(request.headers(), &[&coding]).unwrap_or("identity");
        let accepted = HeaderValue::try_from(accepted).unwrap_or(HeaderValue::from_static("identity"));
        request.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
        Ok(())
    }

    fn response<F: Form>(&self, _note: (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

async fn visit(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let session = Session::of(&scope)?;
    let visits = session.get("visits").unwrap_or(0_u64).saturating_add(1);
    session.set("visits", visits)?;
    Ok(respond::text(format!("Visit {visits}\n")))
}

async fn leave(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    Session::of(&scope)?.clear();
    Ok(respond::text("Who are you?\n"))
}

async fn late(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    scope.worker().sleep(Duration::from_secs(3)).await;
    Ok(respond::text("Nobody is there any more.\n"))
}

async fn measured(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    let body = request.into_body().collect(usize::MAX).await?;
    Ok(respond::text(format!("{} bytes\n", body.len())))
}

async fn welcome(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    Ok(respond::text("Welcome.\n"))
}

async fn who(_request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let client = scope.get::<Client>();
    Ok(respond::json(&json!({
        "client": client.and_then(|client| client.address),
        "scheme": client.and_then(|client| client.scheme),
        "host": client.and_then(|client| client.host.as_ref()).map(|host| host.as_str()),
        "connected from": scope.conn().peer.to_string(),
    }))?)
}

async fn here(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    Ok(respond::text(format!("{}\n", request.uri().path())))
}

async fn fails(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    Err(AppError::internal("the gallery was asked for an error"))
}

async fn panics(_request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
    panic!("the gallery was asked for a panic")
}

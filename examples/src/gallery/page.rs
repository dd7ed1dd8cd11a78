//! The page and what belongs to it.

use std::{
    future::ready,
    hash::{DefaultHasher, Hash, Hasher},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::Request;
use varvel::{AsyncBody, Driver, Worker, app_fn};
use varvel_toolkit::{
    Polled,
    conditional::{self, ETag, Validators},
    respond,
    routes::{Methods, get},
    templates::{self, Templates, context, minijinja::UndefinedBehavior},
};

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    media_type: &'static str,
    bytes: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $media_type:expr,)*) => {
        [$(Asset { path: concat!("/", $name), media_type: $media_type, bytes: include_str!(concat!("page/", $name)) },)*]
    };
}

pub(super) static ASSETS: &[Asset] = &assets! {
    "style.css": CSS,
    "icon.svg": "image/svg+xml",
    "script.js": JAVASCRIPT,
    "show.js": JAVASCRIPT,
    "contract.js": JAVASCRIPT,
    "websocket.js": JAVASCRIPT,
    "frameworks.js": JAVASCRIPT,
    "middleware.js": JAVASCRIPT,
    "self-test.js": JAVASCRIPT,
};

impl Asset {
    pub(super) fn methods(&'static self) -> Methods {
        let etag = version(&self.bytes);
        get(app_fn(move |request: Request<AsyncBody>, _scope| {
            let mut response = respond::content(self.media_type, self.bytes);
            Validators { etag: Some(etag.clone()), last_modified: None }.write_to(response.headers_mut());
            ready(Ok(conditional::answer::<Polled>(request.method(), request.headers(), response, 1)))
        }))
    }
}

/// A tag that differs whenever the value does.
pub(super) fn version(value: &impl Hash) -> ETag {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    ETag::strong(&format!("{:016x}", hasher.finish())).expect("digits are fit for a tag")
}

/// The page as this worker shows it.
pub(super) fn page(worker: &Worker) -> Result<Methods, templates::Error> {
    let mut templates = Templates::new();
    templates.change(|environment| environment.set_undefined_behavior(UndefinedBehavior::Strict));
    templates.add("page.html", include_str!("page/page.html"))?;
    let info = worker.info();
    let (driver, other) = match info.driver {
        Driver::Evented => ("an event loop", "threaded"),
        _ => ("threads that block", "evented"),
    };
    let page = Bytes::from(templates.render(
        "page.html",
        context! {
            server => info.server,
            version => env!("CARGO_PKG_VERSION"),
            driver,
            other,
            index => info.index + 1,
            workers => info.workers,
            process => process::id(),
            spec => format!("{}.{}", info.spec.0, info.spec.1),
            started => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            capabilities => info.caps.iter().map(|(_, name)| name).collect::<Vec<_>>(),
        },
    )?);
    Ok(get(app_fn(move |_request, _scope| ready(Ok(respond::html(page.clone()))))))
}

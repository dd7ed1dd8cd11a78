//! The page and what belongs to it.

use std::{
    future::ready,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use varvel::{Driver, Worker, app_fn};
use varvel_toolkit::{
    respond,
    routes::{Methods, get},
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

pub(super) static ASSETS: [Asset; 9] = assets! {
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
        get(app_fn(|_request, _scope| ready(Ok(respond::content(self.media_type, self.bytes)))))
    }
}

/// The page as this worker shows it.
pub(super) fn page(worker: &Worker) -> Methods {
    let page = Bytes::from(render(worker));
    get(app_fn(move |_request, _scope| ready(Ok(respond::html(page.clone())))))
}

fn render(worker: &Worker) -> String {
    let info = worker.info();
    let (driver, other) = match info.driver {
        Driver::Evented => ("an event loop", "threaded"),
        _ => ("threads that block", "evented"),
    };
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let capabilities = info.caps.iter().map(|(_, name)| format!("<li>{name}</li>"));
    fill(
        include_str!("page/page.html"),
        &[
            ("server", info.server),
            ("version", env!("CARGO_PKG_VERSION")),
            ("driver", driver),
            ("other", other),
            ("index", &(info.index + 1).to_string()),
            ("workers", &info.workers.to_string()),
            ("process", &process::id().to_string()),
            ("spec", &format!("{}.{}", info.spec.0, info.spec.1)),
            ("started", &started.to_string()),
            ("capabilities", &capabilities.collect::<String>()),
        ],
    )
}

/// Puts values in place of their names, which stand in two braces.
pub(super) fn fill(page: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), page);
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        let value = values.iter().find(|(known, _)| *known == name);
        filled.push_str(before);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    filled + rest
}

//! The page and what belongs to it.

use std::{
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use varvel::{Driver, Worker};

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asset {
    path: &'static str,
    pub(super) media_type: &'static str,
    pub(super) bytes: &'static str,
}

static ASSETS: [Asset; 3] = [
    Asset { path: "/style.css", media_type: "text/css; charset=utf-8", bytes: include_str!("style.css") },
    Asset {
        path: "/script.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_str!("script.js"),
    },
    Asset { path: "/icon.svg", media_type: "image/svg+xml", bytes: include_str!("icon.svg") },
];

pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The page as this worker shows it.
pub(super) fn render(worker: &Worker) -> String {
    let info = worker.info();
    let (driver, other) = match info.driver {
        Driver::Evented => ("an event loop", "threaded"),
        _ => ("threads that block", "evented"),
    };
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let capabilities = info.caps.iter().map(|(_, name)| format!("<li>{name}</li>"));
    [
        ("server", info.server.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("driver", driver.to_owned()),
        ("other", other.to_owned()),
        ("index", (info.index + 1).to_string()),
        ("workers", info.workers.to_string()),
        ("process", process::id().to_string()),
        ("spec", format!("{}.{}", info.spec.0, info.spec.1)),
        ("started", started.to_string()),
        ("capabilities", capabilities.collect()),
    ]
    .into_iter()
    .fold(include_str!("page.html").to_owned(), |page, (name, value)| {
        page.replace(&format!("{{{{{name}}}}}"), &value)
    })
}

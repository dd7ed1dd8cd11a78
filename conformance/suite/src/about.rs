//! What a server says of itself.

use serde_json::Value;
use varvel::Caps;

use crate::{Client, Failure, Running, transcript::Transcript};

/// What a server advertises in its `WorkerInfo`, as the probe was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The server's name.
    pub server: String,
    /// Which trait the probe is called through.
    pub form: Form,
    /// Whether workers are processes that a supervisor forked.
    pub forked: bool,
    /// Whether the worker is an event loop.
    pub evented: bool,
    /// How many workers there are.
    pub workers: u64,
    /// How many calls overlap on a worker, if that is bounded.
    pub concurrency: Option<u64>,
    /// The capabilities.
    pub caps: Caps,
    /// `Limits::read_ahead`, in bytes.
    pub read_ahead: u64,
    /// `Limits::write_high_water`, in bytes.
    pub write_high_water: u64,
}

/// How applications are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `App`.
    Sync,
    /// As `AsyncApp`.
    Async,
}

impl About {
    /// Asks a server that runs, on a connection with this transcript.
    pub(crate) fn of(server: &Running, transcript: &Transcript) -> Result<Self, Failure> {
        let mut client = Client::connect(server.address(), transcript.clone())?;
        client.send("GET /about HTTP/1.1\r\nHost: varvel.test\r\n\r\n")?;
        let response = client.response().map_err(|failure| failure.within("an answer to the first request"));
        let text = response?.text();
        let about = serde_json::from_str(&text).ok().and_then(|description| Self::read(&description));
        about.ok_or_else(|| match server.has_called("about") {
            true => Failure::new("the probe's description of the first request", text),
            false => Failure::new(
                "the first request reaches the probe",
                "the server did not call the probe for its first request",
            ),
        })
    }

    /// Reads the probe's description of a request, which names its worker.
    pub(crate) fn read(description: &Value) -> Option<Self> {
        let worker = &description["worker"];
        let names: Vec<&str> = worker["caps"].as_array()?.iter().filter_map(Value::as_str).collect();
        let caps = varvel_spec::capabilities().iter().filter(|name| names.contains(name));
        Some(Self {
            server: worker["server"].as_str()?.to_owned(),
            form: if description["form"] == "sync" { Form::Sync } else { Form::Async },
            forked: worker["process"] == "Forked",
            evented: worker["driver"] == "Evented",
            workers: worker["workers"].as_u64()?,
            concurrency: worker["concurrency"].as_u64(),
            caps: caps.filter_map(|name| cap(name)).fold(Caps::NONE, Caps::with),
            read_ahead: worker["limits"]["read_ahead"].as_u64()?,
            write_high_water: worker["limits"]["write_high_water"].as_u64()?,
        })
    }
}

/// The capability of this name.
pub(crate) fn cap(name: &str) -> Option<Caps> {
    ALL.iter().copied().flat_map(Caps::iter).find(|(_, known)| *known == name).map(|(cap, _)| cap)
}

/// Every capability of this version of the interface.
const ALL: &[Caps] = &[
    Caps::INTERIM,
    Caps::UPGRADE,
    Caps::CONNECT,
    Caps::EXT_CONNECT,
    Caps::TRAILERS_IN,
    Caps::TRAILERS_OUT,
    Caps::FULL_DUPLEX,
    Caps::DISCONNECT_WATCH,
    Caps::HALF_CLOSE,
    Caps::OFFLOAD,
    Caps::SPAWN,
    Caps::DEFER,
    Caps::FILE_ZEROCOPY,
    Caps::H2,
    Caps::TLS,
    Caps::MONITOR,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_specification_is_known() {
        for name in varvel_spec::capabilities() {
            assert!(cap(name).is_some(), "{name}");
        }
    }
}

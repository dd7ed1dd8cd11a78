//! Everything that a call was given, as JSON: the fields of the event `call`, and the answer to a request without
//! steps.
//!
//! | field | is |
//! |---|---|
//! | `form` | `sync` or `async` |
//! | `method`, `version` | as text |
//! | `uri`, `path`, `query` | as `http::Uri` has them |
//! | `target` | the raw target, in hex |
//! | `fields` | pairs of name and value in hex, in the order of the map |
//! | `exact_len`, `authority` | or null |
//! | `peer`, `local`, `secure`, `connection`, `number` | of connection and exchange |
//! | `serial`, `build_thread` | of the application |
//! | `pid`, `thread` | of the call |
//! | `worker` | the fields of `WorkerInfo` |

use http::request::Parts;
use serde_json::{Value, json};
use varvel::{Scope, Worker};

use super::{ProbeApp, context::thread_name};

pub(super) fn request(
    app: &ProbeApp,
    form: &str,
    head: &Parts,
    exact_len: Option<u64>,
    scope: &Scope,
) -> Value {
    let conn = scope.conn();
    let fields: Vec<_> = head.headers.iter().map(|(name, value)| [name.to_string(), hex(value)]).collect();
    json!({
        "form": form,
        "method": head.method.as_str(),
        "version": format!("{:?}", head.version),
        "uri": head.uri.to_string(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "target": hex(scope.raw_target()),
        "fields": fields,
        "exact_len": exact_len,
        "authority": scope.authority().map(|authority| authority.as_str()),
        "peer": conn.peer.to_string(),
        "local": conn.local.to_string(),
        "secure": conn.is_secure(),
        "tls": conn.tls.is_some(),
        "connection": conn.id,
        "number": scope.number(),
        "serial": app.serial,
        "build_thread": app.thread,
        "pid": std::process::id(),
        "thread": thread_name(),
        "worker": worker(scope.worker()),
    })
}

pub(super) fn worker(worker: &Worker) -> Value {
    let info = worker.info();
    let caps: Vec<_> = info.caps.iter().map(|(_, name)| name).collect();
    json!({
        "spec": [info.spec.0, info.spec.1],
        "server": info.server,
        "index": info.index,
        "workers": info.workers,
        "process": format!("{:?}", info.process),
        "driver": format!("{:?}", info.driver),
        "concurrency": info.concurrency,
        "lifetime": format!("{:?}", info.lifetime),
        "caps": caps,
        "limits": {
            "head_bytes_max": info.limits.head_bytes_max,
            "header_count_max": info.limits.header_count_max,
            "body_bytes_max": info.limits.body_bytes_max,
            "read_ahead": info.limits.read_ahead,
            "write_high_water": info.limits.write_high_water,
        },
    })
}

/// Bytes as two hexadecimal digits each.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

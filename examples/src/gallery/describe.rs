//! What the application saw of a request, in the order in which one would tell it.

use http::Request;
use serde_json::json;
use varvel::{AsyncAppResult, AsyncBody, Scope};
use varvel_toolkit::respond;

use crate::{
    digest::digest,
    wire_text::{latin1, version},
};

pub(super) async fn describe(request: Request<AsyncBody>, scope: Scope) -> AsyncAppResult {
    let (head, body) = request.into_parts();
    let body = digest(body).await?;
    let conn = scope.conn();
    let headers = head.headers.iter().map(|(name, value)| json!([name.as_str(), latin1(value.as_bytes())]));
    Ok(respond::json(&json!({
        "request": [
            ["method", head.method.as_str()],
            ["target", latin1(scope.raw_target())],
            ["path", latin1(head.uri.path().as_bytes())],
            ["query", head.uri.query().map(|query| latin1(query.as_bytes()))],
            ["version", version(head.version)],
            ["authority", scope.authority().map(ToString::to_string)],
            ["from", conn.peer.to_string()],
            ["to", conn.local.to_string()],
            ["encrypted", if conn.is_secure() { "yes" } else { "no" }],
            ["connection", format!("{}, request {}", conn.id, scope.number())],
            ["worker", (scope.worker().info().index + 1).to_string()],
            ["body", format!("{} bytes, sha-256 {}", body.len, body.sha256)],
        ],
        "headers": headers.collect::<Vec<_>>(),
    }))?)
}

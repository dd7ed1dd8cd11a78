//! A WebSocket that says what it hears.

use http::Request;
use varvel::{AsyncAppResult, AsyncBody, Scope};
use varvel_toolkit::websocket::{Handshake, WebSocket};

pub(super) async fn open(request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
    Ok(Handshake::new().accept(&request, &mut scope, echo))
}

/// Until the client closes, the connection fails, or the server stops: each of them ends `recv`.
async fn echo(mut socket: WebSocket) {
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

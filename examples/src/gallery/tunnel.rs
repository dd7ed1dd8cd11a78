//! An upgrade: the connection is taken over by a protocol that sends everything back, louder.

use http::{Request, Response};
use varvel::{AsyncAppResult, AsyncBody, AsyncIo, Scope};
use varvel_toolkit::HttpError;

/// The protocol's name in the `Upgrade` field.
const PROTOCOL: &str = "shout";

pub(super) async fn open(_request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
    let upgrade = scope.take_upgrade().filter(|upgrade| upgrade.protocols().any(|name| name == PROTOCOL));
    match upgrade {
        Some(upgrade) => Ok(upgrade.accept(Response::new(()), shout)),
        None => Err(HttpError::bad_request(
            "Ask with `Connection: upgrade` and `Upgrade: shout`; the gallery's page has a command for it.",
        )
        .into()),
    }
}

/// Until the client closes its side, or the connection fails, which ends the tunnel just as well.
async fn shout(mut io: AsyncIo) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        let heard = &mut buffer[..read];
        heard.make_ascii_uppercase();
        if io.write_all(heard).await.is_err() {
            return;
        }
    }
    let _ = io.close().await;
}

//! WebSockets: how a handler takes over the connection.

use std::{fmt, marker::PhantomData};

use http::{HeaderValue, Method, Response, StatusCode, header, request};
use varvel::{AsyncBody, Scope, WriteBody};
use varvel_toolkit::{
    Blocking, HttpError, Polled,
    websocket::{Handshake, WebSocket},
};

use crate::{Call, Extract, Needs};

/// A request for a WebSocket; in a sync handler a `WebSocketUpgrade<Blocking>`.
///
/// ```
/// use varvel_micro::{App, Blocking, WebSocket, WebSocketUpgrade};
///
/// async fn echo(mut socket: WebSocket) {
///     while let Ok(Some(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             break;
///         }
///     }
/// }
///
/// let mut app = App::new();
/// app.get("/echo", async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo));
/// // Sync: it occupies a thread for as long as it is open.
/// app.get("/greet/{name}", |name: String, upgrade: WebSocketUpgrade<Blocking>| {
///     upgrade.on_upgrade(move |mut socket| {
///         let _ = socket.send(format!("Hello, {name}!"));
///     })
/// });
/// # let client = varvel_test::Client::new(app);
/// # let request = client.get("/greet/you").header("sec-websocket-version", "13");
/// # let mut socket = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").upgrade("websocket");
/// # assert_eq!(socket.receive(13), b"\x81\x0bHello, you!");
/// # assert_eq!(client.get("/echo").send().status(), 426);
/// ```
///
/// The route is one of GET. Hooks are called for the handshake as for any request, and the handler may respond in another way.
/// The argument takes everything with it, so it must come last. A request that does not ask for a WebSocket gets 426;
/// `Option<WebSocketUpgrade>` is `None` for it.
///
/// Browsers let any page connect, and send your cookies along. So a page of another origin than the request's own host gets
/// 403, unless the handshake [allows](Handshake::allow_origin) it.
pub struct WebSocketUpgrade<F = Polled> {
    head: request::Parts,
    scope: Scope,
    handshake: Handshake,
    form: PhantomData<F>,
}

impl<F> WebSocketUpgrade<F> {
    /// Replaces [`Handshake::new`], to agree on subprotocols, origins, limits and pings.
    #[must_use]
    pub fn with(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }

    /// The subprotocols that the client offers, its favourite first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        let lists = self.head.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
    }
}

impl WebSocketUpgrade<Polled> {
    /// The response that opens the WebSocket. `run` gets it, and the connection ends with it.
    ///
    /// # Errors
    /// Why the handshake is refused; see [`Handshake`].
    pub fn on_upgrade<R, Fut>(mut self, run: R) -> Result<Response<AsyncBody>, HttpError>
    where
        R: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Ok(self.handshake.agree(&self.head.method, &self.head.headers, &mut self.scope)?.open(run))
    }
}

impl WebSocketUpgrade<Blocking> {
    /// The response that opens the WebSocket. `run` gets it on a thread of its own, and the connection ends with it.
    ///
    /// # Errors
    /// Why the handshake is refused; see [`Handshake`].
    pub fn on_upgrade(
        mut self,
        run: impl FnOnce(WebSocket<Blocking>) + Send + 'static,
    ) -> Result<Response<WriteBody>, HttpError> {
        Ok(self.handshake.agree(&self.head.method, &self.head.headers, &mut self.scope)?.open_blocking(run))
    }
}

impl<F> Extract<F> for WebSocketUpgrade<F> {
    fn needs(needs: &mut Needs) {
        needs.last("WebSocketUpgrade");
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        if !asks_for_websocket(call) {
            // RFC 9110 section 15.5.22.
            return Err(HttpError::new(StatusCode::UPGRADE_REQUIRED)
                .with_detail("Only WebSockets are served here.")
                .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
                .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
        }
        let scope = Extract::<F>::extract(call)?;
        let head = call.take_head();
        Ok(Self { head, scope, handshake: Handshake::new(), form: PhantomData })
    }
}

/// Whether the request asks for one, by Upgrade or by the extended CONNECT of RFC 8441, whatever else may be wrong with it.
fn asks_for_websocket(call: &Call<'_>) -> bool {
    let lists = call.headers().get_all(header::UPGRADE).iter();
    let mut offered = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    *call.method() == Method::CONNECT || offered.any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocketUpgrade").field(&self.handshake).finish()
    }
}

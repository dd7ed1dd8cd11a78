//! The opening handshake: RFC 6455 section 4.2, and RFC 8441 for extended CONNECT.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tungstenite::handshake::derive_accept_key;
use varvel::{AsyncBody, Caps, Scope, Upgrade, UpgradeKind, WriteBody};

use super::{
    WebSocket,
    connection::{Connection, Limits},
    link::Sleeper,
};
use crate::{Accept, Blocking, HttpError, Polled, origin};

/// What a server agrees to when a client asks for a WebSocket, and the limits of the WebSockets that it opens.
///
/// ```
/// use std::time::Duration;
/// use varvel_toolkit::websocket::Handshake;
///
/// let handshake = Handshake::new()
///     .protocol("chat.v2")
///     .protocol("chat.v1")
///     .allow_origin("https://app.example")
///     .message_bytes_max(64 * 1024)
///     .ping(Duration::from_secs(30), Duration::from_secs(10));
/// # let _ = handshake;
/// ```
///
/// A request that cannot become a WebSocket is answered by [`accept`](Self::accept) itself:
///
/// | status | for |
/// |---|---|
/// | 426, with the supported version | a version other than 13 |
/// | 403 | a page of an origin that is not allowed |
/// | 501 | a server without upgrades |
/// | 400 | anything else |
#[derive(Clone, Debug)]
pub struct Handshake {
    protocols: Vec<String>,
    origins: Vec<String>,
    any_origin: bool,
    limits: Limits,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            protocols: Vec::new(),
            origins: Vec::new(),
            any_origin: false,
            limits: Limits {
                message_bytes_max: 1024 * 1024,
                frame_bytes_max: 1024 * 1024,
                ping: Some((Duration::from_secs(20), Duration::from_secs(20))),
                close_timeout: Duration::from_secs(10),
            },
        }
    }
}

impl Handshake {
    /// No subprotocols, only pages of the request's own host, messages up to 1 MiB, a ping after 20 seconds of silence.
    pub fn new() -> Self {
        Self::default()
    }

    /// A subprotocol that the application speaks. The first of the client's that is among them is chosen. If none is, the
    /// WebSocket is opened without one, and the client may leave.
    #[must_use]
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// An origin whose pages may connect, such as `https://app.example`, beside those of the request's own host, which behind
    /// a trusted proxy is the one that [it tells](crate::middleware::Forwarded). Browsers open WebSockets to anywhere, and
    /// send cookies along; nothing but this keeps pages of others out. Clients that name no origin are no browsers, and
    /// pass.
    ///
    /// # Panics
    /// For what is no origin: without a scheme, with a path, with a `*`, with letters beyond ASCII, or `null`.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl AsRef<str>) -> Self {
        self.origins.push(origin::serialize(origin.as_ref()));
        self
    }

    /// Lets pages of any origin connect: for applications that do not know their users by cookies alone.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// How long a message may be, in bytes, all its frames together. Default: 1 MiB.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.message_bytes_max = bytes;
        self
    }

    /// How long a frame may be, in bytes. Default: 1 MiB.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.frame_bytes_max = bytes;
        self
    }

    /// How long the client may be silent before it is pinged, and how much longer before it is given up. Default: 20 seconds
    /// each.
    #[must_use]
    pub fn ping(mut self, interval: Duration, patience: Duration) -> Self {
        self.limits.ping = Some((interval, patience));
        self
    }

    /// Sends no pings: a client that has vanished is noticed only when something is sent to it.
    #[must_use]
    pub fn no_ping(mut self) -> Self {
        self.limits.ping = None;
        self
    }

    /// How long the client has to answer a Close. Default: 10 seconds.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.limits.close_timeout = timeout;
        self
    }

    /// Opens a WebSocket if the request asks for one, and refuses the request otherwise. `run` gets it, and the connection
    /// ends with it. Header fields may be added to the response.
    pub fn accept<B, F, Fut>(&self, request: &Request<B>, scope: &mut Scope, run: F) -> Response<AsyncBody>
    where
        F: FnOnce(WebSocket<Polled>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        match self.agree(request.method(), request.headers(), scope) {
            Ok(agreed) => agreed.open(run),
            Err(refusal) => refusal.respond(&Accept::of(request.headers())),
        }
    }

    /// [`accept`](Self::accept) for sync applications: `run` has a thread of its own and may block on it.
    pub fn accept_blocking<B>(
        &self,
        request: &Request<B>,
        scope: &mut Scope,
        run: impl FnOnce(WebSocket<Blocking>) + Send + 'static,
    ) -> Response<WriteBody> {
        match self.agree(request.method(), request.headers(), scope) {
            Ok(agreed) => agreed.open_blocking(run),
            Err(refusal) => refusal.respond(&Accept::of(request.headers())),
        }
    }

    /// The first half of [`accept`](Self::accept), to decide something before the WebSocket is opened, or to respond to
    /// errors in another way.
    ///
    /// ```
    /// use http::Request;
    /// use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
    /// use varvel_toolkit::{HttpError, websocket::Handshake};
    ///
    /// async fn chat(request: Request<AsyncBody>, mut scope: Scope) -> AsyncAppResult {
    ///     let handshake = Handshake::new().protocol("chat.v2");
    ///     let agreed = handshake.agree(request.method(), request.headers(), &mut scope)?;
    ///     if agreed.protocol().is_none() {
    ///         return Err(HttpError::bad_request("Only chat.v2 is spoken here.").into());
    ///     }
    ///     Ok(agreed.open(|mut socket| async move {
    ///         let _ = socket.send("hello").await;
    ///     }))
    /// }
    /// # let _ = app_fn(chat);
    /// ```
    ///
    /// # Errors
    /// Those of the table above.
    pub fn agree(
        &self,
        method: &Method,
        headers: &HeaderMap,
        scope: &mut Scope,
    ) -> Result<Agreed, HttpError> {
        let Some(upgrade) = scope.take_upgrade() else {
            let able = scope.worker().info().caps.contains(Caps::UPGRADE);
            return Err(if able { no_upgrade() } else { HttpError::new(StatusCode::NOT_IMPLEMENTED) });
        };
        if !upgrade.protocols().any(|name| name.eq_ignore_ascii_case("websocket")) {
            return Err(no_upgrade());
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION) != Ok(Some("13")) {
            return Err(other_version());
        }
        let mut head = Response::new(());
        match upgrade.kind() {
            UpgradeKind::Http1 => {
                if *method != Method::GET {
                    return Err(HttpError::bad_request("A WebSocket is opened by GET."));
                }
                let key = match only(headers, &header::SEC_WEBSOCKET_KEY) {
                    Ok(Some(key)) if is_nonce(key) => key,
                    _ => return Err(bad_key()),
                };
                let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
                let accept = accept.map_err(|_| bad_key())?;
                head.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                head.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            UpgradeKind::ExtendedConnect => {}
            _ => return Err(no_upgrade()),
        }
        match only(headers, &header::ORIGIN) {
            Ok(None) => {}
            Ok(Some(origin)) if self.allows(origin, scope) => {}
            _ => {
                let error = HttpError::new(StatusCode::FORBIDDEN);
                return Err(error.with_detail("Pages of this origin may not connect."));
            }
        }
        let protocol = self.choose(headers);
        if let Some(value) = protocol.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
            head.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        Ok(Agreed { upgrade, head, protocol, limits: self.limits })
    }

    fn allows(&self, origin: &str, scope: &Scope) -> bool {
        self.any_origin
            || self.origins.iter().any(|allowed| allowed == origin)
            || origin::is_own(origin, scope)
    }

    fn choose(&self, headers: &HeaderMap) -> Option<Box<str>> {
        let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let mut offered = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        let chosen = offered.find(|name| self.protocols.iter().any(|spoken| spoken == name.trim()))?;
        Some(chosen.trim().into())
    }
}

/// A successful [`Handshake::agree`]: a WebSocket that can be opened.
#[derive(Debug)]
pub struct Agreed {
    upgrade: Upgrade,
    head: Response<()>,
    protocol: Option<Box<str>>,
    limits: Limits,
}

impl Agreed {
    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The response that opens it. `run` gets it, and the connection ends with it.
    pub fn open<F, Fut>(self, run: F) -> Response<AsyncBody>
    where
        F: FnOnce(WebSocket<Polled>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, head, protocol, limits } = self;
        upgrade.accept(head, move |io| run(WebSocket { connection: Connection::new(io, limits), protocol }))
    }

    /// [`open`](Self::open) for sync applications: `run` has a thread of its own and may block on it.
    pub fn open_blocking(
        self,
        run: impl FnOnce(WebSocket<Blocking>) + Send + 'static,
    ) -> Response<WriteBody> {
        let Self { upgrade, head, protocol, limits } = self;
        upgrade.accept_blocking(head, move |io| {
            run(WebSocket { connection: Connection::new(Sleeper::new(io), limits), protocol });
        })
    }
}

fn no_upgrade() -> HttpError {
    HttpError::bad_request("This is not an upgrade to WebSocket.")
}

fn bad_key() -> HttpError {
    HttpError::bad_request("Sec-WebSocket-Key is not 16 bytes in base64.")
}

fn other_version() -> HttpError {
    HttpError::new(StatusCode::UPGRADE_REQUIRED)
        .with_detail("Only version 13 of WebSocket is supported.")
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// The one value of a field that must not come twice.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|value| Some(value.trim())).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Whether it is 16 bytes in base64.
fn is_nonce(key: &str) -> bool {
    let digits = key.strip_suffix("==").unwrap_or_default();
    digits.len() == 22 && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

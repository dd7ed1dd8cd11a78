//! Requests to be sent.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};

use crate::{Client, Exchange, Failure, Response, Tunnel, response::unseen};

/// A request that is being written; [`send`](Self::send), [`start`](Self::start) and their like send it.
///
/// ```
/// use http::Response;
/// use varvel::app_fn;
/// use varvel_test::Client;
///
/// let client = Client::new(app_fn(|request, _| async { Ok(Response::new(request.into_body())) }));
/// let echo = client.post("/echo?times=1").header("accept", "text/plain").body("hello");
/// assert_eq!(echo.send().text(), "hello");
/// // The same in five frames, with a trailer field behind them, which has it chunked.
/// let echo = client.post("/echo").body("hello").in_pieces_of(1).trailer("x-sum", "532").header("te", "trailers");
/// assert_eq!(echo.send().trailers().unwrap()["x-sum"], "532");
/// ```
///
/// Whatever cannot be sent as HTTP/1 is the test's own mistake, and panics.
#[must_use = "a request does nothing until it is sent"]
#[derive(Debug)]
pub struct RequestBuilder<'c> {
    client: &'c Client,
    method: Method,
    target: String,
    version: Version,
    headers: HeaderMap,
    content: Content,
    trailers: HeaderMap,
    piece_bytes: usize,
}

#[derive(Debug)]
enum Content {
    None,
    Whole(Bytes),
    /// Sent by the exchange, so many bytes if that is declared.
    Open(Option<u64>),
}

/// A request head as both kinds of targets take it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) target: Bytes,
    /// What the application gets of the target.
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// With Host, and with the field that delimits the body.
    pub(crate) headers: HeaderMap,
    pub(crate) authority: Option<Authority>,
    /// The length that the body declares.
    pub(crate) length: Option<u64>,
    pub(crate) has_body: bool,
    pub(crate) expectation: Expectation,
}

/// What the request expects (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    None,
    /// `100-continue`: the body, if there is one, is sent when the server asks for it.
    Continue,
    Unknown,
}

impl<'c> RequestBuilder<'c> {
    #[track_caller]
    pub(crate) fn new(client: &'c Client, method: Method, target: &str) -> Self {
        assert!(uri(&method, target).is_some(), "{target:?} is not a request target");
        Self {
            client,
            method,
            target: target.to_owned(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            content: Content::None,
            trailers: HeaderMap::new(),
            piece_bytes: usize::MAX,
        }
    }

    /// Adds a field line, behind others of the same name. A Host of the test's own replaces the one that is sent
    /// otherwise.
    ///
    /// # Panics
    /// If name or value are none; also for Content-Length and Transfer-Encoding, which follow from the body.
    #[track_caller]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: std::fmt::Debug>,
        V: TryInto<HeaderValue, Error: std::fmt::Debug>,
    {
        let name = name.try_into().expect("the name of a field");
        let framing = name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING;
        assert!(!framing, "{name} follows from the body: see body, streaming and streaming_exactly");
        self.headers.append(name, value.try_into().expect("the value of a field"));
        self
    }

    /// Sends it as another version than HTTP/1.1, which is HTTP/1.0.
    ///
    /// # Panics
    /// If it is neither.
    #[track_caller]
    pub fn version(mut self, version: Version) -> Self {
        assert!(matches!(version, Version::HTTP_10 | Version::HTTP_11), "{version:?} is not spoken here");
        self.version = version;
        self
    }

    /// Gives it a body, whose length is declared.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.content = Content::Whole(body.into());
        self
    }

    /// Gives it a body of JSON, and says so in Content-Type.
    ///
    /// # Panics
    /// If the value has no form in JSON.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json(self, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("a value that has a form in JSON");
        self.header(header::CONTENT_TYPE, "application/json").body(body)
    }

    /// Has the body arrive in pieces of so many bytes, each a frame of its own; a live server may see them joined.
    ///
    /// # Panics
    /// If that is none.
    #[track_caller]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a piece has at least one byte");
        self.piece_bytes = bytes;
        self
    }

    /// Sends a trailer field behind the body, which is chunked then.
    ///
    /// # Panics
    /// If name or value are none.
    #[track_caller]
    pub fn trailer<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: std::fmt::Debug>,
        V: TryInto<HeaderValue, Error: std::fmt::Debug>,
    {
        let name = name.try_into().expect("the name of a field");
        self.trailers.append(name, value.try_into().expect("the value of a field"));
        self
    }

    /// Leaves the body to the exchange, which sends it piece by piece; it is chunked.
    pub fn streaming(mut self) -> Self {
        self.content = Content::Open(None);
        self
    }

    /// Leaves the body to the exchange, with a declared length.
    pub fn streaming_exactly(mut self, bytes: u64) -> Self {
        self.content = Content::Open(Some(bytes));
        self
    }

    /// Sends it, and waits for the whole answer of a well-behaved application.
    ///
    /// # Panics
    /// If there is no whole answer: the application waits for something that does not come, the connection is closed,
    /// the answer breaks off; if the answer breaks the contract and the server had to mend it; or if the application
    /// panicked, be it that a lint around it did: with that panic, although a server answers it with 500. On a live target
    /// that 500 is all there is to see. [`try_send`](Self::try_send) shows what happened instead. An error that the
    /// application returned is an answer, such as 500.
    ///
    /// ```should_panic
    /// # use varvel::app_fn;
    /// # use varvel_test::Client;
    /// let client = Client::new(app_fn(|_, _| async { panic!("no such table") }));
    /// client.get("/").send(); // panics: no such table
    /// ```
    #[track_caller]
    pub fn send(self) -> Response {
        self.start().response()
    }

    /// Sends it, and waits for the whole answer, whatever it is: the 500 that stands in for a panic, or one that the server
    /// had to mend. [`Response::reports`] tells of both.
    ///
    /// ```
    /// # use varvel::app_fn;
    /// # use varvel_test::Client;
    /// let client = Client::new(app_fn(|_, _| async { panic!("no such table") }));
    /// let response = client.get("/").try_send().unwrap();
    /// assert_eq!(response.status(), 500);
    /// assert!(response.reports()[0].to_string().contains("no such table"));
    /// ```
    ///
    /// # Errors
    /// If there is no whole answer.
    pub fn try_send(self) -> Result<Response, Failure> {
        self.try_start()?.try_response()
    }

    /// Sends it, and lets the application run until it waits.
    ///
    /// # Panics
    /// If the server takes no connection.
    #[track_caller]
    pub fn start(self) -> Exchange {
        match self.try_start() {
            Ok(exchange) => exchange,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Sends it, and does not let the application run: each of its polls is one [`Exchange::step`].
    ///
    /// # Panics
    /// If the server takes no connection, and on a live target, which does not wait.
    #[track_caller]
    pub fn start_unpolled(self) -> Exchange {
        assert!(!self.client.is_live(), "{}", unseen("a single poll"));
        match self.connect(false) {
            Ok(exchange) => exchange,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Asks for an upgrade to this protocol, or several separated by commas, and takes the connection over.
    ///
    /// # Panics
    /// If the application does not accept.
    #[track_caller]
    pub fn upgrade(self, protocol: &str) -> Tunnel {
        match self.try_upgrade(protocol) {
            Ok(tunnel) => tunnel,
            Err(response) => panic!("no upgrade, but {response:?}"),
        }
    }

    /// Asks for an upgrade to this protocol.
    ///
    /// # Errors
    /// The answer of an application that does not accept.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn try_upgrade(self, protocol: &str) -> Result<Tunnel, Response> {
        self.header(header::CONNECTION, "upgrade").header(header::UPGRADE, protocol).start().into_tunnel()
    }

    /// Sends a CONNECT, and takes the connection over.
    ///
    /// # Panics
    /// If the application does not accept; `start().into_tunnel()` gives its answer instead.
    #[track_caller]
    pub fn tunnel(self) -> Tunnel {
        match self.start().into_tunnel() {
            Ok(tunnel) => tunnel,
            Err(response) => panic!("no tunnel, but {response:?}"),
        }
    }

    fn try_start(self) -> Result<Exchange, Failure> {
        self.connect(true)
    }

    fn connect(self, run: bool) -> Result<Exchange, Failure> {
        let Self { client, method, target, version, mut headers, content, trailers, piece_bytes } = self;
        let authority = authority(&method, &target, &headers, client);
        if !headers.contains_key(header::HOST) {
            let host = authority.as_ref().map_or("", Authority::as_str);
            headers.insert(header::HOST, HeaderValue::try_from(host).expect("an authority is a field value"));
        }
        let chunked = !trailers.is_empty();
        let (has_body, length) = match &content {
            Content::None => (chunked, None),
            Content::Whole(_) if chunked => (true, None),
            Content::Whole(body) => (true, Some(body.len() as u64)),
            Content::Open(length) => (true, *length),
        };
        match length {
            Some(length) => {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            None if has_body => {
                assert!(version >= Version::HTTP_11, "HTTP/1.0 has no chunks: declare the body's length");
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            None => {}
        }
        let uri = uri(&method, &target).expect("it was checked at first");
        let target = Bytes::from(target);
        let expectation = match headers.get(header::EXPECT) {
            // HTTP/1.0 knows no expectations.
            Some(_) if version < Version::HTTP_11 => Expectation::None,
            None => Expectation::None,
            Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Expectation::Continue,
            Some(_) => Expectation::Unknown,
        };
        let draft = Draft { method, target, uri, version, headers, authority, length, has_body, expectation };
        let open = matches!(content, Content::Open(_));
        let mut exchange = client.exchange(draft, open)?;
        if let Content::Whole(mut body) = content {
            while !body.is_empty() {
                exchange.line.send(body.split_to(piece_bytes.min(body.len())));
            }
        }
        if !open && has_body {
            exchange.line.end_body((!trailers.is_empty()).then_some(trailers));
        }
        if run {
            exchange.line.run();
        }
        Ok(exchange)
    }
}

/// Whom the request is addressed to (spec S8).
fn authority(method: &Method, target: &str, headers: &HeaderMap, client: &Client) -> Option<Authority> {
    let named = match target.split_once("://") {
        _ if *method == Method::CONNECT => Some(target),
        Some((_, rest)) if !target.starts_with('/') => rest.split(['/', '?']).next(),
        _ => headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default()),
    };
    match named {
        Some(named) => named.parse().ok(),
        None => Some(client.authority()),
    }
}

/// The URI that a target is to the application (spec S6, S7); `None` if it is no target.
fn uri(method: &Method, target: &str) -> Option<Uri> {
    let path = match target.split_once("://") {
        _ if !target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>".contains(&byte)) => return None,
        _ if *method == Method::CONNECT => {
            return target.parse().ok().filter(|uri: &Uri| uri.authority().is_some() && uri.path() == "");
        }
        _ if target == "*" && *method == Method::OPTIONS => "*".to_owned(),
        _ if target.starts_with('/') => target.to_owned(),
        Some(("http" | "https", rest)) => match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('?') => format!("/{}", &rest[at..]),
            Some(at) => rest[at..].to_owned(),
            None if *method == Method::OPTIONS => "*".to_owned(),
            None => "/".to_owned(),
        },
        _ => return None,
    };
    // Two slashes ahead would be taken for an authority.
    path.parse::<PathAndQuery>().ok().map(Uri::from)
}

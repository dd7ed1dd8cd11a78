//! Calls an application in tests, by the names of `falcon.testing`.

use std::fmt::{self, Display};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use serde::Serialize;
use varvel::{App, AppFactory, AsyncApp, AsyncAppFactory};
use varvel_test::{Client, RequestBuilder, Response, Tunnel};
use varvel_toolkit::query;

/// `falcon.testing.TestClient`: simulates requests, without a server.
///
/// ```
/// use http::header;
/// use varvel_resource::{App, Request, Resource, Responders, Response, Result, testing::TestClient};
///
/// struct Orders;
///
/// impl Resource for Orders {
///     fn responders(on: Responders<Self>) -> Responders<Self> {
///         on.post(Self::on_post)
///     }
/// }
///
/// impl Orders {
///     fn on_post(&self, req: &mut Request, resp: &mut Response) -> Result {
///         let items: Vec<String> = req.media()?;
///         let (table, waiter) = (req.get_param("table"), req.cookies().get("waiter").map(|name| name.into_owned()));
///         resp.set_media(&(items, table, waiter))
///     }
/// }
///
/// let mut app = App::new();
/// app.add_route("/orders", Orders)?;
/// let client = TestClient::new(app).with_header(header::ACCEPT, "text/plain");
///
/// let answer = client.simulate_post("/orders").param("table", 7).cookie("waiter", "ada").json(&["tea"]).send();
/// assert_eq!(answer.status(), 200);
/// assert_eq!(answer.json::<(Vec<String>, String, String)>(), (vec!["tea".into()], "7".into(), "ada".into()));
///
/// assert_eq!(client.simulate_get("/orders").send().text(), "405 Method Not Allowed\n");
/// # Ok::<_, varvel_toolkit::router::RouteError>(())
/// ```
#[derive(Debug)]
pub struct TestClient {
    client: Client,
    headers: Vec<(HeaderName, HeaderValue)>,
}

macro_rules! simulate {
    ($($function:ident $method:ident)*) => {$(
        #[doc = concat!("Simulates ", stringify!($method), ".")]
        pub fn $function(&self, path: &str) -> Simulation<'_> {
            self.simulate_request(Method::$method, path)
        }
    )*};
}

impl TestClient {
    /// A client of this application in its async form, which event loops call; sync responders run on threads beside it.
    /// Middleware is started up.
    ///
    /// An [`App`](crate::App), or one with middleware of the toolkit around it, is a factory of itself:
    ///
    /// ```
    /// use varvel_resource::{App, testing::TestClient};
    /// use varvel_toolkit::{Middleware, middleware::Cors};
    ///
    /// let client = TestClient::new(Cors::any().around(App::new()));
    /// let answer = client.simulate_get("/").header("origin", "https://a.example").send();
    /// assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    /// ```
    ///
    /// # Panics
    /// If the start-up fails.
    pub fn new<F>(app: F) -> Self
    where
        F: AsyncAppFactory + 'static,
        F::App: AsyncApp<Future: 'static> + 'static,
    {
        Self::of(Client::factory(app).expect("an application that starts"))
    }

    /// A client of this application in its sync form, which servers of threads call. Middleware is started up.
    ///
    /// # Panics
    /// If the start-up fails.
    pub fn sync<F>(app: F) -> Self
    where
        F: AppFactory + 'static,
        F::App: App + Send + Sync + 'static,
    {
        Self::of(Client::sync_factory(app).expect("an application that starts"))
    }

    fn of(client: Client) -> Self {
        Self { client, headers: Vec::new() }
    }

    /// Has all requests have a field: `headers`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Simulates a request of any method.
    pub fn simulate_request(&self, method: Method, path: &str) -> Simulation<'_> {
        Simulation {
            client: &self.client,
            method,
            target: path.to_owned(),
            headers: self.headers.clone(),
            cookies: Vec::new(),
            body: None,
        }
    }

    simulate! {
        simulate_get GET
        simulate_head HEAD
        simulate_post POST
        simulate_put PUT
        simulate_patch PATCH
        simulate_delete DELETE
        simulate_options OPTIONS
    }

    /// Simulates the handshake of a WebSocket: `simulate_ws`. What goes through the tunnel are the frames of RFC 6455.
    ///
    /// # Errors
    /// The answer of an application that does not accept.
    pub fn simulate_ws(&self, path: &str) -> Result<Tunnel, Response> {
        let request = self.simulate_get(path).header(header::SEC_WEBSOCKET_VERSION, "13");
        let request = request.header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        request.into_request().try_upgrade("websocket")
    }

    /// The client behind it: for time, reports and the stop.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// A request to be said more of, and [sent](Self::send).
#[must_use = "nothing is simulated until it is sent"]
pub struct Simulation<'c> {
    client: &'c Client,
    method: Method,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    cookies: Vec<String>,
    body: Option<Bytes>,
}

impl<'c> Simulation<'c> {
    /// A field of the head: `headers`.
    ///
    /// # Panics
    /// If name or value cannot be sent.
    #[track_caller]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
        V: TryInto<HeaderValue, Error: fmt::Debug>,
    {
        let (name, value) = (name.try_into().expect("the name of a field"), value.try_into());
        self.headers.push((name, value.expect("the value of a field")));
        self
    }

    /// A parameter of the query: `params`.
    pub fn param(mut self, name: &str, value: impl Display) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(&query::encode(&[(name, &value)]));
        self
    }

    /// A cookie: `cookies`.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.push(format!("{name}={value}"));
        self
    }

    /// The content: `body`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The content as JSON, with its Content-Type: `json`.
    ///
    /// # Panics
    /// If the value has no such form.
    pub fn json(self, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("a value that can be JSON");
        self.header(header::CONTENT_TYPE, "application/json").body(body)
    }

    /// The content as a URL-encoded form, with its Content-Type.
    pub fn form(self, fields: &[(&str, &dyn Display)]) -> Self {
        self.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(query::encode(fields))
    }

    /// Sends it, and waits for the whole answer.
    ///
    /// # Panics
    /// As [`RequestBuilder::send`] does, where there is no whole answer.
    #[track_caller]
    pub fn send(self) -> Response {
        self.into_request().send()
    }

    /// The request as [`varvel_test`] has it: for bodies that come piece by piece, answers that are read so, and clients
    /// that leave.
    pub fn into_request(self) -> RequestBuilder<'c> {
        let mut request = self.client.request(self.method, &self.target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if !self.cookies.is_empty() {
            request = request.header(header::COOKIE, self.cookies.join("; "));
        }
        match self.body {
            Some(body) => request.body(body),
            None => request,
        }
    }
}

impl fmt::Debug for Simulation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

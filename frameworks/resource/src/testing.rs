//! Calls an application in tests, by the names of `falcon.testing`. For streams, disconnects and time use
//! [`varvel_test::Client`] itself.

use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;
use varvel_test::{Client, RequestBuilder, Response};

use crate::App;

/// `falcon.testing.TestClient`: simulates requests, without a server and in the async form, which has sync responders
/// offloaded.
///
/// ```
/// use varvel_resource::{App, testing::TestClient};
///
/// let client = TestClient::new(App::new());
/// assert_eq!(client.simulate_get("/nothing").status(), 404);
/// ```
#[derive(Debug)]
pub struct TestClient {
    client: Client,
    headers: Vec<(HeaderName, HeaderValue)>,
}

macro_rules! simulate {
    ($($function:ident $method:ident)*) => {$(
        #[doc = concat!("Simulates ", stringify!($method), ", without a body.")]
        pub fn $function(&self, path: &str) -> Response {
            self.simulate_request(Method::$method, path).send()
        }
    )*};
}

impl TestClient {
    /// A client of this application, whose middleware is started up.
    ///
    /// # Panics
    /// If the start-up fails.
    pub fn new(app: App) -> Self {
        let client = Client::factory(app).expect("an application that starts");
        Self { client, headers: Vec::new() }
    }

    /// Has all requests have a field: `headers`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// A request to be said more of and sent: fields, and a body as bytes or JSON.
    pub fn simulate_request(&self, method: Method, path: &str) -> RequestBuilder<'_> {
        let request = self.client.request(method, path);
        let headers = self.headers.iter().cloned();
        headers.fold(request, |request, (name, value)| request.header(name, value))
    }

    simulate! {
        simulate_get GET
        simulate_head HEAD
        simulate_options OPTIONS
        simulate_delete DELETE
    }

    /// Simulates POST with JSON: `simulate_post(…, json=…)`.
    pub fn simulate_post(&self, path: &str, json: &impl Serialize) -> Response {
        self.simulate_request(Method::POST, path).json(json).send()
    }

    /// Simulates PUT with JSON.
    pub fn simulate_put(&self, path: &str, json: &impl Serialize) -> Response {
        self.simulate_request(Method::PUT, path).json(json).send()
    }

    /// Simulates PATCH with JSON.
    pub fn simulate_patch(&self, path: &str, json: &impl Serialize) -> Response {
        self.simulate_request(Method::PATCH, path).json(json).send()
    }

    /// The client behind it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

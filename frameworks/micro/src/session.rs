//! Sessions: data about a browser, in a cookie that it can read but not change, as Flask's are.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use varvel::AppError;
use varvel_toolkit::{
    HttpError,
    cookies::{Cookie, Cookies, Keys, time::Duration},
    middleware,
};

use crate::{Call, Extract, Needs, extract::taken};

/// How long a session lasts after its last change.
const DAYS: u16 = 31;

/// Data about this browser, kept in a signed cookie: users can read it, so put no secrets there, but cannot change it. All
/// arguments of one call share one session, those of hooks included.
///
/// ```
/// use varvel_micro::{App, Session};
///
/// let mut app = App::new();
/// app.secret(b"32 random bytes or more, from a file");
/// app.get("/", |session: Session| {
///     let visits = session.get("visits").unwrap_or(0) + 1;
///     session.set("visits", visits);
///     format!("Visit {visits}")
/// });
/// # let client = varvel_test::Client::sync(app);
/// # let first = client.get("/").send();
/// # let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
/// # assert_eq!(client.get("/").header("cookie", cookie).send().text(), "Visit 2");
/// ```
///
/// A session lasts for 31 days after its last change. Browsers keep about 4 KiB; more is an error, a 500. What is changed
/// after the head of the response was sent, as in a stream or a WebSocket, is lost.
///
/// A copy of the cookie stays valid for as long as the session lasts, even after [`clear`](Self::clear): whatever must end at
/// once belongs in a database, or in a session that is [kept on the server](#on-the-server).
///
/// The [cookie](crate::App::session_cookie) is `HttpOnly`, `SameSite=Lax`, `Path=/`, and `Secure` where the client's
/// connection is encrypted. A response that depends on the session says so in Vary, and one that changes it is `private` to
/// caches unless it says otherwise.
///
/// # On the server
///
/// What Flask-Session is to Flask is the toolkit's [`Sessions`](middleware::Sessions) around the application. It has a
/// [`Session`](middleware::Session) of its own, which is an argument as well, and is told from this one by its module:
///
/// ```
/// use varvel_micro::{App, Redirect, cookies::Keys};
/// use varvel_toolkit::middleware::{self, MemoryStore, Middleware, Sessions};
///
/// let mut app = App::new();
/// app.post("/sign-in/{name}", |name: String, session: middleware::Session| {
///     session.renew();
///     session.set("name", name).map(|()| Redirect::to("/"))
/// });
/// app.get("/", async |session: middleware::Session| session.get::<String>("name").unwrap_or("nobody".into()));
///
/// let keys = Keys::new("a secret of at least 32 random bytes")?;
/// let app = Sessions::in_store(keys, MemoryStore::new(10_000)).around(app); // varvel_serve::Both(app)
/// # let client = varvel_test::Client::new(app);
/// # let cookie = client.post("/sign-in/ada").send().header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
/// # assert_eq!(client.get("/").header("cookie", cookie).send().text(), "ada");
/// # assert_eq!(client.get("/").send().text(), "nobody");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A program that imports both with `*` says which it means by one line more: `use varvel_micro::Session;`. One that uses both
/// names [the cookie](crate::App::session_cookie) of one of them, as both are `session`.
#[derive(Clone)]
pub struct Session(Arc<Mutex<Loaded>>);

/// What sessions are signed with, and the name of their cookie.
pub(crate) struct Seal {
    pub(crate) keys: Keys,
    pub(crate) cookie: String,
}

/// The content of a session, once it was asked for, and the cookies that it comes from and goes to.
struct Loaded {
    cookies: Cookies,
    seal: Arc<Seal>,
    content: Option<Content>,
    is_changed: bool,
    /// It cannot be kept, whatever else changes.
    is_lost: bool,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Content {
    /// When it was changed, in seconds since 1970.
    at: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    flashes: Vec<Flash>,
}

/// A message for the next page; see [`Session::flash`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Flash {
    /// Its category, such as `error` or `info`: whatever the pages know.
    pub category: String,
    /// Its text.
    pub message: String,
}

impl Loaded {
    fn content(&mut self) -> &mut Content {
        let Self { cookies, seal, content, .. } = self;
        content.get_or_insert_with(|| {
            let content = cookies.get_signed(&seal.keys, &seal.cookie);
            let content = content.and_then(|text| serde_json::from_str::<Content>(&text).ok());
            let lasts = u64::from(DAYS) * 24 * 60 * 60;
            content.filter(|content| now() < content.at + lasts).unwrap_or_default()
        })
    }

    /// Puts the content into the cookies.
    fn keep(&mut self) -> Result<(), AppError> {
        let name = self.seal.cookie.clone();
        let content = self.content();
        if content.values.is_empty() && content.flashes.is_empty() {
            return Ok(self.cookies.remove(name)?);
        }
        content.at = now();
        let text = serde_json::to_string(content)?;
        let cookie = Cookie::build((name, text)).max_age(Duration::days(DAYS.into()));
        let kept = self.cookies.set_signed(&self.seal.keys, cookie);
        kept.map_err(|error| AppError::internal(format!("the session cannot be kept: {error}")))
    }
}

impl<F> Extract<F> for Session {
    fn needs(needs: &mut Needs) {
        needs.some();
        needs.session = true;
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        call.session()
    }
}

/// The session of the toolkit's [`Sessions`](middleware::Sessions) around the application.
impl<F> Extract<F> for middleware::Session {
    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        let session = call.scope().ok_or_else(taken).map(Self::of)?;
        session.map_err(|none| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(none))
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Session {
    pub(crate) fn new(cookies: Cookies, seal: Arc<Seal>) -> Self {
        Self(Arc::new(Mutex::new(Loaded { cookies, seal, content: None, is_changed: false, is_lost: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of this name, if there is one and it is a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.lock().content().values.get(name)?).ok()
    }

    /// Sets a value.
    ///
    /// # Panics
    /// If it cannot be JSON: a map whose keys are not strings, or a `Serialize` that fails.
    pub fn set(&self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("values of a session can be JSON");
        let mut loaded = self.lock();
        loaded.content().values.insert(name.to_owned(), value);
        loaded.is_changed = true;
    }

    /// Removes a value.
    pub fn remove(&self, name: &str) {
        let mut loaded = self.lock();
        let is_removed = loaded.content().values.remove(name).is_some();
        loaded.is_changed |= is_removed;
    }

    /// Removes everything. Call it before signing somebody in, so that nothing of the previous user is left.
    pub fn clear(&self) {
        let mut loaded = self.lock();
        loaded.content = Some(Content::default());
        loaded.is_changed = true;
    }

    /// Leaves a message for the next page.
    pub fn flash(&self, category: &str, message: impl Into<String>) {
        let mut loaded = self.lock();
        loaded.content().flashes.push(Flash { category: category.to_owned(), message: message.into() });
        loaded.is_changed = true;
    }

    /// Takes the messages that were left for this page. Each is returned once.
    pub fn flashes(&self) -> Vec<Flash> {
        let mut loaded = self.lock();
        let flashes = std::mem::take(&mut loaded.content().flashes);
        loaded.is_changed |= !flashes.is_empty();
        flashes
    }

    /// Adds what has changed to the header fields of the response.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) -> Result<(), AppError> {
        let mut loaded = self.lock();
        if loaded.content.is_none() {
            return Ok(());
        }
        // Other browsers would get another response.
        headers.append(header::VARY, HeaderValue::from_static("cookie"));
        // A change that cannot be kept is an error. The page for that error goes out without it, and may show the messages.
        if loaded.is_lost || !std::mem::take(&mut loaded.is_changed) {
            return Ok(());
        }
        let kept = loaded.keep();
        loaded.is_lost = kept.is_err();
        kept?;
        // A shared cache must not hand the cookie to other browsers.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
        loaded.cookies.write_to(headers);
        Ok(())
    }
}

impl fmt::Debug for Session {
    /// The names alone: the values have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")?;
        f.debug_set().entries(self.lock().content().values.keys()).finish()
    }
}

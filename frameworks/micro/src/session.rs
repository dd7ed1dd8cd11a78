//! What is remembered of a browser: a cookie that it can read and cannot change, as Flask's.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use varvel::AppError;
use varvel_toolkit::cookies::{Cookie, Cookies, Keys, time::Duration};

const COOKIE: &str = "session";
/// How long a session lasts behind its last change.
const DAYS: u16 = 31;

/// What is remembered of this browser, in a cookie that is signed: it can be read there, so no secrets, and not be changed.
/// Wherever in a call it is taken, it is the same.
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
/// It lasts for 31 days after it was changed last. A browser keeps some 4 KiB of it. There is no taking back: a copy of the
/// cookie holds as long as it lasts, so what must end at once, end in your database.
#[derive(Clone)]
pub struct Session(Arc<Mutex<Loaded>>);

/// The content of a session, once somebody asks for it, and where it comes from and goes.
struct Loaded {
    cookies: Cookies,
    keys: Arc<Keys>,
    content: Option<Content>,
    is_changed: bool,
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
    /// Of what sort it is: `error`, `info`, whatever the pages know.
    pub category: String,
    /// What it says.
    pub message: String,
}

impl Loaded {
    fn content(&mut self) -> &mut Content {
        let Self { cookies, keys, content, .. } = self;
        content.get_or_insert_with(|| {
            let content = cookies.get_signed(keys, COOKIE);
            let content = content.and_then(|text| serde_json::from_str::<Content>(&text).ok());
            let lasts = u64::from(DAYS) * 24 * 60 * 60;
            content.filter(|content| now() < content.at + lasts).unwrap_or_default()
        })
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Session {
    pub(crate) fn new(cookies: Cookies, keys: Arc<Keys>) -> Self {
        Self(Arc::new(Mutex::new(Loaded { cookies, keys, content: None, is_changed: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of this name, if it is there and such a value.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.lock().content().values.get(name)?).ok()
    }

    /// Remembers a value.
    ///
    /// # Panics
    /// If it cannot be JSON: a map with keys that are no texts, or a `Serialize` that fails.
    pub fn set(&self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("what a session keeps can be JSON");
        let mut loaded = self.lock();
        loaded.content().values.insert(name.to_owned(), value);
        loaded.is_changed = true;
    }

    /// Forgets a value.
    pub fn remove(&self, name: &str) {
        let mut loaded = self.lock();
        let is_removed = loaded.content().values.remove(name).is_some();
        loaded.is_changed |= is_removed;
    }

    /// Forgets everything.
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

    /// Takes the messages that were left, each once.
    pub fn flashes(&self) -> Vec<Flash> {
        let mut loaded = self.lock();
        let flashes = std::mem::take(&mut loaded.content().flashes);
        loaded.is_changed |= !flashes.is_empty();
        flashes
    }

    /// Puts what has changed into the fields of the answer.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) -> Result<(), AppError> {
        let mut loaded = self.lock();
        let Loaded { cookies, keys, content: Some(content), is_changed } = &mut *loaded else {
            return Ok(());
        };
        // Another browser's answer would be another.
        headers.append(header::VARY, HeaderValue::from_static("cookie"));
        // A page for the error of a change that no browser would keep goes out without it.
        if !std::mem::take(is_changed) {
            return Ok(());
        }
        if content.values.is_empty() && content.flashes.is_empty() {
            cookies.remove(COOKIE)?;
        } else {
            content.at = now();
            let max_age = Duration::days(DAYS.into());
            let cookie = Cookie::build((COOKIE, serde_json::to_string(content)?)).max_age(max_age);
            let kept = cookies.set_signed(keys, cookie);
            kept.map_err(|error| AppError::internal(format!("the session cannot be kept: {error}")))?;
        }
        // A shared cache must not hand the cookie to others.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
        cookies.write_to(headers);
        Ok(())
    }
}

impl fmt::Debug for Session {
    /// With the names alone: what belongs to them has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")?;
        f.debug_set().entries(self.lock().content().values.keys()).finish()
    }
}

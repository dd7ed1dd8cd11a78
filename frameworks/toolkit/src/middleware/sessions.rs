//! Sessions: what a server remembers of a browser from one request to the next.

use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, COOKIE},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use varvel::{Body, BoxError, Event, Level, Report, Scope, Watch};

use super::{cache_control::has_directive, vary::vary_by};
use crate::{
    Accept, Form, HttpError, Middleware,
    cookies::{Cookie, Cookies, Keys, time},
};

/// Gives each request a [`Session`], and keeps what is put into it.
///
/// | | the cookie has | good for |
/// |---|---|---|
/// | [`in_cookie`](Self::in_cookie) | all of it, encrypted | little: some 2,500 bytes; nothing to run, and no way to end one from here |
/// | [`in_store`](Self::in_store) | its id, signed | more, and to be ended by whoever has the store |
///
/// A session lives for so long since it was changed last, or used in the second half of its life. One that stays
/// empty is not kept, and costs a client no cookie. Concurrent requests of one browser each have it as it was when
/// they began, and the last to be answered counts; but what was ended in a store meanwhile stays so.
///
/// What is put in after the call, while the body is written, is lost: the head has gone out. So is what belongs to a
/// call that fails, also if it was answered by a status of 500 or more.
///
/// ```
/// use http::Request;
/// use varvel::{AppResult, ReadBody, Scope, sync_fn};
/// use varvel_toolkit::{
///     cookies::Keys, respond,
///     middleware::{MemoryStore, Middleware, Session, Sessions},
/// };
///
/// let app = sync_fn(|request: Request<ReadBody>, scope: Scope| -> AppResult {
///     let session = Session::of(&scope)?;
///     if request.uri().path() == "/login" {
///         session.renew();
///         session.set("user", "ferris")?;
///     }
///     let user: Option<String> = session.get("user");
///     Ok(respond::text(user.unwrap_or("nobody".to_owned())))
/// });
/// let keys = Keys::new("a secret of at least 32 random bytes")?;
/// let app = Sessions::in_store(keys, MemoryStore::new(10_000)).around(app);
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.get("/").send().text(), "nobody");
/// # let response = client.get("/login").send();
/// # let cookie = response.header("set-cookie").unwrap().split(';').next().unwrap();
/// # assert_eq!(client.get("/").header("cookie", cookie).send().text(), "ferris");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    keys: Keys,
    store: Option<Arc<dyn SessionStore>>,
    cookie: String,
    lifetime: Duration,
    is_secure: Option<bool>,
}

impl Sessions {
    /// Keeps sessions with the browser, encrypted.
    pub fn in_cookie(keys: Keys) -> Self {
        let lifetime = Duration::from_secs(24 * 60 * 60);
        Self { keys, store: None, cookie: "session".to_owned(), lifetime, is_secure: None }
    }

    /// Keeps sessions here, and their ids with the browser. An `Arc` of a store is one as well, for those who share
    /// it.
    pub fn in_store(keys: Keys, store: impl SessionStore + 'static) -> Self {
        Self { store: Some(Arc::new(store)), ..Self::in_cookie(keys) }
    }

    /// The name of the cookie, `session` unless set. Where all connections are encrypted `__Host-session` is better: no other
    /// host of the same domain can set that, to keep users out or to have them work in a session of its own.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.cookie = name.into();
        self
    }

    /// How long one lives without being changed or used, a day unless set; at most the 400 days for which browsers keep
    /// cookies (RFC 6265bis section 5.5).
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.min(Duration::from_secs(400 * 24 * 60 * 60));
        self
    }

    /// Whether the browser sends the cookie over encrypted connections alone; unless set, as
    /// [`cookies`](crate::cookies) tells.
    #[must_use]
    pub fn secure(mut self, is_secure: bool) -> Self {
        self.is_secure = Some(is_secure);
        self
    }

    /// The session that a request has a right to.
    fn find(&self, cookies: &Cookies, now: SystemTime) -> Result<State, BoxError> {
        let found = match &self.store {
            None => cookies.get_private(&self.keys, &self.cookie).and_then(|text| {
                let record = serde_json::from_str(&text).ok()?;
                Some((String::new(), record))
            }),
            Some(store) => match cookies.get_signed(&self.keys, &self.cookie) {
                Some(id) => store.load(&id)?.map(|record| (id, record)),
                None => None,
            },
        };
        Ok(match found {
            Some((id, record)) if record.expires > now => {
                let is_late = record.expires < now + self.lifetime / 2;
                State { id: Some(id), values: record.values, is_changed: is_late, ..State::default() }
            }
            _ => State::default(),
        })
    }

    /// Keeps what has become of a session, and tells the browser.
    fn keep(&self, state: &mut State, cookies: &mut Cookies, now: SystemTime) -> Result<(), BoxError> {
        let before = state.id.take();
        if state.is_renewed || state.values.is_empty() {
            if let (Some(store), Some(id)) = (&self.store, &before) {
                store.remove(id)?;
            }
        }
        if state.values.is_empty() {
            if before.is_some() {
                cookies.remove(self.cookie.clone())?;
            }
            return Ok(());
        }
        let record = Record { values: std::mem::take(&mut state.values), expires: now + self.lifetime };
        let max_age = time::Duration::try_from(self.lifetime).unwrap_or(time::Duration::MAX);
        let cookie = |value| Cookie::build((self.cookie.clone(), value)).max_age(max_age);
        match &self.store {
            None => cookies.set_private(&self.keys, cookie(serde_json::to_string(&record)?))?,
            Some(store) => {
                let id = match before {
                    Some(id) if !state.is_renewed => {
                        // Whoever ended it meanwhile, by a logout in another tab, meant what is put in here as well.
                        if !store.update(&id, record)? {
                            cookies.remove(self.cookie.clone())?;
                            return Ok(());
                        }
                        id
                    }
                    _ => {
                        let id = new_id()?;
                        store.insert(&id, record)?;
                        id
                    }
                };
                cookies.set_signed(&self.keys, cookie(id))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetime)
            .field("has_store", &self.store.is_some())
            .finish_non_exhaustive()
    }
}

/// 192 bits that nobody can guess.
fn new_id() -> Result<String, BoxError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Middleware for Sessions {
    type Note = SessionNote;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<SessionNote, Response<Body<F::Out>>> {
        let mut cookies = Cookies::of(request.headers(), scope);
        if let Some(is_secure) = self.is_secure {
            cookies = cookies.secure(is_secure);
        }
        let accept = Accept::of(request.headers());
        let state = match self.find(&cookies, SystemTime::now()) {
            Ok(state) => state,
            Err(error) => return Err(unavailable::<F>(&error, &scope.watch(), &accept)),
        };
        let session = Session(Arc::new(Mutex::new(state)));
        scope.insert(session.clone());
        Ok(SessionNote { session, cookies, accept, watch: scope.watch() })
    }

    fn response<F: Form>(
        &self,
        note: SessionNote,
        mut response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        let SessionNote { session, mut cookies, accept, watch } = note;
        let mut state = session.lock();
        if response.status().is_server_error() {
            // As it was before the call, of which half may be done.
            state.is_changed = false;
        }
        if state.is_changed {
            if let Err(error) = self.keep(&mut state, &mut cookies, SystemTime::now()) {
                return unavailable::<F>(&error, &watch, &accept);
            }
        }
        let headers = response.headers_mut();
        if state.is_seen || state.is_changed {
            // What it says is for one browser.
            vary_by(headers, &COOKIE);
        }
        if state.is_changed && !has_directive(headers, "private") && !has_directive(headers, "no-store") {
            // Whatever else is said: a shared cache would hand the cookie to others.
            headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        cookies.write_to(headers);
        response
    }
}

/// A session that cannot be had or kept is better not answered than answered wrong.
fn unavailable<F: Form>(error: &BoxError, watch: &Watch, accept: &Accept) -> Response<Body<F::Out>> {
    let message = format!("sessions: {error}");
    watch.report(&Report::new(Event::Log { level: Level::Error, message: &message }));
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE).respond(accept)
}

/// What [`Sessions`] remembers of a request until its answer.
#[derive(Debug)]
pub struct SessionNote {
    session: Session,
    cookies: Cookies,
    accept: Accept,
    watch: Watch,
}

/// The session of a request: names with values of any type that JSON can hold.
///
/// A handle, whose clones are the same session.
#[derive(Clone)]
pub struct Session(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Under which it is kept, if it is.
    id: Option<String>,
    values: Map<String, Value>,
    /// It is to be kept.
    is_changed: bool,
    /// Under another id.
    is_renewed: bool,
    /// Somebody has looked at it, so the answer may depend on it.
    is_seen: bool,
}

impl Session {
    /// That of a request.
    ///
    /// # Errors
    /// If no [`Sessions`] are around the application.
    pub fn of(scope: &Scope) -> Result<Self, NoSession> {
        scope.get::<Self>().cloned().ok_or(NoSession)
    }

    /// A value, if there is one of this name and it is of this type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let mut state = self.lock();
        state.is_seen = true;
        T::deserialize(state.values.get(name)?).ok()
    }

    /// Puts a value in, in place of another of this name.
    ///
    /// # Errors
    /// If it has no form in JSON.
    pub fn set(&self, name: impl Into<String>, value: impl Serialize) -> serde_json::Result<()> {
        let value = serde_json::to_value(value)?;
        let mut state = self.lock();
        state.values.insert(name.into(), value);
        state.is_changed = true;
        Ok(())
    }

    /// Takes a value out.
    pub fn remove(&self, name: &str) {
        let mut state = self.lock();
        state.is_changed |= state.values.remove(name).is_some();
    }

    /// Ends it: all values are gone, the store forgets it, and the browser its cookie. What is put in after that begins
    /// another.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.values.clear();
        state.is_renewed = true;
        state.is_changed = true;
    }

    /// Gives it another id, and ends that which it had. To be done at each login: else who has put an id of their own
    /// into a browser beforehand is logged in along with its user.
    pub fn renew(&self) {
        let mut state = self.lock();
        state.is_renewed = true;
        state.is_changed = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says nothing of what is inside.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("values", &self.lock().values.len()).finish_non_exhaustive()
    }
}

/// There are no [`Sessions`] around the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSession;

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are no sessions around this application")
    }
}

impl Error for NoSession {}

/// A session as it is kept. Its `Debug` says nothing of what is inside.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was put into it.
    pub values: Map<String, Value>,
    /// When it is over.
    #[serde(with = "unix_seconds")]
    pub expires: SystemTime,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("values", &self.values.len()).field("expires", &self.expires).finish()
    }
}

/// Shorter than what `serde` makes of a moment, since it goes into cookies.
mod unix_seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(moment: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let seconds = Duration::from_secs(u64::deserialize(from)?);
        UNIX_EPOCH.checked_add(seconds).ok_or_else(|| serde::de::Error::custom("beyond all times"))
    }
}

/// Where sessions are kept.
///
/// It is asked on the thread that calls the application, so on an event loop it must not wait for anything. Records
/// that are over may be given all the same; they count for nothing.
pub trait SessionStore: Send + Sync {
    /// The session of this id.
    ///
    /// # Errors
    /// If there is no telling; the client gets 503.
    fn load(&self, id: &str) -> Result<Option<Record>, BoxError>;

    /// Keeps a new session.
    ///
    /// # Errors
    /// If it cannot be kept; the client gets 503.
    fn insert(&self, id: &str, record: Record) -> Result<(), BoxError>;

    /// Keeps what has become of a session, in one step with a look whether it is still there: `false` if it was removed
    /// meanwhile, and then it stays so.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    fn update(&self, id: &str, record: Record) -> Result<bool, BoxError>;

    /// Forgets a session.
    ///
    /// # Errors
    /// If it may come back; the client gets 503.
    fn remove(&self, id: &str) -> Result<(), BoxError>;
}

impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn load(&self, id: &str) -> Result<Option<Record>, BoxError> {
        (**self).load(id)
    }

    fn insert(&self, id: &str, record: Record) -> Result<(), BoxError> {
        (**self).insert(id, record)
    }

    fn update(&self, id: &str, record: Record) -> Result<bool, BoxError> {
        (**self).update(id, record)
    }

    fn remove(&self, id: &str) -> Result<(), BoxError> {
        (**self).remove(id)
    }
}

/// Sessions in the memory of this process: gone when it ends, and unknown to others.
///
/// There are never more than so many, each as large as what the application puts into it. Where one comes in addition, that
/// which is over first makes room for it.
///
/// ```
/// use std::sync::Arc;
/// use varvel_toolkit::{cookies::Keys, middleware::{MemoryStore, Sessions}};
///
/// let store = Arc::new(MemoryStore::new(10_000));
/// let sessions = Sessions::in_store(Keys::generate(), Arc::clone(&store));
/// assert_eq!(store.len(), 0);
/// ```
pub struct MemoryStore {
    kept: Mutex<Kept>,
    max: usize,
}

#[derive(Default)]
struct Kept {
    records: HashMap<String, Record>,
    by_expiry: BTreeSet<(SystemTime, String)>,
}

impl MemoryStore {
    /// At most `max` sessions.
    pub fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// How many there are; some may be over.
    pub fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).field("max", &self.max).finish()
    }
}

impl Kept {
    /// In place of another of this id.
    fn insert(&mut self, id: &str, record: Record) {
        self.remove(id);
        self.by_expiry.insert((record.expires, id.to_owned()));
        self.records.insert(id.to_owned(), record);
    }

    fn remove(&mut self, id: &str) {
        if let Some((id, record)) = self.records.remove_entry(id) {
            self.by_expiry.remove(&(record.expires, id));
        }
    }
}

impl SessionStore for MemoryStore {
    fn load(&self, id: &str) -> Result<Option<Record>, BoxError> {
        Ok(self.lock().records.get(id).cloned())
    }

    fn insert(&self, id: &str, record: Record) -> Result<(), BoxError> {
        let mut kept = self.lock();
        kept.insert(id, record);
        while kept.records.len() > self.max {
            let Some((_, first)) = kept.by_expiry.pop_first() else { break };
            kept.records.remove(&first);
        }
        Ok(())
    }

    fn update(&self, id: &str, record: Record) -> Result<bool, BoxError> {
        let mut kept = self.lock();
        let is_there = kept.records.contains_key(id);
        if is_there {
            kept.insert(id, record);
        }
        Ok(is_there)
    }

    fn remove(&self, id: &str) -> Result<(), BoxError> {
        self.lock().remove(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use varvel::{App, AppError, AppResult, Mode, ReadBody, app_fn, sync_fn};
    use varvel_test::{Client, Response as Answer};

    use super::*;
    use crate::respond;

    /// Does with the session what the path says.
    fn act(path: &str, scope: &Scope) -> Result<String, NoSession> {
        let session = Session::of(scope)?;
        match path {
            "/add" => session.set("n", session.get::<u32>("n").unwrap_or(0) + 1).unwrap(),
            "/large" => session.set("n", "x".repeat(5000)).unwrap(),
            "/remove" => session.remove("n"),
            "/clear" => session.clear(),
            "/add-and-fail" => session.set("n", 7).unwrap(),
            "/clear-and-add" => {
                session.clear();
                session.set("n", 1).unwrap();
            }
            "/renew" => session.renew(),
            "/untouched" => return Ok(String::new()),
            _ => {}
        }
        Ok(session.get::<u32>("n").map(|n| n.to_string()).unwrap_or_default())
    }

    fn application() -> impl App + Clone + Send + Sync + 'static {
        sync_fn(|request: Request<ReadBody>, scope: Scope| -> AppResult {
            answer(request.uri().path(), &scope)
        })
    }

    fn answer<M: Mode>(path: &str, scope: &Scope) -> Result<Response<Body<M>>, AppError> {
        let mut response = respond::text(act(path, scope)?);
        if path == "/add-and-fail" {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        // As a site has it around everything.
        let caching = if path == "/remove" { "no-store" } else { "public, max-age=60" };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        Ok(response)
    }

    /// A browser: the application in one of its forms, and one cookie.
    struct Browser {
        client: Client,
        cookie: Option<String>,
    }

    impl Browser {
        fn sync(sessions: Sessions) -> Self {
            Self { client: Client::sync(sessions.around(application())), cookie: None }
        }

        fn polled(sessions: Sessions) -> Self {
            let app = app_fn(|request: Request<varvel::AsyncBody>, scope: Scope| async move {
                answer(request.uri().path(), &scope)
            });
            Self { client: Client::new(sessions.around(app)), cookie: None }
        }

        fn get(&mut self, path: &str) -> Answer {
            let request = self.client.get(path);
            let request = match &self.cookie {
                Some(cookie) => request.header("cookie", &**cookie),
                None => request,
            };
            let answer = request.send();
            if let Some(line) = answer.header("set-cookie") {
                let pair = line.split(';').next().unwrap().to_owned();
                self.cookie = (!line.contains("Max-Age=0")).then_some(pair);
            }
            answer
        }
    }

    fn each(check: impl Fn(Browser)) {
        let keys = Keys::generate();
        check(Browser::sync(Sessions::in_cookie(keys.clone())));
        check(Browser::polled(Sessions::in_cookie(keys.clone())));
        check(Browser::sync(Sessions::in_store(keys.clone(), MemoryStore::new(10))));
        check(Browser::polled(Sessions::in_store(keys, MemoryStore::new(10))));
    }

    #[test]
    fn what_is_put_in_is_there_the_next_time() {
        each(|mut browser| {
            assert_eq!(browser.get("/add").text(), "1");
            assert_eq!(browser.get("/add").text(), "2");
            assert_eq!(browser.get("/").text(), "2");
            assert_eq!(browser.get("/remove").text(), "");
            assert_eq!(browser.cookie, None);
            assert_eq!(browser.get("/").text(), "");
        });
    }

    #[test]
    fn an_answer_says_what_it_depends_on_and_sets_no_cookie_without_need() {
        each(|mut browser| {
            let answer = browser.get("/");
            assert_eq!((answer.header("set-cookie"), answer.header("vary")), (None, Some("cookie")));
            let answer = browser.get("/untouched");
            assert_eq!((answer.header("set-cookie"), answer.header("vary")), (None, None));
            let answer = browser.get("/clear");
            assert_eq!(answer.header("set-cookie"), None);
            let answer = browser.get("/add");
            let line = answer.header("set-cookie").unwrap();
            assert!(line.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400"), "{line}");
            assert_eq!(browser.get("/").header("set-cookie"), None);
        });
    }

    #[test]
    fn no_shared_cache_hands_a_session_to_others() {
        each(|mut browser| {
            let caching = |answer: &Answer| -> Vec<_> {
                let lines = answer.headers().get_all("cache-control").iter();
                lines.map(|line| line.to_str().unwrap().to_owned()).collect()
            };
            assert_eq!(caching(&browser.get("/add")), ["public, max-age=60", "private"]);
            assert_eq!(caching(&browser.get("/")), ["public, max-age=60"]);
            assert_eq!(caching(&browser.get("/remove")), ["no-store"]);
            browser.get("/add");
            assert_eq!(caching(&browser.get("/clear")), ["public, max-age=60", "private"]);
        });
    }

    #[test]
    fn a_lifetime_beyond_all_times_is_as_long_as_browsers_keep_cookies() {
        let sessions = Sessions::in_cookie(Keys::generate()).lifetime(Duration::MAX);
        let answer = Browser::sync(sessions).get("/add");
        assert!(answer.header("set-cookie").unwrap().ends_with("; Max-Age=34560000"));
    }

    #[test]
    fn a_session_that_was_cleared_does_not_live_on_in_what_is_put_in_after_it() {
        let store = Arc::new(MemoryStore::new(10));
        let mut browser = Browser::sync(Sessions::in_store(Keys::generate(), Arc::clone(&store)));
        browser.get("/add");
        let before = browser.cookie.clone();
        assert_eq!(browser.get("/clear-and-add").text(), "1");
        assert_eq!((browser.cookie == before, store.len()), (false, 1));
        browser.cookie = before;
        assert_eq!(browser.get("/").text(), "");
    }

    #[test]
    fn a_session_that_ended_does_not_come_back() {
        let store = Arc::new(MemoryStore::new(10));
        let mut browser = Browser::sync(Sessions::in_store(Keys::generate(), Arc::clone(&store)));
        browser.get("/add");
        let stolen = browser.cookie.clone();
        browser.get("/clear");
        assert_eq!((browser.cookie.clone(), store.len()), (None, 0));
        browser.cookie = stolen;
        assert_eq!(browser.get("/").text(), "");
    }

    #[test]
    fn what_a_call_that_fails_has_put_in_is_not_kept() {
        each(|mut browser| {
            browser.get("/add");
            let answer = browser.get("/add-and-fail");
            assert_eq!((answer.status().as_u16(), answer.header("set-cookie")), (500, None));
            assert_eq!(browser.get("/").text(), "1");
        });
    }

    #[test]
    fn a_session_that_ends_while_a_request_runs_stays_ended() {
        let store = Arc::new(MemoryStore::new(10));
        let sessions = Sessions::in_store(Keys::generate(), Arc::clone(&store));
        let ended = Arc::clone(&store);
        // While one request runs, another one ends the session.
        let app = sync_fn(move |request: Request<ReadBody>, scope: Scope| -> AppResult {
            let response = answer(request.uri().path(), &scope)?;
            if request.uri().query().is_some() {
                let ids: Vec<_> = ended.lock().records.keys().cloned().collect();
                ids.iter().try_for_each(|id| ended.remove(id)).map_err(AppError::from_boxed)?;
            }
            Ok(response)
        });
        let mut browser = Browser { client: Client::sync(sessions.around(app)), cookie: None };
        browser.get("/add");
        assert_eq!((store.len(), browser.cookie.is_some()), (1, true));
        browser.get("/add?meanwhile");
        assert_eq!((store.len(), browser.cookie), (0, None));
    }

    #[test]
    fn a_renewed_session_has_another_id_and_the_old_one_is_nothing() {
        let store = Arc::new(MemoryStore::new(10));
        let mut browser = Browser::polled(Sessions::in_store(Keys::generate(), Arc::clone(&store)));
        browser.get("/add");
        let before = browser.cookie.clone();
        assert_eq!(browser.get("/renew").text(), "1");
        assert_ne!(browser.cookie, before);
        assert_eq!(store.len(), 1);
        assert_eq!(browser.get("/").text(), "1");
        browser.cookie = before;
        assert_eq!(browser.get("/").text(), "");
    }

    #[test]
    fn what_is_forged_is_no_session() {
        let store = Arc::new(MemoryStore::new(10));
        let record = Record { values: Map::from_iter([("n".to_owned(), 7.into())]), expires: UNIX_EPOCH };
        store.insert("guessed", record).unwrap();
        let mut browser = Browser::sync(Sessions::in_store(Keys::generate(), store));
        browser.cookie = Some("session=guessed".to_owned());
        assert_eq!(browser.get("/").text(), "");
        each(|mut browser| {
            browser.get("/add");
            let cookie = browser.cookie.take().unwrap();
            browser.cookie = Some(format!("{}x", cookie));
            assert_eq!(browser.get("/").text(), "");
        });
    }

    #[test]
    fn a_session_is_over_in_time_and_lives_longer_if_used() {
        let hour = Duration::from_secs(3600);
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let cookies = |line: &str| {
            let line = HeaderValue::try_from(line).unwrap();
            let headers = http::HeaderMap::from_iter([(http::header::COOKIE, line)]);
            Cookies::of(&headers, &Scope::for_test())
        };
        let keys = Keys::generate();
        for sessions in [Sessions::in_cookie(keys.clone()), Sessions::in_store(keys, MemoryStore::new(9))] {
            let sessions = sessions.lifetime(hour);
            let mut set = cookies("");
            let values = Map::from_iter([("n".to_owned(), Value::from(7))]);
            let mut state = State { values, ..State::default() };
            sessions.keep(&mut state, &mut set, now).unwrap();
            let sent = cookies(&format!("session={}", set.get("session").unwrap()));
            for (later, is_there, is_kept_again) in [
                (Duration::ZERO, true, false),
                (hour / 2 - Duration::from_secs(1), true, false),
                (hour / 2 + Duration::from_secs(1), true, true),
                (hour - Duration::from_secs(1), true, true),
                (hour, false, false),
                (hour * 100, false, false),
            ] {
                let state = sessions.find(&sent, now + later).unwrap();
                assert_eq!(
                    (state.values.contains_key("n"), state.is_changed),
                    (is_there, is_kept_again),
                    "{later:?}"
                );
            }
        }
    }

    #[test]
    fn no_log_has_what_is_in_a_session() {
        let record =
            Record { values: Map::from_iter([("token".to_owned(), "secret".into())]), expires: UNIX_EPOCH };
        let store = MemoryStore::new(2);
        store.insert("id", record.clone()).unwrap();
        assert_eq!(format!("{store:?}"), "MemoryStore { len: 1, max: 2 }");
        assert!(format!("{record:?}").starts_with("Record { values: 1, expires: "));
    }

    #[test]
    fn a_full_store_forgets_what_is_over_first() {
        let store = MemoryStore::new(2);
        let record =
            |seconds| Record { values: Map::new(), expires: UNIX_EPOCH + Duration::from_secs(seconds) };
        for (id, seconds) in [("a", 30), ("b", 20), ("a", 10), ("a", 40), ("c", 30)] {
            store.insert(id, record(seconds)).unwrap();
        }
        let there = ["a", "b", "c"].map(|id| store.load(id).unwrap().is_some());
        assert_eq!((there, store.len()), ([true, false, true], 2));
        store.remove("a").unwrap();
        store.remove("a").unwrap();
        assert_eq!((store.len(), store.lock().by_expiry.len()), (1, 1));
    }

    #[test]
    fn a_session_that_cannot_be_had_or_kept_is_503_and_reported() {
        struct Broken;
        impl SessionStore for Broken {
            fn load(&self, _id: &str) -> Result<Option<Record>, BoxError> {
                Err("the store is away".into())
            }
            fn insert(&self, _id: &str, _record: Record) -> Result<(), BoxError> {
                Err("the store is away".into())
            }
            fn update(&self, _id: &str, _record: Record) -> Result<bool, BoxError> {
                Err("the store is away".into())
            }
            fn remove(&self, _id: &str) -> Result<(), BoxError> {
                Err("the store is away".into())
            }
        }
        let keys = Keys::generate();
        let mut browser = Browser::sync(Sessions::in_store(keys.clone(), Broken));
        assert_eq!(browser.get("/").status(), StatusCode::OK);
        assert_eq!(browser.get("/add").status(), StatusCode::SERVICE_UNAVAILABLE);
        let mut headers = http::HeaderMap::new();
        let mut cookies = Cookies::of(&headers, &Scope::for_test());
        cookies.set_signed(&keys, ("session", "id")).unwrap();
        cookies.write_to(&mut headers);
        let line = headers["set-cookie"].to_str().unwrap();
        browser.cookie = Some(line.split(';').next().unwrap().to_owned());
        assert_eq!(browser.get("/").status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(browser.client.reports().len(), 2);
        // More than a cookie can hold is told as well, and not lost in silence.
        let mut browser = Browser::sync(Sessions::in_cookie(keys));
        assert_eq!(browser.get("/large").status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn without_the_middleware_it_is_an_error() {
        assert_eq!(Session::of(&Scope::for_test()).unwrap_err(), NoSession);
    }

    #[test]
    fn it_keeps_to_the_contract() {
        let sessions = || Sessions::in_store(Keys::generate(), MemoryStore::new(10));
        varvel_lint::middleware(|inner| sessions().around(inner));
        varvel_lint::middleware_sync(|inner| sessions().around(inner));
    }
}

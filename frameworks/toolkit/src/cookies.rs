//! Cookies: those that a request has, and those that the answer sets, with safe defaults (RFC 6265).
//!
//! ```
//! use http::{HeaderValue, Request, Response};
//! use varvel::{AppResult, ReadBody, Scope, WriteBody, sync_fn};
//! use varvel_toolkit::cookies::Cookies;
//!
//! let app = sync_fn(|request: Request<ReadBody>, scope: Scope| -> AppResult {
//!     let mut cookies = Cookies::of(request.headers(), &scope);
//!     let visits = cookies.get("visits").and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
//!     cookies.set(("visits", visits.to_string()))?;
//!
//!     let mut response = Response::new(WriteBody::from(format!("Visit {visits}")));
//!     cookies.write_to(response.headers_mut());
//!     Ok(response)
//! });
//! # let client = varvel_test::Client::sync(app);
//! # let response = client.get("/").header("cookie", "theme=dark; visits=41").send();
//! # assert_eq!(response.text(), "Visit 42");
//! # assert_eq!(response.header("set-cookie"), Some("visits=42; HttpOnly; SameSite=Lax; Path=/"));
//! ```
//!
//! | attribute | unless the cookie says otherwise |
//! |---|---|
//! | `HttpOnly` | set: no script reads it |
//! | `SameSite` | `Lax`: not sent along with forms and frames of other sites |
//! | `Path` | `/` |
//! | `Secure` | set where the client's connection is encrypted, as the server knows or a [trusted proxy](crate::middleware::Forwarded) has said |
//!
//! What browsers refuse otherwise is put right: `SameSite=None`, `Partitioned` and the prefixes `__Secure-`, `__Host-`
//! and `__Http-` set `Secure`, `__Host-` has `Path=/` and no `Domain`, and `__Http-` and `__Host-Http-` are `HttpOnly`.
//! Names and values are percent-encoded where they have to be, and decoded.

use std::{borrow::Cow, error::Error, fmt};

pub use cookie::{Cookie, CookieBuilder, Expiration, SameSite, time};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use percent_encoding::{percent_decode, percent_decode_str};
use varvel::Scope;

use crate::middleware::is_secure;

/// The cookies of one exchange. Their `Debug` has the names alone: who knows a value is often taken for its owner.
#[derive(Clone)]
pub struct Cookies {
    received: Vec<HeaderValue>,
    changes: Vec<Change>,
    is_secure: bool,
}

/// A cookie that the answer sets or removes.
#[derive(Clone)]
struct Change {
    name: String,
    /// `None` once removed.
    value: Option<String>,
    /// Path and domain, which make it another cookie.
    place: (Option<String>, Option<String>),
    line: HeaderValue,
}

impl Cookies {
    /// Those of a request. Nothing is read until it is asked for.
    pub fn of(headers: &HeaderMap, scope: &Scope) -> Self {
        Self::of_headers(headers).secure(is_secure(scope))
    }

    /// Those of a request of which there are only the headers, by a connection that is not encrypted unless
    /// [`secure`](Self::secure) says so.
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let received = headers.get_all(COOKIE).iter().cloned().collect();
        Self { received, changes: Vec::new(), is_secure: false }
    }

    /// Whether the client's connection is encrypted, where that is known from elsewhere.
    #[must_use]
    pub fn secure(mut self, is_secure: bool) -> Self {
        self.is_secure = is_secure;
        self
    }

    /// The value of a cookie, as it is from now on: what was set or removed counts. Of several with one name it is
    /// the first, which browsers send for the most specific path.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        if let Some(change) = self.changes.iter().rev().find(|change| change.name == name) {
            return change.value.as_deref().map(Cow::Borrowed);
        }
        self.received().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All names and values of the request. What is no UTF-8 is passed over: it is somebody else's.
    pub fn received(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let pairs = self.received.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        pairs.filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            Some((self::name(name)?, percent_decode(quoted.unwrap_or(value)).decode_utf8().ok()?))
        })
    }

    /// Sets a cookie: a name and a value, or a [`Cookie`] with attributes.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use varvel::Scope;
    /// use varvel_toolkit::cookies::{Cookie, Cookies, SameSite, time::Duration};
    ///
    /// let mut cookies = Cookies::of(&HeaderMap::new(), &Scope::for_test()).secure(true);
    /// cookies.set(Cookie::build(("theme", "dark")).max_age(Duration::days(30)).http_only(false)).unwrap();
    ///
    /// let mut headers = HeaderMap::new();
    /// cookies.write_to(&mut headers);
    /// assert_eq!(headers["set-cookie"], "theme=dark; SameSite=Lax; Secure; Path=/; Max-Age=2592000");
    /// ```
    ///
    /// # Errors
    /// If no browser would keep it.
    pub fn set(&mut self, cookie: impl Into<Cookie<'static>>) -> Result<(), CookieError> {
        let cookie = cookie.into();
        let value = cookie.value().to_owned();
        self.change(cookie, Some(value))
    }

    /// Has the browser forget a cookie, which must have the path and domain that it was set with.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn remove(&mut self, cookie: impl Into<Cookie<'static>>) -> Result<(), CookieError> {
        let mut cookie = cookie.into();
        cookie.make_removal();
        self.change(cookie, None)
    }

    fn change(&mut self, mut cookie: Cookie<'static>, value: Option<String>) -> Result<(), CookieError> {
        self.protect(&mut cookie);
        let line = line(&cookie)?;
        let place = (cookie.path().map(str::to_owned), cookie.domain().map(str::to_owned));
        let name = cookie.name().to_owned();
        self.changes.retain(|change| (&change.name, &change.place) != (&name, &place));
        self.changes.push(Change { name, value, place, line });
        Ok(())
    }

    /// Fills in what was left open.
    fn protect(&self, cookie: &mut Cookie<'static>) {
        // In whatever case: so browsers take them.
        let name = cookie.name().to_ascii_lowercase();
        let is_host = name.starts_with("__host-");
        let is_http = name.starts_with("__http-") || name.starts_with("__host-http-");
        if is_host {
            cookie.set_path("/");
            cookie.unset_domain();
        } else if cookie.path().is_none() {
            cookie.set_path("/");
        }
        if is_http || cookie.http_only().is_none() {
            cookie.set_http_only(true);
        }
        if cookie.same_site().is_none() {
            cookie.set_same_site(SameSite::Lax);
        }
        let must_be_secure = is_host
            || is_http
            || name.starts_with("__secure-")
            || cookie.same_site() == Some(SameSite::None)
            || cookie.partitioned() == Some(true);
        if must_be_secure || (self.is_secure && cookie.secure().is_none()) {
            cookie.set_secure(true);
        }
    }

    /// Puts what was set and removed into the fields of the answer.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        for change in &self.changes {
            headers.append(SET_COOKIE, change.line.clone());
        }
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received: Vec<_> = self.received().map(|(name, _)| name).collect();
        let changed: Vec<_> = self.changes.iter().map(|change| &change.name).collect();
        f.debug_struct("Cookies").field("received", &received).field("changed", &changed).finish()
    }
}

/// The name of a cookie that came. Nothing is decoded but what [`Cookies::set`] encodes: to a browser `%5F%5FHost-id` is a
/// name without a prefix, which anybody near the host can set, so it must not be `__Host-id` here.
fn name(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(raw).ok()?;
    if !raw.contains('%') {
        return Some(raw.into());
    }
    let decoded = percent_decode_str(raw).decode_utf8().ok()?;
    let encoded = Cookie::new(&*decoded, "").encoded().to_string();
    Some(if encoded.strip_suffix('=') == Some(raw) { decoded } else { raw.into() })
}

fn line(cookie: &Cookie<'static>) -> Result<HeaderValue, CookieError> {
    /// What browsers keep of name and value, and of an attribute (RFC 6265bis section 5.6).
    const PAIR_BYTES_MAX: usize = 4096;
    const ATTRIBUTE_BYTES_MAX: usize = 1024;
    if cookie.name().is_empty() {
        return Err(CookieError::Invalid);
    }
    let is_plain = |text: &str| {
        text.len() <= ATTRIBUTE_BYTES_MAX
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
    };
    if ![cookie.path(), cookie.domain()].into_iter().flatten().all(is_plain) {
        return Err(CookieError::Invalid);
    }
    // The `=` does not count, and nor does what is around it.
    if cookie.encoded().stripped().to_string().len() > PAIR_BYTES_MAX + 1 {
        return Err(CookieError::TooLong);
    }
    HeaderValue::try_from(cookie.encoded().to_string()).map_err(|_| CookieError::Invalid)
}

/// Why a cookie cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// Name and value are longer than the 4096 bytes that browsers keep, encoded.
    TooLong,
    /// It has no name, or a path or domain that cannot be sent.
    Invalid,
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a cookie is longer than browsers keep",
            Self::Invalid => "a cookie has no name, or a path or domain that cannot be sent",
        })
    }
}

impl Error for CookieError {}

#[cfg(feature = "signed")]
mod keys {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use cookie::{Cookie, CookieJar, Key};
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    use super::{CookieError, Cookies};

    /// The secrets that cookies are signed or encrypted with. The first is for what is set; what was set with any of
    /// the others is still read, so secrets can be replaced without logging everybody out.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue};
    /// use varvel::Scope;
    /// use varvel_toolkit::cookies::{Cookies, Keys};
    ///
    /// let old = Keys::new(b"a secret of at least 32 random bytes").unwrap();
    /// let mut cookies = Cookies::of(&HeaderMap::new(), &Scope::for_test());
    /// cookies.set_signed(&old, ("user", "ferris")).unwrap();
    /// # let mut answer = HeaderMap::new();
    /// # cookies.write_to(&mut answer);
    /// # let line = answer["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    /// # let request = HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::from_str(line).unwrap())]);
    ///
    /// // The next time, with `request` from the same browser:
    /// let keys = Keys::new(b"another secret of 32 random bytes or more").unwrap().and_old(&old);
    /// let cookies = Cookies::of(&request, &Scope::for_test());
    /// assert_eq!(cookies.get_signed(&keys, "user").as_deref(), Some("ferris"));
    /// ```
    #[derive(Clone)]
    pub struct Keys(Vec<Key>);

    impl Keys {
        /// Of a secret, which is random and of at least 32 bytes; longer ones are as good.
        ///
        /// # Errors
        /// If it is shorter.
        pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, WeakSecret> {
            let secret = secret.as_ref();
            if secret.len() < 32 { Err(WeakSecret) } else { Ok(Self(vec![Key::derive_from(secret)])) }
        }

        /// Of a secret that lives as long as the process: what it signs nobody can read after a restart, nor another
        /// process.
        pub fn generate() -> Self {
            Self(vec![Key::generate()])
        }

        /// Also reads what was set with others.
        #[must_use]
        pub fn and_old(mut self, others: &Self) -> Self {
            self.0.extend_from_slice(&others.0);
            self
        }

        fn current(&self) -> &Key {
            &self.0[0]
        }
    }

    impl std::fmt::Debug for Keys {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Keys({})", self.0.len())
        }
    }

    /// A secret of fewer than 32 bytes, which could be guessed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WeakSecret;

    impl std::fmt::Display for WeakSecret {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a secret for cookies must have at least 32 bytes")
        }
    }

    impl std::error::Error for WeakSecret {}

    /// Signed cookies can be read by the client and not be changed; private ones cannot be read either. Both belong
    /// to their name: the value of one cookie is nothing in another. Neither says when it was made, so a copy holds
    /// as long as the key.
    impl Cookies {
        /// The value of a signed cookie, if one of the keys has signed it.
        pub fn get_signed(&self, keys: &Keys, name: &str) -> Option<String> {
            let text = self.get(name)?;
            let (signature, value) = text.split_at_checked(SIGNATURE_LEN)?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            let is_ours = keys.0.iter().any(|key| mac(key, name, value).verify_slice(&signature).is_ok());
            is_ours.then(|| value.to_owned())
        }

        /// Sets a cookie that the client can read, and not change.
        ///
        /// # Errors
        /// As [`set`](Self::set).
        pub fn set_signed(
            &mut self,
            keys: &Keys,
            cookie: impl Into<Cookie<'static>>,
        ) -> Result<(), CookieError> {
            let mut cookie = cookie.into();
            let signature = mac(keys.current(), cookie.name(), cookie.value()).finalize().into_bytes();
            cookie.set_value(URL_SAFE_NO_PAD.encode(signature) + cookie.value());
            self.set(cookie)
        }

        /// The value of a private cookie, if one of the keys has encrypted it.
        pub fn get_private(&self, keys: &Keys, name: &str) -> Option<String> {
            let cookie = Cookie::new(name.to_owned(), self.get(name)?.into_owned());
            let jar = CookieJar::new();
            let opened = keys.0.iter().find_map(|key| jar.private(key).decrypt(cookie.clone()))?;
            Some(opened.value().to_owned())
        }

        /// Sets a cookie that the client can neither read nor change.
        ///
        /// # Errors
        /// As [`set`](Self::set).
        pub fn set_private(
            &mut self,
            keys: &Keys,
            cookie: impl Into<Cookie<'static>>,
        ) -> Result<(), CookieError> {
            let cookie = cookie.into();
            let name = cookie.name().to_owned();
            let mut jar = CookieJar::new();
            jar.private_mut(keys.current()).add(cookie);
            jar.get(&name).map_or(Ok(()), |sealed| self.set(sealed.clone()))
        }
    }

    /// Of HMAC-SHA256 in base64 without padding.
    const SIGNATURE_LEN: usize = 43;

    /// Over the name as well, unlike the signed jar of the `cookie` crate: there the value of one cookie would pass
    /// for another's.
    fn mac(key: &Key, name: &str, value: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.signing()).expect("a key of any length will do");
        // Its length first, or the value of `a=b` would pass for a value of `a`.
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
        mac
    }
}

#[cfg(feature = "signed")]
pub use keys::{Keys, WeakSecret};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::middleware::Client;

    fn cookies(line: &[u8]) -> Cookies {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(line).unwrap())]);
        Cookies::of(&headers, &Scope::for_test())
    }

    /// What is set, as it would be sent.
    fn lines(cookies: &Cookies) -> Vec<String> {
        let mut headers = HeaderMap::new();
        cookies.write_to(&mut headers);
        headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    /// The same browser's next request.
    fn sent_back(cookies: &Cookies) -> Cookies {
        let pairs: Vec<_> =
            lines(cookies).iter().map(|line| line.split(';').next().unwrap().to_owned()).collect();
        self::cookies(pairs.join("; ").as_bytes())
    }

    #[test]
    fn what_browsers_send_is_read() {
        let received =
            cookies(b"a=1; b = 2 ;c=\"3 4\";d=e=f; empty=; ; =x; novalue; a=9; %C3%A9=%C3%A9+; 100=100%");
        let pairs: Vec<_> = received.received().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(pairs, ["a:1", "b:2", "c:3 4", "d:e=f", "empty:", ":x", "a:9", "é:é+", "100:100%"]);
        assert_eq!(received.get("a").unwrap(), "1");
        assert_eq!(received.get("novalue"), None);
    }

    #[test]
    fn no_other_name_passes_for_one_with_a_prefix() {
        for line in [
            "%5F%5FHost-id=evil",
            "__Host%2Did=evil",
            "%5f_Host-id=evil",
            "__HOST-id=evil",
            "=__Host-id=evil",
        ] {
            assert_eq!(cookies(line.as_bytes()).get("__Host-id"), None, "{line}");
            let line = format!("{line}; __Host-id=mine");
            assert_eq!(cookies(line.as_bytes()).get("__Host-id").unwrap(), "mine", "{line}");
        }
    }

    #[test]
    fn a_cookie_of_somebody_else_does_no_harm() {
        let received = cookies(b"latin=\xe9; a=1; bad=%ff");
        assert_eq!(received.get("a").unwrap(), "1");
        assert_eq!(received.get("latin"), None);
        assert_eq!(received.get("bad"), None);
    }

    #[test]
    fn no_log_has_the_values_of_cookies() {
        let mut cookies = cookies(b"session=secret");
        cookies.set(("token", "secret")).unwrap();
        assert_eq!(format!("{cookies:?}"), r#"Cookies { received: ["session"], changed: ["token"] }"#);
    }

    #[test]
    fn cookies_of_several_fields_are_all_read() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        let received = Cookies::of(&headers, &Scope::for_test());
        assert_eq!(received.get("b").unwrap(), "2");
    }

    #[test]
    fn defaults_are_safe_and_can_be_changed() {
        let line = |cookie: CookieBuilder<'static>, is_secure| {
            let mut cookies = cookies(b"").secure(is_secure);
            cookies.set(cookie).unwrap();
            lines(&cookies).remove(0)
        };
        let plain = || Cookie::build(("a", "b"));
        for (cookie, is_secure, expected) in [
            (plain(), false, "a=b; HttpOnly; SameSite=Lax; Path=/"),
            (plain(), true, "a=b; HttpOnly; SameSite=Lax; Secure; Path=/"),
            (plain().secure(false), true, "a=b; HttpOnly; SameSite=Lax; Path=/"),
            (plain().http_only(false).path("/x"), false, "a=b; SameSite=Lax; Path=/x"),
            (plain().same_site(SameSite::Strict), false, "a=b; HttpOnly; SameSite=Strict; Path=/"),
            (plain().same_site(SameSite::None), false, "a=b; HttpOnly; SameSite=None; Secure; Path=/"),
            (plain().partitioned(true), false, "a=b; HttpOnly; SameSite=Lax; Partitioned; Secure; Path=/"),
            (
                Cookie::build(("__Host-a", "b")).domain("example.com").path("/x"),
                false,
                "__Host-a=b; HttpOnly; SameSite=Lax; Secure; Path=/",
            ),
            (
                Cookie::build(("__Secure-a", "b")),
                false,
                "__Secure-a=b; HttpOnly; SameSite=Lax; Secure; Path=/",
            ),
            (
                Cookie::build(("__HOST-a", "b")).domain("example.com"),
                false,
                "__HOST-a=b; HttpOnly; SameSite=Lax; Secure; Path=/",
            ),
            (
                Cookie::build(("__Http-a", "b")).http_only(false).path("/x"),
                false,
                "__Http-a=b; HttpOnly; SameSite=Lax; Secure; Path=/x",
            ),
            (
                Cookie::build(("__Host-Http-a", "b")).http_only(false),
                false,
                "__Host-Http-a=b; HttpOnly; SameSite=Lax; Secure; Path=/",
            ),
        ] {
            assert_eq!(line(cookie, is_secure), expected);
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_of_the_connection_counts() {
        for (scheme, is_secure) in [(Some("https"), true), (Some("http"), false), (None, false)] {
            let mut scope = Scope::for_test();
            scope.insert(Client { scheme, ..Client::default() });
            let mut cookies = Cookies::of(&HeaderMap::new(), &scope);
            cookies.set(("a", "b")).unwrap();
            assert_eq!(lines(&cookies)[0].contains("Secure"), is_secure);
        }
    }

    #[test]
    fn no_value_forges_an_attribute_or_a_field() {
        let mut cookies = cookies(b"");
        let value = "x; Domain=evil.example\r\nset-cookie: a=b, \"é\"";
        cookies.set(("a b", value)).unwrap();
        let line = lines(&cookies).remove(0);
        assert_eq!(line.matches(';').count(), 3, "{line}");
        assert_eq!(sent_back(&cookies).get("a b").unwrap(), value);
        for cookie in [
            Cookie::build(("a", "b")).path("/; Domain=evil.example"),
            Cookie::build(("a", "b")).domain("a.example; Secure"),
            Cookie::build(("a", "b")).path("/\r\nset-cookie: a=b"),
            Cookie::build(("", "b")),
        ] {
            assert_eq!(cookies.set(cookie), Err(CookieError::Invalid));
        }
    }

    #[test]
    fn what_browsers_would_drop_silently_is_an_error() {
        let mut cookies = cookies(b"");
        assert_eq!(cookies.set(("a", "x".repeat(4095))), Ok(()));
        assert_eq!(cookies.set(("a", "x".repeat(4096))), Err(CookieError::TooLong));
        assert_eq!(cookies.set(("a", " ".repeat(1366))), Err(CookieError::TooLong));
    }

    #[test]
    fn the_last_word_on_a_cookie_counts() {
        let mut cookies = cookies(b"a=old");
        cookies.set(("a", "1")).unwrap();
        cookies.set(("a", "2")).unwrap();
        assert_eq!(cookies.get("a").unwrap(), "2");
        assert_eq!(lines(&cookies).len(), 1);
        cookies.set(Cookie::build(("a", "3")).path("/x")).unwrap();
        assert_eq!(lines(&cookies).len(), 2);
        cookies.remove("a").unwrap();
        assert_eq!(cookies.get("a"), None);
        let line = lines(&cookies).remove(1);
        assert!(line.starts_with("a=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Expires="), "{line}");
    }

    #[cfg(feature = "signed")]
    #[test]
    fn what_was_tampered_with_is_not_there() {
        let keys = Keys::generate();
        let mut set = cookies(b"");
        set.set_signed(&keys, ("s", "value é;")).unwrap();
        set.set_private(&keys, ("p", "value é;")).unwrap();
        let back = sent_back(&set);
        assert_eq!(back.get_signed(&keys, "s").unwrap(), "value é;");
        assert_eq!(back.get_private(&keys, "p").unwrap(), "value é;");
        assert!(!lines(&set)[1].contains("value"));

        let (signed, private) = (back.get("s").unwrap(), back.get("p").unwrap());
        for (name, text) in [("s", &signed), ("p", &private)] {
            for changed in [
                text.replacen(&text[..1], if text.starts_with('A') { "B" } else { "A" }, 1),
                text[1..].to_owned(),
                text[..text.len() - 1].to_owned(),
                format!("{text}x"),
                "é".repeat(43),
                String::new(),
            ] {
                let mut cookies = cookies(b"");
                cookies.set((name, changed)).unwrap();
                assert_eq!(cookies.get_signed(&keys, name), None);
                assert_eq!(cookies.get_private(&keys, name), None);
            }
        }
        // The value of one is nothing in another, not even if its name begins alike, and nor is that of another key.
        let mut longer = cookies(b"");
        longer.set_signed(&keys, ("role=user", "x")).unwrap();
        let signed_longer = longer.get("role=user").unwrap();
        let (signature, _) = signed_longer.split_at(43);
        let mut shorter = cookies(b"");
        shorter.set(("role", format!("{signature}user=x"))).unwrap();
        assert_eq!(shorter.get_signed(&keys, "role"), None);
        let mut moved = cookies(b"");
        moved.set(("admin", signed.clone().into_owned())).unwrap();
        assert_eq!(moved.get_signed(&keys, "admin"), None);
        moved.set(("admin", private.into_owned())).unwrap();
        assert_eq!(moved.get_private(&keys, "admin"), None);
        assert_eq!(back.get_signed(&Keys::generate(), "s"), None);
        assert_eq!(back.get_private(&Keys::generate(), "p"), None);
    }

    #[cfg(feature = "signed")]
    #[test]
    fn keys_are_replaced_without_losing_what_they_signed() {
        assert_eq!(Keys::new([0; 31]).unwrap_err(), WeakSecret);
        let old = Keys::new([1; 32]).unwrap();
        let mut set = cookies(b"");
        set.set_signed(&old, ("s", "1")).unwrap();
        set.set_private(&old, ("p", "2")).unwrap();
        let back = sent_back(&set);
        let both = Keys::new([2; 64]).unwrap().and_old(&old);
        assert_eq!(back.get_signed(&both, "s").unwrap(), "1");
        assert_eq!(back.get_private(&both, "p").unwrap(), "2");
        // What is set now needs the new key.
        let mut set = cookies(b"");
        set.set_signed(&both, ("s", "1")).unwrap();
        assert_eq!(sent_back(&set).get_signed(&old, "s"), None);
        assert_eq!(format!("{both:?}"), "Keys(2)");
    }

    proptest! {
        #[test]
        fn whatever_is_set_comes_back(name in "[a-z;= %\"]{1,8}|\\PC{1,8}", value in "\\PC{0,40}|[;=, \"%]{0,9}") {
            let mut set = cookies(b"");
            set.set((name.clone(), value.clone())).unwrap();
            let back = sent_back(&set);
            prop_assert_eq!(back.get(&name).unwrap(), value);
        }

        #[test]
        fn no_field_makes_it_panic(line in proptest::collection::vec(32_u8..127, 0..60)) {
            let received = cookies(&line);
            received.received().count();
            #[cfg(feature = "signed")]
            for (name, _) in received.received() {
                let keys = Keys::new([0; 32]).unwrap();
                received.get_signed(&keys, &name);
                received.get_private(&keys, &name);
            }
        }
    }
}

//! A bound on how often each client may ask.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use varvel::{Body, Scope};

use super::forwarded::Client;
use crate::{Accept, Form, HttpError, Middleware};

/// Answers 429 to whoever asks too often: each has a bucket of tokens, which refills evenly, and each request takes one.
///
/// Whoever that is, is by default the address of the client: that which [`Forwarded`](super::Forwarded) found, or of the
/// connection; of an IPv6 address the first 64 bits, which is what a household has. Requests without an address, as over
/// Unix sockets, are not limited: behind a proxy put `Forwarded` around this.
///
/// Answers have `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), refusals Retry-After besides.
///
/// It remembers only those whose bucket is not full, at most [`keys_max`](Self::keys_max) of them; beyond that it forgets
/// those longest not seen, whose buckets then are full. Clones share their buckets; processes do not.
///
/// ```
/// use std::time::Duration;
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::RateLimit, respond};
///
/// // A hundred at once, and one more each 600 milliseconds.
/// let app = RateLimit::new(100, Duration::from_secs(60))
///     .by(|headers, _scope| Some(headers.get("authorization")?.as_bytes().to_vec()))
///     .around(sync_fn(|_, _| Ok(respond::text("hello"))));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/").header("authorization", "me").send();
/// # assert_eq!(response.header("ratelimit"), Some(r#""default";r=99;t=1"#));
/// ```
#[derive(Clone)]
pub struct RateLimit {
    requests: u32,
    period: Duration,
    keys_max: usize,
    policy: HeaderValue,
    key: Arc<KeyFn>,
    buckets: Arc<Mutex<Buckets>>,
    hasher: RandomState,
}

type KeyFn = dyn Fn(&HeaderMap, &Scope) -> Option<Vec<u8>> + Send + Sync;

impl RateLimit {
    /// So many requests at once, and as many in each period after that.
    ///
    /// # Panics
    /// If either is zero, or the period is longer than a year.
    pub fn new(requests: u32, period: Duration) -> Self {
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        assert!(requests > 0 && !period.is_zero(), "a limit of nothing lets nobody in");
        assert!(period <= YEAR, "nobody waits for longer than a year");
        let policy = format!("\"default\";q={requests};w={}", seconds(period));
        Self {
            requests,
            period,
            keys_max: 65_536,
            policy: HeaderValue::try_from(policy).expect("digits are fit for a field"),
            key: Arc::new(|_headers, scope| address(scope)),
            buckets: Arc::default(),
            hasher: RandomState::new(),
        }
    }

    /// Who shares a bucket: those for whom this gives the same. `None` is not limited.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&HeaderMap, &Scope) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// How many are remembered at most. Default: 65 536, which take some 2 MiB.
    #[must_use]
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys.max(2);
        self
    }

    /// What one token takes to come back.
    fn refill(&self) -> Duration {
        (self.period / self.requests).max(Duration::from_nanos(1))
    }

    fn take(&self, key: &[u8], now: Instant) -> Standing {
        // A keyed hash in place of the key: of a known size, and nobody can choose it to be another's.
        let key = self.hasher.hash_one(key);
        let refill = self.refill();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.age(now, self.period, self.keys_max / 2);
        let full_at = buckets.full_at(key).map_or(now, |full_at| full_at.max(now));
        let after = full_at + refill;
        let missing = after.saturating_duration_since(now);
        let capacity = refill * self.requests;
        if missing > capacity {
            return Standing { allowed: false, left: 0, wait: missing - capacity };
        }
        buckets.young.insert(key, after);
        let left = (capacity - missing).as_nanos() / refill.as_nanos();
        Standing { allowed: true, left: u32::try_from(left).unwrap_or(self.requests), wait: refill }
    }

    fn tell(&self, headers: &mut HeaderMap, standing: &Standing) {
        let state = format!("\"default\";r={};t={}", standing.left, seconds(standing.wait));
        if let Ok(state) = HeaderValue::try_from(state) {
            headers.insert(HeaderName::from_static("ratelimit"), state);
        }
        headers.insert(HeaderName::from_static("ratelimit-policy"), self.policy.clone());
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("requests", &self.requests)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// How a client stands after a request.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Standing {
    allowed: bool,
    left: u32,
    /// Until there is a token more.
    wait: Duration,
}

/// When each bucket will be full, in two generations: what was not asked for in a whole generation goes with it. A bucket
/// is full a period after it was last taken from, so a generation that old has nothing that matters.
#[derive(Default)]
struct Buckets {
    young: HashMap<u64, Instant>,
    old: HashMap<u64, Instant>,
    /// When the young began to be filled.
    since: Option<Instant>,
}

impl Buckets {
    fn age(&mut self, now: Instant, period: Duration, most: usize) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= period || self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
    }

    fn full_at(&self, key: u64) -> Option<Instant> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }
}

impl Middleware for RateLimit {
    type Note = Option<Standing>;

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<Self::Note, Response<Body<F::Out>>> {
        let Some(key) = (self.key)(request.headers(), scope) else { return Ok(None) };
        let standing = self.take(&key, scope.worker().now());
        if standing.allowed {
            return Ok(Some(standing));
        }
        let wait = HeaderValue::from(seconds(standing.wait));
        let error = HttpError::new(StatusCode::TOO_MANY_REQUESTS).with_header(header::RETRY_AFTER, wait);
        let mut response = error.respond(&Accept::of(request.headers()));
        self.tell(response.headers_mut(), &standing);
        Err(response)
    }

    fn response<F: Form>(
        &self,
        standing: Self::Note,
        mut response: Response<Body<F::Out>>,
    ) -> Response<Body<F::Out>> {
        if let Some(standing) = standing {
            self.tell(response.headers_mut(), &standing);
        }
        response
    }
}

/// Whole seconds, rounded up: who waits so long does not come too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn address(scope: &Scope) -> Option<Vec<u8>> {
    let address = match scope.get::<Client>() {
        Some(client) => client.address,
        None => scope.conn().peer.ip().map(|address| address.ip()),
    };
    Some(match address?.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use varvel::{AsyncBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::respond;

    fn by_name(limit: RateLimit) -> RateLimit {
        limit.by(|headers, _| Some(headers.get("name")?.as_bytes().to_vec()))
    }

    fn in_each_form(limit: impl Fn() -> RateLimit, check: impl Fn(&Client)) {
        check(&Client::sync(limit().around(sync_fn(|_, _| Ok(respond::text("hello"))))));
        check(&Client::new(
            limit().around(app_fn(|_, _| async { Ok(Response::new(AsyncBody::from("hello"))) })),
        ));
    }

    #[test]
    fn a_bucket_empties_and_refills_evenly() {
        let limit = || by_name(RateLimit::new(3, Duration::from_secs(30)));
        in_each_form(limit, |client| {
            let ask = |name: &str| client.get("/").header("name", name).send();
            for left in ["2", "1", "0"] {
                let answer = ask("a");
                assert_eq!(answer.status(), StatusCode::OK);
                assert_eq!(answer.header("ratelimit").unwrap(), format!("\"default\";r={left};t=10"));
                assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=30"));
            }
            client.advance(Duration::from_millis(2500));
            let refused = ask("a");
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(refused.header("retry-after"), Some("8"));
            assert_eq!(refused.header("ratelimit"), Some("\"default\";r=0;t=8"));
            assert_eq!(ask("b").status(), StatusCode::OK, "others have their own");
            assert_eq!(client.get("/").send().header("ratelimit"), None, "nobody in particular");
            client.advance(Duration::from_millis(7500));
            assert_eq!(ask("a").status(), StatusCode::OK, "after what Retry-After said");
            assert_eq!(ask("a").status(), StatusCode::TOO_MANY_REQUESTS);
            client.advance(Duration::from_secs(3600));
            assert_eq!(ask("a").header("ratelimit"), Some("\"default\";r=2;t=10"), "no more than full");
        });
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let limit = RateLimit::new(1, Duration::from_secs(60)).keys_max(10);
        let now = Instant::now();
        for key in 0..1000_u32 {
            assert!(limit.take(&key.to_be_bytes(), now).allowed);
            let buckets = limit.buckets.lock().unwrap();
            assert!(buckets.young.len() + buckets.old.len() <= 10);
        }
        assert!(!limit.take(&999_u32.to_be_bytes(), now).allowed, "who came last is not forgotten");
    }

    #[test]
    fn who_keeps_asking_is_not_forgotten_with_the_others() {
        let limit = RateLimit::new(1, Duration::from_secs(60));
        let mut now = Instant::now();
        let mut allowed = 0;
        for _ in 0..600 {
            allowed += u32::from(limit.take(b"impatient", now).allowed);
            now += Duration::from_secs(1);
        }
        assert_eq!(allowed, 10);
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| RateLimit::new(1000, Duration::from_secs(1)).around(inner));
        varvel_lint::middleware_sync(|inner| RateLimit::new(1000, Duration::from_secs(1)).around(inner));
    }
}

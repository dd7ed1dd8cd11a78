//! The scope of one exchange: everything about a request that is not HTTP, and everything that can be done besides
//! answering it.

use std::{
    any::{Any, TypeId},
    error::Error,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, uri::Authority};

use crate::{ConnInfo, Deferral, Exchange, Finish, InterimError, Report, Upgrade, Worker, upgrade::Offer};

/// What an application gets beside the request. Move-only: it can neither be lost nor duplicated, so the tokens in it
/// are proofs (spec M1). It is `Send` and `Sync`, so a future that keeps it, or lends it to another, stays `Send`.
pub struct Scope {
    exchange: Arc<dyn Exchange>,
    number: u64,
    target: Bytes,
    authority: Option<Authority>,
    received_at: Instant,
    /// How many bytes of the path lead to where this application is mounted.
    mounted: u32,
    deferral: bool,
    offer: Option<Offer>,
    entries: Entries,
}

/// Values of different types, at most one of each; nearly always few, so a list beats a map.
type Entries = Vec<(TypeId, Box<dyn Any + Send + Sync>)>;

impl Scope {
    /// Makes the scope of exchange `number` on a connection; for servers.
    ///
    /// `target` is the request target as it was on the wire (spec S7).
    pub fn new(exchange: Arc<dyn Exchange>, number: u64, target: Bytes, received_at: Instant) -> Self {
        Self {
            exchange,
            number,
            target,
            authority: None,
            received_at,
            mounted: 0,
            deferral: false,
            offer: None,
            entries: Vec::new(),
        }
    }

    /// Sets whom the request was addressed to (spec S8); for servers.
    #[must_use]
    pub fn with_authority(mut self, authority: Option<Authority>) -> Self {
        self.authority = authority;
        self
    }

    /// Puts in the token of a valid upgrade that the server supports (spec U1); for servers.
    #[must_use]
    pub fn with_upgrade(mut self, offer: Offer) -> Self {
        self.offer = Some(offer);
        self
    }

    /// Allows a deferred answer; for servers that can wait for one, be it through a bridge.
    #[must_use]
    pub fn with_deferral(mut self) -> Self {
        self.deferral = true;
        self
    }

    /// The worker that runs the application.
    pub fn worker(&self) -> &Worker {
        self.exchange.worker()
    }

    /// The connection that the request came by: the last hop, whatever forwarding headers say (spec S12).
    pub fn conn(&self) -> &ConnInfo {
        self.exchange.conn()
    }

    /// The request target exactly as it was on the wire (spec S7).
    pub fn raw_target(&self) -> &[u8] {
        &self.target
    }

    /// The same, to be kept.
    pub(crate) fn target(&self) -> Bytes {
        self.target.clone()
    }

    /// Whom the request was addressed to: from the target's absolute form, else from `Host` or `:authority`
    /// (spec S8).
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// When the request's head was complete.
    pub fn received_at(&self) -> Instant {
        self.received_at
    }

    /// Which exchange of its connection this is, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The part of the path that led here. `mount` and [`local_path`](Self::local_path) together are always the path
    /// of the URI, which is never rewritten (spec M8).
    pub fn mount<'u>(&self, uri: &'u Uri) -> &'u str {
        self.split(uri).0
    }

    /// The part of the path that is this application's own; empty or beginning with `/`.
    pub fn local_path<'u>(&self, uri: &'u Uri) -> &'u str {
        self.split(uri).1
    }

    fn split<'u>(&self, uri: &'u Uri) -> (&'u str, &'u str) {
        let path = uri.path();
        // Only a URI that somebody replaced can be too short; then nothing of it counts as the mount.
        path.split_at_checked(self.mounted as usize).unwrap_or(("", path))
    }

    /// Moves the mount point `bytes` further into the local path, for an application mounted below this one.
    ///
    /// ```
    /// use varvel::Scope;
    ///
    /// let uri = "/shop/cart?item=7".parse().unwrap();
    /// let mut scope = Scope::for_test();
    /// scope.descend(&uri, "/shop".len()).unwrap();
    /// assert_eq!((scope.mount(&uri), scope.local_path(&uri)), ("/shop", "/cart"));
    /// ```
    ///
    /// # Errors
    /// If the new mount point would not lie at a `/` or at the end of the path.
    pub fn descend(&mut self, uri: &Uri, bytes: usize) -> Result<(), MountError> {
        let rest = self.local_path(uri).as_bytes();
        if bytes > rest.len() || rest.get(bytes).is_some_and(|byte| *byte != b'/') {
            return Err(MountError(()));
        }
        self.mounted += u32::try_from(bytes).map_err(|_| MountError(()))?;
        Ok(())
    }

    /// Sends an informational head ahead of the answer: 103 Early Hints, 102, or 100 to have the body sent at once
    /// (spec H11, H12; capability [`Caps::INTERIM`](crate::Caps::INTERIM)).
    ///
    /// # Errors
    /// [`InterimError`] says why nothing was sent; the answer is unaffected.
    pub fn interim(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        interim(&*self.exchange, self.number, status, headers)
    }

    /// Whether the client is known to have left.
    pub fn is_disconnected(&self) -> bool {
        self.exchange.is_disconnected(self.number)
    }

    /// Completes when the client is seen to have left, where the server can see it
    /// ([`Caps::DISCONNECT_WATCH`](crate::Caps::DISCONNECT_WATCH)).
    pub fn poll_disconnected(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_disconnected(self.number, cx)
    }

    /// Takes the token by which this request can be upgraded; `None` unless it asks for a valid upgrade that the
    /// server supports (spec U1), and after the first call. Dropping the token leaves an ordinary exchange (spec U2).
    pub fn take_upgrade(&mut self) -> Option<Upgrade> {
        let offer = self.offer.take()?;
        Some(Upgrade::new(offer, self.worker().clone()))
    }

    /// Takes the token by which a sync application can answer later, from any thread (spec W4, W5; capability
    /// [`Caps::DEFER`](crate::Caps::DEFER)). `None` where that is not possible, and after the first call.
    pub fn take_deferral(&mut self) -> Option<Deferral> {
        std::mem::take(&mut self.deferral).then(|| Deferral::new(self.watch()))
    }

    /// Has `hook` called once the exchange is over, exactly once, with what became of it (spec E12).
    pub fn on_finish(&self, hook: impl FnOnce(&Finish) + Send + 'static) {
        self.exchange.on_finish(self.number, Box::new(hook));
    }

    /// Keeps a value for whoever gets the scope next, in place of another of the same type, which is returned.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        let before = self.remove();
        self.entries.push((TypeId::of::<T>(), Box::new(value)));
        before
    }

    /// The kept value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let (_, value) = self.entries.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The kept value of this type, to be changed.
    pub fn get_mut<T: Send + Sync + 'static>(&mut self) -> Option<&mut T> {
        let (_, value) = self.entries.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_mut()
    }

    /// Takes the kept value of this type.
    pub fn remove<T: Send + Sync + 'static>(&mut self) -> Option<T> {
        let at = self.entries.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, value) = self.entries.swap_remove(at);
        let value: Box<dyn Any> = value;
        value.downcast().ok().map(|value| *value)
    }

    /// A handle to the exchange that may be cloned and kept after the call returned.
    pub fn watch(&self) -> Watch {
        Watch { exchange: Arc::clone(&self.exchange), number: self.number }
    }

    /// A scope without a server, for tests: of a connection from nowhere, on a worker that can do nothing.
    pub fn for_test() -> Self {
        Self::new(Arc::new(crate::exchange::Nowhere::default()), 1, Bytes::from_static(b"/"), Instant::now())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("target", &self.target.escape_ascii().to_string())
            .field("authority", &self.authority)
            .field("conn", self.conn())
            .field("number", &self.number)
            .field("mounted", &self.mounted)
            .finish_non_exhaustive()
    }
}

/// A handle to an exchange, usable from any thread, also after the exchange is over: it then answers so, and never
/// touches a later exchange on the same connection.
#[derive(Clone)]
pub struct Watch {
    exchange: Arc<dyn Exchange>,
    number: u64,
}

impl Watch {
    /// As [`Scope::is_disconnected`].
    pub fn is_disconnected(&self) -> bool {
        self.exchange.is_disconnected(self.number)
    }

    /// As [`Scope::poll_disconnected`].
    pub fn poll_disconnected(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_disconnected(self.number, cx)
    }

    /// Waits until the client is seen to have left.
    pub async fn disconnected(&self) {
        poll_fn(|cx| self.poll_disconnected(cx)).await;
    }

    /// As [`Scope::interim`].
    ///
    /// # Errors
    /// As there; [`InterimError::TooLate`] once the final head is under way.
    pub fn interim(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), InterimError> {
        interim(&*self.exchange, self.number, status, headers)
    }

    /// Tells the server something for its log.
    pub fn report(&self, report: &Report<'_>) {
        self.exchange.worker().report(report);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("conn", self.exchange.conn()).field("number", &self.number).finish()
    }
}

fn interim(
    exchange: &dyn Exchange,
    number: u64,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), InterimError> {
    // 101 is no news but the end of HTTP on this connection; only an upgrade's token can send it (spec U7).
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(InterimError::NotInterim);
    }
    exchange.interim(number, status, headers)
}

/// A mount point that does not lie between two segments of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountError(());

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mount point must lie at a `/` or at the end of the local path")
    }
}

impl Error for MountError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_and_local_path_always_make_up_the_path() {
        let uri: Uri = "/a/b%2Fc/?q".parse().unwrap();
        let mut scope = Scope::for_test();
        assert_eq!((scope.mount(&uri), scope.local_path(&uri)), ("", "/a/b%2Fc/"));
        assert_eq!(scope.descend(&uri, 3), Err(MountError(())));
        assert_eq!(scope.descend(&uri, 99), Err(MountError(())));
        scope.descend(&uri, 2).unwrap();
        scope.descend(&uri, 6).unwrap();
        assert_eq!((scope.mount(&uri), scope.local_path(&uri)), ("/a/b%2Fc", "/"));
        scope.descend(&uri, 1).unwrap();
        assert_eq!((scope.mount(&uri), scope.local_path(&uri)), ("/a/b%2Fc/", ""));
    }

    #[test]
    fn a_replaced_uri_shorter_than_the_mount_does_not_panic() {
        let mut scope = Scope::for_test();
        scope.descend(&"/long/path".parse().unwrap(), 5).unwrap();
        let other = "/x".parse().unwrap();
        assert_eq!((scope.mount(&other), scope.local_path(&other)), ("", "/x"));
    }

    #[test]
    fn a_future_that_lends_its_scope_may_cross_threads() {
        async fn lend(scope: Scope) {
            async fn borrow(_: &Scope) {}
            borrow(&scope).await;
        }
        fn send(_: impl Future<Output = ()> + Send) {}
        send(lend(Scope::for_test()));
    }

    #[test]
    fn entries_are_kept_by_type() {
        let mut scope = Scope::for_test();
        assert_eq!(scope.insert(7_u32), None);
        assert_eq!(scope.insert("text"), None);
        assert_eq!(scope.insert(8_u32), Some(7));
        assert_eq!(scope.get::<u32>(), Some(&8));
        assert_eq!(scope.remove::<&str>(), Some("text"));
        assert_eq!(scope.get::<&str>(), None);
    }
}

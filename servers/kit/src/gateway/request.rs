//! From a request head to what the application gets.

use std::{mem, sync::Arc, time::Instant};

use http::{Request, header};
use varvel::{Caps, Exchange, Offer, Scope, UpgradeKind};
use varvel_http1::{RequestHead, UpgradeRequest};

/// Takes the request and its scope out of a head.
///
/// An upgrade is put into the scope if the worker can carry it out and the request has no body: with one, the bytes that
/// follow are still HTTP, and no tunnel could begin before the application has read them (RFC 9110 section 7.8).
#[inline]
pub fn admit<B>(
    head: &mut RequestHead,
    body: B,
    exchange: Arc<dyn Exchange>,
    number: u64,
    now: Instant,
) -> (Request<B>, Scope) {
    let offer = head.upgrade.filter(|_| head.framing.exact_len() == Some(0)).and_then(|upgrade| {
        let caps = exchange.worker().info().caps;
        match upgrade {
            UpgradeRequest::Protocol if caps.contains(Caps::UPGRADE) => {
                Some(Offer::new(UpgradeKind::Http1, protocols(&head.request)))
            }
            UpgradeRequest::Connect if caps.contains(Caps::CONNECT) => {
                Some(Offer::new(UpgradeKind::Connect, ""))
            }
            _ => None,
        }
    });
    let can_defer = exchange.worker().info().caps.contains(Caps::DEFER);
    let target = mem::take(&mut head.target);
    let mut scope = Scope::new(exchange, number, target, now).with_authority(head.authority.take());
    if let Some(offer) = offer {
        scope = scope.with_upgrade(offer);
    }
    if can_defer {
        scope = scope.with_deferral();
    }
    let mut request = Request::new(body);
    mem::swap(request.method_mut(), head.request.method_mut());
    mem::swap(request.uri_mut(), head.request.uri_mut());
    *request.version_mut() = head.request.version();
    mem::swap(request.headers_mut(), head.request.headers_mut());
    (request, scope)
}

/// The `Upgrade` fields as one list.
fn protocols(request: &Request<()>) -> String {
    let fields = request.headers().get_all(header::UPGRADE).iter();
    fields.filter_map(|field| field.to_str().ok()).collect::<Vec<_>>().join(", ")
}

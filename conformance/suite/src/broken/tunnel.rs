//! The way out of HTTP: what can be upgraded, and the connection as the continuation reads and writes it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};
use varvel::{BlockingTransport, BlockingTunnel, Caps, Event, Outcome, Phase, UpgradeKind};

use super::{
    Fault,
    connection::Then,
    exchange::Exchange,
    parser::{BodyFraming, RequestHead, is_token, trim_ows},
    response::{add_date, write_head},
    wire::Wire,
    worker::{Core, panic_message},
};

/// What a client asks to upgrade to, if it does so properly and this server could (spec U1).
pub(super) fn offer(head: &RequestHead, core: &Core) -> Option<(UpgradeKind, String)> {
    let can = |caps| core.can(caps) || core.has(Fault::MissingUpgradeIsOffered);
    if core.has(Fault::NeverGivesToken) {
        return None;
    }
    if head.method == Method::CONNECT {
        if core.has(Fault::MissingExtendedConnectIsOffered) && head.headers.contains_key("protocol") {
            return Some((UpgradeKind::ExtendedConnect, "test".to_owned()));
        }
        return can(Caps::CONNECT).then(|| (UpgradeKind::Connect, String::new()));
    }
    let has_body = !matches!(head.framing, BodyFraming::None | BodyFraming::Length(0));
    let asks = (head.has_option("upgrade") || core.has(Fault::TokenWithoutConnection))
        && (head.version == Version::HTTP_11 || core.has(Fault::TokenOn10))
        && (!has_body || core.has(Fault::TokenWithBody));
    if !asks || !can(Caps::UPGRADE) {
        return None;
    }
    let values: Vec<_> = head.headers.get_all(header::UPGRADE).iter().map(HeaderValue::as_bytes).collect();
    let protocols = values.join(&b","[..]);
    let mut named =
        protocols.split(|byte| *byte == b',').map(trim_ows).filter(|name| !name.is_empty()).peekable();
    named.peek()?;
    // A protocol is a name, and perhaps a version behind a slash.
    let valid = named.all(|protocol| {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        parts.all(is_token)
    }) || core.has(Fault::TokenForOddUpgrade);
    let protocols = String::from_utf8(protocols).ok()?;
    valid.then_some((UpgradeKind::Http1, protocols))
}

/// Sends the head of an accepted upgrade and runs its continuation to the end.
pub(super) fn run(
    exchange: &Arc<Exchange>,
    kind: UpgradeKind,
    head: response::Parts,
    tunnel: BlockingTunnel,
) -> (Outcome, Then) {
    let has = |fault| exchange.core.has(fault);
    let wire = &exchange.wire;
    let status = match kind {
        UpgradeKind::Http1 => StatusCode::SWITCHING_PROTOCOLS,
        _ => StatusCode::OK,
    };
    let headers = tunnel_headers(exchange, kind, head.headers);
    if exchange.put_head(status, write_head(status, &headers, false)).is_err() {
        exchange.contain(Phase::Drop, || drop(tunnel));
        return (Outcome::Disconnected, Then::Close);
    }
    if has(Fault::MonitorMistakesTunnels) {
        exchange.core.tell_monitor(|monitor, worker| monitor.connection_closed(worker));
    }
    if has(Fault::TunnelHookFiresEarly) {
        exchange.finish(Outcome::Completed);
    }
    if has(Fault::TunnelReadsWithoutBound) {
        wire.read_without_bound();
    }
    if has(Fault::TunnelLosesEarlyBytes) {
        while wire.try_read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    }
    let fault = exchange.core.settings.fault;
    let transport = Transport { wire: Arc::clone(wire), fault, closed: false, held_back: Vec::new() };
    let ran = catch_unwind(AssertUnwindSafe(|| tunnel.run(transport)));
    if let Err(panic) = ran {
        if !has(Fault::TunnelPanicIsLost) {
            exchange.report(Event::Panicked { during: Phase::Tunnel, message: panic_message(&*panic) });
        }
        return (Outcome::Failed, Then::Close);
    }
    let outcome = match wire.flush() {
        Ok(()) => Outcome::Completed,
        Err(_) if wire.is_gone(false) => Outcome::Disconnected,
        Err(_) => Outcome::Completed,
    };
    (outcome, Then::Close)
}

/// The head of an accepted upgrade (spec U3).
fn tunnel_headers(exchange: &Exchange, kind: UpgradeKind, mut headers: HeaderMap) -> HeaderMap {
    let has = |fault| exchange.core.has(fault);
    let upgrade = headers.remove(header::UPGRADE);
    if has(Fault::TunnelDropsFields) {
        headers.clear();
    }
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding"] {
        headers.remove(name);
    }
    if !has(Fault::TunnelKeepsLength) {
        headers.remove(header::CONTENT_LENGTH);
    }
    if kind == UpgradeKind::Http1 && !has(Fault::UpgradeHeadIsBare) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.extend(upgrade.map(|upgrade| (header::UPGRADE, upgrade)));
    }
    add_date(&mut headers, false, false);
    headers
}

struct Transport {
    wire: Arc<Wire>,
    fault: Option<Fault>,
    /// The continuation has ended the sending side.
    closed: bool,
    /// What a fault keeps until something else is written.
    held_back: Vec<u8>,
}

impl Transport {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

impl BlockingTransport for Transport {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.closed && self.has(Fault::CloseEndsReading) {
            return Ok(0);
        }
        let read = self.wire.try_read(buffer)?;
        if read == 0 && !buffer.is_empty() && self.has(Fault::HalfCloseEndsTunnel) {
            self.wire.close_write();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.has(Fault::TunnelIsSevenBit) {
            buffer[..read].iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        Ok(read)
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has(Fault::TunnelLosesLastBytes) {
            return self.wire.try_write(bytes);
        }
        let taken = self.wire.try_write(&self.held_back)?;
        self.held_back.drain(..taken);
        if !self.held_back.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.held_back.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn close_write(&mut self) -> io::Result<()> {
        self.closed = true;
        self.wire.close_write();
        Ok(())
    }

    fn wait(&mut self, readable: bool, writable: bool, timeout: Option<Duration>) -> io::Result<()> {
        self.wire.wait_for_either(readable, writable, timeout)
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wire))
    }
}

/// A continuation that lets go of the connection closes it, even if it has other things to do.
impl Drop for Transport {
    fn drop(&mut self) {
        if self.has(Fault::TunnelStaysOpen) {
            while self.wire.wait_for_either(false, false, None).is_ok() {}
        }
        self.wire.close_write();
    }
}

//! Who the client is behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Request, Response, header, uri::Authority};
use varvel::{Address, Body, Scope};

use crate::{Form, Middleware};

/// Finds out for whom a proxy asks, and keeps it in the scope as [`Client`].
///
/// What a request says of this anybody can write, so it counts only as far as trusted proxies have written it: from the
/// connection's own address on, from right to left, up to and including the first that is not trusted. That is the client.
/// Of requests that do not come from a trusted proxy the fields are removed.
///
/// Proxies write either `Forwarded` (RFC 7239) or `X-Forwarded-For` and `-Proto`, and pass the others through as the client
/// sent them; so only the one that you choose is read, and the others are removed as well. `X-Forwarded-Host` is among the
/// others, unless [you say](Self::trust_host) that your proxy writes it: many do not, and then the client chooses where
/// links in mails lead to, and what caches keep.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::{Client, Forwarded}, respond};
///
/// let app = Forwarded::x_forwarded(["10.0.0.0/8", "127.0.0.1", "::1"])?.around(sync_fn(|_, scope: varvel::Scope| {
///     let client = scope.get::<Client>().cloned();
///     Ok(respond::text(format!("{client:?}")))
/// }));
/// # let _ = app;
/// # Ok::<_, varvel_toolkit::middleware::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forwarded {
    networks: Vec<Network>,
    unix: bool,
    fields: Fields,
    /// Whether proxies write X-Forwarded-Host.
    x_host: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Standard,
    X,
}

/// For whom a request was made, as far as that can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// The client's address; `None` behind a Unix socket or a proxy that keeps it to itself.
    pub address: Option<IpAddr>,
    /// `http` or `https`, if the proxy said what the client spoke.
    pub scheme: Option<&'static str>,
    /// The host that the client named, if the proxy said so.
    pub host: Option<Authority>,
}

/// Whether the client's connection is encrypted, as a trusted proxy or else the server knows.
pub(crate) fn is_secure(scope: &Scope) -> bool {
    let scheme = scope.get::<Client>().and_then(|client| client.scheme);
    scheme.map_or(scope.conn().is_secure(), |scheme| scheme == "https")
}

impl Forwarded {
    /// Reads `Forwarded`, from proxies in these networks: addresses, or such with a number of bits as `10.0.0.0/8`.
    ///
    /// # Errors
    /// If one of them is neither.
    pub fn standard<'n>(networks: impl IntoIterator<Item = &'n str>) -> Result<Self, NetworkError> {
        Self::new(networks, Fields::Standard)
    }

    /// Reads `X-Forwarded-For` and `X-Forwarded-Proto`, from proxies in these networks.
    ///
    /// # Errors
    /// If one of them is no network.
    pub fn x_forwarded<'n>(networks: impl IntoIterator<Item = &'n str>) -> Result<Self, NetworkError> {
        Self::new(networks, Fields::X)
    }

    fn new<'n>(networks: impl IntoIterator<Item = &'n str>, fields: Fields) -> Result<Self, NetworkError> {
        let parse = |text: &'n str| Network::parse(text).ok_or_else(|| NetworkError(text.to_owned()));
        let networks = networks.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { networks, unix: false, fields, x_host: false })
    }

    /// Trusts whoever connects by a Unix socket.
    #[must_use]
    pub fn trust_unix(mut self) -> Self {
        self.unix = true;
        self
    }

    /// Reads `X-Forwarded-Host`, too: for proxies that write it, and never pass on what the client wrote there.
    #[must_use]
    pub fn trust_host(mut self) -> Self {
        self.x_host = true;
        self
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn client(&self, headers: &HeaderMap, peer: &Address) -> Option<Client> {
        let address = peer.ip().map(|address| address.ip());
        let is_trusted = address.map_or(self.unix, |address| self.trusts(address));
        if !is_trusted {
            return None;
        }
        let mut client = Client { address, ..Client::default() };
        let hops = match self.fields {
            Fields::Standard => standard_hops(headers),
            Fields::X => self.x_hops(headers),
        };
        if hops.is_empty() && self.fields == Fields::X {
            // A proxy may be set up to tell the scheme alone.
            client.scheme = x_list(headers, &X_PROTO).last().and_then(|text| scheme(text));
            client.host = self.x_hosts(headers).last().and_then(|text| host(text));
        }
        for hop in hops.into_iter().rev() {
            client = Client {
                address: hop.address,
                // A proxy behind another may not say it again.
                scheme: hop.scheme.or(client.scheme),
                host: hop.host.or(client.host),
            };
            // Whoever keeps the address to itself could be anybody, so nothing beyond it counts.
            if !hop.address.is_some_and(|address| self.trusts(address)) {
                break;
            }
        }
        Some(client)
    }

    /// As if each address came with the scheme and the host of the same place; where there are fewer of those, proxies in
    /// front have not added to them, and they belong to the last.
    fn x_hops(&self, headers: &HeaderMap) -> Vec<Hop> {
        let schemes = x_list(headers, &X_PROTO);
        let hosts = self.x_hosts(headers);
        let addresses = x_list(headers, &X_FOR);
        let aligned = |list: &[&str], at: usize| {
            let at = list.len().checked_sub(addresses.len() - at);
            at.and_then(|at| list.get(at)).copied().map(str::to_owned)
        };
        let hop = |(at, text): (usize, &&str)| Hop {
            address: address(text),
            scheme: aligned(&schemes, at).and_then(|text| scheme(&text)),
            host: aligned(&hosts, at).and_then(|text| host(&text)),
        };
        addresses.iter().enumerate().map(hop).collect()
    }

    fn x_hosts<'h>(&self, headers: &'h HeaderMap) -> Vec<&'h str> {
        if self.x_host { x_list(headers, &X_HOST) } else { Vec::new() }
    }
}

const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Middleware for Forwarded {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        let peer = &scope.conn().peer;
        let found = self.client(request.headers(), peer);
        let is_direct = found.is_none();
        let address = peer.ip().map(|address| address.ip());
        scope.insert(found.unwrap_or(Client { address, ..Client::default() }));
        let is_x = self.fields == Fields::X;
        for (name, is_read) in
            [(header::FORWARDED, !is_x), (X_FOR, is_x), (X_PROTO, is_x), (X_HOST, is_x && self.x_host)]
        {
            if is_direct || !is_read {
                request.headers_mut().remove(name);
            }
        }
        Ok(())
    }

    fn response<F: Form>(&self, (): (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

/// What one proxy wrote of whoever asked it.
#[derive(Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<Authority>,
}

/// RFC 7239 section 4, in the order of the field.
fn standard_hops(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops = Vec::new();
    for list in headers.get_all(header::FORWARDED) {
        // What is no text is the client's, and no address; what proxies wrote behind it stays.
        hops.extend(split(&String::from_utf8_lossy(list.as_bytes()), ',').map(standard_hop));
    }
    hops
}

fn standard_hop(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.address = address(&value),
            name if name.eq_ignore_ascii_case("proto") => hop.scheme = scheme(&value),
            name if name.eq_ignore_ascii_case("host") => hop.host = host(&value),
            _ => {}
        }
    }
    hop
}

fn x_list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lists = headers.get_all(name).iter();
    // Each part for itself: what is no text is the client's, and no address; what proxies wrote behind it stays.
    let parts = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    parts.map(|part| std::str::from_utf8(part).unwrap_or("unknown").trim()).collect()
}

/// The parts between separators that do not stand in quotes. A quote that is never closed is none, or a client could hide
/// behind it what proxies write after that.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let in_quotes = || {
        let (mut quoted, mut escaped) = (false, false);
        move |letter| {
            match letter {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            quoted
        }
    };
    let are_closed = !text.chars().map(in_quotes()).fold(false, |_, is_quoted| is_quoted);
    let mut is_quoted = in_quotes();
    text.split(move |letter| {
        let is_quoted = is_quoted(letter);
        letter == separator && !(is_quoted && are_closed)
    })
    .map(str::trim)
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace('\\', ""),
        None => text.to_owned(),
    }
}

/// An address, with or without a port; IPv6 in brackets or not. `unknown` and names like `_hidden` are none.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().ok().or_else(bare);
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|it: IpAddr| it.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// A host, with or without a port; what is in front of an `@` would make another of it in a URL.
fn host(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|host: &Authority| !host.as_str().contains('@'))
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// Something that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is neither an address nor a network such as 10.0.0.0/8", self.0)
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use varvel::{AsyncBody, ConnInfo, ReadBody, app_fn, sync_fn};
    use varvel_test::Setup;

    use super::*;
    use crate::respond;

    const TRUSTED: [&str; 3] = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"];

    fn describe(headers: &HeaderMap, scope: &Scope) -> String {
        let Client { address, scheme, host } = scope.get::<Client>().unwrap();
        let address = address.map_or("-".to_owned(), |address| address.to_string());
        let host = host.as_ref().map_or("-", Authority::as_str);
        let names = headers.keys().filter(|name| name.as_str().contains("forwarded")).count();
        format!("{address} {} {host} {names}", scheme.unwrap_or("-"))
    }

    /// What both forms see of a request with these fields, and how many of the fields are left.
    fn seen<V: AsRef<[u8]>>(forwarded: &Forwarded, peer: &str, fields: &[(&str, V)]) -> String {
        let local = Address::Ip(([127, 0, 0, 1], 80).into());
        let peer = match peer {
            "unix" => Address::Unnamed,
            ip => Address::Ip(SocketAddr::new(ip.parse().unwrap(), 4711)),
        };
        let setup = || Setup::new().connection(ConnInfo::new(1, peer.clone(), local.clone()));
        let sync = setup().sync(forwarded.clone().around(sync_fn(|request: Request<ReadBody>, scope| {
            Ok(respond::text(describe(request.headers(), &scope)))
        })));
        let polled =
            setup().app(forwarded.clone().around(app_fn(|request: Request<AsyncBody>, scope| async move {
                Ok(respond::text(describe(request.headers(), &scope)))
            })));
        let [sync, polled] = [sync, polled].map(|client| {
            let mut request = client.get("/");
            for (name, value) in fields {
                request = request.header(*name, value.as_ref());
            }
            request.send().text().to_owned()
        });
        assert_eq!(sync, polled);
        sync
    }

    #[test]
    fn the_rightmost_that_is_not_trusted_is_the_client() {
        let forwarded = Forwarded::x_forwarded(TRUSTED).unwrap();
        for (peer, list, expected) in [
            // Who connects directly can write what it likes.
            ("203.0.113.9", "198.51.100.1", "203.0.113.9 - - 0"),
            ("10.1.2.3", "198.51.100.1", "198.51.100.1 - - 1"),
            ("10.1.2.3", "1.2.3.4, 198.51.100.1", "198.51.100.1 - - 1"),
            ("10.1.2.3", "1.2.3.4, 198.51.100.1, 192.0.2.1, 10.9.9.9", "198.51.100.1 - - 1"),
            ("10.1.2.3", "10.0.0.7", "10.0.0.7 - - 1"),
            ("10.1.2.3", "198.51.100.1:8080", "198.51.100.1 - - 1"),
            ("2001:db8::1", "[2001:db9::7]:80", "2001:db9::7 - - 1"),
            ("::ffff:10.1.2.3", "::ffff:198.51.100.1", "198.51.100.1 - - 1"),
            // What is no address hides whoever is before it.
            ("10.1.2.3", "198.51.100.1, nonsense", "- - - 1"),
            ("10.1.2.3", "198.51.100.1,", "- - - 1"),
            ("11.1.2.3", "198.51.100.1", "11.1.2.3 - - 0"),
            ("192.0.2.2", "198.51.100.1", "192.0.2.2 - - 0"),
        ] {
            assert_eq!(seen(&forwarded, peer, &[("x-forwarded-for", list)]), expected, "{peer}: {list}");
        }
        let two = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "198.51.100.1, 10.0.0.1")];
        assert_eq!(seen(&forwarded, "10.0.0.2", &two), "198.51.100.1 - - 1");
        assert_eq!(seen::<&str>(&forwarded, "10.0.0.2", &[]), "10.0.0.2 - - 0");
    }

    #[test]
    fn nothing_that_a_client_writes_hides_what_a_proxy_adds() {
        let x = Forwarded::x_forwarded(TRUSTED).unwrap();
        let standard = Forwarded::standard(TRUSTED).unwrap();
        for junk in
            [&b"\xff"[..], b"\"", b"\xe9, \"", b"for=\"", b"for=\"\\", b"for=\"6.6.6.6", b"\"\";for=\"a\\\""]
        {
            let list = [junk, b", 198.51.100.1"].concat();
            assert_eq!(seen(&x, "10.0.0.2", &[("x-forwarded-for", list)]), "198.51.100.1 - - 1", "{junk:?}");
            for (added, expected) in [
                ("for=198.51.100.1;proto=https", "198.51.100.1 https - 1"),
                ("for=\"[2001:db9::7]:80\";host=\"a.example\"", "2001:db9::7 - a.example 1"),
                ("for=198.51.100.1, for=10.0.0.1", "198.51.100.1 - - 1"),
            ] {
                let list = [junk, b", ", added.as_bytes()].concat();
                assert_eq!(seen(&standard, "10.0.0.2", &[("forwarded", list)]), expected, "{junk:?} {added}");
            }
        }
    }

    #[test]
    fn a_client_does_not_choose_the_host_through_a_proxy_that_does_not_write_it() {
        let fields = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-host", "evil.example")];
        let forwarded = Forwarded::x_forwarded(TRUSTED).unwrap();
        assert_eq!(seen(&forwarded, "10.0.0.2", &fields), "198.51.100.1 - - 1");
        assert_eq!(seen(&forwarded, "10.0.0.2", &fields[1..]), "10.0.0.2 - - 0");
        assert_eq!(seen(&forwarded.trust_host(), "10.0.0.2", &fields), "198.51.100.1 - evil.example 2");
    }

    #[test]
    fn scheme_and_host_are_what_the_clients_own_proxy_said() {
        let forwarded = Forwarded::x_forwarded(TRUSTED).unwrap().trust_host();
        for (list, proto, host, expected) in [
            ("198.51.100.1", "https", "shop.example", "198.51.100.1 https shop.example 3"),
            ("198.51.100.1", "HTTPS", "shop.example:8443", "198.51.100.1 https shop.example:8443 3"),
            (
                "198.51.100.1, 10.0.0.1",
                "https, http",
                "a.example, b.internal",
                "198.51.100.1 https a.example 3",
            ),
            ("198.51.100.1, 10.0.0.1", "https", "a.example", "198.51.100.1 https a.example 3"),
            ("6.6.6.6, 198.51.100.1", "http, https", "evil, a.example", "198.51.100.1 https a.example 3"),
            ("198.51.100.1", "gopher", "not a host", "198.51.100.1 - - 3"),
            ("198.51.100.1", "https", "a.example:@evil.example", "198.51.100.1 https - 3"),
        ] {
            let fields =
                [("x-forwarded-for", list), ("x-forwarded-proto", proto), ("x-forwarded-host", host)];
            assert_eq!(seen(&forwarded, "10.0.0.2", &fields), expected, "{list} {proto} {host}");
        }
    }

    #[test]
    fn a_proxy_may_say_no_more_than_the_scheme() {
        let forwarded = Forwarded::x_forwarded(TRUSTED).unwrap().trust_host();
        for (fields, expected) in [
            (&[("x-forwarded-proto", "https")][..], "10.0.0.2 https - 1"),
            (
                &[("x-forwarded-proto", "http, https"), ("x-forwarded-host", "a.example")],
                "10.0.0.2 https a.example 2",
            ),
        ] {
            assert_eq!(seen(&forwarded, "10.0.0.2", fields), expected, "{fields:?}");
        }
        assert_eq!(seen(&forwarded, "203.0.113.9", &[("x-forwarded-proto", "https")]), "203.0.113.9 - - 0");
    }

    #[test]
    fn the_standards_own_examples() {
        let forwarded = Forwarded::standard(TRUSTED).unwrap();
        for (field, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60 http - 1"),
            ("For=\"[2001:db9:cafe::17]:4711\"", "2001:db9:cafe::17 - - 1"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17 - - 1"),
            ("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "192.0.2.43 - - 1"),
            (
                "for=198.51.100.17;host=\"a.example:81\";proto=https, for=10.0.0.1",
                "198.51.100.17 https a.example:81 1",
            ),
            ("for=1.2.3.4, for=_hidden, for=10.0.0.1", "- - - 1"),
            ("for=1.2.3.4, for=unknown", "- - - 1"),
            ("for=\"6.6.6.6, for=7.7.7.7\", for=198.51.100.17", "198.51.100.17 - - 1"),
        ] {
            assert_eq!(seen(&forwarded, "10.0.0.2", &[("forwarded", field)]), expected, "{field}");
        }
    }

    #[test]
    fn only_the_chosen_fields_count_and_the_others_do_not_get_through() {
        let fields = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "198.51.100.2")];
        let standard = Forwarded::standard(TRUSTED).unwrap();
        assert_eq!(seen(&standard, "10.0.0.2", &fields), "198.51.100.1 - - 1");
        let x = Forwarded::x_forwarded(TRUSTED).unwrap();
        assert_eq!(seen(&x, "10.0.0.2", &fields), "198.51.100.2 - - 1");
        assert_eq!(seen(&x, "unix", &fields), "- - - 0");
        assert_eq!(seen(&x.trust_unix(), "unix", &fields), "198.51.100.2 - - 1");
    }

    #[test]
    fn networks_are_checked_when_they_are_named() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example.org", "10.0.0.0/-1"] {
            assert_eq!(Forwarded::standard([wrong]).unwrap_err(), NetworkError(wrong.to_owned()));
        }
        let everything = Network::parse("0.0.0.0/0").unwrap();
        assert!(everything.contains("8.8.8.8".parse().unwrap()));
        assert!(!everything.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| Forwarded::standard(TRUSTED).unwrap().around(inner));
        varvel_lint::middleware_sync(|inner| Forwarded::standard(TRUSTED).unwrap().around(inner));
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_proxy_has_the_last_word(
            junk in "(,|;|=|\"|\\\\|for=|host=|[ -~]|[\u{80}-\u{ff}]){0,12}",
            cut in 0_usize..3,
        ) {
            // Cut anywhere: also inside of a character.
            let junk = &junk.as_bytes()[..junk.len().saturating_sub(cut)];
            let client = |forwarded: Forwarded, name: HeaderName, added: &[u8]| {
                let list = HeaderValue::from_bytes(&[junk, b", ", added].concat()).unwrap();
                let peer = Address::Ip(([10, 0, 0, 1], 4711).into());
                forwarded.client(&HeaderMap::from_iter([(name, list)]), &peer).unwrap().address
            };
            let standard = || Forwarded::standard(TRUSTED).unwrap();
            let four = "198.51.100.1".parse().ok();
            prop_assert_eq!(client(Forwarded::x_forwarded(TRUSTED).unwrap(), X_FOR, b"198.51.100.1"), four);
            prop_assert_eq!(client(standard(), header::FORWARDED, b"for=198.51.100.1;proto=https"), four);
            let six = client(standard(), header::FORWARDED, b"for=\"[2001:db9::7]:80\";host=\"a.example\"");
            prop_assert_eq!(six, "2001:db9::7".parse().ok());
        }
    }
}

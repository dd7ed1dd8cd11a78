//! Requests: what responders read.

use std::{
    borrow::Cow,
    fmt,
    ops::{self, Bound},
    str::FromStr,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version, header, request::Parts};
use serde::de::DeserializeOwned;
use varvel::{Address, AppError, Body, BodyError, BodyErrorKind, BodyParts, Scope};
use varvel_toolkit::{
    Accept, Blocking, Form, HttpError, MediaType, Polled, Query,
    conditional::{self, Validators, Verdict},
    cookies::Cookies,
    middleware::Client,
    multipart::{Limits, Multipart},
    range::Ranges,
    router::PathParams,
};

use crate::{Context, Result, app::Core, errors};

/// A request to a sync responder: a [`RequestHead`] and a body that is read.
///
/// What is not about the body is found in [`RequestHead`], to which this dereferences.
pub struct Request<F: Form = Blocking> {
    pub(crate) head: RequestHead,
    pub(crate) body: Body<F::In>,
    pub(crate) scope: Scope,
    /// The whole body, or why there is none, once somebody has asked for it.
    data: Option<Result<Bytes, BodyErrorKind>>,
}

/// A request to an async responder: a [`RequestHead`] and a body that is waited for.
pub type AsyncRequest = Request<Polled>;

impl<F: Form> Request<F> {
    pub(crate) fn new(head: RequestHead, body: Body<F::In>, scope: Scope) -> Self {
        Self { head, body, scope, data: None }
    }

    /// The contract's own view of the exchange: connection, worker, disconnects, upgrades.
    pub fn scope(&mut self) -> &mut Scope {
        &mut self.scope
    }

    /// The body as it comes, for whoever does not want all of it at once. Empty once the data or media was asked for.
    pub fn stream(&mut self) -> &mut Body<F::In> {
        &mut self.body
    }

    /// The form that is coming, part by part: what media of the type `multipart/form-data` is in Falcon.
    ///
    /// # Errors
    /// 415 if it is no such form; the body is still there then. 400 or 413 if it cannot be read as one.
    pub fn multipart(&mut self, limits: Limits) -> Result<Multipart<F>, HttpError> {
        let media_type = MediaType::of(&self.head.parts.headers);
        let is_form = media_type.is_some_and(|media_type| media_type.is("multipart/form-data"));
        let body = if is_form { self.take_stream() } else { Body::empty() };
        Multipart::new(&self.head.parts.headers, body, limits)
    }

    /// Takes the body, to be kept or handed on.
    pub fn take_stream(&mut self) -> Body<F::In> {
        std::mem::take(&mut self.body)
    }

    /// Refuses content that nothing could be made of before it is waited for. What has come already needs no waiting.
    fn check_media(&mut self) -> Result<(), HttpError> {
        let parts = self.take_stream().into_parts();
        let is_coming = matches!(parts, BodyParts::Stream(_));
        self.body = parts.into();
        if is_coming { self.head.check_media() } else { Ok(()) }
    }
}

impl Request<Blocking> {
    /// The whole body, up to the [limit](crate::App::set_media_bytes_max). It is kept, and there for the next who asks.
    ///
    /// # Errors
    /// If it is larger (413), or cannot be had.
    pub fn data(&mut self) -> Result<Bytes> {
        if let Some(data) = &self.data {
            return Ok(data.clone().map_err(BodyError::new)?);
        }
        let body = self.take_stream().collect(self.head.core.settings.media_bytes_max);
        self.data = Some(body.as_ref().cloned().map_err(BodyError::kind));
        Ok(body?)
    }

    /// The body as a value, by the [handler](crate::media) of its Content-Type.
    ///
    /// # Errors
    /// 415 if there is no handler for it, without reading it; 400 if it is empty or malformed, 422 if it is another value, and
    /// as [`data`](Self::data).
    pub fn media<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.check_media()?;
        let data = self.data()?;
        self.head.read_media(&data)
    }
}

impl Request<Polled> {
    /// The whole body, up to the [limit](crate::App::set_media_bytes_max). It is kept, and there for the next who asks.
    ///
    /// # Errors
    /// If it is larger (413), or cannot be had.
    pub async fn data(&mut self) -> Result<Bytes> {
        if let Some(data) = &self.data {
            return Ok(data.clone().map_err(BodyError::new)?);
        }
        let body = self.take_stream().collect(self.head.core.settings.media_bytes_max).await;
        self.data = Some(body.as_ref().cloned().map_err(BodyError::kind));
        Ok(body?)
    }

    /// The body as a value, by the [handler](crate::media) of its Content-Type.
    ///
    /// # Errors
    /// 415 if there is no handler for it, without reading it; 400 if it is empty or malformed, 422 if it is another value, and
    /// as [`data`](Self::data).
    pub async fn media<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.check_media()?;
        let data = self.data().await?;
        self.head.read_media(&data)
    }
}

impl<F: Form> ops::Deref for Request<F> {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        &self.head
    }
}

impl<F: Form> ops::DerefMut for Request<F> {
    fn deref_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

impl<F: Form> fmt::Debug for Request<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("head", &self.head).field("body", &self.body).finish()
    }
}

/// A request without its body: what middleware, hooks and error handlers see, and a [`Request`] has.
pub struct RequestHead {
    /// Values that those who handle the request hand on to each other.
    pub context: Context,
    pub(crate) parts: Parts,
    /// How many bytes of the path lead to this application.
    pub(crate) mount: usize,
    pub(crate) peer: Address,
    is_secure: bool,
    forwarded: Option<Box<Client>>,
    pub(crate) params: Option<PathParams>,
    /// The route that was found, by its place in the router.
    pub(crate) route: Option<usize>,
    pub(crate) core: Arc<Core>,
}

impl RequestHead {
    pub(crate) fn new(parts: Parts, scope: &Scope, core: Arc<Core>) -> Self {
        let (peer, is_secure) = (scope.conn().peer.clone(), scope.conn().is_secure());
        let forwarded = scope.get::<Client>().cloned().map(Box::new);
        let mount = scope.mount(&parts.uri).len();
        let context = Context::default();
        Self { context, parts, mount, peer, is_secure, forwarded, params: None, route: None, core }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Lets routing see another method; for `process_request`.
    pub fn set_method(&mut self, method: Method) {
        self.parts.method = method;
    }

    /// The URI, with the path at which this application may be mounted.
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// Lets routing see another URI; for `process_request`. It begins with the path at which this application is mounted, as
    /// the one before.
    pub fn set_uri(&mut self, uri: Uri) {
        self.parts.uri = uri;
    }

    /// The path below the application's mount (`path`), still percent-encoded.
    pub fn path(&self) -> &str {
        let path = self.parts.uri.path();
        path.split_at_checked(self.mount).map_or(path, |(_, local)| local)
    }

    /// The path at which the application is mounted: `root_path`.
    pub fn root_path(&self) -> &str {
        self.parts.uri.path().get(..self.mount).unwrap_or_default()
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The fields of the head.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The fields of the head, to be changed by middleware.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// The first value of a field, if it is text.
    pub fn get_header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The first value of a field, which must be there: `get_header(…, required=True)`.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn get_required_header(&self, name: &str) -> Result<&str, HttpError> {
        self.get_header(name).ok_or_else(|| errors::missing_header(name))
    }

    /// A field as a number or of any other type: `get_header_as_int`.
    ///
    /// # Errors
    /// 400, naming the field, if it is there and is no such value.
    pub fn get_header_as<T: FromStr>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let Some(value) = self.parts.headers.get(name) else { return Ok(None) };
        let value = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        value.map(Some).ok_or_else(|| errors::invalid_header("It has another type.", name))
    }

    /// A field as a date (RFC 9110 section 5.6.7): `get_header_as_datetime`, and with it `date`, `if_modified_since` and
    /// `if_unmodified_since`.
    ///
    /// # Errors
    /// 400, naming the field, if it is there and is no date.
    pub fn get_header_as_datetime(&self, name: &str) -> Result<Option<SystemTime>, HttpError> {
        let Some(value) = self.parts.headers.get(name) else { return Ok(None) };
        let date = conditional::parse_http_date(value);
        date.map(Some).ok_or_else(|| errors::invalid_header("It must be a date of HTTP.", name))
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<&str> {
        self.get_header(header::CONTENT_TYPE.as_str())
    }

    /// Content-Length. Where a body has none, it may still be there: ask the stream.
    pub fn content_length(&self) -> Option<u64> {
        self.get_header(header::CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// Authorization: `auth`.
    pub fn auth(&self) -> Option<&str> {
        self.get_header(header::AUTHORIZATION.as_str())
    }

    /// User-Agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.get_header(header::USER_AGENT.as_str())
    }

    /// Referer.
    pub fn referer(&self) -> Option<&str> {
        self.get_header(header::REFERER.as_str())
    }

    /// The cookies that came; changes to them go to [`ResponseHead::set_cookies`](crate::ResponseHead::set_cookies).
    pub fn cookies(&self) -> Cookies {
        Cookies::of_headers(&self.parts.headers).secure(self.forwarded_scheme() == "https")
    }

    /// All values of a cookie that came several times: `get_cookie_values`.
    pub fn get_cookie_values(&self, name: &str) -> Vec<String> {
        let cookies = self.cookies();
        let values = cookies.received().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.into_owned()).collect()
    }

    /// Host and port, as the client knows them: `netloc`.
    pub fn netloc(&self) -> Option<&str> {
        let authority = self.parts.uri.authority().map(|authority| authority.as_str());
        authority.or_else(|| self.get_header(header::HOST.as_str()))
    }

    /// The host that the request is for, without its port: `host`.
    pub fn host(&self) -> Option<&str> {
        let netloc = self.netloc()?;
        let port = netloc.rfind(':').filter(|colon| !netloc[*colon..].contains(']'));
        Some(port.map_or(netloc, |colon| &netloc[..colon]))
    }

    /// The port that the request is for, which is that of the scheme where the client named none: `port`.
    pub fn port(&self) -> Option<u16> {
        let netloc = self.netloc()?;
        match netloc[self.host()?.len()..].strip_prefix(':') {
            Some(port) if !port.is_empty() => port.parse().ok(),
            _ => Some(if self.is_secure { 443 } else { 80 }),
        }
    }

    /// The first part of a host that has several: `subdomain`.
    pub fn subdomain(&self) -> Option<&str> {
        self.host()?.split_once('.').map(|(first, _)| first)
    }

    /// The scheme of this hop: `https` where the connection is encrypted.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// What proxies say of the client, as far as they are trusted, which
    /// [`Forwarded`](varvel_toolkit::middleware::Forwarded) around the application decides: `forwarded`, `access_route`.
    pub fn forwarded(&self) -> Option<&Client> {
        self.forwarded.as_deref()
    }

    /// The scheme that the client used, if a proxy is trusted to say so, and else that of this hop: `forwarded_scheme`.
    pub fn forwarded_scheme(&self) -> &'static str {
        self.forwarded().and_then(|client| client.scheme).unwrap_or(self.scheme())
    }

    /// Host and port that the client used, if a proxy is trusted to say so, and else those of this hop: `forwarded_host`.
    pub fn forwarded_host(&self) -> Option<&str> {
        let client = self.forwarded().and_then(|client| client.host.as_ref());
        client.map(|host| host.as_str()).or_else(|| self.netloc())
    }

    /// Path and query, as the request has them: `relative_uri`.
    pub fn relative_uri(&self) -> &str {
        self.parts.uri.path_and_query().map_or("", |target| target.as_str())
    }

    /// The whole URL as the client knows it, if it says whom the request is for: `uri`, `url`, and `forwarded_uri` behind a
    /// proxy that is trusted.
    pub fn url(&self) -> Option<String> {
        Some(format!("{}://{}{}", self.forwarded_scheme(), self.forwarded_host()?, self.relative_uri()))
    }

    /// The URL at which the application is mounted: `prefix`, and `forwarded_prefix` behind a proxy that is trusted.
    pub fn prefix(&self) -> Option<String> {
        Some(format!("{}://{}{}", self.forwarded_scheme(), self.forwarded_host()?, self.root_path()))
    }

    /// The other end of the connection. Behind a proxy that is the proxy, and [`forwarded`](Self::forwarded) has the client.
    pub fn remote_addr(&self) -> &Address {
        &self.peer
    }

    /// Whether the client asks for a WebSocket: `is_websocket`. Upgrade means nothing with another method than GET (RFC 6455
    /// section 4.1), and with HTTP/1.0 (RFC 9110 section 7.8).
    pub fn is_websocket(&self) -> bool {
        if self.parts.method != Method::GET || self.parts.version < Version::HTTP_11 {
            return false;
        }
        let protocols = self.parts.headers.get_all(header::UPGRADE).iter();
        let mut protocols = protocols.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
    }

    /// The template of the route that was found.
    pub fn uri_template(&self) -> Option<&str> {
        let route = self.core.router.routes().nth(self.route?)?;
        Some(route.template().as_str())
    }

    /// The value of a field of the route's template, as a type of your choice. In Falcon it is an argument of the responder.
    ///
    /// # Errors
    /// 404 if it is no such value, 500 if the template has no such field.
    pub fn path_param<T: FromStr>(&self, name: &str) -> Result<T, HttpError> {
        match &self.params {
            Some(params) => params.parse(name),
            None => Err(errors::internal_server_error(format!("the route has no field `{name}`"))),
        }
    }

    /// The value of a field of the route's template, as text.
    pub fn path_param_str(&self, name: &str) -> Option<&str> {
        self.params.as_ref()?.get(name)
    }

    /// The parameters of the query: `params`.
    pub fn params(&self) -> Query<'_> {
        Query::of(&self.parts.uri)
    }

    /// The query, without its `?`: `query_string`.
    pub fn query_string(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The first value of a parameter of the query.
    pub fn get_param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params().get(name)
    }

    /// Whether a parameter is there: `has_param`.
    pub fn has_param(&self, name: &str) -> bool {
        self.params().has(name)
    }

    /// All values of a parameter: `get_param_as_list`.
    pub fn get_param_as_list(&self, name: &str) -> Vec<Cow<'_, str>> {
        self.params().all(name).collect()
    }

    /// A parameter as any type, such as a UUID or date of the crates for these: `get_param_as_uuid`, `get_param_as_date`,
    /// `get_param_as_datetime`.
    ///
    /// # Errors
    /// 400, naming the parameter, if it is there and is no such value.
    pub fn get_param_as<T: FromStr>(&self, name: &str) -> Result<Option<T>, HttpError> {
        self.params().parse(name)
    }

    /// A parameter as any type, which must be there: `required=True`.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_required_param_as<T: FromStr>(&self, name: &str) -> Result<T, HttpError> {
        self.params().required(name)
    }

    /// A parameter as an integer.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_param_as_int(&self, name: &str) -> Result<Option<i64>, HttpError> {
        self.get_param_as(name)
    }

    /// A parameter as an integer between bounds, such as `1..=100`: `min_value` and `max_value`.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_param_as_int_in(
        &self,
        name: &str,
        bounds: impl ops::RangeBounds<i64>,
    ) -> Result<Option<i64>, HttpError> {
        let number = self.get_param_as_int(name)?;
        if number.is_none_or(|number| bounds.contains(&number)) {
            return Ok(number);
        }
        let least = match bounds.start_bound() {
            Bound::Included(least) => Some(format!("at least {least}")),
            Bound::Excluded(below) => Some(format!("more than {below}")),
            Bound::Unbounded => None,
        };
        let most = match bounds.end_bound() {
            Bound::Included(most) => Some(format!("at most {most}")),
            Bound::Excluded(above) => Some(format!("less than {above}")),
            Bound::Unbounded => None,
        };
        let both: Vec<_> = least.into_iter().chain(most).collect();
        Err(errors::invalid_param(&format!("It must be {}.", both.join(" and ")), name))
    }

    /// A parameter as a number with a fraction.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_param_as_float(&self, name: &str) -> Result<Option<f64>, HttpError> {
        match self.get_param_as::<f64>(name)? {
            Some(number) if !number.is_finite() => Err(errors::invalid_param("It must be finite.", name)),
            number => Ok(number),
        }
    }

    /// A parameter as yes or no: `true`, `yes`, `on`, `t`, `y`, `1` and their opposites, in small or initial capitals. Without a
    /// value, as in `?verbose`, it means yes.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_param_as_bool(&self, name: &str) -> Result<Option<bool>, HttpError> {
        match self.get_param(name).as_deref() {
            None => Ok(None),
            Some("true" | "True" | "t" | "yes" | "Yes" | "y" | "on" | "On" | "1" | "") => Ok(Some(true)),
            Some("false" | "False" | "f" | "no" | "No" | "n" | "off" | "Off" | "0") => Ok(Some(false)),
            Some(_) => Err(errors::invalid_param("It must be true or false.", name)),
        }
    }

    /// A parameter that holds JSON.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn get_param_as_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let Some(text) = self.get_param(name) else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(errors::invalid_param(&error.to_string(), name)),
        }
    }

    /// Which media types the client accepts: `accept`.
    pub fn accept(&self) -> Accept {
        Accept::of(&self.parts.headers)
    }

    /// Whether the client accepts a media type.
    pub fn client_accepts(&self, media_type: &str) -> bool {
        self.accept().accepts(media_type)
    }

    /// `client_accepts_json`.
    pub fn client_accepts_json(&self) -> bool {
        self.client_accepts("application/json")
    }

    /// `client_accepts_xml`.
    pub fn client_accepts_xml(&self) -> bool {
        self.client_accepts("application/xml")
    }

    /// `client_accepts_msgpack`.
    pub fn client_accepts_msgpack(&self) -> bool {
        self.client_accepts("application/msgpack") || self.client_accepts("application/x-msgpack")
    }

    /// Which of these media types the client likes best, if any.
    pub fn client_prefers<'o>(&self, media_types: &[&'o str]) -> Option<&'o str> {
        self.accept().best(media_types)
    }

    /// What If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since come to, for this version of the resource, or
    /// none: before something is changed. For answers there is
    /// [`make_conditional`](crate::ResponseHead::make_conditional).
    pub fn precondition(&self, current: Option<&Validators>) -> Verdict {
        conditional::evaluate(&self.parts.method, &self.parts.headers, current)
    }

    /// Which parts of so many bytes the client asks for: `range`.
    pub fn range(&self, whole: u64, ranges_max: usize) -> Ranges {
        Ranges::of(&self.parts.headers, whole, ranges_max)
    }

    /// Whether the content is of a media type that has a handler, which takes it as a whole.
    pub(crate) fn has_media(&self) -> bool {
        self.media_type().is_ok_and(|media_type| self.core.settings.media.has(media_type))
    }

    /// Refuses content that nothing could be made of.
    fn check_media(&self) -> Result<(), HttpError> {
        let media_type = self.media_type()?;
        if self.core.settings.media.has(media_type) {
            return Ok(());
        }
        Err(errors::unsupported_media_type(format!("There is no handler for {media_type}.")))
    }

    fn read_media<T: DeserializeOwned>(&self, data: &Bytes) -> Result<T> {
        self.core.settings.media.deserialize(self.media_type()?, data).map_err(AppError::from)
    }

    /// Of the content.
    fn media_type(&self) -> Result<&str, HttpError> {
        match self.parts.headers.get(header::CONTENT_TYPE) {
            None => Ok(self.core.settings.media_type),
            Some(value) => value.to_str().map_err(|_| errors::invalid_header("", "content-type")),
        }
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.parts.method)
            .field("uri", &self.parts.uri)
            .field("template", &self.uri_template())
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

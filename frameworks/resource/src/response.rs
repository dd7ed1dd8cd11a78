//! Responses: what responders fill in.

use std::{fmt, io::Read, mem, ops, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use varvel::{AppError, AsyncBody, Body, BodyError, BodyParts, FileRegion, WriteBody};
use varvel_toolkit::{
    Blocking, Form, Polled,
    conditional::{self, ETag},
    cookies::Cookies,
    events::{self, BlockingEvents, Events},
    respond,
    websocket::{Handshake, WebSocket},
};

use crate::{Context, Request, RequestHead, Result, app::Core};

/// The response of a sync responder, to be filled in: a [`ResponseHead`], and a stream if there is to be one.
///
/// What is not about streams is found in [`ResponseHead`], to which this dereferences. A new one is 200 without content.
pub struct Response<F: Form = Blocking> {
    pub(crate) head: ResponseHead,
    stream: Body<F::Out>,
}

/// The response of an async responder.
pub type AsyncResponse = Response<Polled>;

impl<F: Form> Response<F> {
    pub(crate) fn new(head: ResponseHead) -> Self {
        Self { head, stream: Body::empty() }
    }

    /// The content as a body of the contract, in whatever way that is made.
    pub fn set_body(&mut self, body: Body<F::Out>) {
        self.head.content = Content::Stream;
        self.stream = body;
    }

    /// Takes over a response of the contract, as the toolkit makes them or another application answers. Fields that were set
    /// before stay, unless the other response has them, too; of Set-Cookie and Vary both stay.
    pub fn replace(&mut self, answer: http::Response<Body<F::Out>>) {
        let (parts, body) = answer.into_parts();
        self.head.status = parts.status;
        self.head.take_over(parts.headers);
        self.set_body(body);
    }

    /// Takes out what was filled in.
    pub(crate) fn finish(&mut self, req: &RequestHead) -> http::Response<Body<F::Out>> {
        let body = match mem::replace(&mut self.head.content, Content::Empty) {
            Content::Empty => Body::empty(),
            Content::Data(data, kind) => {
                if !self.head.headers.contains_key(header::CONTENT_TYPE) {
                    let media_type = match kind {
                        Kind::Media => self.head.core.settings.media_type_value.clone(),
                        Kind::Text => TEXT,
                        Kind::Bytes => BYTES,
                    };
                    self.head.headers.insert(header::CONTENT_TYPE, media_type);
                }
                Body::full(data)
            }
            Content::File(region) => Body::file(region),
            Content::Stream => mem::take(&mut self.stream),
        };
        let mut response = http::Response::new(body);
        *response.status_mut() = self.head.status;
        *response.headers_mut() = mem::take(&mut self.head.headers);
        match self.head.ranges_max {
            None => response,
            Some(ranges_max) => conditional::answer::<F>(req.method(), req.headers(), response, ranges_max),
        }
    }
}

impl Response<Blocking> {
    /// Whether the answer comes later, and the content is a placeholder for it.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(self.head.content, Content::Stream) && self.stream.is_deferred()
    }

    /// Takes the placeholder out; what else was set stays until the answer comes.
    pub(crate) fn take_placeholder(&mut self) -> http::Response<WriteBody> {
        http::Response::new(mem::take(&mut self.stream))
    }

    /// Sets the content to all that a reader gives, sent as it comes: `stream`.
    pub fn set_stream(&mut self, reader: impl Read + Send + 'static) {
        self.set_body(WriteBody::from_reader(reader));
    }

    /// Sets the content to [server-sent events](events), which a closure sends on the thread of the call once the head is
    /// sent: `sse`. For more than a few such streams use an async responder.
    ///
    /// ```
    /// use varvel_resource::{Request, Response, Result};
    /// use varvel_toolkit::events::Event;
    ///
    /// struct Clock;
    ///
    /// impl Clock {
    ///     fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
    ///         resp.set_sse(req, |events| events.send(&Event::new("tick")));
    ///         Ok(())
    ///     }
    /// }
    /// # let _ = Clock::on_get;
    /// ```
    pub fn set_sse(
        &mut self,
        req: &Request<Blocking>,
        send: impl FnOnce(&mut BlockingEvents<'_>) -> Result<(), BodyError> + Send + 'static,
    ) {
        self.replace(events::respond_blocking(&req.scope, send));
    }

    /// Opens a WebSocket, which `run` gets once the response is sent, on a thread of its own: for a
    /// [websocket responder](crate::Responders::websocket).
    ///
    /// # Errors
    /// If the request cannot become one; which, and how it is answered, says [`Handshake`].
    pub fn accept_websocket(
        &mut self,
        req: &mut Request<Blocking>,
        handshake: &Handshake,
        run: impl FnOnce(WebSocket<Blocking>) + Send + 'static,
    ) -> Result {
        let Request { head, scope, .. } = req;
        let agreed = handshake.agree(head.method(), head.headers(), scope)?;
        self.replace(agreed.open_blocking(run));
        Ok(())
    }
}

impl Response<Polled> {
    /// Sets the content to this body, sent as it comes, such as of [`AsyncBody::generate`]: `stream`.
    pub fn set_stream(&mut self, stream: AsyncBody) {
        self.set_body(stream);
    }

    /// Sets the content to [server-sent events](events), which an async block sends; it is dropped when the client leaves or
    /// the server stops: `sse`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use varvel_resource::{AsyncRequest, AsyncResponse, Result};
    /// use varvel_toolkit::events::Event;
    ///
    /// struct Clock;
    ///
    /// impl Clock {
    ///     async fn on_get(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
    ///         let worker = req.scope().worker().clone();
    ///         resp.set_sse(req, |mut events| async move {
    ///             loop {
    ///                 worker.sleep(Duration::from_secs(1)).await;
    ///                 events.send(&Event::new("tick")).await;
    ///             }
    ///         });
    ///         Ok(())
    ///     }
    /// }
    /// # let _ = Clock::on_get;
    /// ```
    pub fn set_sse<S, Fut>(&mut self, req: &Request<Polled>, send: S)
    where
        S: FnOnce(Events) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.replace(events::respond(&req.scope, send));
    }

    /// Opens a WebSocket, which `run` gets once the response is sent: for a
    /// [websocket responder](crate::Responders::websocket).
    ///
    /// # Errors
    /// If the request cannot become one; which, and how it is answered, says [`Handshake`].
    pub fn accept_websocket<R, Fut>(
        &mut self,
        req: &mut Request<Polled>,
        handshake: &Handshake,
        run: R,
    ) -> Result
    where
        R: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Request { head, scope, .. } = req;
        let agreed = handshake.agree(head.method(), head.headers(), scope)?;
        self.replace(agreed.open(run));
        Ok(())
    }
}

impl<F: Form> ops::Deref for Response<F> {
    type Target = ResponseHead;

    fn deref(&self) -> &ResponseHead {
        &self.head
    }
}

impl<F: Form> ops::DerefMut for Response<F> {
    fn deref_mut(&mut self) -> &mut ResponseHead {
        &mut self.head
    }
}

impl<F: Form> fmt::Debug for Response<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Response").field(&self.head).finish()
    }
}

/// A response as far as it is the same in both forms, which is all but a stream: what middleware, hooks and error handlers
/// see, and a [`Response`] has.
pub struct ResponseHead {
    /// The status, 200 unless set.
    pub status: StatusCode,
    /// The fields of the head.
    pub headers: HeaderMap,
    /// Values that those who fill in the response hand on to each other.
    pub context: Context,
    pub(crate) content: Content,
    pub(crate) is_complete: bool,
    ranges_max: Option<usize>,
    core: Arc<Core>,
}

pub(crate) enum Content {
    Empty,
    Data(Bytes, Kind),
    File(FileRegion),
    /// What the [`Response`] has.
    Stream,
}

/// What data is, unless the fields name a media type.
pub(crate) enum Kind {
    /// Of the media type that the application has for it.
    Media,
    Text,
    Bytes,
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl ResponseHead {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            context: Context::default(),
            content: Content::Empty,
            is_complete: false,
            ranges_max: None,
            core,
        }
    }

    /// Sets the content to a value, serialised now by the [handler](crate::media) of the media type that was set before, or else of
    /// JSON.
    ///
    /// # Errors
    /// If the value has no such form.
    pub fn set_media(&mut self, value: &impl Serialize) -> Result {
        let media_type = match self.headers.get(header::CONTENT_TYPE) {
            None => self.core.settings.media_type,
            Some(value) => value.to_str()?,
        };
        let data = self.core.settings.media.serialize(media_type, value)?;
        self.content = Content::Data(data.into(), Kind::Media);
        Ok(())
    }

    /// Sets the content to text, `text/plain` unless another media type is set.
    pub fn set_text(&mut self, text: impl Into<String>) {
        self.content = Content::Data(text.into().into(), Kind::Text);
    }

    /// Sets the content to bytes, `application/octet-stream` unless another media type is set.
    pub fn set_data(&mut self, data: impl Into<Bytes>) {
        self.content = Content::Data(data.into(), Kind::Bytes);
    }

    /// Sets the content to a part of a file, which servers send without reading it.
    pub fn set_file(&mut self, region: FileRegion) {
        self.content = Content::File(region);
    }

    /// Removes the content.
    pub fn clear(&mut self) {
        self.content = Content::Empty;
    }

    /// The content, where it is in memory.
    pub fn data(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Empty => Some(b""),
            Content::Data(data, _) => Some(data),
            Content::File(_) | Content::Stream => None,
        }
    }

    /// Ends the call: neither responder nor hooks come, only `process_response`.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }

    /// The first value of a field, if it is text.
    pub fn get_header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Sets a field, in place of those of its name.
    ///
    /// # Errors
    /// If the value cannot be one.
    pub fn set_header(&mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Result {
        let value = value.try_into().map_err(|_| unsendable(&name))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Adds a field, beside those of its name.
    ///
    /// # Errors
    /// If the value cannot be one.
    pub fn append_header(&mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Result {
        let value = value.try_into().map_err(|_| unsendable(&name))?;
        self.headers.append(name, value);
        Ok(())
    }

    /// Removes all fields of a name.
    pub fn delete_header(&mut self, name: HeaderName) {
        self.headers.remove(name);
    }

    /// Content-Type: `content_type`. Before [`set_media`](Self::set_media) it chooses the handler.
    ///
    /// # Panics
    /// If it cannot be the value of a header.
    pub fn set_content_type(&mut self, media_type: &'static str) {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }

    /// Sends the cookies that were changed, which [`RequestHead::cookies`] gave: `set_cookie` and
    /// `unset_cookie`.
    pub fn set_cookies(&mut self, cookies: &Cookies) {
        cookies.write_to(&mut self.headers);
    }

    /// Which version of the resource this is: `etag`.
    pub fn set_etag(&mut self, etag: &ETag) {
        self.headers.insert(header::ETAG, etag.clone().into());
    }

    /// When the resource last changed: `last_modified`.
    pub fn set_last_modified(&mut self, moment: SystemTime) {
        if let Some(date) = conditional::http_date(moment) {
            self.headers.insert(header::LAST_MODIFIED, date);
        }
    }

    /// Until when the content may be taken for fresh: `expires`.
    pub fn set_expires(&mut self, moment: SystemTime) {
        if let Some(date) = conditional::http_date(moment) {
            self.headers.insert(header::EXPIRES, date);
        }
    }

    /// How caches may keep the content, such as `public, max-age=600`: `cache_control`.
    ///
    /// # Panics
    /// If they cannot be the value of a header.
    pub fn set_cache_control(&mut self, directives: &'static str) {
        self.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(directives));
    }

    /// Where the client is to look, with what a URL cannot hold percent-encoded: `location`. To end a call with a redirection
    /// there is [`HttpStatus`](crate::HttpStatus).
    pub fn set_location(&mut self, location: &str) {
        self.headers.insert(header::LOCATION, respond::location(location));
    }

    /// The URL of what is sent, with what a URL cannot hold percent-encoded: `content_location`.
    pub fn set_content_location(&mut self, location: &str) {
        self.headers.insert(header::CONTENT_LOCATION, respond::location(location));
    }

    /// After how many seconds the client may ask again: `retry_after`.
    pub fn set_retry_after(&mut self, seconds: u64) {
        self.headers.insert(header::RETRY_AFTER, seconds.into());
    }

    /// Names a field of the request that the response depends on, beside those that are named already: `vary`.
    pub fn append_vary(&mut self, name: HeaderName) {
        self.headers.append(header::VARY, name.into());
    }

    /// Evaluates the conditions of the request when the response is done, by its ETag and Last-Modified: 304, 412, or
    /// as many as `ranges_max` parts of it where the client asks for parts. Falcon leaves that to responders.
    pub fn make_conditional(&mut self, ranges_max: usize) {
        self.ranges_max = Some(ranges_max);
    }

    /// Tells browsers to save the content under this name: `downloadable_as`. See [`respond::attachment`] for names that a header
    /// cannot hold as they are.
    pub fn set_downloadable_as(&mut self, filename: &str) {
        self.headers.insert(header::CONTENT_DISPOSITION, respond::attachment(filename));
    }

    /// Tells browsers to show the content, and to suggest this name where it is saved: `viewable_as`.
    pub fn set_viewable_as(&mut self, filename: &str) {
        self.headers.insert(header::CONTENT_DISPOSITION, respond::inline(filename));
    }

    /// Adds a Link to another resource, of this relation, or several with spaces between them: `append_link`. What a URL
    /// cannot hold is percent-encoded in both.
    pub fn append_link(&mut self, target: &str, relation: &str) {
        let encoded = |url| String::from_utf8_lossy(respond::location(url).as_bytes()).into_owned();
        let relations: Vec<_> = relation.split_whitespace().map(encoded).collect();
        let link = format!("<{}>; rel=\"{}\"", encoded(target), relations.join(" "));
        self.headers.append(header::LINK, HeaderValue::try_from(link).expect("only visible ASCII is left"));
    }

    /// Sets the fields of another response in place of those of their names. Of fields that add up, such as cookies of
    /// middleware and of the responder, none is lost.
    pub(crate) fn take_over(&mut self, headers: HeaderMap) {
        for name in headers.keys().filter(|name| ![header::SET_COOKIE, header::VARY].contains(name)) {
            self.headers.remove(name);
        }
        let mut last = None;
        for (name, value) in headers {
            last = name.or(last);
            if let Some(name) = &last {
                self.headers.append(name, value);
            }
        }
    }

    /// Before it becomes an answer for a failure: whatever the responder had said of its content.
    pub(crate) fn forget_representation(&mut self) {
        self.clear();
        self.ranges_max = None;
        for name in [
            header::ACCEPT_RANGES,
            header::CONTENT_DISPOSITION,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
            header::CONTENT_LENGTH,
            header::CONTENT_LOCATION,
            header::CONTENT_RANGE,
            header::CONTENT_TYPE,
            header::ETAG,
            header::LAST_MODIFIED,
            // Of a WebSocket that is not to be opened after all.
            header::UPGRADE,
            header::SEC_WEBSOCKET_ACCEPT,
            header::SEC_WEBSOCKET_PROTOCOL,
        ] {
            self.headers.remove(name);
        }
    }

    pub(crate) fn content_of<M: varvel::Mode>(&mut self, body: Body<M>) {
        // What the toolkit makes of errors is in memory.
        self.content = match body.into_parts() {
            BodyParts::Full(data) => Content::Data(data, Kind::Bytes),
            _ => Content::Empty,
        };
    }

    pub(crate) fn text(&mut self, text: Bytes) {
        self.content = if text.is_empty() { Content::Empty } else { Content::Data(text, Kind::Text) };
    }
}

fn unsendable(name: &HeaderName) -> AppError {
    AppError::internal(format!("the value for the field {name} cannot be sent"))
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

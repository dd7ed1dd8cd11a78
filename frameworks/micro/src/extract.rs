//! What handlers take: their arguments are made from the request.

use std::{any::TypeId, fmt, ops::Deref, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use varvel::{AsyncBody, ReadBody, Scope};
use varvel_toolkit::{
    Blocking, HttpError, MediaType, Polled,
    cookies::Cookies,
    json,
    multipart::Multipart,
    query,
    router::{Template, UrlError},
    urlencoded::{Limits, UrlEncoded},
};

use crate::{Call, Json, call::Incoming, context::Names};
#[cfg(doc)]
use crate::{Session, WebSocketUpgrade};

/// What a handler can take as an argument.
///
/// | argument | is | may be refused with |
/// |---|---|---|
/// | `String`, `i64`, `u32`, `f64`, `bool`, ..., [`Path<T>`] | the next field of the path | 404 |
/// | [`Query<T>`] | the query, as your type | 400 |
/// | [`Form<T>`] | a form in the content, as your type | 415, 413, 400, 422 |
/// | [`Json<T>`] | JSON in the content, as your type | 415, 413, 400, 422 |
/// | [`Bytes`] | the content, whatever it is | 413 |
/// | [`Multipart`], in sync handlers `Multipart<Blocking>` | a form with files, part by part | 415, 413, 400 |
/// | [`HeaderMap`], [`Method`], [`Uri`], [`Cookies`] | a part of the request's head | |
/// | [`State<T>`] | the value given to [`App::state`](crate::App::state) | |
/// | [`Session`] | the session of this browser | |
/// | [`middleware::Session`](varvel_toolkit::middleware::Session) | the same, [kept on the server](Session#on-the-server) | |
/// | [`Urls`] | the paths of routes by name | |
/// | `Request<AsyncBody>`, in sync handlers `Request<ReadBody>` | the whole request, with its body as it arrives | |
/// | [`WebSocketUpgrade`], in sync handlers `WebSocketUpgrade<Blocking>` | a request for a WebSocket | 426 |
/// | [`Scope`] | everything else the server knows, such as its [`Worker`](crate::Worker) | |
///
/// The last three take everything with them, so they must come last.
///
/// Take `Result<T, HttpError>` of any of these to get the reason where it would be refused, such as to show a form again, or
/// `Option<T>` to get `None`, whatever the reason: also where a body is malformed rather than missing. Content above
/// [`content_bytes_max`](crate::App::content_bytes_max) and failures of the application, 500 and above, are answered without
/// the handler all the same.
///
/// Arguments of your own are made from others. `F` is the form of the handler; what only looks at the head works in both:
///
/// ```
/// use http::StatusCode;
/// use varvel_micro::{App, Call, Extract, HttpError};
///
/// /// The caller, known by a key in the head.
/// struct Caller(String);
///
/// impl<F> Extract<F> for Caller {
///     fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
///         match call.header("x-key") {
///             Some("sesame") => Ok(Self("Ali".into())),
///             _ => Err(HttpError::new(StatusCode::UNAUTHORIZED)),
///         }
///     }
/// }
///
/// let mut app = App::new();
/// app.get("/cave", |caller: Caller| format!("Come in, {}.", caller.0));
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.get("/cave").header("x-key", "sesame").send().text(), "Come in, Ali.");
/// # assert_eq!(client.get("/cave").send().status(), 401);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of this handler",
    label = "cannot be made from a request",
    note = "a field of the path is a `String`, a number, or a `Path<T>` of your own type; other arguments are `Query<T>`, \
            `Form<T>`, `Json<T>`, `State<T>`, `Session`, `HeaderMap`, `Bytes` and whatever implements `Extract`",
    note = "the whole request is a `Request<ReadBody>` in a sync handler, a `Request<AsyncBody>` in an async one; \
            `Multipart` and `WebSocketUpgrade` are `<Blocking>` in a sync one"
)]
pub trait Extract<F>: Sized {
    /// Whether the content has to be read first, into [`Call::content`].
    ///
    /// It is read before any of the handler's arguments is made. A check that should come first, such as who calls, belongs in
    /// a [`before`](crate::App::before) hook.
    const READS: bool = false;

    /// Refuses content by the header fields, before it has come; nothing unless overridden. [`extract`](Self::extract) refuses it,
    /// too, as what has come already is not asked about here.
    ///
    /// # Errors
    /// What the client is told instead.
    fn check(headers: &HeaderMap) -> Result<(), HttpError> {
        let _ = headers;
        Ok(())
    }

    /// Declares what it takes, so that mistakes are found when the route is added; nothing unless overridden. If it is made
    /// from others, it should pass this on to them.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Makes the argument.
    ///
    /// # Errors
    /// What the client is told instead.
    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError>;
}

/// What the arguments of a handler need; see [`Extract::needs`].
#[derive(Debug, Default)]
pub struct Needs {
    pub(crate) fields: usize,
    pub(crate) states: Vec<(TypeId, &'static str)>,
    pub(crate) session: bool,
    /// Something is made from the whole content.
    pub(crate) reads: bool,
    /// Something takes the content as it arrives.
    pub(crate) streams: bool,
    /// The argument that takes everything with it.
    pub(crate) whole: Option<&'static str>,
    /// The same, if another argument follows.
    pub(crate) behind: Option<&'static str>,
}

impl Needs {
    pub(crate) fn some(&mut self) {
        self.behind = self.behind.or(self.whole);
    }

    /// An argument that leaves nothing to those that follow.
    pub(crate) fn last(&mut self, name: &'static str) {
        self.some();
        self.whole = Some(name);
    }
}

macro_rules! fields {
    ($($type:ty)*) => {$(
        impl<F> Extract<F> for $type {
            fn needs(needs: &mut Needs) {
                needs.some();
                needs.fields += 1;
            }

            fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
                call.next_field()
            }
        }
    )*};
}

fields! { String char bool i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 }

/// The next field of the path as a type of your own, by its [`FromStr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<F, T: FromStr> Extract<F> for Path<T> {
    fn needs(needs: &mut Needs) {
        needs.some();
        needs.fields += 1;
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        call.next_field().map(Self)
    }
}

/// The query as a type of your own: `?q=rust&tag=a&tag=b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<F, T: DeserializeOwned> Extract<F> for Query<T> {
    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        query::Query::of(call.uri()).typed().map(Self)
    }
}

/// The content of a form, `application/x-www-form-urlencoded`, as a type of your own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form<T>(pub T);

impl<F, T: DeserializeOwned> Extract<F> for Form<T> {
    const READS: bool = true;

    fn check(headers: &HeaderMap) -> Result<(), HttpError> {
        const FORM: &str = "application/x-www-form-urlencoded";
        expect(headers, FORM, |media_type| media_type.is(FORM))
    }

    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        <Self as Extract<F>>::check(call.headers())?;
        let limits = Limits { bytes: call.context.content_bytes_max, ..Limits::default() };
        Ok(Self(UrlEncoded::new(call.received.content.clone(), &limits)?.typed()?))
    }
}

impl<F, T: DeserializeOwned> Extract<F> for Json<T> {
    const READS: bool = true;

    fn check(headers: &HeaderMap) -> Result<(), HttpError> {
        expect(headers, "application/json", |media_type| media_type.is_json())
    }

    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        <Self as Extract<F>>::check(call.headers())?;
        json::from_slice(&call.received.content).map(Self)
    }
}

/// 415 for content of another media type or of none, and for content that is compressed (RFC 9110 section 15.5.16).
fn expect(
    headers: &HeaderMap,
    expected: &'static str,
    is_it: impl Fn(&MediaType<'_>) -> bool,
) -> Result<(), HttpError> {
    let unsupported = || HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    if !MediaType::of(headers).is_some_and(|media_type| is_it(&media_type)) {
        return Err(unsupported().with_code("unsupported_media_type").with_member("expected", expected));
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported()
            .with_code("unsupported_content_encoding")
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

impl<F> Extract<F> for Bytes {
    const READS: bool = true;

    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        Ok(call.received.content.clone())
    }
}

macro_rules! of_head {
    ($($type:ty: |$call:ident| $value:expr;)*) => {$(
        impl<F> Extract<F> for $type {
            fn needs(needs: &mut Needs) {
                needs.some();
            }

            fn extract($call: &mut Call<'_>) -> Result<Self, HttpError> {
                Ok($value)
            }
        }
    )*};
}

of_head! {
    HeaderMap: |call| call.headers().clone();
    Method: |call| call.method().clone();
    Uri: |call| call.uri().clone();
    Urls: |call| Urls(Arc::clone(&call.context.names));
}

/// The cookies of the request. To set one, return a [`SetCookie`](crate::SetCookie).
impl<F> Extract<F> for Cookies {
    fn needs(needs: &mut Needs) {
        needs.some();
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        match call.scope() {
            Some(scope) => Ok(Self::of(&call.received.head.headers, scope)),
            None => Err(taken()),
        }
    }
}

/// A value shared by all calls, given to [`App::state`](crate::App::state), or by all calls of a worker, made by
/// [`App::startup`](crate::App::startup).
#[derive(Debug)]
pub struct State<T>(Arc<T>);

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<F, T: Send + Sync + 'static> Extract<F> for State<T> {
    fn needs(needs: &mut Needs) {
        needs.some();
        needs.states.push((TypeId::of::<T>(), std::any::type_name::<T>()));
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        let state = call.context.states.get(&TypeId::of::<T>()).cloned();
        match state.and_then(|state| state.downcast().ok()) {
            Some(state) => Ok(Self(state)),
            None => Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(format!(
                "there is no `{}`: `app.startup` takes effect only where the application is deployed as a factory",
                std::any::type_name::<T>()
            ))),
        }
    }
}

/// The paths of routes by name, as [`App::url_for`](crate::App::url_for) returns them.
#[derive(Clone)]
pub struct Urls(Arc<Names>);

impl Urls {
    /// The path of the route with this name, with these values in its fields.
    ///
    /// # Errors
    /// If no route has this name, or a value is missing, unknown or not acceptable.
    pub fn url_for(&self, name: &str, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        match self.0.get(name) {
            Some(template) => Template::url(template, values),
            None => Err(UrlError::UnknownName(name.into())),
        }
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

macro_rules! multipart {
    ($($form:ident)*) => {$(
        impl Extract<$form> for Multipart<$form> {
            fn needs(needs: &mut Needs) {
                needs.some();
                needs.streams = true;
            }

            fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
                match call.received.body.take() {
                    Incoming::$form(body) => Self::new(&call.received.head.headers, body, call.context.multipart),
                    _ => Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR)
                        .caused_by("another argument took the content")),
                }
            }
        }
    )*};
}

multipart! { Blocking Polled }

macro_rules! whole {
    ($($form:ident $body:ident)*) => {$(
        impl Extract<$form> for Request<$body> {
            fn needs(needs: &mut Needs) {
                needs.last("Request");
            }

            fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
                let head = call.take_head();
                match call.received.body.take() {
                    Incoming::$form(body) => Ok(Request::from_parts(head, body)),
                    // The content was read for another argument.
                    _ => Ok(Request::from_parts(head, $body::full(call.received.content.clone()))),
                }
            }
        }
    )*};
}

whole! { Blocking ReadBody Polled AsyncBody }

impl<F> Extract<F> for Scope {
    fn needs(needs: &mut Needs) {
        // It may follow a request.
        if needs.whole != Some("Request") {
            needs.some();
        }
        needs.whole = Some("Scope");
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        call.take_scope().ok_or_else(taken)
    }
}

pub(crate) fn taken() -> HttpError {
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by("another argument took the scope")
}

impl<F, T: Extract<F>> Extract<F> for Option<T> {
    const READS: bool = T::READS;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        match T::extract(call) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.status().is_server_error() => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl<F, T: Extract<F>> Extract<F> for Result<T, HttpError> {
    const READS: bool = T::READS;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        match T::extract(call) {
            Err(error) if error.status().is_server_error() => Err(error),
            result => Ok(result),
        }
    }
}

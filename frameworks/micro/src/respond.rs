//! What handlers return: anything that can be a response.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use varvel::{AppError, Body, BoxError, Mode};
use varvel_toolkit::{
    HttpError,
    cookies::{Cookie, Cookies},
    respond,
};

/// What a handler can return.
///
/// | returned | response |
/// |---|---|
/// | `&str`, `String` | text |
/// | [`Html`] | HTML |
/// | [`Template`](crate::Template) | a page rendered from a template |
/// | [`Json`] | a value as JSON |
/// | `Bytes`, `Vec<u8>` | bytes, as `application/octet-stream` |
/// | `()` | 204 No Content |
/// | `StatusCode` | that status, and no content |
/// | [`HttpError`] | an error: problem details, or what an [error hook](crate::App::error) makes of it |
/// | [`Redirect`] | a redirect |
/// | `(StatusCode, R)` | `R` with that status |
/// | `([(name, value); N], R)`, `(HeaderMap, R)`, `(StatusCode, [(name, value); N], R)` | `R` with these header fields, which replace its own of the same names |
/// | `(SetCookie, R)` | `R` with a cookie |
/// | `Option<R>` | `R`, or 404; from an [error hook](crate::App::error) the problem details |
/// | `Result<R, E>` | `R`; an [`HttpError`] as above, any other error as a 500 whose cause is reported |
/// | `Response<WriteBody>`, in async handlers `Response<AsyncBody>` | as it is, such as those of [`events`](crate::events) |
///
/// Any of these becomes a whole response by [`respond`](Self::respond), for a handler that returns now this and now that:
///
/// ```
/// use varvel_micro::{App, Error, Html, Redirect, Respond, Response, WriteBody};
///
/// fn page(number: u32) -> Result<Response<WriteBody>, Error> {
///     if number == 0 {
///         return Redirect::to("/pages/1").respond();
///     }
///     Html(format!("<h1>{number}</h1>")).respond()
/// }
///
/// let mut app = App::new();
/// app.get("/pages/{number}", page);
/// # let client = varvel_test::Client::new(app);
/// # assert_eq!(client.get("/pages/0").send().header("location"), Some("/pages/1"));
/// # assert_eq!(client.get("/pages/2").send().text(), "<h1>2</h1>");
/// ```
///
/// `M` is how the body flows: [`Push`](varvel::Push) in sync handlers, [`Async`](varvel::Async) in async ones. What you write
/// for types of your own serves both: `impl<M: Mode> Respond<M> for Page`.
#[diagnostic::on_unimplemented(
    message = "this handler cannot respond with `{Self}`",
    label = "not a response",
    note = "responses are text, `Html`, `Template(name, values)`, `Json(value)`, `StatusCode`, `Redirect`, \
            `(StatusCode, response)`, `Option<response>`, `Result<response, HttpError>`, and whatever implements `Respond`; \
            wrap a value that implements `Serialize` in `Json(value)`",
    note = "a whole response is a `Response<WriteBody>` in a sync handler, a `Response<AsyncBody>` in an async one"
)]
pub trait Respond<M: Mode> {
    /// Makes the response.
    ///
    /// # Errors
    /// An [`HttpError`] is what the client is told; any other error is a failure of the application.
    fn respond(self) -> Result<Response<Body<M>>, AppError>;

    /// As [`respond`](Self::respond), for [error hooks](crate::App::error), whose `None` means no response of their own.
    #[doc(hidden)]
    fn respond_if_any(self) -> Option<Result<Response<Body<M>>, AppError>>
    where
        Self: Sized,
    {
        Some(self.respond())
    }
}

/// HTML in UTF-8. It is sent as it is, so escape what comes from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html<T>(pub T);

/// JSON: as an argument the content of the request, as a response a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A redirect to another URL.
///
/// What a URL cannot contain is percent-encoded, so no text can add a header field. Where it leads is up to you: accept a
/// target from a client only if it begins with one `/` and neither `//` nor `/\`, or others can use your site to send people
/// anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    location: String,
}

impl Redirect {
    /// 303: the browser gets that URL with GET, as after a form.
    pub fn to(location: impl Into<String>) -> Self {
        Self { status: StatusCode::SEE_OTHER, location: location.into() }
    }

    /// 308: from now on, and with the same method.
    pub fn permanent(location: impl Into<String>) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, location: location.into() }
    }

    /// 307: this time only, and with the same method.
    pub fn temporary(location: impl Into<String>) -> Self {
        Self { status: StatusCode::TEMPORARY_REDIRECT, location: location.into() }
    }
}

/// Cookies to set with a response, with the safe defaults of [`Cookies`].
#[derive(Clone, Debug)]
pub struct SetCookie(pub Cookies);

impl SetCookie {
    /// Sets a cookie. `cookies` is the handler's argument of this type.
    ///
    /// # Errors
    /// If no browser would keep it.
    pub fn new(mut cookies: Cookies, cookie: impl Into<Cookie<'static>>) -> Result<Self, AppError> {
        cookies.set(cookie)?;
        Ok(Self(cookies))
    }
}

impl<M: Mode> Respond<M> for Response<Body<M>> {
    fn respond(self) -> Result<Self, AppError> {
        Ok(self)
    }
}

macro_rules! respond {
    ($([$($generic:tt)*] $type:ty: |$value:ident| $answer:expr;)*) => {$(
        impl<M: Mode, $($generic)*> Respond<M> for $type {
            fn respond(self) -> Result<Response<Body<M>>, AppError> {
                let $value = self;
                $answer
            }
        }
    )*};
}

respond! {
    [] &'static str: |text| Ok(respond::text(text));
    [] String: |text| Ok(respond::text(text));
    [] Bytes: |bytes| Ok(respond::content("application/octet-stream", bytes));
    [] Vec<u8>: |bytes| Ok(respond::content("application/octet-stream", bytes));
    [] (): |_nothing| Ok(respond::empty(StatusCode::NO_CONTENT));
    [] StatusCode: |status| Ok(respond::empty(status));
    [] HttpError: |error| Err(error.into());
    [] Redirect: |redirect| Ok(respond::redirect(redirect.status, &redirect.location));
    [T: Into<Bytes>] Html<T>: |html| Ok(respond::html(html.0));
    [T: Serialize] Json<T>: |json| Ok(respond::json(&json.0)?);
    [R: Respond<M>] (StatusCode, R): |both| {
        let mut response = both.1.respond()?;
        *response.status_mut() = both.0;
        Ok(response)
    };
    [R: Respond<M>] (HeaderMap, R): |both| {
        let mut response = both.1.respond()?;
        response.headers_mut().extend(both.0);
        Ok(response)
    };
    [R: Respond<M>] (SetCookie, R): |both| {
        let mut response = both.1.respond()?;
        both.0.0.write_to(response.headers_mut());
        Ok(response)
    };
}

impl<M: Mode, R: Respond<M>> Respond<M> for Option<R> {
    fn respond(self) -> Result<Response<Body<M>>, AppError> {
        self.ok_or_else(HttpError::not_found)?.respond()
    }

    fn respond_if_any(self) -> Option<Result<Response<Body<M>>, AppError>> {
        self.map(R::respond)
    }
}

impl<M: Mode, R: Respond<M>, E: Into<AppError>> Respond<M> for Result<R, E> {
    fn respond(self) -> Result<Response<Body<M>>, AppError> {
        self.map_err(E::into)?.respond()
    }

    fn respond_if_any(self) -> Option<Result<Response<Body<M>>, AppError>> {
        match self {
            Ok(answer) => answer.respond_if_any(),
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl<M, R, N, V, const COUNT: usize> Respond<M> for ([(N, V); COUNT], R)
where
    M: Mode,
    R: Respond<M>,
    N: TryInto<HeaderName, Error: Into<BoxError>>,
    V: TryInto<HeaderValue, Error: Into<BoxError>>,
{
    fn respond(self) -> Result<Response<Body<M>>, AppError> {
        let mut fields = HeaderMap::new();
        for (name, value) in self.0 {
            let name: HeaderName = name.try_into().map_err(AppError::from_boxed)?;
            fields.append(name, value.try_into().map_err(AppError::from_boxed)?);
        }
        (fields, self.1).respond()
    }
}

/// `(StatusCode, ([..], R))` without the inner brackets.
impl<M, R, N, V, const COUNT: usize> Respond<M> for (StatusCode, [(N, V); COUNT], R)
where
    M: Mode,
    ([(N, V); COUNT], R): Respond<M>,
{
    fn respond(self) -> Result<Response<Body<M>>, AppError> {
        (self.0, (self.1, self.2)).respond()
    }
}

//! What handlers return: anything that can be an answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use varvel::{AppError, Body, BoxError, Mode};
use varvel_toolkit::{
    Form, HttpError,
    cookies::{Cookie, Cookies},
    respond,
};

/// What a handler can return.
///
/// | returned | answer |
/// |---|---|
/// | `&str`, `String` | text |
/// | [`Html`] | a page |
/// | [`Template`](crate::Template) | a page made by a template |
/// | [`Json`] | a value as JSON |
/// | `Bytes`, `Vec<u8>` | bytes of no told type |
/// | `()` | 204 without content |
/// | `StatusCode`, `HttpError` | the status; problem details |
/// | [`Redirect`] | a redirection |
/// | `(StatusCode, R)` | `R` with that status |
/// | `([(name, value); N], R)`, `(HeaderMap, R)`, `(StatusCode, [(name, value); N], R)` | `R` with these fields |
/// | `(SetCookie, R)` | `R` and a cookie |
/// | `Option<R>` | `R`, or 404 |
/// | `Result<R, E>` | `R`; an [`HttpError`] in `E` is what the client is told, any other error a 500 that the server reports |
/// | `Response<WriteBody>`, in async handlers `Response<AsyncBody>` | as it is; [`events`](crate::events) are one |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that this handler can answer with",
    label = "not an answer",
    note = "answers are text, `Html`, `Template(name, given)`, `Json(value)`, `StatusCode`, `Redirect`, \
            `(StatusCode, answer)`, `Option<answer>`, `Result<answer, HttpError>`, and what implements `Respond`; a value \
            that serde knows goes into `Json(value)`",
    note = "a whole response is a `Response<WriteBody>` of a sync handler, a `Response<AsyncBody>` of an async one"
)]
pub trait Respond<F: Form> {
    /// Makes the answer.
    ///
    /// # Errors
    /// An [`HttpError`] is told to the client, all else is a failure of the application.
    fn respond(self) -> Result<Response<Body<F::Out>>, AppError>;
}

/// HTML in UTF-8. It is sent as it is: escape what came from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html<T>(pub T);

/// JSON: as an argument the content of the request, as an answer a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Sends the browser elsewhere with 303, as behind a form, or as one of the others has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    location: String,
}

impl Redirect {
    /// To be asked for with GET from now on: 303.
    pub fn to(location: impl Into<String>) -> Self {
        Self { status: StatusCode::SEE_OTHER, location: location.into() }
    }

    /// For ever, and with the same method: 308.
    pub fn permanent(location: impl Into<String>) -> Self {
        Self { status: StatusCode::PERMANENT_REDIRECT, location: location.into() }
    }

    /// For this time, and with the same method: 307.
    pub fn temporary(location: impl Into<String>) -> Self {
        Self { status: StatusCode::TEMPORARY_REDIRECT, location: location.into() }
    }
}

/// A cookie beside an answer, with the defaults of [`Cookies`].
#[derive(Clone, Debug)]
pub struct SetCookie(pub Cookies);

impl SetCookie {
    /// Adds a cookie to those that an argument [`Cookies`] has read.
    ///
    /// # Errors
    /// If no browser would keep it.
    pub fn new(mut cookies: Cookies, cookie: impl Into<Cookie<'static>>) -> Result<Self, AppError> {
        cookies.set(cookie)?;
        Ok(Self(cookies))
    }
}

impl<F: Form, M: Mode> Respond<F> for Response<Body<M>>
where
    F: Form<Out = M>,
{
    fn respond(self) -> Result<Self, AppError> {
        Ok(self)
    }
}

macro_rules! respond {
    ($([$($generic:tt)*] $type:ty: |$value:ident| $answer:expr;)*) => {$(
        impl<F: Form, $($generic)*> Respond<F> for $type {
            fn respond(self) -> Result<Response<Body<F::Out>>, AppError> {
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
    [R: Respond<F>] (StatusCode, R): |both| {
        let mut response = both.1.respond()?;
        *response.status_mut() = both.0;
        Ok(response)
    };
    [R: Respond<F>] (HeaderMap, R): |both| {
        let mut response = both.1.respond()?;
        response.headers_mut().extend(both.0);
        Ok(response)
    };
    [R: Respond<F>] (SetCookie, R): |both| {
        let mut response = both.1.respond()?;
        both.0.0.write_to(response.headers_mut());
        Ok(response)
    };
    [R: Respond<F>] Option<R>: |answer| match answer {
        Some(answer) => answer.respond(),
        None => Err(HttpError::not_found().into()),
    };
    [R: Respond<F>, E: Into<AppError>] Result<R, E>: |result| match result {
        Ok(answer) => answer.respond(),
        Err(error) => Err(error.into()),
    };
}

impl<F, R, N, V, const COUNT: usize> Respond<F> for ([(N, V); COUNT], R)
where
    F: Form,
    R: Respond<F>,
    N: TryInto<HeaderName, Error: Into<BoxError>>,
    V: TryInto<HeaderValue, Error: Into<BoxError>>,
{
    fn respond(self) -> Result<Response<Body<F::Out>>, AppError> {
        let mut fields = HeaderMap::new();
        for (name, value) in self.0 {
            let name: HeaderName = name.try_into().map_err(AppError::from_boxed)?;
            fields.append(name, value.try_into().map_err(AppError::from_boxed)?);
        }
        (fields, self.1).respond()
    }
}

/// `(StatusCode, ([..], R))` without the inner brackets.
impl<F, R, N, V, const COUNT: usize> Respond<F> for (StatusCode, [(N, V); COUNT], R)
where
    F: Form,
    ([(N, V); COUNT], R): Respond<F>,
{
    fn respond(self) -> Result<Response<Body<F::Out>>, AppError> {
        (self.0, (self.1, self.2)).respond()
    }
}

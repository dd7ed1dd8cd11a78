//! Forms as browsers send them by default: `application/x-www-form-urlencoded`. Those with files are
//! [`multipart`](crate::multipart).
//!
//! ```
//! use http::{Request, Response};
//! use serde::Deserialize;
//! use varvel::{AsyncAppResult, AsyncBody, Scope, app_fn};
//! use varvel_toolkit::urlencoded::{Limits, UrlEncoded};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     item: String,
//!     count: u32,
//!     #[serde(default)]
//!     extras: Vec<String>, // all fields of this name
//!     note: Option<String>, // none if it is missing or empty
//! }
//!
//! async fn order(request: Request<AsyncBody>, _scope: Scope) -> AsyncAppResult {
//!     let (head, body) = request.into_parts();
//!     let order: Order = UrlEncoded::receive(&head.headers, body, &Limits::default()).await?.typed()?;
//!     let text = format!("{} {} with {:?}, {:?}", order.count, order.item, order.extras, order.note);
//!     Ok(Response::new(AsyncBody::from(text)))
//! }
//! # let client = varvel_test::Client::new(app_fn(order));
//! # let form = "application/x-www-form-urlencoded";
//! # let request = client.post("/").header("content-type", form);
//! # let response = request.body("item=fish+%26+chips&count=2&extras=salt&extras=vinegar&note=").send();
//! # assert_eq!(response.text(), r#"2 fish & chips with ["salt", "vinegar"], None"#);
//! ```
//!
//! A sync application does the same with [`UrlEncoded::read`]. What the client did wrong is an [`HttpError`]: 415 for
//! another media type, 413 beyond the limits, 400 for what is no text, 422 for a field that does not fit, which it
//! names.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use varvel::{AppError, AsyncBody, ReadBody};

use crate::{HttpError, MediaType, Query};

/// How large a form may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the content, in bytes; 64 KiB.
    pub bytes: usize,
    /// How many fields; 1000.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 1000 }
    }
}

/// The content of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlEncoded(String);

impl UrlEncoded {
    /// Waits for the form in a request.
    ///
    /// # Errors
    /// If there is none, it is beyond the limits, or it breaks off.
    pub async fn receive(headers: &HeaderMap, body: AsyncBody, limits: &Limits) -> Result<Self, AppError> {
        expect_form(headers)?;
        Ok(Self::new(body.collect(limits.bytes).await?, limits)?)
    }

    /// Reads the form in a request.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn read(headers: &HeaderMap, body: ReadBody, limits: &Limits) -> Result<Self, AppError> {
        expect_form(headers)?;
        Ok(Self::new(body.collect(limits.bytes)?, limits)?)
    }

    /// Of its content.
    ///
    /// # Errors
    /// 413 beyond the limits, 400 if it is no text.
    pub fn new(content: Bytes, limits: &Limits) -> Result<Self, HttpError> {
        let too_large =
            |what: &str| HttpError::new(StatusCode::PAYLOAD_TOO_LARGE).with_detail(what.to_owned());
        if content.len() > limits.bytes {
            return Err(too_large("The form is too long."));
        }
        if content.split(|byte| *byte == b'&').filter(|field| !field.is_empty()).count() > limits.fields {
            return Err(too_large("The form has too many fields.").with_code("too_many_fields"));
        }
        match String::from_utf8(content.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(HttpError::bad_request("The form is not encoded as forms are.")),
        }
    }

    /// Its fields as they come: names and values.
    pub fn fields(&self) -> Query<'_> {
        Query::new(&self.0)
    }

    /// Its fields as a type of the application's.
    ///
    /// # Errors
    /// 422 with the `field`, and code `missing_field` or `invalid_field`, if one is missing or does not fit.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        typed(&self.0).map_err(|misfit| {
            let problem = HttpError::new(StatusCode::UNPROCESSABLE_ENTITY);
            match misfit {
                Misfit::Missing(field) => problem
                    .with_code("missing_field")
                    .with_detail(format!("The field `{field}` is missing."))
                    .with_member("field", field),
                Misfit::Invalid(field, why) => problem
                    .with_code("invalid_field")
                    .with_detail(format!("The field `{field}` does not fit: {why}."))
                    .with_member("field", field),
                Misfit::Whole(why) => {
                    problem.with_code("invalid_field").with_detail(format!("The form does not fit: {why}."))
                }
            }
        })
    }
}

/// Why names and values are not of a type.
pub(crate) enum Misfit {
    /// This name is missing.
    Missing(String),
    /// The value of this name does not fit, for a reason.
    Invalid(String, String),
    /// All together do not fit.
    Whole(String),
}

/// Names and values as a type.
pub(crate) fn typed<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let pairs = serde_html_form::Deserializer::from_bytes(text.as_bytes());
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner().to_string();
        if path != "." {
            return Misfit::Invalid(path, why);
        }
        // What is missing has no place. The reason names it, in the words of serde.
        let missing = why.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        missing.map(str::to_owned).map_or_else(|| Misfit::Whole(why.clone()), Misfit::Missing)
    })
}

fn expect_form(headers: &HeaderMap) -> Result<(), HttpError> {
    const FORM: &str = "application/x-www-form-urlencoded";
    if MediaType::of(headers).is_some_and(|media_type| media_type.is(FORM)) {
        return Ok(());
    }
    Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_detail(format!("A form is expected: {FORM}.")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{Request, Response};
    use proptest::prelude::*;
    use serde::Deserialize;
    use varvel::{Scope, WriteBody, app_fn, sync_fn};
    use varvel_test::Client;

    use super::*;
    use crate::Routes;

    fn form(text: &str) -> UrlEncoded {
        UrlEncoded::new(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Typed {
        name: String,
        age: Option<u8>,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Plain,
        Fancy,
    }

    #[test]
    fn fields_become_a_type() {
        let typed = |text| form(text).typed::<Typed>().unwrap();
        let full = typed("name=J%C3%B6rg+M&age=7&tags=a&tags=b%26&kind=fancy&unknown=1");
        let tags = vec!["a".to_owned(), "b&".to_owned()];
        assert_eq!(full, Typed { name: "Jörg M".into(), age: Some(7), tags, kind: Kind::Fancy });
        let least = typed("name=");
        assert_eq!(least, Typed { name: String::new(), age: None, tags: vec![], kind: Kind::Plain });
        // What browsers send for a number that nobody filled in.
        assert_eq!(typed("name=a&age=").age, None);
        assert_eq!(typed("name=a&tags=b").tags, ["b"]);
        let map: BTreeMap<String, String> = form("a=1&b=").typed().unwrap();
        assert_eq!(map["b"], "");
    }

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        for (text, field) in [("name=a&age=300", "age"), ("name=a&age=x", "age"), ("name=a&kind=odd", "kind")]
        {
            let error = form(text).typed::<Typed>().unwrap_err();
            assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
            assert!(
                error.members().any(|(name, value)| name == "field" && value == field),
                "{}",
                error.to_json()
            );
        }
        let error = form("age=1").typed::<Typed>().unwrap_err();
        assert_eq!(
            error.to_json(),
            r#"{"title":"Unprocessable Entity","status":422,"detail":"The field `name` is missing.","#
                .to_owned()
                + r#""code":"missing_field","field":"name"}"#
        );
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { bytes: 9, fields: 3 };
        let new = |text: &'static str| UrlEncoded::new(Bytes::from_static(text.as_bytes()), &limits);
        assert!(new("a=1&b&c=3").is_ok());
        assert!(new("&&&&a&b&c").is_ok());
        assert_eq!(new("a&b&c&d").unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(new("a=1&b&c=33").unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let binary = UrlEncoded::new(Bytes::from_static(b"a=\xff"), &limits);
        assert_eq!(binary.unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn both_forms_of_the_contract_answer_alike() {
        const LIMITS: Limits = Limits { bytes: 20, fields: 2 };
        async fn polled(request: Request<AsyncBody>, _: Scope) -> varvel::AsyncAppResult {
            let (head, body) = request.into_parts();
            let form = UrlEncoded::receive(&head.headers, body, &LIMITS).await?;
            Ok(Response::new(AsyncBody::from(form.fields().get("a").unwrap_or_default().into_owned())))
        }
        fn blocking(request: Request<ReadBody>, _: Scope) -> varvel::AppResult {
            let (head, body) = request.into_parts();
            let form = UrlEncoded::read(&head.headers, body, &LIMITS)?;
            Ok(Response::new(WriteBody::from(form.fields().get("a").unwrap_or_default().into_owned())))
        }
        let routes = Routes::builder()
            .route("/polled", crate::routes::post(app_fn(polled)))
            .route("/blocking", crate::routes::post(sync_fn(blocking)))
            .build()
            .unwrap();
        let client = Client::new(routes);
        let form = "application/x-www-form-urlencoded";
        for path in ["/polled", "/blocking"] {
            let post = |media_type: &'static str, body: &'static str| {
                let request = client.post(path).header("content-type", media_type).body(body);
                request.in_pieces_of(3).send()
            };
            assert_eq!(post(form, "b=1&a=two+words").text(), "two words");
            assert_eq!(post("Application/X-WWW-Form-URLencoded; charset=utf-8", "a=1").text(), "1");
            assert_eq!(post("text/plain", "a=1").status(), 415);
            assert_eq!(post(form, "a=345678901234567890x").status(), 413);
            assert_eq!(post(form, "a=1&b=2&c=3").status(), 413);
            assert_eq!(client.post(path).body("a=1").send().status(), 415);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_form_or_an_error(content in proptest::collection::vec(any::<u8>(), 0..60)) {
            let limits = Limits { bytes: 50, fields: 3 };
            if let Ok(form) = UrlEncoded::new(content.into(), &limits) {
                prop_assert!(form.fields().pairs().count() <= 3);
                let _ = form.typed::<Typed>();
                prop_assert!(form.typed::<Vec<(String, String)>>().is_ok());
            }
        }
    }
}

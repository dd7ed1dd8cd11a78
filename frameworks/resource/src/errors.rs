//! HTTP errors by the names of Falcon's classes: `falcon.HTTPNotFound()` is `errors::not_found()`.
//!
//! Each is an [`HttpError`], to be returned by `?` or `Err(….into())`, and to be said more of with its methods:
//!
//! ```
//! use varvel_resource::errors;
//!
//! let error = errors::conflict("The name is taken.").with_code(17).with_link("https://example.com/17", "Names");
//! assert_eq!(error.status(), 409);
//! ```

use std::{borrow::Cow, collections::BTreeMap, fmt};

use http::{HeaderValue, Method, StatusCode, header};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
pub use varvel_toolkit::HttpError;
use varvel_toolkit::problem::push_escaped;

use crate::{RequestHead, ResponseHead};

/// What an error says of the case at hand: `description` in Falcon, `detail` in RFC 9457.
pub type Description = Cow<'static, str>;

macro_rules! errors {
    ($($function:ident $status:ident $class:literal)*) => {$(
        #[doc = concat!("`", $class, "`, with a description of what is the matter.")]
        pub fn $function(description: impl Into<Description>) -> HttpError {
            HttpError::new(StatusCode::$status).with_detail(description)
        }
    )*};
}

errors! {
    bad_request BAD_REQUEST "HTTPBadRequest"
    forbidden FORBIDDEN "HTTPForbidden"
    not_acceptable NOT_ACCEPTABLE "HTTPNotAcceptable"
    conflict CONFLICT "HTTPConflict"
    gone GONE "HTTPGone"
    length_required LENGTH_REQUIRED "HTTPLengthRequired"
    precondition_failed PRECONDITION_FAILED "HTTPPreconditionFailed"
    content_too_large PAYLOAD_TOO_LARGE "HTTPContentTooLarge"
    uri_too_long URI_TOO_LONG "HTTPUriTooLong"
    unsupported_media_type UNSUPPORTED_MEDIA_TYPE "HTTPUnsupportedMediaType"
    unprocessable_entity UNPROCESSABLE_ENTITY "HTTPUnprocessableEntity"
    locked LOCKED "HTTPLocked"
    failed_dependency FAILED_DEPENDENCY "HTTPFailedDependency"
    precondition_required PRECONDITION_REQUIRED "HTTPPreconditionRequired"
    request_header_fields_too_large REQUEST_HEADER_FIELDS_TOO_LARGE "HTTPRequestHeaderFieldsTooLarge"
    unavailable_for_legal_reasons UNAVAILABLE_FOR_LEGAL_REASONS "HTTPUnavailableForLegalReasons"
    im_a_teapot IM_A_TEAPOT "HTTP_418"
    not_implemented NOT_IMPLEMENTED "HTTPNotImplemented"
    bad_gateway BAD_GATEWAY "HTTPBadGateway"
    gateway_timeout GATEWAY_TIMEOUT "HTTPGatewayTimeout"
    version_not_supported HTTP_VERSION_NOT_SUPPORTED "HTTPVersionNotSupported"
    insufficient_storage INSUFFICIENT_STORAGE "HTTPInsufficientStorage"
    loop_detected LOOP_DETECTED "HTTPLoopDetected"
    network_authentication_required NETWORK_AUTHENTICATION_REQUIRED "HTTPNetworkAuthenticationRequired"
}

/// `HTTPNotFound`.
pub fn not_found() -> HttpError {
    HttpError::not_found()
}

/// `HTTPUnauthorized`, with a challenge for WWW-Authenticate such as `Bearer`, as RFC 9110 section 11.6.1 has it.
///
/// # Panics
/// If the challenge cannot be the value of a header.
pub fn unauthorized(description: impl Into<Description>, challenge: &'static str) -> HttpError {
    HttpError::new(StatusCode::UNAUTHORIZED)
        .with_detail(description)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// `HTTPMethodNotAllowed`, with what is.
pub fn method_not_allowed(allowed: &[Method]) -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED).with_header(header::ALLOW, allow(allowed))
}

pub(crate) fn allow(methods: &[Method]) -> HeaderValue {
    let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(methods.join(", ")).expect("methods are tokens")
}

/// `HTTPRangeNotSatisfiable`, with the length that there is.
pub fn range_not_satisfiable(resource_length: u64) -> HttpError {
    let range = HeaderValue::try_from(format!("bytes */{resource_length}")).expect("visible ASCII");
    HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE).with_header(header::CONTENT_RANGE, range)
}

/// `HTTPTooManyRequests`, with the seconds to wait.
pub fn too_many_requests(description: impl Into<Description>, retry_after: u64) -> HttpError {
    HttpError::new(StatusCode::TOO_MANY_REQUESTS)
        .with_detail(description)
        .with_header(header::RETRY_AFTER, retry_after.into())
}

/// `HTTPServiceUnavailable`, with the seconds to wait.
pub fn service_unavailable(description: impl Into<Description>, retry_after: u64) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE)
        .with_detail(description)
        .with_header(header::RETRY_AFTER, retry_after.into())
}

/// `HTTPInternalServerError`. Its cause is reported to the server's log; clients are not told.
pub fn internal_server_error(cause: impl Into<varvel::BoxError>) -> HttpError {
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(cause)
}

/// `HTTPInvalidHeader`.
pub fn invalid_header(description: &str, name: &str) -> HttpError {
    bad_request(format!("The header field {name} has an invalid value. {description}"))
        .with_code("invalid_header")
        .with_member("header", name)
}

/// `HTTPMissingHeader`.
pub fn missing_header(name: &str) -> HttpError {
    bad_request(format!("The header field {name} is missing."))
        .with_code("missing_header")
        .with_member("header", name)
}

/// `HTTPInvalidParam`.
pub fn invalid_param(description: &str, name: &str) -> HttpError {
    bad_request(format!("The parameter `{name}` has an invalid value. {description}"))
        .with_code("invalid_parameter")
        .with_member("parameter", name)
}

/// `HTTPMissingParam`.
pub fn missing_param(name: &str) -> HttpError {
    bad_request(format!("The parameter `{name}` is missing."))
        .with_code("missing_parameter")
        .with_member("parameter", name)
}

/// `MediaNotFoundError`: there is no content.
pub fn media_not_found(media_type: &str) -> HttpError {
    bad_request(format!("There is no content, and {media_type} was expected.")).with_code("media_not_found")
}

/// `MediaMalformedError`: the content is not of its media type.
pub fn media_malformed(media_type: &str, reason: impl fmt::Display) -> HttpError {
    bad_request(format!("The content could not be read as {media_type}: {reason}"))
        .with_code("media_malformed")
}

/// `MediaValidationError`: the content is of its media type, but not what is expected. 422, where Falcon has 400.
pub fn media_validation(reason: impl fmt::Display) -> HttpError {
    unprocessable_entity(format!("The content is not what is expected: {reason}"))
        .with_code("media_validation")
}

/// Falcon's own bodies, for [`App::set_error_serializer`](crate::App::set_error_serializer), in place of problem details:
/// `{"title": …, "description": …, "code": …, "link": {"text": …, "href": …, "rel": "help"}}`, and the same in XML.
///
/// As in Falcon the client gets what it likes best of JSON, XML, and whatever else has a [media handler](crate::media). One
/// that likes none of these gets JSON or XML if it accepts some type that ends with `+json` or `+xml`, and else no content.
///
/// ```
/// use varvel_resource::{App, errors, testing::TestClient};
///
/// let mut app = App::new();
/// app.set_error_serializer(errors::falcon_serializer);
/// assert_eq!(TestClient::new(app).simulate_get("/").send().text(), r#"{"title":"Not Found"}"#);
/// ```
pub fn falcon_serializer(req: &RequestHead, resp: &mut ResponseHead, error: &HttpError) {
    let mut offers = vec!["application/json", "application/xml", "text/xml"];
    offers.extend(req.core.settings.media.of_values());
    let media_type = req.client_prefers(&offers).or_else(|| {
        let accepted = req.get_header("accept")?.to_ascii_lowercase();
        let of_suffix = [("+json", offers[0]), ("+xml", offers[1])];
        of_suffix.into_iter().find_map(|(suffix, media_type)| accepted.contains(suffix).then_some(media_type))
    });
    resp.headers.append(header::VARY, HeaderValue::from_static("accept"));
    let Some(value) = media_type.and_then(|media_type| HeaderValue::from_str(media_type).ok()) else {
        return;
    };
    resp.headers.insert(header::CONTENT_TYPE, value);
    let body = FalconBody(error);
    if media_type.is_some_and(|media_type| media_type.ends_with("/xml")) {
        resp.set_data(body.to_xml());
    } else if resp.set_media(&body).is_err() {
        resp.forget_representation();
    }
}

/// What Falcon tells of an error: `HTTPError.to_dict`, `to_json` and `to_xml`.
struct FalconBody<'e>(&'e HttpError);

impl FalconBody<'_> {
    fn member(&self, name: &str) -> Option<&Value> {
        self.0.members().find_map(|(known, value)| (known == name).then_some(value))
    }

    fn link(&self) -> Option<[(&'static str, &str); 3]> {
        let link = self.member("link")?;
        let part = |name| link.get(name).and_then(Value::as_str).unwrap_or_default();
        Some([("text", part("text")), ("href", part("href")), ("rel", "help")])
    }

    fn to_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><error>");
        push_element(&mut xml, "title", self.0.title());
        if let Some(detail) = self.0.detail() {
            push_element(&mut xml, "description", detail);
        }
        if let Some(code) = self.member("code") {
            push_element(&mut xml, "code", &code.as_str().map_or_else(|| code.to_string(), str::to_owned));
        }
        if let Some(link) = self.link() {
            xml.push_str("<link>");
            link.into_iter().for_each(|(name, text)| push_element(&mut xml, name, text));
            xml.push_str("</link>");
        }
        xml.push_str("</error>");
        xml
    }
}

impl Serialize for FalconBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("title", self.0.title())?;
        if let Some(detail) = self.0.detail() {
            map.serialize_entry("description", detail)?;
        }
        if let Some(code) = self.member("code") {
            map.serialize_entry("code", code)?;
        }
        if let Some(link) = self.link() {
            map.serialize_entry("link", &BTreeMap::from(link))?;
        }
        map.end()
    }
}

fn push_element(xml: &mut String, name: &str, text: &str) {
    xml.extend(["<", name, ">"]);
    push_escaped(xml, text);
    xml.extend(["</", name, ">"]);
}

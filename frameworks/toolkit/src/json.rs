//! JSON that clients send, as a type of the application's.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::HttpError;

/// Reads JSON as a type, and tells the client where it does not fit.
///
/// ```
/// use serde::Deserialize;
/// use varvel_toolkit::json;
///
/// #[derive(Deserialize)]
/// struct Order {
///     items: Vec<Item>,
/// }
///
/// #[derive(Deserialize)]
/// struct Item {
///     name: String,
///     count: u32,
/// }
///
/// let order: Order = json::from_slice(br#"{"items": [{"name": "nut", "count": 2}]}"#)?;
/// assert_eq!((&*order.items[0].name, order.items[0].count), ("nut", 2));
///
/// let error = json::from_slice::<Order>(br#"{"items": [{"name": "nut", "count": -2}]}"#).err().unwrap();
/// assert_eq!(error.status(), 422);
/// assert!(error.to_json().contains(r#""code":"invalid_field","field":"items[0].count""#));
/// # Ok::<_, varvel_toolkit::HttpError>(())
/// ```
///
/// # Errors
/// 400 with code `invalid_json`, `line` and `column` for what is not JSON. 422 (RFC 9110 section 15.5.21) with code
/// `missing_field` or `invalid_field` and the `field` for JSON that is not of the type.
pub fn from_slice<T: DeserializeOwned>(content: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(content).map_err(|error| match error.classify() {
        Category::Data => misfit::<T>(content, &error),
        _ => HttpError::bad_request(format!("The content is not JSON: {error}."))
            .with_code("invalid_json")
            .with_member("line", error.line())
            .with_member("column", error.column()),
    })
}

/// Reads it again to find the place, whose price only mistakes are to pay.
fn misfit<T: DeserializeOwned>(content: &[u8], error: &serde_json::Error) -> HttpError {
    let mut deserializer = serde_json::Deserializer::from_slice(content);
    let place = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
    let place = place.map(|error| error.path().to_string()).filter(|place| place != ".");
    let why = error.to_string();
    let problem = HttpError::new(StatusCode::UNPROCESSABLE_ENTITY);
    // What is missing has no place but the one around it. The reason names it, in the words of serde.
    let missing = why.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    match (missing, place) {
        (Some((name, _)), around) => {
            let field = around.map_or_else(|| name.to_owned(), |around| format!("{around}.{name}"));
            problem
                .with_code("missing_field")
                .with_detail(format!("The field `{field}` is missing."))
                .with_member("field", field)
        }
        (None, Some(field)) => problem
            .with_code("invalid_field")
            .with_detail(format!("The field `{field}` does not fit: {why}."))
            .with_member("field", field),
        (None, None) => {
            problem.with_code("invalid_field").with_detail(format!("The content does not fit: {why}."))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Person {
        name: String,
        #[serde(default)]
        friends: Vec<Person>,
    }

    fn refused(content: &str) -> String {
        from_slice::<Person>(content.as_bytes()).unwrap_err().to_json()
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        for (content, expected) in [
            (r#"{"name": 1}"#, r#""code":"invalid_field","field":"name""#),
            (r#"{}"#, r#""code":"missing_field","field":"name""#),
            (
                r#"{"name": "a", "friends": [{"name": "b"}, {}]}"#,
                r#""code":"missing_field","field":"friends[1].name""#,
            ),
            (r#"{"name": "a", "friends": {}}"#, r#""code":"invalid_field","field":"friends""#),
            ("7", r#""code":"invalid_field"}"#),
            ("{", r#""code":"invalid_json","line":1,"column":1}"#),
            (r#"{"name": "a"} x"#, r#""code":"invalid_json","line":1,"column":15}"#),
            ("", r#""code":"invalid_json","line":1,"column":0}"#),
        ] {
            let problem = refused(content);
            assert!(problem.contains(expected), "{content}: {problem}");
        }
    }

    #[test]
    fn json_that_is_nested_beyond_measure_is_refused() {
        let arrays = from_slice::<serde_json::Value>("[".repeat(100_000).as_bytes()).unwrap_err();
        assert!(arrays.to_json().contains("invalid_json"));
        let deep = format!(
            r#"{}{{"name": "a"}}{}"#,
            r#"{"name": "a", "friends": ["#.repeat(5_000),
            "]}".repeat(5_000)
        );
        assert!(refused(&deep).contains("invalid_json"));
    }
}

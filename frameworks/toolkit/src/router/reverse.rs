//! Reverse URLs: from the name of a route and values for its fields to a path.

use std::{error::Error, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::template::{Piece, Segment, Template};

/// What a path leaves as it is inside of a segment (RFC 3986 section 3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The same for what takes the rest of a path, slashes included.
const REST: &AsciiSet = &SEGMENT.remove(b'/');

/// Why there is no URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// No route has this name.
    UnknownName(String),
    /// The route has a field for which there is no value.
    Missing {
        /// The route.
        template: String,
        /// The field.
        field: String,
    },
    /// A value belongs to no field of the route.
    Unexpected {
        /// The route.
        template: String,
        /// The name of the value.
        field: String,
    },
    /// The field does not accept the value, or a path cannot hold it: `.` and `..` mean something else there, and two slashes
    /// at the beginning another host.
    Refused {
        /// The route.
        template: String,
        /// The field.
        field: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(name) => write!(f, "no route is named `{name}`"),
            Self::Missing { template, field } => write!(f, "{template} needs a value for `{field}`"),
            Self::Unexpected { template, field } => write!(f, "{template} has no field `{field}`"),
            Self::Refused { template, field, value } => {
                write!(f, "{template} cannot have {value:?} for `{field}`")
            }
        }
    }
}

impl Error for UrlError {}

impl Template {
    /// The path with these values in its fields.
    ///
    /// # Errors
    /// What is missing, too much, or not acceptable. A path that is returned matches this template.
    pub fn url(&self, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        let template = || self.as_str().to_owned();
        if let Some((field, _)) = values.iter().find(|(field, _)| !self.names().any(|name| name == *field)) {
            return Err(UrlError::Unexpected { template: template(), field: (*field).to_owned() });
        }
        let mut url = String::with_capacity(self.as_str().len());
        let mut names = self.names();
        let mut value = || {
            let field = names.next().unwrap_or_default();
            match values.iter().find(|(name, _)| *name == field) {
                Some((_, value)) => Ok((field, value.to_string())),
                None => Err(UrlError::Missing { template: template(), field: field.to_owned() }),
            }
        };
        let refused =
            |field: &str, value| UrlError::Refused { template: template(), field: field.to_owned(), value };
        for segment in &self.segments {
            url.push('/');
            let begin = url.len();
            match segment {
                Segment::Literal(text) => url.push_str(text),
                Segment::Fields(pieces) => {
                    for piece in pieces {
                        match piece {
                            Piece::Literal(text) => url.push_str(text),
                            Piece::Field(convert) => {
                                let (field, value) = value()?;
                                if value.is_empty() || !convert.accepts(&value) {
                                    return Err(refused(field, value));
                                }
                                url.extend(utf8_percent_encode(&value, SEGMENT));
                                if matches!(&url[begin..], "." | "..") && pieces.len() == 1 {
                                    return Err(refused(field, value));
                                }
                            }
                        }
                    }
                }
                Segment::Rest => {
                    let (field, value) = value()?;
                    let leads_elsewhere = begin == 1 && value.starts_with('/');
                    if leads_elsewhere || value.split('/').any(|segment| matches!(segment, "." | "..")) {
                        return Err(refused(field, value));
                    }
                    url.extend(utf8_percent_encode(&value, REST));
                }
            }
        }
        Ok(url)
    }
}

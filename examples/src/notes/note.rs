//! A note, and what a client may say about one.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use varvel_toolkit::{
    Accept, HttpError, MediaType, Query,
    conditional::{ETag, Validators},
};

/// A note as it is stored and as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The number of the change that created it, so that none is used twice.
    pub id: u64,
    /// The number of the last change of it.
    pub revision: u64,
    /// In one line.
    pub title: String,
    /// In any number of lines.
    pub text: String,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// When it was changed last, in seconds since 1970.
    pub modified: u64,
    /// The file that is attached to it.
    pub file: Option<Attachment>,
}

/// The file of a note: all but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What the client calls it; it is stored under a name of our own.
    pub name: String,
    /// What the client says it is.
    pub media_type: String,
    /// How long it is.
    pub bytes: u64,
    /// The number of the change that attached it.
    pub revision: u64,
}

/// What a client writes. What else is in it is ours to say, and passed over: a client may send back what it got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Draft {
    /// In one line, at most [`TITLE_CHARS_MAX`].
    pub title: String,
    /// Empty if it is left out; at most [`TEXT_BYTES_MAX`].
    #[serde(default)]
    pub text: String,
}

/// What a client says of a file, next to its content.
#[derive(Clone, Debug)]
pub struct Label {
    pub(super) name: String,
    pub(super) media_type: String,
}

/// Which part of the list a client wants: `?after=7&limit=20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// The notes behind this one; from the first on unless said.
    pub after: u64,
    /// How many: from 1 to 100, 20 unless said.
    pub limit: usize,
}

/// A part of the list.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their creation.
    pub notes: Vec<Note>,
    /// Where the list goes on, relative to where it is, for a Link with `rel="next"`.
    pub next: Option<String>,
}

/// The longest title.
pub const TITLE_CHARS_MAX: usize = 200;

/// The longest text.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

impl Note {
    /// What tells its revisions apart.
    pub fn etag(&self) -> ETag {
        etag(self.revision)
    }

    /// The same for conditional requests.
    pub fn validators(&self) -> Validators {
        Validators { etag: Some(self.etag()), last_modified: None }
    }
}

impl Attachment {
    /// What tells it from those before and behind it.
    pub fn etag(&self) -> ETag {
        etag(self.revision)
    }
}

fn etag(revision: u64) -> ETag {
    ETag::strong(&revision.to_string()).expect("digits can be a tag")
}

impl Draft {
    /// That it can be a note.
    ///
    /// # Errors
    /// 422, naming the field.
    pub fn check(self) -> Result<Self, HttpError> {
        if self.title.trim().is_empty() {
            return Err(invalid("title", "A note has a title."));
        }
        if self.title.chars().count() > TITLE_CHARS_MAX {
            return Err(invalid("title", format!("A title has at most {TITLE_CHARS_MAX} characters.")));
        }
        if self.title.contains(char::is_control) {
            return Err(invalid("title", "A title is one line."));
        }
        if self.text.len() > TEXT_BYTES_MAX {
            return Err(invalid("text", format!("A text has at most {TEXT_BYTES_MAX} bytes.")));
        }
        Ok(self)
    }
}

impl Label {
    /// That of a file whose content comes with these fields.
    ///
    /// # Errors
    /// 422 if the name is none.
    pub fn new(name: &str, headers: &HeaderMap) -> Result<Self, HttpError> {
        if !(1..=255).contains(&name.len()) || name.contains(char::is_control) {
            return Err(invalid("name", "A name of a file has 1 to 255 bytes, and no control characters."));
        }
        let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = said.filter(|said| MediaType::parse(said).is_some());
        let media_type = media_type.unwrap_or("application/octet-stream").to_owned();
        Ok(Self { name: name.to_owned(), media_type })
    }
}

impl Paging {
    /// What a query says of it.
    ///
    /// # Errors
    /// 400, naming the parameter.
    pub fn of(uri: &Uri) -> Result<Self, HttpError> {
        let query = Query::of(uri);
        let after = query.parse("after")?.unwrap_or(0);
        let limit = query.parse::<usize>("limit")?.unwrap_or(20).clamp(1, 100);
        Ok(Self { after, limit })
    }
}

/// For what is answered in JSON.
///
/// # Errors
/// 406 if the client takes no JSON.
pub fn wants_json(accept: &Accept) -> Result<(), HttpError> {
    match accept.accepts("application/json") {
        true => Ok(()),
        false => Err(HttpError::new(StatusCode::NOT_ACCEPTABLE).with_detail("Notes are JSON.")),
    }
}

/// 422: understood, and refused because of one field.
fn invalid(field: &'static str, detail: impl Into<Cow<'static, str>>) -> HttpError {
    HttpError::new(StatusCode::UNPROCESSABLE_ENTITY)
        .with_code("invalid_field")
        .with_detail(detail)
        .with_member("field", field)
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

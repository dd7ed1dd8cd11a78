//! The values of a template's fields in one path.

use std::{fmt, str::FromStr, sync::Arc};

use http::{StatusCode, Uri, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;
use varvel::Scope;

use crate::HttpError;

/// Where the values stand in the path; nothing is copied that need not be decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Captures {
    places: SmallVec<[Place; 4]>,
    #[allow(clippy::box_collection, reason = "it is seldom there, and captures are moved from hand to hand")]
    decoded: Option<Box<Vec<Box<str>>>>,
}

/// From one byte of the path to another; or [`DECODED`], and which of those.
type Place = (u32, u32);

const DECODED: u32 = u32::MAX;

impl Captures {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.places.truncate(len);
        if let Some(decoded) = &mut self.decoded {
            decoded.truncate(self.places.iter().filter(|(begin, _)| *begin == DECODED).count());
        }
    }

    /// Adds a value that begins at this byte of the path, if it is text and accepted.
    pub(super) fn push(&mut self, raw: &str, begin: usize, accepts: impl Fn(&str) -> bool) -> bool {
        let place = if raw.contains('%') {
            let Ok(text) = percent_decode_str(raw).decode_utf8() else { return false };
            if !accepts(&text) {
                return false;
            }
            let decoded = self.decoded.get_or_insert_default();
            decoded.push(text.into());
            u32::try_from(decoded.len() - 1).map(|index| (DECODED, index))
        } else {
            if !accepts(raw) {
                return false;
            }
            u32::try_from(begin).and_then(|from| Ok((from, u32::try_from(begin + raw.len())?)))
        };
        // A path of 4 GiB is found by nobody.
        place.map(|place| self.places.push(place)).is_ok()
    }

    pub(super) fn get<'a>(&'a self, index: usize, path: &'a str) -> Option<&'a str> {
        match *self.places.get(index)? {
            (DECODED, index) => self.decoded.as_ref()?.get(index as usize).map(|text| &**text),
            (begin, end) => path.get(begin as usize..end as usize),
        }
    }
}

/// The values of the fields of the route that was found, percent-decoded. In the scope of an endpoint of
/// [`Routes`](crate::Routes).
///
/// ```
/// use http::{Request, Response};
/// use varvel::{AppResult, ReadBody, Scope, WriteBody, sync_fn};
/// use varvel_toolkit::{Routes, router::PathParams, routes::get};
///
/// fn user(_request: Request<ReadBody>, scope: Scope) -> AppResult {
///     let id: u64 = PathParams::of(&scope).parse("id")?;
///     Ok(Response::new(WriteBody::from(format!("user {id}"))))
/// }
///
/// let routes = Routes::builder().route("/users/{id:int(min=0)}", get(sync_fn(user))).build()?;
/// # let request = Request::get("/users/7").body(ReadBody::empty())?;
/// # let response = varvel::App::call(&routes, request, Scope::for_test()).unwrap();
/// # assert_eq!(response.body().exact_len(), Some(6));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PathParams {
    names: Arc<[Box<str>]>,
    captures: Captures,
    /// What captures point into, and where in it they count from.
    path: Option<PathAndQuery>,
    begin: usize,
    /// Of the route below which this one is mounted.
    outer: Option<Box<PathParams>>,
}

impl PathParams {
    pub(super) fn new(names: Arc<[Box<str>]>, captures: Captures, uri: &Uri, begin: usize) -> Self {
        let path = uri.path_and_query().cloned();
        Self { names, captures, path, begin, outer: None }
    }

    /// Those of the route that led to this scope; none where there was no route, or one without fields.
    pub fn of(scope: &Scope) -> &Self {
        static NONE: std::sync::OnceLock<PathParams> = std::sync::OnceLock::new();
        scope.get().unwrap_or_else(|| {
            NONE.get_or_init(|| Self::new(Arc::new([]), Captures::default(), &Uri::default(), 0))
        })
    }

    /// Keeps them in a scope, together with those of the route above.
    pub fn insert_into(mut self, scope: &mut Scope) {
        self.outer = scope.remove().map(Box::new);
        scope.insert(self);
    }

    /// The value of the field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.names.iter().position(|known| **known == *name) {
            Some(index) => self.captures.get(index, self.path()),
            None => self.outer.as_ref()?.get(name),
        }
    }

    /// The value of the field of this name, as another type.
    ///
    /// # Errors
    /// 404 if the text is no such value, as there can be nothing at this path; 500 if the route has no such field.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, HttpError> {
        let Some(text) = self.get(name) else {
            let reason = format!("the route has no field `{name}`");
            return Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR).caused_by(reason));
        };
        text.parse().map_err(|_| HttpError::new(StatusCode::NOT_FOUND))
    }

    /// Names and values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let path = self.path();
        let values = (0..self.captures.len()).filter_map(move |index| self.captures.get(index, path));
        self.names.iter().map(|name| &**name).zip(values)
    }

    fn path(&self) -> &str {
        let path = self.path.as_ref().map(PathAndQuery::path);
        path.and_then(|path| path.get(self.begin..)).unwrap_or_default()
    }
}

impl fmt::Debug for PathParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

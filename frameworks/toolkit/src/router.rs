//! Finds what belongs to a path, and the path of what has a name.
//!
//! ```
//! use varvel_toolkit::router::Router;
//!
//! let mut router = Router::new();
//! router.add("/", "front page")?;
//! router.add("/users/me", "who I am")?;
//! router.add("/users/{id:int}", "a user")?;
//! router.add("/files/{rest:path}", "a file")?;
//!
//! let found = router.find("/users/7").unwrap();
//! assert_eq!((*found.value(), found.get("id")), ("a user", Some("7")));
//! assert_eq!(router.find("/users/me").map(|found| *found.value()), Some("who I am"));
//! assert!(router.find("/users/you").is_none());
//!
//! router.name("file", "/files/{rest:path}")?;
//! assert_eq!(router.url_for("file", &[("rest", &"a b/c.txt")])?, "/files/a%20b/c.txt");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Templates
//!
//! A segment of a template is literal text, a field in braces, or fields with text beside them: `/@{user}`,
//! `/{name}.json`, `/{from}..{to}`. A field takes at least one character, and up to the first place where the text behind it
//! stands. A name may be followed by a [converter](Converters) and its arguments: `{id:int(min=1)}`.
//!
//! # Precedence
//!
//! Segment by segment from the left: literal text, then fields with text beside them (more text first), then fields with a
//! converter (in the order of their routes), then fields without, then `path`, then prefixes. A route that refuses
//! what comes later gives way to the next, so the order in which routes are added matters only between converters. Two
//! routes for the same paths are an error when the second is added, and it names both.
//!
//! # Paths
//!
//! Segments are compared as the client sent them: `%2F` does not end one, `/%61dmin` is not `/admin`, and `//` holds an empty
//! segment. Literal text that a path must escape is found in capital and small digits. The value of a field is
//! percent-decoded; where that is no UTF-8, the route does not match. So it may be `..` or hold a `/` or a NUL, and names no
//! file by itself: that is for [`Files`](crate::files::Files). An empty path, as the root of a mount may have, is `/`.

mod converter;
mod params;
mod reverse;
mod table;
mod template;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, error::Error, fmt, sync::Arc};

use http::Uri;

pub use converter::{Arguments, Convert, Converters};
pub use params::PathParams;
pub use reverse::UrlError;
pub use template::Template;

use params::Captures;
use table::{Hit, Table};

/// A table of templates, each with a value.
#[derive(Clone, Debug)]
pub struct Router<T> {
    converters: Converters,
    table: Table,
    routes: Vec<Route<T>>,
    names: HashMap<Box<str>, Template>,
}

/// A template and what belongs to it.
#[derive(Clone, Debug)]
pub struct Route<T> {
    template: Template,
    is_prefix: bool,
    value: T,
}

impl<T> Route<T> {
    /// Its template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Whether it stands for all paths that begin with the template.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// What belongs to it.
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Router<T> {
    /// A router without routes.
    pub fn new() -> Self {
        Self::with_converters(Converters::new())
    }

    /// A router without routes, whose templates may name these converters.
    pub fn with_converters(converters: Converters) -> Self {
        Self { converters, table: Table::new(), routes: Vec::new(), names: HashMap::new() }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// If this is no template, or another route takes the same paths.
    pub fn add(&mut self, template: &str, value: T) -> Result<(), RouteError> {
        self.insert(template, false, value)
    }

    /// Adds a route for all paths that begin with the segments of the template; `/` is a prefix of every path.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_prefix(&mut self, template: &str, value: T) -> Result<(), RouteError> {
        let refused =
            |reason: &str| RouteError::Template { template: template.into(), reason: reason.into() };
        if template.len() > 1 && template.ends_with('/') {
            return Err(refused("a prefix ends where a segment does: without a slash"));
        }
        self.insert(template, true, value)
    }

    fn insert(&mut self, text: &str, is_prefix: bool, value: T) -> Result<(), RouteError> {
        let refused = |reason| RouteError::Template { template: text.into(), reason };
        let template = Template::parse(text, &self.converters).map_err(refused)?;
        if is_prefix && matches!(template.segments.last(), Some(template::Segment::Rest)) {
            return Err(refused("a prefix leaves the rest to others".into()));
        }
        match self.table.add(&template, self.routes.len(), is_prefix) {
            Ok(()) => {
                self.routes.push(Route { template, is_prefix, value });
                Ok(())
            }
            Err(known) => {
                let known = self.routes[known].template.as_str().into();
                Err(RouteError::Conflict { template: text.into(), known })
            }
        }
    }

    /// Names the route of this template, for [`url_for`](Self::url_for). A prefix is named with a field for what follows it:
    ///
    /// ```
    /// use varvel_toolkit::router::Router;
    ///
    /// let mut router = Router::new();
    /// router.add_prefix("/static", "files")?;
    /// router.name("static", "/static/{file:path}")?;
    /// assert_eq!(router.url_for("static", &[("file", &"css/site.css")])?, "/static/css/site.css");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such route, or the name is another's.
    pub fn name(&mut self, name: &str, template: &str) -> Result<(), RouteError> {
        let route = self.position(template).map(|route| self.routes[route].template.clone());
        let Some(named) = route.or_else(|| self.below_prefix(template)) else {
            return Err(RouteError::NoRoute { name: name.into(), template: template.into() });
        };
        let known = self.names.entry(name.into()).or_insert(named).as_str();
        if known == template {
            return Ok(());
        }
        Err(RouteError::Name { name: name.into(), template: template.into(), known: known.into() })
    }

    /// The template of the paths below a prefix, with one field for the rest.
    fn below_prefix(&self, text: &str) -> Option<Template> {
        let template = Template::parse(text, &self.converters).ok()?;
        let is_rest = matches!(template.segments.last(), Some(template::Segment::Rest));
        let prefix = text.rsplit_once('/').filter(|_| is_rest)?.0;
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        let is_known = |route: &Route<T>| route.is_prefix && route.template.as_str() == prefix;
        self.routes.iter().any(is_known).then_some(template)
    }

    /// What belongs to the route of exactly this template, to be changed.
    pub fn value_mut(&mut self, template: &str) -> Option<&mut T> {
        let route = self.position(template)?;
        Some(&mut self.routes[route].value)
    }

    fn position(&self, template: &str) -> Option<usize> {
        self.routes.iter().position(|route| !route.is_prefix && route.template.as_str() == template)
    }

    /// The route for a path.
    pub fn find<'r, 'p>(&'r self, path: &'p str) -> Option<Found<'r, 'p, T>> {
        let mut captures = Captures::default();
        let Hit { route, taken } = self.table.find(path, &mut captures)?;
        Some(Found { index: route, route: &self.routes[route], path, taken, captures })
    }

    /// The path of the route of this name, with these values in its fields.
    ///
    /// # Errors
    /// If no route has the name, or values are missing, too many or not acceptable.
    pub fn url_for(&self, name: &str, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        match self.names.get(name) {
            Some(template) => template.url(values),
            None => Err(UrlError::UnknownName(name.into())),
        }
    }

    /// All routes, in the order in which they were added.
    pub fn routes(&self) -> impl Iterator<Item = &Route<T>> {
        self.routes.iter()
    }

    /// The names of routes, in no order.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Template)> {
        self.names.iter().map(|(name, template)| (&**name, template))
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A route that was found, and the values of its fields. Holds up to four of them without an allocation.
#[derive(Debug)]
pub struct Found<'r, 'p, T> {
    index: usize,
    route: &'r Route<T>,
    path: &'p str,
    taken: usize,
    captures: Captures,
}

impl<'r, T> Found<'r, '_, T> {
    /// The route.
    pub fn route(&self) -> &'r Route<T> {
        self.route
    }

    /// What belongs to it.
    pub fn value(&self) -> &'r T {
        &self.route.value
    }

    /// Its place among [`Router::routes`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many bytes of the path it took: all, unless it is a prefix.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The value of the field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self.route.template.names().position(|known| known == name)?;
        self.captures.get(index, self.path)
    }

    /// The values, to be kept without a copy: the path that was looked up is what is behind so many bytes of this URI's.
    /// `None` for a route without fields.
    pub fn into_params(self, uri: &Uri, begin: usize) -> Option<PathParams> {
        let names = &self.route.template.names;
        (!names.is_empty()).then(|| PathParams::new(Arc::clone(names), self.captures, uri, begin))
    }
}

/// Why a route cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// This is no template.
    Template {
        /// What was given.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another route takes the same paths.
    Conflict {
        /// What was given.
        template: String,
        /// The other route.
        known: String,
    },
    /// Both have a handler for the same method.
    Method {
        /// The template.
        template: String,
        /// The method.
        method: String,
    },
    /// Another route has the same name.
    Name {
        /// The name.
        name: String,
        /// What was to be named.
        template: String,
        /// What is named so.
        known: String,
    },
    /// There is nothing of this template to be named.
    NoRoute {
        /// The name.
        name: String,
        /// The template.
        template: String,
    },
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template { template, reason } => write!(f, "route {template}: {reason}"),
            Self::Conflict { template, known } if template == known => {
                write!(f, "route {template} is added twice")
            }
            Self::Conflict { template, known } => {
                write!(f, "routes {known} and {template} are for the same paths")
            }
            Self::Method { template, method } => write!(f, "route {template} has two handlers for {method}"),
            Self::Name { name, template, known } => {
                write!(f, "routes {known} and {template} are both named `{name}`")
            }
            Self::NoRoute { name, template } => {
                write!(f, "there is no route {template} to be named `{name}`")
            }
        }
    }
}

impl Error for RouteError {}

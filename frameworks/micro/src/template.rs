//! Responses rendered from templates, and what templates can use: Flask's `render_template`.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use varvel::{AppError, Body, Mode, Scope};
use varvel_toolkit::{
    HttpError,
    router::Template as PathTemplate,
    templates::{
        Error, Templates, Value,
        minijinja::{
            ErrorKind,
            value::{Kwargs, Object, merge_maps},
        },
    },
};

use crate::{
    App, Flash, Respond, Session,
    context::{Context, Names},
    hooks::{Answer, Side},
};

/// A page rendered from a template: the name of one of [`App::templates`], and the values for it.
///
/// ```
/// use varvel_micro::{App, Template, Templates, context};
///
/// let mut templates = Templates::new();
/// templates.add("hello.html", "<h1>Hello, {{ name }}!</h1>")?;
///
/// let mut app = App::new();
/// app.templates(templates);
/// app.get("/hello/{name}", |name: String| Template("hello.html", context! { name }));
/// # let client = varvel_test::Client::sync(app);
/// # let response = client.get("/hello/%3Cb%3E").send();
/// # assert_eq!(response.text(), "<h1>Hello, &lt;b&gt;!</h1>");
/// # assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
/// # Ok::<_, varvel_toolkit::templates::Error>(())
/// ```
///
/// The values are a map: [`context!`](crate::context), or anything that serde serializes as one. Besides, all templates have
///
/// | in a template | |
/// |---|---|
/// | `url_for('user', id=7)` | the path of a route by its name, as [`App::url_for`] returns it |
/// | `session.name` | a value of the [`Session`](crate::Session) |
/// | `get_flashed_messages()` | the messages for this page; with `with_categories=true`, pairs of category and message |
///
/// unless one of the values has that name. The template's name decides what is escaped and the media type of the page: see
/// [`Templates`].
#[derive(Clone, Debug)]
pub struct Template<G = Value>(
    /// The name. It is static, as it never comes from a client.
    pub &'static str,
    /// The values.
    pub G,
);

impl App {
    /// Sets the templates. To edit them while the program runs see [`reloaded`](Templates::reloaded).
    ///
    /// # Panics
    /// If one of them is faulty: a whole directory is read now, so that this is found when the program starts.
    #[track_caller]
    pub fn templates(&mut self, templates: Templates) -> &mut Self {
        if let Err(error) = templates.read_all() {
            panic!("{error}");
        }
        self.templates = Some(templates);
        self.changed()
    }
}

impl<M: Mode, G: Serialize> Respond<M> for Template<G> {
    fn respond(self) -> Result<Response<Body<M>>, AppError> {
        let mut response = Response::new(Body::empty());
        let unrendered = Unrendered { name: self.0, given: Value::from_serialize(self.1) };
        response.extensions_mut().insert(unrendered);
        Ok(response)
    }
}

/// A template to render, on its way in the response's extensions to where the templates are known.
#[derive(Clone)]
struct Unrendered {
    name: &'static str,
    given: Value,
}

impl Context {
    /// The session, for a page that may ask for it when the head of the request is gone.
    pub(crate) fn session_of_page(&self, headers: &HeaderMap, scope: &Scope) -> Option<Session> {
        self.templates.as_ref()?;
        self.session(headers, scope)
    }

    /// Renders the body, if the response is that of a template.
    pub(crate) fn render<F: Side>(&self, answer: Answer<F>, session: Option<&Session>) -> Answer<F> {
        let mut response = answer?;
        let Some(Unrendered { name, given }) = response.extensions_mut().remove() else {
            return Ok(response);
        };
        let Some(templates) = &self.templates else {
            return Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR)
                .caused_by(format!("`{name}` needs `app.templates(...)`"))
                .into());
        };
        let page =
            Page { names: Arc::clone(&self.names), session: session.cloned(), flashes: OnceLock::new() };
        // The values of the page hide what all pages have.
        let (head, body) =
            templates.respond(name, merge_maps([Value::from_object(page), given]))?.into_parts();
        for (name, value) in &head.headers {
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        *response.body_mut() = body;
        Ok(response)
    }
}

/// What all templates have, on one page.
#[derive(Debug)]
struct Page {
    names: Arc<Names>,
    session: Option<Session>,
    /// Taken from the session when first asked for.
    flashes: OnceLock<Vec<Flash>>,
}

impl Object for Page {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let page = Arc::clone(self);
        match name.as_str()? {
            "url_for" => {
                Some(Value::from_function(move |name: &str, values: Kwargs| page.url_for(name, &values)))
            }
            "session" => self.session.clone().map(|session| Value::from_object(Remembered(session))),
            "get_flashed_messages" => {
                Some(Value::from_function(move |options: Kwargs| page.get_flashed_messages(&options)))
            }
            _ => None,
        }
    }
}

impl Page {
    fn url_for(&self, name: &str, values: &Kwargs) -> Result<Value, Error> {
        let values: Vec<(&str, Value)> =
            values.args().map(|name| Ok((name, values.get(name)?))).collect::<Result<_, Error>>()?;
        let values: Vec<(&str, &dyn fmt::Display)> =
            values.iter().map(|(name, value)| (*name, value as _)).collect();
        let failed = |why| Error::new(ErrorKind::InvalidOperation, why);
        let Some(template) = self.names.get(name) else {
            return Err(failed(format!("no route is named `{name}`")));
        };
        let url = PathTemplate::url(template, &values).map_err(|error| failed(error.to_string()))?;
        // Usually only slashes would be escaped, which HTML does not need.
        let is_plain = !url.contains(['&', '<', '>', '"', '\'']);
        Ok(if is_plain { Value::from_safe_string(url) } else { Value::from(url) })
    }

    fn get_flashed_messages(&self, options: &Kwargs) -> Result<Value, Error> {
        let with_categories: Option<bool> = options.get("with_categories")?;
        options.assert_all_used()?;
        let taken = || self.session.as_ref().map(Session::flashes).unwrap_or_default();
        let flashes = self.flashes.get_or_init(taken).iter();
        Ok(if with_categories == Some(true) {
            flashes.map(|flash| Value::from(vec![flash.category.clone(), flash.message.clone()])).collect()
        } else {
            flashes.map(|flash| Value::from(flash.message.clone())).collect()
        })
    }
}

/// The values of a session.
#[derive(Debug)]
struct Remembered(Session);

impl Object for Remembered {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        self.0.get::<Value>(name.as_str()?)
    }
}

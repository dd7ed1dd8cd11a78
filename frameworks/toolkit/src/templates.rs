//! HTML and other text from templates in Jinja's language, rendered by `minijinja`.
//!
//! ```
//! use varvel::sync_fn;
//! use varvel_toolkit::templates::{Templates, context};
//!
//! let mut templates = Templates::new();
//! templates.add("hello.html", "<h1>Hello, {{ name }}!</h1>")?;
//! let app = sync_fn(move |_, _| Ok(templates.respond("hello.html", context! { name => "<Ferris>" })?));
//! # let client = varvel_test::Client::sync(app);
//! # let response = client.get("/").send();
//! # assert_eq!(response.text(), "<h1>Hello, &lt;Ferris&gt;!</h1>");
//! # assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
//! # Ok::<_, varvel_toolkit::templates::Error>(())
//! ```
//!
//! Values are escaped in templates that are HTML or XML by the extensions of their names, `.svg` among them, unless the
//! template says `|safe`. In scripts and in attributes without quotes that is not enough. Templates are part of the program: never make one from
//! what a client has sent.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use http::{HeaderValue, Response, header};
use minijinja::AutoEscape;
pub use minijinja::{self, Environment, Error, Value, context};
use serde::Serialize;
use varvel::{Body, Mode};

use crate::{MediaType, files};

/// Templates by their names.
///
/// Clones share them. A template is read and checked when it is [added](Self::add), when [all are read](Self::read_all), or
/// else when it is first used, and then kept.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Arc<RwLock<Environment<'static>>>,
    directory: Option<Arc<Path>>,
    /// The names of those that were read from the directory, without those that were added.
    loaded: Arc<Mutex<HashSet<String>>>,
    is_reloaded: bool,
}

impl Templates {
    /// None at first.
    pub fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(escaping);
        let environment = Arc::new(RwLock::new(environment));
        Self { environment, directory: None, loaded: Arc::default(), is_reloaded: false }
    }

    /// Those of a directory, named by their paths in it: `users/list.html`. No name leads out of it. A file is read on first
    /// use, on the thread that renders.
    pub fn of_directory(path: impl Into<PathBuf>) -> Self {
        let mut templates = Self::new();
        let path: PathBuf = path.into();
        templates.directory = Some(path.as_path().into());
        let load = minijinja::path_loader(path);
        let loaded = Arc::clone(&templates.loaded);
        templates.change(|environment| {
            environment.set_loader(move |name| {
                let source = load(name)?;
                if source.is_some() {
                    loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
                }
                Ok(source)
            });
        });
        templates
    }

    /// Reads all files of the directory now, so that a mistake in any of them is found when the program starts. Files and
    /// directories whose names begin with a dot are skipped.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file is not a valid template.
    pub fn read_all(&self) -> Result<(), Error> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let mut names = Vec::new();
        if let Err(error) = gather(directory, "", &mut names) {
            let what = format!("templates in {}", directory.display());
            let error = Error::new(minijinja::ErrorKind::TemplateNotFound, what).with_source(error);
            return Err(error);
        }
        let environment = self.environment.read().unwrap_or_else(PoisonError::into_inner);
        names.iter().try_for_each(|name| environment.get_template(name).map(drop))
    }

    /// Whether files are read again for each rendering, so that they can be edited while the program runs; off by default.
    /// Templates that were [added](Self::add) stay.
    #[must_use]
    pub fn reloaded(mut self, is_reloaded: bool) -> Self {
        self.is_reloaded = is_reloaded;
        self
    }

    /// Adds a template. It replaces another of this name.
    ///
    /// # Errors
    /// If it is not a valid template; the error says where.
    pub fn add(&mut self, name: impl Into<String>, source: impl Into<String>) -> Result<(), Error> {
        let name = name.into();
        self.loaded().remove(&name);
        self.change(|environment| environment.add_template_owned(name, source.into()))
    }

    /// Changes what templates can use: functions such as `url_for`, filters, globals, what undefined values do.
    ///
    /// ```
    /// use varvel_toolkit::templates::{Templates, context};
    ///
    /// let mut templates = Templates::new();
    /// templates.change(|environment| environment.add_function("twice", |n: u32| n * 2));
    /// templates.add("a.txt", "{{ twice(n) }}")?;
    /// assert_eq!(templates.render("a.txt", context! { n => 21 })?, "42");
    /// # Ok::<_, varvel_toolkit::templates::Error>(())
    /// ```
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Environment<'static>) -> T) -> T {
        change(&mut self.environment.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Renders a template with these values.
    ///
    /// # Errors
    /// If there is no such template, or it fails; the error says where.
    pub fn render(&self, name: &str, given: impl Serialize) -> Result<String, Error> {
        if self.is_reloaded {
            let mut environment = self.environment.write().unwrap_or_else(PoisonError::into_inner);
            self.loaded().drain().for_each(|name| environment.remove_template(&name));
        }
        let environment = self.environment.read().unwrap_or_else(PoisonError::into_inner);
        environment.get_template(name)?.render(given)
    }

    fn loaded(&self) -> MutexGuard<'_, HashSet<String>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 200 with a rendered template; the extension in its name decides the media type.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn respond<M: Mode>(&self, name: &str, given: impl Serialize) -> Result<Response<Body<M>>, Error> {
        let mut response = Response::new(Body::full(self.render(name, given)?));
        if let Ok(media_type) = HeaderValue::try_from(media_type(name)) {
            response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        }
        Ok(response)
    }
}

impl Default for Templates {
    fn default() -> Self {
        Self::new()
    }
}

/// Whatever is sent as markup is escaped. Minijinja itself does not know that scripts run in SVG and XHTML, nor that
/// `page.HTML` is HTML.
fn escaping(name: &str) -> AutoEscape {
    let media_type = media_type(name);
    let subtype = MediaType::parse(&media_type).map(|media_type| media_type.subtype()).unwrap_or_default();
    if subtype.ends_with("html") || subtype.ends_with("xml") {
        AutoEscape::Html
    } else {
        minijinja::default_auto_escape_callback(name)
    }
}

/// By the extension, behind which there may be one for templates: `page.html.j2` is HTML.
fn media_type(name: &str) -> String {
    let bare = [".j2", ".jinja", ".jinja2"].iter().find_map(|extension| name.strip_suffix(extension));
    files::media_type(Path::new(bare.unwrap_or(name)))
}

/// The names of all files below a directory.
fn gather(directory: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() { gather(&path, &format!("{name}/"), names)? } else { names.push(name) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use varvel::{AppError, FailKind, Push};

    use super::*;

    fn content_type(name: &str) -> HeaderValue {
        let mut templates = Templates::new();
        templates.add(name, "x").unwrap();
        templates.respond::<Push>(name, ()).unwrap().headers()[header::CONTENT_TYPE].clone()
    }

    #[test]
    fn the_name_tells_the_media_type() {
        assert_eq!(content_type("a.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("mail.txt"), "text/plain; charset=utf-8");
        assert_eq!(content_type("feed.xml"), "text/xml; charset=utf-8");
        assert_eq!(content_type("a.html.j2"), "text/html; charset=utf-8");
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let mut templates = Templates::new();
        templates.add("a.html", "<a title=\"{{ a }}\">{{ a }}{{ a|safe }}</a>").unwrap();
        templates.add("a.txt", "{{ a }}").unwrap();
        let render = |name| templates.render(name, context! { a => "<\"'&>" }).unwrap();
        assert_eq!(
            render("a.html"),
            "<a title=\"&lt;&quot;&#x27;&amp;&gt;\">&lt;&quot;&#x27;&amp;&gt;<\"'&></a>"
        );
        assert_eq!(render("a.txt"), "<\"'&>");
        for name in ["a.htm", "a.HTML", "a.xhtml", "a.xml", "a.atom", "a.svg", "a.svg.j2", "a.html.jinja"] {
            templates.add(name, "{{ a }}").unwrap();
            let text = templates.render(name, context! { a => "<script>" }).unwrap();
            assert_eq!(text, "&lt;script&gt;", "{name}");
        }
    }

    #[test]
    fn what_fails_is_our_own_fault_and_says_where() {
        let mut templates = Templates::new();
        let error = templates.add("a.html", "one\n{% if %}").unwrap_err();
        assert_eq!((error.name(), error.line()), (Some("a.html"), Some(2)));
        let missing = templates.render("missing.html", ()).unwrap_err();
        assert_eq!(AppError::from(missing).kind(), FailKind::Internal);
    }

    #[test]
    fn templates_of_a_directory_include_each_other_and_stay_in_it() {
        let directory = std::env::temp_dir().join(format!("varvel-templates-{}", std::process::id()));
        fs::create_dir_all(directory.join("root/users")).unwrap();
        fs::write(directory.join("secret.html"), "secret").unwrap();
        fs::write(directory.join("root/base.html"), "[{% block body %}{% endblock %}]").unwrap();
        let page = "{% extends \"base.html\" %}{% block body %}{{ n }}{% endblock %}";
        fs::write(directory.join("root/users/list.html"), page).unwrap();

        let kept = Templates::of_directory(directory.join("root"));
        let fresh = Templates::of_directory(directory.join("root")).reloaded(true);
        for templates in [&kept, &fresh] {
            templates.read_all().unwrap();
            assert_eq!(templates.render("users/list.html", context! { n => 1 }).unwrap(), "[1]");
            for name in ["../secret.html", "users/../../secret.html", "/etc/passwd", "users"] {
                assert!(templates.render(name, ()).is_err(), "{name}");
            }
        }
        fs::write(directory.join("root/base.html"), "({% block body %}{% endblock %})").unwrap();
        assert_eq!(kept.render("users/list.html", context! { n => 1 }).unwrap(), "[1]");
        assert_eq!(fresh.render("users/list.html", context! { n => 1 }).unwrap(), "(1)");
        // What was added is in no file, or in place of one.
        let mut mixed = Templates::of_directory(directory.join("root")).reloaded(true);
        mixed.add("base.html", "<{% block body %}{% endblock %}>").unwrap();
        for _ in 0..2 {
            assert_eq!(mixed.render("users/list.html", context! { n => 1 }).unwrap(), "<1>");
        }
        // Nobody asked for it yet, and nobody ever will for what an editor keeps there.
        fs::write(directory.join("root/users/faulty.html"), "one\n{% if %}").unwrap();
        fs::write(directory.join("root/.swp"), b"\xff").unwrap();
        let error = Templates::of_directory(directory.join("root")).read_all().unwrap_err();
        assert_eq!((error.name(), error.line()), (Some("users/faulty.html"), Some(2)));
        let missing = Templates::of_directory(directory.join("nowhere")).read_all().unwrap_err();
        assert!(missing.to_string().contains("nowhere"), "{missing}");
        fs::remove_dir_all(directory).unwrap();
    }
}

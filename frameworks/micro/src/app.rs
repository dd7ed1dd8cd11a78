//! The application and its groups: routes, hooks and shared state, as they are registered.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, OnceLock},
};

use http::{Method, StatusCode, response};
use varvel::{Async, AsyncApp, Push};
#[cfg(feature = "templates")]
use varvel_toolkit::templates::Templates;
use varvel_toolkit::{
    Endpoint,
    cookies::Keys,
    multipart,
    router::{Router, UrlError},
};

use crate::{
    Asked, BeforeFn, Handler, Needs, Respond,
    context::{Context, States},
    handler::{Bound, Surroundings},
    hooks::{Failure, Hooks},
    lifecycle::{Shutdown, Startup},
    mount::BothForms,
    service::{Service, Target},
    session::Seal,
};

/// An application: routes, hooks and shared state. It is a [`varvel::App`] and a [`varvel::AsyncApp`], and a factory of both
/// for the workers of a server.
///
/// ```
/// use varvel_micro::App;
///
/// let mut app = App::new();
/// app.get("/hello/{name}", |name: String| format!("Hello, {name}!\n"));
/// app.get("/later/{n:int}", async |n: i64| format!("{n} later\n"));
/// # let client = varvel_test::Client::new(app);
/// # assert_eq!(client.get("/hello/you").send().text(), "Hello, you!\n");
/// # assert_eq!(client.get("/later/-7").send().text(), "-7 later\n");
/// ```
///
/// A mistake panics where the route is added, which is when the program starts, with a message that says what is wrong: two
/// routes for the same paths, arguments for which the path has no fields, state that was not given. So state and secret must
/// be set before the routes that take them; everything else may come in any order.
#[derive(Clone)]
pub struct App {
    router: Router<Planned>,
    /// The application itself, then its groups, each after the one that contains it.
    around: Vec<Around>,
    pub(crate) states: States,
    pub(crate) startups: Vec<Startup>,
    pub(crate) shutdowns: Vec<Arc<Shutdown>>,
    keys: Option<Keys>,
    session_cookie: String,
    content_bytes_max: usize,
    multipart: multipart::Limits,
    #[cfg(feature = "templates")]
    pub(crate) templates: Option<Templates>,
    /// Assembled on the first call.
    service: OnceLock<Arc<Service>>,
}

/// The hooks of a group, and the index of the group that contains it.
#[derive(Clone, Default)]
struct Around {
    hooks: Hooks,
    outer: Option<usize>,
}

/// What was added to a path, each with the index of its group.
#[derive(Clone)]
enum Planned {
    Methods(Vec<(Method, Make, usize)>),
    Mount(BothForms, usize),
}

/// Makes the endpoint of a handler.
type Make = Arc<dyn Fn(&Surroundings) -> Endpoint + Send + Sync>;

impl App {
    /// An application without routes.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            around: vec![Around::default()],
            states: States::new(),
            startups: Vec::new(),
            shutdowns: Vec::new(),
            keys: None,
            session_cookie: "session".to_owned(),
            content_bytes_max: 1 << 20,
            multipart: multipart::Limits::default(),
            #[cfg(feature = "templates")]
            templates: None,
            service: OnceLock::new(),
        }
    }

    /// Shares a value with all calls, which take it as [`State<T>`](crate::State). There is one value per type.
    pub fn state<T: Send + Sync + 'static>(&mut self, value: T) -> &mut Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(value));
        self.changed()
    }

    /// Sets the secret that [sessions](crate::Session) are signed with: at least 32 random bytes, the same in all processes.
    ///
    /// # Panics
    /// If it is shorter.
    #[track_caller]
    pub fn secret(&mut self, secret: impl AsRef<[u8]>) -> &mut Self {
        match Keys::new(secret) {
            Ok(keys) => self.keys(keys),
            Err(weak) => panic!("{weak}"),
        }
    }

    /// As [`secret`](Self::secret), but keys may include old ones, whose sessions are still accepted.
    pub fn keys(&mut self, keys: Keys) -> &mut Self {
        self.keys = Some(keys);
        self.changed()
    }

    /// The name of the cookie that [sessions](crate::Session) are kept in; `session` unless set. Applications on one host that
    /// have different secrets, mounted ones included, need different names, or each discards the sessions of the other.
    ///
    /// # Panics
    /// If the name is empty.
    #[track_caller]
    pub fn session_cookie(&mut self, name: impl Into<String>) -> &mut Self {
        self.session_cookie = name.into();
        assert!(!self.session_cookie.is_empty(), "the cookie of sessions needs a name");
        self.changed()
    }

    /// How many bytes of content are read for arguments; 1 MiB unless set. More gets 413. A [`Multipart`](crate::Multipart)
    /// has [limits of its own](Self::multipart_limits), since it is not kept in memory.
    pub fn content_bytes_max(&mut self, bytes: usize) -> &mut Self {
        self.content_bytes_max = bytes;
        self.changed()
    }

    /// How large a [`Multipart`](crate::Multipart) may be; 16 MiB unless set. More gets 413.
    pub fn multipart_limits(&mut self, limits: multipart::Limits) -> &mut Self {
        self.multipart = limits;
        self.changed()
    }

    /// Adds a group: its routes go below its prefix, inside its hooks, which in turn are inside those of the application.
    ///
    /// # Panics
    /// As [`route`](Self::route).
    #[track_caller]
    pub fn group(&mut self, group: Group) -> &mut Self {
        self.add_group(group, "", "", 0);
        self.changed()
    }

    #[track_caller]
    fn add_group(&mut self, group: Group, prefix: &str, name: &str, around: usize) {
        let prefix = format!("{prefix}{}", group.prefix);
        let name = format!("{name}{}.", group.name);
        let index = self.around.len();
        self.around.push(Around { hooks: group.hooks, outer: Some(around) });
        for needs in &group.needs {
            self.check("a `before` hook of the group", needs);
        }
        for entry in group.entries {
            let route = entry.name.map(|route| format!("{name}{route}"));
            let path = format!("{prefix}{}", entry.path);
            let named = entry.what.named_path(&path);
            self.add(&path, entry.what, &entry.needs, index);
            if let Some(route) = route {
                self.name(&route, &named);
            }
        }
        for inner in group.groups {
            self.add_group(inner, &prefix, &name, index);
        }
    }

    #[track_caller]
    fn add(&mut self, path: &str, what: What, needs: &Needs, around: usize) {
        let result = match (what, self.router.value_mut(path)) {
            (What::Handler(method, make), Some(Planned::Methods(known))) => {
                let is_known = known.iter().any(|(other, ..)| *other == method);
                assert!(!is_known, "the route `{path}` has a handler for {method} already");
                known.push((method, make, around));
                Ok(())
            }
            (What::Handler(method, make), _) => {
                self.router.add(path, Planned::Methods(vec![(method, make, around)]))
            }
            (What::Mount(app), _) => self.router.add_prefix(path, Planned::Mount(app, around)),
        };
        if let Err(error) = result {
            panic!("{error}");
        }
        let what = format!("the handler of `{path}`");
        let template =
            self.router.routes().map(|route| route.template()).find(|known| known.as_str() == path);
        let fields: Vec<_> = template.into_iter().flat_map(|template| template.names()).collect();
        assert!(
            needs.fields <= fields.len(),
            "{what} takes {} fields, but its path has {}: {fields:?}",
            needs.fields,
            fields.len(),
        );
        self.check(&what, needs);
    }

    #[track_caller]
    fn check(&self, what: &str, needs: &Needs) {
        for (id, name) in &needs.states {
            self.check_state(what, *id, name);
        }
        let has_keys = !needs.session || self.keys.is_some();
        assert!(has_keys, "{what} takes a `Session`, but `app.secret(...)` was not called before");
        assert!(
            !(needs.reads && needs.streams),
            "{what} takes a `Multipart` and something else made from the content, which can be read only once"
        );
        if let Some(whole) = needs.behind {
            panic!(
                "{what} takes more arguments after `{whole}`, which takes the whole request: it must come last"
            );
        }
    }

    #[track_caller]
    pub(crate) fn check_state(&self, what: &str, id: TypeId, name: &str) {
        let is_there =
            self.states.contains_key(&id) || self.startups.iter().any(|startup| startup.makes == id);
        assert!(
            is_there,
            "{what} takes `State<{name}>`, which neither `app.state` nor `app.startup` has provided before"
        );
    }

    #[track_caller]
    fn name(&mut self, name: &str, path: &str) {
        if let Err(error) = self.router.name(name, path) {
            panic!("{error}");
        }
    }

    pub(crate) fn changed(&mut self) -> &mut Self {
        self.service = OnceLock::new();
        self
    }

    /// The path of the route with this name, with these values in its fields. In handlers take [`Urls`](crate::Urls).
    ///
    /// # Errors
    /// If no route has this name, or a value is missing, unknown or not acceptable.
    pub fn url_for(&self, name: &str, values: &[(&str, &dyn fmt::Display)]) -> Result<String, UrlError> {
        self.router.url_for(name, values)
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        self.service.get_or_init(|| Arc::new(self.assemble()))
    }

    fn assemble(&self) -> Service {
        let states = Arc::new(self.states.clone());
        let names = self.router.names().map(|(name, template)| (name.to_owned(), template.clone()));
        let names = Arc::new(names.collect());
        let cookie = &self.session_cookie;
        let seal = self.keys.clone().map(|keys| Arc::new(Seal { keys, cookie: cookie.clone() }));
        let mut groups: Vec<Context> = Vec::new();
        for Around { hooks, outer } in &self.around {
            let hooks = match outer {
                Some(outer) => groups[*outer].hooks.and(hooks),
                None => hooks.clone(),
            };
            groups.push(Context {
                route: None,
                hooks: Arc::new(hooks),
                states: Arc::clone(&states),
                names: Arc::clone(&names),
                seal: seal.clone(),
                content_bytes_max: self.content_bytes_max,
                multipart: self.multipart,
                #[cfg(feature = "templates")]
                templates: self.templates.clone(),
            });
        }
        let mut router = Router::new();
        for route in self.router.routes() {
            let path = route.template().as_str();
            let context =
                |group: usize| Arc::new(Context { route: Some(path.into()), ..groups[group].clone() });
            let added = match route.value() {
                Planned::Methods(methods) => {
                    let made = |(method, make, group): &(Method, Make, usize)| {
                        (method.clone(), make(&Surroundings(context(*group))))
                    };
                    let context = context(methods[0].2);
                    router.add(path, Target::Methods(methods.iter().map(made).collect(), context))
                }
                Planned::Mount(app, group) => {
                    let context = context(*group);
                    router.add_prefix(path, Target::Mount(Arc::new(Bound { handler: app.clone(), context })))
                }
            };
            added.expect("it was added before");
        }
        Service { router, context: Arc::new(groups.swap_remove(0)) }
    }
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let templates = self.router.routes().map(|route| route.template().as_str());
        f.debug_list().entries(templates).finish()
    }
}

/// Routes that belong together, below a prefix and with hooks of their own: Flask's blueprint.
///
/// ```
/// use varvel_micro::{App, Group, HttpError, StatusCode};
///
/// let mut admin = Group::new("admin", "/admin");
/// admin.before(|headers: http::HeaderMap| {
///     (!headers.contains_key("x-key")).then(|| HttpError::new(StatusCode::UNAUTHORIZED))
/// });
/// admin.get("/users/{id}", |id: u64| format!("user {id}")).named("user");
///
/// let mut app = App::new();
/// app.group(admin);
/// assert_eq!(app.url_for("admin.user", &[("id", &7)])?, "/admin/users/7");
/// # let client = varvel_test::Client::sync(app);
/// # assert_eq!(client.get("/admin/users/7").send().status(), 401);
/// # assert_eq!(client.get("/admin/users/7").header("x-key", "1").send().text(), "user 7");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Group {
    name: String,
    prefix: String,
    hooks: Hooks,
    /// Of the hooks.
    needs: Vec<Needs>,
    entries: Vec<Entry>,
    groups: Vec<Group>,
}

/// What was added to a group.
struct Entry {
    path: String,
    what: What,
    needs: Needs,
    name: Option<String>,
}

impl Group {
    /// A group whose routes get `name.` in front of their names and `prefix` in front of their paths. The prefix is put there
    /// as it is: `/admin`, possibly with fields, or empty.
    pub fn new(name: &str, prefix: &str) -> Self {
        Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            hooks: Hooks::default(),
            needs: Vec::new(),
            entries: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Adds a group inside this one.
    pub fn group(&mut self, group: Group) -> &mut Self {
        self.groups.push(group);
        self
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:?}, {:?})", self.name, self.prefix)
    }
}

enum What {
    Handler(Method, Make),
    Mount(BothForms),
}

impl What {
    /// The path whose URLs are made by name.
    fn named_path(&self, path: &str) -> String {
        match self {
            Self::Handler(..) => path.to_owned(),
            Self::Mount(_) => format!("{}/{{filename:path}}", path.trim_end_matches('/')),
        }
    }
}

/// A route or mount that was just added, to be [named](Self::named).
pub struct Route<'a>(Added<'a>);

enum Added<'a> {
    ToApp(&'a mut App, String),
    ToGroup(&'a mut Entry),
}

impl Route<'_> {
    /// Names the route, for [`url_for`](App::url_for). A mount has a field `filename` for the path below it, as Flask's `static`:
    ///
    /// ```
    /// use varvel_micro::{App, Files};
    ///
    /// let mut app = App::new();
    /// # let directory = env!("CARGO_MANIFEST_DIR");
    /// app.mount("/static", Files::new(directory)?).named("static");
    /// assert_eq!(app.url_for("static", &[("filename", &"css/site.css")])?, "/static/css/site.css");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If another route has this name.
    #[track_caller]
    pub fn named(self, name: &str) {
        match self.0 {
            Added::ToApp(app, path) => app.name(name, &path),
            Added::ToGroup(entry) => entry.name = Some(name.to_owned()),
        }
    }
}

impl fmt::Debug for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

/// The methods that applications and groups have in common.
macro_rules! registration {
    ($($function:ident $method:ident)*) => {
        $(
            #[doc = concat!("Adds a handler of ", stringify!($method), "; see [`App::route`].")]
            ///
            /// # Panics
            /// As that does.
            #[track_caller]
            pub fn $function<K>(&mut self, path: &str, handler: impl Handler<K>) -> Route<'_> {
                self.route(Method::$method, path, handler)
            }
        )*

        /// Adds a hook that is called with the head of each response and may change it. The hook added last is called first,
        /// and those of a group before those around it.
        ///
        /// Error responses pass through it as well, those to panics included, except for the few that only the server can give,
        /// such as that to a request body that breaks off.
        pub fn after(&mut self, hook: impl Fn(&mut response::Parts) + Send + Sync + 'static) -> &mut Self {
            self.own_hooks().after.push(Arc::new(move |_, head| hook(head)));
            self
        }

        /// As [`after`](Self::after), for hooks that look at the request as well: to count requests by route, or to answer by a
        /// field of its head.
        ///
        /// ```
        /// use varvel_micro::App;
        ///
        /// let mut app = App::new();
        /// app.get("/users/{id:int}", |id: u64| format!("user {id}"));
        /// app.after_request(|asked, head| {
        ///     println!("{} {} {}", asked.method(), asked.route().unwrap_or("-"), head.status);
        ///     # let route = asked.route().unwrap_or("-").parse().unwrap();
        ///     # head.headers.insert("x-route", route);
        /// });
        /// # let client = varvel_test::Client::new(app);
        /// # assert_eq!(client.get("/users/7").send().header("x-route"), Some("/users/{id:int}"));
        /// ```
        pub fn after_request(
            &mut self,
            hook: impl Fn(&Asked<'_>, &mut response::Parts) + Send + Sync + 'static,
        ) -> &mut Self {
            let hooks = self.own_hooks();
            hooks.after.push(Arc::new(hook));
            hooks.see_requests = true;
            self
        }

        /// Adds a hook that makes the responses for errors of this status, in place of problem details. It is told the error
        /// and what was asked: see [`Failure`]. What it returns gets that status, unless it sets one other than 200 itself;
        /// `None` leaves the problem details as they are. Of several hooks for one status the last counts, and those of a group
        /// before those around it.
        ///
        /// An error is an [`HttpError`](varvel_toolkit::HttpError) or any other error that was returned, a panic, or a path or
        /// method that does not exist; a response that merely has such a status is left as it is. The causes of a 500, and of an
        /// [`AppError::unavailable`](varvel::AppError::unavailable), which is a 503, are reported as ever.
        ///
        /// ```
        /// use varvel_micro::{App, Failure, Html};
        ///
        /// let mut app = App::new();
        /// // A page for browsers, problem details for programs.
        /// app.error(404, |failure: &Failure<'_>| {
        ///     failure.prefers_html().then(|| Html("<h1>Nothing here</h1>"))
        /// });
        /// # let client = varvel_test::Client::new(app);
        /// # let page = client.get("/").header("accept", "text/html").send();
        /// # assert_eq!((page.status().as_u16(), page.text()), (404, "<h1>Nothing here</h1>"));
        /// # assert_eq!(client.get("/").send().header("content-type"), Some("application/problem+json"));
        /// ```
        ///
        /// # Panics
        /// If `status` is not a status code.
        #[track_caller]
        pub fn error<R>(
            &mut self,
            status: u16,
            hook: impl Fn(&Failure<'_>) -> R + Send + Sync + 'static,
        ) -> &mut Self
        where
            R: Respond<Push> + Respond<Async> + 'static,
        {
            let Ok(status) = StatusCode::from_u16(status) else { panic!("{status} is not a status code") };
            self.own_hooks().errors.insert(0, (Some(status), Arc::new(hook)));
            self
        }

        /// As [`error`](Self::error), for all statuses that have no hook of their own. A group in an application with pages
        /// for errors keeps problem details by `group.errors(|_: &Failure<'_>| None::<()>)`.
        pub fn errors<R>(&mut self, hook: impl Fn(&Failure<'_>) -> R + Send + Sync + 'static) -> &mut Self
        where
            R: Respond<Push> + Respond<Async> + 'static,
        {
            self.own_hooks().errors.insert(0, (None, Arc::new(hook)));
            self
        }
    };
}

impl App {
    /// Adds a handler to a path such as `/users/{id:int}` or `/files/{rest:path}`; the toolkit's
    /// [router](varvel_toolkit::router) documents the syntax. The handler's arguments take the fields in order.
    ///
    /// # Panics
    /// If the path is malformed or taken, or the handler takes something that is not there.
    #[track_caller]
    pub fn route<K>(&mut self, method: Method, path: &str, handler: impl Handler<K>) -> Route<'_> {
        let (make, needs) = planned(handler);
        self.add(path, What::Handler(method, make), &needs, 0);
        Route(Added::ToApp(self.changed(), path.to_owned()))
    }

    registration! { get GET post POST put PUT patch PATCH delete DELETE }

    /// Mounts an application of both forms, such as [`Files`](crate::Files), an [`Endpoint`] or another [`App`], on all paths
    /// that begin with these segments. The hooks apply to it, too; error hooks to what [`Files`](crate::Files) do not have, and to
    /// errors that it returns, not to the responses of another [`App`] that has answered its errors itself.
    ///
    /// # Panics
    /// If the prefix is malformed or taken, or the application has [`startup`](App::startup) functions, which only servers
    /// call: make it a [`Group`] of this one, or give it the values by [`state`](App::state).
    #[track_caller]
    pub fn mount<A>(&mut self, prefix: &str, app: A) -> Route<'_>
    where
        A: varvel::App + AsyncApp<Future: Send + 'static> + Send + Sync + 'static,
    {
        check_mounted(prefix, &app);
        let what = What::Mount(BothForms::new(app));
        let named = what.named_path(prefix);
        self.add(prefix, what, &Needs::default(), 0);
        Route(Added::ToApp(self.changed(), named))
    }

    /// Adds a hook that is called before each handler; see [`BeforeFn`]. Those of the application come first, then those of
    /// the group. It runs where the handler does: before an async handler on the event loop, so it must not block there.
    ///
    /// # Panics
    /// If it takes something that is reserved for handlers, or is not there.
    #[track_caller]
    pub fn before<A>(&mut self, hook: impl BeforeFn<A>) -> &mut Self {
        self.check("a `before` hook", &needs_before(&hook));
        self.own_hooks().before.push(hook.erased().0);
        self
    }

    fn own_hooks(&mut self) -> &mut Hooks {
        &mut self.changed().around[0].hooks
    }
}

impl Group {
    /// Adds a handler to a path below the prefix; see [`App::route`]. Mistakes panic when the group is added.
    pub fn route<K>(&mut self, method: Method, path: &str, handler: impl Handler<K>) -> Route<'_> {
        let (make, needs) = planned(handler);
        self.entry(path, What::Handler(method, make), needs)
    }

    registration! { get GET post POST put PUT patch PATCH delete DELETE }

    /// As [`App::mount`], below the prefix.
    ///
    /// # Panics
    /// If the application has [`startup`](App::startup) functions.
    #[track_caller]
    pub fn mount<A>(&mut self, prefix: &str, app: A) -> Route<'_>
    where
        A: varvel::App + AsyncApp<Future: Send + 'static> + Send + Sync + 'static,
    {
        check_mounted(prefix, &app);
        self.entry(prefix, What::Mount(BothForms::new(app)), Needs::default())
    }

    fn entry(&mut self, path: &str, what: What, needs: Needs) -> Route<'_> {
        self.entries.push(Entry { path: path.to_owned(), what, needs, name: None });
        Route(Added::ToGroup(self.entries.last_mut().expect("it was added now")))
    }

    /// As [`App::before`], for the handlers of this group.
    ///
    /// # Panics
    /// If it takes something that is reserved for handlers.
    #[track_caller]
    pub fn before<A>(&mut self, hook: impl BeforeFn<A>) -> &mut Self {
        self.needs.push(needs_before(&hook));
        self.own_hooks().before.push(hook.erased().0);
        self
    }

    fn own_hooks(&mut self) -> &mut Hooks {
        &mut self.hooks
    }
}

/// What makes the handler's endpoint, and what the handler needs.
fn planned<K>(handler: impl Handler<K>) -> (Make, Needs) {
    fn needs<K, H: Handler<K>>(_: &H) -> Needs {
        let mut needs = Needs::default();
        H::needs(&mut needs);
        needs
    }
    let needs = needs(&handler);
    let handler = Arc::new(handler);
    (Arc::new(move |surroundings| Arc::clone(&handler).endpoint(surroundings)), needs)
}

#[track_caller]
fn check_mounted(prefix: &str, app: &dyn Any) {
    let starts = app.downcast_ref::<App>().is_some_and(|app| !app.startups.is_empty());
    assert!(
        !starts,
        "the application mounted on `{prefix}` has `startup` functions, which only servers call: make it a `Group`, or give \
         it the values by `app.state`"
    );
}

#[track_caller]
fn needs_before<A, H: BeforeFn<A>>(_: &H) -> Needs {
    let mut needs = Needs::default();
    H::needs(&mut needs);
    assert!(needs.fields == 0, "a `before` hook cannot take fields of the path: it is called for many paths");
    assert!(!needs.reads, "a `before` hook is called before the content is read");
    assert!(needs.whole.is_none(), "a `before` hook must leave the request and the scope to the handler");
    needs
}

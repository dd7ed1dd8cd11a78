//! A small web framework after Flask, Bottle and Sanic: functions on routes.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use varvel_micro::App;
//!
//! fn main() -> ExitCode {
//!     let mut app = App::new();
//!     app.get("/hello/{name}", |name: String| format!("Hello, {name}!\n")); // sync: may block
//!     app.get("/later/{n:int}", async |n: i64| format!("{n} later\n"));     // async: may wait
//!     varvel_serve::run(varvel_serve::Both(app))
//! }
//! ```
//!
//! The example `board` is a small but real application: people sign in, post notes with pictures, and see live what others
//! post.
//!
//! An [`App`] implements both forms of the contract, so it runs on every server, can be mounted in other frameworks, and takes
//! any middleware of [`varvel_toolkit`]. Sync handlers get a thread and async ones are polled, whatever the server is.
//!
//! # A page for newcomers
//!
//! **Routes.** A function on a path. Each field in braces becomes an argument, in order: the type after the colon says what
//! the path may contain there, the type of the argument what it is parsed into. A method the path does not have gets 405, and
//! GET handlers answer HEAD as well.
//!
//! ```
//! use varvel_micro::{App, Html, Json, StatusCode};
//!
//! let mut app = App::new();
//! app.get("/", || Html("<h1>Hello</h1>"));
//! app.get("/users/{id:int(min=1)}", |id: u64| Json([id, id + 1]));
//! app.delete("/users/{id:int(min=1)}", |_id: u64| StatusCode::NO_CONTENT);
//! # let client = varvel_test::Client::sync(app);
//! # assert_eq!(client.get("/users/7").send().text(), "[7,8]");
//! # assert_eq!(client.get("/users/0").send().status(), 404);
//! ```
//!
//! **Arguments.** All other arguments are made from the request, too: see [`Extract`]. If something does not fit, the client
//! gets machine-readable problem details (RFC 9457), and your function is not called.
//!
//! ```
//! use serde::Deserialize;
//! use varvel_micro::{App, Form, Json, Query};
//!
//! #[derive(Deserialize)]
//! struct Search { q: String, page: Option<u32> }
//!
//! #[derive(Deserialize)]
//! struct Order { item: String, count: u32 }
//!
//! let mut app = App::new();
//! app.get("/search", |Query(search): Query<Search>| format!("{} {:?}", search.q, search.page));
//! app.post("/orders/{shop}", |shop: String, Form(order): Form<Order>| {
//!     format!("{} {} of {shop}", order.count, order.item)
//! });
//! app.post("/sum", async |Json(numbers): Json<Vec<i64>>| Json(numbers.iter().sum::<i64>()));
//! # let client = varvel_test::Client::new(app);
//! # assert_eq!(client.get("/search?q=a+b").send().text(), "a b None");
//! # assert_eq!(client.post("/sum").json(&[1, 2]).send().text(), "3");
//! # let order = client.post("/orders/x").header("content-type", "application/x-www-form-urlencoded");
//! # assert_eq!(order.body("item=nut&count=2").send().text(), "2 nut of x");
//! ```
//!
//! To show a form again, with what is wrong, take a `Result<Form<T>, HttpError>`:
//!
//! ```
//! use serde::Deserialize;
//! use varvel_micro::{
//!     App, Error, Form, HttpError, Redirect, Respond, Response, StatusCode, Template, Templates, WriteBody, context,
//! };
//!
//! #[derive(Deserialize)]
//! struct Order { item: String, count: u32 }
//!
//! fn order(form: Result<Form<Order>, HttpError>) -> Result<Response<WriteBody>, Error> {
//!     let wrong = match form {
//!         Ok(Form(order)) if order.count > 0 => return Redirect::to(format!("/orders/{}", order.item)).respond(),
//!         Ok(_) => "Nothing is ordered.".to_owned(),
//!         Err(error) => error.detail().unwrap_or("That is not an order.").to_owned(),
//!     };
//!     (StatusCode::UNPROCESSABLE_ENTITY, Template("order.html", context! { wrong })).respond()
//! }
//!
//! let mut templates = Templates::new();
//! templates.add("order.html", "<form method=post>{% if wrong %}<p>{{ wrong }}</p>{% endif %} ... </form>")?;
//! let mut app = App::new();
//! app.templates(templates);
//! app.get("/orders", || Template("order.html", ()));
//! app.post("/orders", order);
//! # let client = varvel_test::Client::sync(app);
//! # let send = |form: &'static str| {
//! #     client.post("/orders").header("content-type", "application/x-www-form-urlencoded").body(form).send()
//! # };
//! # assert_eq!(send("item=nut&count=2").header("location"), Some("/orders/nut"));
//! # assert!(send("item=nut&count=0").text().contains("<p>Nothing is ordered.</p>"));
//! # let wrong = send("item=nut&count=many");
//! # assert!(wrong.status() == 422 && wrong.text().contains("count"), "{}", wrong.text());
//! # Ok::<_, varvel_toolkit::templates::Error>(())
//! ```
//!
//! **Responses.** Return text, [`Html`], [`Json`], a status, a [`Redirect`], a tuple, `Option` or `Result` of these: see
//! [`Respond`]. An [`HttpError`] is shown to the client; any other error becomes a 500, whose cause goes to the log and to
//! nobody else. A function that returns now this and now that makes whole responses of them, by [`respond`](Respond::respond).
//!
//! ```
//! use varvel_micro::{App, Error, HttpError, Redirect, Respond, Response, StatusCode, WriteBody};
//!
//! fn half(n: i64) -> Result<String, Error> {
//!     if n % 2 != 0 {
//!         return Err(HttpError::new(StatusCode::CONFLICT).with_detail("It is odd.").with_code("odd").into());
//!     }
//!     let path = format!("/nowhere/{n}");
//!     Ok(std::fs::read_to_string(path)?) // a 500, and its cause in the log
//! }
//!
//! fn page(n: i64) -> Result<Response<WriteBody>, Error> { // async: AsyncBody
//!     if n == 0 { Redirect::to("/pages/1").respond() } else { format!("page {n}").respond() }
//! }
//!
//! let mut app = App::new();
//! app.get("/half/{n:int}", half);
//! app.get("/pages/{n:int}", page);
//! # let client = varvel_test::Client::sync(app);
//! # assert_eq!(client.get("/pages/0").send().header("location"), Some("/pages/1"));
//! # assert_eq!(client.get("/pages/2").send().text(), "page 2");
//! # assert!(client.get("/half/3").send().text().contains("odd"));
//! # assert_eq!(client.get("/half/2").try_send().unwrap().status(), 500);
//! ```
//!
//! **State** is shared by all calls. A **session** keeps data about one browser in a signed cookie, and carries messages to
//! the next page.
//!
//! ```
//! use std::sync::Mutex;
//! use varvel_micro::{App, Redirect, Session, State};
//!
//! let mut app = App::new();
//! app.secret(b"32 random bytes or more, from a file").state(Mutex::new(Vec::<String>::new()));
//! app.post("/names/{name}", |name: String, names: State<Mutex<Vec<String>>>, session: Session| {
//!     names.lock().unwrap().push(name);
//!     session.flash("info", "Thank you.");
//!     Redirect::to("/")
//! });
//! app.get("/", async |session: Session| format!("{:?}", session.flashes()));
//! # let client = varvel_test::Client::sync(app);
//! # assert_eq!(client.post("/names/x").send().status(), 303);
//! ```
//!
//! **Groups** have a prefix, and hooks of their own: before the handlers, after them, and for errors. A hook that runs before
//! the handler may respond in its place. One for errors is told what was asked and what the client accepts ([`Failure`]), and
//! returns `None` to leave the problem details as they are.
//!
//! ```
//! use varvel_micro::{App, Failure, Group, HeaderMap, Html, StatusCode};
//!
//! let mut admin = Group::new("admin", "/admin");
//! admin.before(|headers: HeaderMap| (!headers.contains_key("x-key")).then_some(StatusCode::FORBIDDEN));
//! admin.get("/users/{id:int}", |id: u64| format!("user {id}")).named("user");
//!
//! let mut app = App::new();
//! app.group(admin);
//! app.after(|head| { head.headers.insert("x-frame-options", "DENY".parse().unwrap()); });
//! app.error(404, |failure: &Failure<'_>| failure.prefers_html().then(|| Html("<h1>Nothing here</h1>")));
//! assert_eq!(app.url_for("admin.user", &[("id", &7)])?, "/admin/users/7");
//! # let client = varvel_test::Client::new(app);
//! # assert_eq!(client.get("/admin/users/7").send().status(), 403);
//! # assert_eq!(client.get("/x").send().header("x-frame-options"), Some("DENY"));
//! # assert_eq!(client.get("/x").send().status(), 404);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! **Templates** are written in Jinja's language. A [`Template`] can be returned wherever a response can, from hooks as well.
//! Values are escaped in HTML; `url_for`, `session` and `get_flashed_messages` work as in Flask. A syntax error in a template
//! is found when the program starts. (Feature `templates`, on by default; a service without pages can turn it off.)
//!
//! ```
//! use varvel_micro::{App, Failure, Template, Templates, context};
//!
//! let mut templates = Templates::new(); // or Templates::of_directory("templates")
//! templates.add("user.html", r#"<a href="{{ url_for('user', id=id) }}">{{ name }}</a>"#)?;
//! templates.add("error.html", "<h1>{{ error }}</h1>")?;
//!
//! let mut app = App::new();
//! app.templates(templates);
//! app.get("/users/{id:int}", |id: u64| Template("user.html", context! { id, name => "<Ferris>" })).named("user");
//! app.errors(|failure: &Failure<'_>| Template("error.html", context! { error => failure.to_string() }));
//! # let client = varvel_test::Client::sync(app);
//! # assert_eq!(client.get("/users/7").send().text(), "<a href=\"/users/7\">&lt;Ferris&gt;</a>");
//! # assert_eq!(client.get("/").send().text(), "<h1>404 Not Found</h1>");
//! # Ok::<_, varvel_toolkit::templates::Error>(())
//! ```
//!
//! **Uploads** are forms with files. They are read part by part, so a file need not fit into memory; [`App::multipart_limits`]
//! sets how large they may be. An async handler takes a plain `Multipart` and uses `.await`.
//!
//! ```
//! use std::{fs::File, io};
//! use varvel_micro::{App, Blocking, Error, Multipart, StatusCode};
//!
//! fn upload(album: u32, mut form: Multipart<Blocking>) -> Result<(StatusCode, String), Error> {
//!     let title = form.part_named("title")?.text(1000)?;
//!     let mut picture = form.part_named("picture")?;
//!     // Under a name of our own: the client's is only for display.
//!     let bytes = io::copy(&mut picture, &mut File::create(std::env::temp_dir().join("picture"))?)?;
//!     Ok((StatusCode::CREATED, format!("{title} in {album}: {bytes} bytes")))
//! }
//!
//! let mut app = App::new();
//! app.post("/albums/{album}", upload);
//! # let client = varvel_test::Client::sync(app);
//! # let content = "--x\r\nContent-Disposition: form-data; name=title\r\n\r\nCrab\r\n--x\r\n\
//! #     Content-Disposition: form-data; name=picture; filename=crab.png\r\n\r\n123\r\n--x--\r\n";
//! # let request = client.post("/albums/7").header("content-type", "multipart/form-data; boundary=x");
//! # assert_eq!(request.body(content).send().text(), "Crab in 7: 3 bytes");
//! # assert_eq!(client.post("/albums/7").send().status(), 415);
//! ```
//!
//! **Live pages.** [Events](events) stream to a page for as long as it is open; a browser that reconnects says which event it
//! saw last. A [`WebSocketUpgrade`] becomes a WebSocket; pages of other origins are refused unless you [allow
//! them](websocket::Handshake::allow_origin). Both have sync forms, which occupy a thread each.
//!
//! ```
//! use std::time::Duration;
//! use varvel_micro::{App, HeaderMap, Scope, WebSocket, WebSocketUpgrade, events::{self, Event}};
//!
//! async fn echo(mut socket: WebSocket) {
//!     while let Ok(Some(message)) = socket.recv().await {
//!         if socket.send(message).await.is_err() {
//!             break;
//!         }
//!     }
//! }
//!
//! let mut app = App::new();
//! app.get("/echo", async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo));
//! app.get("/clock", async |headers: HeaderMap, scope: Scope| {
//!     let worker = scope.worker().clone();
//!     let mut number: u64 = events::last_id(&headers).and_then(|id| id.parse().ok()).unwrap_or(0);
//!     events::respond(&scope, move |mut events| async move {
//!         loop {
//!             worker.sleep(Duration::from_secs(1)).await;
//!             number += 1;
//!             events.send(&Event::new(format!("tick {number}")).id(number.to_string())).await;
//!         }
//!     })
//! });
//! # let client = varvel_test::Client::new(app);
//! # let mut exchange = client.get("/clock").header("last-event-id", "6").start();
//! # client.advance(Duration::from_secs(1));
//! # assert_eq!(exchange.read(20), "id: 7\ndata: tick 7\n\n");
//! # assert_eq!(client.get("/echo").send().status(), 426);
//! ```
//!
//! **Background work** goes on after the response, up to a limit that you set. State that each worker of the server has for
//! itself is made when it [starts](App::startup).
//!
//! ```
//! use std::net::UdpSocket;
//! use varvel_micro::{App, Background, Error, Scope, State, StatusCode};
//!
//! let mut app = App::new();
//! app.state(Background::new(100));
//! app.startup(|_worker| {
//!     let statsd = UdpSocket::bind("127.0.0.1:0")?;
//!     statsd.connect("127.0.0.1:8125")?;
//!     Ok(statsd)
//! });
//! app.post("/orders/{item}", |item: String, jobs: State<Background>, statsd: State<UdpSocket>, scope: Scope| {
//!     let count = async move {
//!         let _ = statsd.send(format!("orders.{item}:1|c").as_bytes());
//!     };
//!     jobs.after(&scope, count).map(|()| StatusCode::ACCEPTED).map_err(Error::unavailable)
//! });
//! # let client = varvel_test::Client::sync_factory(app)?;
//! # assert_eq!(client.post("/orders/nut").send().status(), 202);
//! # Ok::<_, varvel_micro::StartError>(())
//! ```
//!
//! **Tests** call the application without a server, using [`varvel_test`](https://docs.rs/varvel-test):
//!
//! ```
//! use varvel_micro::App;
//! use varvel_test::Client;
//!
//! let mut app = App::new();
//! app.get("/", || "hello");
//! assert_eq!(Client::new(app).get("/").send().text(), "hello");
//! ```
//!
//! # From Flask
//!
//! | Flask | here |
//! |---|---|
//! | `Flask(__name__)` | [`App::new`] |
//! | `@app.get("/users/<int:id>")` | `app.get("/users/{id:int}", user)`; negative, too, unless `int(min=0)` |
//! | `<path:rest>`, `<uuid:id>`, `<any(de,en):lang>` | `{rest:path}`, `{id:uuid}`, `{lang:any(de, en)}` |
//! | `request.args`, `request.form`, `request.json` | [`Query`], [`Form`], [`Json`] of your own types |
//! | `request.headers`, `request.cookies`, `request.data` | [`HeaderMap`], [`Cookies`], [`Bytes`] |
//! | `request` | [`Request<ReadBody>`](ReadBody), async [`Request<AsyncBody>`](AsyncBody); there is no global |
//! | `return body, status, headers` | `(status, headers, body)` |
//! | WTForms' `form.validate_on_submit()` | `Result<Form<T>, HttpError>` as an argument |
//! | `jsonify`, `redirect`, `abort(404)` | [`Json`], [`Redirect`], `Err(HttpError::not_found())` |
//! | `make_response(page)`, `set_cookie` | [`page.respond()`](Respond::respond), a `Response<WriteBody>`; [`SetCookie`] |
//! | `render_template("user.html", name=name)` | [`Template("user.html", context! { name })`](Template), of [`App::templates`] |
//! | `url_for("user", id=7)` | [`App::url_for`], in handlers [`Urls`], in templates the same |
//! | `Blueprint("admin", url_prefix="/admin")` | [`Group`] |
//! | `before_request`, `errorhandler(404)` | [`App::before`], [`App::error`], [`App::errors`] |
//! | `after_request` | [`App::after`]; [`App::after_request`], which looks at the request as well |
//! | `session`, `flash`, `get_flashed_messages` | [`Session`], in templates the same |
//! | Flask-Session | the toolkit's `Sessions`, with a `Session` of its own: see [there](Session#on-the-server) |
//! | `app.secret_key`, `SECRET_KEY_FALLBACKS`, `SESSION_COOKIE_NAME` | [`App::secret`], [`App::keys`], [`App::session_cookie`] |
//! | `request.files["picture"].save(path)` | [`Multipart`]: `io::copy(&mut form.part_named("picture")?, &mut file)` |
//! | `MAX_CONTENT_LENGTH` | [`App::content_bytes_max`], 1 MiB unless set; for uploads [`App::multipart_limits`], 16 MiB |
//! | a generator as the response; `text/event-stream` | a [`Response`] with a body of your own; [`events`] |
//! | Flask-Sock, Sanic's `@app.websocket` | [`WebSocketUpgrade`] |
//! | Sanic's `before_server_start`, `after_server_stop` | [`App::startup`], [`App::shutdown`] |
//! | Sanic's `app.add_task` | [`Background`]; [`Worker::spawn`] |
//! | `current_app`, `g` | [`State`]; an [`Extract`] of your own |
//! | `send_from_directory`, `static` | [`App::mount`] with [`Files`] |
//! | `url_for("static", filename="site.css")` | the same, of a mount that is [named](Route::named) `static` |
//! | `async def` views, each on a thread | async handlers, polled on the event loop |
//! | `app.test_client()` | `varvel_test::Client` |
//!
//! Unlike in Flask, a path with a trailing slash is a different path, `before` hooks do not run where there is no handler, and
//! mistakes in routes end the program when it starts. A panic in a handler is a 500 as any other failure; one in an `after` or
//! error hook is answered by the server (or by [`CatchFailures`](varvel_toolkit::middleware::CatchFailures) around the
//! application).
//!
//! # What it costs
//!
//! Compared with an application on the bare contract, a route with fields costs two allocations more and an async handler
//! another one, whether there is one route or a thousand (`tests/allocations.rs` counts them). With templates and a secret
//! there is one more, so that any page can use the session; the cookie is read and verified only if one does.

#![forbid(unsafe_code)]
#![allow(
    clippy::result_large_err,
    reason = "the error is a whole response; boxing it would cost an allocation to save a move"
)]

mod app;
mod asked;
mod call;
mod context;
mod extract;
mod handler;
mod hooks;
mod lifecycle;
mod mount;
mod respond;
mod service;
mod session;
#[cfg(feature = "templates")]
mod template;
mod upgrade;

pub use app::{App, Group, Route};
pub use asked::Asked;
pub use bytes::Bytes;
pub use call::Call;
pub use extract::{Extract, Form, Needs, Path, Query, State, Urls};
pub use handler::{Handler, kind};
pub use hooks::{BeforeFn, Failure, Verdict};
pub use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
pub use respond::{Html, Json, Redirect, Respond, SetCookie};
pub use service::AppCall;
pub use session::{Flash, Session};
#[cfg(feature = "templates")]
pub use template::Template;
pub use upgrade::WebSocketUpgrade;
pub use varvel::{
    AppError as Error, Async, AsyncBody, Mode, Push, ReadBody, Scope, StartError, Worker, WriteBody,
};
#[cfg(feature = "templates")]
pub use varvel_toolkit::templates::{self, Templates, context};
pub use varvel_toolkit::{
    Blocking, Endpoint, HttpError, Polled,
    background::{self, Background},
    cookies::{self, Cookies},
    events,
    files::{self, Files},
    multipart::{self, Multipart},
    websocket::{self, WebSocket},
};

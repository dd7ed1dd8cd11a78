//! A guest book on `varvel-micro`, which works without a script: functions on routes, sync and async.
//!
//! | below `/micro` | |
//! |---|---|
//! | `/` | the book, with a form, by a template |
//! | `/sign` | POST of the form: signs, leaves a message for the next page, and sends the browser there |
//! | `/leave` | POST: forgets who you are |
//! | `/hello/NAME` | text, by a sync function |
//! | `/later/MILLIS` | text, by an async function, which waits |
//! | `/files` | POST of a form with files: their names and lengths, as JSON |

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use varvel_micro::{
    App, Error, Form, HttpError, Json, Multipart, Redirect, Scope, Session, State, StatusCode, Template,
    Templates, Urls, context, cookies::Keys, templates,
};

use super::LONGEST_WAIT;

/// Where the book lies in the gallery.
pub(super) const MOUNT: &str = "/micro";

/// How many signatures are kept; the oldest goes first.
const SIGNATURES_MAX: usize = 20;

/// How long each part of a signature may be, in bytes.
const PART_BYTES_MAX: usize = 200;

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Signature {
    name: String,
    words: String,
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct GuestBook {
    signatures: Mutex<VecDeque<Signature>>,
    keys: Keys,
}

impl Default for GuestBook {
    fn default() -> Self {
        Self { signatures: Mutex::default(), keys: Keys::generate() }
    }
}

pub(super) fn app(book: &Arc<GuestBook>) -> Result<App, templates::Error> {
    let mut templates = Templates::new();
    templates.add("guest-book.html", include_str!("page/guest-book.html"))?;
    let mut app = App::new();
    app.keys(book.keys.clone()).state(Arc::clone(book)).templates(templates);
    app.get("/", show).named("book");
    app.post("/sign", sign).named("sign");
    app.post("/leave", leave).named("leave");
    app.get("/hello/{name:str(max=64)}", hello).named("hello");
    app.get("/later/{millis:int(min=0)}", later).named("later");
    app.post("/files", files);
    Ok(app)
}

type Book = State<Arc<GuestBook>>;

/// The template finds the session and the messages by itself.
fn show(book: Book) -> Template {
    let signatures: Vec<_> = book.lock().iter().rev().cloned().collect();
    Template("guest-book.html", context! { mount => MOUNT, signatures })
}

async fn sign(
    Form(signature): Form<Signature>,
    book: Book,
    session: Session,
    urls: Urls,
) -> Result<Redirect, Error> {
    if signature.name.trim().is_empty() {
        let error = HttpError::new(StatusCode::UNPROCESSABLE_ENTITY).with_detail("A signature has a name.");
        return Err(error.into());
    }
    if signature.name.len().max(signature.words.len()) > PART_BYTES_MAX {
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE)
            .with_detail("Leave room for others.")
            .into());
    }
    session.flash("info", format!("Thank you, {}.", signature.name));
    session.set("name", &signature.name);
    let mut signatures = book.lock();
    if signatures.len() == SIGNATURES_MAX {
        signatures.pop_front();
    }
    signatures.push_back(signature);
    to_the_book(&urls)
}

async fn leave(session: Session, urls: Urls) -> Result<Redirect, Error> {
    session.clear();
    session.flash("info", "You are nobody again.");
    to_the_book(&urls)
}

fn to_the_book(urls: &Urls) -> Result<Redirect, Error> {
    Ok(Redirect::to(format!("{MOUNT}{}", urls.url_for("book", &[])?)))
}

fn hello(name: String) -> String {
    format!("Hello, {name}, from a function that may block.\n")
}

async fn later(millis: u64, scope: Scope) -> String {
    let wait = Duration::from_millis(millis).min(LONGEST_WAIT);
    scope.worker().sleep(wait).await;
    format!("{} ms later, from a function that waits.\n", wait.as_millis())
}

#[derive(Serialize)]
struct Upload {
    name: Option<String>,
    bytes: usize,
}

async fn files(mut form: Multipart) -> Result<Json<Vec<Upload>>, Error> {
    let mut uploads = Vec::new();
    while let Some(mut part) = form.next_part().await? {
        let mut upload = Upload { name: part.file_name().map(str::to_owned), bytes: 0 };
        while let Some(chunk) = part.chunk().await? {
            upload.bytes += chunk.len();
        }
        uploads.push(upload);
    }
    Ok(Json(uploads))
}

impl GuestBook {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Signature>> {
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

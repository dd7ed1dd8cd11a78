//! A guest book on `varvel-micro`, which works without a script: functions on routes, sync and async.
//!
//! | below `/micro` | |
//! |---|---|
//! | `/` | the book, with a form |
//! | `/sign` | POST of the form: signs, leaves a message for the next page, and sends the browser there |
//! | `/leave` | POST: forgets who you are |
//! | `/hello/NAME` | text, by a sync function |
//! | `/later/MILLIS` | text, by an async function, which waits |
//! | `/count` | POST of a text: its words, lines and letters, as JSON |

use std::{
    collections::VecDeque,
    fmt::{Display, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use varvel_micro::{
    App, Bytes, Error, Form, Html, HttpError, Json, Redirect, Scope, Session, State, StatusCode, Urls,
    cookies::Keys,
};

use super::{LONGEST_WAIT, page};

/// Where the book lies in the gallery.
pub(super) const MOUNT: &str = "/micro";

/// How many signatures are kept; the oldest goes first.
const SIGNATURES_MAX: usize = 20;

/// How long each part of a signature may be, in bytes.
const PART_BYTES_MAX: usize = 200;

#[derive(Clone, Debug, Deserialize)]
struct Signature {
    name: String,
    words: String,
}

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

pub(super) fn app(book: &Arc<GuestBook>) -> App {
    let mut app = App::new();
    app.keys(book.keys.clone()).state(Arc::clone(book)).content_bytes_max(64 * 1024);
    app.get("/", show).named("book");
    app.post("/sign", sign).named("sign");
    app.post("/leave", leave).named("leave");
    app.get("/hello/{name:str(max=64)}", |name: String| {
        format!("Hello, {name}, from a function that may block.\n")
    })
    .named("hello");
    app.get("/later/{millis:int(min=0)}", later).named("later");
    app.post("/count", count).named("count");
    app
}

type Book = State<Arc<GuestBook>>;

fn show(book: Book, session: Session, urls: Urls) -> Result<Html<String>, Error> {
    let to = |name: &str, values: &[(&str, &dyn Display)]| -> Result<String, Error> {
        Ok(format!("{MOUNT}{}", urls.url_for(name, values)?))
    };
    let name: String = session.get("name").unwrap_or_default();
    let mut messages = String::new();
    for flash in session.flashes() {
        let _ = write!(messages, "<p class=\"flash\">{}</p>", escaped(&flash.message));
    }
    let mut signatures = String::new();
    for Signature { name, words } in book.all().iter().rev() {
        let _ = write!(signatures, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(words));
    }
    Ok(Html(page::fill(
        include_str!("page/guest-book.html"),
        &[
            ("messages", &messages),
            ("signatures", &signatures),
            ("name", &escaped(&name)),
            ("sign", &to("sign", &[])?),
            ("leave", &to("leave", &[])?),
            ("hello", &to("hello", &[("name", &if name.is_empty() { "you" } else { &*name })])?),
            ("later", &to("later", &[("millis", &500)])?),
        ],
    )))
}

async fn sign(
    Form(signature): Form<Signature>,
    book: Book,
    session: Session,
    urls: Urls,
) -> Result<Redirect, Error> {
    if signature.name.trim().is_empty() {
        return Err(HttpError::new(StatusCode::UNPROCESSABLE_ENTITY)
            .with_detail("A signature has a name.")
            .into());
    }
    if signature.name.len().max(signature.words.len()) > PART_BYTES_MAX {
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE)
            .with_detail("Leave room for others.")
            .into());
    }
    session.flash("info", format!("Thank you, {}.", signature.name));
    session.set("name", &signature.name);
    book.add(signature);
    Ok(Redirect::to(format!("{MOUNT}{}", urls.url_for("book", &[])?)))
}

async fn leave(session: Session, urls: Urls) -> Result<Redirect, Error> {
    session.clear();
    session.flash("info", "You are nobody again.");
    Ok(Redirect::to(format!("{MOUNT}{}", urls.url_for("book", &[])?)))
}

async fn later(millis: u64, scope: Scope) -> String {
    let wait = Duration::from_millis(millis).min(LONGEST_WAIT);
    scope.worker().sleep(wait).await;
    format!("{} ms later, from a function that waits.\n", wait.as_millis())
}

#[derive(Serialize)]
struct Count {
    letters: usize,
    words: usize,
    lines: usize,
}

fn count(text: Bytes) -> Result<Json<Count>, HttpError> {
    let text = std::str::from_utf8(&text).map_err(|_| HttpError::bad_request("That is no text."))?;
    let [letters, words, lines] = [
        text.chars().filter(|letter| letter.is_alphabetic()).count(),
        text.split_whitespace().count(),
        text.lines().count(),
    ];
    Ok(Json(Count { letters, words, lines }))
}

impl GuestBook {
    fn all(&self) -> Vec<Signature> {
        self.lock().iter().cloned().collect()
    }

    fn add(&self, signature: Signature) {
        let mut signatures = self.lock();
        if signatures.len() == SIGNATURES_MAX {
            signatures.pop_front();
        }
        signatures.push_back(signature);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Signature>> {
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As text within an element or an attribute in quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

//! The application. Tests include it too.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use varvel_micro::{
    App, Bytes, Form, Group, Html, HttpError, Json, Redirect, Session, State, StatusCode, cookies::Keys,
};

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

#[derive(Deserialize)]
struct SignIn {
    name: String,
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

pub(crate) fn app(keys: Keys) -> App {
    let mut app = App::new();
    app.keys(keys).state(Notes::default());

    app.get("/", front).named("front");
    app.get("/sign-in", || page("<form method=post><input name=name><button>Sign in</button></form>"));
    app.post("/sign-in", sign_in);
    app.post("/sign-out", async |session: Session| {
        session.clear();
        Redirect::to("/")
    });
    app.group(notes());
    app.error(404, |_: &HttpError| page("<p>There is nothing here. <a href=/>Back</a></p>"));
    app
}

/// What only those who are signed in may do.
fn notes() -> Group {
    let mut notes = Group::new("notes", "/notes");
    notes
        .before(|session: Session| session.get::<String>("name").is_none().then(|| Redirect::to("/sign-in")));
    notes.get("", |notes: State<Notes>| Json(notes.all()));
    notes.post("", write);
    notes.post("/upload", upload);
    notes.get("/{index:int(min=0)}", |index: usize, notes: State<Notes>| notes.all().get(index).cloned());
    notes
}

async fn front(session: Session, notes: State<Notes>) -> Html<String> {
    let messages: String = session
        .flashes()
        .iter()
        .map(|flash| format!("<p class={}>{}</p>", flash.category, escaped(&flash.message)))
        .collect();
    let notes: String = notes.all().iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let who = session.get::<String>("name");
    let form = match who {
        Some(name) => format!(
            "<p>{}</p><form method=post action=/notes><input name=text><button>Write</button></form>",
            escaped(&name)
        ),
        None => "<a href=/sign-in>Sign in</a>".to_owned(),
    };
    page(&format!("{messages}<ul>{notes}</ul>{form}"))
}

async fn sign_in(Form(form): Form<SignIn>, session: Session) -> Result<Redirect, HttpError> {
    if form.name.trim().is_empty() {
        return Err(HttpError::new(StatusCode::UNPROCESSABLE_ENTITY).with_detail("Who are you?"));
    }
    session.flash("info", format!("Welcome, {}!", form.name));
    session.set("name", form.name);
    Ok(Redirect::to("/"))
}

/// Sync, as it might write to a database.
fn write(Form(note): Form<NewNote>, session: Session, notes: State<Notes>) -> Redirect {
    notes.add(note.text);
    session.flash("info", "Written.");
    Redirect::to("/")
}

/// A text file as a note: `curl --data-binary @note.txt`.
fn upload(content: Bytes, notes: State<Notes>) -> Result<StatusCode, HttpError> {
    let text = String::from_utf8(content.into()).map_err(|_| HttpError::bad_request("A note is text."))?;
    notes.add(text);
    Ok(StatusCode::CREATED)
}

impl Notes {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, note: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }
}

fn page(content: &str) -> Html<String> {
    Html(format!("<!doctype html>\n<meta charset=utf-8>\n<title>Board</title>\n{content}\n"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

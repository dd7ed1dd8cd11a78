//! The application: what is where, and who may do what. Tests include it too.

use std::{io, path::Path};

use serde::Deserialize;
use varvel_micro::{
    App, AsyncBody, Blocking, Call, Error, Extract, Failure, Form, Group, HeaderMap, HttpError, Json,
    Multipart, Needs, Query, Redirect, Response, Scope, Session, State, StatusCode, Template, Templates,
    context,
    cookies::Keys,
    events::{self, Event},
    files::Files,
};

use crate::{
    notes::{Note, Notes},
    pictures::Pictures,
};

pub(crate) fn app(keys: Keys, pictures: &Path) -> io::Result<App> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/board");
    let mut app = App::new();
    app.keys(keys);
    app.templates(Templates::of_directory(here.join("templates")));
    app.state(Notes::default()).state(Pictures::new(pictures)?);

    app.get("/", front).named("front");
    app.get("/live", live).named("live");
    app.get("/sign-in", || Template("sign_in.html", ())).named("sign_in");
    app.post("/sign-in", sign_in);
    app.post("/sign-out", sign_out).named("sign_out");
    app.group(notes());
    app.mount("/static", Files::new(here.join("static"))?).named("static");
    app.mount("/pictures", Files::new(pictures)?);

    app.errors(|failure: &Failure<'_>| Template("error.html", context! { error => failure.to_string() }));
    app.after(|head| {
        // Pictures are what some browser says they are; no other browser is to take them for a page.
        head.headers.insert("x-content-type-options", "nosniff".parse().expect("it is text"));
    });
    Ok(app)
}

/// What only those who are signed in may do.
fn notes() -> Group {
    let mut notes = Group::new("notes", "/notes");
    notes.before(|user: Option<User>| user.is_none().then(|| Redirect::to("/sign-in")));
    notes.get("", |notes: State<Notes>| Json(notes.all()));
    notes.post("", write).named("write");
    notes.get("/{number:int(min=0)}", |number: usize, notes: State<Notes>| notes.get(number).map(Json));
    notes
}

async fn front(notes: State<Notes>) -> Template {
    Template("front.html", context! { notes => notes.all() })
}

#[derive(Deserialize)]
struct SignIn {
    name: String,
}

async fn sign_in(Form(form): Form<SignIn>, session: Session) -> Result<Redirect, HttpError> {
    // It goes into a cookie, of which browsers keep 4 KiB.
    if form.name.trim().is_empty() || form.name.len() > 100 {
        let error = HttpError::new(StatusCode::UNPROCESSABLE_ENTITY);
        return Err(error.with_detail("A name has 1 to 100 letters."));
    }
    session.clear();
    session.flash("info", format!("Welcome, {}!", form.name));
    session.set("name", form.name);
    Ok(Redirect::to("/"))
}

async fn sign_out(session: Session) -> Redirect {
    session.clear();
    Redirect::to("/")
}

/// Who is signed in.
struct User(String);

impl<F> Extract<F> for User {
    fn needs(needs: &mut Needs) {
        <Session as Extract<F>>::needs(needs);
    }

    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        let session: Session = call.take::<F, _>()?;
        session.get("name").map(Self).ok_or_else(|| HttpError::new(StatusCode::UNAUTHORIZED))
    }
}

/// Sync, as it writes a file: the picture goes there as it comes, and is never in memory as a whole.
fn write(
    user: User,
    mut form: Multipart<Blocking>,
    notes: State<Notes>,
    pictures: State<Pictures>,
    session: Session,
) -> Result<Redirect, Error> {
    let text = form.part_named("text")?.text(1000)?;
    let picture = pictures.save(form.part_named("picture")?)?;
    notes.add(Note { author: user.0, text, picture });
    session.flash("info", "Written.");
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Live {
    /// The number of the first note that the page does not have.
    from: usize,
}

/// Notes as they are written; a browser that was away goes on where it was.
async fn live(
    Query(page): Query<Live>,
    headers: HeaderMap,
    notes: State<Notes>,
    scope: Scope,
) -> Response<AsyncBody> {
    let seen = events::last_id(&headers).and_then(|id| id.parse().ok());
    let mut number = seen.map_or(page.from, |seen: usize| seen.saturating_add(1));
    events::respond(&scope, move |mut events| async move {
        loop {
            let note = notes.wait_for(number).await;
            let note = serde_json::to_string(&note).expect("a note is JSON");
            events.send(&Event::new(note).name("note").id(number.to_string())).await;
            number += 1;
        }
    })
}

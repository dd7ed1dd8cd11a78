//! The notes service on [`varvel_micro`]: functions on routes.

use http::{HeaderValue, header};
use varvel_micro::{
    App, AsyncBody, Blocking, Call, Error, Extract, Group, HeaderMap, HttpError, Json, Method, Multipart,
    Push, ReadBody, Request, Respond, Response, Scope, State, StatusCode, WriteBody,
};
use varvel_toolkit::{
    Accept, Query,
    conditional::{self, Validators, Verdict},
    respond,
};

use super::{
    live,
    note::{Draft, Label, Note, Paging, wants_json},
    store::{self, Store, Upload},
};

/// The service on a store.
pub fn app(store: Store) -> App {
    let mut app = App::new();
    app.state(store).multipart_limits(store::form_limits());
    app.group(notes());
    app.get("/notes/{id:int(min=1)}/file", file);
    app.post("/notes/{id:int(min=1)}/file", upload_form);
    app.put("/notes/{id:int(min=1)}/file", upload_bytes);
    app.get("/events", events);
    app
}

/// What is JSON; who takes none is told so before anything is done.
fn notes() -> Group {
    let mut notes = Group::new("notes", "/notes");
    notes.before(|headers: HeaderMap| wants_json(&Accept::of(&headers)));
    notes.get("", list);
    notes.post("", create);
    notes.get("/{id:int(min=1)}", read);
    notes.put("/{id:int(min=1)}", replace);
    notes.delete("/{id:int(min=1)}", delete);
    notes
}

fn list(paging: Paging, store: State<Store>) -> Result<impl Respond<Push>, Error> {
    let page = store.list(paging)?;
    let mut headers = HeaderMap::new();
    if let Some(next) = page.next {
        headers.insert(header::LINK, format!("<{next}>; rel=\"next\"").try_into()?);
    }
    Ok((headers, Json(page.notes)))
}

fn create(Json(draft): Json<Draft>, store: State<Store>) -> Result<impl Respond<Push>, Error> {
    let note = store.create(draft)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/notes/{}", note.id))], shown(note)))
}

fn read(id: u64, conditions: Conditions, store: State<Store>) -> Result<Response<WriteBody>, Error> {
    conditions.answer(shown(store.read(id)?), 0)
}

fn replace(
    id: u64,
    Json(draft): Json<Draft>,
    conditions: Conditions,
    store: State<Store>,
) -> Result<Json<Note>, Error> {
    // No ETag, which would say that it is stored as it was sent (RFC 9110 section 9.3.4).
    Ok(Json(store.replace(id, draft, |current| conditions.judge(current))?))
}

fn delete(id: u64, conditions: Conditions, store: State<Store>) -> Result<(), Error> {
    store.delete(id, |current| conditions.judge(current))
}

fn file(id: u64, conditions: Conditions, store: State<Store>) -> Result<Response<WriteBody>, Error> {
    let (file, region) = store.file(id)?;
    let headers = [
        (header::ETAG, file.etag().into()),
        (header::CONTENT_TYPE, file.media_type.try_into()?),
        (header::CONTENT_DISPOSITION, respond::attachment(&file.name)),
        // It is the word of some client, so no browser is to take it for a page of ours.
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    conditions.answer((headers, Response::new(WriteBody::file(region))), 16)
}

/// A form from a browser.
fn upload_form(
    id: u64,
    conditions: Conditions,
    store: State<Store>,
    mut form: Multipart<Blocking>,
) -> Result<impl Respond<Push>, Error> {
    let mut part = form.part_named("file")?;
    let label = Label::new(part.file_name().unwrap_or("file"), part.headers())?;
    let upload = store.receive(id, &mut part)?;
    attach(upload, label, conditions, store)
}

/// The bytes as they are.
fn upload_bytes(
    id: u64,
    conditions: Conditions,
    store: State<Store>,
    request: Request<ReadBody>,
) -> Result<impl Respond<Push>, Error> {
    let name = Query::of(request.uri()).get("name").unwrap_or("file".into());
    let label = Label::new(&name, request.headers())?;
    let upload = store.receive(id, request.into_body())?;
    attach(upload, label, conditions, store)
}

fn attach(
    upload: Upload,
    label: Label,
    conditions: Conditions,
    store: State<Store>,
) -> Result<impl Respond<Push>, Error> {
    let (note, is_first) = store.attach(upload, label, |current| conditions.judge(current))?;
    Ok((if is_first { StatusCode::CREATED } else { StatusCode::OK }, shown(note)))
}

/// Async: it waits for longer than a thread should.
async fn events(headers: HeaderMap, store: State<Store>, scope: Scope) -> Result<Response<AsyncBody>, Error> {
    live::events(&store, &headers, &scope).await
}

/// A note as an answer, with its ETag.
fn shown(note: Note) -> impl Respond<Push> {
    ([(header::ETAG, note.etag())], Json(note))
}

/// Made of the query, by handlers that take it.
impl<F> Extract<F> for Paging {
    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        Self::of(call.uri())
    }
}

/// If-Match, If-None-Match and Range, to be held against what there is.
struct Conditions(Method, HeaderMap);

impl<F> Extract<F> for Conditions {
    fn extract(call: &mut Call<'_>) -> Result<Self, HttpError> {
        Ok(Self(call.method().clone(), call.headers().clone()))
    }
}

impl Conditions {
    fn judge(&self, current: Option<&Validators>) -> Verdict {
        conditional::evaluate(&self.0, &self.1, current)
    }

    /// The answer, or 304, 412, and parts of it.
    fn answer(&self, whole: impl Respond<Push>, ranges_max: usize) -> Result<Response<WriteBody>, Error> {
        Ok(conditional::answer::<Blocking>(&self.0, &self.1, whole.respond()?, ranges_max))
    }
}

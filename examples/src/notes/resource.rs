//! The notes service on [`varvel_resource`]: resources with responders.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use varvel_resource::{
    App, AsyncRequest, AsyncResponse, Request, RequestHead, Resource, Responders, Response, ResponseHead,
    Result, errors,
};
use varvel_toolkit::router::RouteError;

use super::{
    live,
    note::{Draft, Label, Note, Paging, wants_json},
    store::{self, Store, Upload},
};

/// The service on a store.
pub fn app(store: Store) -> App {
    routes(store).expect("routes for different paths")
}

fn routes(store: Store) -> Result<App, RouteError> {
    let notes = Arc::new(Notes(store.clone()));
    let mut app = App::new();
    // Notes are JSON alone: a form is 415.
    app.media_handlers().remove("application/x-www-form-urlencoded");
    app.add_route("/notes", notes.clone())?;
    app.add_route_with_suffix("/notes/{id:int(min=1)}", notes, Notes::item)?;
    app.add_route("/notes/{id:int(min=1)}/file", Files(store.clone()))?;
    app.add_route("/events", Events(store))?;
    Ok(app)
}

/// `/notes` and, as [`item`](Self::item), `/notes/{id}`.
struct Notes(Store);

impl Resource for Notes {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post).before(json).before_on(Method::POST, typed)
    }
}

impl Notes {
    fn item(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get_item)
            .put(Self::on_put_item)
            .delete(Self::on_delete_item)
            .before(json)
            .before_on(Method::PUT, typed)
    }

    fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
        let page = self.0.list(Paging::of(req.uri())?)?;
        if let Some(next) = &page.next {
            resp.append_link(next, "next");
        }
        resp.set_media(&page.notes)
    }

    fn on_post(&self, req: &mut Request, resp: &mut Response) -> Result {
        let note = self.0.create(req.media::<Draft>()?)?;
        resp.status = StatusCode::CREATED;
        resp.set_location(&format!("/notes/{}", note.id));
        show(&note, resp)
    }

    fn on_get_item(&self, req: &mut Request, resp: &mut Response) -> Result {
        resp.make_conditional(0);
        show(&self.0.read(req.path_param("id")?)?, resp)
    }

    fn on_put_item(&self, req: &mut Request, resp: &mut Response) -> Result {
        let draft: Draft = req.media()?;
        // No ETag, which would say that it is stored as it was sent (RFC 9110 section 9.3.4).
        resp.set_media(&self.0.replace(req.path_param("id")?, draft, |current| req.precondition(current))?)
    }

    fn on_delete_item(&self, req: &mut Request, resp: &mut Response) -> Result {
        self.0.delete(req.path_param("id")?, |current| req.precondition(current))?;
        resp.status = StatusCode::NO_CONTENT;
        Ok(())
    }
}

/// A hook: who takes no JSON is told so before anything is done.
fn json(req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
    Ok(wants_json(&req.accept())?)
}

/// A hook: content without a type is not taken for JSON.
fn typed(req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
    match req.content_type() {
        Some(_) => Ok(()),
        None => Err(errors::unsupported_media_type("Notes are JSON.").into()),
    }
}

fn show(note: &Note, resp: &mut ResponseHead) -> Result {
    resp.set_etag(&note.etag());
    resp.set_media(note)
}

/// `/notes/{id}/file`: POST takes a form from a browser, PUT the bytes as they are.
struct Files(Store);

impl Resource for Files {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post).put(Self::on_put)
    }
}

impl Files {
    fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
        let (file, region) = self.0.file(req.path_param("id")?)?;
        resp.set_etag(&file.etag());
        resp.set_header(header::CONTENT_TYPE, file.media_type)?;
        // It is the word of some client, so no browser is to take it for a page of ours.
        resp.set_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
        resp.set_downloadable_as(&file.name);
        resp.set_file(region);
        resp.make_conditional(16);
        Ok(())
    }

    fn on_post(&self, req: &mut Request, resp: &mut Response) -> Result {
        let mut form = req.multipart(store::form_limits())?;
        let mut part = form.part_named("file")?;
        let label = Label::new(part.file_name().unwrap_or("file"), part.headers())?;
        let upload = self.0.receive(req.path_param("id")?, &mut part)?;
        self.attach(upload, label, req, resp)
    }

    fn on_put(&self, req: &mut Request, resp: &mut Response) -> Result {
        let label = Label::new(&req.get_param("name").unwrap_or("file".into()), req.headers())?;
        let upload = self.0.receive(req.path_param("id")?, req.stream())?;
        self.attach(upload, label, req, resp)
    }

    fn attach(&self, upload: Upload, label: Label, req: &Request, resp: &mut Response) -> Result {
        let (note, is_first) = self.0.attach(upload, label, |current| req.precondition(current))?;
        resp.status = if is_first { StatusCode::CREATED } else { StatusCode::OK };
        show(&note, resp)
    }
}

/// `/events`.
struct Events(Store);

impl Resource for Events {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
    }
}

impl Events {
    /// Async: it waits for longer than a thread should.
    async fn on_get(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let headers = req.headers().clone();
        resp.replace(live::events(&self.0, &headers, req.scope()).await?);
        Ok(())
    }
}

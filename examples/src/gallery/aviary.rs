//! A small REST service on `varvel-resource`: the birds of an aviary.
//!
//! | below `/resource` | |
//! |---|---|
//! | `/birds` | GET: the names of all |
//! | `/birds/NAME` | GET, PUT and DELETE of one, each on conditions if you like: `If-None-Match`, `If-Match`, `Range` |
//!
//! What is written out here is what is particular to birds. 405 with Allow, OPTIONS, HEAD, 304, 412 and 206, a body that is
//! no bird, and errors as JSON, XML, HTML or text are the framework's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use varvel_resource::{App, HttpError, Request, RequestHead, Resource, Responders, Response, Result, errors};
use varvel_toolkit::{
    conditional::{Validators, Verdict},
    router::RouteError,
};

use super::page::version;

/// How many birds there is room for.
const BIRDS_MAX: usize = 50;

/// How long a request's content may be, in bytes.
const MEDIA_BYTES_MAX: usize = 1024;

/// How many parts of a bird a request may ask for.
const RANGES_MAX: usize = 4;

#[derive(Clone, Debug, Deserialize, Hash, Serialize)]
#[serde(deny_unknown_fields)]
struct Bird {
    species: String,
    bells: u8,
}

/// The birds, by their names.
#[derive(Debug)]
pub(super) struct Aviary(Mutex<BTreeMap<String, Bird>>);

impl Default for Aviary {
    fn default() -> Self {
        let merlin = Bird { species: "Falco columbarius".to_owned(), bells: 2 };
        Self(Mutex::new(BTreeMap::from([("merlin".to_owned(), merlin)])))
    }
}

pub(super) fn app(aviary: &Arc<Aviary>) -> Result<App, RouteError> {
    let mut app = App::new();
    app.set_media_bytes_max(MEDIA_BYTES_MAX);
    app.add_route("/birds", Arc::clone(aviary))?;
    app.add_route_with_suffix("/birds/{name:str(max=32)}", Arc::clone(aviary), Aviary::bird)?;
    Ok(app)
}

impl Resource for Aviary {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get)
    }
}

impl Aviary {
    fn bird(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get_bird).put(Self::on_put_bird).delete(Self::on_delete_bird)
    }

    fn on_get(&self, _req: &mut Request, resp: &mut Response) -> Result {
        resp.set_media(&self.lock().keys().collect::<Vec<_>>())
    }

    fn on_get_bird(&self, req: &mut Request, resp: &mut Response) -> Result {
        let name: String = req.path_param("name")?;
        let birds = self.lock();
        let bird = birds.get(&name).ok_or_else(|| flown(&name))?;
        resp.set_etag(&version(bird));
        resp.make_conditional(RANGES_MAX);
        resp.set_media(bird)
    }

    fn on_put_bird(&self, req: &mut Request, resp: &mut Response) -> Result {
        let name: String = req.path_param("name")?;
        let bird: Bird = req.media()?;
        let mut birds = self.lock();
        let before = birds.get(&name);
        check(req, before)?;
        if before.is_none() {
            if birds.len() == BIRDS_MAX {
                return Err(HttpError::new(StatusCode::INSUFFICIENT_STORAGE)
                    .with_detail("Every perch is taken.")
                    .into());
            }
            resp.status = StatusCode::CREATED;
        }
        resp.set_etag(&version(&bird));
        resp.set_media(&bird)?;
        birds.insert(name, bird);
        Ok(())
    }

    fn on_delete_bird(&self, req: &mut Request, resp: &mut Response) -> Result {
        let name: String = req.path_param("name")?;
        let mut birds = self.lock();
        check(req, birds.get(&name))?;
        birds.remove(&name).ok_or_else(|| flown(&name))?;
        resp.status = StatusCode::NO_CONTENT;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bird>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flown(name: &str) -> HttpError {
    errors::not_found().with_detail(format!("No bird here is called {name}."))
}

/// Refuses a change of what is not, or no longer, what the client has seen.
fn check(req: &RequestHead, bird: Option<&Bird>) -> Result<(), HttpError> {
    let current = bird.map(|bird| Validators { etag: Some(version(bird)), last_modified: None });
    match req.precondition(current.as_ref()) {
        Verdict::Proceed => Ok(()),
        _ => Err(HttpError::new(StatusCode::PRECONDITION_FAILED)
            .with_detail("That is not the bird you have seen.")),
    }
}

//! A resource with sync and async responders, on every server: `cargo run --example hello_resource -- --server threaded`.

use std::{error::Error, process::ExitCode, time::Duration};

use varvel::{BoxError, StartError, Worker};
use varvel_resource::{
    App, AsyncRequest, AsyncResponse, Middleware, Request, Resource, Responders, Response, Result,
};

struct Greeting {
    word: &'static str,
}

impl Resource for Greeting {
    fn responders(on: Responders<Self>) -> Responders<Self> {
        on.get(Self::on_get).post(Self::on_post)
    }
}

impl Greeting {
    /// Sync: it may block.
    fn on_get(&self, req: &mut Request, resp: &mut Response) -> Result {
        let name: String = req.path_param("name")?;
        resp.set_text(format!("{}, {name}!\n", self.word));
        Ok(())
    }

    /// Async: it may wait.
    async fn on_post(&self, req: &mut AsyncRequest, resp: &mut AsyncResponse) -> Result {
        let guests: Vec<String> = req.media().await?;
        req.scope().worker().sleep(Duration::from_millis(10)).await;
        resp.set_media(&guests.iter().map(|guest| format!("{}, {guest}!", self.word)).collect::<Vec<_>>())
    }
}

/// Opens what the workers need, and closes it.
struct Life;

impl Middleware for Life {
    fn process_startup(&self, worker: &Worker) -> Result<(), StartError> {
        println!("worker {} of {} begins", worker.info().index, worker.info().workers);
        Ok(())
    }

    fn process_shutdown(&self, worker: &Worker) -> Result<(), BoxError> {
        println!("worker {} ends", worker.info().index);
        Ok(())
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut app = App::new();
    app.add_middleware(Life);
    app.add_route("/hello/{name}", Greeting { word: "Hello" })?;
    Ok(varvel_serve::run(varvel_serve::Both(app)))
}

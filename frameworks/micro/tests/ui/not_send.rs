use std::rc::Rc;

use varvel_micro::App;

fn main() {
    App::new().get("/", async || {
        let shared = Rc::new(1);
        std::future::ready(()).await;
        shared.to_string()
    });
}

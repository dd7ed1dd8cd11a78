use varvel_micro::{App, Multipart};

fn main() {
    App::new().post("/", |_form: Multipart| "a sync handler takes a `Multipart<Blocking>`");
}

use varvel_micro::{App, HttpError};

fn main() {
    App::new().error(404, |_error: &HttpError| 7);
}

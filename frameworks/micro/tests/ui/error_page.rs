use varvel_micro::{App, Failure};

fn main() {
    App::new().error(404, |_error: &Failure<'_>| 7);
}

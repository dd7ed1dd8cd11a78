use varvel_micro::App;

fn main() {
    App::new().before(|| 7);
}

use varvel_micro::App;

struct Item;

fn main() {
    App::new().get("/", || Item);
}

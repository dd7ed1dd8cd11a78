use varvel_micro::App;

struct Item;

fn show(_item: Item) -> String {
    String::new()
}

fn main() {
    App::new().get("/", show);
}

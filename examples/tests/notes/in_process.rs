//! Both frameworks in both forms, without a server and under the eyes of the lint.

use serde_json::{Value, json};
use varvel_examples::notes::{self, Store};
use varvel_lint::Lint;
use varvel_test::Client;

use crate::{api, directory::Directory, listener::Listener};

/// An application on each framework and in each form.
pub(crate) fn clients(mut store: impl FnMut() -> Store) -> [(&'static str, Client); 4] {
    [
        ("resource", Client::new(Lint::new(notes::resource::app(store())))),
        ("resource, sync", Client::sync(Lint::new(notes::resource::app(store())))),
        ("micro", Client::new(Lint::new(notes::micro::app(store())))),
        ("micro, sync", Client::sync(Lint::new(notes::micro::app(store())))),
    ]
}

#[test]
fn the_api_is_the_same_everywhere() {
    let directory = Directory::new();
    for (name, client) in clients(|| directory.store()) {
        println!("{name}");
        for check in api::ALL {
            check(&client);
        }
        assert_eq!(client.reports(), []);
    }
}

/// As worker processes do: each has opened the directory by itself.
#[test]
fn who_shares_the_directory_shares_notes_and_events() {
    let directory = Directory::new();
    let [(_, here), .., (_, there)] = clients(|| directory.store());
    let mut listener = Listener::new(&here, None);
    let created = there.post("/notes").json(&json!({ "title": "from there" })).send();
    assert_eq!(here.get(created.header("location").unwrap()).send().json::<Value>()["title"], "from there");
    let heard = listener.next();
    assert_eq!(
        (heard.name.as_str(), heard.note),
        ("created", created.json::<Value>()["id"].as_u64().unwrap())
    );
}

#[test]
fn a_stream_of_events_ends_when_the_server_stops() {
    let directory = Directory::new();
    for (_, client) in clients(|| directory.store()) {
        let listener = Listener::new(&client, None);
        client.stop();
        listener.end();
        client.close().unwrap();
    }
}

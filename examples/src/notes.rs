//! A notes service: the same HTTP API on [`varvel_resource`](resource) and on [`varvel_micro`](micro), for comparison, and for
//! tests that hold one against the other.
//!
//! | | | answers |
//! |---|---|---|
//! | `GET /notes` | the list: `?limit=20&after=7` | 200 with JSON, and a Link to the next page |
//! | `POST /notes` | a new note: `{"title": "...", "text": "..."}` | 201 with Location |
//! | `GET /notes/{id}` | a note | 200 with ETag, or 304 |
//! | `PUT /notes/{id}` | other words | 200, or 412 if it has changed since `If-Match` |
//! | `DELETE /notes/{id}` | | 204, or 412 |
//! | `POST /notes/{id}/file` | a file in a form | 201 if it is the first, else 200; 412; 413 beyond 16 MiB |
//! | `PUT /notes/{id}/file?name=a.png` | the bytes of a file | the same |
//! | `GET /notes/{id}/file` | the file, or [parts](varvel_toolkit::range) of it | 200, 206, 304, 416 |
//! | `GET /events` | each change as it happens, as [server-sent events](live) | 200 |
//!
//! What is wrong with a request is told as problem details: 422 with the `field`, 406, 415, and whatever else a status says.
//!
//! ```sh
//! cargo run --bin notes-resource
//! cargo run --bin notes-micro -- --server prefork --workers 2
//! curl -N localhost:8000/events &
//! curl localhost:8000/notes --json '{"title": "Milk"}'
//! curl localhost:8000/notes/1/file -F 'file=@picture.png'
//! ```
//!
//! All of it but the routes and what is beside them is there once: a [note] and what makes a valid one, the
//! [store], which is a directory so that worker processes share it, and the [events](live). The handlers that go to the disk
//! are sync, and so never on an event loop; the one that waits is async.

pub mod live;
pub mod micro;
pub mod note;
pub mod resource;
pub mod store;

mod journal;

pub use journal::{Change, What};
pub use store::Store;

/// The store of the program: that of the directory `NOTES_DIR`, or else of one among the temporary files.
///
/// # Errors
/// If it cannot be opened.
pub fn open() -> std::io::Result<Store> {
    let directory = std::env::var_os("NOTES_DIR").map(Into::into);
    let directory = directory.unwrap_or_else(|| std::env::temp_dir().join("varvel-notes"));
    eprintln!("notes are in {}", directory.display());
    Store::open(directory)
}

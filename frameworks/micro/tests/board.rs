//! The example `board`, as browsers use it, in both forms and on each server.

use std::fs;

use varvel_micro::cookies::Keys;
use varvel_test::{Client, RequestBuilder, Response};

#[path = "../examples/board/board.rs"]
mod board;
#[path = "../examples/board/notes.rs"]
mod notes;
#[path = "../examples/board/pictures.rs"]
mod pictures;
mod support;

/// One browser: what it remembers, and how it sends forms.
struct Browser<'c> {
    client: &'c Client,
    cookie: String,
}

impl Browser<'_> {
    fn send(&mut self, request: RequestBuilder<'_>) -> Response {
        let request = if self.cookie.is_empty() { request } else { request.header("cookie", &self.cookie) };
        let response = request.send();
        if let Some(cookie) = response.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        }
        response
    }

    fn get(&mut self, path: &str) -> Response {
        self.send(self.client.get(path))
    }

    fn sign_in(&mut self, name: &str) -> Response {
        let form = self.client.post("/sign-in").header("content-type", "application/x-www-form-urlencoded");
        self.send(form.body(format!("name={name}")))
    }

    fn write(&mut self, text: &str, picture: &str, media_type: &str) -> Response {
        let content = format!(
            "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{text}\r\n\
             --x\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"{media_type}\"\r\n\
             Content-Type: {media_type}\r\n\r\n{picture}\r\n--x--\r\n"
        );
        let form = self.client.post("/notes").header("content-type", "multipart/form-data; boundary=x");
        self.send(form.body(content).in_pieces_of(64 * 1024))
    }
}

#[test]
fn who_is_signed_in_writes_and_all_read() {
    let pictures = std::env::temp_dir().join(format!("varvel-micro-board-{}", std::process::id()));
    support::everywhere(
        || board::app(Keys::generate(), &pictures).unwrap(),
        |client| {
            let new_browser = || Browser { client, cookie: String::new() };
            let (mut ferris, mut guest) = (new_browser(), new_browser());
            let refused = guest.write("hello", "", "application/octet-stream");
            assert_eq!((refused.status().as_u16(), refused.header("location")), (303, Some("/sign-in")));
            assert!(guest.get("/sign-in").text().contains("Your name"));
            assert_eq!(ferris.sign_in("").status(), 422);
            assert_eq!(ferris.sign_in(&"x".repeat(5000)).status(), 422);
            assert_eq!(ferris.sign_in("Ferris").header("location"), Some("/"));
            let welcome = ferris.get("/");
            assert!(welcome.text().contains("Welcome, Ferris!"), "{}", welcome.text());
            assert!(!ferris.get("/").text().contains("Welcome"));

            // A browser sends an empty file where none was chosen.
            let mut live = client.get("/live?from=0").start();
            assert_eq!(live.head().headers["content-type"], "text/event-stream");
            let written = ferris.write("<b>hello", "", "application/octet-stream");
            assert_eq!((written.status().as_u16(), written.header("location")), (303, Some("/")));
            let event = "event: note\nid: 0\ndata: {\"author\":\"Ferris\",\"text\":\"<b>hello\",\"picture\":null}\n\n";
            assert_eq!(live.read(event.len()), event);

            let data = "1".repeat(100_000);
            assert_eq!(ferris.write("A picture", &data, "image/png").status(), 303);
            let front = guest.get("/");
            assert!(front.text().contains("<span>&lt;b&gt;hello</span>"), "{}", front.text());
            assert!(front.text().contains("data-live=\"/live?from=2\""));
            let picture = front.text().split_once("src=\"").unwrap().1.split('"').next().unwrap();
            let picture = guest.get(picture);
            assert_eq!((picture.header("content-type"), picture.body().len()), (Some("image/png"), 100_000));
            assert_eq!(picture.header("x-content-type-options"), Some("nosniff"));
            let mut again = client.get("/live?from=0").header("last-event-id", "0").start();
            assert!(again.read(17).starts_with(b"event: note\nid: 1"));

            assert!(ferris.get("/notes/1").text().contains("A picture"));
            assert!(ferris.get("/notes/2").text().contains("<h1>404 Not Found</h1>"));
            assert!(guest.get("/nowhere").text().contains("<h1>404 Not Found</h1>"));
            assert!(guest.get("/static/board.js").text().contains("EventSource"));

            // What is no picture, or too large, leaves nothing behind.
            let files = || fs::read_dir(&pictures).unwrap().count();
            let before = files();
            assert_eq!(ferris.write("x", "<script>", "text/html").status(), 415);
            assert_eq!(ferris.write("x", &"1".repeat(17 << 20), "image/png").status(), 413);
            assert_eq!(ferris.write(&"x".repeat(1001), "", "image/png").status(), 413);
            assert_eq!(files(), before);

            assert_eq!(ferris.send(client.post("/sign-out")).status(), 303);
            assert!(ferris.get("/").text().contains("Sign in"));
        },
    );
    fs::remove_dir_all(pictures).unwrap();
}

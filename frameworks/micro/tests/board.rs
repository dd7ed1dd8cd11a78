//! The example `board`, as a browser uses it.

use varvel_lint::Lint;
use varvel_micro::cookies::Keys;
use varvel_test::{Client, Response};

#[path = "../examples/board/board.rs"]
mod board;

const FORM: &str = "application/x-www-form-urlencoded";

fn cookie(response: &Response) -> String {
    response.header("set-cookie").expect("a cookie").split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn who_is_signed_in_writes_and_all_read() {
    let app = || Lint::new(board::app(Keys::generate()));
    for client in [Client::new(app()), Client::sync(app())] {
        let refused = client.post("/notes").header("content-type", FORM).body("text=hello").send();
        assert_eq!((refused.status().as_u16(), refused.header("location")), (303, Some("/sign-in")));

        let form = client.post("/sign-in").header("content-type", FORM);
        let mine = cookie(&form.body("name=Ferris").send());
        let welcome = client.get("/").header("cookie", &mine).send();
        assert!(welcome.text().contains("Welcome, Ferris!"), "{}", welcome.text());

        let form = client.post("/notes").header("content-type", FORM).header("cookie", &mine);
        assert_eq!(form.body("text=%3Cb%3Ehello").send().header("location"), Some("/"));
        let upload = client.post("/notes/upload").header("cookie", &mine).body("from a file").send();
        assert_eq!(upload.status(), 201);

        assert!(client.get("/").send().text().contains("<li>&lt;b>hello</li><li>from a file</li>"));
        let second = client.get("/notes/1").header("cookie", &mine).send();
        assert_eq!(second.text(), "from a file");
        let missing = client.get("/notes/2").header("cookie", &mine).send();
        assert_eq!(missing.status(), 404);
        assert!(missing.text().contains("There is nothing here"));
        let bytes = client.post("/notes/upload").header("cookie", &mine).body(vec![0xff]).send();
        assert_eq!(bytes.status(), 400);
    }
}

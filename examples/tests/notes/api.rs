//! What the API does, on whatever framework and server. Other clients may be there: nothing is said of what they write.

use serde_json::{Value, json};
use varvel_test::{Client, Response};

use crate::listener::{Heard, Listener};

/// Everything.
pub(crate) const ALL: &[fn(&Client)] = &[
    a_note_is_kept_changed_and_gone,
    who_has_seen_another_revision_changes_nothing,
    the_list_has_pages,
    a_file_goes_in_as_a_form_or_as_bytes_and_comes_out_in_parts,
    what_is_wrong_is_told,
    changes_are_heard_by_all_who_listen,
];

fn create(client: &Client, title: &str) -> u64 {
    let created = client.post("/notes").json(&json!({ "title": title })).send();
    assert_eq!(created.status(), 201, "{created:?}");
    created.json::<Value>()["id"].as_u64().unwrap()
}

fn a_note_is_kept_changed_and_gone(client: &Client) {
    let created = client.post("/notes").json(&json!({ "title": "Milk", "text": "two\nbottles" })).send();
    assert_eq!(created.status(), 201);
    let note: Value = created.json();
    let url = format!("/notes/{}", note["id"]);
    assert_eq!(created.header("location"), Some(&*url));
    assert_eq!(
        (&note["title"], &note["text"], &note["file"]),
        (&json!("Milk"), &json!("two\nbottles"), &Value::Null)
    );

    let read = client.get(&url).send();
    assert_eq!((read.status().as_u16(), read.json::<Value>()), (200, note.clone()));
    assert_eq!(read.header("etag"), created.header("etag"));
    let head = client.head(&url).send();
    assert_eq!((head.header("etag"), head.body().len()), (created.header("etag"), 0));

    let replaced = client.put(&url).json(&json!({ "title": "Oat milk" })).send();
    assert_eq!(replaced.status(), 200);
    let other: Value = replaced.json();
    assert_eq!((&other["title"], &other["text"]), (&json!("Oat milk"), &json!("")));
    assert_eq!((&other["id"], &other["created"]), (&note["id"], &note["created"]));
    assert!(other["revision"].as_u64() > note["revision"].as_u64());
    assert_eq!(client.get(&url).send().json::<Value>(), other);

    // What was read can be sent back.
    assert_eq!(client.put(&url).json(&note).send().json::<Value>()["text"], "two\nbottles");

    assert_eq!(client.delete(&url).send().status(), 204);
    for gone in [client.get(&url), client.delete(&url), client.put(&url).json(&json!({ "title": "x" }))] {
        assert_eq!(gone.send().status(), 404);
    }
    assert!(create(client, "next") > note["id"].as_u64().unwrap(), "ids are used once");
}

fn who_has_seen_another_revision_changes_nothing(client: &Client) {
    let url = format!("/notes/{}", create(client, "first"));
    let first = client.get(&url).send().header("etag").unwrap().to_owned();
    assert_eq!(client.get(&url).header("if-none-match", &first).send().status(), 304);

    let put = |tag: &str, title: &str| {
        let draft = json!({ "title": title });
        client.put(&url).header("if-match", tag).json(&draft).send().status().as_u16()
    };
    assert_eq!(put(&first, "second"), 200);
    assert_eq!(put(&first, "lost"), 412);
    let second = client.get(&url).header("if-none-match", &first).send();
    assert_eq!((second.status().as_u16(), &second.json::<Value>()["title"]), (200, &json!("second")));

    let file = client.put(&format!("{url}/file")).header("if-match", &first).body("lost").send();
    assert_eq!(file.status(), 412);
    assert_eq!(client.delete(&url).header("if-match", &first).send().status(), 412);
    assert_eq!(client.delete(&url).header("if-match", second.header("etag").unwrap()).send().status(), 204);
}

fn the_list_has_pages(client: &Client) {
    let ids: Vec<u64> = ["a", "b", "c"].iter().map(|title| create(client, title)).collect();
    let mut target = format!("/notes?limit=2&after={}", ids[0] - 1);
    let mut listed = Vec::new();
    while !listed.contains(&ids[2]) {
        let page = client.get(&target).send();
        assert_eq!(page.status(), 200);
        let notes: Vec<Value> = page.json();
        assert!((1..=2).contains(&notes.len()), "{notes:?}");
        listed.extend(notes.iter().filter_map(|note| note["id"].as_u64()));
        if let Some(link) = page.header("link") {
            let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            target = format!("/notes{}", next.unwrap());
        } else {
            assert_eq!(listed.last(), Some(&ids[2]));
        }
    }
    assert!(listed.is_sorted() && ids.iter().all(|id| listed.contains(id)), "{listed:?}");
    let beyond = client.get(&format!("/notes?after={}", u64::MAX)).send();
    assert_eq!((beyond.text(), beyond.header("link")), ("[]", None));
}

fn a_file_goes_in_as_a_form_or_as_bytes_and_comes_out_in_parts(client: &Client) {
    let note = format!("/notes/{}", create(client, "with a file"));
    let url = format!("{note}/file");
    assert_eq!(client.get(&url).send().status(), 404);

    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let put = client.put(&format!("{url}?name=na%C3%AFve.png")).header("content-type", "image/png");
    let put = put.body(content.clone()).in_pieces_of(50_000).send();
    assert_eq!(put.status(), 201);
    let file = client.get(&url).send();
    assert_eq!(file.header("content-type"), Some("image/png"));
    let disposition = "attachment; filename=\"na_ve.png\"; filename*=UTF-8''na%C3%AFve.png";
    assert_eq!(file.header("content-disposition"), Some(disposition));
    assert!(file.body() == &content);
    let tag = file.header("etag").unwrap();
    assert_eq!(put.header("etag"), Some(tag));
    assert_eq!(client.get(&url).header("if-none-match", tag).send().status(), 304);
    let part = client.get(&url).header("range", "bytes=1000000-1000009").header("if-range", tag).send();
    assert_eq!((part.status().as_u16(), part.body().as_ref()), (206, &content[1_000_000..1_000_010]));
    assert_eq!(client.get(&url).header("range", "bytes=3000000-").send().status(), 416);

    // Words do not touch the file.
    assert_eq!(client.put(&note).json(&json!({ "title": "still with a file" })).send().status(), 200);
    assert_eq!(client.get(&url).send().header("etag"), Some(tag));

    let form = "--x\r\nContent-Disposition: form-data; name=\"why\"\r\n\r\nso\r\n--x\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"../plan.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        a plan\r\n--x--\r\n";
    let post = |form: &'static str| {
        client.post(&url).header("content-type", "multipart/form-data; boundary=x").body(form).send()
    };
    let posted = post(form);
    assert_eq!(
        (posted.status().as_u16(), posted.json::<Value>()["file"]["name"].as_str()),
        (200, Some("plan.txt"))
    );
    let file = client.get(&url).send();
    assert_eq!((file.header("content-type"), file.text()), (Some("text/plain"), "a plan"));
    assert_eq!(post(&form[..form.len() - 20]).status(), 400);
    assert_eq!(
        post("--x\r\nContent-Disposition: form-data; name=\"why\"\r\n\r\nso\r\n--x--\r\n").status(),
        422
    );
    assert_eq!(client.post(&url).body("bytes").send().status(), 415);
    assert_eq!(client.get(&url).send().text(), "a plan");

    let too_much = client.put(&url).body(vec![0; (16 << 20) + 1]).in_pieces_of(1 << 20).send();
    assert_eq!(too_much.status(), 413);
    assert_eq!(client.get(&url).send().text(), "a plan");

    client.delete(&note).send();
    assert_eq!(client.get(&url).send().status(), 404);
    assert_eq!(client.put(&url).body("for nobody").send().status(), 404);
}

fn what_is_wrong_is_told(client: &Client) {
    let post = |draft: Value| client.post("/notes").json(&draft).send();
    for (draft, field) in [
        (json!({ "title": " " }), "title"),
        (json!({ "title": "two\nlines" }), "title"),
        (json!({ "title": "x".repeat(201) }), "title"),
        (json!({ "title": "x", "text": "x".repeat(65_537) }), "text"),
    ] {
        let refused = post(draft);
        assert_eq!(refused.status(), 422, "{refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(refused.json::<Value>()["field"], field, "{refused:?}");
    }
    for (draft, word) in [(json!({ "text": "no title" }), "title"), (json!({ "title": 7 }), "integer `7`")] {
        let refused = post(draft);
        assert_eq!(refused.status(), 422, "{refused:?}");
        let detail = refused.json::<Value>()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(word), "{detail}");
    }
    let status = |response: Response| response.status().as_u16();
    let json = "application/json";
    assert_eq!(status(client.post("/notes").header("content-type", json).body("{").send()), 400);
    assert_eq!(
        status(client.post("/notes").header("content-type", json).body(" ".repeat(2 << 20)).send()),
        413
    );
    assert_eq!(status(client.post("/notes").header("content-type", "text/plain").body("Milk").send()), 415);
    assert_eq!(status(client.get("/notes").header("accept", "text/html").send()), 406);
    assert_eq!(status(client.get("/events").header("accept", json).send()), 406);
    assert_eq!(status(client.get("/notes?limit=many").send()), 400);
    for nowhere in ["/", "/notes/", "/notes/0", "/notes/x", "/notes/99999999999999999999", "/notes/1/2"] {
        assert_eq!(status(client.get(nowhere).send()), 404, "{nowhere}");
    }
    for (target, allowed) in [
        ("/notes", &["GET", "HEAD", "OPTIONS", "POST"][..]),
        ("/notes/1", &["DELETE", "GET", "HEAD", "OPTIONS", "PUT"]),
        ("/notes/1/file", &["GET", "HEAD", "OPTIONS", "POST", "PUT"]),
        ("/events", &["GET", "HEAD", "OPTIONS"]),
    ] {
        let refused = client.patch(target).send();
        assert_eq!(refused.status(), 405);
        let options = client.options(target).send();
        assert_eq!(options.status(), 204);
        for answer in [refused, options] {
            let mut methods: Vec<_> = answer.header("allow").unwrap().split(", ").collect();
            methods.sort_unstable();
            assert_eq!(methods, allowed, "{target}");
        }
    }
}

fn changes_are_heard_by_all_who_listen(client: &Client) {
    let mut listeners: Vec<_> = (0..4).map(|_| Listener::new(client, None)).collect();
    let note = create(client, "heard");
    let url = format!("/notes/{note}");
    client.put(&url).json(&json!({ "title": "heard again" })).send();
    client.delete(&url).send();
    let of_this_note = |listener: &mut Listener<'_>| loop {
        let heard = listener.next();
        if heard.note == note {
            return heard;
        }
    };
    let mut last = 0;
    for listener in &mut listeners {
        let heard = ["created", "replaced", "deleted"].map(|name| {
            let heard = of_this_note(listener);
            assert_eq!(heard.name, name);
            heard.id
        });
        assert!(heard.is_sorted() && heard[0] == note, "{heard:?}");
        last = heard[0];
    }
    // Who was away for a while misses nothing.
    let mut back = Listener::new(client, Some(last));
    assert!(matches!(of_this_note(&mut back), Heard { name, .. } if name == "replaced"));
}

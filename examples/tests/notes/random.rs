//! Random requests, most of them nearly right: none of them is answered with a 500, none has an application break the
//! contract, and all four applications say the same, but for what the frameworks say themselves that they do otherwise.

use std::{collections::BTreeMap, fmt};

use http::{HeaderName, HeaderValue, StatusCode, header, uri::PathAndQuery};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::Config};
use serde_json::{Value, json};
use varvel_test::{Client, Exchange, Head};

use crate::{directory::Directory, in_process::clients};

/// A request that some client might send.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Option<Content>,
}

#[derive(Clone)]
struct Content {
    bytes: Vec<u8>,
    pieces_of: usize,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = &self.bytes[..self.bytes.len().min(1000)];
        write!(f, "{} bytes in pieces of {}: {}", self.bytes.len(), self.pieces_of, begin.escape_ascii())
    }
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_asked_is_answered_and_alike_by_all(conversation in vec(asked(), 1..16)) {
        // A store for each, so that all of them are in the same state.
        let directories: [_; 4] = std::array::from_fn(|_| Directory::new());
        let mut stores = directories.iter().map(Directory::store);
        let applications = clients(|| stores.next().unwrap());
        for asked in beginning().into_iter().chain(conversation) {
            let [resource, resource_sync, micro, micro_sync] =
                applications.each_ref().map(|(_, client)| asked.send(client));
            prop_assert!(!resource.status.is_server_error(), "{:?} {:?}", resource, asked);
            prop_assert_eq!(&resource, &resource_sync, "{:?}", asked);
            prop_assert_eq!(&micro, &micro_sync, "{:?}", asked);
            prop_assert_eq!(&resource, &micro, "{:?}", asked);
        }
        for (_, client) in &applications {
            prop_assert!(client.reports().is_empty(), "{:?}", client.reports());
        }
    }
}

/// How many conversations; some more seconds are well spent when a framework has changed.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(32, |cases| cases.parse().expect("a number"))
}

impl Asked {
    fn send(&self, client: &Client) -> Answer {
        let mut request = client.request(self.method, &self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(Content { bytes, pieces_of }) = &self.content {
            request = request.body(bytes.clone()).in_pieces_of(*pieces_of);
        }
        Answer::of(request.start())
    }
}

/// An answer, as far as it is to be the same everywhere.
#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    fields: BTreeMap<String, String>,
    /// What is shown if all is well; errors are told in the words of each framework.
    content: Option<String>,
}

impl Answer {
    fn of(mut exchange: Exchange) -> Self {
        let Head { status, headers, .. } = exchange.head().clone();
        let mut fields: BTreeMap<_, _> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        fields.remove("date");
        if let Some(allow) = fields.get_mut("allow") {
            let mut methods: Vec<_> = allow.split(", ").map(str::to_owned).collect();
            methods.sort_unstable();
            *allow = methods.join(", ");
        }
        // A stream of events would go on until the server stops: it is left.
        let is_stream = fields.get("content-type").is_some_and(|value| value == "text/event-stream");
        let content = (!is_stream).then(|| exchange.response());
        let mut content =
            content.filter(|_| status.is_success()).map(|response| without_times(response.body()));
        // What separates several ranges is random.
        let media_type = fields.get("content-type").cloned().unwrap_or_default();
        if let Some(boundary) = media_type.strip_prefix("multipart/byteranges; boundary=") {
            fields.remove("content-type");
            content = content.map(|content| content.replace(boundary, "boundary"));
        }
        if status.is_client_error() {
            fields.remove("content-length");
        }
        Self { status, fields, content }
    }
}

/// The content of an answer, whenever that was.
fn without_times(content: &[u8]) -> String {
    let times = |note: &mut Value| {
        for time in ["created", "modified"] {
            note.as_object_mut().and_then(|note| note.remove(time));
        }
    };
    match serde_json::from_slice::<Value>(content) {
        Ok(mut json) => {
            times(&mut json);
            json.as_array_mut().into_iter().flatten().for_each(times);
            json.to_string()
        }
        Err(_) => String::from_utf8_lossy(content).into_owned(),
    }
}

/// So that there is something to ask for.
fn beginning() -> [Asked; 3] {
    let content = |bytes: &[u8]| Some(Content { bytes: bytes.to_vec(), pieces_of: usize::MAX });
    let json = vec![(header::CONTENT_TYPE, JSON)];
    let note = Asked {
        method: "POST",
        target: "/notes".into(),
        headers: json,
        content: content(br#"{"title":"x"}"#),
    };
    let file = Asked {
        method: "PUT",
        target: "/notes/2/file".into(),
        headers: vec![],
        content: content(b"0123456789"),
    };
    [note.clone(), note, file]
}

fn asked() -> impl Strategy<Value = Asked> {
    let as_json = || Just(Some(JSON)).boxed();
    let draft = || draft().prop_map(Some).boxed();
    let create = (Just("POST"), Just("/notes".to_owned()), few_fields(), as_json(), draft());
    let replace = (Just("PUT"), note(), few_fields(), as_json(), draft());
    let delete = (Just("DELETE"), note(), few_fields(), Just(None).boxed(), Just(None).boxed());
    let form = (Just("POST"), file(), few_fields(), Just(Some(FORM)).boxed(), form().prop_map(Some).boxed());
    let upload = (Just("PUT"), file(), few_fields(), option::of(content_type()).boxed(), content().boxed());
    let read = (select(&["GET", "HEAD"][..]), target(), few_fields(), Just(None).boxed(), Just(None).boxed());
    // With If-Range and conditions, or without.
    let ranges =
        (range(), few_fields()).prop_map(|(range, few)| few.into_iter().chain([range]).collect::<Vec<_>>());
    let part = (Just("GET"), file(), ranges, Just(None).boxed(), Just(None).boxed());
    let method =
        select(&["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "get"][..]);
    let odd = (method, target(), few_fields(), option::of(content_type()).boxed(), content().boxed());
    let server =
        (Just("OPTIONS"), Just("*".to_owned()), few_fields(), Just(None).boxed(), Just(None).boxed());
    let any = prop_oneof![
        4 => create, 3 => replace, 1 => delete, 3 => form, 3 => upload, 8 => read, 3 => part, 8 => odd, 1 => server,
    ];
    let in_pieces = prop_oneof![Just(usize::MAX), 1..64_usize];
    (any, in_pieces).prop_map(|((method, target, mut headers, content_type, content), pieces_of)| {
        // Of content that is too long and of no type, one of the two is told: which, is not part of the API.
        let is_long = content.as_ref().is_some_and(|content| content.len() > 1 << 20);
        let content_type = content_type.filter(|_| !is_long).or(is_long.then_some(JSON));
        headers.extend(content_type.map(|value| (header::CONTENT_TYPE, value)));
        let content = content.map(|bytes| Content { pieces_of: pieces_of.max(bytes.len() / 100), bytes });
        Asked { method, target, headers, content }
    })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("multipart/form-data; boundary=x");

fn id() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "x",
        "",
        "%31",
        "%",
        "%ff",
        "%2f",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "99999999999999999999",
    ];
    prop_oneof![9 => (1..5_u64).prop_map(|id| id.to_string()), 1 => select(ODD).prop_map(str::to_owned)]
}

fn note() -> impl Strategy<Value = String> {
    id().prop_map(|id| format!("/notes/{id}"))
}

fn file() -> impl Strategy<Value = String> {
    let name = select(
        &["", "?name=a.png", "?name=%C3%A9%22", "?name=", "?name=%0a", "?name=%ff", "?name=a&name=b"][..],
    );
    (id(), name).prop_map(|(id, name)| format!("/notes/{id}/file{name}"))
}

fn target() -> impl Strategy<Value = String> {
    let query = prop_oneof![
        3 => Just(String::new()),
        1 => "\\?(limit=[0-9]{1,3})?(&after=[0-9]{1,2})?",
        1 => "\\?(limit|after|name|x)=[!-~]{0,9}",
        1 => "\\?[!-~]{0,9}",
    ];
    let path = prop_oneof![
        3 => Just("/notes".to_owned()),
        6 => note(),
        9 => file(),
        1 => Just("/events".to_owned()),
        1 => select(&["/", "/notes/", "//notes", "/notes//1", "/notes/1/", "/notes/1/file/", "/./notes"][..])
            .prop_map(str::to_owned),
        1 => "(/[!-~]{0,6}){1,4}",
    ];
    let is_target =
        |target: &String| !target.contains(['"', '<', '>', '#']) && target.parse::<PathAndQuery>().is_ok();
    (path, query).prop_map(|(path, query)| path + &query).prop_filter("no target", is_target)
}

fn value() -> impl Strategy<Value = HeaderValue> {
    vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..12)
        .prop_filter_map("no value of a field", |bytes| HeaderValue::from_bytes(bytes.trim_ascii()).ok())
}

fn one_of(values: &'static [&'static str]) -> BoxedStrategy<HeaderValue> {
    let usual = select(values).prop_map(HeaderValue::from_static);
    prop_oneof![9 => usual, 1 => value()].boxed()
}

fn content_type() -> impl Strategy<Value = HeaderValue> {
    let other = one_of(&[
        "application/json; charset=utf-8",
        "application/problem+json",
        "APPLICATION/JSON",
        "text/plain",
        "image/png",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "json",
        "/",
    ]);
    prop_oneof![2 => Just(JSON), 1 => Just(FORM), 2 => other]
}

fn range() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    one_of(&["bytes=0-3", "bytes=-1", "bytes=2-", "bytes=0-0,2-2", "bytes=9-", "bytes=", "lines=1"])
        .prop_map(|value| (header::RANGE, value))
}

fn few_fields() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    prop_oneof![2 => Just(Vec::new()), 3 => vec(field(), 1..4)]
}

fn field() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    const TAGS: &[&str] = &["\"1\"", "\"2\", \"3\"", "\"3\"", "W/\"2\"", "*", "\"\"", "2", "\"2"];
    const DATES: &[&str] =
        &["Sat, 29 Oct 1994 19:43:31 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", "0"];
    let of = |name: HeaderName, values| one_of(values).prop_map(move |value| (name.clone(), value));
    prop_oneof![
        of(
            header::ACCEPT,
            &["*/*", "application/json", "text/html", "text/event-stream", "*/*;q=0", "text/*", "", ";"]
        ),
        of(header::IF_MATCH, TAGS),
        of(header::IF_NONE_MATCH, TAGS),
        of(header::IF_RANGE, TAGS),
        of(header::IF_MODIFIED_SINCE, DATES),
        of(header::IF_UNMODIFIED_SINCE, DATES),
        range(),
        of(
            HeaderName::from_static("last-event-id"),
            &["0", "1", "99", "18446744073709551615", "-1", "x", ""]
        ),
        of(header::ACCEPT_ENCODING, &["gzip", "identity;q=0"]),
        of(HeaderName::from_static("x-other"), &["1"]),
    ]
}

/// A note that a client writes, or nearly.
fn draft() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        9 => "[a-z ]{1,12}",
        1 => any::<String>(),
        1 => (150..250_usize).prop_map(|len| "é".repeat(len)),
        1 => Just("x".repeat(70_000)),
    ];
    let draft = (text.clone(), option::of(text)).prop_map(|(title, text)| match text {
        None => json!({ "title": title }),
        Some(text) => json!({ "title": title, "text": text }),
    });
    let odd = select(vec![
        json!({}),
        json!({ "title": null }),
        json!({ "title": 1 }),
        json!({ "title": "x", "id": 7 }),
        json!([]),
        json!("x"),
    ]);
    prop_oneof![9 => draft, 1 => odd].prop_map(|json| json.to_string().into_bytes())
}

fn content() -> impl Strategy<Value = Option<Vec<u8>>> {
    let broken = "[\\[{\"}\\],:a0 ]{0,9}|\\[{200}".prop_map(String::into_bytes);
    let long = Just(vec![b' '; (1 << 20) + 1]);
    let any = prop_oneof![3 => draft(), 3 => broken, 3 => form(), 6 => vec(any::<u8>(), 0..200), 1 => long];
    option::weighted(0.9, any)
}

/// A form with files, or most of one.
fn form() -> impl Strategy<Value = Vec<u8>> {
    let head = select(
        &[
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n",
            "Content-Disposition: form-data; name=\"file\"; filename=\"\u{e9}.png\"\r\nContent-Type: image/png\r\n",
            "Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\nContent-Type: text/plain\r\n",
            "Content-Disposition: form-data; name=\"why\"\r\n",
            "Content-Disposition: form-data\r\n",
            "Content-Type: \u{e9}\r\n",
            "",
        ][..],
    );
    let part = (head, "[a-z\r\n-]{0,20}").prop_map(|(head, data)| format!("--x\r\n{head}\r\n{data}\r\n"));
    let missing = prop_oneof![3 => Just(0), 1 => 1..40_usize];
    (vec(part, 0..3), missing).prop_map(|(parts, missing)| {
        let mut form = (parts.concat() + "--x--\r\n").into_bytes();
        form.truncate(form.len().saturating_sub(missing));
        form
    })
}

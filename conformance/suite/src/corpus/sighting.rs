//! What the application saw, and whether it is what a vector says.

use std::net::SocketAddr;

use serde_json::Value;

use super::{
    conversation::Told,
    expected::{Call, Fact, Seen, listed},
};
use crate::{
    Event, Failure, Running,
    check::{Verdict, ensure, expect_eq},
    probe::digest,
};

/// The calls of one connection, as the recorder knows them.
pub(super) struct Sightings<'s> {
    running: &'s Running,
    /// Of the recorder when the connection began.
    position: usize,
}

/// One request as the application saw it. `None` is what its interface does not tell, and is not judged.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    method: String,
    target: Option<Vec<u8>>,
    version: String,
    path: Option<Vec<u8>>,
    query: Option<Option<Vec<u8>>>,
    authority: Option<Option<Vec<u8>>>,
    fields: Fields,
    /// Whether the application is that of a foreign server. It may have joined lines of one name by commas, as RFC 9110
    /// section 5.3 permits, and tells the version as it was sent.
    is_foreign: bool,
    body: Option<Body>,
}

/// Pairs of name and value, in the order of the lines as far as the application can know it.
type Fields = Vec<(String, Vec<u8>)>;

/// What reading the request body came to.
#[derive(Debug)]
struct Body {
    len: u64,
    sha256: String,
    trailers: Option<Fields>,
    /// The kind of error that ended it.
    error: Option<String>,
}

impl<'s> Sightings<'s> {
    /// Looks at what happens from now on.
    pub(super) fn begin(running: &'s Running) -> Self {
        Self { running, position: running.recorder().position() }
    }

    /// Holds the calls of a client's connection against what was told of them, in the order of both.
    pub(super) fn compare(&self, client: SocketAddr, told: &[Told<'_>]) -> Verdict {
        self.running.settle();
        let peer = client.to_string();
        let is_call = |event: &Event| event.kind() == "call" && event.text("peer") == peer;
        let calls = self.running.recorder().events_since(self.position, is_call);
        let is_certain = |told: &&Told<'_>| matches!(told, Told::Good | Told::Seen(Seen::Called(_)));
        let mut calls = calls.iter();
        for (at, this) in told.iter().enumerate() {
            match this {
                Told::Seen(Seen::NotCalled) => {}
                Told::Seen(Seen::Called(call)) => {
                    let seen =
                        calls.next().ok_or_else(|| Failure::new("a call of the application", "none"))?;
                    self.sighting(&peer, seen, call)?.compare(call)?;
                }
                Told::Good => {
                    let seen =
                        calls.next().ok_or_else(|| Failure::new("a call for the good request", "none"))?;
                    let is_good = seen.text("path").starts_with("/good-");
                    ensure(
                        is_good,
                        "a call for the good request",
                        format_args!("one for {}", seen.text("uri")),
                    )?;
                }
                Told::Unsaid => {
                    if calls.len() > told[at + 1..].iter().filter(is_certain).count() {
                        calls.next();
                    }
                }
            }
        }
        match calls.next() {
            None => Ok(()),
            Some(call) => {
                let seen = Sighting::from_call(call);
                Err(Failure::new("no further call of the application", seen.request_line()))
            }
        }
    }

    /// Everything about a call that the vector asks for; what was read of the body may be told a little later.
    fn sighting(&self, peer: &str, call: &Event, wanted: &Call) -> Result<Sighting, Failure> {
        let mut sighting = Sighting::from_call(call);
        if wanted.facts.iter().any(Fact::is_about_body) {
            let number = call.number("number");
            let read = self.running.recorder().wait_since(
                self.position,
                "the application has read the body",
                |event| {
                    event.kind() == "read" && event.text("peer") == peer && event.number("number") == number
                },
            )?;
            sighting.body = Some(Body::from_read(&read));
        }
        Ok(sighting)
    }
}

impl Sighting {
    /// From the event of a call.
    fn from_call(call: &Event) -> Self {
        let optional = |field: &str| call.field(field).as_str().map(|text| text.as_bytes().to_vec());
        Self {
            method: call.text("method").to_owned(),
            target: Some(unhex(call.text("target"))),
            version: call.text("version").trim_start_matches("HTTP/").to_owned(),
            path: Some(call.text("path").as_bytes().to_vec()),
            query: Some(optional("query")),
            authority: Some(optional("authority")),
            fields: pairs(call.field("fields"), unhex),
            is_foreign: false,
            body: None,
        }
    }

    /// From the description that the routes answer with; `None` if it is none.
    pub(super) fn from_description(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let text = |field: &str| value[field].as_str().map(latin1);
        let optional = |field: &str| value.get(field).map(|value| value.as_str().map(latin1));
        Some(Self {
            method: value["method"].as_str()?.to_owned(),
            target: text("target"),
            version: value["version"].as_str()?.to_owned(),
            path: text("path"),
            query: optional("query"),
            authority: optional("authority"),
            fields: pairs(&value["headers"], latin1),
            is_foreign: true,
            body: Some(Body {
                len: value["body_len"].as_u64()?,
                sha256: value["body_sha256"].as_str()?.to_owned(),
                trailers: value.get("trailers").map(|trailers| pairs(trailers, latin1)),
                error: None,
            }),
        })
    }

    /// Whether it is what the vector says. To hand over something else than was sent breaks no rule of HTTP, unless it is
    /// the method, the body, or a field that must not be there.
    pub(super) fn compare(&self, call: &Call) -> Verdict {
        expect_eq("a call with the method", &self.method, &call.method)?;
        call.facts.iter().filter(|fact| fact.is_of_http()).try_for_each(|fact| self.holds(fact))?;
        let wanted = format!("{} {} HTTP/{}", call.method, call.target.escape_ascii(), call.version);
        let is_version = self.is_foreign || self.version == call.version;
        let is_same = is_or_untold(&self.target, &call.target) && is_version;
        ensure(is_same, format_args!("a call for {wanted}"), format_args!("one for {}", self.request_line()))
            .and_then(|()| call.facts.iter().try_for_each(|fact| self.holds(fact)))
            .map_err(Failure::harmless)
    }

    fn holds(&self, fact: &Fact) -> Verdict {
        match fact {
            Fact::Field(name, wanted) => self.same_values(name, wanted, &self.fields),
            Fact::NoField(name) => self.same_values(name, &[], &self.fields),
            Fact::Path(path) => ensure(
                is_or_untold(&self.path, path),
                shown("path", Some(path)),
                shown("path", self.path.as_ref()),
            ),
            Fact::Query(query) => same_or_untold("query", &self.query, query),
            Fact::Authority(authority) => same_or_untold("authority", &self.authority, authority),
            Fact::Body(wanted) => {
                let body = self.body()?;
                let shown = wanted[..wanted.len().min(100)].escape_ascii();
                let expected = format!("a body of {} bytes, {shown:?}, read to its end", wanted.len());
                ensure(
                    body.error.is_none() && body.len == wanted.len() as u64 && body.sha256 == digest(wanted),
                    expected,
                    body.in_words(),
                )
            }
            Fact::BodyFails(kind) => {
                let body = self.body()?;
                ensure(
                    body.error.as_deref() == Some(*kind),
                    format_args!("reading the body fails with {kind}"),
                    body.in_words(),
                )
            }
            Fact::Trailer(name, wanted) => self.same_trailers(name, wanted),
            Fact::NoTrailer(name) => self.same_trailers(name, &[]),
        }
    }

    fn same_trailers(&self, name: &str, wanted: &[Vec<u8>]) -> Verdict {
        match &self.body()?.trailers {
            Some(trailers) => self.same_values(name, wanted, trailers),
            None => Ok(()),
        }
    }

    /// Whether these are all values of this name, in their order.
    fn same_values(&self, name: &str, wanted: &[Vec<u8>], fields: &Fields) -> Verdict {
        let values =
            fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let seen: Vec<&[u8]> = values.map(Vec::as_slice).collect();
        let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
        let is_same = seen == wanted || self.is_foreign && joined(&seen) == joined(&wanted);
        ensure(is_same, format_args!("the application sees {name}: {}", listed(&wanted)), listed(&seen))
    }

    fn body(&self) -> Result<&Body, Failure> {
        self.body.as_ref().ok_or_else(|| Failure::new("the application reads the body", "it did not"))
    }

    fn request_line(&self) -> String {
        let target = self.target.as_ref().map_or("?".to_owned(), |target| target.escape_ascii().to_string());
        format!("{} {target} HTTP/{}", self.method, self.version)
    }
}

impl Body {
    fn from_read(read: &Event) -> Self {
        let trailers = read.field("trailers").as_array().into_iter().flatten().filter_map(Value::as_str);
        let trailer = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), unhex(value))
        };
        Self {
            len: read.number("bytes").unwrap_or_default(),
            sha256: read.text("digest").to_owned(),
            trailers: Some(trailers.map(trailer).collect()),
            error: Some(read.text("end").to_owned()).filter(|end| end != "end"),
        }
    }

    fn in_words(&self) -> String {
        match &self.error {
            Some(error) => format!("{} bytes, then {error}", self.len),
            None => format!("{} bytes and the end", self.len),
        }
    }
}

impl Fact {
    /// Whether whoever does otherwise breaks HTTP, and not only the contract.
    fn is_of_http(&self) -> bool {
        matches!(self, Self::Body(_) | Self::BodyFails(_) | Self::NoField(_) | Self::NoTrailer(_))
    }

    fn is_about_body(&self) -> bool {
        matches!(self, Self::Body(_) | Self::BodyFails(_) | Self::Trailer(..) | Self::NoTrailer(_))
    }
}

fn is_or_untold(seen: &Option<Vec<u8>>, wanted: &Vec<u8>) -> bool {
    seen.as_ref().is_none_or(|seen| seen == wanted)
}

fn same_or_untold(what: &str, seen: &Option<Option<Vec<u8>>>, wanted: &Option<Vec<u8>>) -> Verdict {
    match seen {
        Some(seen) => ensure(seen == wanted, shown(what, wanted.as_ref()), shown(what, seen.as_ref())),
        None => Ok(()),
    }
}

fn shown(what: &str, value: Option<&Vec<u8>>) -> String {
    match value {
        Some(value) => format!("the {what} \"{}\"", value.escape_ascii()),
        None => format!("no {what}"),
    }
}

/// The elements of a list, as one line or as several.
fn joined(values: &[&[u8]]) -> Vec<Vec<u8>> {
    let elements = values.iter().flat_map(|value| value.split(|byte| *byte == b','));
    elements.map(|element| element.trim_ascii().to_vec()).collect()
}

/// Pairs of name and value, whose values are written so.
fn pairs(value: &Value, read: impl Fn(&str) -> Vec<u8>) -> Fields {
    let pairs = value.as_array().into_iter().flatten();
    pairs.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), read(pair[1].as_str()?)))).collect()
}

/// Bytes of which each is the character of its number.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(char).unwrap_or(b'?')).collect()
}

/// Bytes of two hexadecimal digits each.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_default()).collect()
}

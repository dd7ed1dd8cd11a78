//! What the application saw, and whether it is what a vector says.

use std::net::SocketAddr;

use serde_json::Value;

use super::{
    conversation::Told,
    expected::{Call, Fact, Seen},
};
use crate::{
    Event, Failure, Running,
    check::{Verdict, ensure},
    probe::digest,
};

/// The calls of one connection, as the recorder knows them.
pub(super) struct Sightings<'s> {
    running: &'s Running,
    /// Of the recorder when the connection began.
    position: usize,
}

/// One request as the application saw it.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    method: String,
    target: Vec<u8>,
    version: String,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    fields: Fields,
    body: Option<Body>,
}

/// Pairs of name and value, in the order of the lines as far as the application can know it.
type Fields = Vec<(String, Vec<u8>)>;

/// What reading the request body came to.
#[derive(Debug)]
struct Body {
    len: u64,
    sha256: String,
    trailers: Fields,
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
        self.running.settle()?;
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
            target: unhex(call.text("target")),
            version: call.text("version").trim_start_matches("HTTP/").to_owned(),
            path: call.text("path").as_bytes().to_vec(),
            query: optional("query"),
            authority: optional("authority"),
            fields: pairs(call.field("fields"), unhex),
            body: None,
        }
    }

    /// From the description that the routes answer with; `None` if it is none.
    pub(super) fn from_description(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let text = |field: &str| value[field].as_str().map(latin1);
        Some(Self {
            method: value["method"].as_str()?.to_owned(),
            target: text("target")?,
            version: value["version"].as_str()?.to_owned(),
            path: text("path")?,
            query: text("query"),
            authority: text("authority"),
            fields: pairs(&value["headers"], latin1),
            body: Some(Body {
                len: value["body_len"].as_u64()?,
                sha256: value["body_sha256"].as_str()?.to_owned(),
                trailers: pairs(&value["trailers"], latin1),
                error: None,
            }),
        })
    }

    /// Whether it is what the vector says.
    pub(super) fn compare(&self, call: &Call) -> Verdict {
        let wanted = format!("{} {} HTTP/{}", call.method, call.target.escape_ascii(), call.version);
        let is_same =
            self.method == call.method && self.target == call.target && self.version == call.version;
        ensure(
            is_same,
            format_args!("a call for {wanted}"),
            format_args!("one for {}", self.request_line()),
        )?;
        call.facts.iter().try_for_each(|fact| self.holds(fact))
    }

    fn holds(&self, fact: &Fact) -> Verdict {
        let optional = |value: &Option<Vec<u8>>| match value {
            Some(value) => format!("{:?}", value.escape_ascii().to_string()),
            None => "none".to_owned(),
        };
        match fact {
            Fact::Field(name, wanted) => same_values(name, wanted, &self.fields),
            Fact::NoField(name) => same_values(name, &[], &self.fields),
            Fact::Path(path) => ensure(
                *path == self.path,
                format_args!("the path {}", path.escape_ascii()),
                self.path.escape_ascii(),
            ),
            Fact::Query(query) => ensure(
                *query == self.query,
                format_args!("the query {}", optional(query)),
                optional(&self.query),
            ),
            Fact::Authority(wanted) => ensure(
                *wanted == self.authority,
                format_args!("the authority {}", optional(wanted)),
                optional(&self.authority),
            ),
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
            Fact::Trailer(name, wanted) => same_values(name, wanted, &self.body()?.trailers),
            Fact::NoTrailer(name) => same_values(name, &[], &self.body()?.trailers),
        }
    }

    fn body(&self) -> Result<&Body, Failure> {
        self.body.as_ref().ok_or_else(|| Failure::new("the application reads the body", "it did not"))
    }

    fn request_line(&self) -> String {
        format!("{} {} HTTP/{}", self.method, self.target.escape_ascii(), self.version)
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
            trailers: trailers.map(trailer).collect(),
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
    fn is_about_body(&self) -> bool {
        matches!(self, Self::Body(_) | Self::BodyFails(_) | Self::Trailer(..) | Self::NoTrailer(_))
    }
}

/// Whether these are all values of this name, in their order.
fn same_values(name: &str, wanted: &[Vec<u8>], fields: &Fields) -> Verdict {
    let seen: Vec<&Vec<u8>> =
        fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
    let shown = |values: &[&Vec<u8>]| match values {
        [] => "no such field".to_owned(),
        values => values
            .iter()
            .map(|value| format!("{:?}", value.escape_ascii().to_string()))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let wanted: Vec<&Vec<u8>> = wanted.iter().collect();
    ensure(seen == wanted, format_args!("the application sees {name}: {}", shown(&wanted)), shown(&seen))
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

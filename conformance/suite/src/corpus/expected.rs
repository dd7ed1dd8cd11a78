//! What a vector expects to come back, and the application to have seen.

use std::fmt;

use crate::{
    Failure, Head,
    check::{Verdict, ensure},
};

/// An answer, and what the application saw of its request.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Any of these; what follows holds for the first.
    pub(super) any_of: Vec<Answer>,
    /// The values of a field, all of them in their order.
    pub(super) fields: Vec<(String, Vec<Vec<u8>>)>,
    /// Fields that are there, whatever their value.
    pub(super) present: Vec<String>,
    /// Fields that are not.
    pub(super) absent: Vec<String>,
    pub(super) body: Option<Vec<u8>>,
    /// The trailer fields, all of them in their order, if anything was said of them.
    pub(super) trailers: Option<Vec<(String, Vec<u8>)>>,
    pub(super) seen: Option<Seen>,
}

/// One thing that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An interim head with this status.
    Interim(u16),
    /// A final head with this status.
    Final(u16, After),
    /// The end of the connection, and not a byte.
    Closed,
    /// Neither a byte nor an end, for now.
    Open,
    /// An interim head that need not come.
    Nothing,
}

/// What becomes of the connection behind a final head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// What follows tells.
    Unsaid,
    /// The body is entire, and the connection stays.
    Keep,
    /// The body is entire, and the connection ends.
    Close,
    /// The connection ends short of the body's end.
    Broken,
}

/// What the application saw of a request.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    NotCalled,
    Called(Call),
}

/// A call, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    /// Such as `1.1`.
    pub(super) version: String,
    pub(super) facts: Vec<Fact>,
}

/// Something that the application saw in a request. Names are in lower case.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// The values of a field, all of them in their order.
    Field(String, Vec<Vec<u8>>),
    NoField(String),
    Path(Vec<u8>),
    Query(Option<Vec<u8>>),
    Authority(Option<Vec<u8>>),
    /// The body, read to its end.
    Body(Vec<u8>),
    /// The kind of error with which reading the body failed, as the interface calls it.
    BodyFails(&'static str),
    /// The values of a trailer field, all of them in their order.
    Trailer(String, Vec<Vec<u8>>),
    NoTrailer(String),
}

impl Expected {
    pub(super) fn new(any_of: Vec<Answer>) -> Self {
        Self {
            any_of,
            fields: Vec::new(),
            present: Vec::new(),
            absent: Vec::new(),
            body: None,
            trailers: None,
            seen: None,
        }
    }

    /// Whether the connection is to stay open with nothing on it.
    pub(super) fn is_open(&self) -> bool {
        self.any_of.contains(&Answer::Open)
    }

    /// Whether the request is to be refused, be it without a word.
    pub(super) fn is_refusal(&self) -> bool {
        self.any_of.iter().all(|answer| matches!(answer, Answer::Final(400.., _) | Answer::Closed))
    }

    /// Whether the application finds that the request body is broken.
    pub(super) fn breaks_the_body(&self) -> bool {
        let Some(Seen::Called(call)) = &self.seen else { return false };
        call.facts.iter().any(|fact| matches!(fact, Fact::BodyFails(_)))
    }

    /// Whether the request may be refused.
    pub(super) fn may_be_refusal(&self) -> bool {
        self.any_of.iter().any(|answer| matches!(answer, Answer::Final(400.., _) | Answer::Closed))
    }

    /// Whether nothing else will do than a final answer behind which the connection stays.
    pub(super) fn needs_persistence(&self) -> bool {
        self.any_of.iter().all(|answer| matches!(answer, Answer::Final(_, After::Keep | After::Unsaid)))
    }

    /// Whether it is an interim head.
    pub(super) fn is_interim(&self) -> bool {
        self.any_of.iter().any(|answer| matches!(answer, Answer::Interim(_)))
    }

    /// The alternatives in words.
    pub(super) fn in_words(&self) -> String {
        self.any_of.iter().map(Answer::to_string).collect::<Vec<_>>().join(" or ")
    }

    /// Fails if a field of the head is not as it must be. To leave out a field, or to add to it, does no harm; one that
    /// must not be there may.
    pub(super) fn compare_fields(&self, head: &Head) -> Verdict {
        let values = |name: &str| head.all(name).into_iter().map(|value| &value[..]).collect::<Vec<_>>();
        for name in &self.absent {
            let seen = values(name);
            ensure(
                seen.is_empty(),
                format_args!("no field {name}"),
                format_args!("{name}: {}", listed(&seen)),
            )?;
        }
        for (name, wanted) in &self.fields {
            let (seen, wanted) = (values(name), wanted.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let (shown, wanted_shown) = (listed(&seen), listed(&wanted));
            ensure(seen == wanted, format_args!("{name}: {wanted_shown}"), format_args!("{name}: {shown}"))
                .map_err(Failure::harmless)?;
        }
        self.present.iter().try_for_each(|name| {
            ensure(head.has(name), format_args!("a field {name}"), "none").map_err(Failure::harmless)
        })
    }
}

/// Values of fields, in quotes.
pub(super) fn listed(values: &[&[u8]]) -> String {
    match values {
        [] => "none".to_owned(),
        values => {
            let quoted = values.iter().map(|value| format!("\"{}\"", value.escape_ascii()));
            quoted.collect::<Vec<_>>().join(", ")
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interim(status) => write!(f, "an interim {status}"),
            Self::Final(status, after) => {
                let after = match after {
                    After::Unsaid => "",
                    After::Keep => " on a connection that stays",
                    After::Close => " and the end of the connection",
                    After::Broken => " that breaks off",
                };
                write!(f, "{status}{after}")
            }
            Self::Closed => f.write_str("the end of the connection, without a byte"),
            Self::Open => f.write_str("not a byte for now, on an open connection"),
            Self::Nothing => f.write_str("none"),
        }
    }
}

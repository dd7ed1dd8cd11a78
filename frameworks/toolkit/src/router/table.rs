//! The tree of segments in which a path is looked up.
//!
//! Each node is a place between slashes; at each, the next segment of the path is held against
//!
//! 1. the literals,
//! 2. fields with text beside them, those with more text first,
//! 3. fields with a converter, in the order of their routes,
//! 4. fields without,
//! 5. a field that takes the rest,
//! 6. a prefix that ends here;
//!
//! and where one leads nowhere, the next is tried. No place is visited twice, so a path costs at most one step for each
//! node, whatever a client sends; usually one lookup for each segment, however many routes there are.
//!
//! This is a tree of its own and not that of `matchit`, as converters decide: where the most specific route refuses a
//! value, the next one is wanted, and a tree that knows of no converters gives one route or none.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use memchr::memchr;

use super::{
    params::Captures,
    template::{Piece, Segment, Template},
};

#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The first is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize, BuildHasherDefault<Fnv>>,
    fields: Vec<(Segment, usize)>,
    /// The routes that end here, that take all below, and that are a prefix of all below.
    route: Option<usize>,
    rest: Option<usize>,
    prefix: Option<usize>,
}

/// What was found: the route, and how much of the path it took.
pub(super) struct Hit {
    pub(super) route: usize,
    pub(super) taken: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds the route of this number.
    ///
    /// # Errors
    /// The number of the route that takes the same paths.
    pub(super) fn add(&mut self, template: &Template, route: usize, is_prefix: bool) -> Result<(), usize> {
        let mut at = 0;
        let mut is_rest = false;
        // The root is a prefix of everything, and `/` its way to be written.
        let is_root = is_prefix && template.as_str() == "/";
        for segment in template.segments.iter().filter(|_| !is_root) {
            match segment {
                Segment::Rest => is_rest = true,
                segment => at = self.below(at, segment),
            }
        }
        let node = &mut self.nodes[at];
        let place = match (is_prefix, is_rest) {
            (true, _) => &mut node.prefix,
            (_, true) => &mut node.rest,
            _ => &mut node.route,
        };
        match place {
            Some(known) => Err(*known),
            None => {
                *place = Some(route);
                Ok(())
            }
        }
    }

    /// The node behind this segment, new if need be.
    fn below(&mut self, at: usize, segment: &Segment) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[at];
        let below = match segment {
            Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(new),
            segment => match node.fields.iter().find(|(known, _)| known.is_same(segment)) {
                Some((_, below)) => *below,
                None => {
                    let place = node.fields.partition_point(|(known, _)| rank(known) <= rank(segment));
                    node.fields.insert(place, (segment.clone(), new));
                    new
                }
            },
        };
        if below == new {
            self.nodes.push(Node::default());
        }
        below
    }

    /// Looks a path up, which is empty or begins with `/`; the values of fields are left in `captures`.
    pub(super) fn find(&self, path: &str, captures: &mut Captures) -> Option<Hit> {
        let rest = if path.is_empty() { path } else { path.strip_prefix('/')? };
        self.find_below(0, path, Some(rest), captures)
    }

    /// `rest` is what is behind the slash behind this node, if there is one.
    fn find_below(&self, at: usize, path: &str, rest: Option<&str>, captures: &mut Captures) -> Option<Hit> {
        let node = &self.nodes[at];
        let taken = path.len();
        let Some(rest) = rest else {
            return node.route.or(node.prefix).map(|route| Hit { route, taken });
        };
        let begin = path.len() - rest.len();
        let (segment, next) = match memchr(b'/', rest.as_bytes()) {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        let below = |below, captures: &mut _| self.find_below(below, path, next, captures);
        if let Some(hit) = node.literal(segment).and_then(|literal| below(literal, captures)) {
            return Some(hit);
        }
        let before = captures.len();
        for (fields, field) in &node.fields {
            let fits = fields.capture(segment, begin, captures);
            if let Some(hit) = fits.then(|| below(*field, captures)).flatten() {
                return Some(hit);
            }
            captures.truncate(before);
        }
        if let Some(route) = node.rest.filter(|_| captures.push(rest, begin, |_| true)) {
            return Some(Hit { route, taken });
        }
        node.prefix.map(|route| Hit { route, taken: begin.saturating_sub(1) })
    }
}

impl Node {
    fn literal(&self, segment: &str) -> Option<usize> {
        if self.literals.is_empty() {
            return None;
        }
        self.literals.get(segment).or_else(|| self.literals.get(in_capitals(segment)?.as_str())).copied()
    }
}

/// A segment with the digits of its escapes as literals have them, if that makes a difference. Nothing is decoded, so
/// whoever guards `/admin` by comparing paths need not know of `/%61dmin`, which is another.
fn in_capitals(segment: &str) -> Option<String> {
    let (before, _) = segment.split_once('%')?;
    let mut text = segment.to_owned();
    let mut at = before.len();
    while let Some(escape) = text.get_mut(at..at + 3) {
        escape.make_ascii_uppercase();
        at = match text[at + 3..].find('%') {
            Some(next) => at + 3 + next,
            None => break,
        };
    }
    Some(text)
}

impl Segment {
    /// Holds the fields against a segment, which begins at this byte of the path.
    fn capture(&self, segment: &str, begin: usize, captures: &mut Captures) -> bool {
        let Self::Fields(pieces) = self else { return false };
        let mut at = 0;
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => match segment[at..].strip_prefix(&**text) {
                    Some(_) => at += text.len(),
                    None => return false,
                },
                Piece::Field(convert) => {
                    let Some(len) = field_len(&segment[at..], &pieces[index + 1..]) else { return false };
                    if !captures.push(&segment[at..at + len], begin + at, |text| convert.accepts(text)) {
                        return false;
                    }
                    at += len;
                }
            }
        }
        at == segment.len()
    }
}

/// How long a field is, given what follows it: up to the first place where its next text stands, or the last text at the
/// end. A field is never empty.
fn field_len(segment: &str, next: &[Piece]) -> Option<usize> {
    let len = match next {
        [] => segment.len(),
        [Piece::Literal(last)] => segment.strip_suffix(&**last)?.len(),
        [Piece::Literal(text), ..] => {
            let first = segment.chars().next()?.len_utf8();
            first + segment[first..].find(&**text)?
        }
        // Between two fields there always is some text.
        [Piece::Field(_), ..] => return None,
    };
    (len > 0).then_some(len)
}

/// The order in which fields are tried.
fn rank(segment: &Segment) -> (u8, usize) {
    let Segment::Fields(pieces) = segment else { return (3, 0) };
    let text = pieces.iter().map(|piece| match piece {
        Piece::Literal(text) => text.len(),
        Piece::Field(_) => 0,
    });
    match &**pieces {
        [Piece::Field(convert)] => (if convert.is_plain() { 2 } else { 1 }, 0),
        _ => (0, usize::MAX - text.sum::<usize>()),
    }
}

/// Fowler, Noll and Vo's hash: what is in the table is the developer's own choice, so nobody can make it collide, and for
/// a few bytes it is the quickest.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

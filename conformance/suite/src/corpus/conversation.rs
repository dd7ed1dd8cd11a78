//! One connection: sends what a vector says, reads what comes, and compares.

use std::{fmt, thread};

use bytes::Bytes;

use super::{
    Delivery, Examined, Vector,
    expected::{After, Answer, Call, Expected, Seen},
    sighting::Sighting,
    vector::Step,
};
use crate::{
    Client, End, Failure, Framing, Head,
    check::{Verdict, ensure, expect_eq},
    message::chunk_size,
};

/// Around a vector: its path says which it is.
const GOOD_AHEAD: &str = "GET /good-ahead HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
const GOOD_BEHIND: &str = "GET /good-behind HTTP/1.1\r\nHost: varvel.test\r\n\r\n";

/// What is said of a call, in the order of the answers on a connection.
#[derive(Debug)]
pub(super) enum Told<'v> {
    /// By a vector.
    Seen(&'v Seen),
    /// Nothing: there may have been one.
    Unsaid,
    /// It was a good request of the delivery's own.
    Good,
}

/// A connection on which a vector goes over.
pub(super) struct Conversation<'v> {
    examined: Examined<'v>,
    pub(super) client: Client,
    delivery: Delivery,
    /// A final head that came where an interim one might have.
    head: Option<Head>,
    /// Whether a 100 was passed over that nobody asked for.
    is_continued: bool,
    /// What was sent since the last final answer.
    sent: Vec<u8>,
    /// What was said of calls so far.
    pub(super) told: Vec<Told<'v>>,
}

impl<'v> Conversation<'v> {
    /// With a client that has just connected to this server.
    pub(super) fn begin(examined: Examined<'v>, client: Client, delivery: Delivery) -> Self {
        Self {
            examined,
            client,
            delivery,
            head: None,
            is_continued: false,
            sent: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Goes through the script of a vector.
    pub(super) fn run(&mut self, vector: &'v Vector) -> Verdict {
        let last_sent = vector.script.iter().rposition(|step| matches!(step, Step::Send(_)));
        let mut last: Option<(&Expected, Answer)> = None;
        for (at, step) in vector.script.iter().enumerate() {
            match step {
                Step::Send(segment) => self.send(segment, at == 0, Some(at) == last_sent)?,
                // Fails where the server has reset the connection, which the next answer tells.
                Step::End => drop(self.client.half_close()),
                // The next answer is waited for, and is the server's to begin.
                Step::Stall => {}
                Step::Pause(time) => thread::sleep(*time),
                Step::Expect(expected) => last = Some((expected, self.expect(expected)?)),
            }
        }
        match last {
            Some((expected, Answer::Final(status, After::Keep))) => {
                self.goes_on(expected.any_of.contains(&Answer::Final(status, After::Close)))
            }
            _ => Ok(()),
        }
    }

    /// Sends a segment as the delivery has it. A server that has answered and closed need not take all of it.
    fn send(&mut self, segment: &[u8], is_first: bool, is_last: bool) -> Verdict {
        self.sent.extend(segment);
        match self.delivery {
            Delivery::Behind if is_first => {
                self.client.try_send([GOOD_AHEAD.as_bytes(), segment].concat());
                self.good_answer().map_err(|failure| failure.within("the good request ahead of it"))?;
            }
            Delivery::Ahead if is_last => {
                self.client.try_send([segment, GOOD_BEHIND.as_bytes()].concat());
            }
            delivery => {
                // What is left when the server has closed would not be taken either.
                let _ = delivery.cut(segment).into_iter().all(|piece| self.client.try_send(piece));
            }
        }
        Ok(())
    }

    /// The connection stays, so another request on it is answered. Any server may close it at any time, but then it
    /// answers nothing; where it may as well end, that will do.
    fn goes_on(&mut self, or_ends: bool) -> Verdict {
        let what = match self.delivery {
            Delivery::Ahead => "the good request behind it",
            _ => {
                self.client.try_send(GOOD_BEHIND);
                "another request on the connection"
            }
        };
        if or_ends && self.client.is_over()? {
            return Ok(());
        }
        let answered = self.good_answer().map_err(|failure| failure.within(what));
        answered.map_err(|failure| if self.client.is_ended() { failure.harmless() } else { failure })
    }

    fn good_answer(&mut self) -> Verdict {
        self.told.push(Told::Good);
        let status = self.client.response()?.status();
        ensure(self.examined.is_good(status), "status 200", format_args!("status {status}"))
    }

    /// Reads what comes, and which of the alternatives it is.
    fn expect(&mut self, expected: &'v Expected) -> Result<Answer, Failure> {
        if expected.is_open() {
            self.client.silent()?;
            if let Some(seen) = &expected.seen {
                self.told.push(Told::Seen(seen));
            }
            return Ok(Answer::Open);
        }
        let head = match self.head.take() {
            Some(head) => head,
            None if self.is_over(expected)? => {
                let seen = "the end of the connection";
                self.choose(expected, seen, |answer| answer == Answer::Closed)
                    .map_err(unless_due(expected))?;
                if let Some(seen) = expected.seen.as_ref().filter(|_| is_first(expected, Answer::Closed)) {
                    self.told.push(Told::Seen(seen));
                }
                return Ok(Answer::Closed);
            }
            None => self.client.head().map_err(|failure| failure.within(expected.in_words()))?,
        };
        let status = head.status;
        if matches!(status, 100 | 102..=199) {
            let interim = Answer::Interim(status);
            let chosen =
                self.choose(expected, format_args!("an interim {status}"), |answer| answer == interim);
            // Clients have to be prepared for 100 at any time (RFC 9110 section 15.2). What matters is behind it.
            if chosen.is_err() && status == 100 && self.is_foreign() && !self.is_continued {
                self.is_continued = true;
                return self.expect(expected);
            }
            chosen?;
            head.framing("GET").map_err(|rule| Failure::new(rule, format!("{head:?}")))?;
            self.compare_head(expected, interim, &head)?;
            return Ok(interim);
        }
        if expected.any_of.contains(&Answer::Nothing) {
            self.head = Some(head);
            return Ok(Answer::Nothing);
        }
        let closes = head.connection_has("close");
        let has_status = |answer| match answer {
            Answer::Final(wanted, _) => {
                wanted == status || !self.examined.target.routes && wanted < 300 && is_understood(status)
            }
            _ => false,
        };
        // Of alternatives that differ in the connection alone, the one that the head announces.
        let is_announced =
            |answer| has_status(answer) && matches!(answer, Answer::Final(_, After::Keep)) != closes;
        let announced = expected.any_of.iter().copied().find(|answer| is_announced(*answer));
        let answer = match announced {
            Some(answer) => answer,
            None => {
                let chosen = self.choose(expected, format_args!("status {status}"), has_status);
                // A final answer instead of 100 is one of two that RFC 9110 section 10.1.1 permits.
                let is_harmless = expected.is_interim() || status >= 400 && expected.may_be_refusal();
                chosen.map_err(|failure| if is_harmless { failure.harmless() } else { failure })?
            }
        };
        let Answer::Final(_, after) = answer else { return Ok(answer) };
        self.final_answer(expected, answer, after, &head).map_err(|failure| failure.within(answer))?;
        Ok(answer)
    }

    /// Whether the connection ends instead of an answer.
    fn is_over(&mut self, expected: &Expected) -> Result<bool, Failure> {
        self.client.is_over().map_err(unless_due(expected))
    }

    /// The first of the alternatives that is so.
    fn choose(
        &self,
        expected: &Expected,
        seen: impl fmt::Display,
        mut is_so: impl FnMut(Answer) -> bool,
    ) -> Result<Answer, Failure> {
        let answer = expected.any_of.iter().copied().find(|answer| is_so(*answer));
        answer.ok_or_else(|| Failure::new(expected.in_words(), seen.to_string()))
    }

    /// Reads what is behind a final head, and compares.
    fn final_answer(&mut self, expected: &'v Expected, answer: Answer, after: After, head: &Head) -> Verdict {
        let method = self.method(expected);
        let framing = head.framing(&method).map_err(|rule| Failure::new(rule, format!("{head:?}")))?;
        self.compare_head(expected, answer, head)?;
        if after == After::Broken {
            self.breaks_off(framing)?;
            self.tell(expected, answer);
            return Ok(());
        }
        if after == After::Keep && framing == Framing::Close {
            return Err(Failure::new("an answer with a length or in chunks", format!("{head:?}")).harmless());
        }
        let (body, trailers) = match self.client.body(framing) {
            // Whoever closes while more is under way resets. A server of the contract waits for it (H10).
            Err(_) if self.is_foreign() && head.status >= 400 && self.client.is_reset() => Default::default(),
            read => read?,
        };
        if after == After::Close {
            // More than nothing would be the answer to what stood behind.
            let closed = self.client.closed().map(drop);
            closed.map_err(
                |failure| if self.client.is_idle() { unless_due(expected)(failure) } else { failure },
            )?;
        }
        self.sent.clear();
        if self.examined.target.routes && is_first(expected, answer) {
            if let Some(wanted) = &expected.body {
                expect_eq("the body", Bytes::from(wanted.clone()), body.clone())?;
            }
            if let Some(wanted) = &expected.trailers {
                let name = |(name, value): &(String, Bytes)| (name.to_ascii_lowercase(), value.to_vec());
                // Whoever has no way to send trailers may leave them out.
                expect_eq("trailers", &trailers.iter().map(name).collect::<Vec<_>>(), wanted)
                    .map_err(|failure| if trailers.is_empty() { failure.harmless() } else { failure })?;
            }
            // Otherwise the recorder tells.
            if let (None, Some(Seen::Called(call))) = (self.examined.running, &expected.seen) {
                if let Some(sighting) = Sighting::from_description(&body) {
                    sighting.compare(call)?;
                }
            }
        }
        self.tell(expected, answer);
        Ok(())
    }

    /// Whether only the address is known.
    fn is_foreign(&self) -> bool {
        self.examined.running.is_none()
    }

    fn compare_head(&self, expected: &Expected, answer: Answer, head: &Head) -> Verdict {
        let judged = self.examined.target.routes || !is_understood(head.status);
        if judged && is_first(expected, answer) { expected.compare_fields(head) } else { Ok(()) }
    }

    /// The answer ends short of its end.
    fn breaks_off(&mut self, framing: Framing) -> Verdict {
        let (rest, end) = self.client.rest()?;
        let is_short = match framing {
            Framing::None => false,
            Framing::Length(length) => (rest.len() as u64) < length,
            Framing::Chunked => is_cut_short(&rest)?,
            Framing::Close => end == End::Reset,
        };
        let seen = || format!("{framing:?}, {:?} and {end:?}", rest.escape_ascii().to_string());
        if is_short { Ok(()) } else { Err(Failure::new("a body that breaks off", seen())) }
    }

    /// What the vector says of the call behind this answer.
    fn tell(&mut self, expected: &'v Expected, answer: Answer) {
        let seen = expected.seen.as_ref().filter(|_| is_first(expected, answer));
        self.told.push(seen.map_or(Told::Unsaid, Told::Seen));
    }

    /// The method of the request that the next final answer belongs to.
    fn method(&self, expected: &Expected) -> String {
        if let Some(Seen::Called(Call { method, .. })) = &expected.seen {
            return method.clone();
        }
        let word = self.sent.trim_ascii_start().split(|byte| *byte == b' ').next().unwrap_or_default();
        String::from_utf8_lossy(word).into_owned()
    }
}

/// What a server does instead of an answer does harm where a request was to be answered. One that was to be refused is
/// refused by silence as well.
fn unless_due(expected: &Expected) -> impl Fn(Failure) -> Failure {
    let is_refusal = expected.is_refusal();
    move |failure| if is_refusal { failure.harmless() } else { failure }
}

/// Whether this is the alternative that the details are about.
fn is_first(expected: &Expected, answer: Answer) -> bool {
    expected.any_of.first() == Some(&answer)
}

/// Whether these chunks lack their end. Anything but chunks is an error.
fn is_cut_short(mut chunks: &[u8]) -> Result<bool, Failure> {
    let wrong = |rule: String| Failure::new(rule, chunks.escape_ascii().to_string());
    loop {
        let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") else { return Ok(true) };
        let size = chunk_size(&chunks[..end]).map_err(wrong)?;
        chunks = &chunks[end + 2..];
        if size == 0 {
            // Trailers, if any, and an empty line.
            return Ok(!(chunks.starts_with(b"\r\n") || chunks.ends_with(b"\r\n\r\n")));
        }
        let whole = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(2);
        if chunks.len() < whole {
            return Ok(true);
        }
        chunks = &chunks[whole..];
    }
}

/// Whether a server that does not serve the routes has understood a request that it answers so.
pub(super) fn is_understood(status: u16) -> bool {
    matches!(status, 200..=399 | 401 | 403..=407 | 409 | 410 | 415 | 422 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_without_their_end_are_cut_short_and_garbage_is_an_error() {
        for (chunks, is_short) in [
            ("", true),
            ("5", true),
            ("5\r\nhel", true),
            ("5\r\nhello\r\n", true),
            ("5\r\nhello\r\n0\r\n", true),
            ("5\r\nhello\r\n0\r\nX: y\r\n", true),
            ("5\r\nhello\r\n0\r\n\r\n", false),
            ("5\r\nhello\r\n0\r\nX: y\r\n\r\n", false),
        ] {
            assert_eq!(is_cut_short(chunks.as_bytes()).unwrap(), is_short, "{chunks:?}");
        }
        assert!(is_cut_short(b"5\r\nhello\r\nInternal Server Error\r\n").is_err());
    }
}

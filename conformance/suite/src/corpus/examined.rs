//! Runs a vector in its deliveries against one server.

use super::{
    Delivery, Target, Vector,
    conversation::{Conversation, is_understood},
    sighting::Sightings,
};
use crate::{
    Client, End, Failure, Outcome, Running,
    check::{Verdict, ensure},
    transcript::Transcript,
};

/// The server that vectors are run against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Examined<'s> {
    pub(crate) target: Target,
    /// Which calls were made is known of a server that the suite runs.
    pub(crate) running: Option<&'s Running>,
}

impl Examined<'_> {
    /// Runs a vector in all deliveries, and sees that the server still answers then.
    pub(crate) fn examine(&self, vector: &Vector) -> Outcome {
        for delivery in vector.deliveries().filter(|delivery| !self.target.without[*delivery as usize]) {
            let transcript = Transcript::new(1);
            if let Err(failure) = self.converse(vector, delivery, &transcript) {
                let failure = failure.within(format_args!("delivered {delivery}"));
                return Outcome::Failed { failure, transcript: transcript.to_string() };
            }
        }
        let transcript = Transcript::new(1);
        match self.still_serves(&transcript) {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed {
                failure: failure.within("a plain request afterwards"),
                transcript: transcript.to_string(),
            },
        }
    }

    /// All that the server sends for a vector that is delivered so, but dates, and how it ends the connection.
    pub(crate) fn listen(&self, vector: &Vector, delivery: Delivery) -> Result<String, Failure> {
        let mut conversation = Conversation::begin(*self, self.connect(&Transcript::new(1))?, delivery);
        conversation.client.keep_received();
        // Whether it is what the vector expects is not asked here; what came up to there tells.
        let verdict = conversation.run(vector);
        let (received, end) = conversation.client.received();
        let mut text = without_dates(received);
        text += match (verdict, end) {
            (_, Some(End::Closed)) => "* closed\n",
            (_, Some(End::Reset)) => "* reset\n",
            (Ok(()), None) => "* open\n",
            (Err(_), None) => "* open, and not as expected\n",
        };
        Ok(text)
    }

    fn converse(&self, vector: &Vector, delivery: Delivery, transcript: &Transcript) -> Verdict {
        let sightings = self.running.map(Sightings::begin);
        let mut conversation = Conversation::begin(*self, self.connect(transcript)?, delivery);
        conversation.run(vector)?;
        if let Some(sightings) = sightings {
            sightings.compare(conversation.client.local_address()?, &conversation.told)?;
        }
        Ok(())
    }

    fn connect(&self, transcript: &Transcript) -> Result<Client, Failure> {
        Client::connect_within(self.target.limit, self.target.address, transcript.clone())
    }

    pub(super) fn still_serves(&self, transcript: &Transcript) -> Verdict {
        let mut client = self.connect(transcript)?;
        client.send("GET /after HTTP/1.1\r\nHost: varvel.test\r\nConnection: close\r\n\r\n")?;
        let response = client.response()?;
        ensure(self.is_good(response.status()), "status 200", response.status())
    }

    /// Whether the answer to a request that is in order has such a status.
    pub(super) fn is_good(&self, status: u16) -> bool {
        status == 200 || !self.target.routes && is_understood(status)
    }
}

/// Bytes as text, a line each, in which every date is the same.
fn without_dates(bytes: &[u8]) -> String {
    let line = |line: &[u8]| match line {
        [name @ .., b'\r', b'\n']
            if name.len() == DATE.len() && name[..6].eq_ignore_ascii_case(b"date: ") =>
        {
            format!("{DATE}\\r\\n\n")
        }
        line => format!("{}\n", line.escape_ascii()),
    };
    bytes.split_inclusive(|byte| *byte == b'\n').map(line).collect()
}

/// A field of the length that all dates have (RFC 9110 section 5.6.7).
const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_same_and_nothing_else_is() {
        let date = |bytes: &[u8]| without_dates(bytes);
        let one = date(b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:47:11 GMT\r\n\r\n");
        assert_eq!(one, date(b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:47:12 GMT\r\n\r\n"));
        for other in [
            &b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:47:12\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:47:12 GMT\n\r\n",
            b"HTTP/1.1 200 OK\r\nDaten: at, 21 Nov 2026 12:47:12 GMT\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_ne!(one, date(other), "{}", other.escape_ascii());
        }
    }
}

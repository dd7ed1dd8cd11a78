//! A client that listens to events.

use std::task::Poll;

use serde_json::Value;
use varvel::Frame;
use varvel_examples::notes::live::PACE;
use varvel_test::{Client, Exchange};

pub(crate) struct Listener<'c> {
    client: &'c Client,
    exchange: Exchange,
    /// What has come and is no whole event yet.
    text: String,
}

/// One event as it came.
#[derive(Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) note: u64,
}

impl<'c> Listener<'c> {
    /// Listens from now on, or behind the last event that it knows.
    pub(crate) fn new(client: &'c Client, last: Option<u64>) -> Self {
        let mut request = client.get("/events").header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let mut exchange = request.start();
        assert_eq!(exchange.status(), 200);
        assert_eq!(exchange.head().headers["content-type"], "text/event-stream");
        Self { client, exchange, text: String::new() }
    }

    /// Waits for the next event.
    pub(crate) fn next(&mut self) -> Heard {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                // A comment says that the stream lives.
                if !event.starts_with(':') {
                    return parse(&event);
                }
            } else {
                let data = self.data().expect("the stream goes on");
                self.text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    /// Waits for the end of the stream.
    pub(crate) fn end(mut self) {
        while self.data().is_some() {}
    }

    fn data(&mut self) -> Option<bytes::Bytes> {
        let frame = if self.client.is_live() { self.exchange.frame() } else { self.frame_in_time() };
        match frame? {
            Frame::Data(data) => Some(data),
            frame => panic!("{frame:?} among events"),
        }
    }

    /// In process it is the test that moves the clock.
    fn frame_in_time(&mut self) -> Option<Frame> {
        for _ in 0..1000 {
            match self.exchange.poll_frame() {
                Poll::Ready(frame) => return frame.map(Result::unwrap),
                Poll::Pending => self.client.advance(PACE),
            }
        }
        panic!("nothing is heard");
    }
}

fn parse(event: &str) -> Heard {
    let field = |name: &str| {
        let values =
            event.lines().filter_map(|line| line.split_once(": ").filter(|(known, _)| *known == name));
        let values: Vec<_> = values.map(|(_, value)| value).collect();
        assert_eq!(values.len(), 1, "{name} in {event:?}");
        values[0]
    };
    let data: Value = serde_json::from_str(field("data")).unwrap();
    let id = field("id").parse().unwrap();
    assert_eq!(data["revision"], id);
    Heard { name: field("event").to_owned(), id, note: data["note"].as_u64().unwrap() }
}

//! One connection with both ends in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use varvel_http1::{
    After, BodyEvent, BodyFault, BodyLength, Config, Connection, HeadRefused, Refusal, RequestHead, SentHead,
    Spare,
};

pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pub(crate) input: Bytes,
    pub(crate) out: Vec<u8>,
    pub(crate) now: Instant,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Peer {
        let now = Instant::now();
        Peer { connection: Connection::new(Arc::new(config), now), input: Bytes::new(), out: Vec::new(), now }
    }

    /// A connection that has received this request; what is behind its head is still in the input.
    #[track_caller]
    pub(crate) fn after(request: &str) -> Peer {
        let mut peer = Peer::new();
        peer.receive(request);
        peer
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.input = [&self.input[..], bytes].concat().into();
    }

    #[track_caller]
    pub(crate) fn receive(&mut self, request: &str) -> Box<RequestHead> {
        self.try_receive(request).expect("a request").expect("a whole head")
    }

    pub(crate) fn try_receive(&mut self, bytes: &str) -> Result<Option<Box<RequestHead>>, Refusal> {
        self.push(bytes.as_bytes());
        self.connection.receive_head(&mut self.input, &mut Spare::default(), self.now)
    }

    pub(crate) fn next_body(&mut self) -> Result<BodyEvent, BodyFault> {
        self.connection.receive_body(&mut self.input, self.now)
    }

    /// The body as far as it is there.
    pub(crate) fn body(&mut self) -> Result<Vec<u8>, BodyFault> {
        let mut body = Vec::new();
        while let BodyEvent::Data(data) = self.next_body()? {
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    pub(crate) fn send_head(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: BodyLength,
        date_line: &[u8],
    ) -> Result<SentHead, HeadRefused> {
        let status = StatusCode::from_u16(status).unwrap();
        self.connection.send_head(status, &headers(fields), body, date_line, &mut self.out)
    }

    /// Writes a piece of a body as a server would.
    pub(crate) fn data(&mut self, bytes: &[u8]) {
        let frame = self.connection.send_data(bytes.len() as u64, &mut self.out);
        self.out.extend_from_slice(&bytes[..frame.take as usize]);
        self.out.extend_from_slice(frame.suffix);
    }

    /// Answers with an empty 200.
    #[track_caller]
    pub(crate) fn respond(&mut self) {
        self.send_head(200, &[], BodyLength::Known(0), b"").expect("a response is awaited");
        self.connection.send_end(None, &mut self.out).expect("an empty response is whole");
    }

    pub(crate) fn next_exchange(&mut self) -> After {
        self.connection.next_exchange(&mut self.input, self.now)
    }

    pub(crate) fn take_output(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

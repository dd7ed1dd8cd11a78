//! What is asked of which server.

/// A server and what it is asked, again and again.
pub struct Workload {
    /// As the counted program knows it.
    pub server: &'static str,
    pub exchange: &'static Exchange,
}

impl Workload {
    pub fn name(&self) -> String {
        format!("{}/{}", self.server, self.exchange.name)
    }
}

/// What a client does in a round, which the next one repeats.
pub struct Exchange {
    pub name: &'static str,
    request_line: &'static str,
    fields: &'static str,
    body_len: usize,
    /// How many requests are sent at once, before the first answer is read.
    pub depth: u64,
    /// Whether the connection lasts for one round, and not for all.
    pub closes: bool,
    /// How many rounds are played in the two runs whose difference is told.
    pub rounds: [u64; 2],
}

impl Exchange {
    /// The bytes of a round.
    pub fn request(&self) -> Vec<u8> {
        let mut request =
            format!("{} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n{}", self.request_line, self.fields);
        if self.body_len > 0 {
            request += &format!("Content-Length: {}\r\n", self.body_len);
        }
        request += "\r\n";
        request += &"x".repeat(self.body_len);
        request.repeat(self.depth as usize).into_bytes()
    }
}

const HELLO: Exchange = Exchange {
    name: "hello",
    request_line: "GET /",
    fields: "",
    body_len: 0,
    depth: 1,
    closes: false,
    rounds: [200, 1200],
};

const PIPELINED: Exchange = Exchange { name: "pipelined", depth: 16, rounds: [20, 120], ..HELLO };

const BROWSER: Exchange = Exchange {
    name: "browser",
    fields: "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,image/png,*/*;q=0.8\r\n\
        Accept-Language: de,en;q=0.7,fr;q=0.3\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Connection: keep-alive\r\n\
        Cookie: session=0b54f1c2a7d84e6f9f03; consent=all; zone=Europe%2FBerlin\r\n\
        Upgrade-Insecure-Requests: 1\r\n\
        Sec-Fetch-Dest: document\r\n\
        Sec-Fetch-Mode: navigate\r\n\
        Sec-Fetch-Site: none\r\n",
    ..HELLO
};

const ECHO: Exchange = Exchange { name: "echo", request_line: "POST /echo", body_len: 1024, ..HELLO };

const STREAM: Exchange = Exchange { name: "stream", request_line: "GET /stream", rounds: [5, 25], ..HELLO };

const CONNECT: Exchange =
    Exchange { name: "connect", fields: "Connection: close\r\n", closes: true, rounds: [50, 250], ..HELLO };

const ALL: &[Exchange] = &[HELLO, PIPELINED, BROWSER, ECHO, STREAM, CONNECT];

/// All there are, in the order in which they are told.
pub fn all() -> impl Iterator<Item = Workload> {
    let servers: [(&str, &[Exchange]); 8] = [
        ("evented", ALL),
        ("evented-inline", &[HELLO, ECHO]),
        ("evented-offloaded", &[HELLO]),
        ("threaded", ALL),
        ("threaded-block-on", &[HELLO]),
        // No servers at all: the protocol alone, and the contract on it.
        ("bare", &[HELLO, PIPELINED]),
        ("contract", &[HELLO, PIPELINED]),
        ("contract-inline", &[HELLO, PIPELINED]),
    ];
    servers
        .into_iter()
        .flat_map(|(server, exchanges)| exchanges.iter().map(move |exchange| Workload { server, exchange }))
}

//! What is asked.

use std::net::SocketAddr;

/// What a browser sends beside `Host`: 11 fields of some 500 bytes.
const BROWSER: &str = "\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r
Accept-Encoding: gzip, deflate, br, zstd\r
Connection: keep-alive\r
Cookie: session=0b6e1c9a4f7d2e85; theme=light; consent=yes\r
Upgrade-Insecure-Requests: 1\r
Sec-Fetch-Dest: document\r
Sec-Fetch-Mode: navigate\r
Sec-Fetch-Site: none\r
Priority: u=0, i\r
";

/// The field that differs in each request, and how many digits it has.
const NUMBERED: &str = "X-Request-Id: ";
const NUMBER_LEN: usize = 16;

/// A request, as options of the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Request {
    /// Path and query.
    #[arg(long, default_value = "/")]
    pub path: String,

    /// POST a body of so many bytes.
    #[arg(long, value_name = "BYTES")]
    pub body: Option<usize>,

    /// The header fields that a browser sends.
    #[arg(long)]
    pub browser: bool,

    /// A header field that differs in each request, as proxies number them: a server can reuse nothing it read before.
    #[arg(long)]
    pub fresh: bool,

    /// More header fields, of some 30 bytes each.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub fields: usize,

    /// A new connection for each request.
    #[arg(long)]
    pub close: bool,
}

impl Request {
    /// The simplest one.
    pub fn hello() -> Self {
        Self { path: "/".into(), ..Self::default() }
    }

    /// As it goes over the wire.
    pub fn bytes(&self, to: SocketAddr) -> Vec<u8> {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {to}\r\n", self.path);
        if self.browser {
            head += BROWSER;
        }
        for field in 0..self.fields {
            head += &format!("X-Field-{field:03}: value {field:09}\r\n");
        }
        if self.fresh {
            head += NUMBERED;
            head += &"0".repeat(NUMBER_LEN);
            head += "\r\n";
        }
        if let Some(len) = self.body {
            head += &format!("Content-Length: {len}\r\n");
        }
        // The last field: the yardstick looks for it there.
        if self.close {
            head += "Connection: close\r\n";
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.resize(bytes.len() + self.body.unwrap_or(0), b'x');
        bytes
    }
}

/// Writes the numbers into a batch of requests that differ.
#[derive(Debug)]
pub struct Numbers {
    /// Where they are in the batch.
    places: Vec<usize>,
    last: u64,
}

impl Numbers {
    /// None in a batch whose requests are all the same.
    pub fn of(batch: &[u8]) -> Self {
        let starts =
            batch.windows(NUMBERED.len()).enumerate().filter(|(_, window)| *window == NUMBERED.as_bytes());
        Self { places: starts.map(|(at, _)| at + NUMBERED.len()).collect(), last: 0 }
    }

    /// Numbers the requests of a batch, each by one more than the last.
    pub fn renew(&mut self, batch: &mut [u8]) {
        for place in &self.places {
            self.last += 1;
            let digits = batch[*place..][..NUMBER_LEN].iter_mut().rev();
            for (index, digit) in digits.enumerate() {
                *digit = b"0123456789abcdef"[(self.last >> (4 * index)) as usize % 16];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fresh_request_has_a_number_of_its_own() {
        let to = "127.0.0.1:8000".parse().unwrap();
        let mut batch = Request { fresh: true, close: true, ..Request::hello() }.bytes(to).repeat(2);
        let mut numbers = Numbers { last: 14, ..Numbers::of(&batch) };
        for expected in [["000000000000000f", "0000000000000010"], ["0000000000000011", "0000000000000012"]] {
            numbers.renew(&mut batch);
            let request = |number| {
                format!("GET / HTTP/1.1\r\nHost: {to}\r\nX-Request-Id: {number}\r\nConnection: close\r\n\r\n")
            };
            assert_eq!(String::from_utf8_lossy(&batch), expected.map(request).concat());
        }
    }

    #[test]
    fn others_are_left_as_they_are() {
        let mut batch = Request::hello().bytes("127.0.0.1:8000".parse().unwrap());
        let before = batch.clone();
        Numbers::of(&batch).renew(&mut batch);
        assert_eq!(batch, before);
    }
}

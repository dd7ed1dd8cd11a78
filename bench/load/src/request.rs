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

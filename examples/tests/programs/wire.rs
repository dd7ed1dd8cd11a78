//! Just enough HTTP to see what a server sends.

use std::io::{Read, Write};

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Field lines as sent, without the status line.
    fields: Vec<(String, String)>,
    /// What came after the head, up to the end of the connection.
    pub(crate) rest: Vec<u8>,
}

impl Answer {
    /// The value of a field, by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The body, out of its chunks if it has any; panics if it is not complete.
    pub(crate) fn body(&self) -> String {
        let bytes = match self.field("transfer-encoding") {
            Some(coding) => {
                assert_eq!(coding, "chunked");
                dechunk(&self.rest)
            }
            None => {
                if let Some(len) = self.field("content-length") {
                    assert_eq!(len, self.rest.len().to_string(), "the body is as long as declared");
                }
                self.rest.clone()
            }
        };
        String::from_utf8(bytes).unwrap()
    }
}

/// Sends a request that asks for the connection to be closed, and reads all that comes.
pub(crate) fn ask(stream: impl Read + Write, request: &str) -> Answer {
    let (line, rest) = request.split_once("\r\n").unwrap_or((request, "\r\n"));
    converse(stream, &format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{rest}"))
}

/// GET of a target.
pub(crate) fn get(stream: impl Read + Write, target: &str) -> Answer {
    ask(stream, &format!("GET {target}"))
}

/// Sends bytes, and reads the one answer that ends the connection.
pub(crate) fn converse(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(stream)
}

/// Reads to the end of the connection, interim heads left out.
pub(crate) fn read_answer(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    loop {
        let answer = parse(&bytes);
        if answer.status >= 200 {
            return answer;
        }
        bytes = answer.rest;
    }
}

/// Reads one head, byte by byte so that what follows stays on the connection.
pub(crate) fn read_head(mut stream: impl Read) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    parse(&head)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Answer { status, fields: fields.collect(), rest: bytes[end + 4..].to_vec() }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        if size == 0 {
            assert!(bytes.ends_with(b"\r\n"), "the end of the last chunk");
            return body;
        }
        body.extend(&bytes[..size]);
        assert_eq!(&bytes[size..size + 2], b"\r\n", "the end of a chunk");
        bytes = &bytes[size + 2..];
    }
}

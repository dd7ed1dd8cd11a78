//! A client as strict as RFC 9112 allows, which shares no code with the crate but the parser of fields.

/// One response, as it was on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Names and values in their order.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    pub(crate) end: End,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By its own framing.
    Whole,
    /// With the connection, as its framing had it.
    Closed,
    /// With the connection, before its framing had it.
    Cut,
    /// In something that is not HTTP.
    Tunnel,
}

/// What a client must remember of its request to know where the response ends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) head: bool,
    pub(crate) connect: bool,
}

impl Answer {
    /// Reads one response from the front of `wire`, which holds all that came before the connection closed.
    /// Panics where a strict client would give up.
    pub(crate) fn read(wire: &mut &[u8], asked: Asked) -> Answer {
        let line_end = find(wire, b"\r\n").expect("a status line");
        let (status, reason) = status_line(&wire[..line_end]);
        let head_end = find(wire, b"\r\n\r\n").expect("a whole head") + 4;
        let fields = fields(&wire[line_end + 2..head_end]);
        *wire = &wire[head_end..];
        let mut answer =
            Answer { status, reason, fields, body: Vec::new(), trailers: Vec::new(), end: End::Whole };

        // RFC 9112 section 6.3, in the order of its rules.
        let codings = answer.all("transfer-encoding");
        let lengths = answer.all("content-length");
        assert!(codings.is_empty() || lengths.is_empty(), "two framings");
        if status == 101 || (asked.connect && (200..300).contains(&status)) {
            assert!(codings.is_empty() && lengths.is_empty(), "a framed tunnel");
            answer.end = End::Tunnel;
        } else if status < 200 || status == 204 {
            assert!(codings.is_empty() && lengths.is_empty(), "a framed {status}");
        } else if status == 304 || asked.head {
            assert!(lengths.len() <= 1, "lengths {lengths:?}");
        } else if !codings.is_empty() {
            assert_eq!(codings, [b"chunked"], "codings");
            answer.read_chunks(wire);
        } else if !lengths.is_empty() {
            assert_eq!(lengths.len(), 1, "lengths");
            assert!(lengths[0].iter().all(u8::is_ascii_digit), "a length");
            let length: u64 = std::str::from_utf8(lengths[0]).unwrap().parse().expect("a length");
            answer.take(wire, length);
        } else {
            answer.body.extend_from_slice(wire);
            *wire = b"";
            answer.end = End::Closed;
        }
        answer
    }

    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|field| field.0 == name);
        named.map(|field| &field.1[..]).collect()
    }

    /// RFC 9112 section 7.1. A size has no sign, no prefix, no leading zero and no extension: this server
    /// has no use for them. A response that is cut is cut between chunks.
    fn read_chunks(&mut self, wire: &mut &[u8]) {
        while !wire.is_empty() {
            let line_end = find(wire, b"\r\n").expect("a size line");
            let line = std::str::from_utf8(&wire[..line_end]).expect("a size");
            assert!(!line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit()), "size {line:?}");
            assert!(line == "0" || !line.starts_with('0'), "size {line:?}");
            let size = u64::from_str_radix(line, 16).expect("a size");
            *wire = &wire[line_end + 2..];
            if size == 0 {
                let no_trailers = wire.starts_with(b"\r\n").then_some(2);
                let end = no_trailers.or_else(|| Some(find(wire, b"\r\n\r\n")? + 4)).expect("the last line");
                self.trailers = fields(&wire[..end]);
                *wire = &wire[end..];
                return;
            }
            self.take(wire, size);
            *wire = wire.strip_prefix(b"\r\n").expect("the end of a chunk");
        }
        self.end = End::Cut;
    }

    fn take(&mut self, wire: &mut &[u8], length: u64) {
        let there = length.min(wire.len() as u64) as usize;
        self.body.extend_from_slice(&wire[..there]);
        *wire = &wire[there..];
        if (there as u64) < length {
            self.end = End::Cut;
        }
    }
}

/// `HTTP/1.1 SP 3DIGIT SP reason`.
fn status_line(line: &[u8]) -> (u16, String) {
    let line = std::str::from_utf8(line).expect("a reason in ASCII");
    let rest = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no status line: {line:?}"));
    let (code, reason) = rest.split_once(' ').expect("a space behind the status");
    assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()), "status {code:?}");
    assert!(reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "reason {reason:?}");
    (code.parse().unwrap(), reason.to_owned())
}

/// Field lines up to the empty line that ends `section`.
fn fields(section: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = section.iter().filter(|&&byte| byte == b'\n').count();
    let ends = section.windows(2).filter(|pair| pair == b"\r\n").count();
    let returns = section.iter().filter(|&&byte| byte == b'\r').count();
    assert!(lines == ends && returns == ends, "a lone CR or LF: {}", section.escape_ascii());
    let mut room = vec![httparse::EMPTY_HEADER; lines];
    match httparse::parse_headers(section, &mut room) {
        Ok(httparse::Status::Complete((length, fields))) => {
            assert_eq!((length, fields.len()), (section.len(), lines - 1), "{}", section.escape_ascii());
            fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
        }
        outcome => panic!("{outcome:?}: {}", section.escape_ascii()),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

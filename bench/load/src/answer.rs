//! Learning once how long an answer is.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};

/// Nobody who is well takes longer for one answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection from the loopback address that is `source` after 127.0.0.1: a pair of addresses has some 28,000 ports.
pub fn connect(to: SocketAddr, source: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if source > 0 {
        let address = IpAddr::from(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source));
        // The port is chosen when both ends are known, so that only the pair has to be unique.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(address, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Asks once; the number of bytes of the whole answer, and of its body.
pub fn ask(stream: &mut TcpStream, request: &[u8]) -> io::Result<(usize, usize)> {
    stream.write_all(request)?;
    read(stream)
}

/// The same for a long request, which has to be written while the answer is read: that may be the same body.
pub fn ask_at_length(stream: &mut TcpStream, request: &[u8]) -> io::Result<(usize, usize)> {
    let mut writer = stream.try_clone()?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || writer.write_all(request));
        let lengths = read(stream)?;
        writing.join().expect("writing does not panic")?;
        Ok(lengths)
    })
}

fn read(stream: &mut TcpStream) -> io::Result<(usize, usize)> {
    let (mut answer, mut input) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = stream.read(&mut input).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::other(format!("no answer within {PATIENCE:?}")),
            _ => error,
        });
        match read? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => answer.extend_from_slice(&input[..len]),
        }
        if let Some(lengths) = lengths(&answer)? {
            return Ok(lengths);
        }
    }
}

/// The lengths of an answer and of its body, once it is whole.
fn lengths(answer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head_len) = line_end(answer, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..head_len]).to_ascii_lowercase();
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("the server answered \"{status}\"")));
    }
    let field = |name| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = field("content-length:") {
        let len: usize = length.parse().map_err(io::Error::other)?;
        return Ok((answer.len() >= head_len + len).then_some((head_len + len, len)));
    }
    let (mut at, mut body_len) = (head_len, 0);
    while let Some(line) = line_end(&answer[at..], b"\r\n") {
        let digits = String::from_utf8_lossy(&answer[at..at + line - 2]);
        let len = usize::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
        at += line + len + 2;
        body_len += len;
        if len == 0 {
            return Ok((answer.len() >= at).then_some((at, body_len)));
        }
        if at > answer.len() {
            break;
        }
    }
    Ok(None)
}

fn line_end(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|window| window == end).map(|at| at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1";
        assert_eq!(lengths(sized).unwrap(), Some((40, 2)));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(lengths(chunked).unwrap(), Some((chunked.len(), 2)));
    }

    #[test]
    fn an_answer_cut_anywhere_is_not_whole() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ] {
            for len in 0..answer.len() {
                assert_eq!(lengths(&answer[..len]).unwrap(), None, "of {len} bytes");
            }
        }
    }

    #[test]
    fn a_refusal_is_no_answer() {
        let error = lengths(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap_err();
        assert!(error.to_string().contains("404"), "{error}");
    }
}

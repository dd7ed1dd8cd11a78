//! Plays the rounds of a workload: sends, and waits for the whole answer, so that every run is the same to the server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use crate::{Result, workload::Exchange};

/// Long for a server that is made some fifty times slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays so many rounds with the server at that port.
pub fn play(exchange: &Exchange, rounds: u64, port: u16) -> Result<()> {
    let request = exchange.request();
    let mut buffer = vec![0; 1 << 20];
    let mut kept = None;
    for _ in 0..rounds {
        let stream = match &mut kept {
            Some(stream) => stream,
            None => kept.insert(connect(port)?),
        };
        stream.write_all(&request)?;
        if exchange.closes {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            if answer_len(&answer)? != Some(answer.len()) {
                return Err(format!("an answer was cut short: {}", answer.escape_ascii()).into());
            }
            kept = None;
        } else {
            read_answers(stream, exchange.depth, &mut buffer)?;
        }
    }
    Ok(())
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_answers(stream: &mut TcpStream, number: u64, buffer: &mut Vec<u8>) -> Result<()> {
    let mut filled = 0;
    for _ in 0..number {
        let len = loop {
            if let Some(len) = answer_len(&buffer[..filled])? {
                break len;
            }
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Err("the server has closed the connection".into()),
                read => filled += read,
            }
        };
        buffer.copy_within(len..filled, 0);
        filled -= len;
    }
    Ok(())
}

/// How long the first answer in `bytes` is, if it is all there. A chunked one must be the last.
fn answer_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head_len) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_len])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("an answer that nobody asked for: {head}").into());
    }
    let len = match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => head_len + length.parse::<usize>()?,
        None if bytes.ends_with(b"\r\n0\r\n\r\n") => bytes.len(),
        None => return Ok(None),
    };
    Ok((len <= bytes.len()).then_some(len))
}

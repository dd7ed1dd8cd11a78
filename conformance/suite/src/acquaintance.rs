//! What can be found out about a server of which only the address is known.

use std::net::SocketAddr;

use serde_json::Value;

use crate::{Client, Failure, Response, transcript::Transcript};

/// How a server behaves towards plain requests, which decides what can be judged of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acquaintance {
    /// What it calls itself in the field Server.
    pub server: Option<String>,
    /// The status of its answer to `GET /`.
    pub status: u16,
    /// Whether `GET /` is answered with a description of the request, as the probe routes ask.
    pub describes: bool,
    /// Whether it answers a second request on the same connection.
    pub keeps_alive: bool,
    /// Whether it answers two requests that came in one segment.
    pub pipelines: bool,
}

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: varvel.test\r\n\r\n";

impl Acquaintance {
    /// Sends some plain requests.
    ///
    /// # Errors
    /// If the first of them is not answered.
    pub fn make(address: SocketAddr) -> Result<Self, Failure> {
        let mut client = Client::connect(address, Transcript::new(1))?;
        client.send(PLAIN)?;
        let response = client.response()?;
        Ok(Self {
            server: response.head.one("server").map(str::to_owned),
            status: response.status(),
            describes: is_description(&response),
            keeps_alive: client.send(PLAIN).and_then(|()| client.response()).is_ok(),
            pipelines: two_at_once(address).is_ok(),
        })
    }
}

fn is_description(response: &Response) -> bool {
    let described: Option<Value> = serde_json::from_slice(&response.body).ok();
    described.is_some_and(|value| value["method"] == "GET" && value["headers"].is_array())
}

fn two_at_once(address: SocketAddr) -> Result<(Response, Response), Failure> {
    let mut client = Client::connect(address, Transcript::new(1))?;
    client.send([PLAIN, PLAIN].concat())?;
    Ok((client.response()?, client.response()?))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// A server that answers each of its connections with these bytes, as often as it reads something.
    fn canned(answer: &'static str, answers: usize) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for _ in 0..answers {
                    let read = stream.read(&mut [0; 1024]).unwrap_or(0);
                    if read == 0 || stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[test]
    fn a_server_that_closes_and_describes_nothing_is_known_as_such() {
        let address = canned(
            "HTTP/1.1 404 Not Found\r\nServer: x/1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            1,
        );
        let known = Acquaintance::make(address).unwrap();
        let expected = Acquaintance {
            server: Some("x/1".to_owned()),
            status: 404,
            describes: false,
            keeps_alive: false,
            pipelines: false,
        };
        assert_eq!(known, expected);
    }

    #[test]
    fn what_speaks_no_http_is_an_error() {
        let failure = Acquaintance::make(canned("220 smtp.test ESMTP\r\n\r\n", 1)).unwrap_err();
        assert!(failure.expected.contains("a status line"), "{failure}");
    }
}

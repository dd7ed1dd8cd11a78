//! What can be found out about a server of which only the address is known.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;

use crate::{Client, Failure, Response, corpus::ROUTES, transcript::Transcript};

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
    /// Which of the [routes](ROUTES) that do something particular it serves.
    pub routes: Vec<&'static str>,
    /// Whether it reads the body of a request before it answers.
    pub reads_bodies: bool,
    /// Whether it answers a second request on the same connection.
    pub keeps_alive: bool,
    /// Whether it answers two requests that came in one segment.
    pub pipelines: bool,
    /// Whether it answers a good request although something that is none stands behind it in the same segment.
    pub answers_ahead_of_noise: bool,
    /// Whether it answers a request with `Connection: close` although another one stands behind it in the same segment.
    pub answers_ahead_of_more: bool,
}

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: varvel.test\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: varvel.test\r\nConnection: close\r\n\r\n";
const NOISE: &str = "@ @ @\r\n\r\n";

impl Acquaintance {
    /// Sends some plain requests, each of which is given so much time. Without pipelining, what is to be found out about it
    /// counts as not so.
    ///
    /// # Errors
    /// If the first of them is not answered.
    pub fn make(address: SocketAddr, limit: Duration, pipelining: bool) -> Result<Self, Failure> {
        let connect = || Client::connect_within(limit, address, Transcript::new(1));
        let mut client = connect()?;
        client.send(PLAIN)?;
        let response = client.response()?;
        let status = response.status();
        // Sends both in one segment, and reads the first answer.
        let at_once = |both: [&str; 2]| {
            if !pipelining {
                return Err(Failure::does_not_apply("no pipelining"));
            }
            let mut client = connect()?;
            client.send(both.concat())?;
            Ok::<_, Failure>((client.response()?, client))
        };
        let answers = |both| at_once(both).is_ok_and(|(first, _)| first.status() == status);
        let describes = is_description(&response);
        let serves = |route: &&str| describes && connect().is_ok_and(|client| serves(client, route));
        Ok(Self {
            server: response.head.one("server").map(str::to_owned),
            status,
            describes,
            routes: ROUTES.into_iter().filter(serves).collect(),
            reads_bodies: connect().is_ok_and(reads_bodies),
            keeps_alive: client.send(PLAIN).and_then(|()| client.response()).is_ok(),
            pipelines: at_once([PLAIN, PLAIN]).and_then(|(_, mut client)| client.response()).is_ok(),
            answers_ahead_of_noise: answers([PLAIN, NOISE]),
            answers_ahead_of_more: answers([LAST, PLAIN]),
        })
    }
}

fn is_description(response: &Response) -> bool {
    let described: Option<Value> = serde_json::from_slice(&response.body).ok();
    described.is_some_and(|value| value["method"] == "GET" && value["headers"].is_array())
}

/// Whether the answer waits for the body.
fn reads_bodies(mut client: Client) -> bool {
    let head = "POST / HTTP/1.1\r\nHost: varvel.test\r\nContent-Length: 5\r\n\r\n";
    let waits = client.send(head).and_then(|()| client.silent());
    waits.and_then(|()| client.send("hello")).and_then(|()| client.response()).is_ok()
}

/// Whether a route does something else than to describe the request, as any other path does.
fn serves(mut client: Client, route: &str) -> bool {
    let argument = match route {
        // Waits, and describes then.
        "slow" => return true,
        // Might be the end of the server. Whoever serves the one serves the other.
        "panic" => return serves(client, "length-short"),
        "nobody" | "status" | "stream" => "/201",
        "steps" => "?body",
        _ => "",
    };
    let request = format!("GET /{route}{argument} HTTP/1.1\r\nHost: varvel.test\r\n\r\n");
    let head = client.send(request).and_then(|()| client.head());
    head.is_ok_and(|head| head.status != 404 && head.one("content-type") != Some("application/json"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;
    use crate::LIMIT;

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
        let known = Acquaintance::make(address, LIMIT, true).unwrap();
        let expected = Acquaintance {
            server: Some("x/1".to_owned()),
            status: 404,
            describes: false,
            routes: Vec::new(),
            reads_bodies: false,
            keeps_alive: false,
            pipelines: false,
            answers_ahead_of_noise: true,
            answers_ahead_of_more: true,
        };
        assert_eq!(known, expected);
    }

    #[test]
    fn what_speaks_no_http_is_an_error() {
        let failure = Acquaintance::make(canned("220 smtp.test ESMTP\r\n\r\n", 1), LIMIT, true).unwrap_err();
        assert!(failure.expected.contains("a status line"), "{failure}");
    }
}

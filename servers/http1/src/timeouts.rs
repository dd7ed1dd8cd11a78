//! Every bound on time: a name, a unit, a default, a precedent and a consequence each.
//!
//! All are on by default, and `Duration::MAX` turns one off. How they are counted is told at
//! [`Deadline`](crate::Deadline).

use std::time::Duration;

/// Bounds on how long a peer may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its end; for the first head, from the start of the connection.
    ///
    /// It is one total, so a byte now and then renews nothing. Default 30 s (Kestrel 30 s, Apache 20 to 40 s,
    /// nginx 60 s). Beyond: 408, or a silent close if not one byte has come.
    pub head_timeout: Duration,

    /// For the first byte of one more request once the server is stopping, from the start of the connection or the end of
    /// its last exchange.
    ///
    /// Who was accepted or answered before anybody could know of the stop may have a request on its way that no other
    /// server will see. So a young connection, and a busy one, are given this time, in which a client that is at work sends
    /// its next request and is told by the answer to go elsewhere; one that is idle for longer is given none. Default 1 s: the
    /// way around the world, and one packet that was lost. (nginx has `keepalive_min_timeout` for this, off.) Beyond: a silent close.
    pub parting_timeout: Duration,

    /// Between the end of an exchange and the first byte of the next request.
    ///
    /// Default 75 s (nginx `keepalive_timeout`). Beyond: a silent close.
    pub keep_alive_timeout: Duration,

    /// Without a byte of the request body while the server waits for one.
    ///
    /// Default 30 s (nginx, Apache: 20 to 60 s). Beyond: [`BodyFault::Timeout`](crate::BodyFault), 408 if
    /// nothing was answered yet.
    pub body_timeout: Duration,

    /// Least bytes per second of a request body, counted over the time spent waiting for it; 0 turns it off.
    ///
    /// A sender may always be `body_timeout` behind this pace. Without it one byte every 29 seconds would
    /// hold a worker for ever. Default 240 (Kestrel `MinRequestBodyDataRate`). Beyond: as `body_timeout`.
    pub body_rate_min: u32,

    /// Without the peer taking a byte while output waits for it.
    ///
    /// Default 30 s (nginx `send_timeout` 60 s). Beyond: the connection closes.
    pub write_timeout: Duration,

    /// Least bytes per second taken by the peer, counted over the time output waits for it; 0 turns it off.
    ///
    /// A reader may always be `write_timeout` behind this pace. Default 240 (Kestrel `MinResponseDataRate`).
    /// Beyond: the connection closes.
    pub write_rate_min: u32,

    /// For reading and dropping the rest of a request body that nobody wanted, in total.
    ///
    /// Default 5 s (Kestrel 5 s). Beyond: the connection closes.
    pub discard_timeout: Duration,

    /// For the peer to close its side after a response that ends the connection while it is still sending.
    ///
    /// Default 5 s (nginx `lingering_timeout`). Beyond: the connection closes, and the peer may lose the end
    /// of the response.
    pub linger_timeout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            head_timeout: Duration::from_secs(30),
            parting_timeout: Duration::from_secs(1),
            keep_alive_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_rate_min: 240,
            write_timeout: Duration::from_secs(30),
            write_rate_min: 240,
            discard_timeout: Duration::from_secs(5),
            linger_timeout: Duration::from_secs(5),
        }
    }
}

//! The state machine of a connection, as a table.
//!
//! # Theory
//!
//! An HTTP/1.1 connection is a sequence of exchanges, and an exchange has two sides that move on their own:
//! the request is *received* while the response is *sent*. A response may be complete before its request is
//! (an early error), and it may begin before (an echo). So there are two small machines and not one large
//! one:
//!
//! ```text
//!            HeadWithBody            BodyEnd
//!   Head ------------------> Body ------------> Complete      receiving
//!    |  HeadAlone                                ^   |
//!    +-------------------------------------------+   |  NextExchange: both sides start again,
//!                                                    |  only when both are complete
//!           a request head         ResponseHead      v    ResponseEnd
//!   Idle --------------------> Head -----------> Body -----------------> Complete      sending
//! ```
//!
//! Three rules tie them together:
//!
//! 1. The sending side leaves `Idle` by the event that takes the receiving side out of `Head`. So there is
//!    never a response without a request, and the next head is not looked at before the last response is
//!    complete: pipelined requests wait in the caller's buffer.
//! 2. `Broken` is final. Receiving breaks by a fault of the peer; an answer may still be sent, so sending
//!    goes on. Sending breaks when a response can not be completed or the caller gives up, and takes
//!    receiving with it. Nothing leaves `Broken`, so a failed connection stays failed.
//! 3. `Tunnel` is final too: from there on the bytes are not HTTP.
//!
//! Whether the connection *may* go on after an exchange is not a state but a reason kept beside it
//! ([`CloseReason`](crate::CloseReason)), because it is found at many points and acted on at one.
//!
//! An event that is not in the table is the caller's mistake, or comes too late to matter. It changes
//! nothing; what the caller is told is documented at each method of [`Connection`](crate::Connection).

/// Both sides of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) receiving: Receiving,
    pub(crate) sending: Sending,
}

/// What the peer's next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// A request head.
    Head,
    /// Part of the request body.
    Body,
    /// The next request, which has to wait.
    Complete,
    /// Nothing that will be looked at.
    Broken,
    /// Not HTTP.
    Tunnel,
}

/// What may be sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// A refusal, since no request was received.
    Idle,
    /// Interim responses, or the final head.
    Head,
    /// Part of the response body, or its end.
    Body,
    /// Nothing until the next exchange.
    Complete,
    /// Nothing.
    Broken,
    /// What is not HTTP.
    Tunnel,
}

/// What moves the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request head was received, and a body will follow.
    HeadWithBody,
    /// A request head was received that is the whole request.
    HeadAlone,
    /// The request body was received to its end.
    BodyEnd,
    /// The peer broke the protocol, a limit or a deadline.
    RequestFault,
    /// A final response head was written.
    ResponseHead,
    /// The response is complete.
    ResponseEnd,
    /// A whole response was written by which the connection ends.
    RefusalSent,
    /// The head that makes the connection a tunnel was written.
    Upgrade,
    /// The exchange is over and another may begin.
    NextExchange,
    /// The connection is given up.
    Abort,
}

impl State {
    pub(crate) const START: State = State { receiving: Receiving::Head, sending: Sending::Idle };

    /// The table. `None`: the event has no place in this state.
    pub(crate) fn after(self, event: Event) -> Option<State> {
        use {Event as E, Receiving as R, Sending as S};
        let (receiving, sending) = match (event, self.receiving, self.sending) {
            //                  from                      to
            (E::HeadWithBody, R::Head, S::Idle) => (R::Body, S::Head),
            (E::HeadAlone, R::Head, S::Idle) => (R::Complete, S::Head),

            (E::BodyEnd, R::Body, sending) => (R::Complete, sending),
            (E::RequestFault, R::Head | R::Body, sending) => (R::Broken, sending),

            (E::ResponseHead, receiving, S::Head) => (receiving, S::Body),
            (E::ResponseEnd, receiving, S::Body) => (receiving, S::Complete),
            (E::RefusalSent, _, S::Idle | S::Head) => (R::Broken, S::Complete),

            (E::Upgrade, R::Complete, S::Head) => (R::Tunnel, S::Tunnel),
            (E::NextExchange, R::Complete, S::Complete) => (R::Head, S::Idle),
            (E::Abort, _, _) => (R::Broken, S::Broken),
            _ => return None,
        };
        Some(State { receiving, sending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 10] = [
        Event::HeadWithBody,
        Event::HeadAlone,
        Event::BodyEnd,
        Event::RequestFault,
        Event::ResponseHead,
        Event::ResponseEnd,
        Event::RefusalSent,
        Event::Upgrade,
        Event::NextExchange,
        Event::Abort,
    ];

    /// All states that can be reached, found by walking the table.
    fn reachable() -> Vec<State> {
        let mut states = vec![State::START];
        let mut at = 0;
        while at < states.len() {
            let state = states[at];
            for next in EVENTS.into_iter().filter_map(|event| state.after(event)) {
                if !states.contains(&next) {
                    states.push(next);
                }
            }
            at += 1;
        }
        states
    }

    #[test]
    fn a_response_needs_a_request() {
        for state in reachable() {
            if state.receiving == Receiving::Head {
                assert_eq!(state.sending, Sending::Idle, "{state:?}");
            }
        }
    }

    #[test]
    fn nothing_leaves_a_broken_side_or_a_tunnel() {
        for state in reachable() {
            for next in EVENTS.into_iter().filter_map(|event| state.after(event)) {
                if state.receiving == Receiving::Broken {
                    assert_eq!(next.receiving, Receiving::Broken, "{state:?} -> {next:?}");
                }
                if state.sending == Sending::Broken {
                    assert_eq!(next, state);
                }
                if state.receiving == Receiving::Tunnel {
                    assert!(
                        matches!(next.receiving, Receiving::Tunnel | Receiving::Broken),
                        "{state:?} -> {next:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_new_exchange_needs_two_complete_sides() {
        for state in reachable() {
            let next = state.after(Event::NextExchange);
            let both = state.receiving == Receiving::Complete && state.sending == Sending::Complete;
            assert_eq!(next, both.then_some(State::START), "{state:?}");
        }
    }

    #[test]
    fn only_complete_requests_become_tunnels() {
        for state in reachable() {
            assert_eq!(
                state.after(Event::Upgrade).is_some(),
                state.receiving == Receiving::Complete && state.sending == Sending::Head,
                "{state:?}"
            );
        }
    }
}

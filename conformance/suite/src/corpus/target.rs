//! A server that is known by its address alone.

use std::{net::SocketAddr, time::Duration};

use super::{Delivery, Examined, Vector};
use crate::{LIMIT, Outcome, Verdict, transcript::Transcript};

/// Any HTTP server at an address, whatever it is written in.
///
/// What the application saw is known as far as the answers of the [routes](crate::probe) tell it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub(super) address: SocketAddr,
    /// Whether it serves the routes. Of others only framing and refusals are judged.
    pub(super) routes: bool,
    /// The deliveries that are left out.
    pub(super) without: [bool; Delivery::ALL.len()],
    pub(super) limit: Duration,
}

impl Target {
    /// A server that serves the routes.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, routes: true, without: [false; Delivery::ALL.len()], limit: LIMIT }
    }

    /// A server that does not: whichever status it has for a request that it understood counts as 200, what is said of
    /// bodies and of the application is passed over, and vectors that are about a particular route do not apply.
    #[must_use]
    pub const fn without_routes(mut self) -> Self {
        self.routes = false;
        self
    }

    /// Leaves out a delivery. Default: vectors are run in all that suit them.
    #[must_use]
    pub const fn without_delivery(mut self, delivery: Delivery) -> Self {
        self.without[delivery as usize] = true;
        self
    }

    /// How long anything that must happen may take. Default: [`LIMIT`].
    #[must_use]
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it answers a plain request.
    ///
    /// # Errors
    /// If it does not.
    pub fn still_serves(&self) -> Verdict {
        Examined { target: *self, running: None }.still_serves(&Transcript::new(1))
    }

    /// Runs a vector in all its deliveries.
    pub fn examine(&self, vector: &Vector) -> Outcome {
        if !vector.settings.is_empty() {
            return Outcome::DoesNotApply("the server cannot be set from here".to_owned());
        }
        if !self.routes && vector.routes().next().is_some() {
            return Outcome::DoesNotApply("the server does not serve the routes".to_owned());
        }
        Examined { target: *self, running: None }.examine(vector)
    }
}

//! A server that is known by its address alone.

use std::net::SocketAddr;

use super::{Examined, Vector};
use crate::Outcome;

/// Any HTTP server at an address, whatever it is written in.
///
/// What the application saw is known as far as the answers of the [routes](crate::probe) tell it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    address: SocketAddr,
    routes: bool,
}

impl Target {
    /// A server that serves the routes.
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, routes: true }
    }

    /// A server that does not: whichever status it has for a request that it understood counts as 200, what is said of
    /// bodies and of the application is passed over, and vectors that are about a particular route do not apply.
    #[must_use]
    pub const fn without_routes(mut self) -> Self {
        self.routes = false;
        self
    }

    /// Runs a vector in all its deliveries.
    pub fn examine(&self, vector: &Vector) -> Outcome {
        if !vector.settings.is_empty() {
            return Outcome::DoesNotApply("the server cannot be set from here".to_owned());
        }
        if !self.routes && vector.needs_routes() {
            return Outcome::DoesNotApply("the server does not serve the routes".to_owned());
        }
        Examined { address: self.address, running: None, routes: self.routes }.examine(vector)
    }
}

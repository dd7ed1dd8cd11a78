//! The listening sockets of the workers: one that all of them accept from, or one for each.
//!
//! The supervisor keeps them open, so a client that waits in a queue while its worker dies is served by the next. With a
//! socket for each worker it belongs to a place, not to a process: whoever is forked for the place accepts from the same one,
//! and it closes only when there shall be fewer workers.

use varvel::{Listener, ServeError};
use varvel_server_kit::{
    listener::{BindAddress, BindError, BindOptions, Listener as Socket, SocketFile},
    reuse_port::Membership,
};

/// The sockets that workers accept from.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where they listen, with the ports that the system chose.
    addresses: Vec<BindAddress>,
    shared: Vec<Listener>,
    own: Own,
    /// Removed by the process that made them, when the sockets are closed.
    _files: Vec<SocketFile>,
}

/// Those of each worker alone.
#[derive(Debug, Default)]
struct Own {
    addresses: Vec<BindAddress>,
    options: BindOptions,
    places: Vec<Vec<Socket>>,
}

/// What one worker accepts from.
pub(crate) struct Share {
    pub(crate) listeners: Vec<Listener>,
    /// To be given up before they close, if they are to close.
    pub(crate) memberships: Vec<Membership>,
}

impl Sockets {
    /// All workers accept from these: whoever has time takes a client, so nobody waits while a worker is free.
    pub fn shared(listeners: Vec<Listener>) -> Self {
        Self { shared: listeners, ..Self::default() }
    }

    /// Listens at these addresses. With [`reuse_port`](BindOptions::reuse_port) each worker gets TCP sockets of its own, and
    /// the kernel deals clients out by chance: no worker is woken in vain, but a client can wait for a busy one while another
    /// is free.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub fn bind(addresses: &[BindAddress], options: &BindOptions) -> Result<Self, BindError> {
        let mut sockets = Self { own: Own { options: options.clone(), ..Own::default() }, ..Self::default() };
        let mut first = Vec::new();
        for address in addresses {
            let socket = Socket::bind(address, options)?;
            sockets.addresses.push(socket.address().clone());
            let is_tcp = socket.socket_addr().is_some() && !matches!(address, BindAddress::Fd(_));
            if options.reuse_port && is_tcp {
                sockets.own.addresses.push(at_its_port(address, &socket));
                first.push(socket);
            } else {
                let (listener, file) = socket.into_parts();
                sockets.shared.push(listener);
                sockets._files.extend(file);
            }
        }
        sockets.own.places.push(first);
        Ok(sockets)
    }

    /// Where they listen, with the ports that the system chose.
    pub fn addresses(&self) -> &[BindAddress] {
        &self.addresses
    }

    /// Binds what a place lacks.
    pub(crate) fn provide(&mut self, place: usize) -> Result<(), BindError> {
        let Own { addresses, options, places } = &mut self.own;
        while places.len() <= place {
            places.push(bind(addresses, options)?);
        }
        Ok(())
    }

    /// Takes the sockets of places that there shall not be any more. Those who accept from them have them still.
    pub(crate) fn shrink(&mut self, places_left: usize) -> Vec<Retired> {
        let places = &mut self.own.places;
        let first = places_left.min(places.len());
        let gone = places.drain(first..).enumerate();
        gone.map(|(step, sockets)| Retired { place: first + step, sockets }).collect()
    }

    /// In a worker: what it accepts from. All others close.
    pub(crate) fn into_share(mut self, place: usize) -> Result<Share, ServeError> {
        let mut share = Share { listeners: self.shared, memberships: Vec::new() };
        let own = if place < self.own.places.len() { self.own.places.swap_remove(place) } else { Vec::new() };
        for socket in own {
            share.memberships.extend(socket.membership().map_err(ServeError::io("share a listener"))?);
            share.listeners.push(socket.into_parts().0);
        }
        Ok(share)
    }
}

/// The sockets of a place that is given up. They stay open until who accepts from them has emptied their queue.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) place: usize,
    pub(crate) sockets: Vec<Socket>,
}

fn bind(addresses: &[BindAddress], options: &BindOptions) -> Result<Vec<Socket>, BindError> {
    addresses.iter().map(|address| Socket::bind(address, options)).collect()
}

/// The address once more, for another socket at the same port.
fn at_its_port(address: &BindAddress, socket: &Socket) -> BindAddress {
    match (address, socket.socket_addr()) {
        (BindAddress::TcpEverywhere(_), Some(addr)) => BindAddress::TcpEverywhere(addr.port()),
        _ => socket.address().clone(),
    }
}

//! The listening sockets of the workers: one that all of them accept from, or one for each.
//!
//! The supervisor keeps them open, so a client that waits in a queue while its worker dies is served by the next. With a
//! socket for each worker it belongs to a place, not to a process: whoever is forked for the place accepts from the same one,
//! and it closes only when there shall be fewer workers, or nobody can be forked for the place. Clients would be dealt to it
//! all the same, and wait for nobody; so those who wait already are reset, and the next ones come to others.

use varvel::{Listener, ServeError};
use varvel_server_kit::{
    listener::{BindAddress, BindError, BindOptions, Listener as Socket},
    reuse_port::Membership,
};

use crate::upgrade::{Heirloom, Heritage};

/// The sockets that workers accept from.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where they listen, with the ports that the system chose.
    addresses: Vec<BindAddress>,
    /// All workers accept from these, which somebody else has bound.
    lent: Vec<Listener>,
    /// And from these.
    shared: Vec<Shared>,
    own: Own,
    pub(crate) heritage: Heritage,
}

#[derive(Debug)]
struct Shared {
    /// Where it was to listen.
    asked: BindAddress,
    socket: Socket,
    /// Whether its file is to be taken over.
    takes_file: bool,
}

/// Those of each worker alone.
#[derive(Debug, Default)]
struct Own {
    /// Where they were to listen.
    asked: Vec<BindAddress>,
    /// The same with the ports that the system chose.
    addresses: Vec<BindAddress>,
    options: BindOptions,
    /// None at a place that nobody was forked for yet, or that was vacated.
    places: Vec<Vec<Socket>>,
}

/// What one worker accepts from.
pub(crate) struct Share {
    pub(crate) listeners: Vec<Listener>,
    /// To be given up before they close, if they are to close.
    pub(crate) memberships: Vec<Membership>,
}

impl Sockets {
    /// All workers accept from these: whoever has time takes a client, so nobody waits while a worker is free. A worker that
    /// has more connections than its share, by more than a sixteenth and one, lets the others come first for a millisecond, so
    /// a burst is dealt out and connections that stay are spread evenly.
    ///
    /// A [successor](crate::Relaunch) gets none of them: who has bound them has to pass them on.
    pub fn shared(listeners: Vec<Listener>) -> Self {
        Self { lent: listeners, ..Self::default() }
    }

    /// Listens at these addresses. With [`reuse_port`](BindOptions::reuse_port) each worker gets TCP sockets of its own, and
    /// the kernel deals clients out by chance, with 500 connections in parts that differ by a tenth or so, and with few by
    /// more: no worker is woken in vain, but a client can wait for a busy one while another is free.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub fn bind(addresses: &[BindAddress], options: &BindOptions) -> Result<Self, BindError> {
        Self::inherit(addresses, options, Heritage::default())
    }

    /// The same, with those sockets that the predecessor has at these addresses already.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub fn inherit(
        addresses: &[BindAddress],
        options: &BindOptions,
        mut heritage: Heritage,
    ) -> Result<Self, BindError> {
        let mut sockets = Self { own: Own { options: options.clone(), ..Own::default() }, ..Self::default() };
        let mut first = Vec::new();
        for asked in addresses {
            let (socket, takes_file) = match heritage.take(asked) {
                Some(Heirloom { socket, with_file, .. }) => (socket, with_file),
                None => (Socket::bind(asked, options)?, false),
            };
            sockets.addresses.push(socket.address().clone());
            let is_tcp = socket.socket_addr().is_some() && !matches!(asked, BindAddress::Fd(_));
            let asked = asked.clone();
            if options.reuse_port && is_tcp {
                sockets.own.addresses.push(at_its_port(&asked, &socket));
                sockets.own.asked.push(asked);
                first.push(socket);
            } else {
                sockets.shared.push(Shared { asked, socket, takes_file });
            }
        }
        sockets.own.places.push(first);
        sockets.heritage = heritage;
        Ok(sockets)
    }

    /// Where they listen, with the ports that the system chose.
    pub fn addresses(&self) -> &[BindAddress] {
        &self.addresses
    }

    /// Binds what a place lacks, unless the predecessor has left it.
    pub(crate) fn provide(&mut self, place: usize) -> Result<(), BindError> {
        let Own { asked, addresses, options, places } = &mut self.own;
        if places.len() <= place {
            places.resize_with(place + 1, Vec::new);
        }
        if places[place].is_empty() {
            let sockets = asked.iter().zip(&*addresses).map(|(asked, address)| {
                let left = self.heritage.take(asked).map(|heirloom| heirloom.socket);
                left.map_or_else(|| Socket::bind(address, options), Ok)
            });
            places[place] = sockets.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Closes the sockets of a place for which nobody is forked for now.
    pub(crate) fn vacate(&mut self, place: usize) {
        if let Some(sockets) = self.own.places.get_mut(place) {
            sockets.clear();
        }
    }

    /// What a successor needs: each socket with where it was to listen.
    pub(crate) fn to_pass_on(&self) -> Vec<(&Socket, &BindAddress)> {
        let own = self.own.places.iter().flat_map(|sockets| sockets.iter().zip(&self.own.asked));
        self.shared.iter().map(|shared| (&shared.socket, &shared.asked)).chain(own).collect()
    }

    /// Leaves the files of Unix sockets to a successor.
    pub(crate) fn give_up_files(&mut self) {
        self.shared.iter_mut().for_each(|shared| shared.socket.give_up_file());
    }

    /// Takes the place of the predecessor: its files become ours, and what it had and we do not want is given up, so that no
    /// client comes there any more. Then it is told.
    pub(crate) fn succeed(&mut self) {
        for shared in self.shared.iter_mut().filter(|shared| shared.takes_file) {
            // Somebody has removed the file: then there is nothing to remove.
            let _ = shared.socket.take_file();
        }
        let rest = self.heritage.take_rest();
        Membership::leave(rest.iter().filter_map(|socket| socket.membership().ok().flatten()).collect());
        drop(rest);
        self.heritage.announce();
    }

    /// Takes the sockets of places that there shall not be any more. Those who accept from them have them still.
    pub(crate) fn shrink(&mut self, places_left: usize) -> Vec<Retired> {
        let places = &mut self.own.places;
        let first = places_left.min(places.len());
        let gone = places.drain(first..).enumerate();
        gone.map(|(step, sockets)| Retired { place: first + step, sockets }).collect()
    }

    /// Closes all of them in this process. Those who accept from them have them still, and the system turns clients away once
    /// nobody has.
    pub(crate) fn close(&mut self) {
        self.lent.clear();
        self.shared.clear();
        self.own.places.clear();
    }

    /// In a worker: what it accepts from. All others close.
    pub(crate) fn into_share(mut self, place: usize) -> Result<Share, ServeError> {
        let shared = self.shared.into_iter().map(|shared| shared.socket.into_parts().0);
        let listeners = self.lent.into_iter().chain(shared).collect();
        let mut share = Share { listeners, memberships: Vec::new() };
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

/// The address once more, for another socket at the same port.
fn at_its_port(address: &BindAddress, socket: &Socket) -> BindAddress {
    match (address, socket.socket_addr()) {
        (BindAddress::TcpEverywhere(_), Some(addr)) => BindAddress::TcpEverywhere(addr.port()),
        _ => socket.address().clone(),
    }
}

//! The sockets of a program: bound before anything else, so that a wrong address is the first thing to be told.

use std::mem;

use varvel::{Control, Launch, ServeError};
use varvel_server_kit::{
    listener::{BindAddress, Listener, SocketFile},
    pid_file::PidFile,
    reuse_port::Membership,
};

use crate::{Config, Error};

/// Bound sockets, on their way to a server.
pub(crate) struct Listening {
    listeners: Vec<varvel::Listener>,
    /// Where they listen, with the ports that the system chose.
    addresses: Vec<BindAddress>,
    memberships: Vec<Membership>,
    files: Files,
}

/// The files of Unix sockets, and the one that names this process; removed when dropped, which is when the server has
/// returned.
pub(crate) struct Files {
    _sockets: Vec<SocketFile>,
    _pid: Option<PidFile>,
}

impl Listening {
    pub(crate) fn bind(config: &Config) -> Result<Self, Error> {
        let options = config.settings.bind_options();
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let mut memberships = Vec::new();
        let mut files = Vec::new();
        for address in &config.settings.bind {
            let listener = Listener::bind(address, &options)?;
            addresses.push(listener.address().clone());
            memberships.extend(listener.membership().map_err(ServeError::io("share a listener"))?);
            let (listener, file) = listener.into_parts();
            listeners.push(listener);
            files.extend(file);
        }
        let pid = config.settings.pid_file.as_deref().map(|path| PidFile::claim(path, None));
        let pid = pid.transpose().map_err(ServeError::io("write the PID file"))?;
        Ok(Self { listeners, addresses, memberships, files: Files { _sockets: files, _pid: pid } })
    }

    /// Where they listen, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> &[BindAddress] {
        &self.addresses
    }

    /// The ports that are shared with other processes, to be left before the stop.
    pub(crate) fn take_memberships(&mut self) -> Vec<Membership> {
        mem::take(&mut self.memberships)
    }

    pub(crate) fn launch(self, control: Control) -> (Launch, Files) {
        (Launch::new(self.listeners).with_control(control), self.files)
    }
}

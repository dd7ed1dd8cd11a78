//! The pre-fork server: worker processes, each of which runs one of the others.

use varvel::Served;
use varvel_prefork::{Sockets, Supervisor};

use crate::{Config, Deploy, Error};

/// Binds the addresses, for workers to come.
pub(crate) fn supervisor(config: &Config) -> Result<Supervisor, Error> {
    let sockets = Sockets::bind(&config.settings.bind, &config.settings.bind_options())?;
    Ok(Supervisor::new(config.settings.clone(), sockets)?)
}

/// Runs the application in worker processes until they are stopped.
pub(crate) fn supervise<K>(
    supervisor: Supervisor,
    app: impl Deploy<K>,
    config: &Config,
) -> Result<Served, Error> {
    let config = config.of_workers();
    Ok(supervisor.run(move |launch| app.deploy(&config, launch))?)
}

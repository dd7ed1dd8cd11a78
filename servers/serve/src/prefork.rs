//! The pre-fork server: worker processes, each of which runs one of the others.

use varvel::Served;
use varvel_prefork::{Heritage, Sockets, Supervisor};

use crate::{Config, Deploy, Error};

/// Binds the addresses, for workers to come, as far as there is no predecessor who listens there.
pub(crate) fn supervisor(config: &Config, heritage: Heritage) -> Result<Supervisor, Error> {
    let sockets = Sockets::inherit(&config.settings.bind, &config.settings.bind_options(), heritage)?;
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

//! What worker processes run.

use varvel::{BoxError, Launch, Served, StartError};

/// What runs in each worker process: a server of the contract with its application, or any other daemon.
///
/// A daemon of another sort takes from [`Launch`] what it needs: `listeners` are bound already; `control` says when to stop,
/// and is told when it serves; `monitor` is told that it gets on, at least once a second
/// ([`PROGRESS_INTERVAL`](varvel::PROGRESS_INTERVAL)), if a worker that hangs is to be noticed.
///
/// ```
/// use std::time::Duration;
/// use varvel::{BoxError, Launch, Served};
///
/// /// Looks for work in a queue somewhere.
/// fn consume(launch: Launch) -> Result<Served, BoxError> {
///     launch.control.announce_ready();
///     while launch.control.stop_deadline().is_none() {
///         // ... take something from the queue, for a second at most ...
///         # launch.control.stop(Duration::ZERO);
///         if let Some(monitor) = &launch.monitor {
///             monitor.progress(0);
///         }
///     }
///     Ok(Served::default())
/// }
/// # fn service(_: impl varvel_prefork::Service) {}
/// # service(consume);
/// # consume(Launch::new(Vec::new())).unwrap();
/// ```
pub trait Service {
    /// Runs in the worker's process, until `launch.control` asks for its end.
    ///
    /// # Errors
    /// Ends the process. Before it was ready, a [`StartError`] says whether it makes sense to try again (spec L2); any other
    /// error means that it does.
    fn run(self, launch: Launch) -> Result<Served, BoxError>;
}

impl<F, E> Service for F
where
    F: FnOnce(Launch) -> Result<Served, E>,
    E: Into<BoxError>,
{
    fn run(self, launch: Launch) -> Result<Served, BoxError> {
        self(launch).map_err(Into::into)
    }
}

/// Whether a service that failed with this error before it was ready may be started again.
pub(crate) fn may_retry(error: &BoxError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(start) = error.downcast_ref::<StartError>() {
            return start.may_retry();
        }
        cause = error.source();
    }
    true
}

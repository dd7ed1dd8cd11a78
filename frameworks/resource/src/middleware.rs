//! What sees every request, whatever it leads to.

use varvel::{BoxError, StartError, Worker};

use crate::{RequestHead, ResponseHead, Result};

/// A component of an [`App`](crate::App): Falcon's middleware, with its methods and their order.
///
/// ```text
///   process_request    first to last      before routing; may change method and path
///   process_resource   first to last      behind routing, where a route was found
///     hooks, responder
///   process_response   last to first      always, also behind failures
/// ```
///
/// It sees what both forms of the contract share, so one implementation serves sync and async responders alike. On an
/// event loop it runs there: it must not block. What has to wait stands around the application instead, as middleware of
/// the contract, or is a line in the responder.
///
/// An error ends the call like one of a responder; [`ResponseHead::complete`] ends it without.
///
/// ```
/// use varvel_resource::{App, Middleware, RequestHead, ResponseHead, Result, errors};
///
/// struct RequireToken;
///
/// impl Middleware for RequireToken {
///     fn process_request(&self, req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
///         match req.get_header("authorization") {
///             Some(_) => Ok(()),
///             None => Err(errors::unauthorized("A token, please.", "Bearer").into()),
///         }
///     }
/// }
///
/// let mut app = App::new();
/// app.add_middleware(RequireToken);
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Before a worker serves, where the application is given to a server as a factory.
    ///
    /// # Errors
    /// The worker does not serve.
    fn process_startup(&self, worker: &Worker) -> std::result::Result<(), StartError> {
        let _ = worker;
        Ok(())
    }

    /// Before routing.
    fn process_request(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        let _ = (req, resp);
        Ok(())
    }

    /// Behind routing, unless no route was found.
    fn process_resource(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        let _ = (req, resp);
        Ok(())
    }

    /// Before the answer is sent, also where something failed, and where another middleware ended the call.
    fn process_response(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        req_succeeded: bool,
    ) -> Result {
        let _ = (req, resp, req_succeeded);
        Ok(())
    }

    /// Behind the last call of a worker, as [`process_startup`](Self::process_startup) before the first.
    ///
    /// # Errors
    /// Are reported.
    fn process_shutdown(&self, worker: &Worker) -> std::result::Result<(), BoxError> {
        let _ = worker;
        Ok(())
    }
}

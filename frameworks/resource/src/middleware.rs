//! What sees every request, whatever it leads to.

use std::{any::type_name, future::ready, pin::Pin, sync::Arc};

use varvel::{AppError, BoxError, StartError, Worker};
use varvel_toolkit::caught;

use crate::{
    RequestHead, ResponseHead, Result,
    awaited::awaited,
    form::{AsyncForm, SyncForm},
};

/// A component of an [`App`](crate::App): Falcon's middleware, with its methods and their order.
///
/// ```text
///   process_request    first to last      before routing; may change method and path
///   process_resource   first to last      after routing, where a route was found
///     hooks, responder
///   process_response   last to first      always, also after failures and panics
/// ```
///
/// It sees what both forms of the contract share, so one implementation serves sync and async responders alike. On an
/// event loop it runs there: it must not block. What has to wait is an [`AsyncMiddleware`].
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
    /// Before a worker serves, where the application, or the one that it is [mounted](crate::App::add_app) in, is given to a
    /// server as a factory.
    ///
    /// # Errors
    /// If it fails, the worker does not serve, and those that were started up before are shut down.
    fn process_startup(&self, worker: &Worker) -> std::result::Result<(), StartError> {
        let _ = worker;
        Ok(())
    }

    /// Before routing.
    fn process_request(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        let _ = (req, resp);
        Ok(())
    }

    /// After routing, unless no route was found.
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

    /// After the last call of a worker, as [`process_startup`](Self::process_startup) before the first.
    ///
    /// # Errors
    /// They are reported, and change nothing else.
    fn process_shutdown(&self, worker: &Worker) -> std::result::Result<(), BoxError> {
        let _ = worker;
        Ok(())
    }
}

/// A component that may wait, with the methods of [`Middleware`]: for users that are looked up, or pools that are opened. In
/// Falcon it is middleware of an ASGI application.
///
/// It serves both forms, too: where threads call, the thread waits. Each of its methods costs an allocation for each request,
/// for its future, also one that is not written.
///
/// ```
/// use varvel_resource::{App, AsyncMiddleware, RequestHead, ResponseHead, Result, errors};
///
/// struct User(String);
///
/// /// Knows a user by a token.
/// struct Users;
///
/// impl Users {
///     async fn find(&self, token: &str) -> Result<Option<User>> {
///         // Asks a database, or another service.
///         Ok(token.strip_prefix("Bearer ").map(|name| User(name.to_owned())))
///     }
/// }
///
/// impl AsyncMiddleware for Users {
///     async fn process_request(&self, req: &mut RequestHead, _resp: &mut ResponseHead) -> Result {
///         let user = self.find(req.auth().unwrap_or_default()).await?;
///         let user = user.ok_or_else(|| errors::unauthorized("A token, please.", "Bearer"))?;
///         req.context.insert(user);
///         Ok(())
///     }
/// }
///
/// let mut app = App::new();
/// app.add_middleware(Users);
/// # let client = varvel_resource::testing::TestClient::new(app);
/// # assert_eq!(client.simulate_get("/").send().status(), 401);
/// # assert_eq!(client.simulate_get("/").header("authorization", "Bearer ada").send().status(), 404);
/// ```
pub trait AsyncMiddleware: Send + Sync + 'static {
    /// As [`Middleware::process_startup`].
    fn process_startup(
        &self,
        worker: &Worker,
    ) -> impl Future<Output = std::result::Result<(), StartError>> + Send {
        let _ = worker;
        ready(Ok(()))
    }

    /// As [`Middleware::process_request`].
    fn process_request(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
    ) -> impl Future<Output = Result> + Send {
        let _ = (req, resp);
        ready(Ok(()))
    }

    /// As [`Middleware::process_resource`].
    fn process_resource(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
    ) -> impl Future<Output = Result> + Send {
        let _ = (req, resp);
        ready(Ok(()))
    }

    /// As [`Middleware::process_response`].
    fn process_response(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        req_succeeded: bool,
    ) -> impl Future<Output = Result> + Send {
        let _ = (req, resp, req_succeeded);
        ready(Ok(()))
    }

    /// As [`Middleware::process_shutdown`].
    fn process_shutdown(
        &self,
        worker: &Worker,
    ) -> impl Future<Output = std::result::Result<(), BoxError>> + Send {
        let _ = worker;
        ready(Ok(()))
    }
}

/// A [`Middleware`] or an [`AsyncMiddleware`]: what [`add_middleware`](crate::App::add_middleware) takes.
///
/// `Form` tells the two apart, and is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no middleware",
    label = "implements neither `Middleware` nor `AsyncMiddleware`",
    note = "middleware of the toolkit stands around the application: `Cors::any().around(app)`"
)]
pub trait IntoMiddleware<Form> {
    #[doc(hidden)]
    fn into_component(self) -> Component;
}

impl<M: Middleware> IntoMiddleware<SyncForm> for M {
    fn into_component(self) -> Component {
        Component { type_name: type_name::<M>(), kind: Kind::Sync(Arc::new(self)) }
    }
}

impl<M: AsyncMiddleware> IntoMiddleware<AsyncForm> for M {
    fn into_component(self) -> Component {
        Component { type_name: type_name::<M>(), kind: Kind::Async(Arc::new(self)) }
    }
}

/// A component of either sort, and what it is called.
#[doc(hidden)]
#[derive(Clone)]
pub struct Component {
    pub(crate) type_name: &'static str,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Sync(Arc<dyn Middleware>),
    Async(Arc<dyn DynAsyncMiddleware>),
}

impl Component {
    pub(crate) async fn process_startup(&self, worker: &Worker) -> std::result::Result<(), StartError> {
        match &self.kind {
            Kind::Sync(middleware) => middleware.process_startup(worker),
            Kind::Async(middleware) => middleware.process_startup(worker).await,
        }
    }

    pub(crate) async fn process_request(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        match &self.kind {
            Kind::Sync(middleware) => caught(|| middleware.process_request(req, resp))?,
            Kind::Async(middleware) => awaited(|| middleware.process_request(req, resp)).await,
        }
    }

    pub(crate) async fn process_resource(&self, req: &mut RequestHead, resp: &mut ResponseHead) -> Result {
        match &self.kind {
            Kind::Sync(middleware) => caught(|| middleware.process_resource(req, resp))?,
            Kind::Async(middleware) => awaited(|| middleware.process_resource(req, resp)).await,
        }
    }

    pub(crate) async fn process_response(
        &self,
        req: &mut RequestHead,
        resp: &mut ResponseHead,
        req_succeeded: bool,
    ) -> Result {
        match &self.kind {
            Kind::Sync(middleware) => caught(|| middleware.process_response(req, resp, req_succeeded))?,
            Kind::Async(middleware) => {
                awaited(|| middleware.process_response(req, resp, req_succeeded)).await
            }
        }
    }

    pub(crate) async fn process_shutdown(&self, worker: &Worker) -> std::result::Result<(), BoxError> {
        match &self.kind {
            Kind::Sync(middleware) => middleware.process_shutdown(worker),
            Kind::Async(middleware) => middleware.process_shutdown(worker).await,
        }
    }
}

type Boxed<'c, E> = Pin<Box<dyn Future<Output = std::result::Result<(), E>> + Send + 'c>>;

/// An [`AsyncMiddleware`] whose type is forgotten.
trait DynAsyncMiddleware: Send + Sync {
    fn process_startup<'c>(&'c self, worker: &'c Worker) -> Boxed<'c, StartError>;
    fn process_request<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Boxed<'c, AppError>;
    fn process_resource<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Boxed<'c, AppError>;
    fn process_response<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
        req_succeeded: bool,
    ) -> Boxed<'c, AppError>;
    fn process_shutdown<'c>(&'c self, worker: &'c Worker) -> Boxed<'c, BoxError>;
}

impl<M: AsyncMiddleware> DynAsyncMiddleware for M {
    fn process_startup<'c>(&'c self, worker: &'c Worker) -> Boxed<'c, StartError> {
        Box::pin(AsyncMiddleware::process_startup(self, worker))
    }

    fn process_request<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Boxed<'c, AppError> {
        Box::pin(AsyncMiddleware::process_request(self, req, resp))
    }

    fn process_resource<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
    ) -> Boxed<'c, AppError> {
        Box::pin(AsyncMiddleware::process_resource(self, req, resp))
    }

    fn process_response<'c>(
        &'c self,
        req: &'c mut RequestHead,
        resp: &'c mut ResponseHead,
        req_succeeded: bool,
    ) -> Boxed<'c, AppError> {
        Box::pin(AsyncMiddleware::process_response(self, req, resp, req_succeeded))
    }

    fn process_shutdown<'c>(&'c self, worker: &'c Worker) -> Boxed<'c, BoxError> {
        Box::pin(AsyncMiddleware::process_shutdown(self, worker))
    }
}

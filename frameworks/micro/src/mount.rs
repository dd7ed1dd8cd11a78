//! Other applications below a prefix.

use std::{any::Any, sync::Arc};

use http::Request;
use varvel::{App, AppFuture, AppResult, AsyncApp, AsyncBody, Boxed, DynApp, DynAsyncApp, ReadBody, Scope};
use varvel_toolkit::files::Files;

use crate::handler::{Bound, call_blocking, call_polled};

/// An application of both forms, with its type erased.
#[derive(Clone)]
pub(crate) struct BothForms {
    blocking: Arc<DynApp>,
    polled: Arc<DynAsyncApp>,
}

impl BothForms {
    pub(crate) fn new<A>(mut app: A) -> Self
    where
        A: App + AsyncApp<Future: Send + 'static> + Send + Sync + 'static,
    {
        let given: &mut dyn Any = &mut app;
        if let Some(files) = given.downcast_mut::<Files>() {
            // So error hooks have a say.
            *files = files.clone().returning_errors(true);
        }
        let app = Arc::new(app);
        Self { blocking: Arc::clone(&app) as _, polled: Arc::new(Boxed(app)) }
    }
}

/// An application with the hooks of a group around it.
pub(crate) type Mounted = Arc<Bound<BothForms>>;

impl Bound<BothForms> {
    pub(crate) fn call_blocking(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        call_blocking(&self.context, request, scope, |(request, scope)| {
            self.handler.blocking.call(request, scope)
        })
    }

    pub(crate) fn call_polled(self: &Arc<Self>, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        Box::pin(call_polled(Arc::clone(self), request, scope, |app: &BothForms, (request, scope)| {
            app.polled.call(request, scope)
        }))
    }
}

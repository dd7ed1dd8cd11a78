//! Other applications below a prefix.

use std::{any::Any, sync::Arc};

use http::Request;
use varvel::{App, AppFuture, AppResult, AsyncApp, AsyncBody, Boxed, DynApp, DynAsyncApp, ReadBody, Scope};
use varvel_toolkit::files::Files;

use crate::{
    context::Context,
    handler::{call_blocking, call_polled},
};

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
pub(crate) struct Mounted {
    pub(crate) app: BothForms,
    pub(crate) context: Arc<Context>,
}

impl Mounted {
    pub(crate) fn call_blocking(&self, request: Request<ReadBody>, scope: Scope) -> AppResult {
        call_blocking(&self.context, request, scope, |(request, scope)| {
            self.app.blocking.call(request, scope)
        })
    }

    pub(crate) fn call_polled(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
        let app = Arc::clone(&self.app.polled);
        let context = Arc::clone(&self.context);
        Box::pin(call_polled(context, request, scope, move |(request, scope)| app.call(request, scope)))
    }
}

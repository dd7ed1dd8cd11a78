//! Whether a middleware is as mobile as what it wraps (spec M7): for the compiler to say.

use std::{future::ready, marker::PhantomData, pin::Pin, rc::Rc};

use http::{Request, Response};
use varvel::{App, AppFuture, AppResult, AsyncApp, AsyncAppResult, AsyncBody, ReadBody, Scope, WriteBody};

/// Holds a middleware to M7 when the test is compiled: around an application that is `Send` and `Sync` it must be so too,
/// with a future that is `Send`; around one that is neither it must be a middleware all the same.
///
/// The second word names the kind of application, `AsyncApp` or `App`.
///
/// ```
/// use http::{Request, Response};
/// use varvel::{AsyncApp, AsyncBody, Scope};
///
/// struct Through<A>(A);
///
/// impl<A: AsyncApp> AsyncApp for Through<A> {
///     type Future = A::Future;
///
///     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> A::Future {
///         self.0.call(request, scope)
///     }
/// }
///
/// varvel_lint::assert_as_mobile!(AsyncApp: |inner| Through(inner));
/// ```
///
/// One that is less mobile does not compile:
///
/// ```compile_fail
/// # use std::{cell::Cell, rc::Rc};
/// # use http::Request;
/// # use varvel::{AsyncApp, AsyncBody, Scope};
/// struct Counting<A>(A, Rc<Cell<u64>>);
/// # impl<A: AsyncApp> AsyncApp for Counting<A> {
/// #     type Future = A::Future;
/// #     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> A::Future {
/// #         self.0.call(request, scope)
/// #     }
/// # }
///
/// varvel_lint::assert_as_mobile!(AsyncApp: |inner| Counting(inner, Rc::default()));
/// ```
///
/// and neither does one that demands it of others:
///
/// ```compile_fail
/// # use http::{Request, Response};
/// # use varvel::{AppFuture, AsyncApp, AsyncBody, Scope};
/// struct Boxing<A>(A);
///
/// impl<A> AsyncApp for Boxing<A>
/// where
///     A: AsyncApp,
///     A::Future: Send + 'static,
/// {
///     type Future = AppFuture;
/// #     fn call(&self, request: Request<AsyncBody>, scope: Scope) -> AppFuture {
/// #         Box::pin(self.0.call(request, scope))
/// #     }
/// }
///
/// varvel_lint::assert_as_mobile!(AsyncApp: |inner| Boxing(inner));
/// ```
#[macro_export]
macro_rules! assert_as_mobile {
    (AsyncApp: |$inner:ident| $middleware:expr) => {
        const _: () = {
            #[allow(dead_code)]
            fn around_mobile($inner: $crate::mobility::Mobile) -> impl $crate::mobility::AsMobile {
                $middleware
            }

            #[allow(dead_code)]
            fn around_local($inner: $crate::mobility::Local) -> impl $crate::mobility::AsLocal {
                $middleware
            }
        };
    };
    (App: |$inner:ident| $middleware:expr) => {
        const _: () = {
            #[allow(dead_code)]
            fn around_mobile($inner: $crate::mobility::MobileSync) -> impl $crate::mobility::AsMobileSync {
                $middleware
            }

            #[allow(dead_code)]
            fn around_local($inner: $crate::mobility::LocalSync) -> impl $crate::mobility::AsLocalSync {
                $middleware
            }
        };
    };
}

/// A middleware around [`Mobile`] that is as mobile.
#[diagnostic::on_unimplemented(
    message = "this middleware is less mobile than what it wraps, which breaks M7",
    label = "`{Self}` is no `AsyncApp`, or it or its future is not `Send`, or it is not `Sync`",
    note = "M7: a middleware and its future are `Send`, and it is `Sync`, where what it wraps is; see `varvel::map_response`"
)]
pub trait AsMobile {}

#[diagnostic::do_not_recommend]
impl<M: AsyncApp<Future: Send> + Send + Sync> AsMobile for M {}

/// A middleware around [`Local`].
#[diagnostic::on_unimplemented(
    message = "this middleware demands that what it wraps be `Send` or `Sync`, which breaks M7",
    label = "`{Self}` is no `AsyncApp` around one that stays on its thread",
    note = "M7: a middleware must not demand it; instead of `AppFuture` use `varvel::map_response`, or a future that has the \
            inner one in a field"
)]
pub trait AsLocal {}

#[diagnostic::do_not_recommend]
impl<M: AsyncApp> AsLocal for M {}

/// A middleware around [`MobileSync`] that is as mobile.
#[diagnostic::on_unimplemented(
    message = "this middleware is less mobile than what it wraps, which breaks M7",
    label = "`{Self}` is no `App`, or not `Send`, or not `Sync`",
    note = "M7: a middleware is `Send` and `Sync` where what it wraps is"
)]
pub trait AsMobileSync {}

#[diagnostic::do_not_recommend]
impl<M: App + Send + Sync> AsMobileSync for M {}

/// A middleware around [`LocalSync`].
#[diagnostic::on_unimplemented(
    message = "this middleware demands that what it wraps be `Send` or `Sync`, which breaks M7",
    label = "`{Self}` is no `App` around one that stays on its thread",
    note = "M7: a middleware must not demand it"
)]
pub trait AsLocalSync {}

#[diagnostic::do_not_recommend]
impl<M: App> AsLocalSync for M {}

/// An async application that any thread may have, with a future that any thread may poll.
#[derive(Clone, Copy, Debug)]
pub struct Mobile;

impl AsyncApp for Mobile {
    type Future = AppFuture;

    fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> AppFuture {
        Box::pin(ready(Ok(Response::new(AsyncBody::empty()))))
    }
}

/// An async application that stays on its thread, with a future that does so too.
#[derive(Clone, Debug, Default)]
pub struct Local(PhantomData<Rc<()>>);

impl AsyncApp for Local {
    type Future = Pin<Box<dyn Future<Output = AsyncAppResult>>>;

    fn call(&self, _request: Request<AsyncBody>, _scope: Scope) -> Self::Future {
        Box::pin(ready(Ok(Response::new(AsyncBody::empty()))))
    }
}

/// A sync application that any thread may have.
#[derive(Clone, Copy, Debug)]
pub struct MobileSync;

impl App for MobileSync {
    fn call(&self, _request: Request<ReadBody>, _scope: Scope) -> AppResult {
        Ok(Response::new(WriteBody::empty()))
    }
}

/// A sync application that stays on its thread.
#[derive(Clone, Debug, Default)]
pub struct LocalSync(PhantomData<Rc<()>>);

impl App for LocalSync {
    fn call(&self, _request: Request<ReadBody>, _scope: Scope) -> AppResult {
        Ok(Response::new(WriteBody::empty()))
    }
}

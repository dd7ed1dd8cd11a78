//! Servers for tests, each on a port of its own.

use std::{net::TcpListener, thread, thread::JoinHandle, time::Duration};

use varvel::{App, AppFactory, AsyncAppFactory, Control, Launch, Server};
use varvel_evented::Evented;
use varvel_server_kit::settings::Settings;
use varvel_test::Client;
use varvel_threaded::Threaded;

/// A server on a port of its own, until it is dropped.
pub(crate) struct Live {
    pub(crate) client: Client,
    control: Control,
    serving: Option<JoinHandle<()>>,
}

impl Live {
    pub(crate) fn evented<F>(factory: F) -> Self
    where
        F: AsyncAppFactory + Send + Sync + 'static,
        F::App: 'static,
    {
        Self::start(move |launch| {
            Evented::new(Settings::default()).serve(factory, launch).expect("evented serves");
        })
    }

    pub(crate) fn threaded<F>(factory: F) -> Self
    where
        F: AppFactory + Send + Sync + 'static,
        F::App: App + Send + Sync + 'static,
    {
        Self::threaded_with(Settings::default(), factory)
    }

    pub(crate) fn threaded_with<F>(settings: Settings, factory: F) -> Self
    where
        F: AppFactory + Send + Sync + 'static,
        F::App: App + Send + Sync + 'static,
    {
        Self::start(move |launch| {
            Threaded::new(settings).serve(factory, launch).expect("threaded serves");
        })
    }

    fn start(serve: impl FnOnce(Launch) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::at(&format!("http://{}", listener.local_addr().unwrap()));
        let control = Control::new();
        let launch = Launch::new(vec![listener.into()]).with_control(control.clone());
        let serving = Some(thread::spawn(move || serve(launch)));
        assert!(control.wait_ready());
        Self { client, control, serving }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.control.stop(Duration::ZERO);
        let served = self.serving.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(served, Some(Ok(()))), "the server panicked");
    }
}

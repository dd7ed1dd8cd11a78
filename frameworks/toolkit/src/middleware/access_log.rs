//! A line for each request.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, Version, header};
use varvel::{Body, Outcome, Scope, Stderr};

use super::{RequestId, forwarded::Client};
use crate::{Form, Middleware};

/// Tells of each request once it is over, its body sent or not.
///
/// Servers have an access log of their own (`--access-log`); this one is for what only the application knows: the client
/// behind its proxies ([`Forwarded`](super::Forwarded)) and the request's id ([`RequestIds`](super::RequestIds)), where
/// those stand around it; and for logs of another form.
///
/// ```
/// use varvel::sync_fn;
/// use varvel_toolkit::{Middleware, middleware::AccessLog, respond};
///
/// let app = AccessLog::to_stderr().around(sync_fn(|_, _| Ok(respond::text("hello"))));
/// # varvel_test::Client::sync(app).get("/").send();
/// ```
#[derive(Clone)]
pub struct AccessLog {
    tell: Arc<dyn Fn(&Entry) + Send + Sync>,
}

impl AccessLog {
    /// Writes the line of each request to standard error, among the reports of the server and like them: as a whole, behind
    /// the time and the number of the process, and without both to systemd's journal.
    pub fn to_stderr() -> Self {
        Self::new(|entry| Stderr.line(format_args!("{entry}")))
    }

    /// Calls this for each request, on the thread where it ends: it must be quick, and not panic. Standard error has no
    /// buffer: format a line before it is written.
    pub fn new(tell: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell) }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

/// A request and what became of it. Displayed it is a line of `key=value`, in which nothing a client sends can pretend to
/// be another field or line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The client's address, if it has one.
    pub client: Option<IpAddr>,
    /// The request's id, if it was given one.
    pub id: Option<RequestId>,
    /// The number of its connection and its own on that, by which the server's log names it where it tells of failures.
    pub exchange: (u64, u64),
    /// The method.
    pub method: Method,
    /// The target as it was on the wire, escaped where it is not visible ASCII.
    pub target: String,
    /// The version of HTTP.
    pub version: Version,
    /// The field User-Agent, escaped likewise.
    pub user_agent: Option<String>,
    /// The status that was sent, if one was.
    pub status: Option<StatusCode>,
    /// How many bytes of the answer's body were sent.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, from the call to its end.
    pub duration: Duration,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => write!(f, "client={client}")?,
            None => f.write_str("client=-")?,
        }
        if let Some(id) = self.id {
            write!(f, " id={id}")?;
        }
        write!(f, " connection={} exchange={}", self.exchange.0, self.exchange.1)?;
        write!(f, " method={} target=\"{}\" version={:?}", self.method, self.target, self.version)?;
        match self.status {
            Some(status) => write!(f, " status={}", status.as_u16())?,
            None => f.write_str(" status=-")?,
        }
        write!(
            f,
            " bytes={} outcome={:?} ms={:.3}",
            self.bytes,
            self.outcome,
            self.duration.as_secs_f64() * 1e3
        )?;
        match &self.user_agent {
            Some(user_agent) => write!(f, " agent=\"{user_agent}\""),
            None => Ok(()),
        }
    }
}

impl Middleware for AccessLog {
    type Note = ();

    fn request<F: Form>(
        &self,
        request: &mut Request<Body<F::In>>,
        scope: &mut Scope,
    ) -> Result<(), Response<Body<F::Out>>> {
        let client = match scope.get::<Client>() {
            Some(client) => client.address,
            None => scope.conn().peer.ip().map(|address| address.ip()),
        };
        let user_agent = request.headers().get(header::USER_AGENT);
        let mut entry = Entry {
            client,
            id: scope.get::<RequestId>().copied(),
            exchange: (scope.conn().id, scope.number()),
            method: request.method().clone(),
            target: scope.raw_target().escape_ascii().to_string(),
            version: request.version(),
            user_agent: user_agent.map(|value| value.as_bytes().escape_ascii().to_string()),
            status: None,
            bytes: 0,
            outcome: Outcome::Completed,
            duration: Duration::ZERO,
        };
        let (tell, worker) = (Arc::clone(&self.tell), scope.worker().clone());
        let began = worker.now();
        scope.on_finish(move |finish| {
            entry.status = finish.status;
            entry.bytes = finish.bytes;
            entry.outcome = finish.outcome;
            entry.duration = worker.now().saturating_duration_since(began);
            tell(&entry);
        });
        Ok(())
    }

    fn response<F: Form>(&self, (): (), response: Response<Body<F::Out>>) -> Response<Body<F::Out>> {
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use varvel::{AppError, AsyncBody, app_fn};
    use varvel_test::Client;

    use super::*;
    use crate::{middleware::RequestIds, respond};

    #[test]
    fn an_entry_tells_what_became_of_the_request() {
        let (tell, hear) = mpsc::channel();
        let log = AccessLog::new(move |entry| tell.send(entry.to_string()).unwrap());
        let app = app_fn(|request: Request<AsyncBody>, scope: Scope| async move {
            scope.worker().sleep(Duration::from_millis(1500)).await;
            match request.uri().path() {
                "/fail" => Err(AppError::unavailable("later")),
                _ => Ok(respond::text("hello")),
            }
        });
        let client = Client::new(RequestIds::new().trusting().around(log.around(app)));
        for (path, agent, expected) in [
            (
                "/a?b=c",
                "test/1",
                " method=GET target=\"/a?b=c\" version=HTTP/1.1 status=200 bytes=5 outcome=Completed ms=1500.000 agent=\"test/1\"",
            ),
            ("/fail", "a\" status=200", " method=GET target=\"/fail\" version=HTTP/1.1 status=503 "),
        ] {
            let request = client.get(path).header("user-agent", agent).header("x-request-id", "r7");
            let exchange = request.start();
            client.advance(Duration::from_millis(1500));
            exchange.try_response().unwrap();
            let line = hear.recv().unwrap();
            assert!(line.contains(" id=r7 connection=") && line.contains(" exchange=1 "), "{line}");
            assert!(line.contains(expected), "{line}");
            assert!(!line.contains("a\" status=200"), "{line}");
        }
        let mut exchange = client.get("/gone").start();
        exchange.disconnect();
        let line = hear.recv().unwrap();
        assert!(line.contains(" status=- bytes=0 outcome=Disconnected"), "{line}");
    }

    #[test]
    fn the_client_is_the_one_behind_the_proxies() {
        let (tell, hear) = mpsc::channel();
        let log = AccessLog::new(move |entry| tell.send(entry.client).unwrap());
        let answer = varvel::sync_fn(|_, _| Ok(respond::text("hello")));
        let proxies = crate::middleware::Forwarded::x_forwarded(["127.0.0.0/8", "::1"]).unwrap().trust_unix();
        let client = Client::sync(proxies.around(log.around(answer)));
        client.get("/").header("x-forwarded-for", "198.51.100.1").send();
        assert_eq!(hear.recv().unwrap(), Some([198, 51, 100, 1].into()));
    }

    #[test]
    fn it_keeps_to_the_contract() {
        varvel_lint::middleware(|inner| AccessLog::new(|_| {}).around(inner));
        varvel_lint::middleware_sync(|inner| AccessLog::new(|_| {}).around(inner));
    }
}

//! What a check works with: a server, connections to it, and what happens inside.

use std::{net::SocketAddr, time::Duration};

use socket2::Socket;

use crate::{
    About, Client, Event, Failure, Response, Running, Setup, Suite, Tuning, check::Verdict,
    transcript::Transcript,
};

/// A check that runs: its server, its connections, its gates.
///
/// Unless the check [starts](Self::start) a server of its own, it uses one that it shares with others that run at the
/// same time; of what happens inside it then sees only what belongs to its own requests.
#[derive(Debug)]
pub struct Case<'s> {
    suite: &'s Suite,
    key: String,
    own: Option<Running>,
    /// How its own server was set.
    tuning: Tuning,
    transcripts: Vec<Transcript>,
    gates: Vec<String>,
}

/// How many connections a failure tells of.
const CONNECTIONS_SHOWN: usize = 8;

impl<'s> Case<'s> {
    pub(crate) fn new(suite: &'s Suite, key: String) -> Self {
        Self { suite, key, own: None, tuning: Tuning::default(), transcripts: Vec::new(), gates: Vec::new() }
    }

    /// What the server says of itself.
    pub fn about(&self) -> &About {
        self.suite.about()
    }

    /// Goes on only with servers for which the check means something.
    ///
    /// # Errors
    /// Ends the check without a verdict unless `applies`.
    pub fn only_if(&self, applies: bool, reason: &str) -> Verdict {
        if applies { Ok(()) } else { Err(Failure::does_not_apply(reason)) }
    }

    /// Starts a server of the check's own, which its connections go to from now on, in place of an earlier one.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn start(&mut self, setup: impl Into<Setup>) -> Verdict {
        let setup = setup.into();
        let has_monitor = setup.monitored && self.about().forked;
        self.only_if(!has_monitor, "the supervisor of its workers is their monitor")?;
        self.own = None;
        self.tuning = setup.tuning.clone();
        self.own = Some(Running::start_within(self.limit(), self.suite.subject(), setup)?);
        Ok(())
    }

    /// How the server of the check's own was set, if there is one.
    pub(crate) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The server that connections go to.
    pub fn server(&self) -> &Running {
        self.own.as_ref().unwrap_or_else(|| self.suite.shared())
    }

    /// The server of the check's own, to be stopped.
    ///
    /// # Errors
    /// If there is none.
    pub fn own(&mut self) -> Result<&mut Running, Failure> {
        self.own.as_mut().ok_or_else(|| Failure::new("a server of the check's own", "none was started"))
    }

    /// How long anything that must happen may take.
    pub fn limit(&self) -> Duration {
        self.suite.limit()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If it is refused.
    pub fn connect(&mut self) -> Result<Client, Failure> {
        self.connect_to(self.server().address())
    }

    /// Opens a connection to one of several listeners.
    ///
    /// # Errors
    /// If it is refused.
    pub fn connect_to(&mut self, address: SocketAddr) -> Result<Client, Failure> {
        let transcript = Transcript::new(self.transcripts.len() + 1);
        self.transcripts.push(transcript.clone());
        Client::connect_within(self.limit(), address, transcript)
    }

    /// Opens a connection with a socket that was made before.
    ///
    /// # Errors
    /// If it is refused.
    pub(crate) fn connect_with(&mut self, socket: Socket) -> Result<Client, Failure> {
        let transcript = Transcript::new(self.transcripts.len() + 1);
        self.transcripts.push(transcript.clone());
        Client::connect_with(socket, self.limit(), self.server().address(), transcript)
    }

    /// What marks the events of this check: the first segment of the paths of its requests is the key, or begins with
    /// it and a dot.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A target that has the probe do these [steps](crate::probe).
    pub fn target(&self, steps: &str) -> String {
        match steps {
            "" => format!("/{}", self.key),
            steps => format!("/{}?{steps}", self.key),
        }
    }

    /// A GET request for these steps.
    pub fn get(&self, steps: &str) -> String {
        self.request("GET", steps, "")
    }

    /// A request for these steps, whose further field lines each end in CRLF.
    pub fn request(&self, method: &str, steps: &str, fields: &str) -> String {
        format!("{method} {} HTTP/1.1\r\nHost: varvel.test\r\n{fields}\r\n", self.target(steps))
    }

    /// One of several requests, with a key of its own by which its events are told apart: the key, and the request.
    pub fn numbered(&self, nth: usize, method: &str, steps: &str, fields: &str) -> (String, String) {
        let key = format!("{}.{nth}", self.key);
        let request = format!("{method} /{key}?{steps} HTTP/1.1\r\nHost: varvel.test\r\n{fields}\r\n");
        (key, request)
    }

    /// Sends a request on a new connection and reads its answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Response, Failure> {
        let mut client = self.connect()?;
        client.send(request)?;
        client.response()
    }

    /// Sees that the server answers a plain request on a new connection.
    ///
    /// # Errors
    /// If it does not.
    pub fn still_serves(&mut self) -> Verdict {
        let request = format!("GET /{}.after?body=fine HTTP/1.1\r\nHost: varvel.test\r\n\r\n", self.key);
        let response = self.ask(request).map_err(|failure| failure.within("the server still answers"))?;
        crate::expect_eq(
            "a plain request afterwards:",
            (response.status(), response.text()),
            (200, "fine".to_owned()),
        )
    }

    /// A gate, to be named in steps. It is opened at the latest when the check ends.
    pub fn gate(&mut self, name: &str) -> String {
        let gate = format!("{}.{name}", self.key);
        self.gates.push(gate.clone());
        gate
    }

    /// Lets go what waits at this gate, now or later.
    pub fn open(&self, gate: &str) {
        self.server().recorder().open(gate);
    }

    /// Waits for an event of this kind that belongs to this check.
    ///
    /// # Errors
    /// If it does not happen in time.
    pub fn wait_for(&self, kind: &str, mut found: impl FnMut(&Event) -> bool) -> Result<Event, Failure> {
        let wanted = |event: &Event| event.kind() == kind && self.is_mine(event) && found(event);
        self.server().recorder().wait_for(kind, wanted).map_err(|mut failure| {
            let mine: Vec<String> = self.all_events().iter().map(brief).collect();
            failure.seen = format!("only these: {}", mine.join(", "));
            failure
        })
    }

    /// Waits until so many events of this kind have happened, and returns the last of them.
    ///
    /// # Errors
    /// If they do not happen in time.
    pub fn wait_for_nth(&self, kind: &str, nth: usize) -> Result<Event, Failure> {
        let mut count = 0;
        let reached = |_: &Event| {
            count += 1;
            count == nth
        };
        self.wait_for(kind, reached).map_err(|failure| failure.within(format_args!("{nth} times")))
    }

    /// The events of this kind that belong to this check, so far.
    pub fn events(&self, kind: &str) -> Vec<Event> {
        self.server().recorder().events(|event| event.kind() == kind && self.is_mine(event))
    }

    /// All events that belong to this check, so far.
    pub fn all_events(&self) -> Vec<Event> {
        self.server().recorder().events(|event| self.is_mine(event))
    }

    /// The events of this kind, after everything that happened so far was recorded.
    pub fn settled(&self, kind: &str) -> Vec<Event> {
        self.server().settle();
        self.events(kind)
    }

    fn is_mine(&self, event: &Event) -> bool {
        let rest = event.key().strip_prefix(&self.key);
        self.own.is_some() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// What went over its connections. Of many only the last: those of earlier rows of a table went well.
    pub(crate) fn transcript(&self) -> String {
        let earlier = self.transcripts.len().saturating_sub(CONNECTIONS_SHOWN);
        let note = match earlier {
            0 => String::new(),
            count => format!("{count} earlier connections are left out\n"),
        };
        let shown = self.transcripts[earlier..].iter().map(Transcript::to_string);
        std::iter::once(note).chain(shown).collect()
    }
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        for gate in &self.gates {
            self.open(gate);
        }
    }
}

/// An event in a list of them.
fn brief(event: &Event) -> String {
    format!("{}({})", event.kind(), event.key())
}

//! What a call of either form is going to answer.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use serde_json::{Value, json};
use varvel::{AppError, BodyError, FailKind, FileRegion, Upgrade};

use super::{
    context::{Bomb, region},
    program::{Failing, Step, pattern},
};

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Choice,
    bomb: Option<Bomb>,
}

/// Which body the steps asked for.
#[derive(Debug)]
pub(super) enum Choice {
    Empty,
    Full(Bytes),
    File(FileRegion),
    /// Made by these steps, of a length promised.
    Stream(Option<u64>, Vec<Step>),
}

impl Answer {
    /// Without steps, a description of the request; else an empty 200.
    pub(super) fn new(head: &Parts, steps: &[Step], description: &Value) -> Self {
        let mut answer =
            Self { status: StatusCode::OK, headers: HeaderMap::new(), body: Choice::Empty, bomb: None };
        let unknown = steps.iter().find_map(|step| match step {
            Step::Unknown(step) => Some(step),
            _ => None,
        });
        if steps.is_empty() || steps.contains(&Step::Describe) {
            answer.tell(head, description);
        } else if let Some(step) = unknown {
            answer.status = StatusCode::from_u16(599).unwrap_or_default();
            answer.body = Choice::Full(format!("the probe knows no step {step:?}, or not so large").into());
        }
        answer
    }

    /// Answers with a description of the request.
    pub(super) fn tell(&mut self, head: &Parts, description: &Value) {
        // 2xx to CONNECT would be a tunnel, which nobody asked for here.
        if head.method == Method::CONNECT {
            self.status = StatusCode::METHOD_NOT_ALLOWED;
        }
        self.body = Choice::Full(description.to_string().into());
    }

    /// Does a step if it is about the answer.
    pub(super) fn take(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Status(status) => self.status = StatusCode::from_u16(*status).unwrap_or(self.status),
            Step::Header(name, value) => {
                self.headers.append(name, value.clone());
            }
            Step::Full(bytes) => self.body = Choice::Full(bytes.clone()),
            Step::Size(bytes) => self.body = Choice::Full(pattern(0, *bytes)),
            Step::File { offset, len, actual } => self.body = Choice::File(region(*offset, *len, *actual)?),
            Step::Echo => self.body = Choice::Stream(None, vec![Step::Echo]),
            Step::PanicOnDrop => self.bomb = Some(Bomb::new()),
            _ => {}
        }
        Ok(())
    }

    /// The head, for a body that is made of the choice.
    pub(super) fn into_response(self) -> Response<Choice> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(bomb) = self.bomb {
            response.extensions_mut().insert(bomb);
        }
        response
    }
}

/// The error of a call that is told to fail.
pub(super) fn app_error(failing: Failing) -> AppError {
    match failing {
        Failing::App(FailKind::Abort) => AppError::abort(),
        Failing::App(kind) => AppError::new(kind, "a secret of the probe"),
        Failing::Body(kind) => AppError::from(BodyError::new(kind)),
    }
}

/// The error of a body that is told to fail.
pub(super) fn body_error(failing: Failing) -> BodyError {
    match failing {
        Failing::App(_) => BodyError::failed("a secret of the probe"),
        Failing::Body(kind) => BodyError::new(kind),
    }
}

/// The fields of the event of a token that was taken, or not.
pub(super) fn token_fields(token: Option<&Upgrade>) -> Value {
    json!({ "some": token.is_some(), "kind": token.map(|token| format!("{:?}", token.kind())) })
}

/// The fields of the event of a timer.
pub(super) fn timer_fields(deadline: std::time::Instant) -> Value {
    let now = std::time::Instant::now();
    let late = u64::try_from(now.saturating_duration_since(deadline).as_micros()).unwrap_or(u64::MAX);
    json!({ "early": now < deadline, "late_us": late })
}

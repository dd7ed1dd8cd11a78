//! What the probe's factory is told.

use serde_json::{Value, json};
use varvel::{OnDisconnect, Policy};

/// What the probe's factory asks of its server, and what goes wrong when it builds and tears down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What it asks for.
    pub policy: Policy,
    /// Whether requests ask for the probe routes (`ROUTES.md`) rather than for steps.
    pub routes: bool,
    /// Which build fails or panics, counted from 1, and how.
    pub build_fails: Option<(u32, Failing)>,
    /// A gate at which each build waits after its event `build`.
    pub build_gate: Option<String>,
    /// A gate at which each teardown waits after its event `teardown`.
    pub teardown_gate: Option<String>,
    /// How teardown fails.
    pub teardown_fails: Option<Failing>,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Returns an error.
    Error,
    /// Panics.
    Panic,
}

impl Plan {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "on_disconnect": match self.policy.on_disconnect {
                OnDisconnect::Finish => "finish",
                OnDisconnect::Answer => "answer",
                _ => "cancel",
            },
            "exclusive": self.policy.exclusive,
            "routes": self.routes,
            "build_fails": self.build_fails.map(|(nth, failing)| json!([nth, failing.name()])),
            "build_gate": self.build_gate,
            "teardown_gate": self.teardown_gate,
            "teardown_fails": self.teardown_fails.map(Failing::name),
        })
    }

    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let mut policy = match json["on_disconnect"].as_str()? {
            "finish" => Policy::default().finish_on_disconnect(),
            "answer" => Policy::default().answer_half_closed(),
            _ => Policy::default(),
        };
        policy.exclusive = json["exclusive"].as_bool()?;
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let fails = &json["build_fails"];
        let nth = fails[0].as_u64().and_then(|nth| u32::try_from(nth).ok());
        Some(Self {
            policy,
            routes: json["routes"].as_bool()?,
            build_fails: nth.zip(fails[1].as_str().map(Failing::named)),
            build_gate: text("build_gate"),
            teardown_gate: text("teardown_gate"),
            teardown_fails: json["teardown_fails"].as_str().map(Failing::named),
        })
    }
}

impl Failing {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
        }
    }

    fn named(name: &str) -> Self {
        if name == "panic" { Self::Panic } else { Self::Error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_arrives_as_it_was_sent() {
        let elaborate = Plan {
            policy: Policy::default().finish_on_disconnect().exclusive(),
            routes: true,
            build_fails: Some((3, Failing::Panic)),
            build_gate: Some("one".to_owned()),
            teardown_gate: Some("another".to_owned()),
            teardown_fails: Some(Failing::Error),
        };
        let half_closed = Plan { policy: Policy::default().answer_half_closed(), ..Plan::default() };
        for plan in [Plan::default(), elaborate, half_closed] {
            assert_eq!(Plan::from_json(&plan.to_json()), Some(plan));
        }
    }
}

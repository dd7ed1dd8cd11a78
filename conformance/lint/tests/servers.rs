//! The checks of the conformance suite with a lint between each server and the probe.
//!
//! The probe misbehaves when a check asks it to, so rules about applications are broken all the time. But nothing that the
//! lint sees of our servers may break a rule about servers, and no check may notice that the lint is there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use varvel::{
    Launch, ServeError, Served, Server,
    bridge::{BlockOn, Offloaded},
};
use varvel_conformance::{Outcome, Probe, Subject, Suite, Tuning, checks, silence_planned_panics};
use varvel_evented::Evented;
use varvel_lint::{Findings, Lint, Party};
use varvel_server_kit::settings::Settings;
use varvel_threaded::Threaded;

#[derive(Clone, Copy, Debug)]
enum Form {
    Threaded,
    ThreadedBridged,
    /// The lint stands above the bridge, and watches it as an application.
    AboveBlockOn,
    Evented,
    EventedBridged,
    /// The same.
    AboveOffloaded,
}

struct Linted {
    form: Form,
    serving: bool,
    /// What the lints of all its servers have found.
    findings: Findings,
}

impl Linted {
    fn lint<F>(&self, factory: F) -> Lint<F> {
        let lint = Lint::new(factory).sharing(&self.findings);
        if self.serving { lint.serving() } else { lint }
    }
}

impl Subject for Linted {
    fn name(&self) -> String {
        format!("{:?} under a lint", self.form)
    }

    fn serve(&self, probe: Probe, launch: Launch, tuning: &Tuning) -> Result<Served, ServeError> {
        let mut settings = Settings::default();
        for (name, value) in tuning.settings() {
            settings.set(name, &value).expect("a setting of the kit");
        }
        let (threaded, evented) = (Threaded::new(settings.clone()), Evented::new(settings));
        match self.form {
            Form::Threaded => threaded.serve(self.lint(probe), launch),
            Form::ThreadedBridged => threaded.serve(BlockOn::new(self.lint(probe)), launch),
            Form::AboveBlockOn => threaded.serve(self.lint(BlockOn::new(probe)), launch),
            Form::Evented => evented.serve(self.lint(probe), launch),
            Form::EventedBridged => evented.serve(Offloaded::new(self.lint(probe)), launch),
            Form::AboveOffloaded => evented.serve(self.lint(Offloaded::new(probe)), launch),
        }
    }
}

/// Runs all checks, some at a time, for they mostly wait.
fn nothing_is_found_of(form: Form, serving: bool) {
    silence_planned_panics();
    let findings = Lint::new(()).count().findings();
    let suite = Suite::new(Arc::new(Linted { form, serving, findings: findings.clone() }));
    let checks: Vec<_> = checks().collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(check) = checks.get(next.fetch_add(1, SeqCst)) {
                    if let Outcome::Failed { failure, .. } = suite.run(check) {
                        failures.lock().unwrap().push(format!("{}: {failure}", check.id()));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "a check noticed the lint, or fails without it, too:\n{}",
        failures.join("\n")
    );
    // The probe was seen to misbehave, so the lint has looked.
    assert!(findings.count("A3.connection") > 0);
    let of_servers: Vec<_> =
        findings.breaches().into_iter().filter(|breach| breach.rule.binds == Party::Server).collect();
    let texts: Vec<_> = of_servers.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n\n"));
}

#[test]
fn nothing_is_found_of_threaded() {
    nothing_is_found_of(Form::Threaded, false);
}

#[test]
fn nothing_is_found_of_threaded_by_a_lint_that_serves() {
    nothing_is_found_of(Form::Threaded, true);
}

#[test]
fn nothing_is_found_of_threaded_through_the_bridge() {
    nothing_is_found_of(Form::ThreadedBridged, false);
}

#[test]
fn nothing_is_found_of_threaded_from_above_the_bridge() {
    nothing_is_found_of(Form::AboveBlockOn, false);
}

#[test]
fn nothing_is_found_of_evented() {
    nothing_is_found_of(Form::Evented, false);
}

#[test]
fn nothing_is_found_of_evented_by_a_lint_that_serves() {
    nothing_is_found_of(Form::Evented, true);
}

#[test]
fn nothing_is_found_of_evented_through_the_bridge() {
    nothing_is_found_of(Form::EventedBridged, false);
}

#[test]
fn nothing_is_found_of_evented_from_above_the_bridge() {
    nothing_is_found_of(Form::AboveOffloaded, false);
}

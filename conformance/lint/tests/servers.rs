//! Most checks of the conformance suite, with a lint between each server and the probe.
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

/// How many checks run at a time.
const AT_A_TIME: usize = 8;

/// Where the lint stands. On their own servers it serves, which is all that it can do; with a bridge it only watches, once
/// from inside and once from above, where the bridge is the application.
#[derive(Clone, Copy, Debug)]
enum Form {
    Threaded,
    InsideBlockOn,
    Evented,
    AboveOffloaded,
}

struct Linted {
    form: Form,
    /// What the lints of all its servers have found.
    findings: Findings,
}

impl Linted {
    fn lint<F>(&self, factory: F) -> Lint<F> {
        Lint::new(factory).sharing(&self.findings)
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
            Form::Threaded => threaded.serve(self.lint(probe).serving(), launch),
            Form::InsideBlockOn => threaded.serve(BlockOn::new(self.lint(probe)), launch),
            Form::Evented => evented.serve(self.lint(probe).serving(), launch),
            Form::AboveOffloaded => evented.serve(self.lint(Offloaded::new(probe)), launch),
        }
    }
}

/// Runs the checks, some at a time, for they mostly wait. The servers' own tests run all of them; here those are left out
/// that take long over what a lint has no part in: those that want the machine for themselves, and those of hostile clients
/// (S24).
fn nothing_is_found_of(form: Form) {
    silence_planned_panics();
    let findings = Lint::new(()).count().findings();
    let suite = Suite::new(Arc::new(Linted { form, findings: findings.clone() }));
    let checks: Vec<_> = checks().filter(|check| !check.alone && check.clause.id != "S24").collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
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
    nothing_is_found_of(Form::Threaded);
}

#[test]
fn nothing_is_found_of_threaded_from_inside_the_bridge() {
    nothing_is_found_of(Form::InsideBlockOn);
}

#[test]
fn nothing_is_found_of_evented() {
    nothing_is_found_of(Form::Evented);
}

#[test]
fn nothing_is_found_of_evented_from_above_the_bridge() {
    nothing_is_found_of(Form::AboveOffloaded);
}

//! Nothing points up: the directions of dependency that ARCHITECTURE.md draws, held against `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// What each crate of the workspace may depend on outside its tests, beside crates of others.
const MAY_USE: &[(&str, &[&str])] = &[
    ("varvel-spec", &[]),
    ("varvel", &[]),
    ("varvel-http1", &[]),
    ("varvel-server-kit", &["varvel", "varvel-http1"]),
    ("varvel-threaded", &["varvel", "varvel-http1", "varvel-server-kit"]),
    ("varvel-evented", &["varvel", "varvel-http1", "varvel-server-kit"]),
    ("varvel-prefork", &["varvel", "varvel-server-kit"]),
    ("varvel-serve", &["varvel", "varvel-server-kit", "varvel-threaded", "varvel-evented", "varvel-prefork"]),
    ("varvel-conformance", &["varvel", "varvel-spec"]),
    ("varvel-test", &["varvel"]),
    ("varvel-lint", &["varvel", "varvel-spec", "varvel-test"]),
    (
        "varvel-conformance-cli",
        &[
            "varvel",
            "varvel-spec",
            "varvel-conformance",
            "varvel-lint",
            "varvel-server-kit",
            "varvel-threaded",
            "varvel-evented",
            "varvel-prefork",
        ],
    ),
    ("varvel-toolkit", &["varvel"]),
    ("varvel-resource", &["varvel", "varvel-toolkit", "varvel-test"]),
    ("varvel-micro", &["varvel", "varvel-toolkit"]),
    (
        "varvel-examples",
        &[
            "varvel",
            "varvel-serve",
            "varvel-spec",
            "varvel-conformance",
            "varvel-test",
            "varvel-lint",
            "varvel-toolkit",
            "varvel-resource",
            "varvel-micro",
        ],
    ),
];

/// Who alone may know these.
const ONLY: &[(&str, &[&str])] = &[
    ("mio", &["varvel-threaded", "varvel-evented"]),
    ("httparse", &["varvel-test"]),
    ("clap", &["varvel-serve", "varvel-conformance-cli"]),
    ("tokio", &[]),
    ("libc", &["varvel-prefork"]),
];

/// Dependencies outside of tests, by crate of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let outside_tests = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
            (name(package), outside_tests.map(name).collect())
        })
        .collect()
}

#[test]
fn nothing_points_up() {
    let dependencies = dependencies();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(members, known, "each crate of the workspace has its line in MAY_USE");
    for (name, may_use) in MAY_USE {
        let used = dependencies[*name].iter().map(String::as_str).filter(|used| known.contains(used));
        for used in used {
            assert!(may_use.contains(&used), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn what_only_some_may_know_others_do_not() {
    for (name, dependencies) in dependencies() {
        for (secret, may_know) in ONLY {
            let knows = dependencies.contains(*secret);
            assert!(!knows || may_know.contains(&&*name), "{name} must not depend on {secret}");
        }
    }
}

#[test]
fn the_contract_needs_http_and_bytes_alone() {
    let dependencies = &dependencies()["varvel"];
    let optional = ["futures-core", "futures-io", "http-body"];
    let needed: Vec<_> = dependencies.iter().filter(|name| !optional.contains(&&***name)).collect();
    assert_eq!(needed, ["bytes", "http"]);
}

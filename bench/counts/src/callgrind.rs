//! Instructions, and calls to the allocator, by valgrind's callgrind. Its file is described at
//! <https://valgrind.org/docs/manual/cl-format.html>; what it has of that is
//!
//! ```text
//! fl=(3) /a/file.rs            the file from which the following function is
//! fn=(7) a::function           the function, whose name need be told only once
//! 12 40                        40 instructions in line 12
//! fi=(4) /another/file.rs      the file from which code was inlined
//! +3 5                         5 instructions in it
//! cfn=(8) malloc               a call:
//! calls=6 0                    six times, to line 0
//! * 900                        in which 900 instructions were executed
//! ```

use std::{collections::HashMap, ops::SubAssign, path::Path, process::Command};

use crate::{Result, counted, workload::Workload};

/// The system's entrances to its allocator.
const ALLOCATES: &[&str] = &["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What a run has cost, and later what a request costs. Instructions are those of a function itself.
#[derive(Default)]
pub struct Profile {
    pub by_function: HashMap<String, f64>,
    /// Where they were written, also if they were inlined elsewhere.
    pub by_file: HashMap<String, f64>,
    /// Calls to the allocator, by who calls.
    pub allocations: HashMap<String, f64>,
}

impl Profile {
    pub fn instructions(&self) -> f64 {
        self.by_function.values().sum()
    }

    pub fn allocations(&self) -> f64 {
        self.allocations.values().sum()
    }
}

pub fn is_installed() -> bool {
    counted::is_installed("valgrind")
}

/// What a request costs: the difference of a long and a short run, so that neither start nor end counts.
pub fn profile(workload: &Workload) -> Result<Profile> {
    let [few, many] = workload.exchange.rounds;
    let mut profile = run(workload, many)?;
    let short = run(workload, few)?;
    let requests = ((many - few) * workload.exchange.depth) as f64;
    for (of, without) in [
        (&mut profile.by_function, short.by_function),
        (&mut profile.by_file, short.by_file),
        (&mut profile.allocations, short.allocations),
    ] {
        for (name, count) in without {
            of.entry(name).or_default().sub_assign(count);
        }
        of.values_mut().for_each(|count| *count /= requests);
    }
    Ok(profile)
}

fn run(workload: &Workload, rounds: u64) -> Result<Profile> {
    let file = counted::run(workload, rounds, |output| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={output}")]);
        valgrind
    })?;
    parse(&file)
}

fn parse(text: &str) -> Result<Profile> {
    let mut profile = Profile::default();
    let (mut files, mut functions) = (HashMap::new(), HashMap::new());
    let (mut file, mut function, mut callee) = (String::new(), String::new(), String::new());
    let mut in_call = false;
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "fl" | "fi" | "fe" => file = name(value, &mut files)?,
                "fn" => function = name(value, &mut functions)?,
                "cfi" | "cfl" => drop(name(value, &mut files)?),
                "cfn" => callee = name(value, &mut functions)?,
                "calls" => {
                    in_call = true;
                    if ALLOCATES.contains(&callee.as_str()) {
                        let calls = value.split(' ').next().unwrap_or_default().parse::<f64>()?;
                        *profile.allocations.entry(function.clone()).or_default() += calls;
                    }
                }
                _ => {}
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split(' ').nth(1).map_or(Ok(0.0), str::parse::<f64>)?;
            if !std::mem::take(&mut in_call) {
                *profile.by_function.entry(function.clone()).or_default() += cost;
                *profile.by_file.entry(short(&file)).or_default() += cost;
            }
        }
    }
    Ok(profile)
}

/// `(7) name` has the name of number 7, which `(7)` alone repeats. A name that ends in `'2` is the same function, called
/// by itself.
fn name(text: &str, names: &mut HashMap<String, String>) -> Result<String> {
    let (number, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        let name = name.rsplit_once('\'').map_or(name, |(function, _)| function);
        names.insert(number.to_owned(), name.to_owned());
    }
    names.get(number).cloned().ok_or_else(|| format!("callgrind has not named {text}").into())
}

/// A path from the root of this repository, of a crate or of the standard library.
fn short(path: &str) -> String {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).and_then(Path::to_str).unwrap_or_default();
    let short = if let Some(path) = path.strip_prefix(root) {
        path.trim_start_matches('/')
    } else if let Some((_, path)) = path.split_once("/registry/src/") {
        path.split_once('/').map_or(path, |(_index, path)| path)
    } else if let Some((_, path)) = path.strip_prefix("/rustc/").and_then(|path| path.split_once('/')) {
        path
    } else {
        path
    };
    short.to_owned()
}

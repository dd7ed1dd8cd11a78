//! What fuzzing starts from: the vectors of this crate, and the wire corpus of the conformance suite.

use std::fs;
use std::path::{Path, PathBuf};

use super::Random;
use super::vector::{Vector, unescape};

/// An input worth starting from.
pub struct Seed {
    /// Where it is from, fit for the name of a file.
    pub name: String,
    /// What a client sends.
    pub bytes: Vec<u8>,
}

impl Seed {
    /// As an input of [`differential`](super::differential).
    pub fn for_differential(&self, tightened: u8) -> Vec<u8> {
        [&[tightened], &self.bytes[..]].concat()
    }

    /// As an input of [`cuts`](super::cuts), with a script.
    pub fn for_cuts(&self, script: &[u8]) -> Vec<u8> {
        [&[script.len() as u8], script, &self.bytes].concat()
    }

    /// An input of [`round_trip`](super::round_trip), which has a form of its own: the bytes of the seed only
    /// give the chance its number.
    pub fn for_round_trip(number: u64, length: usize) -> Vec<u8> {
        let mut random = Random::new(number);
        (0..length).map(|_| random.below(256) as u8).collect()
    }
}

/// The vectors of this crate.
pub fn vectors() -> Vec<Seed> {
    let testdata = find("testdata").expect("the crate has its vectors");
    let paths = ["valid", "invalid"].into_iter().flat_map(|folder| files(&testdata.join(folder), "http"));
    let seed = |vector: Vector| Seed { name: vector.name(), bytes: vector.bytes };
    paths.map(Vector::load).map(seed).collect()
}

/// The wire corpus of the conformance suite, if it is beside this crate.
pub fn corpus() -> Vec<Seed> {
    let paths = find("conformance/suite/corpus").into_iter().flat_map(|folder| files(&folder, "txt"));
    paths.flat_map(|path| corpus_file(&path)).collect()
}

/// The folder of this name beside or above the manifest: this file is compiled as part of two crates.
fn find(name: &str) -> Option<PathBuf> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_dir()))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

/// The bytes of each vector in a file of the corpus, whose format its README tells.
fn corpus_file(path: &Path) -> Vec<Seed> {
    let group = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut seeds = Vec::new();
    for line in fs::read_to_string(path).expect("a readable file").lines() {
        if let Some(name) = line.strip_prefix("## ") {
            seeds.push(Seed { name: format!("{group}-{name}"), bytes: Vec::new() });
        } else if let (Some(sent), Some(seed)) = (line.strip_prefix("> "), seeds.last_mut()) {
            unescape(sent, &mut seed.bytes);
        }
    }
    seeds
}

//! Figures in a file, to be compared with later ones: a line for each workload, its name and what it costs.

use std::{collections::HashMap, fmt::Write, fs};

use crate::Result;

/// What a request costs. What the machine has no tool for is not known.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    pub instructions: Option<f64>,
    pub allocations: Option<f64>,
    pub system_calls: Option<f64>,
}

pub fn save(path: &str, figures: &[(String, Figures)]) -> Result<()> {
    let mut text = String::new();
    for (name, Figures { instructions, allocations, system_calls }) in figures {
        let cells = [instructions, allocations, system_calls]
            .map(|figure| figure.map_or("-".into(), |figure| format!("{figure:.3}")));
        writeln!(text, "{name} {}", cells.join(" "))?;
    }
    Ok(fs::write(path, text).map_err(|error| format!("{path}: {error}"))?)
}

pub fn load(path: &str) -> Result<HashMap<String, Figures>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let line = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let mut figure = || words.next().and_then(|word| word.parse().ok());
        let figures = Figures { instructions: figure(), allocations: figure(), system_calls: figure() };
        Some((name, figures))
    };
    Ok(text.lines().filter_map(line).collect())
}

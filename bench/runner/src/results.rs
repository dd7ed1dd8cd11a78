//! What has been measured: a file of JSON lines for each scenario, from which the report is written at any time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// The folder of results.
#[derive(Clone, Debug)]
pub(crate) struct Results(PathBuf);

impl Results {
    /// Creates the folder if need be.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self(folder.to_path_buf()))
    }

    /// All rows of a scenario; none if it has not been measured.
    pub(crate) fn read<Row: DeserializeOwned>(&self, scenario: &str) -> io::Result<Vec<Row>> {
        match fs::read_to_string(self.rows(scenario)) {
            Ok(text) => Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Replaces all rows of a scenario.
    pub(crate) fn write<Row: Serialize>(&self, scenario: &str, rows: &[Row]) -> io::Result<()> {
        let lines: Result<Vec<_>, _> = rows.iter().map(serde_json::to_string).collect();
        fs::write(self.rows(scenario), lines?.join("\n") + "\n")
    }

    /// Writes a page or a picture.
    pub(crate) fn publish(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.0.join(name), text)
    }

    fn rows(&self, scenario: &str) -> PathBuf {
        self.0.join(scenario).with_extension("jsonl")
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
